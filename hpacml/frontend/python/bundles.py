"""Bundles: dataclasses and named tuples of numbers and arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast


def is_bundle(type: type[Any]) -> bool:
    """Whether a class is one whose instances are made of all of their fields, and of nothing else."""
    return (dataclasses.is_dataclass(type) or _is_named_tuple(type)) and obstacle(type) is None


def obstacle(type: type[Any]) -> str | None:
    """What makes a dataclass or a named tuple no bundle, as in "a __post_init__"; None if nothing does."""
    if not dataclasses.is_dataclass(type):
        return None if not _is_named_tuple(type) or _is_generated(type.__new__) else "a __new__ of its own"
    if "__post_init__" in dir(type):
        return "a __post_init__"
    if not _is_generated(type.__init__):
        return "an __init__ of its own"
    others = [field.name for field in dataclasses.fields(type) if not field.init]
    return f"the field '{others[0]}', which is no argument of its __init__" if others else None


def _is_generated(function: Any) -> bool:
    """Whether `dataclass` or `NamedTuple` has written a function."""
    return getattr(function, "__code__", None) is not None and function.__code__.co_filename == "<string>"


def _is_named_tuple(type: type[Any]) -> bool:
    return issubclass(type, tuple) and "_fields" in dir(cast(object, type))


def is_tuple(type: type[Any]) -> bool:
    """Whether instances are tuples of their fields, too."""
    return _is_named_tuple(type)


def is_mutable(type: type[Any]) -> bool:
    """Whether Python lets the fields of an instance be assigned."""
    return not is_tuple(type) and not vars(type)["__dataclass_params__"].frozen


def fields_of(type: type[Any]) -> Mapping[str, Any]:
    """The fields of a bundle and their annotations, in order. A named tuple without annotations has `object`."""
    if dataclasses.is_dataclass(type):
        return {field.name: field.type for field in dataclasses.fields(type)}
    annotations = {
        name: found for each in reversed(type.__mro__) for name, found in vars(each).get("__annotations__", {}).items()
    }
    return {name: annotations.get(name, object) for name in type._fields}


def is_compared_by_fields(type: type[Any]) -> bool:
    """Whether `dataclass` has written how two instances compare."""
    return dataclasses.is_dataclass(type) and _is_generated(type.__eq__)


def made_by_factories(type: type[Any]) -> list[str]:
    """The fields whose defaults a function makes."""
    if not dataclasses.is_dataclass(type):
        return []
    return [field.name for field in dataclasses.fields(type) if field.default_factory is not dataclasses.MISSING]


def defaults_of(type: type[Any]) -> Mapping[str, Any]:
    """The defaults of fields."""
    if not dataclasses.is_dataclass(type):
        return type._field_defaults
    return {f.name: f.default for f in dataclasses.fields(type) if f.default is not dataclasses.MISSING}
