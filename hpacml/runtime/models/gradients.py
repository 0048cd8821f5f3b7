"""Modules that take gradients in `forward`, as potentials do for their forces. It imports Torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def run(network: Callable[..., object], inputs: Sequence[torch.Tensor]) -> object:
    """Run a network without gradients, or with them if it fails for want of them. Raises what it raises."""
    copies = [x.detach().clone() for x in inputs]
    try:
        with torch.no_grad():
            return network(*inputs)
    except Exception as error:
        if "grad" not in str(error):
            raise
    with torch.enable_grad():
        return network(*copies)


def takes_gradients(network: Callable[..., object], inputs: Sequence[torch.Tensor]) -> bool:
    """Tell whether a network runs with gradients, and not without them."""
    try:
        with torch.no_grad():
            network(*[x.clone() for x in inputs])
    except Exception as error:
        if "grad" not in str(error):
            return False
    else:
        return False
    try:
        with torch.enable_grad():
            network(*[x.clone() for x in inputs])
    except Exception:
        return False
    return True


def turns_them_on(network: Callable[..., object], inputs: Sequence[torch.Tensor]) -> bool:
    """Tell whether a network takes derivatives by itself, as with torch.func.grad or torch.enable_grad."""
    seen = _Seen()
    with torch.no_grad(), seen:
        network(*[x.clone() for x in inputs])
    return seen.recorded


class _Seen(TorchFunctionMode):
    """Sees whether functions run with gradients, or within one of the transformations of torch.func."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.recorded = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        transformed = cast(Any, torch)._C._functorch.peek_interpreter_stack() is not None
        self.recorded |= transformed or torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))


def unrolled(module: nn.Module, inputs: Sequence[torch.Tensor]) -> nn.Module:
    """Make a module that takes gradients one of operations only, theirs among them, which formats can hold."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def forward(*given: torch.Tensor) -> Any:
        return module(*given)

    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the tracing looks at
        traced = make_fx(forward, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*[x.clone() for x in inputs])
    return cast("nn.Module", traced)
