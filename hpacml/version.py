"""The version of the installed package."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def version() -> str:
    """Return the version, such as `0.1.0`, or `source` where hpacml runs from a source tree without an installation."""
    try:
        return metadata.version("hpacml")
    except metadata.PackageNotFoundError:
        return "source"
