"""Targets of maps: which ranges of which arrays, with the numbers that are known and room for the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, Union

from hpacml.errors import MapError
from hpacml.functors import Arithmetic, C, Target, TargetDim, V


@dataclass(frozen=True)
class Bounds:
    """The range of one dimension of a target, or a single index; None stands for a number not known yet."""

    start: int | None
    stop: int | None
    step: int | None = 1
    single: bool = False

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """The numbers that are written: the index, or start, stop and step."""
        return (self.start,) if self.single else (self.start, self.stop, self.step)

    def __str__(self) -> str:
        start, stop, step = ("?" if n is None else str(n) for n in (self.start, self.stop, self.step))
        if self.single:
            return start
        return f"{start} : {stop}" + ("" if self.step == 1 else f" : {step}")


TargetTree: TypeAlias = tuple[Union[Bounds, "TargetTree"], ...]
"""The dimensions of a target: a range each, or the target of an index array (indirection)."""


def format_tree(tree: TargetTree) -> str:
    """`[1 : ?, 0]`, with `?` for each open number and `*` before the target of an index array."""
    entries = (str(e) if isinstance(e, Bounds) else "*" + format_tree(e) for e in tree)
    return f"[{', '.join(entries)}]"


def leaves(tree: TargetTree) -> list[Bounds]:
    """The ranges of a target, depth first."""
    return [b for entry in tree for b in ([entry] if isinstance(entry, Bounds) else leaves(entry))]


def arrays_in(tree: TargetTree) -> int:
    """The number of arrays a target names: its own and those of its indirections."""
    return 1 + sum(arrays_in(entry) for entry in tree if not isinstance(entry, Bounds))


def bind(
    trees: Sequence[TargetTree],
    names: Sequence[str],
    shapes: Sequence[Sequence[V]],
    numbers: Iterable[V],
    a: Arithmetic[V, C],
) -> list[Target[V]]:
    """The targets over arrays of `shapes`, with `numbers` for the open numbers, depth first.

    Raises `MapError` where a target does not have one entry for each dimension of its array.
    """
    rest = iter(numbers)
    targets: list[Target[V]] = []
    for tree, name, shape in zip(trees, names, shapes, strict=True):
        if len(tree) != len(shape):
            raise MapError(
                f"the target of '{name}' gives {len(tree)} {'range' if len(tree) == 1 else 'ranges'}, but the "
                f"array has {len(shape)} {'dimension' if len(shape) == 1 else 'dimensions'}"
            )
        dims: list[TargetDim[V]] = []
        for entry, size in zip(tree, shape, strict=True):
            if not isinstance(entry, Bounds):
                raise MapError(f"the target of '{name}' is indirect, which this version cannot map yet")
            start, *others = (next(rest) if n is None else a.constant(n) for n in entry.numbers)
            stop, step = others or (a.add(start, a.constant(1)), a.constant(1))
            dims.append(TargetDim(start, stop, step, size, entry.single))
        targets.append(Target(name, tuple(dims)))
    return targets
