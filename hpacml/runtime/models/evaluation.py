"""Runs of models: the inputs converted to what a model takes, and the ways to run one. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any, cast

import torch

from hpacml.abi.records import InferSite
from hpacml.dtypes import DTYPES
from hpacml.errors import HpacmlError
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.models.intake import Taken, first_inexact, is_about_dtypes, is_checked, taken
from hpacml.runtime.models.lent import Loan, copied
from hpacml.runtime.models.misfits import Misfits
from hpacml.runtime.models.model import Model
from hpacml.runtime.reports import instruments

_dtype = attrgetter("dtype")
_version = attrgetter("_version")  # counts the writes to a tensor


class Evaluation:
    """Runs the models of one call site."""

    def __init__(self, site: InferSite, misfits: Misfits) -> None:
        self._label = site.label
        self._misfits = misfits
        self._floats = all(DTYPES[type.dtype].kind == "f" for type in site.inputs)
        self._checked: dict[Taken, list[tuple[int, torch.dtype]]] = {}
        """The inputs of which each element is checked, and for which dtype, by what a model takes."""
        self._as_they_are: tuple[Model, torch.dtype] | None = None
        """The last model of the host that took inputs in their dtypes, and its floating dtype."""

    def run(self, model: Model, loan: Loan) -> object:
        """Run the model, which must not write to memory of the region, and return what it gives. Raises ModelError.

        A model that fails for want of gradients, which potentials take for their forces, gets them, now and later; so
        do others that fail because of a dtype get another one, also where earlier values went another way through them.
        """
        arguments = self._arguments(model, loan)
        try:
            return self._attempt(model, loan, arguments)
        except HpacmlError:
            raise
        except Exception as error:
            if not model.gradients and "grad" in str(error):
                return self._with_gradients(model, loan, arguments)
            if (others := self._other_dtypes(model, loan.tensors, arguments, error)) is None:
                raise self._misfits.failure(model, loan.tensors, arguments, error) from error
        arguments = self._arguments(model, loan, others)
        try:
            return self._attempt(model, loan, arguments)
        except HpacmlError:
            raise
        except Exception as error:
            raise self._misfits.failure(model, loan.tensors, arguments, error) from error

    def _with_gradients(self, model: Model, loan: Loan, before: Sequence[torch.Tensor]) -> object:
        model.gradients = True
        try:
            return self._attempt(model, loan, self._arguments(model, loan))
        except Exception as error:
            model.gradients = False
            if isinstance(error, HpacmlError):
                raise
            raise self._misfits.failure(model, loan.tensors, before, error) from error

    def _attempt(self, model: Model, loan: Loan, arguments: Sequence[torch.Tensor]) -> object:
        if loan.copy is not None:
            return self._forward(model, arguments)
        versions = [*map(_version, arguments)]
        done = False
        try:
            returned = self._forward(model, arguments)
            done = True
        finally:
            if [*map(_version, arguments)] != versions:
                self._note_writes(model, loan, arguments)
            elif done and model.writes_inputs is None:
                model.writes_inputs = False
        return returned

    def _forward(self, model: Model, arguments: Sequence[torch.Tensor]) -> object:
        run: Callable[..., Any] = model.network.run
        if model.gradients:
            run = torch.enable_grad()(run)
        if (chosen := instruments.current) is instruments.OFF:
            return run(*arguments)
        return chosen.run_network(self._label, run, arguments)

    def _note_writes(self, model: Model, loan: Loan, arguments: Sequence[torch.Tensor]) -> None:
        """Note that the model has written to its arguments. Raises ModelError if those are memory of the region."""
        learned, model.writes_inputs = model.writes_inputs, True
        if learned is False and any(map(_is_alias, arguments, loan.tensors)):
            raise self._misfits.changed_input(model)

    def _arguments(self, model: Model, loan: Loan, others: Taken | None = None) -> Sequence[torch.Tensor]:
        """Convert inputs to what the model takes: its dtype, its device, and a copy if it may write to them.

        The model gets tensors of its own, also where they share the memory: what it does to one, such as to ask for
        its gradient, is gone with it.
        """
        network, inputs = model.network, loan.tensors
        anchor = network.anchor()
        of_host = None if anchor is None or not anchor.is_cpu else (model, anchor.dtype)
        if loan.copy is not None and others is None and of_host is not None and of_host == self._as_they_are:
            return [loan.copy(x) for x in inputs]
        if network.dtypes is None:
            known = others or self._taken(model, inputs, anchor)
        elif len(network.dtypes) != len(inputs):
            raise self._misfits.inputs(model, inputs)
        else:
            known = Taken(network.dtypes)
        dtypes = known.dtypes
        elsewhere = anchor is not None and anchor.device != inputs[0].device
        if network.reads_only and loan.copy is None and model.writes_inputs is False and not elsewhere:
            if all(map(is_, map(_dtype, inputs), dtypes)) and not known.features:
                return inputs
        pairs = [*zip(inputs, dtypes, strict=True)]
        alias = loan.copy or (torch.Tensor.detach if model.writes_inputs is False else copied)

        def converted() -> list[torch.Tensor]:
            if anchor is not None and elsewhere:
                return [x.to(anchor.device, dtype) for x, dtype in pairs]
            return [alias(x) if x.dtype is dtype else x.to(dtype) for x, dtype in pairs]

        def converted_bytes() -> int:
            return sum(x.numel() * dtype.itemsize for x, dtype in pairs if x.dtype is not dtype)

        arguments = instruments.current.convert(self._label, "cast", converted, converted_bytes)
        if (checked := self._checked.get(known)) is None:
            checks = [*enumerate(dtypes), *((n, dtype) for n, dtype in enumerate(known.features) if dtype is not None)]
            checked = self._checked[known] = [(n, dtype) for n, dtype in checks if is_checked(inputs[n].dtype, dtype)]
        for number, dtype in checked:
            self._require_exact(model, number, inputs[number], dtype)
        if others is None and self._floats and not elsewhere and all(map(is_, map(_dtype, inputs), dtypes)):
            self._as_they_are = of_host
        return arguments

    def _taken(self, model: Model, inputs: Sequence[torch.Tensor], anchor: torch.Tensor | None) -> Taken:
        """Give what a model takes that tells no dtypes. Integers make it find out, once."""
        if anchor is not None and self._floats:
            return Taken((anchor.dtype,) * len(inputs))
        if (known := model.taken.get(_key(inputs, anchor))) is not None:
            return known
        if model.network.trial is None or self._floats:
            return Taken(tuple(map(_dtype, inputs)))
        return self._found_out(model, inputs, anchor)[0]

    def _found_out(
        self, model: Model, inputs: Sequence[torch.Tensor], anchor: torch.Tensor | None
    ) -> tuple[Taken, bool]:
        """Find out by copies of a model what it takes, and remember it if that works."""
        trial = cast("Callable[[], Callable[..., object]]", model.network.trial)
        floating, device = (None, inputs[0].device) if anchor is None else (anchor.dtype, anchor.device)
        found, works = taken(trial, [x.to(device) for x in inputs], floating)
        if works:
            model.taken[_key(inputs, anchor)] = found
        return found, works

    def _other_dtypes(
        self, model: Model, inputs: Sequence[torch.Tensor], failed: Sequence[torch.Tensor], error: Exception
    ) -> Taken | None:
        """Give what a model that has failed and tells no dtype takes now: other floats, as quantized ones do, or
        integers otherwise than before, because their values lead it elsewhere; None if it fails with all."""
        network = model.network
        if network.dtypes is not None or network.trial is None or not is_about_dtypes(error):
            return None
        anchor = network.anchor()
        if anchor is not None if self._floats else _key(inputs, anchor) not in model.taken:
            return None
        found, works = self._found_out(model, inputs, anchor)
        return found if works and found.dtypes != (*map(_dtype, failed),) else None

    def _require_exact(self, model: Model, number: int, given: torch.Tensor, dtype: torch.dtype) -> None:
        """Raise ModelError for integers that a conversion makes other numbers, or numbers that are none."""
        if (call := innermost()) is not None:
            call.leave_to_host("a check that integers keep their values")
        if (place := first_inexact(given, given.to(dtype))) is not None:
            raise self._misfits.inexact(model, number, given, dtype, place)


def _key(inputs: Sequence[torch.Tensor], anchor: torch.Tensor | None) -> tuple[torch.dtype | None, ...]:
    """Give the dtypes that decide in which ones a model takes inputs."""
    return (*map(_dtype, inputs), None if anchor is None else anchor.dtype)


def _is_alias(argument: torch.Tensor, given: torch.Tensor) -> bool:
    """Tell whether an argument has the memory of the tensor that it was made of."""
    return argument.dtype is given.dtype and argument.device == given.device
