"""The texts of maps whose numbers have names, as directives write them: what is recorded does not depend on sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from xdsl.ir import SSAValue

from hpacml.ir.integers import Index, Integer, written
from hpacml.ir.targets_of_values import Target, TargetEntry


def text_of(functor: str, targets: Sequence[Target], names: Sequence[str], numbers: Collection[SSAValue]) -> str | None:
    """A functor applied to targets, whose arrays have these names, depth first; `numbers` stand for numbers.

    None where no number has a name, or one cannot be written: the IR tells the map then.
    """
    if not any(map(_is_named, targets)):
        return None
    rest = iter(names)
    text = f"{functor}({', '.join(_target(each, rest, numbers) for each in targets)})"
    return None if "?" in text else text


def _is_named(target: Target) -> bool:
    for entry in target.entries:
        match entry:
            case Target():
                found = _is_named(entry)
            case slice():
                found = entry.stop is None or any(_has_name(n) for n in (entry.start, entry.stop, entry.step))
            case _:
                found = _has_name(entry)
        if found:
            return True
    return False


def _has_name(number: Integer | None) -> bool:
    return isinstance(number, Index) and number.name is not None


def _target(target: Target, names: Iterator[str], numbers: Collection[SSAValue]) -> str:
    name = next(names)
    if target.array in numbers:
        return name
    return f"{name}[{', '.join(_entry(entry, names, numbers) for entry in target.entries)}]"


def _entry(entry: TargetEntry, names: Iterator[str], numbers: Collection[SSAValue]) -> str:
    if isinstance(entry, Target):
        return _target(entry, names, numbers)
    if not isinstance(entry, slice):
        return written(entry)
    parts = ["0" if entry.start is None else written(entry.start), "" if entry.stop is None else written(entry.stop)]
    if entry.step is not None:
        parts.append(written(entry.step))
    return (" : " if any(" " in part for part in parts) else ":").join(parts).rstrip(" ")
