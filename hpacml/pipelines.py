"""The whole lowering on one page: from directives to machine code.

directives + kernel            hpacml.frontend
  hpacml-infer-maps            maps of regions that have none, from their loads and stores
  hpacml-expand-ml             control made explicit: scf.if around gather, infer, scatter | gather, body, collect;
                               the original code a function
  hpacml-mask-nests            original code that is a nest over points makes only those that it is asked for
  hpacml-compact-points        pointwise code that is asked for some points runs on arrays of these
  hpacml-copy-for-points       other original code that is asked for some points runs on copies
  hpacml-resolve-slices        each slice of a map a strided memref view; gather and scatter pack and unpack them
  convert-hpacml-points-to-loops  what is done at single points becomes parallel loops
  hpacml-offer-views           compiled code of the network is asked first, which takes the views as they are
  hpacml-fuse-gather-concat    the views of a map in one sweep; packed memory is not copied
  convert-hpacml-to-loops      packing becomes scf loops over memrefs
  convert-hpacml-to-runtime    infer, collect and failing maps become C calls; nothing of hpacml is left
  hpacml-outline-parallel-loops  loops over prange become functions of a range, which threads call
  hpacml-keep-branches         divisions stay behind their conditions where nothing becomes vectors
  hpacml-version-in-place      loops that write what they read in some calls have a version for these
  hpacml-mask-divisions        loops with divisions leave nothing over behind their last vector
  hpacml-expand-functions      fast math: polynomials in the place of functions, where something may
  hpacml-roll-remainders       less code: what is left over behind vectors stays a loop
upstream MLIR                  MLIR_PIPELINE, in process (hpacml.backend.mlir)
LLVM                           machine code (llvmlite)

For GPUs two passes come before convert-hpacml-to-loops: convert-hpacml-to-gpu turns packing and parallel loops into
kernels, and hpacml-refuse-host-accesses refuses other code that would access memory of the GPU. Upstream MLIR
outlines the kernels (MLIR_OUTLINING) and lowers them (MLIR_GPU_PIPELINE); LLVM makes PTX or AMDGCN assembly
(hpacml.backend.ptx_and_amdgcn). For tests, hpacml-gpu-to-loops runs the kernels on the CPU.

For libraries without Python two passes come in between: hpacml-drop-collection before hpacml-expand-ml, so that regions
infer or run their original code, and hpacml-call-networks before convert-hpacml-to-loops, for which
hpacml.embedding.compiled_in makes the code of the network.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from hpacml.errors import CompileError, HpacmlError, MapError, caret
from hpacml.passes import get_all_passes

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

_ALL_STAGES = {
    "maps": "hpacml-infer-maps",
    "alone": "hpacml-drop-collection",
    "expand": "hpacml-expand-ml",
    "nests": "hpacml-mask-nests",
    "compact": "hpacml-compact-points",
    "copies": "hpacml-copy-for-points",
    "resolve": "hpacml-resolve-slices",
    "points": "convert-hpacml-points-to-loops",
    "offer": "hpacml-offer-views",
    "fuse": "hpacml-fuse-gather-concat",
    "networks": "hpacml-call-networks",
    "gpu": "convert-hpacml-to-gpu",
    "host": "hpacml-refuse-host-accesses",
    "loops": "convert-hpacml-to-loops",
    "runtime": "convert-hpacml-to-runtime",
    "threads": "hpacml-outline-parallel-loops",
    "branches": "hpacml-keep-branches",
    "in-place": "hpacml-version-in-place",
    "masks": "hpacml-mask-divisions",
    "functions": "hpacml-expand-functions",
    "rolled": "hpacml-roll-remainders",
}

_ON_HOSTS = ("offer", "threads", "branches", "in-place", "masks", "functions", "rolled")
_ON_GPUS = ("gpu", "host")
_ALONE = ("alone", "networks")


def _without(*left_out: str) -> dict[str, str]:
    return {stage: name for stage, name in _ALL_STAGES.items() if stage not in left_out}


GPU_STAGES = _without(*_ON_HOSTS, *_ALONE)
"""The passes for GPUs in order, by the name of the stage that each one leads to. The loops have nothing left to do."""

STAGES = _without(*_ON_GPUS, *_ALONE)
"""The passes for the host."""

STANDALONE_STAGES = {**_without(*_ON_GPUS), "expand": f"{STAGES['expand']}{{collect=false}}"}
"""Those for the host without Python: networks become code that is called, and nothing is collected."""

REPORTING = {"expand": f"{STAGES['expand']}{{report=true}}"}
"""The passes that replace those of their stage where regions are timed."""

MLIR_BUFFERIZATION = (
    "builtin.module(eliminate-empty-tensors,one-shot-bufferize{allow-return-allocs-from-loops=true},"
    "ownership-based-buffer-deallocation,canonicalize,buffer-deallocation-simplification)"
)
"""What comes before where code works on tensors: from these to memory, with `bufferization.dealloc` where that ends."""

MLIR_PIPELINE = (
    "builtin.module("
    "convert-linalg-to-loops,canonicalize,cse,loop-invariant-code-motion,"
    # Half precision: computed in f32, and rounded by integer arithmetic where a processor cannot.
    "arith-emulate-unsupported-floats{source-types=bf16 target-type=f32},math-extend-to-supported-types,"
    "memref-expand,expand-strided-metadata,lower-affine,"
    # LLVM's intrinsics vectorise; libm has the rest. log(1+x) is no substitute for log1p.
    "convert-math-to-funcs,convert-math-to-llvm{approximate-log1p=false},convert-math-to-libm,"
    # Only kernels for GPUs that run as loops have vectors.
    "convert-scf-to-cf,arith-expand{include-bf16=true},convert-arith-to-llvm,convert-vector-to-llvm,"
    "finalize-memref-to-llvm{use-generic-functions=true},convert-func-to-llvm,convert-cf-to-llvm,"
    "canonicalize,cse,reconcile-unrealized-casts)"
)
"""From func, scf, affine, linalg on memrefs, memref, arith, math and llvm to the llvm dialect, by upstream MLIR 22."""

MLIR_OUTLINING = "builtin.module(canonicalize,cse,gpu-launch-sink-index-computations,gpu-kernel-outlining)"
"""The body of each launch becomes a kernel in a `gpu.module` of its own, which `gpu.launch_func` launches."""

MLIR_GPU_PIPELINE = (
    "builtin.module(gpu.module("
    "inline,canonicalize,cse,loop-invariant-code-motion,"
    "memref-expand,expand-strided-metadata,lower-affine,arith-expand{{include-bf16=true}},convert-scf-to-cf,"
    "{to_target},convert-math-to-llvm{{approximate-log1p=false}},canonicalize,cse,reconcile-unrealized-casts))"
)
"""The same as `MLIR_PIPELINE` for kernels; the pass `to_target` lowers to the dialect of the GPU."""


def make_context() -> Context:
    """Return an xDSL context that loads each dialect of xDSL and of hpacml when it meets it."""
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects

    from hpacml import dialects

    context = Context()
    for name, factory in {**get_all_dialects(), **dialects.get_all_dialects()}.items():
        context.register_dialect(name, factory)
    return context


def run_passes(
    module: ModuleOp,
    stage: str | None = None,
    *,
    fuse: bool = True,
    report: bool = False,
    gpu: bool = False,
    alone: bool = False,
    plain: bool = False,
    stream: int = 0,
) -> ModuleOp:
    """Lower `module` in place, verify it before and behind each pass that has something to do, and return it.

    `stage`, a key of `STAGES` or `GPU_STAGES` or the name of a pass, is the last to run; None runs all. Without `fuse`
    the fusing pass is left out; with `report` regions are timed; with `gpu`, or up to a stage that only GPUs have,
    maps and parallel loops become kernels; with `alone` what needs Python becomes code, or is refused; with `plain`
    code is for runtimes of others. Functors fill tensors of more than `stream` bytes past the caches; 0: none.

    Raises `HpacmlError` for an unknown stage, `MapError` for a map that does not fit, and `CompileError` for anything
    else that a pass or a verifier refuses.
    """
    from xdsl.passes import PassPipeline

    stages = GPU_STAGES if gpu or stage not in {None, *STAGES, *STAGES.values()} else STAGES
    stages = STANDALONE_STAGES if alone else stages
    options = {
        "points": "inside=true" if stages is GPU_STAGES else "",
        "loops": f"stream={stream}" if stream else "",
        "runtime": "plain=true" if plain else "",
    }
    specs: list[str] = []
    for name, spec in stages.items():
        if fuse or name != "fuse":
            given = f"{spec}{{{options[name]}}}" if options.get(name) else spec
            specs.append(REPORTING.get(name, given) if report else given)
        if stage in (name, spec):
            break
    else:
        if stage is not None:
            known = dict.fromkeys([*STAGES, *GPU_STAGES])
            raise HpacmlError(f"unknown stage '{stage}': the stages are {', '.join(known)}")
    pipeline = PassPipeline.parse_spec(get_all_passes(), ",".join(specs), _Verifier())
    with refusals():
        pipeline.apply(make_context(), module)
    return module


def lower_networks(module: ModuleOp, bytes: int, rows: int) -> ModuleOp:
    """Lower the networks of a module in place, for vectors of so many bytes and `rows` outputs at once, and return it.

    Raises `CompileError` for a network that a verifier refuses.
    """
    from xdsl.passes import PassPipeline

    vectors = [f"convert-hpacml-{each}layers-to-vector{{bytes={bytes} rows={rows}}}" for each in ("image-", "")]
    tiles = ["hpacml-split-networks", "hpacml-tile-images", "hpacml-tile-networks"]
    spec = ",".join([*tiles, *vectors, STAGES["loops"]])
    with refusals():
        PassPipeline.parse_spec(get_all_passes(), spec, _Verifier()).apply(make_context(), module)
    return module


class _Verifier:
    """Verifies a module between passes, where one of them has changed it since the last time.

    What has nothing of hpacml in it is not changed by the passes there.
    """

    def __init__(self) -> None:
        self._verified: list[object] | None = None

    def __call__(self, before: ModulePass | None, module: ModuleOp, behind: ModulePass | None) -> None:
        from hpacml.dialects.hpacml.attributes import PREFIXES

        ends = before is None or behind is None
        if not (ends or any(op.name.startswith(PREFIXES) for op in module.walk())):
            return
        contents = _contents(module)
        if contents != self._verified:
            module.verify()
            self._verified = contents


def _contents(module: ModuleOp) -> list[object]:
    """All that verifying a module depends on, which takes a fraction of the time to compare."""
    found: list[object] = []
    for op in module.walk():
        found += op, op.parent, tuple(op.properties.items()), tuple(op.attributes.items()), *op.operands, *op.successors
        found += [result.type for result in op.results]
        for block in (block for region in op.regions for block in region.blocks):
            found += block, *(argument.type for argument in block.args)
    return found


@contextmanager
def refusals() -> Generator[None]:
    """Raise errors of xDSL as errors for users. The cause is xDSL's error, which has the IR in its notes."""
    from xdsl.utils.exceptions import DiagnosticException

    try:
        yield
    except DiagnosticException as error:
        kind = MapError if isinstance(error.__cause__, MapError) else CompileError
        raise kind(f"{error}{source_of(str(error))}") from error


def source_of(message: str) -> str:
    """The line of the source at whose place an error begins, with carets, nothing if there is none."""
    place = re.match(r"(.+?):(\d+):(\d+): ", message)
    line = "" if place is None else linecache.getline(place[1], int(place[2])).rstrip()
    return f"\n{caret(line, int(place[3]) - 1, len(line))}" if place is not None and line else ""


def generic_text(module: ModuleOp) -> str:
    """The module in generic form, which upstream MLIR reads."""
    from xdsl.printer import Printer

    text = StringIO()
    Printer(text, print_generic_format=True).print_op(module)
    return text.getvalue()
