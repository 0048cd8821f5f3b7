"""The maps of a region, and the names that they use."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from hpacml.directives.expressions import Expr
from hpacml.frontend.maps import AppliedFunctor, End
from hpacml.frontend.scope import Keyword


@dataclass(frozen=True, eq=False)
class Plan:
    """The maps of a region, and the names that they use, for calls in which the same arguments are integers."""

    integers: tuple[str, ...]
    maps: tuple[tuple[Keyword, AppliedFunctor], ...]
    numbers: tuple[Expr | End, ...]
    """The open numbers of all maps, without repetition."""
    arrays: tuple[str, ...]
    written: frozenset[int]
    """The positions of the arrays that the maps write."""
    params: tuple[str, ...]
    single: Mapping[str, int]
    """The names that stand for numbers, and their dimensions."""
    elements: frozenset[str]
    """The arrays that hold elements."""

    @cached_property
    def sizes(self) -> tuple[Expr, ...]:
        """The open numbers that are names: sizes of arrays, which the body has, too."""
        return tuple(each for each in self.numbers if isinstance(each, Expr) and isinstance(each.node, ast.Name))

    @cached_property
    def used(self) -> frozenset[str]:
        """The names that what the code takes behind the arrays depends on."""
        expressions = [number.names for number in self.numbers if isinstance(number, Expr)]
        return frozenset(self.params).union(*expressions)
