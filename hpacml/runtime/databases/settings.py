"""What the environment says about collection.

HPACML_DB_FLUSH    how much a kill may lose at most: seconds ("5", "0.2 s") or calls ("100 calls"). Default: 5
HPACML_DB_BUFFER   how much memory holds calls that are still to be written: bytes, with K, M or G for powers of
                   1024 ("64M", "1 GiB"). Default: 256M
HPACML_DB_DTYPE    "float32" stores float64 tensors of new groups as float32. Default: as they are
HPACML_DB_COMPRESS the filter of new groups: "gzip", "lzf" or "zstd", and perhaps a level ("zstd:5"). Default: none
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import zstd

FLUSH = "HPACML_DB_FLUSH"
BUFFER = "HPACML_DB_BUFFER"
DTYPE = "HPACML_DB_DTYPE"
COMPRESS = "HPACML_DB_COMPRESS"

_LEVELS = {"gzip": range(10), "lzf": range(0), "zstd": range(1, 23)}


@dataclass(frozen=True, slots=True)
class Loss:
    """What a kill may lose at most: the last `calls`, or if that is None those of the last `seconds`."""

    seconds: float
    calls: int | None = None

    @staticmethod
    def of_environment() -> Loss:
        """Raises DatabaseError."""
        text = os.environ.get(FLUSH) or "5"
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|seconds?|calls?)?\s*", text)
        if found is None or ((found[2] or "").startswith("call") and not found[1].isdecimal()):
            raise _wrong(FLUSH, text, "seconds, such as 5 or 0.5, or calls, such as '100 calls'")
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
        dtype = os.environ.get(DTYPE) or "float64"
        if dtype not in ("float32", "float64"):
            raise _wrong(DTYPE, dtype, "float32, or float64 to store tensors as they are")
        return Storage(dtype == "float32", _filters(os.environ.get(COMPRESS) or "none"))


def buffer_bytes() -> int:
    """The bytes that may hold calls which are still to be written. Raises DatabaseError."""
    text = os.environ.get(BUFFER) or "256M"
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMG]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise _wrong(BUFFER, text, "bytes, such as 268435456, 256M or '1 GiB'")
    return int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " "))


def _filters(text: str) -> dict[str, Any]:
    name, colon, level = text.partition(":")
    if name == "none" and not colon:
        return {}
    levels = _LEVELS.get(name)
    if levels is None or (colon and not (level.isdecimal() and int(level) in levels)):
        raise _wrong(COMPRESS, text, "none, lzf, gzip, gzip:0 to gzip:9, zstd, or zstd:1 to zstd:22")
    if name == "zstd":
        return dict(zstd().Zstd(clevel=int(level or 3)))
    return {"compression": name, "shuffle": True, **({"compression_opts": int(level)} if level else {})}


def _wrong(variable: str, text: str, expected: str) -> DatabaseError:
    return DatabaseError(f"the environment variable {variable} is '{text}': set it to {expected}")
