"""What the environment says about collection."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpacml import environment
from hpacml.errors import DatabaseError, HpacmlError
from hpacml.runtime.databases.hdf5 import zstd

_LEVELS = {"gzip": range(10), "lzf": range(0), "zstd": range(1, 23)}


@dataclass(frozen=True, slots=True)
class Loss:
    """What a kill may lose at most: the last `calls`, or if that is None those of the last `seconds`."""

    seconds: float
    calls: int | None = None

    @staticmethod
    def of_environment() -> Loss:
        """Raises DatabaseError."""
        text = environment.DB_FLUSH.text()
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|seconds?|calls?)?\s*", text)
        if found is None or ((found[2] or "").startswith("call") and not found[1].isdecimal()):
            raise _wrong(environment.DB_FLUSH, text, "seconds, such as 5 or 0.5, or calls, such as '100 calls'")
        if (found[2] or "").startswith("call"):
            return Loss(math.inf, max(1, int(found[1])))
        return Loss(min(float(found[1]), 1e6))


@dataclass(frozen=True, slots=True)
class Storage:
    """How a group that does not exist yet stores its tensors: options of h5py's `create_dataset`."""

    single: bool
    """float64 as float32."""
    filters: Mapping[str, Any]

    @staticmethod
    def of_environment() -> Storage:
        """Raises DatabaseError."""
        dtype = environment.DB_DTYPE.text()
        if dtype not in ("float32", "float64"):
            raise _wrong(environment.DB_DTYPE, dtype, "float32, or float64 to store tensors as they are")
        return Storage(dtype == "float32", _filters(environment.DB_COMPRESS.text()))


def buffer_bytes() -> int:
    """The bytes that may hold calls which are still to be written. Raises DatabaseError."""
    return environment.DB_BUFFER.number(DatabaseError)


def _filters(text: str) -> dict[str, Any]:
    name, colon, level = text.partition(":")
    if name == "none" and not colon:
        return {}
    levels = _LEVELS.get(name)
    if levels is None or (colon and not (level.isdecimal() and int(level) in levels)):
        raise _wrong(environment.DB_COMPRESS, text, "none, lzf, gzip, gzip:0 to gzip:9, zstd, or zstd:1 to zstd:22")
    if name == "zstd":
        return dict(zstd().Zstd(clevel=int(level or 3)))
    return {"compression": name, "shuffle": True, **({"compression_opts": int(level)} if level else {})}


def _wrong(variable: environment.Variable, text: str, expected: str) -> HpacmlError:
    return variable.wrong(text, f"set it to {expected}", DatabaseError)
