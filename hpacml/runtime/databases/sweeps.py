"""Which dimensions of a tensor are the sweep of its functor, and which of these are the points of a whole region."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

Sizes = Sequence[int | None]
"""The sizes of a tensor's dimensions; None for one that differs from call to call."""


POINTS = "*"
"""What stands for the map of a tensor that has a number for each point."""


class Sweep(NamedTuple):
    """The dimensions of a tensor that its functor sweeps, ascending, and the symbols there."""

    dims: tuple[int, ...]
    symbols: tuple[str, ...]

    def sizes(self, shape: Sizes) -> tuple[int | None, ...]:
        """Those of the swept dimensions in a tensor of this shape."""
        return tuple(shape[d] for d in self.dims)


@cache
def sweep_of(text: str, rank: int) -> Sweep | None:
    """The sweep of a map's tensor; None unless the text is like `to: FUNCTOR | TARGETS` and of this rank."""
    if text == POINTS:
        return Sweep(tuple(range(rank)), ("",) * rank)
    from hpacml.directives.recorded import read_map
    from hpacml.functors.tensor_functor import Point, names_of

    known = read_map(text)
    if known is None:
        return None
    directive = known.functor
    if len(directive.lhs) != rank:
        return None
    moving = names_of(entry for entries in directive.rhs for entry in entries)
    symbols = {d: entry.index.as_name for d, entry in enumerate(directive.lhs) if isinstance(entry, Point)}
    swept = {d: symbol for d, symbol in symbols.items() if symbol is not None and symbol in moving}
    return Sweep(tuple(swept), tuple(swept.values()))


def sweeps_of(maps: Sequence[str], ranks: Sequence[int]) -> list[Sweep] | None:
    """The sweep of each map's tensor; None unless all are known."""
    found = [sweep_of(text, rank) for text, rank in zip(maps, ranks, strict=False)]
    known = [sweep for sweep in found if sweep is not None]
    return known if len(known) == len(maps) == len(ranks) else None


def common(sweeps: Sequence[Sweep]) -> int:
    """How many of the first swept dimensions of each tensor are the points of the region.

    All of them, if tensors have equally many. Else those whose symbols are the same in all tensors, since what follows
    is swept by some tensors only, and belongs to the features of these; or if other symbols stand there, which none of
    the tensors has in another place, as many as all have.
    """
    counts = {len(sweep.dims) for sweep in sweeps}
    if len(counts) < 2:
        return counts.pop() if counts else 0
    least = min(counts)
    firsts = [{sweep.symbols[k] for sweep in sweeps} for k in range(least)]
    same = next((k for k, symbols in enumerate(firsts) if len(symbols) > 1), least)
    if same:
        return same
    elsewhere = any(
        symbol in sweep.symbols and sweep.symbols.index(symbol) != k
        for k, symbols in enumerate(firsts)
        for symbol in symbols
        for sweep in sweeps
    )
    return 0 if elsewhere else least


def misfit(sweeps: Sequence[Sweep], shapes: Sequence[Sizes], names: Sequence[str]) -> str | None:
    """Say which points tensors of these shapes have, if the region has none that they share; else None.

    Where a tensor has no sweep, a point of the region is a call.
    """
    count = common(sweeps)
    sizes = [sweep.sizes(shape) for sweep, shape in zip(sweeps, shapes, strict=True)]
    if len({each[:count] for each in sizes}) < 2 and (count or not all(sweep.dims for sweep in sweeps)):
        return None
    return ", ".join(f"{name}: {shown(each)}" for name, each in zip(names, sizes, strict=True)) or None


def shown(sizes: Sizes) -> str:
    """Write sizes, such as `[4, *]`, where the star is one that differs from call to call."""
    return f"[{', '.join('*' if size is None else str(size) for size in sizes)}]"
