"""The texts of call sites as the runtime of libraries without Python reads them: see standalone.ll."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from hpacml.abi.records import FailSite, Json, MapSite, NumberField, Pieces, PlacedSite, PrintSite, RefuseSite, SizeSite
from hpacml.errors import CompileError
from hpacml.functors.targets import format_map, open_numbers, ranks

MOST_NUMBERS = 128
"""The most numbers of a text: the runtime keeps them."""

MOST_BYTES = 6000
"""The most bytes of a text without its numbers."""


def native(text: str) -> str:
    """The record of a call site, which is JSON, for this runtime. Each string of several is ended by a NUL.

    Raises `CompileError` for what it cannot do: for records of other kinds, and for numbers in formats that C lacks.
    """
    record: Json = json.loads(text.rstrip("\0"))
    if (write := _WRITERS.get(record["kind"])) is None:
        raise CompileError(f"code that stands alone has no '{record['kind']}', which needs Python")
    return write(record)


def _strings(pieces: Sequence[str]) -> str:
    """Strings, and an empty one at last."""
    if sum(len(piece.encode()) for piece in pieces) > MOST_BYTES:
        raise CompileError(f"a text of code that stands alone has {MOST_BYTES} bytes at most: '{pieces[0][1:60]}...'")
    if sum(piece[0] != "T" for piece in pieces) > MOST_NUMBERS:
        raise CompileError(f"a text of code that stands alone has {MOST_NUMBERS} numbers at most")
    return "".join(f"{piece}\0" for piece in pieces)


def _text(text: str) -> str:
    return "T" + text.replace("\0", "\\0")


def _fail(record: Json) -> str:
    site = FailSite.parse(record)
    text = () if site.text is None else (": ", *site.text)
    return _strings([*_pieces((site.error, *text)), _text(f" (raised in {site.place})")])


def _print(record: Json) -> str:
    return _strings(_pieces(PrintSite.parse(record).text))


def _placed(site: PlacedSite, text: str) -> str:
    """A text that begins with the place in the source, if that is known."""
    return text if site.place is None else f"{site.place}: {text}"


def _refuse(record: Json) -> str:
    site = RefuseSite.parse(record)
    return _placed(site, site.text)


def _sizes(record: Json) -> str:
    return SizeSite.parse(record).text.format(given="{given}", wanted="{wanted}")


# -- numbers -------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"([ +]?0?\d{0,2})d?")
_FLOAT = re.compile(r"([ +]?0?\d{0,2}(?:\.\d{1,2})?[feEgG])")


def _pieces(pieces: Pieces) -> list[str]:
    """Texts and numbers."""
    return [_text(piece) if isinstance(piece, str) else _number(piece) for piece in pieces]


def _number(field: NumberField) -> str:
    """A number: Python and C write it alike."""
    is_python = field.type in ("int", "float", "bool")
    if field.conversion and (field.format or (field.conversion != "s" and not is_python)):  # as np.float32(0.1) is
        raise _refusal(field)
    if field.type in ("bool", "bool_") and not field.format:
        return "B"
    if "int" in field.type and (found := _INTEGER.fullmatch(field.format)) is not None:
        return f"I%{found[1]}ll{'u' if field.type.startswith('u') else 'd'}"
    if field.type in ("float", "float32", "float64"):
        if not field.format:  # without a conversion, NumPy shows a float32 as Python's float of its value
            return "S" if field.type == "float32" and field.conversion else "R"
        if (found := _FLOAT.fullmatch(field.format)) is not None:
            return f"E%{found[1]}"
    raise _refusal(field)


def _refusal(field: NumberField) -> CompileError:
    conversion = f"!{field.conversion}" if field.conversion else ""
    format = f":{field.format}" if field.format else ""
    return CompileError(
        f"code that stands alone has no text for the {field.type} in '{{...{conversion}{format}}}': write formats of "
        "integers as in {n:5d}, those of floats as in {x:8.3f}, {x:.2e} or {x:g}, or none"
    )


# -- maps ----------------------------------------------------------------------------------------------


def _map(record: Json) -> str:
    """What does not fit: the map, and the numbers that the call has."""
    site = MapSite.parse(record)
    text = format_map(site.functor, site.names, site.targets) if site.text is None else site.text
    return _strings([_text(_placed(site, f"in the map '{text}': {site.doubt}, where ")), *_values(site)])


def _values(site: MapSite) -> Iterator[str]:
    """The sizes of all arrays, the open numbers of the targets, and the parameters, in the order of `values`."""
    told: list[tuple[str, int, str]] = []
    """What stands in front of so many numbers, and what behind them."""
    for name, rank in zip(site.names, ranks(site.targets), strict=True):
        told.append((f"'{name}' has the sizes [", rank, "]"))
    if count := open_numbers(site.targets):
        told.append(("the open numbers of the ranges are ", count, ""))
    told += [(f"'{name}' is ", 1, "") for name in site.parameters]
    for k, (before, count, behind) in enumerate(told):
        yield _text(f"{', ' if k else ''}{before}")
        for n in range(count):
            yield "I%lld" if n == 0 else _text(", ")
            if n:
                yield "I%lld"
        yield _text(behind)


_WRITERS: dict[str, Callable[[Json], str]] = {
    "fail": _fail,
    "print": _print,
    "refuse": _refuse,
    "sizes": _sizes,
    "map": _map,
}
