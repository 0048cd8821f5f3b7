"""Whether the rows of a test were trained with, as where a program was run twice, or a file was given twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

SAID = 0.05
"""Which part of the rows of a test may be rows of the training, bit for bit, before this is said."""

MOST = 1 << 24
"""Rows of a part up to which this is looked at."""

PIECE = 1 << 20
"""The words of rows that are multiplied at once."""

Words = np.ndarray[Any, np.dtype[np.uint64]]


class Repeated:
    """Digests of the rows of each part, of 64 bits: the bytes of a row times random numbers."""

    def __init__(self) -> None:
        self._digests: dict[str, list[Words]] = {}

    def update(self, part: str, tensors: Sequence[torch.Tensor]) -> None:
        """Take further rows of a part."""
        drawn = np.random.default_rng(0)
        if not (rows := len(tensors[0])):
            return
        total = np.zeros(rows, np.uint64)
        for tensor in tensors:
            bits = np.ascontiguousarray(tensor.reshape(rows, -1).numpy()).view(np.uint8)
            words = bits.view(np.uint32) if bits.shape[1] % 4 == 0 else bits
            odd: Any = cast(Any, drawn).integers(1, 1 << 62, words.shape[1], np.int64) * 2 + 1
            factors: Words = odd.astype(np.uint64)
            step = max(1, PIECE // words.shape[1])
            for start in range(0, rows, step):
                piece: Words = words[start : start + step].astype(np.uint64)
                total[start : start + step] += cast(Any, piece * factors).sum(1, dtype=np.uint64)
        self._digests.setdefault(part, []).append(total)

    def remarks(self) -> list[str]:
        """Say which part of the test was trained with, if it is more than a little."""
        found = {part: np.concatenate(each) for part, each in self._digests.items()}
        if any(len(each) > MOST for each in found.values()):
            return []
        share = float(np.isin(found["test"], found["train"]).mean())
        if share <= SAID:
            return []
        return [
            f"{share:.0%} of the rows of the test are rows of the training, bit for bit, so that the test is milder "
            "than new data will be: has a program collected the same calls twice, or is a file given twice?"
        ]
