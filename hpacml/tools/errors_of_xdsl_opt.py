"""What plain `xdsl-opt` prints of an error about hpacml: what `hpacml-opt` does, in place of a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

from xdsl.irdl import IRDLOperation
from xdsl.utils.exceptions import DiagnosticException, ParseError

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.errors import HpacmlError
from hpacml.tools.refused_operation import told

_PACKAGE = str(Path(__file__).parents[1])


def shorten_errors() -> None:
    """Have the program print errors about hpacml by `text_of`, and all others as before."""
    others = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if (text := text_of(error)) is None:
            others(kind, error, trace)
        else:
            print(f"xdsl-opt: {text}", file=sys.stderr)

    sys.excepthook = show


def text_of(error: BaseException) -> str | None:
    """The error for a user; None where it is no error for users, or not about hpacml."""
    if isinstance(error, DiagnosticException | HpacmlError | ParseError) and _is_ours(error):
        return told(error)
    return None


def _is_ours(error: BaseException) -> bool:
    """Whether code of hpacml has raised it, or it is about an operation of hpacml."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        parsed = frame.f_locals.get("op_type")
        if isinstance(parsed, type) and issubclass(parsed, IRDLOperation) and parsed.name.startswith(PREFIXES):
            return True
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return True
    return False
