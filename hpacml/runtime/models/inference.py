"""The inference of one call site: memory to tensors, the model, tensors to memory. It imports Torch."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from hpacml import environment
from hpacml.abi.records import InferSite
from hpacml.dtypes import DTYPES
from hpacml.errors import HpacmlError, ModelError
from hpacml.runtime import checks, frame
from hpacml.runtime.arrays.views import tensor_from_descriptor, view_of_descriptor
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.map_digest import maps_sha256
from hpacml.runtime.models import fallback
from hpacml.runtime.models.intake import first_inexact, is_about_dtypes, is_checked, taken
from hpacml.runtime.models.misfits import REAL, Misfits
from hpacml.runtime.models.model import Model, load, passed
from hpacml.runtime.models.outputs import by_name, fields, in_order, keys_of, names_of_outputs
from hpacml.runtime.reports import instruments
from hpacml.runtime.sites import find, why_none

if TYPE_CHECKING:
    from hpacml.runtime.gpu.device_call import Call

POINTS = 4096
"""How many points `batch` without a number gives to the model at once, in whole rows.

The points of a row are its feature vectors, of which the last dimension holds one each.
"""

_dtype = attrgetter("dtype")
_version = attrgetter("_version")  # counts the writes to a tensor

KNOWN_MEMORIES = 64
"""How many sets of tensors a call site remembers: programs swap buffers, and allocate where they freed."""


class CallTensors(NamedTuple):
    """The tensors of one call, which do not own their memory. `extents` are the addresses of the targets."""

    inputs: list[torch.Tensor]
    targets: list[torch.Tensor]
    extents: list[tuple[int, int]]
    nothing_to_do: bool


@dataclass(slots=True)
class _Use:
    """A model that a call on a device has run. A graph of the call is valid as long as it `holds`."""

    inference: Inference
    model: Model
    device: str
    traits: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return self.inference.label

    def holds(self) -> bool:
        return self.inference.find_model(self.device) is self.model and self.model.network.addresses() == self.traits

    def remember(self) -> None:
        self.traits = self.model.network.addresses()

    def give_up(self) -> None:
        self.model.replayable = False


class Inference:
    """Runs the inferences of one call site, and keeps what they have in common."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        self._misfits = Misfits(site)
        self.label = site.label
        self._types = (*site.inputs, *site.outputs)
        self._pointer_array = ctypes.c_size_t * len(self._types)
        self._sizes = [8 * (3 + 2 * type.rank) for type in self._types]
        self._known: dict[tuple[object, ...], CallTensors] = {}
        self._floats = all(DTYPES[type.dtype].kind == "f" for type in site.inputs)
        self._checked: dict[tuple[torch.dtype, ...], list[int]] = {}
        """The numbers of the inputs of which each element is checked, by the dtypes that a model takes."""
        self._fitting: Model | None = None
        """The last model that was found to be trained for the maps of the site."""

    def run(self, pointers: int) -> bool:
        """Fill the destinations with what the model makes of the inputs; `pointers` is what `hpacml_infer` gets.

        The model computes in its own floating dtype, and in evaluation mode; a passed module that was in
        training mode is so again afterwards. The cast to a destination's dtype is that of `Tensor.copy_`.
        Raises ModelError, or returns False where the original code is to run instead; then nothing is written.
        """
        try:
            self._infer(pointers)
        except HpacmlError as error:
            if (call := innermost()) is not None:
                call.on_host = True
                if call.capturing:
                    raise
            if not fallback.takes_over(self._site.label, self._site.on_error, error):
                raise
            return False
        return True

    def _infer(self, pointers: int) -> None:
        inputs, targets, extents, nothing_to_do = self._call_tensors(pointers)
        call = innermost()
        model = self.find_model("cpu" if call is None else call.device.name)
        if model is not self._fitting:
            self._require_maps(model)
        if call is not None:
            self._note_use(call, model, inputs, nothing_to_do)
        if nothing_to_do:
            return
        with torch.inference_mode():
            if self._site.batch is None:
                results = self._results(model, inputs, targets, extents)
            else:
                results = self._batches(self._site.batch, model, inputs, targets, extents)
            if "finite" in checks.chosen():
                if call is not None:
                    call.leave_to_host(f"{environment.CHECK.name}=finite")
                self._require_finite(model, results)
            for target, result in results:
                target.copy_(result)

    def _note_use(self, call: Call, model: Model, inputs: Sequence[torch.Tensor], nothing_to_do: bool) -> None:
        """Tell a call on a device which model it runs, or that this cannot be repeated without the host."""
        anchor = model.network.anchor()
        elsewhere = anchor is not None and anchor.device != inputs[0].device
        call.on_host |= elsewhere or nothing_to_do or not model.replayable or bool(checks.chosen())
        call.uses.append(_Use(self, model, call.device.name))

    def _call_tensors(self, pointers: int) -> CallTensors:
        """Give the tensors over the memory of this call, the same ones for the same memory."""
        addresses = self._pointer_array.from_address(pointers)
        call = innermost()
        descriptors = (call and call.device, *map(ctypes.string_at, addresses, self._sizes))
        if (known := self._known.get(descriptors)) is None:
            if len(self._known) >= KNOWN_MEMORIES:
                self._known.clear()
            known = self._known[descriptors] = self._view(addresses)
        return known

    def _view(self, addresses: Iterable[int]) -> CallTensors:
        if torch.is_inference_mode_enabled():  # in which tensors do not count what is written to them
            with torch.inference_mode(False):
                return self._view(addresses)
        call = innermost()
        tensors = [
            tensor_from_descriptor(address, type.dtype, type.rank)
            if call is None
            else call.device.tensor(view_of_descriptor(address, type.dtype, type.rank))
            for address, type in zip(addresses, self._types, strict=True)
        ]
        count = len(self._site.inputs)
        inputs, targets = tensors[:count], tensors[count:]
        return CallTensors(inputs, targets, list(map(_extent, targets)), not any(t.numel() for t in targets))

    def find_model(self, device: str) -> Model:
        """Find the model of the current call; one of a file is on `device`. Raises ModelError if there is none."""
        given = find(self._site.model, environment.SURROGATE_MODEL)
        try:
            if frame.is_path(given):
                return load(frame.paths().absolute(given), device)
        except ModelError as error:
            raise ModelError(f"in the region '{self._site.label}': {error}") from error.__cause__
        if callable(given):
            return passed(given)
        if given is None:
            why = why_none(self._site.model, environment.SURROGATE_MODEL)
            raise ModelError(
                f"the region '{self._site.label}' has no model: {why}; "
                "give model('FILE') in its ml directive, or set the variable to a file"
            )
        raise ModelError(
            f"the argument '{self._site.model.argument}' of the region '{self._site.label}' is of type "
            f"{type(given).__name__}: pass the path of a model, a torch.nn.Module or another callable"
        )

    def _require_maps(self, model: Model) -> None:
        """Raise ModelError for a model that was trained for other maps, where both tell theirs."""
        maps = self._site.maps
        if maps and model.network.maps_sha256 not in (None, maps_sha256(maps)):
            raise self._misfits.maps(model)
        self._fitting = model

    def _batches(
        self,
        rows: int,
        model: Model,
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give the results of one model call per `rows` rows, copied: a model may reuse the memory of its last ones."""
        tensors = [*inputs, *targets]
        if not all(tensor.dim() and tensor.shape[0] == tensors[0].shape[0] for tensor in tensors):
            raise self._misfits.rows(tensors)
        rows = rows or max(1, POINTS // max(1, math.prod(tensors[0].shape[1:-1])))
        results: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start in range(0, tensors[0].shape[0], rows):
            block = [tensor[start : start + rows] for tensor in tensors]
            of_block = self._results(model, block[: len(inputs)], block[len(inputs) :], extents)
            results += [(target, output.clone()) for target, output in of_block]
        return results

    def _results(
        self,
        model: Model,
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Pair the targets with what is to be copied into them. What is written lies within `extents`."""
        returned = self._evaluate(model, inputs)
        outputs = (returned,) if isinstance(returned, torch.Tensor) else self._outputs(model, returned)
        if outputs is None or len(outputs) != len(targets):
            raise self._misfits.outputs(model, returned, len(targets))
        results: list[tuple[torch.Tensor, torch.Tensor]] = []
        for number, target in enumerate(targets):
            output = outputs[number]
            if isinstance(output, torch.Tensor) and output.shape != target.shape:
                output = _with_last_dimension(output, target)
            if (
                not isinstance(output, torch.Tensor)
                or output.shape != target.shape
                or output.dtype not in REAL
                or output.layout is not torch.strided
                or output.is_meta
            ):
                raise self._misfits.output(model, number, output, target)
            low, high = _extent(output)
            for start, stop in extents:
                if low < stop and start < high:
                    output = output.clone()  # or it would change while the targets are written
                    break
            results.append((target, output))
        return results

    def _outputs(self, model: Model, returned: object) -> Sequence[object] | None:
        """Give what a model returns in the order of the targets: by names, where it has these, else as it is."""
        outputs = in_order(returned)
        named = by_name(returned)
        names = tuple(named) if named is not None else fields(returned) or (model.network.names if outputs else ())
        if not names:
            return outputs
        wanted = self._names
        keys = keys_of(names, wanted)
        if named is not None and keys is not None:
            return [named[key] for key in keys]
        if outputs is not None and keys is not None:
            return [outputs[names.index(key)] for key in keys]
        if outputs is not None and frozenset().union(*wanted).isdisjoint(names):
            return outputs  # a named tuple has an order, too
        raise self._misfits.names(model, names, wanted)

    @cached_property
    def _names(self) -> list[frozenset[str]]:
        """The names of the outputs: those of the arrays that they write, else those of their functors."""
        return names_of_outputs(self._site.maps[len(self._site.inputs) :], len(self._site.outputs))

    def _evaluate(self, model: Model, inputs: Sequence[torch.Tensor]) -> object:
        """Run the model on `inputs`, in whose memory it must not write."""
        arguments = self._arguments(model, inputs)
        versions = [*map(_version, arguments)]
        run = model.network.run
        try:
            if (chosen := instruments.current) is instruments.OFF:
                returned = run(*arguments)
            else:
                returned = chosen.run_network(self._site.label, run, arguments)
        except HpacmlError:
            raise
        except Exception as error:
            if self._takes_others(model, inputs, error):
                return self._evaluate(model, inputs)
            raise self._misfits.failure(model, inputs, arguments, error) from error
        written = [*map(_version, arguments)] != versions
        if model.writes_inputs is None:
            model.writes_inputs = written
        elif written and not model.writes_inputs:
            model.writes_inputs = True
            if any(argument is x for argument, x in zip(arguments, inputs, strict=True)):
                raise self._misfits.changed_input(model)
        return returned

    def _arguments(self, model: Model, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Convert `inputs` to what the model takes: its dtype, its device, and a copy if it may write to them."""
        network = model.network
        anchor = network.anchor()
        dtypes = network.dtypes
        if dtypes is None:
            dtypes = self._taken(model, inputs, anchor)
        elif len(dtypes) != len(inputs):
            raise self._misfits.inputs(model, inputs)
        shared = model.writes_inputs is False and (anchor is None or anchor.device == inputs[0].device)
        if shared and all(map(is_, map(_dtype, inputs), dtypes)):
            return inputs
        device = inputs[0].device if anchor is None else anchor.device
        copy = model.writes_inputs is not False
        with torch.inference_mode(False):  # where tensors count what is written to them
            arguments = [x.to(device, dtype, copy=copy) for x, dtype in zip(inputs, dtypes, strict=True)]
        if (checked := self._checked.get(dtypes)) is None:
            pairs = enumerate(zip(inputs, dtypes, strict=True))
            checked = self._checked[dtypes] = [n for n, (x, dtype) in pairs if is_checked(x.dtype, dtype)]
        for number in checked:
            self._require_exact(model, number, inputs[number], arguments[number])
        return arguments

    def _taken(
        self, model: Model, inputs: Sequence[torch.Tensor], anchor: torch.Tensor | None, failed: bool = False
    ) -> tuple[torch.dtype, ...]:
        """Give the dtypes in which a model takes inputs that tells none.

        Integers make it find out once, and a failure with floats does, where no weight tells their dtype.
        """
        if anchor is not None and self._floats:
            return (anchor.dtype,) * len(inputs)
        given = tuple(map(_dtype, inputs))
        floating, device = (None, inputs[0].device) if anchor is None else (anchor.dtype, anchor.device)
        if (known := model.taken.get((*given, floating))) is not None:
            return known
        if model.network.trial is None or (self._floats and not failed):
            return given
        known, works = taken(model.network.trial, [x.to(device) for x in inputs], floating)
        if works:
            model.taken[*given, floating] = known
        return known

    def _takes_others(self, model: Model, inputs: Sequence[torch.Tensor], error: Exception) -> bool:
        """Tell whether a model that has failed and tells no dtype takes other floats, as quantized ones do."""
        network = model.network
        if network.anchor() is not None or network.dtypes is not None or not is_about_dtypes(error):
            return False
        known = len(model.taken)
        self._taken(model, inputs, None, failed=True)
        return len(model.taken) > known

    def _require_exact(self, model: Model, number: int, given: torch.Tensor, converted: torch.Tensor) -> None:
        """Raise ModelError for integers that a conversion makes other numbers, or numbers that are none."""
        if (call := innermost()) is not None:
            call.leave_to_host("a check that integers keep their values")
        if (place := first_inexact(given, converted.to(given.device))) is not None:
            raise self._misfits.inexact(model, number, given, converted.dtype, place)

    def _require_finite(self, model: Model, results: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Raise ModelError for outputs that are not finite, as they are or in the dtype of their target."""
        outputs = len(self._site.outputs)
        for number in range(outputs):
            count, row, first = 0, 0, ""
            for target, output in results[number::outputs]:
                bad = ~(output.isfinite() & output.to(target.dtype).isfinite())
                if found := int(bad.sum()):
                    position = cast("list[int]", cast(Any, bad.nonzero()[0]).tolist())
                    value = output[tuple(position)].item()
                    first = first or f"{[row + d if n == 0 else d for n, d in enumerate(position)]}, {value}"
                    count += found
                row += len(target) if target.dim() else 0
            if count:
                raise self._misfits.not_finite(model, number, count, first)


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Give the addresses of a tensor's first byte and of the one behind its last."""
    low = tensor.data_ptr()
    if tensor.is_contiguous():
        return low, low + tensor.nbytes
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return low, low + (last + 1) * tensor.element_size()


def _with_last_dimension(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Give an output the shape of its target where they differ by a last dimension of 1, else as it is."""
    if output.shape == (*target.shape, 1):
        return output.squeeze(-1)
    return output.unsqueeze(-1) if (*output.shape, 1) == target.shape else output
