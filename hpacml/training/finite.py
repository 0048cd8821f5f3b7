"""The refusal of data that holds NaN or infinity, which would make each mean, weight and error of it the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hpacml.errors import DatabaseError

if TYPE_CHECKING:
    import torch


def require_finite(
    names: Sequence[str], tensors: Sequence[torch.Tensor], place: Callable[[int], str], first: int = 0
) -> None:
    """Raise DatabaseError if tensors [rows, ...] of data hold NaN or infinity.

    It names the tensor, the element and the row: `place` says in words where the row of a number lies, and `first` is
    the number of the first row that is here.
    """
    for name, tensor in zip(names, tensors, strict=True):
        finite = tensor.isfinite()
        if finite.all():
            continue
        row, *feature = (int(index) for index in (~finite).nonzero()[0])
        element = f"{name}{feature}" if feature else name
        raise DatabaseError(
            f"{element} is {float(tensor[row, *feature])} in {place(first + row)}: networks learn from finite numbers "
            "alone; collect these calls again, or leave them out"
        )
