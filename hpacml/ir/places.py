"""Places in the source of the language that is compiled, and errors that tell them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, LocationAttr, StringAttr
from xdsl.utils.exceptions import DiagnosticException

from hpacml.dialects.hpacml.locations import written
from hpacml.errors import DirectiveError, HpacmlError, MapError
from hpacml.pipelines import source_of

Place = tuple[str, int, int] | LocationAttr
"""File, line and column, both counted from 1, or a location of MLIR."""


def location(place: Place) -> LocationAttr:
    """A place as a location of MLIR."""
    if isinstance(place, LocationAttr):
        return place
    file, line, column = place
    return FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))


@contextmanager
def telling(where: LocationAttr) -> Generator[None]:
    """Have errors tell a location, with the line of the source if there is one; those of xDSL become ours."""
    place = written(where)
    try:
        yield
    except DirectiveError as error:
        message = f"{place}{error.message}{'' if error.text else source_of(place)}"
        raise DirectiveError(message, error.text, error.start, error.end) from error.__cause__
    except MapError as error:
        raise MapError(f"{place}{error}{source_of(place)}") from error.__cause__
    except HpacmlError as error:
        raise DirectiveError(f"{place}{error}{source_of(place)}") from error.__cause__
    except DiagnosticException as error:
        raise DirectiveError(f"{place}{error}{source_of(place)}") from error
