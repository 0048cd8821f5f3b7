"""Tensors of Torch as they lie in memory, for native code that reads them without Torch."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_HEAD = object.__basicsize__
# Where the fields are in c10::TensorImpl; then those in c10::StorageImpl, and the number in a counter of versions.
_STORAGE, _OF_GRADIENTS, _EXTRAS, _VERSION = 16, 24, 32, 40
_RANK, _SIZES, _STRIDES, _OFFSET, _KIND, _KEYS = 56, 64, 104, 144, 160, 168
_DATA, _BYTES, _FLAGS = 16, 48, 56
_COUNT = 16

MOST_AXES = 5
"""Sizes of more dimensions lie elsewhere."""

TELLING_FLAGS = 0x00FF_FFFF_FFFF_00FF
"""The flags of a storage that are 0 if writing to its memory takes nothing else: the others say nothing of that."""


def kind_and_keys(tensor: torch.Tensor) -> tuple[int, int] | None:
    """The numbers of a tensor's dtype and of what Torch does with it; None if it is not just memory, sizes and strides.

    Such are tensors that need gradients, views that Torch may have to know of, those of transforms, and copies that are
    made when they are written.
    """
    if not _is_known() or type(tensor) is not _torch().Tensor or tensor.dim() > MOST_AXES:
        return None
    place: int = tensor._cdata
    keys = _word(place + _KEYS)
    if _word(place + _OF_GRADIENTS) or _word(place + _EXTRAS) or keys != _ordinary_keys() or not _is_ordinary(tensor):
        return None
    return _word(place + _KIND) & 0xFFFF, keys


def _is_ordinary(tensor: torch.Tensor) -> bool:
    return not _word(_word(tensor._cdata + _STORAGE) + _FLAGS) & TELLING_FLAGS


@functools.cache
def _ordinary_keys() -> int:
    return _word(_torch().empty(0, device="cpu")._cdata + _KEYS)


@functools.cache
def _is_known() -> bool:
    """Whether tensors lie in memory as in the headers of Torch that this file was written for."""
    torch = _torch()
    if sys.implementation.name != "cpython" or _HEAD != 16 or sys.byteorder != "little":
        return False
    with torch.inference_mode(False), torch.no_grad():
        samples = [torch.empty_strided((3, 5, 7), (351, 9, 1), dtype=torch.float64, device="cpu")]
        samples += [torch.zeros(1000, dtype=torch.int16, device="cpu").as_strided((2, 4), (1, 30), 11)]
        lazy = torch._lazy_clone(samples[0])
        different = {_word(each._cdata + _KIND) & 0xFFFF for each in samples}
        return all(map(_is_as_expected, samples[:2])) and len(different) == 2 and not _is_ordinary(lazy)


def _is_as_expected(tensor: Any) -> bool:
    place, storage, rank = tensor._cdata, tensor.untyped_storage(), tensor.dim()
    before = _word(_word(place + _VERSION) + _COUNT) & 0xFFFF_FFFF == tensor._version
    tensor.zero_()
    memory = storage._cdata
    return before and (
        _word(id(tensor) + _HEAD) == place
        and _word(place + _STORAGE) == memory
        and _word(place + _RANK) == rank
        and _words(place + _SIZES, rank) == tuple(tensor.shape)
        and _words(place + _STRIDES, rank) == tensor.stride()
        and _word(place + _OFFSET) == tensor.storage_offset()
        and _word(_word(place + _VERSION) + _COUNT) & 0xFFFF_FFFF == tensor._version > 0
        and _word(memory + _DATA) == storage.data_ptr()
        and _word(memory + _BYTES) == storage.nbytes()
    )


def _torch() -> Any:
    return sys.modules["torch"]


def _word(place: int) -> int:
    return ctypes.c_uint64.from_address(place).value


def _words(place: int, count: int) -> tuple[int, ...]:
    return tuple((ctypes.c_int64 * count).from_address(place))
