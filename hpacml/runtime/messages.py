"""Texts of kernels: what they print, and the errors that they raise."""

from __future__ import annotations

import builtins
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.runtime.callbacks import pending
from hpacml.runtime.sites import Sites

if TYPE_CHECKING:
    from hpacml.abi.records import FailSite, Json, Pieces, PrintSite


def _failure(record: Json) -> FailSite:
    from hpacml.abi.records import FailSite

    return FailSite.parse(record)


def _printed(record: Json) -> PrintSite:
    from hpacml.abi.records import PrintSite

    return PrintSite.parse(record)


_failures = Sites(_failure)
_prints = Sites(_printed)


def number(bits: int) -> None:
    """Take a number of the text that comes next."""
    pending.numbers.append(bits)


def fail(site: int) -> None:
    """Raise the exception of a `raise` or an `assert`."""
    found = _failures.at(site)
    arguments = () if found.text is None else (_text(found.text),)
    error: Exception = getattr(builtins, found.error)(*arguments)
    error.add_note(f"raised in {found.place}, in a compiled kernel")
    raise error


def print_text(site: int) -> None:
    """Print a text."""
    print(_text(_prints.at(site).text), end="")


def _text(pieces: Pieces) -> str:
    taken, pending.numbers = iter(pending.numbers), []
    return "".join(piece if isinstance(piece, str) else piece.show(_value(piece.type, next(taken))) for piece in pieces)


def _value(type: str, bits: int) -> Any:
    """The number of Python or NumPy with these bits; floats come as those of 64 bits."""
    kind: Any = {"bool": bool, "int": int, "float": float}.get(type) or getattr(np, type)
    if type.startswith("float"):
        return kind(struct.unpack("d", struct.pack("q", bits))[0])
    return kind(bits & (1 << 64) - 1 if type == "uint64" else bits)
