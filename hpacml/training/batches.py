"""Rows in random order, several batches at once, from memory or from files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hpacml.training.region_table import Part, Tensors
from hpacml.training.splits import Numbers

CHUNK_BYTES = 1 << 24
"""The bytes of rows that are handed to the training at once, as whole batches: each time costs as much as a batch."""

MOST_BATCHES = 64

RUN = 1024
"""Rows of files that stay together when they are shuffled, so that they are read at once."""

Chunk = tuple[Tensors, tuple[Tensors, ...]]
"""Inputs, and the outputs of their calls and of the calls that follow them."""


@dataclass
class Rows(Dataset[Chunk]):
    """Rows of a part by lists of numbers, of which 0 is the first, with the outputs of `steps` calls from there on."""

    part: Part
    steps: int = 1

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: Numbers) -> Chunk:
        x, y = self.part.take(index)
        return x, (y, *(self.part.take(index + step)[1] for step in range(1, self.steps)))


class Order(Sampler[Numbers]):
    """The numbers of the rows of an epoch in chunks of whole batches: shuffled by seed and epoch, or in order.

    Of several processes each has as many; rows that are missing for that are taken twice. Rows that lie in files are
    shuffled in runs, and within groups of these.
    """

    def __init__(
        self, rows: Numbers, batch: int, row_bytes: int, seed: int | None, in_runs: bool, share: tuple[int, int]
    ) -> None:
        self.rows, self.batch, self.seed, self.in_runs = rows, batch, seed, in_runs
        self.rank, self.processes = share
        self.epoch = 0
        fitting = CHUNK_BYTES // max(1, row_bytes * batch)
        self.chunk = batch * max(1, min(MOST_BATCHES, fitting))

    @property
    def batches(self) -> int:
        """How many batches an epoch has in this process."""
        return -(-self._own // self.batch)

    @property
    def _own(self) -> int:
        return -(-len(self.rows) // self.processes)

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells it before each epoch, also of one that was resumed."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._own // self.chunk)

    def __iter__(self) -> Iterator[Numbers]:
        order = self.rows
        if self.seed is not None:
            drawn = np.random.default_rng([self.seed, self.epoch])
            order = np.concatenate([*self._by_runs(drawn)]) if self.in_runs else drawn.permutation(order)
        own = np.resize(order, self._own * self.processes)[self.rank :: self.processes]
        for start in range(0, len(own), self.chunk):
            yield own[start : start + self.chunk]

    def _by_runs(self, drawn: np.random.Generator) -> Iterator[Numbers]:
        runs = [self.rows[start : start + RUN] for start in range(0, len(self.rows), RUN)]
        order = drawn.permutation(len(runs))
        together = max(1, 4 * self.chunk // RUN)
        for start in range(0, len(order), together):
            group = np.concatenate([runs[int(run)] for run in order[start : start + together]])
            yield drawn.permutation(group)


def loader(rows: Rows, order: Order, workers: int) -> DataLoader[Chunk]:
    """Make the loader of an order; rows in memory need no workers.

    It has random numbers of its own: it draws one where an epoch begins, but not in the first after a resumption, and
    the network's would be others then.
    """
    workers = 0 if rows.part.held is not None else workers
    return DataLoader(
        rows,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_as_it_is,
        generator=torch.Generator(),
    )


def _as_it_is(chunk: Any) -> Any:
    return chunk


def chains(part: Part, steps: int) -> Numbers:
    """The rows of a part from which `steps` calls follow one another, each with what the one before it gave."""
    starts = np.arange(len(part) - steps + 1)
    if steps == 1 or not len(starts):
        return starts
    joined = np.diff(part.numbers) == 1
    for k in np.flatnonzero(joined):
        (x, _), (_, y) = part.take(np.array([k + 1])), part.take(np.array([k]))
        joined[k] = torch.equal(x[0], y[0])
    return starts[np.lib.stride_tricks.sliding_window_view(joined, steps - 1).all(1)]
