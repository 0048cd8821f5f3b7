"""The version of the installed package."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def version() -> str:
    """Such as `0.1.0`; `source` where hpacml is not installed but run from its source tree."""
    try:
        return metadata.version("hpacml")
    except metadata.PackageNotFoundError:
        return "source"
