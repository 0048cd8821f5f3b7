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
    """Load the network of an archive, on `device`."""
    with jit() as torch_jit:
        module = torch_jit.load(file, map_location=device)
    module.eval()
    anchor = first_floating(module)
    if anchor is None:
        anchor = _first_floating_constant(module)
    return Network(module, lambda: anchor)


def write(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """Write a module in evaluation mode, traced unless it is scripted already."""
    buffer = io.BytesIO()
    with jit() as torch_jit:
        scripted = isinstance(module, torch_jit.ScriptModule)
        traced = module if scripted else torch_jit.trace(module, tuple(example), _store_inputs=False)
        torch_jit.save(traced, buffer)
    return buffer.getvalue()


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
