"""Checks of values in programs of XLA, for which these call Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hpacml.errors import ModelError
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.differentials import is_real, no_tangent
from hpacml.jax.libraries import jnp
from hpacml.jax.tensor_call import TensorCall
from hpacml.runtime.models import fallback

if TYPE_CHECKING:
    import torch

FAILED = ArrayForm("bool", ())
"""Whether the original code is to run."""


class ValueCheck(TensorCall):
    """Gives arrays on, converted to other dtypes, once `check` has seen them, and tells behind them whether it has
    refused them and the original code is to run.

    `check` gets tensors, and raises ModelError. Derivatives are those of the arrays alone.
    """

    def __init__(
        self,
        what: str,
        label: str,
        policy: str,
        arrays: Sequence[ArrayForm],
        results: Sequence[ArrayForm],
        check: Callable[[Sequence[torch.Tensor]], None],
    ) -> None:
        self.what, self._label, self._policy, self._check = what, label, policy, check
        same = {k: k for k, (x, y) in enumerate(zip(arrays, results, strict=True)) if x == y}
        super().__init__(arrays, [*results, FAILED], same, ("values", label, arrays, results))

    def compute(self, given: Sequence[torch.Tensor], made: Sequence[torch.Tensor]) -> None:
        *converted, failed = made
        failed.fill_(self._refuses(given))
        for x, y in zip(given, converted, strict=True):
            y.copy_(x)

    def _refuses(self, tensors: Sequence[torch.Tensor]) -> bool:
        try:
            self._check(tensors)
        except ModelError as error:
            if not fallback.takes_over(self._label, self._policy, error):
                raise
            return True
        return False

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        pairs = zip(self.results, primals, tangents, strict=False)
        found = [t.astype(y.dtype) if is_real(x) and is_real(y) else no_tangent(y) for y, x, t in pairs]
        return [*found, no_tangent(self.results[-1])]


def any_of(flags: Sequence[Any]) -> Any:
    """Whether any of several flags is set, None if there are none."""
    return jnp.stack(list(flags)).any() if flags else None
