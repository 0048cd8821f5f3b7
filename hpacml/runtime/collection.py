"""The collections of one call site: memory to arrays, arrays to the database."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime import database, frame
from hpacml.runtime.memref import array_from_descriptor
from hpacml.runtime.ranks import shard
from hpacml.runtime.sites import CollectSite, TensorType

VARIABLE = "HPAC_DB_FILE"


class Collection:
    """The collections of one call site, which keeps what they have in common."""

    def __init__(self, site: CollectSite) -> None:
        self._site = site
        self._types = (*site.inputs, *site.outputs)
        self._pointers = ctypes.c_size_t * len(self._types)
        dtypes = _dtypes(site.inputs), _dtypes(site.outputs)
        self._schema = database.Schema(site.maps, *dtypes, site.units, site.sample)

    def run(self, tensors: int, milliseconds: float) -> None:
        """Append what `tensors`, as for `hpacml_collect`, point to. Raises DatabaseError."""
        addresses = self._pointers.from_address(tensors)
        arrays = [_array(address, type) for address, type in zip(addresses, self._types, strict=True)]
        database.append(self._path(), self._site.label, self._schema, arrays, milliseconds)

    def _path(self) -> str:
        given = self._site.database.find(VARIABLE)
        if isinstance(given, (str, os.PathLike)):
            return shard(frame.paths()[given])
        if given is None:
            raise DatabaseError(
                f"the region '{self._site.label}' has no database: {self._site.database.why_none(VARIABLE)}; "
                "give database('FILE') in its ml directive, or set the variable to a file"
            )
        raise DatabaseError(
            f"the argument '{self._site.database.argument}' of the region '{self._site.label}' is of type "
            f"{type(given).__name__}: pass the path of a database"
        )


def _dtypes(tensors: Sequence[TensorType]) -> tuple[str, ...]:
    return tuple(tensor.dtype for tensor in tensors)


def _array(address: int, type: TensorType) -> np.ndarray[Any, np.dtype[Any]]:
    array = array_from_descriptor(address, type.dtype, type.rank)
    if type.dtype == "bf16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
