"""The surveying of a domain: of tensors, whose points their maps tell. It imports Torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from hpacml.directives.recorded import read_map
from hpacml.runtime.databases.sweeps import common, sweeps_of
from hpacml.runtime.models.domain import MOST_FEATURES, MOST_WHITENED, Domain, listed
from hpacml.runtime.models.moments import Moments

PIECE = 1 << 21
"""The numbers that are converted to float64 at once."""

Dims = tuple[int, ...]
"""The dimensions of a tensor that are its points, ascending; the others are the features of a point."""


def swept(maps: Sequence[str], ranks: Sequence[int]) -> list[Dims]:
    """Which dimensions of inputs of these ranks are points, by the maps of inputs and outputs.

    Of a tensor with one dimension more than its map has, the first one is of calls, and counts as well. Without maps
    that tell it, all but the last of several dimensions are points. Raises ValueError for other ranks.
    """
    known = [read_map(text) for text in maps]
    own = [len(each.functor.lhs) for each in known if each is not None]
    found = sweeps_of(maps, own) if own and len(own) == len(maps) else None
    if found is None or len(found) < len(ranks):
        return [tuple(range(max(1, rank - 1))) for rank in ranks]
    count, dims = common(found), list[Dims]()
    for sweep, rank, wanted in zip(found, ranks, own, strict=False):
        if rank not in (wanted, wanted + 1):
            raise ValueError(f"a tensor of {rank} dimensions is not that of a map of {wanted}, nor several of these")
        more = rank - wanted
        dims.append((*range(more), *(d + more for d in sweep.dims[:count])))
    return dims


def features(shape: Sequence[int], dims: Dims) -> int:
    """How many features a point of a tensor of this shape has."""
    return math.prod(size for d, size in enumerate(shape) if d not in dims)


def features_of(tensors: Sequence[torch.Tensor], maps: Sequence[str]) -> tuple[int, ...]:
    """How many features a point of each tensor has. Raises ValueError as `swept` does."""
    dims = swept(maps, [each.dim() for each in tensors])
    return tuple(features(each.shape, own) for each, own in zip(tensors, dims, strict=True))


def points(tensor: torch.Tensor, dims: Dims) -> torch.Tensor:
    """The points of a tensor as rows [points, features]."""
    others = [d for d in range(tensor.dim()) if d not in dims]
    count = math.prod(tensor.shape[d] for d in dims)
    return tensor.permute(*dims, *others).reshape(count, features(tensor.shape, dims))


class Survey:
    """Finds the domain of inputs that come in blocks; `dims` tell which of their dimensions are points."""

    def __init__(self, shapes: Sequence[Sequence[int]], dims: Sequence[Dims]) -> None:
        self._dims = dims
        self.features = [features(shape, each) for shape, each in zip(shapes, dims, strict=True)]
        self._own = [Moments((count,), 0) for count in self.features]
        self._all = Moments((sum(self.features),), MOST_WHITENED)

    @property
    def is_possible(self) -> bool:
        """Whether points have features, and so few that there is a domain."""
        return min(self.features, default=0) > 0 and max(self.features) <= MOST_FEATURES

    def update(self, tensors: Sequence[torch.Tensor]) -> None:
        """Take further tensors."""
        rows = self._points(tensors)
        if len({len(each) for each in rows}) > 1:
            self._all.products = None  # points that inputs do not share have no distance
        for moments, each in zip(self._own, rows, strict=True):
            for piece in _joined([each]):
                moments.update(piece)
        if self._all.products is not None:
            for piece in _joined(rows):
                self._all.update(piece)

    def domain(self) -> Domain:
        """The domain by now, of one point at least. Its reach is yet to be measured."""
        low, high = [own.min.numpy() for own in self._own], [own.max.numpy() for own in self._own]
        whole = self._all
        covariance = None if whole.products is None else (whole.products / whole.count).numpy()
        return Domain.of(low, high, max(own.count for own in self._own), whole.mean.numpy(), covariance)

    def measured(self, blocks: Iterable[Sequence[torch.Tensor]], before: Domain | None = None) -> Domain:
        """The domain with its reach, which is measured in the same blocks; with one from before, that of both.

        Raises ValueError if that has other features.
        """
        domain = self.domain() if before is None else before.joined(self.domain())
        if domain.whitening is None:
            return domain
        rows = (piece for block in blocks for piece in _joined(self._points(block)))
        reach = max(float(domain.distances(piece.numpy()).max()) for piece in rows)
        return replace(domain, reach=max(domain.reach, reach))

    def _points(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [points(each.detach().cpu(), dims) for each, dims in zip(tensors, self._dims, strict=True)]


def surveyed(tensors: Sequence[torch.Tensor], maps: Sequence[str]) -> Domain:
    """The domain of tensors. Raises ValueError where they have none: not finite, or points of too many features."""
    for number, each in enumerate(tensors):
        if each.is_complex() or not each.isfinite().all():
            raise ValueError(f"input {number} has numbers that are complex or not finite")
    found = Survey([each.shape for each in tensors], swept(maps, [each.dim() for each in tensors]))
    if not found.is_possible:
        raise ValueError(f"points have {listed(found.features)} features, of up to {MOST_FEATURES} in an input")
    found.update(tensors)
    return found.measured([tensors])


def _joined(rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Join the features of inputs, float64[points, features], piece by piece."""
    step = max(1, PIECE // max(1, sum(each.shape[1] for each in rows)))
    for start in range(0, len(rows[0]), step):
        yield torch.cat([each[start : start + step].double() for each in rows], 1)
