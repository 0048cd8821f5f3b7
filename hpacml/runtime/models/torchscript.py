"""TorchScript archives, the format of HPAC-ML's models. Loading one can run any code."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Collection, Generator, Sequence
from typing import TYPE_CHECKING, Any

from hpacml.runtime.models.network import Network, first_floating

if TYPE_CHECKING:
    import torch


def recognises(content: bytes, members: Collection[str]) -> bool:
    """Tell whether an archive is TorchScript."""
    return "constants.pkl" in members


def read(file: io.BytesIO, device: str) -> Network:
    """Load the network of an archive, on `device`. Raises `network.InTraining`."""
    import copy

    from hpacml.runtime.models.training import require_evaluation_of_script

    with jit() as torch_jit:
        module = torch_jit.load(file, map_location=device)
    require_evaluation_of_script(module)
    module.eval()
    anchor = first_floating(module)
    if anchor is None:
        anchor = _first_floating_constant(module)
    return Network(module, lambda: anchor, trial=lambda: copy.deepcopy(module))


def write(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """Write a module in evaluation mode, traced unless it is scripted already, or has to be.

    Raises ValueError for a module that decides by the values of its inputs and cannot be scripted.
    """
    buffer = io.BytesIO()
    with jit() as torch_jit:
        scripted = isinstance(module, torch_jit.ScriptModule)
        torch_jit.save(module if scripted else _traced(torch_jit, module, example), buffer)
    return buffer.getvalue()


def _traced(torch_jit: Any, module: torch.nn.Module, example: Sequence[torch.Tensor]) -> Any:
    """Trace a module, with its state as it is; script it where Python in it depends on its inputs."""
    from torch.jit import TracerWarning  # pyright: ignore[reportPrivateImportUsage]

    from hpacml.runtime.models.copies import contents_kept
    from hpacml.runtime.models.outputs import Plain
    from hpacml.runtime.models.values import reads_values

    with contents_kept(module):
        fixed = reads_values(module, example)
    with contents_kept(module), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TracerWarning)
        traced = torch_jit.trace(Plain(module), tuple(example), strict=False, check_trace=False, _store_inputs=False)
    if not fixed and not any(issubclass(warning.category, TracerWarning) for warning in told):
        return traced
    try:
        return torch_jit.script(module)
    except Exception as error:  # whatever of Python it is that TorchScript lacks
        if fixed:
            raise ValueError(READS) from error
        return traced


READS = (
    "it decides in Python by the values of its inputs (`if x.sum() > 0`, `x.item()`), of which a trace keeps one way"
)


@contextlib.contextmanager
def jit() -> Generator[Any]:
    """Give `torch.jit` without its warnings: it is deprecated, but HPAC-ML's models are of this format."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield torch.jit


def _first_floating_constant(module: Any) -> torch.Tensor | None:
    """Find a weight of a frozen module, which has neither parameters nor buffers."""
    graph = module.inlined_graph  # held here, because its nodes do not keep it alive
    constants = graph.findAllNodes("prim::Constant")
    tensors = (node.t("value") for node in constants if node.hasAttribute("value") and node.kindOf("value") == "t")
    return next((tensor for tensor in tensors if tensor.is_floating_point() and tensor.dim()), None)
