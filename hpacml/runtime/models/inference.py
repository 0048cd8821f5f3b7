"""The inference of one call site: memory to tensors, the model, tensors to memory. It imports Torch."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from hpacml.errors import HpacmlError, ModelError
from hpacml.runtime import checks, frame
from hpacml.runtime.arrays.views import tensor_from_descriptor, view_of_descriptor
from hpacml.runtime.map_digest import maps_sha256
from hpacml.runtime.models import fallback
from hpacml.runtime.models import model as models
from hpacml.runtime.models.model import Model, describe, summary
from hpacml.runtime.reports import instruments
from hpacml.runtime.sites import InferSite

if TYPE_CHECKING:
    from hpacml.runtime.gpu.call import Call

VARIABLE = "SURROGATE_MODEL"

POINTS = 4096
"""About how many points `batch` without a number gives to the model at once.

The points of a row are its feature vectors, of which the last dimension holds one each.
"""

_REAL = {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
}
_dtype = attrgetter("dtype")
_version = attrgetter("_version")  # counts the writes to a tensor


KNOWN_MEMORIES = 64
"""How many sets of tensors a call site remembers: programs swap buffers, and allocate where they freed."""


class Tensors(NamedTuple):
    """The tensors of one call, over memory that is not theirs. `extents` are the addresses of the targets."""

    inputs: list[torch.Tensor]
    targets: list[torch.Tensor]
    extents: list[tuple[int, int]]
    nothing_to_do: bool


@dataclass(slots=True)
class _Use:
    """A model that a call on a device has run."""

    inference: Inference
    model: Model
    device: str
    traits: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return self.inference.label

    def holds(self) -> bool:
        return self.inference.model(self.device) is self.model and self.model.network.addresses() == self.traits

    def remember(self) -> None:
        self.traits = self.model.network.addresses()

    def give_up(self) -> None:
        self.model.replayable = False


class Inference:
    """The inferences of one call site, which keeps what they have in common."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        self.label = site.label
        self._types = (*site.inputs, *site.outputs)
        self._pointers = ctypes.c_size_t * len(self._types)
        self._sizes = [8 * (3 + 2 * type.rank) for type in self._types]
        self._known: dict[tuple[object, ...], Tensors] = {}
        self._fitting: Model | None = None
        """The last model that was found to be trained for the maps of the site."""

    def run(self, tensors: int) -> bool:
        """Fill the destinations with what the model makes of the inputs; `tensors` as for `hpacml_infer`.

        The model computes in its own floating dtype, and in evaluation mode; a passed module that was in
        training mode is so again afterwards. The cast to a destination's dtype is that of `Tensor.copy_`.
        Raises ModelError, or returns False where the original code is to run instead; then nothing is written.
        """
        try:
            self._infer(tensors)
        except HpacmlError as error:
            if (call := frame.gpu()) is not None:
                call.on_host = True
                if call.capturing:
                    raise
            if not fallback.takes_over(self._site.label, self._site.on_error, error):
                raise
            return False
        return True

    def _infer(self, tensors: int) -> None:
        inputs, targets, extents, nothing_to_do = self._tensors(tensors)
        call = frame.gpu()
        model = self.model("cpu" if call is None else call.device.name)
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
                    call.leave_to_host(f"{checks.VARIABLE}=finite")
                self._check(model, results)
            for target, result in results:
                target.copy_(result)

    def _note_use(self, call: Call, model: Model, inputs: Sequence[torch.Tensor], nothing_to_do: bool) -> None:
        """Tell a call on a device which model it runs, or that this cannot be repeated without the host."""
        anchor = model.network.anchor()
        elsewhere = anchor is not None and anchor.device != inputs[0].device
        call.on_host |= elsewhere or nothing_to_do or not model.replayable or bool(checks.chosen())
        call.uses.append(_Use(self, model, call.device.name))

    def _tensors(self, tensors: int) -> Tensors:
        addresses = self._pointers.from_address(tensors)
        call = frame.gpu()
        descriptors = (call and call.device, *map(ctypes.string_at, addresses, self._sizes))
        if (known := self._known.get(descriptors)) is None:
            if len(self._known) >= KNOWN_MEMORIES:
                self._known.clear()
            known = self._known[descriptors] = self._make_tensors(addresses)
        return known

    def _make_tensors(self, addresses: Iterable[int]) -> Tensors:
        if torch.is_inference_mode_enabled():  # in which tensors do not count what is written to them
            with torch.inference_mode(False):
                return self._make_tensors(addresses)
        call = frame.gpu()
        tensors = [
            tensor_from_descriptor(address, type.dtype, type.rank)
            if call is None
            else call.device.tensor(view_of_descriptor(address, type.dtype, type.rank))
            for address, type in zip(addresses, self._types, strict=True)
        ]
        count = len(self._site.inputs)
        inputs, targets = tensors[:count], tensors[count:]
        return Tensors(inputs, targets, list(map(_extent, targets)), not any(t.numel() for t in targets))

    def model(self, device: str) -> Model:
        """The model of the current call; one of a file is on `device`. Raises ModelError if there is none."""
        given = self._site.model.find(VARIABLE)
        try:
            if isinstance(given, (str, os.PathLike)):
                return models.load(frame.paths()[given], device)
        except ModelError as error:
            raise ModelError(f"in the region '{self._site.label}': {error}") from error.__cause__
        if callable(given):
            return models.passed(given)
        if given is None:
            raise ModelError(
                f"the region '{self._site.label}' has no model: {self._site.model.why_none(VARIABLE)}; "
                "give model('FILE') in its ml directive, or set the variable to a file"
            )
        raise ModelError(
            f"the argument '{self._site.model.argument}' of the region '{self._site.label}' is of type "
            f"{type(given).__name__}: pass the path of a model, a torch.nn.Module or another callable"
        )

    def _require_maps(self, model: Model) -> None:
        """Raise ModelError for a model that was trained for other maps, where both tell theirs."""
        maps, trained = self._site.maps, model.network
        if maps and trained.maps_sha256 not in (None, maps_sha256(maps)):
            raise ModelError(
                f"the model {model.name} does not fit the region '{self._site.label}': it was trained for the maps\n"
                f"{_indented(trained.maps)}\nand the region has\n{_indented(maps)}\nTrain it on data of this region, "
                "or give the region those maps; if both mean the same to it, save it with maps=... of this region"
            )
        self._fitting = model

    def _batches(
        self,
        rows: int,
        model: Model,
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The results of one model call per `rows` rows, copied: a model may reuse the memory of its last ones."""
        tensors = [*inputs, *targets]
        if not all(tensor.dim() and tensor.shape[0] == tensors[0].shape[0] for tensor in tensors):
            raise ModelError(
                f"the region '{self._site.label}' has the clause batch, but the numbers of rows differ, "
                f"which are the first dimensions of its tensors: {describe(tensors)}"
            )
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
        """The targets, each with what is to be copied into it. What is written lies within `extents`."""
        returned = self._evaluate(model, inputs)
        outputs = (returned,) if isinstance(returned, torch.Tensor) else _sequence(returned)
        if outputs is None or len(outputs) != len(targets):
            raise self._misfit(model, f"it returns {_kind(returned)}", f"has {_tensors(len(targets))} to fill")
        results: list[tuple[torch.Tensor, torch.Tensor]] = []
        for number, target in enumerate(targets):
            output = outputs[number]
            if (
                not isinstance(output, torch.Tensor)
                or output.shape != target.shape
                or output.dtype not in _REAL
                or output.layout is not torch.strided
                or output.is_meta
            ):
                raise self._output_misfit(model, number, output, target)
            low, high = _extent(output)
            for start, stop in extents:
                if low < stop and start < high:
                    output = output.clone()  # or it would change while the targets are written
                    break
            results.append((target, output))
        return results

    def _evaluate(self, model: Model, inputs: Sequence[torch.Tensor]) -> object:
        """What the model returns for `inputs`, in whose memory it must not write."""
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
            raise self._failure(model, inputs, arguments, error) from error
        written = [*map(_version, arguments)] != versions
        if model.writes_inputs is None:
            model.writes_inputs = written
        elif written and not model.writes_inputs:
            model.writes_inputs = True
            if any(argument is x for argument, x in zip(arguments, inputs, strict=True)):
                raise ModelError(
                    f"the model {model.name} has changed its input in place, in memory of the region "
                    f"'{self._site.label}', which it did not do before: let it work on a copy"
                )
        return returned

    def _arguments(self, model: Model, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """`inputs` as the model takes them: in its dtype, on its device, and copied if it may write to them."""
        network = model.network
        anchor = network.anchor()
        dtypes = network.dtypes
        if dtypes is None:
            dtypes = tuple(map(_dtype, inputs)) if anchor is None else (anchor.dtype,) * len(inputs)
        elif len(dtypes) != len(inputs):
            takes = f"it takes {_tensors(len(dtypes))} ({network.declaration})"
            raise self._misfit(model, takes, f"gives {len(inputs)} ({describe(inputs)})")
        shared = model.writes_inputs is False and (anchor is None or anchor.device == inputs[0].device)
        if shared and all(map(is_, map(_dtype, inputs), dtypes)):
            return inputs
        device = inputs[0].device if anchor is None else anchor.device
        copy = model.writes_inputs is not False
        with torch.inference_mode(False):  # where tensors count what is written to them
            return [x.to(device, dtype, copy=copy) for x, dtype in zip(inputs, dtypes, strict=True)]

    def _failure(
        self, model: Model, inputs: Sequence[torch.Tensor], arguments: Sequence[torch.Tensor], error: Exception
    ) -> ModelError:
        network = model.network
        declared = network.inputs or ()
        for number, (input, wanted) in enumerate(zip(inputs, declared, strict=False)):
            if not wanted.fits(input):
                found = "its input" if len(declared) == 1 else f"its input {number}"
                place = self._place(number, f"its input {number}")
                return self._misfit(model, f"{found} is {wanted}", f"gives {describe([input])} by {place}")
        known = "Its file declares the inputs" if declared else "It was saved with the example"
        wanted = f". {known} {network.declaration}" if network.declaration else ""
        return ModelError(
            f"the model {model.name} failed in the region '{self._site.label}' on the inputs "
            f"{describe(arguments)}: {summary(error)}{wanted}"
        )

    def _output_misfit(self, model: Model, number: int, output: object, target: torch.Tensor) -> ModelError:
        several = len(self._site.outputs) > 1
        found, extra = f"its output {number}" if several else "its output", ""
        if not isinstance(output, torch.Tensor):
            found += f" is {_kind(output)}"
        else:
            found += f" is {describe([output])}"
            if output.layout is not torch.strided or output.dtype not in _REAL:
                extra = f", dense and of real numbers, not {output.layout}"
            elif output.is_meta:
                extra = ", with data, not on the device meta"
            elif output.numel() == target.numel():
                extra = ": reshape it in the model"
        place = self._place(len(self._site.inputs) + number, f"its output {number}")
        return self._misfit(model, found, f"expects {describe([target])} for {place}{extra}")

    def _place(self, number: int, otherwise: str) -> str:
        """The map of a tensor, counting inputs and outputs, if the site tells its maps."""
        maps = self._site.maps
        return f"the map '{maps[number]}'" if len(maps) == len(self._types) else otherwise

    def _check(self, model: Model, results: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
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
                place = self._place(len(self._site.inputs) + number, f"its output {number}")
                raise ModelError(
                    f"the model {model.name} gives values that are not finite in the region '{self._site.label}': "
                    f"{count} of output {number}, {place}, the first at {first}"
                )

    def _misfit(self, model: Model, found: str, expected: str) -> ModelError:
        region = f"the region '{self._site.label}'"
        return ModelError(f"the model {model.name} does not fit {region}: {found}, but the region {expected}")


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first byte and of the one behind its last."""
    low = tensor.data_ptr()
    if tensor.is_contiguous():
        return low, low + tensor.nbytes
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return low, low + (last + 1) * tensor.element_size()


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _sequence(value: object) -> Sequence[object] | None:
    return cast("Sequence[object]", value) if isinstance(value, (tuple, list)) else None


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return "one tensor"
    name = "None" if value is None else f"a {type(value).__name__}"
    return name if (items := _sequence(value)) is None else f"{name} of {len(items)}"


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
