"""Derivatives of models of Torch in programs of XLA: of outputs by inputs, forward and backward, of any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hpacml.errors import HpacmlError, ModelError, summary
from hpacml.jax.call_primitive import ArrayForm, XlaCall
from hpacml.jax.differentials import is_real, no_tangent
from hpacml.jax.inferring import Inferring
from hpacml.jax.operands import result_of
from hpacml.jax.tensor_call import TensorCall
from hpacml.runtime.frame import Frame

if TYPE_CHECKING:
    import torch

    Tensors = Sequence[torch.Tensor]

Way = Literal["forward", "backward"]


class Differentiable(NamedTuple):
    """A function of tensors of given forms that Torch differentiates: a model, or a derivative of one."""

    common: Inferring
    name: str
    inputs: Sequence[ArrayForm]
    outputs: Sequence[ArrayForm]
    find: Callable[[], Callable[[Tensors], Tensors]]
    """The function, while compiled code knows of the call."""


def model_of(common: Inferring, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]) -> Differentiable:
    """The model of a region's calls."""

    def find() -> Callable[[Tensors], Tensors]:
        from hpacml.jax.torch_models import function_of

        return function_of(common, inputs, outputs)

    return Differentiable(common, "model", inputs, outputs, find)


def derivative(of: XlaCall, function: Differentiable, primals: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
    """The tangents of what a call makes for those of its arguments; JAX may transpose what computes them."""
    real_in = [k for k, x in enumerate(primals) if is_real(x)]
    real_out = [k for k, form in enumerate(function.outputs) if is_real(result_of(form))]
    found: Iterator[Any] = iter(())
    if real_in and real_out:
        forward = of.part("forward", lambda: _Derivative(function, real_in, real_out, "forward"))
        found = iter(forward(*primals, *(tangents[k] for k in real_in)))
    return [next(found) if k in real_out else no_tangent(result_of(form)) for k, form in enumerate(function.outputs)]


class _Derivative(TensorCall):
    """The product of a function's Jacobian with tangents of inputs, or of its transpose with those of outputs."""

    def __init__(
        self,
        of: Differentiable,
        real_in: Sequence[int],
        real_out: Sequence[int],
        way: Way,
    ) -> None:
        self.what, self._of = of.common.what, of
        self._way: Way = way
        self._real_in, self._real_out = real_in, real_out
        of_inputs, of_outputs = [of.inputs[k] for k in real_in], [of.outputs[k] for k in real_out]
        along, self._made = (of_inputs, of_outputs) if way == "forward" else (of_outputs, of_inputs)
        self._taken = [*of.inputs, *along]
        common, self._name = of.common, f"{way} of {of.name}"
        key = self._name, common.label, common.maps, self._taken, self._made, str(common.ml.model)
        super().__init__(self._taken, self._made, {}, key)

    def frame(self) -> Frame:
        return self._of.common.frame(lambda: None)

    def compute(self, given: Tensors, made: Tensors) -> None:
        from hpacml.jax.torch_models import differentiating

        with differentiating():
            for target, found in zip(made, self._products(given), strict=True):
                target.copy_(found)

    def _products(self, tensors: Tensors) -> Tensors:
        function = self._function(False)
        try:
            return [x.detach() for x in function(tensors)]
        except Exception as error:
            if (cause := error.__cause__ if isinstance(error, HpacmlError) else error) is None:
                raise
            raise ModelError(
                f"the model of {self.what} cannot be differentiated: {summary(cause)}. Gradients go through modules of "
                "Torch, state dicts with a description, torch.export and TorchScript, and through functions of JAX"
            ) from error

    def _function(self, is_recorded: bool = True) -> Callable[[Tensors], Tensors]:
        """The products as a function, of which Torch records derivatives in turn if so."""
        from hpacml.jax.torch_models import product_of

        of = self._of
        return product_of(of.find(), len(of.inputs), self._real_in, self._real_out, self._way, is_recorded)

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any]) -> Sequence[Any]:
        way: Way = "backward" if self._way == "forward" else "forward"
        other = self.part("transposed", lambda: _Derivative(self._of, self._real_in, self._real_out, way))
        primals = arguments[: len(self._of.inputs)]
        return [*(None for _ in primals), *other(*primals, *cotangents)]

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        of = Differentiable(self._of.common, self._name, self._taken, self._made, self._function)
        return derivative(self, of, primals, tangents)
