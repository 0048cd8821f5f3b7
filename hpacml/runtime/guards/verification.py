"""The checks of a model by the original code: errors, the circuit breaker, and what is said of them."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import cached_property

import torch

from hpacml.abi.guard_records import VerifySite
from hpacml.errors import HpacmlError, ModelError
from hpacml.runtime.arrays.views import tensor_over, view_of_descriptor
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.guards.breaker import Verdict, breaker
from hpacml.runtime.guards.deviation import deviation
from hpacml.runtime.reports import guarded
from hpacml.runtime.reports.guarded import Check

_log = logging.getLogger("hpacml")


class VerificationOfSite:
    """The checks of one call site, which shares its breaker with others of its region."""

    def __init__(self, site: VerifySite) -> None:
        self._site = site
        self._types = (*site.outputs, *site.outputs, *([] if site.mask is None else [site.mask]))
        self._breaker = breaker(site.label, site.maps, site.verify)
        self._clause = f"verify({site.verify})"

    def count(self, found: int) -> None:
        """Count a call, and write to the word at `found` whether it is to be checked, 1, and the breaker is open, 2."""
        is_open = self._breaker.is_open
        if is_open:
            guarded.note_open_call(self._site.label)
        ctypes.c_int64.from_address(found).value = self._breaker.is_due() + 2 * is_open

    def verify(self, tensors: int) -> bool:
        """Take a check, and tell whether what the model has made may be used in this call.

        `tensors` points to pointers to the descriptors of the model's outputs, of as many that the original code has
        made, and of the mask, if the site has one. Raises ModelError beyond the tolerance, with `then: raise`.
        """
        errors = self._errors(tensors)
        is_used = self._judge(errors) if errors else not self._breaker.is_open
        if not is_used:
            guarded.note_unused(self._site.label, "check")
        return is_used

    def _judge(self, errors: dict[str, float]) -> bool:
        """Tell whether what the model has made may be used."""
        verdict, verify = self._breaker.judge(errors), self._site.verify
        is_open = verdict.is_beyond and verify.then == "accurate"
        check = Check(verdict.call, errors, is_open, verdict.event)
        guarded.note_check(self._site.label, check, verify.metric, verify.tolerance)
        if verdict.event is not None:
            self._say(verdict)
        if verify.then == "warn":
            return True
        return not is_open and verdict.error <= verify.tolerance

    def _errors(self, tensors: int) -> dict[str, float]:
        """The error of each output that can be compared."""
        made, truths, keep = self._tensors(tensors)
        errors: dict[str, float] = {}
        with torch.no_grad():
            for name, y, truth in zip(self._names, made, truths, strict=True):
                self._require_shape(name, y.shape, truth.shape)
                if keep is not None:
                    self._require_shape(name, y.shape[: keep.dim()], keep.shape)
                    y, truth = y[keep], truth[keep]
                found = deviation(y, truth, self._site.verify.metric)
                if found.error is not None:
                    errors[name] = found.error
                if found.left_out and guarded.is_first(self._site.label, "left out", name):
                    _log.warning(
                        "%s of the region '%s' leaves out %d of %d elements of '%s', whose truth is 0 or rounding: "
                        "metric: rmse would count them",
                        self._clause,
                        self._site.label,
                        found.left_out,
                        truth.numel(),
                        name,
                    )
        return errors

    def _require_shape(self, name: str, made: Sequence[int], other: Sequence[int]) -> None:
        if made != other:
            raise HpacmlError(
                f"in the region '{self._site.label}', the model's output '{name}' has the shape {list(made)}, and what "
                f"it is compared with {list(other)}: both are to have an element for each point"
            )

    def _tensors(self, pointers: int) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor | None]:
        """The model's outputs, the original code's, and which points count, if not all do."""
        addresses = (ctypes.c_size_t * len(self._types)).from_address(pointers)
        call = innermost()
        over = tensor_over if call is None else call.device.tensor
        found = [
            over(view_of_descriptor(address, type.dtype, type.rank))
            for address, type in zip(addresses, self._types, strict=True)
        ]
        count = len(self._site.outputs)
        keep = None
        if self._site.mask is not None:
            keep = found.pop() == 0
            keep = None if bool(keep.all()) else keep
        return found[:count], found[count:], keep

    def _say(self, verdict: Verdict) -> None:
        """Write a line about what has changed, if it is the first one, or raise the error that is asked for."""
        verify, label = self._site.verify, self._site.label
        found = (
            f"in inference {verdict.call} of the region '{label}', the {verify.metric} of '{verdict.output}' is "
            f"{verdict.error:.4g} ({verdict.mean:.4g} in the mean of the last checks), and the tolerance of "
            f"{self._clause} {verify.tolerance:.4g}"
        )
        if verdict.event == "opened" and verify.then == "raise":
            raise ModelError(
                f"the model is wrong: {found}; train it on such calls, widen the tolerance, or let the original code "
                "stand in for it (then: accurate)"
            )
        if not guarded.is_first(label, "verify", str(verdict.event)):
            return
        if verdict.event == "closed":
            _log.warning("the model is right again: %s", found)
        elif verify.then == "warn":
            _log.warning("the model is wrong, and stays in use: %s; hpacml.report() has all checks", found)
        else:
            _log.warning(
                "the original code takes over from the model until %d checks in a row are within the tolerance: %s; "
                "hpacml.report() has all checks",
                self._breaker.closing,
                found,
            )

    @cached_property
    def _names(self) -> list[str]:
        """The outputs' names: of their arrays, and of their functors where arrays do not tell them apart."""
        from hpacml.directives.recorded import read_map

        count = len(self._site.outputs)
        texts = self._site.maps[len(self._site.maps) - count :] if len(self._site.maps) >= count else ()
        known = [read_map(text) for text in texts] or [None] * count
        arrays = [", ".join(dict.fromkeys(target.array for target in (each and each.targets) or ())) for each in known]
        names = [
            f"{each.functor.name}({name})" if each is not None and arrays.count(name) > 1 else name
            for each, name in zip(known, arrays, strict=True)
        ]
        return [
            name if name and names.count(name) == 1 else f"{name} {number}".strip() for number, name in enumerate(names)
        ]
