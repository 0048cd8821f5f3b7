"""Whether arrays share memory."""

from __future__ import annotations

from hpacml.functors.hits import may_share
from hpacml.runtime.arrays.views import ArrayView, extent, numpy_array


def overlap(one: ArrayView, other: ArrayView) -> bool:
    """Whether two arrays may share memory."""
    (low, high), (other_low, other_high) = extent(one), extent(other)
    return low < other_high and other_low < high and may_share(numpy_array(one), numpy_array(other))
