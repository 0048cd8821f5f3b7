"""Rows of a database as training reads them: in blocks, of finite numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.training.finite import require_finite

if TYPE_CHECKING:
    import torch

    Tensors = Sequence[torch.Tensor]

Matrix = np.ndarray[Any, np.dtype[np.float64]]

Shapes = Sequence[tuple[int, ...]]

PIECE = 1 << 21
"""The numbers that are converted to float64 at once."""


class Rows(Protocol):
    """Some rows of a database."""

    @property
    def names(self) -> tuple[Sequence[str], Sequence[str]]:
        """The names of the inputs, and those of the outputs."""
        ...

    @property
    def inputs(self) -> Shapes:
        """The shape of one row of each input."""
        ...

    @property
    def outputs(self) -> Shapes:
        """The shape of one row of each output."""
        ...

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[Tensors, Tensors]]:
        """Yield all rows in their order, as inputs and outputs [rows, *shape] of the stored dtypes."""
        ...

    def place(self, row: int) -> str:
        """Say in words where a row lies in the database."""
        ...


def pieces(rows: Rows, part: str) -> Iterator[tuple[Tensors, Tensors]]:
    """Yield all rows in small blocks. Raises DatabaseError if there are none, or if one holds NaN or infinity."""
    first = 0
    step = max(1, PIECE // max(1, size(rows.inputs) + size(rows.outputs)))
    for x, y in rows.blocks():
        count = len(y[0])
        for start in range(0, count, step):
            inputs, outputs = ([tensor[start : start + step] for tensor in tensors] for tensors in (x, y))
            for names, tensors in zip(rows.names, (inputs, outputs), strict=True):
                require_finite(names, tensors, rows.place, first + start)
            yield inputs, outputs
        first += count
    if not first:
        raise DatabaseError(f"the {part} part has no rows: give it some")


class Sample:
    """Chooses so many of some rows at random, always the same ones, of which one at least."""

    def __init__(self, rows: int, most: int):
        self._share = most / max(1, rows)
        self._random = np.random.default_rng(0)
        self.rows = rows
        self.count = 0

    @property
    def is_all(self) -> bool:
        """Whether all rows are chosen, because they are few enough."""
        return self._share >= 1

    def choose(self, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the chosen ones of the next rows."""
        chosen = np.ones(rows, bool) if self.is_all else self._random.random(rows) < self._share
        chosen[:1] |= not self.count
        self.count += int(chosen.sum())
        return np.flatnonzero(chosen)

    def __str__(self) -> str:
        return f"a random sample of {self.count} of the {self.rows}"


def size(shapes: Shapes) -> int:
    """The numbers of a row of tensors."""
    return sum(map(math.prod, shapes))


def doubles(tensors: Tensors) -> list[torch.Tensor]:
    """Make tensors [rows, *shape] float64 [rows, features] on the CPU."""
    import torch

    return [each.detach().to("cpu", torch.float64).reshape(len(each), math.prod(each.shape[1:])) for each in tensors]


def flat(tensors: Tensors) -> Matrix:
    """Join the features of tensors [rows, *shape] in a float64 matrix [rows, features]."""
    return np.concatenate([each.numpy() for each in doubles(tensors)], axis=1)


def unflat(matrix: Matrix, shapes: Shapes) -> Tensors:
    """Divide the columns of a matrix [rows, features] into tensors [rows, *shape]."""
    import torch

    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = np.split(matrix, ends, axis=1)
    return [
        torch.as_tensor(np.array(p).reshape(-1, *shape), device="cpu") for p, shape in zip(parts, shapes, strict=True)
    ]
