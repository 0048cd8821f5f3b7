"""Derivatives of models of Torch in programs of XLA: of their outputs by their inputs, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hpacml.errors import HpacmlError, ModelError, summary
from hpacml.jax.call_primitive import ArrayForm, XlaCall
from hpacml.jax.differentials import is_real, no_tangent
from hpacml.jax.inferring import Inferring, views_at
from hpacml.jax.operands import result_of
from hpacml.jax.templates import Record, Template
from hpacml.runtime.arrays.views import tensor_over
from hpacml.runtime.shim import require_stack

if TYPE_CHECKING:
    import torch


def derivative(
    of: XlaCall,
    common: Inferring,
    inputs: Sequence[ArrayForm],
    outputs: Sequence[ArrayForm],
    primals: Sequence[Any],
    tangents: Sequence[Any],
) -> Sequence[Any]:
    """The tangents of the outputs of a model's call for those of its inputs; JAX may transpose what computes them."""
    real_in = [k for k, x in enumerate(primals) if is_real(x)]
    real_out = [k for k, form in enumerate(outputs) if is_real(result_of(form))]
    found: Iterator[Any] = iter(())
    if real_in and real_out:
        forward = of.part("forward", lambda: _Derivative(common, inputs, outputs, real_in, real_out, "forward"))
        found = iter(forward(*primals, *(tangents[k] for k in real_in)))
    return [next(found) if k in real_out else no_tangent(result_of(form)) for k, form in enumerate(outputs)]


class _Derivative(XlaCall):
    """The product of the model's Jacobian with tangents of inputs, or of its transpose with those of outputs."""

    def __init__(
        self,
        common: Inferring,
        inputs: Sequence[ArrayForm],
        outputs: Sequence[ArrayForm],
        real_in: Sequence[int],
        real_out: Sequence[int],
        way: Literal["forward", "backward"],
    ) -> None:
        self.what, self._common, self._way = common.what, common, way
        self._inputs, self._outputs, self._real_in, self._real_out = inputs, outputs, real_in, real_out
        of_inputs, of_outputs = [inputs[k] for k in real_in], [outputs[k] for k in real_out]
        self._along, self._made = (of_inputs, of_outputs) if way == "forward" else (of_outputs, of_inputs)
        key = way, common.label, common.maps, inputs, outputs, str(common.ml.model)
        super().__init__([result_of(form) for form in self._made], {}, key)

    def make_record(self) -> Record:
        forms = (*self._inputs, *self._along, *self._made)
        template = Template(len(forms))
        for slot, form in enumerate(forms):
            template.array(slot, slot, *form)
        return template.record(self.digest, None, len(forms) - len(self._made), len(self._made))

    def answer(self, slots: int, status: int) -> None:
        require_stack()
        views = views_at(slots, (*self._inputs, *self._along, *self._made))
        tensors = list(map(tensor_over, views))
        inputs, along = tensors[: len(self._inputs)], tensors[len(self._inputs) : len(tensors) - len(self._made)]
        with self._common.frame(lambda: None):
            for target, found in zip(tensors[-len(self._made) :], self._products(inputs, along), strict=True):
                target.copy_(found)

    def _products(self, inputs: Sequence[torch.Tensor], along: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        import torch

        from hpacml.jax.torch_models import function_of

        function = function_of(self._common, self._inputs, self._outputs)
        real = [inputs[k].clone() for k in self._real_in]

        def of_real(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            arguments = [x.clone() for x in inputs]
            for k, x in zip(self._real_in, given, strict=True):
                arguments[k] = x
            returned = function(arguments)
            return tuple(returned[k] for k in self._real_out)

        products: Any = torch.autograd.functional
        product = products.jvp if self._way == "forward" else products.vjp
        try:
            with torch.inference_mode(False), torch.enable_grad():
                _, found = product(of_real, tuple(real), tuple(x.clone() for x in along))
        except HpacmlError:
            raise
        except Exception as error:
            raise ModelError(
                f"the model of {self.what} cannot be differentiated: {summary(error)}. Gradients go through modules of "
                "Torch, state dicts with a description, torch.export and TorchScript, and through functions of JAX"
            ) from error
        return found

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any]) -> Sequence[Any]:
        way = "backward" if self._way == "forward" else "forward"
        other = self.part(
            "transposed",
            lambda: _Derivative(self._common, self._inputs, self._outputs, self._real_in, self._real_out, way),
        )
        primals = arguments[: len(self._inputs)]
        return [*(None for _ in primals), *other(*primals, *cotangents)]

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
        raise HpacmlError(
            f"{self.what} has first derivatives only, through a model of Torch: for others use a model of JAX"
        )
