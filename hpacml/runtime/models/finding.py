"""The model of a call site: what its clause, its argument or the environment names in the current call."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress

from hpacml import environment
from hpacml.abi.records import Source
from hpacml.errors import ModelError
from hpacml.runtime import frame
from hpacml.runtime.models.model import Model, load, passed
from hpacml.runtime.sites import find, why_none


class ModelFinder:
    """Finds the model of the region `label` in each of its calls."""

    def __init__(self, label: str, source: Source) -> None:
        self.label = label
        self._source = source
        self._last: tuple[Callable[[], object], Model] | None = None
        """The last callable that was passed, by a weak reference, and its model."""

    def find(self, device: str) -> Model:
        """Find the model of the current call; one of a file is on `device`. Raises ModelError if there is none."""
        given = find(self._source, environment.SURROGATE_MODEL)
        if callable(given):
            return self._passed(given)
        try:
            if frame.is_path(given):
                return load(frame.paths().absolute(given), device)
        except ModelError as error:
            raise ModelError(f"in the region '{self.label}': {error}") from error.__cause__
        if given is None:
            why = why_none(self._source, environment.SURROGATE_MODEL)
            raise ModelError(
                f"the region '{self.label}' has no model: {why}; "
                "give model('FILE') in its ml directive, or set the variable to a file"
            )
        raise ModelError(
            f"the argument '{self._source.argument}' of the region '{self.label}' is of type "
            f"{type(given).__name__}: pass the path of a model, a torch.nn.Module or another callable"
        )

    def _passed(self, given: Callable[..., object]) -> Model:
        if (last := self._last) is not None and last[0]() is given:
            return last[1]
        model = passed(given)
        with suppress(TypeError):  # without a hash or a weak reference, the model itself keeps it
            hash(given)
            self._last = weakref.ref(given), model
        return model
