"""Errors meant for users. Each says what is wrong, where, and what would mend it."""

from __future__ import annotations

import re


def caret(text: str, start: int, end: int) -> str:
    """Return the line of `text` that holds character `start`, with carets under characters `start` to `end`."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line = text[line_start:] if line_end < 0 else text[line_start:line_end]
    width = max(1, min(end, line_start + len(line)) - start)
    shown = "".join(c if c.isprintable() or c == "\t" else " " for c in line)
    before = "".join("\t" if c == "\t" else " " for c in line[: start - line_start])
    return f"  {shown.rstrip()}\n  {before}{'^' * width}"


def plain(text: str, *, line: bool = False) -> str:
    """Return `text` with Python's escapes for what does not print, save tabs and line ends; for these too in a `line`.

    Labels, names and other texts of files that somebody else has made would command the terminal that shows them.
    """
    if text.isprintable():
        return text
    kept = "\t" if line else "\t\n"
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def summary(error: BaseException) -> str:
    """Return the type and the first line of an error, for use inside a one-line message.

    Of an error of TorchScript's interpreter, which begins with a traceback, these are those of its cause.
    """
    text = str(error).strip()
    if not text:
        return type(error).__name__
    if "TorchScript interpreter" in text and (causes := _CAUSE.findall(text)):
        return ": ".join(causes[-1]).rstrip(".")
    return f"{type(error).__name__}: {text.splitlines()[0].rstrip('.')}"


_CAUSE = re.compile(r"^(?:builtins\.)?(\w+(?:Error|Exception)): *(.+)$", re.MULTILINE)


class HpacmlError(Exception):
    """Base of every error meant for users. Its text is plain, whatever the files hold that it tells of."""

    def __str__(self) -> str:
        return plain(super().__str__())


def at_place(error: HpacmlError, place: str | None) -> HpacmlError:
    """The error, which begins with a place in the source if one is known: `heat.py:3:4: `."""
    text = Exception.__str__(error)
    if place is not None and not text.startswith(f"{place}: "):
        error.args = (f"{place}: {text}",)
    return error


class DirectiveError(HpacmlError):
    """A directive that cannot be parsed, or that contradicts itself.

    `text` is the directive, `start` and `end` the offsets of the culprit in it.
    """

    def __init__(self, message: str, text: str = "", start: int = 0, end: int = 0):
        self.message = message
        self.text = text
        self.start = start
        self.end = max(end, start + 1)
        shown = f"\n{caret(text, start, self.end)}" if text else ""
        super().__init__(f"{message}{shown}")


class MapError(HpacmlError):
    """A tensor map that does not fit its arrays: ranks, extents, bounds, aliasing, dtypes."""


class CompileError(HpacmlError):
    """A kernel that cannot be compiled, with file, line and caret where there is a source."""

    def __init__(
        self,
        message: str,
        file: str | None = None,
        line: int = 0,
        source: str = "",
        start: int = 0,
        end: int = 0,
    ):
        self.message = message
        place = f"{file}:{line}: " if file is not None else ""
        shown = f"\n{caret(source, start, max(end, start + 1))}" if source else ""
        super().__init__(f"{place}{message}{shown}")


class ModelError(HpacmlError):
    """A model that is missing, not trusted, unreadable, or does not fit the maps of its region."""


class DatabaseError(HpacmlError):
    """A database that cannot be opened, read or written, or that holds data of other maps."""


class DeviceError(HpacmlError):
    """A GPU that is missing or out of memory, or that fails."""


class ConfigError(HpacmlError):
    """A setting of a training or a search that is unknown, of another type, or out of its range."""


class MissingExtra(HpacmlError, ImportError):
    """A part of hpacml whose packages are not installed."""
