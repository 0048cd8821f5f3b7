"""Maps as databases and models record them, `to: f: [i, 0:2] = ([i], [i + 1]) | f(a[0:n])`, read again."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from hpacml.directives.parser import parse_application_targets, parse_functor
from hpacml.directives.syntax import FunctorDirective, Target
from hpacml.errors import DirectiveError


class RecordedMap(NamedTuple):
    """A map that was recorded: its direction, its functor, and its targets, one for each slice or for all of them.

    The targets are None if they are not known by names.
    """

    direction: str
    functor: FunctorDirective
    targets: tuple[Target, ...] | None

    @property
    def target_of_each_slice(self) -> tuple[Target, ...]:
        """The targets, repeated if there is one for all slices; none if they are not known."""
        targets = self.targets or ()
        return targets * len(self.functor.rhs) if len(targets) == 1 else targets


@cache
def read_map(text: str) -> RecordedMap | None:
    """Read what was recorded of a map; None for anything else."""
    parts = re.fullmatch(r"(\w+): (.*?) \| (.*)", text, re.DOTALL)
    if parts is None:
        return None
    direction, functor, applied = parts.groups()
    try:
        directive = parse_functor(functor)
    except DirectiveError:
        return None
    name, _, targets = applied.strip().partition("(")
    try:
        found = parse_application_targets(targets.removesuffix(")")) if name == directive.name else None
    except DirectiveError:
        found = None
    return RecordedMap(direction, directive, found)
