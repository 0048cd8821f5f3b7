"""What computes the model of a call site: code compiled for its network, or Torch. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch

from hpacml import environment
from hpacml.clauses import ENGINES
from hpacml.errors import CompileError
from hpacml.runtime.arrays.views import tensor_view
from hpacml.runtime.models.described import NotDescribed
from hpacml.runtime.models.engine import Engine
from hpacml.runtime.models.lent import Lent
from hpacml.runtime.models.model import Model
from hpacml.runtime.models.network_code import Views
from hpacml.runtime.models.traits import is_watched
from hpacml.runtime.reports import counters, instruments

_autocasts = cast("Callable[[str], bool]", cast(Any, torch).is_autocast_enabled)


class Computed(NamedTuple):
    """What compiled code has computed: a result `apart` from its target, or None if the target has it."""

    apart: torch.Tensor | None


class Engines:
    """Chooses what computes the models of one call site. `chosen` is what the region says."""

    def __init__(self, label: str, chosen: str | None) -> None:
        self._label, self._chosen = label, chosen
        self._last_was_torch = False
        """Whether the last inference was left to Torch, where compiled code might have computed it."""
        self._needs_tensors: Model | None = None
        """The last model that was not computed from views to views."""

    def compute(self, model: Model, lent: Lent, on_device: bool, apart: bool) -> Computed | None:
        """Compute the model by compiled code, and tell where its result is; None if Torch is to do it.

        The target has it, unless that shares memory with an input or the result is to be `apart`.
        Raises CompileError for a network that no code is made for, where the region wants that.
        """
        if (chosen := self._engine()) == "torch":
            return None
        try:
            result = self._run(model, lent, on_device, apart)
        except NotDescribed as reason:
            if chosen == "compiled":
                raise CompileError(
                    f"the region '{self._label}' wants its network compiled, and {model.name} cannot be: {reason}; "
                    "leave out engine(compiled), or write engine(auto)"
                ) from None
            self._note("Torch", reason)
            self._last_was_torch = True
            return None
        if self._last_was_torch:
            self._last_was_torch, self._needs_tensors = False, None
        self._note("compiled")
        return result

    def leave_to_torch(self, model: Model) -> None:
        """Note that Torch computes the model for its derivatives. Raises CompileError where the region wants others."""
        if self._engine() == "compiled":
            raise CompileError(
                f"the region '{self._label}' wants its network compiled, and compiled code of {model.name} has no "
                "derivatives: leave out engine(compiled), or write engine(torch)"
            )
        self._note("Torch", "its derivatives are recorded")

    def on_views(self, model: Model, views: Views, points: int, pointers: int) -> bool:
        """Compute the model from views of so many points to views by compiled code.

        `pointers` points to pointers to their descriptors. Returns False, and has written nothing then, if it is to be
        computed of tensors.
        """
        if model is self._needs_tensors:
            return False
        try:
            self._for(model).run_on_views(views, points, pointers)
        except NotDescribed:
            self._needs_tensors = model
            return False
        return True

    def is_torch_expected(self) -> bool:
        """Whether Torch is to compute the next model, or is likely to, as it did the last one."""
        return self._last_was_torch or self._engine() == "torch"

    def _engine(self) -> str:
        """What the region or the environment says."""
        chosen = self._chosen or environment.ENGINE.text()
        if chosen not in ENGINES:
            raise environment.ENGINE.wrong(chosen, f"set it to {', '.join(ENGINES)}")
        return chosen

    def _for(self, model: Model) -> Engine:
        """The engine of a model. Raises NotDescribed if it has none, or must not have one now."""
        if model.network.module is None:
            raise NotDescribed("it is no module of layers, and no file that describes them")
        if is_watched() or _autocasts("cpu"):
            raise NotDescribed("hooks for all modules, a mode of Torch or autocast is on")
        if (engine := model.engine) is None:
            engine = model.engine = Engine(model.network.module, model.network.fixed, model.network.inputs)
        return engine

    def _run(self, model: Model, lent: Lent, on_device: bool, apart: bool) -> Computed:
        if on_device:
            raise NotDescribed("it runs on a GPU")
        if len(lent.sources) != 1 or len(lent.sinks) != 1:
            raise NotDescribed("it has several inputs or outputs")
        engine = self._for(model)
        (x,), (y,) = lent.sources, lent.sinks
        result = None
        if lent.updates or apart:
            result = torch.empty_like(lent.targets[0])
            y = tensor_view(result, None)
        if (current := instruments.current) is instruments.OFF:
            engine.run(x, y)
        else:
            current.run_network(self._label, engine.run, (x, y))
        return Computed(result)

    def _note(self, engine: str, reason: object = None) -> None:
        if instruments.current.timing:
            counters.count_engine(self._label, engine if reason is None else f"{engine}, as {reason}")
