"""The texts of a region's maps, as databases and models record them, with what they say of elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self


class Maps(tuple[str, ...]):
    """Texts of maps, inputs before outputs, with the element types of their tensors.

    `dtypes` has a name of `hpacml.dtypes` for each map, "" for one that is not known, and is empty if none is.
    """

    dtypes: tuple[str, ...]

    def __new__(cls, texts: Iterable[str] = (), dtypes: Sequence[str] = ()) -> Self:
        made = super().__new__(cls, texts)
        made.dtypes = tuple(dtypes) if len(dtypes) == len(made) else ()
        return made
