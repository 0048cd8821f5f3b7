"""The model file formats: how each is recognised, read and written. Nothing here checks whether to trust one."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from hpacml.runtime.models import archive

if TYPE_CHECKING:
    import torch

Format = Literal["TorchScript", "torch.export", "AOTInductor", "state dict", "pickle"]

DATA: Format = "state dict"
"""The format that runs no code of the file, and so needs no trust."""


@dataclass(frozen=True, slots=True)
class InputType:
    """What a file declares of an input: its dtype, and its shape with None for sizes that may vary."""

    dtype: torch.dtype
    shape: tuple[int | None, ...]

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor has this rank and these sizes; dtypes are converted."""
        sizes = zip(self.shape, tensor.shape, strict=False)
        return len(self.shape) == tensor.dim() and all(size in (None, given) for size, given in sizes)

    def __str__(self) -> str:
        sizes = ", ".join("*" if size is None else str(size) for size in self.shape)
        return f"{str(self.dtype).removeprefix('torch.')}[{sizes}]"


@dataclass(frozen=True)
class Network:
    """A network: `run` takes tensors, and should return a tensor or a tuple of tensors.

    `anchor` gives a tensor that has the network's floating dtype and its device, or None if it has no such
    tensor. `inputs` is what a file declares, `example` what `save_model` had, and `metadata` what it was given, as are
    the `maps` of the training data, with their digest. `addresses` tells where its weights are, and what
    else a captured graph of it depends on, if that may change.
    """

    run: Callable[..., object]
    anchor: Callable[[], torch.Tensor | None] = lambda: None
    inputs: tuple[InputType, ...] | None = None
    example: tuple[InputType, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    maps: tuple[str, ...] = ()
    maps_sha256: str | None = None
    addresses: Callable[[], tuple[int, ...]] = lambda: ()

    @cached_property
    def dtypes(self) -> tuple[torch.dtype, ...] | None:
        """The dtypes of the inputs that a file tells."""
        known = self.inputs or self.example
        return None if known is None else tuple(declared.dtype for declared in known)

    @property
    def declaration(self) -> str:
        """The inputs that a file declares, such as `float32[*, 5]`, else those it was saved with."""
        return ", ".join(map(str, self.inputs or self.example or ()))


def recognise(content: bytes) -> Format | None:
    """The format of a model file, by its content; None for any other. Raises BadZipFile for a torn archive."""
    if content[8:10] == b'{"':  # safetensors, behind the length of its header
        return "state dict"
    if content[:1] == b"\x80":  # a bare pickle: torch.save before Torch 1.6
        return "pickle"
    if content[:4] != b"PK\x03\x04":
        return None
    members = archive.members(content)
    if any(member.startswith("data/aotinductor/") for member in members):
        return "AOTInductor"
    if any(member.startswith("models/") for member in members):
        return "torch.export"
    if "constants.pkl" in members:
        return "TorchScript"
    return "pickle" if "data.pkl" in members else None


def read(content: bytes, format: Format, device: str = "cpu") -> Network:
    """The network of a model file, on `device` but for AOTInductor, which is made for one.

    Raises BadZipFile for a damaged archive, and whatever Torch raises.
    """
    if format == "state dict":
        return _read_state_dict(content, device)
    archive.check(content)
    readers = {
        "TorchScript": _read_torchscript,
        "torch.export": _read_export,
        "AOTInductor": _read_aotinductor,
    }
    network = readers[format](io.BytesIO(content), device)
    return _with_metadata(network, archive.metadata(content))


def _with_metadata(network: Network, told: Mapping[str, Any]) -> Network:
    """The network with what `save_model` wrote beside it."""
    import torch

    example = tuple(InputType(getattr(torch, x["dtype"]), tuple(x["shape"])) for x in told.get("example", ()))
    return replace(
        network,
        example=example or None,
        metadata=told.get("metadata", {}),
        maps=tuple(told.get("maps", ())),
        maps_sha256=told.get("maps_sha256"),
    )


# -- state dict --------------------------------------------------------------------------------------


def _read_state_dict(content: bytes, device: str) -> Network:
    from hpacml.runtime.models import statedict

    module, told = statedict.read(content)
    module.to(device)
    anchor = first_floating(module)
    return _with_metadata(Network(module, lambda: anchor), told)


def write_state_dict(module: torch.nn.Module, example: Sequence[torch.Tensor], told: Mapping[str, Any]) -> bytes:
    """A description of a module and its state."""
    import torch

    from hpacml.runtime.models import statedict

    content = statedict.write(module, told)
    with torch.no_grad():
        torch.testing.assert_close(statedict.read(content)[0](*example), module(*example), equal_nan=True)
    return content


def first_floating(module: torch.nn.Module) -> torch.Tensor | None:
    """The first floating parameter of a module, else its first floating buffer."""
    for tensor in module.parameters():
        if tensor.is_floating_point():
            return tensor
    return next((tensor for tensor in module.buffers() if tensor.is_floating_point()), None)


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Generator[None]:
    """Evaluation mode for the parts of a module that are in training mode, which they have again afterwards."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


# -- TorchScript -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _torchscript() -> Generator[Any]:
    """Torch's TorchScript module, which is deprecated; HPAC-ML's models are of this format."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield torch.jit


def _read_torchscript(file: io.BytesIO, device: str) -> Network:
    with _torchscript() as jit:
        module = jit.load(file, map_location=device)
    module.eval()
    anchor = first_floating(module)
    if anchor is None:
        anchor = _first_floating_constant(module)
    return Network(module, lambda: anchor)


def _first_floating_constant(module: Any) -> torch.Tensor | None:
    """A weight of a frozen module, which has neither parameters nor buffers."""
    graph = module.inlined_graph  # without which its nodes are nothing
    constants = graph.findAllNodes("prim::Constant")
    tensors = (node.t("value") for node in constants if node.hasAttribute("value") and node.kindOf("value") == "t")
    return next((tensor for tensor in tensors if tensor.is_floating_point() and tensor.dim()), None)


def write_torchscript(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """A TorchScript archive of a module in evaluation mode, traced unless it is scripted already."""
    buffer = io.BytesIO()
    with _torchscript() as jit:
        scripted = isinstance(module, jit.ScriptModule)
        jit.save(module if scripted else jit.trace(module, tuple(example), _store_inputs=False), buffer)
    return buffer.getvalue()


# -- torch.export ------------------------------------------------------------------------------------


def _read_export(file: io.BytesIO, device: str) -> Network:
    import torch
    from torch.export.passes import move_to_device_pass

    with torch.device("cpu"):  # it fails where another one is the default
        program = torch.export.load(file)
    inputs = _declared_inputs(program)
    weights = [w for w in (*program.state_dict.values(), *program.constants.values()) if isinstance(w, torch.Tensor)]
    if any(weight.device.type != device for weight in weights):
        program = move_to_device_pass(program, device)
        weights = [weight.to(device) for weight in weights]
    anchor = next((weight for weight in weights if weight.is_floating_point()), None)
    return Network(_runner(program), lambda: anchor, inputs)


def _declared_inputs(program: torch.export.ExportedProgram) -> tuple[InputType, ...] | None:
    """The inputs, or None where some are no tensors."""
    import torch

    names = set(program.graph_signature.user_inputs)
    metas = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    if len(metas) != len(names) or not all(isinstance(meta, torch.Tensor) for meta in metas):
        return None
    return tuple(
        InputType(meta.dtype, tuple(size if isinstance(size, int) else None for size in meta.shape)) for meta in metas
    )


def _runner(program: torch.export.ExportedProgram) -> Callable[..., object]:
    """The program as a function of its inputs.

    Torch's own wrapper takes four times as long as a small network. It runs for input shapes that are new, and
    checks them; for shapes that have passed, the graph it wraps runs by itself, where that is the same.
    """

    checked = cast("Callable[..., object]", program.module())
    weights = _plain_arguments(program)
    if weights is None:
        return checked
    graph = cast("Callable[..., tuple[object, ...]]", program.graph_module.forward)
    single = cast(Any, program.call_spec.out_spec).is_leaf()
    passed: set[tuple[torch.Size, ...]] = set()

    def run(*inputs: torch.Tensor) -> object:
        shapes = tuple([tensor.shape for tensor in inputs])
        if shapes in passed:
            outputs = graph(*weights, *inputs)
            return outputs[0] if single else outputs
        outputs = checked(*inputs)
        passed.add(shapes)
        return outputs

    return run


def _plain_arguments(program: torch.export.ExportedProgram) -> list[torch.Tensor] | None:
    """What to pass to the graph before the inputs; None if there is more to a call than passing tensors."""
    import torch
    from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

    inputs, outputs = program.graph_signature.input_specs, program.graph_signature.output_specs
    if any(spec.kind is not OutputKind.USER_OUTPUT for spec in outputs):
        return None
    if not all(isinstance(spec.arg, TensorArgument) for spec in (*inputs, *outputs)):
        return None
    arguments, results = program.call_spec.in_spec, program.call_spec.out_spec
    if arguments is None or results is None:
        return None
    positional, keywords = arguments.children()
    flat = (positional, *([] if results.is_leaf() else [results]))
    if keywords.num_children or not all(part.is_leaf() for parts in flat for part in parts.children()):
        return None
    if not results.is_leaf() and results.type not in (tuple, list):
        return None
    weights: list[torch.Tensor] = []
    given = False
    for spec in inputs:
        if spec.kind is InputKind.USER_INPUT:
            given = True
            continue
        stored = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
        if given or not isinstance(stored, torch.Tensor):
            return None
        weights.append(stored.detach())
    return weights


def write_export(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """A torch.export archive of a module in evaluation mode; every dimension may vary that can."""
    import torch

    program = _exported(module, example)
    program.example_inputs = None  # they would be stored
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _exported(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    return _export_many_rows(module, example) or _export(module, example)


def _export(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    import torch
    from torch.export import Dim

    shapes = tuple(tuple(Dim.STATIC if size == 1 else Dim.AUTO for size in x.shape) for x in example)
    with torch.no_grad():
        return torch.export.export(module, tuple(example), dynamic_shapes=shapes)


def _export_many_rows(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.export.ExportedProgram | None:
    """The module exported on the example repeated along its leading dimensions of 1, which export would fix.

    None if there are none, or if the module does not treat these dimensions as rows.
    """
    import torch

    many = [x.repeat([2 if rows else 1 for rows in _single_rows(x)]) for x in example]
    if all(x.shape == y.shape for x, y in zip(example, many, strict=True)):
        return None
    try:
        program = _export(module, many)
        with torch.no_grad():
            torch.testing.assert_close(cast(Any, program.module())(*example), module(*example))
    except Exception:  # whatever it is, the example as it was given decides
        return None
    return program


def _single_rows(tensor: torch.Tensor) -> list[bool]:
    """Which dimensions belong to the leading ones of size 1; the last, of features, never does."""
    rows: list[bool] = []
    for d, size in enumerate(tensor.shape):
        rows.append(size == 1 and all(rows) and d < tensor.dim() - 1)
    return rows


# -- AOTInductor -------------------------------------------------------------------------------------


def _read_aotinductor(file: io.BytesIO, device: str) -> Network:
    import torch

    # Without it the package reads its inputs as whatever dtype and shape it was compiled for.
    os.environ.setdefault("AOTI_RUNTIME_CHECK_INPUTS", "1")
    index = torch.device(device).index if device.startswith("cuda") else None
    load = cast(Any, torch)._inductor.aoti_load_package
    return Network(cast("Callable[..., object]", load(file, device_index=-1 if index is None else index)))


def write_aotinductor(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """An AOTInductor package of a module in evaluation mode, for this kind of processor; it needs a C++ compiler."""
    import torch

    program = _exported(module, example)
    _allow_few_rows(program)
    with tempfile.TemporaryDirectory(prefix="hpacml-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Torch's compiler
        path = os.path.join(folder, "model.pt2")
        cast(Any, torch)._inductor.aoti_compile_and_package(program, package_path=path)
        with open(path, "rb") as file:
            return file.read()


def _allow_few_rows(program: torch.export.ExportedProgram) -> None:
    """Let sizes that vary be 0 and 1 too: export supposes 2 at least, and the compiled code would insist on that."""
    import torch
    from torch.utils._sympy.value_ranges import ValueRanges

    values = (node.meta.get("val") for node in program.graph.nodes)
    environments = [cast(Any, value).fake_mode.shape_env for value in values if isinstance(value, torch.Tensor)]
    for ranges in (cast(Any, program).range_constraints, *(shapes.var_to_range for shapes in environments)):
        for size, known in ranges.items():
            if known.lower == 2:
                ranges[size] = ValueRanges(0, known.upper)
