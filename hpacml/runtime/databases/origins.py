"""The function whose calls a group holds: two functions of one name must not mix their data by accident.

The attribute `function` of a group is "module:qualified name" of the function that made it, and `sources` has the files
and the code that it has had, a text for each. `labelled` is there if that function's region has the clause `label`, by
which functions share a group on purpose.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import h5py
from hpacml.runtime.databases.runs import read_runs, this_run

_log = logging.getLogger("hpacml")

_MOST = 64
"""The number of sources that a group remembers, the newest ones."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file of a function, "" without one, and a digest of its code, which only one kind of bytecode can compare."""

    file: str
    bytecode: str
    digest: str

    @staticmethod
    def of(text: str) -> Source:
        """Read what `str` gives. Any text is a source, if one that equals no other."""
        code, _, file = text.partition(" ")
        bytecode, _, digest = code.partition("-")
        return Source(file, bytecode, digest)

    def __str__(self) -> str:
        return f"{self.bytecode}-{self.digest} {self.file}"

    def has_code_of(self, other: Source) -> bool:
        """Whether the code is the same, as far as one can know."""
        return self.bytecode != other.bytecode or self.digest == other.digest


@dataclass(frozen=True, slots=True)
class Origin:
    """A function, `module:qualified name`, and whether the clause `label` of its region names the group.

    `sources` are those that the function has had, the newest last: as a script, it is edited, moved and copied.
    """

    function: str
    labelled: bool = False
    sources: tuple[Source, ...] = ()

    @staticmethod
    def read(group: Any) -> Origin | None:
        """Read a group's attributes; None in files from before, which do not tell. Raises ValueError for no text."""
        function = group.attrs.get("function")
        if not isinstance(function, str):
            return None
        texts = group.attrs.get("sources", ())
        if np.ndim(texts) != 1 or not all(isinstance(text, str) for text in texts):
            raise ValueError("its attribute 'sources' is no list of texts")
        for text in (function, *texts):
            text.encode()  # h5py passes on bytes that are no text
        return Origin(function, "labelled" in group.attrs, tuple(map(Source.of, texts)))

    def write(self, group: Any) -> None:
        """Write attributes for `read`."""
        group.attrs.create("function", self.function, dtype=h5py().string_dtype())
        if self.sources:
            group.attrs.create("sources", [_storable(each) for each in self.sources], dtype=h5py().string_dtype())
        if self.labelled:
            group.attrs["labelled"] = True

    def joined(self, others: Iterable[Origin]) -> Origin:
        """This function with the sources that others, which are the same one, know of it."""
        same = (source for each in (self, *others) if each.function == self.function for source in each.sources)
        return replace(self, sources=tuple(dict.fromkeys(same))[-_MOST:])


def _storable(source: Source) -> str:
    return str(source).encode(errors="backslashreplace").decode()


def settle(group: Any, label: str, given: Origin | None) -> Origin | None:
    """Record the origin of the calls to come, if a group has none; return that of the group. Raises DatabaseError."""
    found = Origin.read(group)
    if given is None:
        return found
    if found is None:
        given.write(group)
        return given
    if is_other(found, given):
        raise _refusal(label, found, given, _commands(group))
    joined = found.joined([given])
    if joined != found:
        if _may_differ(found, given):
            _log.warning(
                "the group '%s' holds calls of another version of %s, which has no file that would tell whether it has "
                "been edited: if it is another function, give its region label('...')%s",
                label,
                given.function,
                _commands(group),
            )
        joined.write(group)
    return joined


def require(label: str, found: Origin | None, given: Origin | None) -> None:
    """Raise DatabaseError if the calls of `given` do not belong to a group of `found`."""
    if found is not None and given is not None and is_other(found, given):
        raise _refusal(label, found, given)


def is_other(found: Origin, given: Origin) -> bool:
    """Whether a function would come into the group of another one only because of its name.

    A function of the same name in another file is the same one if its code is. In the same file it has been edited.
    """
    if given.labelled:
        return False
    if found.function != given.function:
        return True
    pairs = [(one, other) for one in found.sources for other in given.sources]
    return bool(pairs) and not any(one.file == other.file or one.has_code_of(other) for one, other in pairs)


def _may_differ(found: Origin, given: Origin) -> bool:
    """Whether only the lack of a file makes two functions the same."""
    return (
        found.function == given.function
        and not given.labelled
        and all(not each.file for each in given.sources)
        and not any(one.has_code_of(other) for one in found.sources for other in given.sources)
    )


def told_apart(*origins: Origin) -> list[str]:
    """The names of functions, and their files if the names are the same."""
    names = [origin.function for origin in origins]
    if len(set(names)) == len(names):
        return names
    files = [each.sources[-1].file if each.sources else "" for each in origins]
    return [f"{name} in {file or 'no file'}" for name, file in zip(names, files, strict=True)]


def _refusal(label: str, found: Origin, given: Origin, commands: str = "") -> DatabaseError:
    names = told_apart(found, given)
    return DatabaseError(
        f"the group '{label}' holds calls of the function {names[0]}, and {names[1]} is another one of "
        f"that name{commands}: give its region label('...'), the label '{label}' if their data belong together, or use "
        "another database"
    )


def _commands(group: Any) -> str:
    """How the two programs were run, which tells scripts apart."""
    try:
        runs = read_runs(group)
    except ValueError:
        runs = ()
    return f" (the group was made by `{runs[0].command}`, and this is `{this_run().command}`)" if runs else ""
