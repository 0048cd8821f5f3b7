"""What a model in the place of a region would not do as the region's code does, which the log tells once."""

from __future__ import annotations

import ast
import logging

from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.values import Array

_log = logging.getLogger("hpacml")

_told: set[tuple[str, str]] = set()
"""The regions, by their places, and the arrays of which the log has told."""

_UNCOVERED = "%s: the region's body writes '%s', which no output covers: a model in its place leaves it as it was"
_UNWRITTEN = "%s: '%s' is an output of the region, and its body does not write it"


def tell_uncovered(evaluator: Evaluator, call: ast.Call, written: set[int], outputs: set[int]) -> None:
    """Tell of the parameters at these positions that either the code of the region at `call` writes, or its maps."""
    place = f"{evaluator.source.file}:{call.lineno}"
    names = {
        position: name
        for name, value in evaluator.variables.items()
        if isinstance(value, Array)
        for position in value.parameters
    }
    if (written ^ outputs) & names.keys():
        evaluator.notes.notes.is_complete = False  # so that each process tells it
    for position in sorted((written ^ outputs) & names.keys()):
        if (place, names[position]) not in _told:
            _told.add((place, names[position]))
            _log.warning(_UNCOVERED if position in written else _UNWRITTEN, place, names[position])
