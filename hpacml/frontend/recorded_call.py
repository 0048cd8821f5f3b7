"""The inference of a call as a function of Torch's autograd: scatter o model o gather. It imports Torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch

from hpacml.errors import MapError
from hpacml.frontend import autograd
from hpacml.frontend.autograd import indices_of
from hpacml.frontend.bound_map import bind
from hpacml.frontend.linear_map import LinearMap, ordinary, plain
from hpacml.frontend.maps import AppliedFunctor
from hpacml.functors.application import Way
from hpacml.runtime.arrays.protocols import is_tensor
from hpacml.runtime.arrays.torch_memory import is_transformed
from hpacml.runtime.differentiation import is_float, takes_part


class _Part(NamedTuple):
    """A map, and the names of the tensors of which it is a function."""

    map: LinearMap
    names: list[str]


class RecordedCall:
    """Records a call of the region `name`, whose maps read and write `values` in the order of its model's tensors."""

    def __init__(
        self, name: str, reads: Sequence[AppliedFunctor], writes: Sequence[AppliedFunctor], values: Mapping[str, Any]
    ) -> None:
        """Raises `MapError` for arrays that cannot take part."""
        self._name, self._values = name, values
        self._reads = [self._part(each, "to") for each in reads]
        self._writes = [self._part(each, "from") for each in writes]
        self._outputs: Sequence[torch.Tensor] = ()
        for part in self._writes:
            for written in part.names:
                autograd.require_may_be_written(values[written], written)

    def inputs(self, gathered: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The gathered tensors as functions of the arrays."""
        return [self._input(*each) for each in zip(self._reads, gathered, strict=True)]

    def _input(self, part: _Part, value: torch.Tensor) -> torch.Tensor:
        if not part.names or not value.is_floating_point():
            return value
        tensors = [self._values[name] for name in part.names]
        return autograd.gathered(part.map, value, tensors, indices_of(part.map, self._values))

    def returns(self, outputs: Sequence[torch.Tensor]) -> None:
        """Take the outputs of the model."""
        self._outputs = outputs

    def finish(self) -> None:
        """Record that the outputs have been scattered, if the model ran."""
        for (map, names), output in zip(self._writes, self._outputs, strict=False):
            dense = output if output.is_floating_point() else None
            for number, name in enumerate(names):
                autograd.written_into(map, number, self._values[name], dense, indices_of(map, self._values))

    def _part(self, application: AppliedFunctor, way: Way) -> _Part:
        elements = dict.fromkeys(application.arrays[head] for head in application.heads)
        for name in elements:
            self._require_tensor(name, self._values[name])
        names = [name for name in elements if is_float(self._values[name])]
        if way == "to":
            names = [name for name in names if takes_part(self._values[name])]
        given = plain_values(self._values, application.arrays)
        with ordinary():
            bound = bind(application, way, given)
            if any(view.device is not None for view in bound.views):
                raise MapError(
                    f"the region {self._name} takes part in derivatives on the host alone, and its arrays are on a "
                    "GPU: call it outside of hpacml.differentiable(), or gather and scatter by hpacml.functor"
                )
            return _Part(LinearMap.of(bound, None, given, names), names)

    def _require_tensor(self, name: str, value: object) -> None:
        if is_tensor(value):
            if is_transformed(value):
                raise MapError(
                    f"'{name}' belongs to a transform of torch.func, which the region {self._name} has no derivatives "
                    "for: take them by torch.autograd.grad, backward, torch.autograd.functional or forward_ad"
                )
        elif not isinstance(value, Real | np.generic):
            hint = f"torch.from_numpy({name})" if type(value) is np.ndarray else "a tensor"
            raise MapError(
                f"no gradient flows through '{name}', which is of type {type(value).__name__}: pass {hint}, or call "
                f"the region {self._name} outside of hpacml.differentiable(), or under torch.no_grad()"
            )


def plain_values(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The values, of which the tensors named are their memory alone."""
    return dict(values) | {name: plain(values[name]) for name in names if is_tensor(values[name])}
