"""What happens to the outputs of a model before they are written: bounds, and a function of the program.

It imports Torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from hpacml.abi.records import InferSite
from hpacml.errors import CompileError, HpacmlError, ModelError, summary
from hpacml.runtime import frame
from hpacml.runtime.arrays.changes import require_in_place
from hpacml.runtime.models.clip import Clip
from hpacml.runtime.models.misfits import REAL
from hpacml.runtime.models.named_parts import Part, parts
from hpacml.runtime.models.network import describe
from hpacml.runtime.reports import guarded

if TYPE_CHECKING:
    from hpacml.runtime.gpu.device_call import Call

Results = list[tuple[torch.Tensor, torch.Tensor]]
"""Targets and what is to be written to them: one pair for each output, or, of batches, one after the other."""


class Corrections:
    """The bounds of outputs and the projection of one call site, which has some."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        count = len(site.inputs)
        self._inputs, self._outputs = parts(site.maps, count), parts(site.maps[count:], len(site.outputs))
        self._clips = [Clip(each.low, each.high) for each in site.clip]
        self._known: dict[tuple[int, torch.dtype, torch.dtype], Clip] = {}

    def apply(
        self,
        results: Results,
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        dim: int,
        call: Call | None = None,
    ) -> Results:
        """Give the results that are to be written, as tensors of their own where they are others.

        Dimension `dim` of the tensors is the first one that the region has. Raises ModelError for bounds within which
        an output has no number, and for a function that fails, or gives others than outputs; CompileError for one
        that is none.
        """
        outside: dict[int, int] = {}
        if self._clips:
            if call is not None:
                call.leave_to_host("the count of numbers that clip sets")
            results = self._clipped(results, outside)
        if self._site.project is not None:
            if call is not None:
                call.leave_to_host("the function of project")
            count = len(targets)
            whole = [_joined([result for _, result in results[n::count]], dim) for n in range(count)]
            results = list(zip(targets, self._projected(whole, inputs, targets, dim), strict=True))
            guarded.note_projected(self._site.label)
        for number, found in outside.items():
            guarded.note_clipped(self._site.label, self._name(number), found)
        return results

    def _clipped(self, results: Results, outside: dict[int, int]) -> Results:
        """The results within their bounds; `outside` counts those of each output that were not."""
        count, made = len(self._site.outputs), list(results)
        for place, (target, result) in enumerate(results):
            number = place % count
            if number >= len(self._clips):
                continue
            result = result.byte() if result.dtype is torch.bool else result
            clipped, found = self._within(number, target.dtype, result.dtype).clip(result)
            made[place] = target, clipped
            outside[number] = outside.get(number, 0) + found
        return made

    def _within(self, number: int, target: torch.dtype, dtype: torch.dtype) -> Clip:
        """The bounds that both the result and its target have, so that these hold for what is written."""
        key = number, target, dtype
        if (known := self._known.get(key)) is None:
            try:
                known = self._known[key] = self._clips[number].within(target, dtype)
            except ValueError as error:
                raise ModelError(
                    f"clip of the output '{self._name(number)}' of the region '{self._site.label}': {error}"
                ) from None
        return known

    def _name(self, number: int) -> str:
        names = [part.name for part in self._outputs if part.tensor == number]
        return ", ".join(names) or f"output {number}"

    def _projected(
        self,
        outputs: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        dim: int,
    ) -> list[torch.Tensor]:
        """What the function makes of copies of outputs, which have the dtypes of their targets where these are floats.

        It may write to them, exchange them in its mapping, or return a mapping of those that it replaces.
        """
        function = self._function()
        own = [
            result.to(target.device, target.dtype if target.is_floating_point() else result.dtype, copy=True)
            for result, target in zip(outputs, targets, strict=True)
        ]
        arrays = frame.arrays()
        as_numpy = _as_numpy([*own, *inputs])
        give: Callable[[torch.Tensor], Any] = cast(Any, torch.Tensor.numpy) if as_numpy else _as_it_is
        given = {part.name: give(_of(part, own, dim)) for part in self._outputs}
        told = {part.name: give(_of(part, inputs, dim).clone()) for part in self._inputs}
        changed = dict(given)
        try:
            returned = function(changed, told)
        except HpacmlError:
            raise
        except Exception as error:
            raise self._misfit(function, f"it fails: {summary(error)}") from error
        if not frame.is_in_place():
            require_in_place(*arrays, f"the function {_name(function)}")
        if returned is not None and not isinstance(returned, Mapping):
            raise self._misfit(
                function,
                f"it gives a {type(returned).__name__}: it changes outputs in place, or gives a mapping of some",
            )
        replaced = {key: value for key, value in changed.items() if value is not given.get(key)}
        replaced |= cast("Mapping[str, Any]", returned or {})
        for key, value in replaced.items():
            own = self._with(function, key, value, own, dim)
        return own

    def _function(self) -> Callable[..., object]:
        """The argument of the call, or what the function that has the region sees by this name."""
        name = str(self._site.project)
        try:
            found = frame.current().argument(name)
        except (KeyError, HpacmlError):
            found = frame.paths().seen(name)
        if callable(found):
            return found
        what = "no argument of the call, and the region sees none" if found is None else f"a {type(found).__name__}"
        told = self._told(name, f"it is to be a function, which takes outputs and inputs, and it is {what}")
        raise CompileError(told)  # no fault of the model, which on_error is for

    def _with(
        self, function: object, key: object, value: object, own: Sequence[torch.Tensor], dim: int
    ) -> list[torch.Tensor]:
        """The outputs with another part. Raises ModelError for one that does not fit."""
        part = next((part for part in self._outputs if part.name == key), None)
        if part is None:
            known = ", ".join(f"'{each.name}'" for each in self._outputs)
            raise self._misfit(function, f"it gives '{key}', and the outputs are {known}")
        made, whole = list(own), own[part.tensor]
        wanted = _of(part, own, dim)
        try:
            given = value.clone() if isinstance(value, torch.Tensor) else torch.as_tensor(np.array(value, order="C"))
        except Exception as error:
            raise self._misfit(function, f"it gives a {type(value).__name__} for the output '{key}'") from error
        if given.shape != wanted.shape or given.dtype not in REAL:
            raise self._misfit(
                function, f"it gives {describe([given])} for the output '{key}', which is {describe([wanted])}"
            )
        given = given.to(wanted.device, wanted.dtype)
        if part.columns is None:
            made[part.tensor] = given.unsqueeze(0) if dim else given
        else:
            made[part.tensor] = whole.clone()
            _of(part, made, dim).copy_(given)
        return made

    def _misfit(self, function: object, what: str) -> ModelError:
        return ModelError(self._told(function, what))

    def _told(self, function: object, what: str) -> str:
        return f"project({_name(function)}) of the region '{self._site.label}': {what}"


def _name(function: object) -> str:
    return function if isinstance(function, str) else getattr(function, "__name__", repr(function))


def _of(part: Part, tensors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """A part, without the dimension in front of those that the region has."""
    tensor = tensors[part.tensor].squeeze(0) if dim else tensors[part.tensor]
    return tensor if part.columns is None else tensor[..., part.columns]


def _as_numpy(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether the function gets NumPy's arrays: where tensors may be such, and the program has no tensors of Torch."""
    if frame.is_on_device() or any(not x.is_cpu or x.dtype is torch.bfloat16 or x.requires_grad for x in tensors):
        return False
    return not any(isinstance(view.owner, torch.Tensor) for view in frame.arrays()[1])


def _joined(tensors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
