"""Rows in memory, as training reads those of a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Tensors = Sequence[torch.Tensor]


@dataclass
class Memory:
    """Arrays [rows, ...], given in blocks of some rows."""

    x: Sequence[np.ndarray]
    y: Sequence[np.ndarray]
    block: int = 7

    @property
    def names(self) -> tuple[list[str], list[str]]:
        return [f"input{k}" for k in range(len(self.x))], [f"output{k}" for k in range(len(self.y))]

    @property
    def inputs(self) -> list[tuple[int, ...]]:
        return [each.shape[1:] for each in self.x]

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        return [each.shape[1:] for each in self.y]

    def __len__(self) -> int:
        return len(self.y[0])

    def blocks(self) -> Iterator[tuple[Tensors, Tensors]]:
        for start in range(0, len(self), self.block):
            part = slice(start, start + self.block)
            yield [torch.tensor(each[part]) for each in self.x], [torch.tensor(each[part]) for each in self.y]

    def place(self, row: int) -> str:
        return f"call {row // 10}, row {row % 10}"
