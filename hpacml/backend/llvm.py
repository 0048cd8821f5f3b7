"""LLVM IR text to machine code in this process, by llvmlite."""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpacml.errors import CompileError
from hpacml.locks import Order, lock

# llvmlite's modules live in one global LLVM context.
_lock = lock(Order.LLVM)
_serial = itertools.count()

# What compiled code may call besides the runtime: mathematics, and the conversions to half precision.
_SYSTEM_LIBRARIES = ("libm.so.6", "libgcc_s.so.1")

_MASKED, _UNMASKED = (f'!"llvm.loop.vectorize.predicate.enable", i1 {each}' for each in ("true", "false"))


class Host(NamedTuple):
    """The machine that code is made for, and the version of llvmlite that makes it."""

    triple: str
    cpu: str
    features: str
    llvmlite: str


class Processor(NamedTuple):
    """A kind of processor that code is made for, by LLVM's names: `+` or `-` before each feature, between commas."""

    cpu: str
    features: str

    @property
    def has_masks(self) -> bool:
        """Whether vectors have masks that cost nothing. Without, LLVM makes no vectors of loops, or slow stores."""
        return not {"+avx512f", "+sve"}.isdisjoint(self.features.split(","))


class Part(NamedTuple):
    """A module in LLVM IR that becomes a part of an object, its functions that other parts call, and those inlined."""

    ir_text: str
    called: Collection[str]
    inlined: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """Loaded machine code; its addresses hold as long as this object lives."""

    addresses: Mapping[str, int]
    imports: frozenset[str]
    """The symbols that the code may import: no others, but perhaps not all of them."""
    _owners: tuple[Any, ...]


@functools.cache
def host() -> Host:
    """Return the machine on which this process runs."""
    llvm = _llvm()
    return Host(
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        importlib.import_module("llvmlite").__version__,
    )


def emit(ir_text: str, exports: Collection[str], inlined: Collection[str] = ()) -> bytes:
    """Return optimised object code of a module in LLVM IR; of its functions, only `exports` stay visible.

    Those that are `inlined` become part of their callers first: LLVM would optimise them alone, and again in there.
    Floating point is left as written: without fast-math flags LLVM neither reorders it nor fuses a*b + c.
    """
    with _lock:
        machine = _target_machine()
        return machine.emit_object(_optimised(ir_text, exports, machine, inlined))


def emit_parts(parts: Iterable[Part], exports: Collection[str], processor: Processor) -> bytes:
    """Return optimised object code of several modules, as `emit` does, for a linker and for other processors, too."""
    with _lock:
        machine = _machine(processor, jit=False)
        modules = [_parsed(*part, machine, processor) for part in parts]
        for other in modules[1:]:
            modules[0].link_in(other)
        _hide(modules[0], exports)
        return machine.emit_object(_optimise(modules[0], machine))


def text(ir_text: str, exports: Collection[str]) -> str:
    """Return as LLVM IR what `emit` makes object code of."""
    with _lock:
        return str(_optimised(ir_text, exports, _target_machine()))


def assembly(ir_text: str, exports: Collection[str]) -> str:
    """Return as assembly text what `emit` returns as object code."""
    with _lock:
        machine = _target_machine()
        return machine.emit_assembly(_optimised(ir_text, exports, machine))


def _optimised(ir_text: str, exports: Collection[str], machine: Any, inlined: Collection[str] = ()) -> Any:
    return _optimise(_parsed(ir_text, exports, inlined, machine, _this_processor()), machine)


def _parsed(
    ir_text: str, exports: Collection[str], inlined: Collection[str], machine: Any, processor: Processor
) -> Any:
    module = _llvm().parse_assembly(ir_text if processor.has_masks else ir_text.replace(_MASKED, _UNMASKED))
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    _hide(module, exports)
    for name in inlined:
        module.get_function(name).add_function_attribute("alwaysinline")
    return module


def _optimise(module: Any, machine: Any) -> Any:
    llvm = _llvm()
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def assemble(ir_text: str, triple: str, cpu: str, exports: Collection[str], library: bytes | None = None) -> str:
    """Return optimised assembly text of a module in LLVM IR, for another machine than this one.

    Of its functions, only `exports` stay visible. Functions that it calls of `library`, which is LLVM bitcode, become
    part of it. Floating point is left as written, as by `emit`.
    """
    llvm = _llvm()
    with _lock:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
        module = llvm.parse_assembly(ir_text)
        parts = [module, llvm.parse_bitcode(library)] if library else [module]
        for part in parts:
            part.triple = triple
            part.data_layout = str(machine.target_data)
        for part in parts[1:]:
            module.link_in(part)
        _hide(module, exports)
        module.verify()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        builder.getModulePassManager().run(module, builder)
        return machine.emit_assembly(module)


def link(object_code: bytes, exports: Collection[str], imports: Mapping[str, int], *owners: object) -> Library:
    """Load object code; symbols that it does not define come from `imports`, else from the C library.

    The library keeps `owners` alive. Raises CompileError where a symbol is missing.
    """
    llvm = _llvm()
    with _lock:
        jit = _jit()
        builder = llvm.JITLibraryBuilder().add_object_img(object_code).add_current_process()
        for name, address in imports.items():
            builder.import_symbol(name, address)
        for name in exports:
            builder.export_symbol(name)
        try:
            tracker = builder.link(jit, f"hpacml.{next(_serial)}")
        except RuntimeError as error:
            raise CompileError(f"the machine code cannot be loaded (standard error has more): {error}") from error
        named = frozenset(name for name in imports if name.encode() in object_code)
        return Library({name: tracker[name] for name in exports}, named, (tracker, jit, *owners))


def _hide(module: Any, exports: Collection[str]) -> None:
    for function in module.functions:
        if not function.is_declaration and function.name not in exports:
            function.linkage = "internal"


@functools.cache
def _llvm() -> Any:
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # for instructions in the text, such as cpuid
    return llvm


def _this_processor() -> Processor:
    return Processor(host().cpu, host().features)


def _target_machine() -> Any:
    return _machine(_this_processor(), jit=True)


def _machine(processor: Processor, jit: bool) -> Any:
    return (
        _llvm()
        .Target.from_triple(host().triple)
        .create_target_machine(
            cpu=processor.cpu, features=processor.features, opt=3, reloc="pic", codemodel="small", jit=jit
        )
    )


@functools.cache
def _jit() -> Any:
    llvm = _llvm()
    for name in _SYSTEM_LIBRARIES:
        llvm.load_library_permanently(name)
    return llvm.create_lljit_compiler(_target_machine(), use_jit_link=True)
