"""What callers have given: values of the IR, or anything else of Python."""

from __future__ import annotations

from typing import cast

from xdsl.ir import Attribute, SSAValue


def type_of(value: object) -> Attribute | None:
    """The type of a value of the IR, None for anything else."""
    return cast("SSAValue", value).type if isinstance(value, SSAValue) else None


def described(value: object) -> str:
    """What was given, for messages."""
    if not isinstance(value, SSAValue):
        return repr(value)
    named = cast("SSAValue", value)
    name = "a value" if named.name_hint is None else f"'{named.name_hint}'"
    return f"{name} of type {named.type}"
