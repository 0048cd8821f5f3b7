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
from hpacml.runtime.arrays.views import ArrayView, extent, tensor_over, view_of_descriptor
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


class _Tensors(NamedTuple):
    """The tensors over memory that is lent, and what refers to it."""

    inputs: list[torch.Tensor]
    targets: list[torch.Tensor]
    copies: Loan | None
    """The loan of inputs of which it takes longer to find out that a model keeps nothing than to copy them."""
    lent: list[tuple[torch.Tensor, torch.UntypedStorage, int]]
    known: list[tuple[int, ...]]
    """The `_state` before others see the tensors."""


class Lent:
    """The memory of a call: views, and tensors over them for those who need some, which a model gets aliases of.

    They do not own the memory, so what a model, a hook or another thread has kept of them when the call ends gets an
    owner by `part`: a tensor that is kept stays what it was. With `batch` each is a batch of one: its first dimension
    is one that the memory lacks.
    """

    __slots__ = ("_made", "extents", "nothing_to_do", "sinks", "sources", "updates")

    def __init__(self, addresses: Iterable[int], types: Sequence[TensorType], inputs: int, batch: bool = False) -> None:
        views = [
            view_of_descriptor(address, type.dtype, type.rank) for address, type in zip(addresses, types, strict=True)
        ]
        if batch:
            views = [_batch_of_one(view) for view in views]
        self.sources, self.sinks = views[:inputs], views[inputs:]
        """The views of inputs and of targets."""
        self.extents = [extent(view) for view in self.sinks]
        """The addresses of the targets."""
        self.nothing_to_do = all(0 in view.shape for view in self.sinks)
        self.updates = any(meet(extent(view), self.extents) for view in self.sources)
        """Whether what is written changes an input."""
        self._made: _Tensors | None = None

    @property
    def inputs(self) -> Sequence[torch.Tensor]:
        """Tensors over the inputs. This and the next raise MapError for strides that Torch does not have."""
        return self._tensors.inputs

    @property
    def targets(self) -> Sequence[torch.Tensor]:
        """Tensors over the targets."""
        return self._tensors.targets

    @property
    def copies(self) -> Loan | None:
        """The loan of copies, where these take less than to find out what a model keeps."""
        return self._tensors.copies

    @property
    def _tensors(self) -> _Tensors:
        """The tensors, which compiled code does without: they take longer to make than a small network."""
        if self._made is None:
            call = innermost()
            over = tensor_over if call is None else call.device.tensor
            inputs, targets = list(map(over, self.sources)), list(map(over, self.sinks))
            small = call is None and sum(tensor.nbytes for tensor in inputs) <= SMALL
            lent = [(x, x.untyped_storage(), x.untyped_storage()._cdata) for x in inputs if x.numel()]  # pyright: ignore
            copies = Loan(inputs, torch.Tensor.clone) if small else None
            self._made = _Tensors(inputs, targets, copies, lent, _state(lent))
        return self._made

    def of_application(self, call: Call | None) -> bool:
        """Tell whether an input is an array of the application, and not temporary memory of the call."""
        is_temporary = runtime().is_temporary if call is None else call.is_temporary
        for _, _, address, _, _ in self._tensors.known:  # noqa: SIM110 (each call asks, and a generator takes longer)
            if not is_temporary(address):
                return True
        return False

    @property
    def kept(self) -> bool:
        """Whether something besides this refers to the memory, or has exchanged it."""
        return self._made is not None and _state(self._made.lent) != self._made.known

    def part(self) -> None:
        """Give what is kept of the tensors memory of its own; this must not be used again.

        Temporary memory of the call goes to those who keep it, so that another thread may be reading it meanwhile;
        application memory stays what it is, and they get a copy.
        """
        call = innermost()
        if call is not None:
            call.leave_to_host("a tensor that the model keeps")
        made = self._tensors
        for (_, storage, _), known, now in zip(made.lent, made.known, _state(made.lent), strict=True):
            if now != known and now[2] == known[2]:  # else somebody has exchanged the memory already
                own = (_owning(storage) if call is None else None) or storage.clone()
                cast(Any, storage)._swap_data_ptr_(own)


def _state(lent: Sequence[tuple[torch.Tensor, torch.UntypedStorage, int]]) -> list[tuple[int, ...]]:
    """Count what refers to each memory and to its tensor, in Python and elsewhere, and tell where it is."""
    return [
        (_uses(pointer), getrefcount(storage), storage.data_ptr(), getrefcount(x), _tensor_uses(x))
        for x, storage, pointer in lent
    ]


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


def tensor_extent(tensor: torch.Tensor) -> tuple[int, int]:
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
