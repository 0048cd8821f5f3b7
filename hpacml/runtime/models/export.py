"""Archives of torch.export. Loading one can run any code."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Collection, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hpacml.runtime.models.network import InputType, Network

if TYPE_CHECKING:
    import torch


_MANY = 13
"""Rows of a longer example: hardly a size of something else, with which they might be taken to agree."""

COMPILED = "data/aotinductor/"
"""The folder of compiled code; an archive that has it is a package of AOTInductor."""


def recognises(content: bytes, members: Collection[str]) -> bool:
    """Tell whether an archive is one of torch.export."""
    folders = [folder for folder in ("models/", COMPILED) if any(member.startswith(folder) for member in members)]
    return folders == ["models/"]


def read(file: io.BytesIO, device: str) -> Network:
    """Load the network of an archive, on `device`. Raises `network.InTraining`."""
    import torch
    from torch.export.passes import move_to_device_pass

    from hpacml.runtime.models.training import require_evaluation_of_graph

    with torch.device("cpu"):  # it fails where another one is the default
        program = torch.export.load(file)
    require_evaluation_of_graph(program.graph)
    inputs = _declared_inputs(program)
    weights = [w for w in (*program.state_dict.values(), *program.constants.values()) if isinstance(w, torch.Tensor)]
    if any(weight.device.type != device for weight in weights):
        program = move_to_device_pass(program, device)
        weights = [weight.to(device) for weight in weights]
    anchor = next((weight for weight in weights if weight.is_floating_point()), None)
    return Network(
        _runner(program), lambda: anchor, inputs, reads_only=True, module=partial(_layers, program), fixed=True
    )


def write(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """Write a module in evaluation mode; every dimension may vary that can."""
    import torch

    program = exported(module, example)
    program.example_inputs = None  # they would be stored
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def exported(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    """Export a module, for any number of rows where it treats the leading dimensions as rows."""
    from hpacml.runtime.models.outputs import Plain

    plain = Plain(module)
    for many in with_more_rows(example):
        if (program := _export_many_rows(plain, example, many)) is not None:
            return program
    return _export(plain, example)


# -- reading -----------------------------------------------------------------------------------------


def _declared_inputs(program: torch.export.ExportedProgram) -> tuple[InputType, ...] | None:
    """List the inputs that a program declares; None where some are no tensors."""
    import torch

    names = set(program.graph_signature.user_inputs)
    metas = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    if len(metas) != len(names) or not all(isinstance(meta, torch.Tensor) for meta in metas):
        return None
    return tuple(
        InputType(meta.dtype, tuple(size if isinstance(size, int) else None for size in meta.shape)) for meta in metas
    )


def _layers(program: torch.export.ExportedProgram) -> torch.nn.Module:
    from hpacml.runtime.models.graph_layers import layers_of

    return layers_of(program)


def _runner(program: torch.export.ExportedProgram) -> Callable[..., object]:
    """Make a program a function of its inputs.

    Torch's own wrapper costs more than all the rest of a call: for one row of a small network, a region takes 75
    microseconds without it and 160 with it. So it runs for input shapes that are new, and checks them; for shapes that
    have passed, the graph it wraps runs by itself, where that is the same.
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
    """List what to pass to the graph before the inputs; None if there is more to a call than passing tensors."""
    import torch
    from torch.export.graph_signature import InputKind

    if not _passes_tensors_only(program):
        return None
    weights: list[torch.Tensor] = []
    given = False
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            given = True
            continue
        stored = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
        if given or not isinstance(stored, torch.Tensor):
            return None
        weights.append(stored.detach())
    return weights


def _passes_tensors_only(program: torch.export.ExportedProgram) -> bool:
    """Tell whether a call takes tensors by position, changes no state, and returns a tensor or a flat tuple of them."""
    from torch.export.graph_signature import OutputKind, TensorArgument

    inputs, outputs = program.graph_signature.input_specs, program.graph_signature.output_specs
    if any(spec.kind is not OutputKind.USER_OUTPUT for spec in outputs):
        return False
    if not all(isinstance(spec.arg, TensorArgument) for spec in (*inputs, *outputs)):
        return False
    arguments, results = program.call_spec.in_spec, program.call_spec.out_spec
    if arguments is None or results is None:
        return False
    positional, keywords = arguments.children()
    if keywords.num_children or not all(part.is_leaf() for part in positional.children()):
        return False
    flat = all(part.is_leaf() for part in results.children())
    return results.is_leaf() or (flat and results.type in (tuple, list))


# -- writing -----------------------------------------------------------------------------------------


def _export(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    import torch
    from torch.export import Dim

    shapes = tuple(tuple(Dim.STATIC if size == 1 else Dim.AUTO for size in x.shape) for x in example)
    with torch.no_grad(), _silent(logging.getLogger("torch.fx.experimental.symbolic_shapes")):
        return torch.export.export(module, tuple(example), dynamic_shapes=(shapes,))


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Generator[None]:
    """Keep a logger from printing pages about what the error says, and warnings of Torch's own from being errors."""
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def with_more_rows(example: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Repeat an example along its leading dimensions of 1, which export would fix: along all, or the first, of rows.

    The last dimension is one of features, except of inputs that have no other, in the first of the ways.
    """
    found: list[list[torch.Tensor]] = []
    for most, flat in itertools.product((None, 1), (True, False)):
        many = [x.repeat(_repeats(x, most, flat)) for x in example]
        same = [all(x.shape == y.shape for x, y in zip(many, other, strict=True)) for other in (example, *found)]
        if not any(same):
            found.append(many)
    return found


def _export_many_rows(
    module: torch.nn.Module, example: Sequence[torch.Tensor], many: Sequence[torch.Tensor]
) -> torch.export.ExportedProgram | None:
    """Export a module on an example with more rows; None if it does not treat these as rows."""
    import torch

    from hpacml.runtime.models.copies import contents_kept

    try:
        program = _export(module, many)
        with torch.no_grad(), contents_kept(module):
            torch.testing.assert_close(cast(Any, program.module())(*example), module(*example))
    except Exception:  # whatever it is, the example as it was given decides
        return None
    return program


def _repeats(tensor: torch.Tensor, most: int | None, flat: bool) -> list[int]:
    """Tell how often to repeat each dimension: the leading ones of size 1, at `most` so many of them."""
    leading = list(itertools.takewhile(lambda size: size == 1, tensor.shape))[:most]
    if len(leading) == tensor.dim() and not (flat and tensor.dim() == 1):
        leading = leading[:-1]
    return [_MANY] * len(leading) + [1] * (tensor.dim() - len(leading))
