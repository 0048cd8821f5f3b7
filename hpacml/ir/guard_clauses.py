"""The clauses that say where a model may be used, in Python's types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from hpacml.clauses import Bounds, Guard, Verification
from hpacml.directives.parser import parse_condition
from hpacml.errors import DirectiveError

Settings = TypeVar("Settings", Guard, Verification)


def settings(keyword: str, kind: Callable[..., Settings], value: object) -> Settings | None:
    """A guard or a verification, of its settings. Raises `DirectiveError` for what is neither."""
    if isinstance(value, Mapping):
        known = [each.name for each in fields(cast("Any", kind))]
        given = cast("Mapping[str, Any]", value)
        if unknown := [key for key in given if key not in known]:
            raise DirectiveError(f"'{keyword}' has no '{unknown[0]}': known are {', '.join(known)}")
        try:
            value = kind(**given)
        except TypeError as error:
            raise DirectiveError(f"'{keyword}' needs more settings: {error}") from None
    if value is None:
        return None
    if not isinstance(value, cast("type[Any]", kind)):
        raise DirectiveError(
            f"'{keyword}' takes {cast('Any', kind).__name__}(...) or its settings, and this is {value!r}"
        )
    found = cast("Settings", value)
    if (fault := found.fault) is not None:
        raise DirectiveError(fault)
    return found


def condition(value: object) -> str | None:
    """The text of a condition. Raises `DirectiveError` for what is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise DirectiveError(f"'where' is the text of a condition, and this is {value!r}")
    parse_condition(value)
    return value


def bounds(value: object) -> Sequence[Bounds]:
    """The bounds of each output, of pairs. Raises `DirectiveError` for what is none."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise DirectiveError(f"'clip' has a pair for each output, its least and greatest number or None, not {value!r}")
    found: list[Bounds] = []
    for pair in cast("Sequence[Any]", value):
        if not isinstance(pair, tuple | list) or len(cast("Sequence[Any]", pair)) != 2:
            raise DirectiveError(
                f"'clip' has {pair!r}, where a pair belongs, the least and the greatest number or None"
            )
        low, high = (None if each is None else float(each) for each in cast("Sequence[Any]", pair))
        if low is not None and high is not None and low > high:
            raise DirectiveError(f"the lower bound, {low}, is above the upper one, {high}")
        found.append(Bounds(None, low, high))
    return found
