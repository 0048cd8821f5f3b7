"""Variables that are tuples or bundles: each part is a variable of its own, as others at branches and in loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hpacml.frontend.python.values import Record, Static, Tuple, Unset, Value


@dataclass(frozen=True)
class Form:
    """The value of a variable that is a tuple or a bundle: the endings of the names of its parts."""

    parts: tuple[str, ...]
    type: type[Any] | None = None
    """The class of a bundle."""


Variable: TypeAlias = "Value | Form"


def base(name: str) -> str:
    """The variable of Python of which this one is a part. The compiler's own begin with a dot."""
    return name[:1] + re.split(r"[.\[]", name[1:], maxsplit=1)[0]


def read(variables: Mapping[str, Variable], name: str) -> Value | None:
    """The value of a variable, None if it has none."""
    found = variables.get(name)
    if not isinstance(found, Form):
        return found
    items = [read(variables, name + part) or Unset(f"'{name + part}' has no value here") for part in found.parts]
    if found.type is None:
        return Tuple(tuple(items))
    return Record(found.type, {part[1:]: item for part, item in zip(found.parts, items, strict=True)})


def write(variables: dict[str, Variable], name: str, value: Value) -> Iterator[tuple[str, Value]]:
    """Set a variable, and give the names and values that it consists of."""
    remove(variables, name)
    match value:
        case Tuple(items=items):
            parts = {f"[{position}]": item for position, item in enumerate(items)}
        case Record(fields=fields):
            parts = {f".{field}": item for field, item in fields.items()}
        case _:
            yield name, value
            return
    variables[name] = Form(tuple(parts), value.type if isinstance(value, Record) else None)
    for part, item in parts.items():
        yield from write(variables, name + part, item)


def names(variables: Mapping[str, Variable], name: str) -> Iterator[str]:
    """The variables that a variable consists of, itself first."""
    yield name
    found = variables.get(name)
    if isinstance(found, Form):
        for part in found.parts:
            yield from names(variables, name + part)


def remove(variables: dict[str, Variable], name: str) -> None:
    for each in list(names(variables, name)):
        variables.pop(each, None)


def are_same(a: Variable | None, b: Variable | None) -> bool:
    """Whether two values of a variable are one."""
    if isinstance(a, Static) and isinstance(b, Static):
        return a.object is b.object or (isinstance(a.object, str) and a.object == b.object)
    return a is b or (isinstance(a, Form) and a == b)


def are_alike(a: Mapping[str, Variable], b: Mapping[str, Variable], name: str) -> bool:
    """Whether a variable consists of the same parts in both."""
    return list(names(a, name)) == list(names(b, name))
