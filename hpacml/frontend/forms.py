"""Calls of the same form as the one before: native code checks their arguments, and everything else is known."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

from hpacml.dtypes import SIZES
from hpacml.runtime.arrays.buffers import empty
from hpacml.runtime.arrays.torch_layout import kind_and_keys
from hpacml.runtime.arrays.torch_memory import ORDINARY
from hpacml.runtime.arrays.views import ArrayView
from hpacml.runtime.fast_path import Known, KnownTensor, Made, Signature, Taken

if TYPE_CHECKING:
    import torch

KnownArray: TypeAlias = "Known | KnownTensor"

OPENINGS = 8
"""How often a text of targets gets a new form: sizes that change and change do not pay for forms."""

MOST = 1024
"""The number of forms that are kept."""


class Forms:
    """The last form of the calls with the same text and names, as a function that makes such a call.

    It takes the arguments as they come, and returns NotImplemented if they are not of the form.
    """

    def __init__(self) -> None:
        self.open: dict[Hashable, Callable[..., Any]] = {}
        self._seen: dict[Hashable, tuple[Hashable, int]] = {}

    def recurs(self, key: Hashable, form: Hashable) -> bool:
        """Note a call that no form fits, and tell whether its own form is to be opened."""
        known, openings = self._seen.get(key, (None, 0))
        if known != form:
            if len(self._seen) >= MOST:
                self._seen.clear()
                self.open.clear()
            self._seen[key] = form, openings
            return False
        self._seen[key] = None, openings + 1
        return openings < OPENINGS


def known_array(array: object, view: ArrayView, written: bool) -> KnownArray | None:
    """What native code must know to take an array of this form, None for one that it does not take."""
    if 0 in view.shape or view.device is not None:
        return None
    if type(array) is np.ndarray:
        plain: np.ndarray[Any, np.dtype[Any]] = array
        return Known(plain.dtype, view.shape, view.strides, written)
    if type(array) in ORDINARY and (found := kind_and_keys(cast("torch.Tensor", array))) is not None:
        return KnownTensor(*found, SIZES[view.dtype], view.shape, view.strides, written)
    return None


class Form(NamedTuple):
    """What the calls of a map have in common."""

    names: list[str]
    """Those of the arguments, which are arrays and integers."""
    sources: Sequence[str]
    """Those of the arrays in the order in which the code takes them."""
    arrays: Sequence[KnownArray]
    integers: Mapping[str, int]
    constants: Sequence[int]
    """What the code takes behind the arrays and the tensor."""

    def making(self, shape: tuple[int, ...], dtype: str) -> Signature:
        """The signature of a gather into a tensor that is made for each call."""

        def make() -> tuple[torch.Tensor, int]:
            tensor = empty(shape, dtype)
            return tensor, tensor.data_ptr()

        made = Made(make, shape, len(self.arrays))
        return Signature(len(self.names), self._takes, constants=self._constants, made=made)

    def given(self, tensor: KnownArray, is_result: bool) -> Signature:
        """The signature of a call with a tensor behind the other arguments, which shares no memory with the arrays."""
        last = len(self.names)
        takes = [*self._takes, (tensor, last, len(self.arrays))]
        result = last if is_result else None
        return Signature(last + 1, takes, constants=self._constants, apart=len(takes) - 1, given=result)

    @property
    def _takes(self) -> list[tuple[Taken, int, int]]:
        places = {name: place for place, name in enumerate(self.names)}
        arrays = enumerate(zip(self.arrays, self.sources, strict=True))
        takes: list[tuple[Taken, int, int]] = [(array, places[name], slot) for slot, (array, name) in arrays]
        return takes + [(value, places[name], 0) for name, value in self.integers.items()]

    @property
    def _constants(self) -> list[tuple[int, int]]:
        return list(enumerate(self.constants, len(self.arrays) + 1))
