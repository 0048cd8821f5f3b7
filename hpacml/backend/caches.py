"""The caches of this machine's processors."""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@functools.cache
def beyond() -> int:
    """The bytes of the last cache, where what has no room in it can be written past it: on x86-64. 0 if unknown."""
    return last(_CACHES) if platform.machine() == "x86_64" else 0


def last(folder: Path) -> int:
    """The bytes of the largest cache of data that Linux lists in a folder. 0 without any."""
    sizes = [0]
    for cache in folder.glob("index*"):
        try:
            kind, size = ((cache / name).read_text().strip() for name in ("type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and (number := re.fullmatch(r"(\d+)K", size)) is not None:
            sizes.append(int(number[1]) << 10)
    return max(sizes)
