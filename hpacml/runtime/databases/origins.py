"""The function whose calls a group holds: two functions of one name must not mix their data by accident.

The attribute `function` of a group is "module:qualified name" of the function that made it. `labelled` is there if that
function's region has the clause `label`, by which functions share a group on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import h5py
from hpacml.runtime.databases.runs import read_runs, this_run


@dataclass(frozen=True, slots=True)
class Origin:
    """A function, `module:qualified name`, and whether the clause `label` of its region names the group."""

    function: str
    labelled: bool = False

    @staticmethod
    def read(group: Any) -> Origin | None:
        """Read a group's attributes; None in files from before, which do not tell. Raises ValueError for no text."""
        function = group.attrs.get("function")
        if not isinstance(function, str):
            return None
        function.encode()  # h5py passes on bytes that are no text
        return Origin(function, "labelled" in group.attrs)

    def write(self, group: Any) -> None:
        """Write attributes for `read`."""
        group.attrs.create("function", self.function, dtype=h5py().string_dtype())
        if self.labelled:
            group.attrs["labelled"] = True


def settle(group: Any, label: str, given: Origin | None) -> Origin | None:
    """Record the origin of the calls to come, if a group has none; return that of the group. Raises DatabaseError."""
    if (found := Origin.read(group)) is None:
        if given is not None:
            given.write(group)
        return given
    if given is not None and is_other(found, given):
        raise _refusal(label, found, given, _commands(group))
    return found


def require(label: str, found: Origin | None, given: Origin | None) -> None:
    """Raise DatabaseError if the calls of `given` do not belong to a group of `found`."""
    if found is not None and given is not None and is_other(found, given):
        raise _refusal(label, found, given)


def is_other(found: Origin, given: Origin) -> bool:
    """Whether a function would come into the group of another one only because of its name."""
    return found.function != given.function and not given.labelled


def _refusal(label: str, found: Origin, given: Origin, commands: str = "") -> DatabaseError:
    return DatabaseError(
        f"the group '{label}' holds calls of the function {found.function}, and {given.function} is another one of "
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
