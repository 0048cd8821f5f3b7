"""The clauses of a region, in Python's types."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict, cast

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerType, StringAttr, SymbolRefAttr, f64, i1, i64
from xdsl.ir import Block, Region, SSAValue

from hpacml.clauses import KEYS, Engine, Guard, OnError, Sampling, Verification
from hpacml.dialects.hpacml.attributes import FLOATS, MappingType, Mode
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.errors import DirectiveError
from hpacml.ir.given import described, type_of
from hpacml.ir.guard_clauses import bounds, settings
from hpacml.ir.guard_clauses import condition as guard_condition
from hpacml.ir.integers import Index
from hpacml.passes.common.conversion import convert

File = str | os.PathLike[str] | SymbolRefAttr
"""A path, or the symbol of the argument of the call that holds one."""


class Clauses(TypedDict, total=False):
    """The clauses of a region, which docs/directives.md tells of. Absent ones are as there."""

    condition: SSAValue
    """Of type i1: mode `predicated` infers where it is true, and collects where it is false."""
    if_condition: SSAValue
    """Of type i1: where it is false, the original code runs, and nothing is inferred or collected (`if`)."""
    inputs: Sequence[SSAValue]
    """Mappings that are read (`in`), in the order of the model."""
    outputs: Sequence[SSAValue]
    """Mappings that are written (`out`), in the order of the model."""
    inouts: Sequence[SSAValue]
    """Mappings that are read, behind `inputs`, and written, behind `outputs` (`inout`)."""
    truths: Sequence[SSAValue]
    """Mappings that are collected in the place of the outputs, one for each (`truth`)."""
    model: File
    database: File
    batch: int
    """The model takes points as rows, so many in a call; 0: as many as the runtime likes."""
    on_error: OnError
    engine: Engine
    sample: Sampling | Mapping[str, int | float]
    units: Mapping[str, str]
    """The units of arrays, by the names of their values in the IR."""
    meta: Mapping[str, SSAValue | Index | float]
    """Numbers that each call stores in the database, by name."""
    guard: Guard | Mapping[str, float | bool]
    """At which points the model may be used, by its own domain and last output (docs/guards.md)."""
    where: str
    """A condition on the points at which it may be used, such as "t > limit"."""
    where_points: Mapping[str, SSAValue]
    """Mappings of one element at a point (`map_to`), by the names that the condition has for them."""
    where_numbers: Mapping[str, SSAValue | Index | float]
    """Numbers by the names that the condition has for them."""
    pointwise: bool
    """The original code makes any points alone."""
    verify: Verification | Mapping[str, float | str]
    """Which inferences are compared with the original code."""
    clip: Sequence[tuple[float | None, float | None]]
    """The least and the greatest number of each output."""


def region(mode: str, label: str, clauses: Mapping[str, Any], builder: Builder) -> MlOp:
    """The operation of a region without original code. Raises `DirectiveError` for clauses that are none."""
    _require_known(clauses)
    if mode not in [*Mode]:
        raise DirectiveError(f"a region has no mode {mode!r}{_hint(str(mode), [*Mode])}")
    if not isinstance(cast(object, label), str):
        raise DirectiveError(f"the label of a region is text, and this is {label!r}")
    given = dict(clauses)
    mapped = {keyword: _mappings(keyword, given.pop(keyword, ())) for keyword in _MAPPED}
    for keyword in ("condition", "if_condition"):
        _require_truth(keyword, given.get(keyword))
    for keyword in ("model", "database"):
        given[keyword] = _file(keyword, given.get(keyword))
    given["batch"] = _batch(given.get("batch"))
    given["sample"] = _sampling(given.get("sample"))
    given["units"] = _units(given.get("units", {}), (value for values in mapped.values() for value in values))
    meta = cast("Mapping[str, SSAValue | Index | float]", given.pop("meta", {}))
    given["numbers"] = [_number(name, value, builder) for name, value in meta.items()]
    given["guard"] = settings("guard", Guard, given.get("guard"))
    given["verify"] = settings("verify", Verification, given.get("verify"))
    given["where"], given["clip"] = guard_condition(given.get("where")), bounds(given.get("clip", ()))
    points, limits = (cast("Mapping[str, Any]", given.get(key, {})) for key in ("where_points", "where_numbers"))
    given["where_points"] = dict(zip(points, _mappings("where_points", [*points.values()]), strict=True))
    given["where_numbers"] = {name: _number(name, value, builder) for name, value in limits.items()}
    return MlOp(Mode(mode), label, Region(Block()), meta=[*meta], **mapped, **given)


_MAPPED = ("inputs", "outputs", "inouts", "truths")


def _require_known(clauses: Iterable[str]) -> None:
    known = [*Clauses.__annotations__]
    for name in clauses:
        if name not in known:
            raise DirectiveError(f"a region has no clause '{name}'{_hint(name, known)}")


def _hint(name: str, known: Sequence[str]) -> str:
    close = {"in": "inputs", "out": "outputs", "inout": "inouts", "truth": "truths", "if": "if_condition"}.get(name)
    found = close or next(iter(get_close_matches(name, known, 1)), None)
    return f"; did you mean '{found}'?" if found else f": known are {', '.join(known)}"


def _mappings(keyword: str, values: object) -> list[SSAValue]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DirectiveError(f"'{keyword}' takes a list of mappings, as map_to and map_from make them")
    for value in cast("Sequence[object]", values):
        if not isinstance(type_of(value), MappingType):
            given = described(value)
            raise DirectiveError(f"'{keyword}' has {given}, and takes mappings, as map_to and map_from make them")
    return [*cast("Sequence[SSAValue]", values)]


def _require_truth(keyword: str, value: object) -> None:
    if value is not None and type_of(value) != i1:
        raise DirectiveError(f"'{keyword}' is {described(value)}, and takes a value of type i1")


def _file(keyword: str, value: object) -> StringAttr | SymbolRefAttr | None:
    if value is None or isinstance(value, SymbolRefAttr):
        return value
    if isinstance(value, str | os.PathLike):
        path = os.fspath(cast("str | os.PathLike[Any]", value))
        if isinstance(path, str):
            return StringAttr(path)
    raise DirectiveError(f"'{keyword}' is a path, and this is {value!r}")


def _batch(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63):
        return value
    raise DirectiveError(f"'batch' is a number of rows, 0 for any, and this is {value!r}")


def _sampling(value: object) -> Sampling | None:
    if isinstance(value, Mapping):
        settings = cast("Mapping[str, int | float]", value)
        for key in settings:
            if key not in KEYS:
                raise DirectiveError(f"'sample' has no '{key}'{_hint(str(key), KEYS)}")
        value = Sampling.of(settings)
    if value is not None and not isinstance(value, Sampling):
        raise DirectiveError(f"'sample' takes Sampling(...) or its settings, and this is {value!r}")
    if value is not None and (fault := value.fault) is not None:
        raise DirectiveError(fault)
    return value


def _units(units: object, mappings: Iterable[SSAValue]) -> Mapping[str, str]:
    maps = [each.owner for each in mappings]
    known = sorted({name for each in maps if isinstance(each, MapOp) for name in each.array_names})
    if not isinstance(units, Mapping):
        raise DirectiveError(f"'units' has units by the names of arrays, and this is {units!r}")
    for name, unit in cast("Mapping[object, object]", units).items():
        if not isinstance(unit, str):
            raise DirectiveError(f"the unit of '{name}' is text, and this is {unit!r}")
        if known and name not in known:  # what derives maps knows the arrays of a region without
            raise DirectiveError(f"'{name}' is no array of the region's maps{_hint(str(name), known)}")
    return cast("Mapping[str, str]", units)


def _number(name: str, value: object, builder: Builder) -> SSAValue:
    """A number as float64, which is what databases store."""
    if isinstance(value, Index):
        value = value.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return builder.insert(arith.ConstantOp(FloatAttr(float(value), 64))).result
    if not isinstance(value, SSAValue):
        raise DirectiveError(f"'{name}' in 'meta' is {value!r}, and numbers are floats or integers")
    number = cast("SSAValue", value)
    if isinstance(number.type, IndexType):
        number = builder.insert(arith.IndexCastOp(number, i64)).result
    type = type_of(number)
    if isinstance(type, FLOATS) or (isinstance(type, IntegerType) and type != i1):
        return convert(number, f64, builder)
    raise DirectiveError(f"'{name}' in 'meta' is {described(number)}, and numbers are floats or integers")
