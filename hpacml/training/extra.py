"""The packages that training needs and `pip install hpacml` alone does not bring."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from hpacml.errors import HpacmlError


@contextlib.contextmanager
def needed_for(what: str) -> Generator[None]:
    """Import such packages within it. Raises HpacmlError, which says how to install them, where one is missing."""
    try:
        yield
    except ImportError as error:
        raise HpacmlError(f"{what} needs another package ({error}): pip install 'hpacml[train]'") from error
