"""The inference of one call site: memory to tensors, the model, tensors to memory. It imports Torch."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

import torch

from hpacml.errors import HpacmlError, ModelError
from hpacml.runtime import model as models
from hpacml.runtime.memref import tensor_from_descriptor
from hpacml.runtime.model import Model, describe, summary
from hpacml.runtime.sites import InferSite, Paths, TensorType

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
_version = attrgetter("_version")  # counts the writes to a tensor


class Memory(NamedTuple):
    """A tensor over memory that is not its own, and the addresses between which it lies."""

    tensor: torch.Tensor
    low: int
    high: int


class Inference:
    """The inferences of one call site, which keeps what they have in common."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        self._paths = Paths()
        self._count = len(site.inputs)
        self._tensors = [_Tensor(type) for type in (*site.inputs, *site.outputs)]
        self._pointers = ctypes.c_size_t * len(self._tensors)

    def run(self, tensors: int) -> None:
        """Fill the destinations with what the model makes of the inputs; `tensors` as for `hpacml_infer`.

        The model computes in its own floating dtype, and in evaluation mode; a passed module that was in
        training mode is so again afterwards. The cast to a destination's dtype is that of `Tensor.copy_`.
        Raises ModelError, and then has written to no destination.
        """
        addresses = self._pointers.from_address(tensors)
        memories = [tensor.at(address) for tensor, address in zip(self._tensors, addresses, strict=True)]
        inputs = [memory.tensor for memory in memories[: self._count]]
        destinations = memories[self._count :]
        model = self._model()
        if all([memory.low == memory.high for memory in destinations]):
            return
        with torch.inference_mode():
            if self._site.batch is None:
                targets = [memory.tensor for memory in destinations]
                results = self._results(model, inputs, targets, destinations)
            else:
                results = self._batches(self._site.batch, model, inputs, destinations)
            for target, result in results:
                target.copy_(result)

    def _model(self) -> Model:
        given = self._site.model.find(VARIABLE)
        try:
            if isinstance(given, (str, os.PathLike)):
                return models.load(self._paths[given])
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
            f"the argument '{self._site.model.argument}' of the region '{self._site.label}' is a "
            f"{type(given).__name__}: pass the path of a model, a torch.nn.Module or another callable"
        )

    def _batches(
        self, rows: int, model: Model, inputs: Sequence[torch.Tensor], destinations: Sequence[Memory]
    ) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """The results of one model call per `rows` rows, when all of them are there."""
        tensors = [*inputs, *(memory.tensor for memory in destinations)]
        if not all(tensor.dim() and tensor.shape[0] == tensors[0].shape[0] for tensor in tensors):
            raise ModelError(
                f"the region '{self._site.label}' has the clause batch, but the numbers of rows differ, "
                f"which are the first dimensions of its tensors: {describe(tensors)}"
            )
        rows = rows or max(1, POINTS // max(1, math.prod(tensors[0].shape[1:-1])))
        blocks = list(zip(*(tensor.split(rows) for tensor in tensors), strict=True))
        return [
            result
            for block in blocks
            for result in self._results(model, block[: self._count], block[self._count :], destinations)
        ]

    def _results(
        self,
        model: Model,
        inputs: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        destinations: Sequence[Memory],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The targets, which lie in the `destinations`, each with what is to be copied into it."""
        returned = self._evaluate(model, inputs)
        outputs = (returned,) if isinstance(returned, torch.Tensor) else returned
        if not isinstance(outputs, (tuple, list)) or len(outputs) != len(targets):
            raise self._misfit(model, f"it returns {_kind(returned)}", f"has {_tensors(len(targets))} to fill")
        results: list[tuple[torch.Tensor, torch.Tensor]] = []
        for number, target in enumerate(targets):
            output: object = outputs[number]
            if (
                not isinstance(output, torch.Tensor)
                or output.shape != target.shape
                or output.dtype not in _REAL
                or output.layout is not torch.strided
            ):
                raise self._output_misfit(model, number, output, target)
            low, high = _extent(output)
            for memory in destinations:
                if low < memory.high and memory.low < high:
                    output = output.clone()  # what it is would change while the destinations are written
                    break
            results.append((target, output))
        return results

    def _evaluate(self, model: Model, inputs: Sequence[torch.Tensor]) -> object:
        """What the model returns for `inputs`, in whose memory it must not write."""
        arguments = self._arguments(model, inputs)
        versions = [*map(_version, arguments)]
        try:
            returned = model.network.run(*arguments)
        except HpacmlError:
            raise
        except Exception as error:
            raise self._failure(model, arguments, error) from error
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
        dtypes, device = model.network.wants(inputs)
        if len(dtypes) != len(inputs):
            takes = f"it takes {_tensors(len(dtypes))} ({model.network.declaration})"
            raise self._misfit(model, takes, f"gives {len(inputs)} ({describe(inputs)})")
        if model.writes_inputs is False and device.type == "cpu":
            for x, dtype in zip(inputs, dtypes, strict=True):
                if x.dtype is not dtype:
                    break
            else:
                return inputs
        copy = model.writes_inputs is not False
        with torch.inference_mode(False):  # where tensors count what is written to them
            return [x.to(device, dtype, copy=copy) for x, dtype in zip(inputs, dtypes, strict=True)]

    def _failure(self, model: Model, arguments: Sequence[torch.Tensor], error: Exception) -> ModelError:
        declaration = model.network.declaration
        wanted = f". Its file declares the inputs {declaration}" if declaration else ""
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
            elif output.numel() == target.numel():
                extra = ": reshape it in the model"
        maps = self._site.maps
        known = len(maps) == len(self._tensors)
        place = f"the map '{maps[self._count + number]}'" if known else f"its output {number}"
        return self._misfit(model, found, f"expects {describe([target])} for {place}{extra}")

    def _misfit(self, model: Model, found: str, expected: str) -> ModelError:
        region = f"the region '{self._site.label}'"
        return ModelError(f"the model {model.name} does not fit {region}: {found}, but the region {expected}")


class _Tensor:
    """One tensor of a call site; where it lies now is often where it lay at the last call."""

    def __init__(self, type: TensorType) -> None:
        self._type = type
        self._size = 8 * (3 + 2 * type.rank)
        self._last: tuple[bytes, Memory] | None = None

    def at(self, address: int) -> Memory:
        """The tensor whose descriptor is at `address`."""
        descriptor = ctypes.string_at(address, self._size)
        if (last := self._last) is None or last[0] != descriptor:
            with torch.inference_mode(False):  # where tensors count what is written to them
                tensor = tensor_from_descriptor(address, self._type.dtype, self._type.rank)
            last = self._last = (descriptor, Memory(tensor, *_extent(tensor)))
        return last[1]


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first byte and of the one behind its last."""
    low = tensor.data_ptr()
    if tensor.is_contiguous():
        return low, low + tensor.nbytes
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return low, low + (last + 1) * tensor.element_size()


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return "one tensor"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
