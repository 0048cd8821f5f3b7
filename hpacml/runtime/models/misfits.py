"""The errors of a call site whose model does not fit it. It imports Torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch

from hpacml.abi.records import InferSite
from hpacml.directives.map_texts import Maps
from hpacml.dtypes import DTYPES
from hpacml.errors import ModelError, summary
from hpacml.runtime.models.model import Model
from hpacml.runtime.models.network import describe

REAL = {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
}
"""The dtypes that an output may have."""


KINDS = {"b": "truth values", "u": "unsigned integers", "i": "signed integers", "f": "floats"}
"""What the kinds of element types are called."""


class Misfits:
    """Makes the errors of one call site, which name its region, and its maps if the site tells them."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        self._region = f"the region '{site.label}'"

    def maps(self, model: Model, reason: str) -> ModelError:
        """For a model that was trained for other maps, and how these differ."""
        return ModelError(
            f"the model {model.name} does not fit {self._region}: it was trained for the maps\n"
            f"{_indented(model.network.maps)}\nand the region has\n{_indented(self._site.maps)}\n"
            f"{reason}: train it on data of this region, "
            "or give the region those maps; if both mean the same to it, save it with maps=... of this region"
        )

    def without_derivatives(self, model: Model) -> ModelError:
        """For a model of whose outputs Torch knows no derivatives, although something in it has them."""
        return ModelError(
            f"the model {model.name} of {self._region} has no gradient: Torch does not know how its outputs depend on "
            "its inputs and parameters. It detaches them, computes under torch.no_grad() or outside of Torch, takes "
            "derivatives without create_graph=True, or is compiled, as AOTInductor's packages are: change that, or "
            "take no gradient of it (outside of hpacml.differentiable(), torch.no_grad(), jax.lax.stop_gradient)"
        )

    def element_type(self, model: Model, number: int, maps: Maps) -> ModelError:
        """For a model that was trained with elements of another kind in map `number` of the region."""
        from hpacml.directives.recorded import read_map

        text, has, had = maps[number], DTYPES[maps.dtypes[number]], DTYPES[model.network.maps.dtypes[number]]
        recorded = read_map(text)
        targets = recorded.targets if recorded is not None else None
        arrays = " and ".join(f"'{target.array}'" for target in dict.fromkeys(targets or ()))
        what = "integers of another width" if has.kind == had.kind else f"{KINDS[had.kind]}, not {KINDS[has.kind]}"
        return ModelError(
            f"the model {model.name} does not fit {self._region}: it was trained with {had.long_name} where the region "
            f"has {has.long_name}, {what}, in {arrays or 'the array'} of the map '{text}': give it an array like those "
            "of its training data, or train it on data of this region; if the numbers mean the same to it, save it "
            "with maps=... of this region"
        )

    def rows(self, tensors: Sequence[torch.Tensor], dim: int) -> ModelError:
        """For tensors that have no rows in common, their dimension `dim`, by which `batch` could divide them."""
        return ModelError(
            f"{self._region} has the clause batch, but the numbers of rows differ, "
            f"which are the first dimensions of its tensors: {describe([*(x[0] if dim else x for x in tensors)])}"
        )

    def inputs(self, model: Model, inputs: Sequence[torch.Tensor]) -> ModelError:
        """For a model that takes another number of inputs."""
        takes = f"it takes {_counted(len(model.network.dtypes or ()))} ({model.network.declaration})"
        return self._misfit(model, takes, f"gives {len(inputs)} ({describe(inputs)})")

    def inexact(
        self, model: Model, number: int, input: torch.Tensor, dtype: torch.dtype, place: Sequence[int]
    ) -> ModelError:
        """For an input with an element that the dtype in which the model takes it does not have."""
        taken, value = str(dtype).removeprefix("torch."), input[tuple(place)].item()
        found = f"it takes its input {number} as {taken}, which does not have {value}"
        fix = (
            "write it with save_model(example=...) of integers if it uses them as integers, else give floating arrays"
            if dtype.is_floating_point
            else "give it an array of integers of this range"
        )
        gives = f"gives that at {list(place)} in {describe([input])} by {self._place(number, f'its input {number}')}"
        return self._misfit(model, found, f"{gives}: {fix}")

    def failure(
        self, model: Model, inputs: Sequence[torch.Tensor], arguments: Sequence[torch.Tensor], error: Exception
    ) -> ModelError:
        """For a model that raises `error` on `arguments`, converted `inputs`: the input that it declares otherwise."""
        network = model.network
        declared = network.inputs or ()
        for number, (input, wanted) in enumerate(zip(inputs, declared, strict=False)):
            if not wanted.fits(input.shape):
                found = "its input" if len(declared) == 1 else f"its input {number}"
                place = self._place(number, f"its input {number}")
                return self._misfit(model, f"{found} is {wanted}", f"gives {describe([input])} by {place}")
        known = "Its file declares the inputs" if declared else "It was saved with the example"
        wanted = f". {known} {network.declaration}" if network.declaration else ""
        return ModelError(
            f"the model {model.name} failed in {self._region} on the inputs "
            f"{describe(arguments)}: {summary(error)}{wanted}"
        )

    def changed_input(self, model: Model) -> ModelError:
        """For a model that writes to its inputs, after calls in which it did not."""
        return ModelError(
            f"the model {model.name} has changed its input in place, in memory of {self._region}, "
            "which it did not do before: let it work on a copy"
        )

    def outputs(self, model: Model, returned: object, targets: int) -> ModelError:
        """For a model that does not return one tensor for each target."""
        maps = self._site.maps
        mend = ""
        if maps and len(maps) < len(self._site.inputs) + len(self._site.outputs):
            mend = (
                ". The last one is the model's own uncertainty, for guard(below: ...): have it return one number more "
                "for each point, as hpacml.Ensemble does with several models"
            )
        return self._misfit(model, f"it returns {_kind(returned)}", f"has {_counted(targets)} to fill{mend}")

    def names(self, model: Model, names: Sequence[str], wanted: Sequence[Collection[str]]) -> ModelError:
        """For a model that returns its outputs by names, where those of the region have others."""
        outputs = ", ".join(
            " or ".join(f"'{name}'" for name in sorted(each)) or "one without a name" for each in wanted
        )
        return self._misfit(
            model, f"it returns {', '.join(map(repr, names)) or 'nothing'}", f"has the outputs {outputs}"
        )

    def output(self, model: Model, number: int, output: object, target: torch.Tensor) -> ModelError:
        """For an output that cannot be copied into its target."""
        several = len(self._site.outputs) > 1
        found, extra = f"its output {number}" if several else "its output", ""
        if not isinstance(output, torch.Tensor):
            found += f" is {_kind(output)}"
        elif output.is_nested:
            found, extra = f"{found} is nested", ": pad it in the model, by torch.nested.to_padded_tensor"
        else:
            found += f" is {describe([output])}"
            if output.layout is not torch.strided or output.dtype not in REAL:
                extra = f", dense and of real numbers, not {output.layout}"
            elif output.is_meta:
                extra = ", with data, not on the device meta"
            elif output.shape == target.shape:
                extra = (
                    f", in plain memory, which this {type(output).__name__} lacks: return a torch.Tensor of its numbers"
                )
            elif output.numel() == target.numel():
                extra = ": reshape it in the model"
        expects = f"expects {describe([target])} for {self._output_place(number)}{extra}"
        return self._misfit(model, found, expects)

    def not_finite(self, model: Model, number: int, count: int, first: str) -> ModelError:
        """For an output with `count` values that are not finite; `first` is where and what the first is."""
        return ModelError(
            f"the model {model.name} gives values that are not finite in {self._region}: "
            f"{count} of output {number}, {self._output_place(number)}, the first at {first}"
        )

    def _misfit(self, model: Model, found: str, expected: str) -> ModelError:
        return ModelError(f"the model {model.name} does not fit {self._region}: {found}, but the region {expected}")

    def _output_place(self, number: int) -> str:
        return self._place(len(self._site.inputs) + number, f"its output {number}")

    def _place(self, number: int, otherwise: str) -> str:
        """Name the map of a tensor, counting inputs and outputs."""
        maps = self._site.maps
        complete = len(maps) == len(self._site.inputs) + len(self._site.outputs)
        return f"the map '{maps[number]}'" if complete else otherwise


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return "one tensor"
    name = "None" if value is None else f"a {type(value).__name__}"
    return f"{name} of {len(cast('Sequence[object]', value))}" if isinstance(value, (tuple, list)) else name


def _counted(tensors: int) -> str:
    return "1 tensor" if tensors == 1 else f"{tensors} tensors"
