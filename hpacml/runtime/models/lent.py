"""The tensors of one call, over memory that is not theirs: lent to a model, which may keep them. It imports Torch."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from sys import getrefcount
from typing import Any, NamedTuple, cast

import torch

from hpacml.abi.records import TensorType
from hpacml.dtypes import torch_names
from hpacml.runtime.arrays import buffers
from hpacml.runtime.arrays.views import ArrayView, tensor_over, view_of_descriptor
from hpacml.runtime.gpu.device_call import Call, innermost
from hpacml.runtime.shim import runtime

# How many tensors use a storage, by its address. Not counted is Python's object for it, which the storage keeps.
_uses = cast(Any, torch._C)._storage_Use_Count  # pyright: ignore[reportPrivateUsage]
_tensor_uses = cast(Any, torch.Tensor)._use_count

SMALL = 1 << 16
"""The most bytes of inputs that are copied without a thought."""


class Loan(NamedTuple):
    """The inputs of one run of a model, which gets aliases of them where that can do no harm, else copies.

    It may do with copies what it likes. `copy` makes one, and is None for aliases.
    """

    tensors: Sequence[torch.Tensor]
    copy: Callable[[torch.Tensor], torch.Tensor] | None


class Lent:
    """The tensors over the memory of a call: inputs, of which a model gets aliases, and targets.

    They do not own the memory, so what a model, a hook or another thread has kept of them when the call ends gets an
    owner by `part`: a tensor that is kept stays what it was. With `batch` each is a batch of one: its first dimension
    is one that the memory lacks.
    """

    __slots__ = ("_known", "_lent", "copies", "extents", "inputs", "nothing_to_do", "targets", "updates")

    def __init__(self, addresses: Iterable[int], types: Sequence[TensorType], inputs: int, batch: bool = False) -> None:
        call = innermost()
        views = [
            view_of_descriptor(address, type.dtype, type.rank) for address, type in zip(addresses, types, strict=True)
        ]
        if batch:
            views = [_batch_of_one(view) for view in views]
        over = tensor_over if call is None else call.device.tensor
        tensors = [over(view) for view in views]
        self.inputs, self.targets = tensors[:inputs], tensors[inputs:]
        self.extents = [extent(target) for target in self.targets]
        """The addresses of the targets."""
        self.nothing_to_do = not any(target.numel() for target in self.targets)
        self.updates = any(meet(extent(tensor), self.extents) for tensor in self.inputs)
        """Whether what is written changes an input."""
        small = call is None and sum(tensor.nbytes for tensor in self.inputs) <= SMALL
        self.copies = Loan(self.inputs, torch.Tensor.clone) if small else None
        """The loan of inputs of which it takes longer to find out that a model keeps nothing than to copy them."""
        self._lent = [(x, x.untyped_storage(), x.untyped_storage()._cdata) for x in self.inputs if x.numel()]  # pyright: ignore
        del tensors  # which counts, too
        self._known = self._state()

    def _state(self) -> list[tuple[int, ...]]:
        """Count what refers to each memory and to its tensor, in Python and elsewhere, and tell where it is."""
        return [
            (_uses(pointer), getrefcount(storage), storage.data_ptr(), getrefcount(x), _tensor_uses(x))
            for x, storage, pointer in self._lent
        ]

    def of_application(self, call: Call | None) -> bool:
        """Tell whether an input is an array of the application, and not temporary memory of the call."""
        is_temporary = runtime().is_temporary if call is None else call.is_temporary
        for _, _, address, _, _ in self._known:  # noqa: SIM110 (each call asks, and a generator takes longer)
            if not is_temporary(address):
                return True
        return False

    @property
    def kept(self) -> bool:
        """Whether something besides this refers to the memory, or has exchanged it."""
        return self._state() != self._known

    def part(self) -> None:
        """Give what is kept of the tensors memory of its own; this must not be used again.

        Temporary memory of the call goes to those who keep it, so that another thread may be reading it meanwhile;
        application memory stays what it is, and they get a copy.
        """
        call = innermost()
        if call is not None:
            call.leave_to_host("a tensor that the model keeps")
        for (_, storage, _), known, now in zip(self._lent, self._known, self._state(), strict=True):
            if now != known and now[2] == known[2]:  # else somebody has exchanged the memory already
                own = (_owning(storage) if call is None else None) or storage.clone()
                cast(Any, storage)._swap_data_ptr_(own)


def _batch_of_one(view: ArrayView) -> ArrayView:
    whole = view.shape[0] * view.strides[0] if view.shape else 1
    return replace(view, shape=(1, *view.shape), strides=(whole, *view.strides))


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor; a large one of the host, into memory that is used again once nobody keeps it."""
    if tensor.nbytes <= buffers.SMALL or not tensor.is_cpu:
        return tensor.clone()
    return buffers.empty(tuple(tensor.shape), torch_names()[tensor.dtype]).copy_(tensor)


def _owning(storage: torch.UntypedStorage) -> torch.UntypedStorage | None:
    """Make a storage of the same memory that owns it, if that is temporary memory of the innermost call."""
    address = storage.data_ptr()
    if not runtime().is_temporary(address):
        return None
    memory = (ctypes.c_char * storage.nbytes()).from_address(address)
    runtime().keep(address)
    weakref.finalize(memory, runtime().drop, address).atexit = False
    return torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()


def extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Give the addresses of a tensor's first byte and of the one behind its last."""
    low = tensor.data_ptr()
    if tensor.is_contiguous():
        return low, low + tensor.nbytes
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return low, low + (last + 1) * tensor.element_size()


def meet(extent: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    """Tell whether memory shares addresses with others."""
    low, high = extent
    for start, stop in others:  # noqa: SIM110 (each call asks, and a generator takes longer)
        if low < stop and start < high:
            return True
    return False
