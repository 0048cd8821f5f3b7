"""The collections of one call site: memory to arrays, arrays to the database."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from hpacml import environment
from hpacml.abi.records import CollectSite, TensorType
from hpacml.clauses import rejected_label
from hpacml.dtypes import BRAIN
from hpacml.errors import DatabaseError
from hpacml.runtime import frame
from hpacml.runtime.arrays.views import ArrayView, array_from_descriptor, view_of_descriptor
from hpacml.runtime.databases import writer
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.origins import Origin
from hpacml.runtime.databases.ranks import shard
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.reports import guarded
from hpacml.runtime.sites import find, why_none

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.databases.truths import Truths


class Collection:
    """The collections of one call site, and what they have in common."""

    def __init__(self, site: CollectSite) -> None:
        self._site = site
        self._types = (*site.inputs, *site.outputs, *([] if site.reasons is None else [site.reasons]))
        self._group = site.label if site.reasons is None else rejected_label(site.label)
        """The label of the group that the calls go to."""
        self._pointers = ctypes.c_size_t * (len(self._types) + len(site.meta))
        self._truths: Truths | None = None
        """What there is to know of truths, which takes the language of directives: made in the first call."""
        self._brain = any(type.dtype == BRAIN for type in self._types)
        dtypes = _dtypes(site.inputs), _dtypes(site.outputs)
        sample = None if site.sample is None else str(site.sample)
        described = (site.maps, *dtypes, site.units, site.meta, site.truth, site.reasons is not None, sample)
        self._schemas = cache(partial(Schema, *described))
        """The schema of calls of a function: one object for all of them, since it is compared in each call."""
        self._last: tuple[Origin | None, Schema] | None = None
        """The function of the last call, and its schema."""

    def run(self, tensors: int, milliseconds: float) -> None:
        """Append a call, whose `tensors` are those of `hpacml_collect`. Raises DatabaseError.

        On a device, `milliseconds` is what the call finds the events before and behind the body by.
        """
        pointers = self._pointers.from_address(tensors)
        typed = list(zip(pointers, self._types, strict=False))
        numbers = [np.array(ctypes.c_double.from_address(pointer).value) for pointer in pointers[len(typed) :]]
        path, schema = self._path(), self._schema()
        if (call := innermost()) is None:
            arrays = [array_from_descriptor(address, type.dtype, type.rank) for address, type in typed]
            self._require_rows(arrays)
            self._append(path, schema, arrays, numbers, milliseconds)
            return
        from hpacml.runtime.gpu import collecting

        views = [view_of_descriptor(address, type.dtype, type.rank) for address, type in typed]
        self._require_rows(views)
        body = call.body(milliseconds)
        collecting.collect(
            call,
            path,
            views,
            body,
            lambda tensors, ms: self._append(path, schema, list(map(_numpy, tensors)), numbers, ms),
        )

    def _require_rows(self, tensors: Sequence[Array | ArrayView]) -> None:
        if not self._site.truth:
            return
        if self._truths is None:
            from hpacml.runtime.databases.truths import Truths

            self._truths = Truths(self._site)
        self._truths.require_rows([tuple(each.shape) for each in tensors])

    def _schema(self) -> Schema:
        origin, last = frame.paths().origins.get(self._site.label), self._last
        if last is None or last[0] is not origin:
            last = self._last = origin, self._schemas(origin)
        return last[1]

    def _append(
        self, path: str, schema: Schema, arrays: Sequence[Array], numbers: Sequence[Array], milliseconds: float
    ) -> None:
        if self._brain:
            typed = zip(arrays, self._types, strict=True)
            arrays = [_widened(array) if type.dtype == BRAIN else array for array, type in typed]
        writer.append(path, self._group, schema, [*arrays, *numbers], milliseconds)
        if self._site.reasons is not None:
            guarded.note_collected(self._site.label, arrays[len(self._types) - 1].size)

    def _path(self) -> str:
        given = find(self._site.database, environment.HPAC_DB_FILE)
        if frame.is_path(given):
            return shard(frame.paths().real(given))
        if given is None:
            why = why_none(self._site.database, environment.HPAC_DB_FILE)
            raise DatabaseError(
                f"the region '{self._site.label}' has no database: {why}; "
                "give database('FILE') in its ml directive, or set the variable to a file"
            )
        raise DatabaseError(
            f"the argument '{self._site.database.argument}' of the region '{self._site.label}' is of type "
            f"{type(given).__name__}: pass the path of a database"
        )


def _dtypes(tensors: Sequence[TensorType]) -> tuple[str, ...]:
    return tuple(tensor.dtype for tensor in tensors)


def _widened(bits: Array) -> Array:
    """Convert bf16 to float32, of which it is the upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _numpy(tensor: torch.Tensor) -> Array:
    """Make an array of a tensor in host memory; bf16 becomes uint16 bits."""
    import torch

    return (tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
