"""Inferences as gathers, a model on dense tensors, and scatters: for models of JAX, gradients and batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hpacml.dtypes import DTYPES
from hpacml.functors.application import Way
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.differentials import is_real, no_tangent, tangents_of
from hpacml.jax.inference_call import RegionInference, TensorInference
from hpacml.jax.inferring import Inferring
from hpacml.jax.libraries import jax, jnp
from hpacml.jax.map_call import MapCall, Use
from hpacml.jax.network_record import places_of, quicken
from hpacml.jax.operands import form_of
from hpacml.jax.region_arguments import READ, WRITTEN, PureCall
from hpacml.jax.shards import either

Model = Callable[[Sequence[Any], Sequence[ArrayForm]], Sequence[Any]]
"""Makes tensors of these forms of others."""


class Decomposition:
    """The parts of the inferences of calls that run the same code."""

    def __init__(self, call: PureCall, common: Inferring) -> None:
        self._reads, self._writes = call.of(READ), call.of(WRITTEN)
        self._forms, self._written, self._common = call.forms, call.written, common
        self._calls: dict[object, Any] = {}

    def run(self, operands: Mapping[str, Any], model: Model) -> Sequence[Any]:
        """The new values of the arrays that maps write."""
        arrays = dict(operands)
        inputs = [self._map(use, "to", None)(*(arrays[name] for name in use.names))[0] for use in self._reads]
        forms = [ArrayForm(use.dtype(self._forms), use.resolve("from", self._forms).shape) for use in self._writes]
        for use, y in zip(self._writes, model(inputs, forms), strict=True):
            scatter = self._map(use, "from", form_of(y, "the model's output").dtype)
            made = scatter(*(arrays[name] for name in use.names), y)
            arrays |= zip(use.written, made, strict=True)
        return tuple(arrays[name] for name in self._written)

    def _map(self, use: Use, way: Way, dtype: str | None) -> MapCall:
        return self.remembered((use, way, dtype), lambda: MapCall(use, way, self._forms, dtype))

    def _tensors(self, inputs: Sequence[Any], outputs: Sequence[ArrayForm]) -> Sequence[Any]:
        """The model of Torch or of a file on dense tensors."""
        forms = tuple(form_of(x, "an input") for x in inputs)
        call = self.remembered((forms, *outputs), lambda: TensorInference(self._common, forms, outputs))
        return call(*inputs)

    def remembered(self, key: object, make: Callable[[], Any]) -> Any:
        """A part of the calls, which lives as long."""
        if key not in self._calls:
            self._calls[key] = make()
        return self._calls[key]

    def _whole(self, call: RegionInference, *given: Any) -> Sequence[Any]:
        arrays = dict(zip(call.operands, given, strict=True))
        for name in self._forms.keys() - arrays.keys():  # each element is written, and none is read
            form = self._forms[name]
            arrays[name] = jnp.zeros(form.shape, jnp.dtype(DTYPES[form.dtype].long_name))
        return self.run(arrays, self._tensors)

    def answer(self, call: RegionInference, run: Callable[[], None], slots: int) -> None:
        """Run a call, and see whether later ones need Python."""
        quicken(call, run, slots, lambda: places_of(self._reads, self._writes, self._forms))

    def differentiate(
        self, call: RegionInference, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]
    ) -> Sequence[Any]:
        """The tangents of what a call makes. Where the model has failed, there are none: the original code has them."""

        def found() -> Sequence[Any]:
            return tangents_of(partial(self._whole, call), primals, tangents)

        if not call.tells:
            return found()
        *made, failed = results
        real = [k for k, y in enumerate(made) if is_real(y)]

        def those() -> Sequence[Any]:
            tangents = found()
            return [tangents[k] for k in real]

        def none() -> Sequence[Any]:
            return [jnp.zeros_like(made[k]) for k in real]

        of_real = dict(zip(real, either(failed, none, those, primals), strict=True))
        return [*(of_real.get(k, no_tangent(y)) for k, y in enumerate(made)), no_tangent(failed)]

    def batch(
        self, call: RegionInference, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]] | None:
        """The results for a batch by one call of the model for all rows, None unless rows are independent."""
        if self._common.ml.batch is None or call.tells:
            return None
        axes = [0 if each else None for each in are_batched]
        results = jax.vmap(partial(self._whole, call), axes, axis_size=size)(*arguments)
        return results, [True] * len(results)
