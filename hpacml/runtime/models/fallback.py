"""The policy for models that fail: the error, or the original code of the region."""

from __future__ import annotations

import logging
from collections import Counter

from hpacml import environment
from hpacml.clauses import POLICIES, is_policy
from hpacml.errors import HpacmlError
from hpacml.locks import Order, lock
from hpacml.runtime import frame
from hpacml.runtime.arrays.changes import require_in_place
from hpacml.runtime.reports import counters, guarded

_log = logging.getLogger("hpacml")
_lock = lock(Order.COUNTING)
_counts: Counter[str] = Counter()


def fallbacks() -> dict[str, int]:
    """Tell how often the original code has run in place of a model that failed, by the label of the region."""
    with _lock:
        return dict(_counts)


def takes_over(label: str, on_error: str | None, error: HpacmlError) -> bool:
    """Decide whether the original code is to run after `error`, which is counted then, and logged the first time.

    `on_error` is what the region says; without it the environment does. Raises HpacmlError if that is no policy, and
    MapError if the model has given arrays other memory: the original code would use that which they had.
    """
    policy = on_error or environment.ON_ERROR.text()
    if not is_policy(policy):
        raise environment.ON_ERROR.wrong(policy, f"set it to {' or '.join(POLICIES)}")
    if policy == "raise":
        return False
    require_in_place(*frame.arrays(), f"the model of the region '{label}'")
    counters.count_fallback(label)
    guarded.note_unused(label, "failure")
    with _lock:
        _counts[label] += 1
        first = _counts[label] == 1
    if first:
        _log.warning(
            "the original code of the region '%s' runs in place of its model, now and whenever that fails, "
            "which hpacml.fallbacks() counts: %s",
            label,
            error,
        )
    return True
