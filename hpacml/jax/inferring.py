"""What the inferences of one region have in common."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hpacml.abi.records import InferSite, Source, TensorType
from hpacml.directives.syntax import MlDirective, Name
from hpacml.jax.call_primitive import ArrayForm
from hpacml.runtime.arrays.views import ArrayView, view_of_descriptor
from hpacml.runtime.frame import Frame, Paths


class Inferring(NamedTuple):
    """What inferences of a region have in common: its directive, its function's name, and what calls of it know."""

    ml: MlDirective
    function: str
    what: str
    arguments: Mapping[str, object]
    """The arguments that are no arrays, by name."""
    paths: Paths
    on_error: str | None
    maps: tuple[str, ...]
    """The maps of the model's inputs and outputs as text."""

    @property
    def label(self) -> str:
        return self.ml.label or self.function

    def site(self, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]) -> InferSite:
        """The call site of the inference on tensors of these forms."""
        model, batch = self.ml.model, self.ml.batch
        source = Source(argument=model.id) if isinstance(model, Name) else Source(path=model)
        given, made = (tuple(TensorType(form.dtype, len(form.shape)) for form in each) for each in (inputs, outputs))
        rows = None if batch is None else batch.rows or 0
        return InferSite(self.label, source, rows, "raise", self.maps, given, made)

    def frame(self, body: Callable[[], None]) -> Frame:
        """What compiled code knows of a call; `body` stands for the original code."""
        return Frame(self.arguments, [body], self.paths)


def views_at(slots: int, forms: Sequence[ArrayForm]) -> list[ArrayView]:
    """The arrays whose descriptors the first slots of a call point to."""
    pointers = (ctypes.c_size_t * len(forms)).from_address(slots)
    return [view_of_descriptor(at, form.dtype, len(form.shape)) for at, form in zip(pointers, forms, strict=True)]
