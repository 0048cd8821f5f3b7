"""Models of Torch as functions to differentiate, and their derivatives as such functions. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from hpacml.dtypes import torch_dtypes
from hpacml.jax.autograd_graph import require_products_of, with_known_derivatives
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.inferring import Inferring
from hpacml.jax.repeatable import repeatable
from hpacml.runtime.models.inference import Inference

Function = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


def function_of(common: Inferring, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]) -> Function:
    """The model of the current call, on tensors of the region, whose gradients Torch records. Raises ModelError."""
    inference = Inference(common.site(inputs, outputs))
    dtypes = [torch_dtypes()[form.dtype] for form in outputs]
    targets = [torch.empty(form.shape, dtype=dtype) for form, dtype in zip(outputs, dtypes, strict=True)]

    def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        real = [x for x in tensors if x.requires_grad]
        made_of = [x.grad_fn for x in real if x.grad_fn is not None]  # a model may write its inputs
        with repeatable(inference.module(), common.what):
            found = inference.outputs_of(tensors, targets)
        known = with_known_derivatives(found, real, made_of)
        return [y.to(dtype) for y, dtype in zip(known, dtypes, strict=True)]

    return run


@contextmanager
def differentiating() -> Generator[None]:
    """Torch records derivatives, whatever it does around."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def product_of(
    function: Function,
    count: int,
    real_in: Sequence[int],
    real_out: Sequence[int],
    way: Literal["forward", "backward"],
    is_recorded: bool,
) -> Function:
    """The product of a function's Jacobian, of the real inputs and outputs, or of its transpose, with tensors that
    follow the `count` inputs. Derivatives of products are recorded if so. It raises ModelError, and errors of Torch."""

    def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        inputs, along = [x.clone() for x in tensors[:count]], tensors[count:]
        real = [_variable(inputs[k]) for k in real_in]
        for k, x in zip(real_in, real, strict=True):
            inputs[k] = x.clone()  # which a model may write
        returned = function(inputs)
        outputs = [returned[k] for k in real_out]
        return (_forward if way == "forward" else _backward)(outputs, real, along, is_recorded)

    return run


def _variable(x: torch.Tensor) -> torch.Tensor:
    """A tensor by which one may differentiate, and by what it was made of, too."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def _backward(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    along: Sequence[torch.Tensor],
    is_recorded: bool,
) -> Sequence[torch.Tensor]:
    used = [(y, w) for y, w in zip(outputs, along, strict=True) if y.requires_grad]
    if not used:
        return [torch.zeros_like(x) for x in inputs]
    ends, weights = zip(*used, strict=True)
    if is_recorded:
        require_products_of(ends)
    return torch.autograd.grad(
        ends, inputs, weights, create_graph=is_recorded, allow_unused=True, materialize_grads=True
    )


def _forward(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    along: Sequence[torch.Tensor],
    is_recorded: bool,
) -> Sequence[torch.Tensor]:
    """By the product backward, which is linear in what it is made along."""
    weights = [torch.ones_like(y, requires_grad=True) for y in outputs]
    return _backward(_backward(outputs, inputs, weights, True), weights, along, is_recorded)
