"""The memory of Torch tensors. Some have none, or none that is theirs: those are refused before anything reads it."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hpacml.dtypes import SIZES, torch_names
from hpacml.errors import MapError
from hpacml.runtime.arrays.refusals import complex_pairs, elsewhere, misaligned, refusal, unsupported_dtype
from hpacml.runtime.arrays.views import ArrayView

if TYPE_CHECKING:
    import torch


def torch_view(tensor: torch.Tensor, name: str) -> ArrayView:
    """The memory of an ordinary tensor.

    Raises MapError if it has none that can be read as its dtype, shape and strides say.
    """
    if tensor.is_cpu:
        device = None
    elif tensor.is_cuda:
        device = tensor.device.index
    else:
        raise _no_memory_here(tensor, name)
    try:
        address, stored = tensor.data_ptr(), tensor.untyped_storage().nbytes()
        form = _form(tensor.dtype, tensor.shape, tensor.stride())
    except (RuntimeError, NotImplementedError) as error:
        raise _not_strided(tensor, name) from error
    if form is None:
        if tensor.is_complex():
            raise complex_pairs(name, tensor.dtype, f"torch.view_as_real({name})")
        raise unsupported_dtype(name, tensor.dtype)
    if _forward._current_level >= 0 and _has_tangent(tensor):
        raise refusal(
            name,
            "has a tangent of torch.autograd.forward_ad, of which compiled code does not know: pass its primal, "
            f"forward_ad.unpack_dual({name}).primal, whose derivatives end here",
        )
    dtype, size, shape, strides, span = form
    if tensor.is_neg():
        raise refusal(name, f"is the negation of its memory: pass {name}.resolve_neg()")
    if span and (tensor.storage_offset() * size + span > stored or not address):
        raise _too_little(tensor, name, span, stored)
    if address % size:
        raise misaligned(name, address, dtype)
    # Torch would not see a write to memory that gradients depend on.
    return ArrayView(address, dtype, shape, strides, tensor.requires_grad, tensor, device)


ORDINARY: set[type] = set()
"""The classes of tensors that are their memory, and nothing else. Torch's own come in with the first tensor."""

_forward: Any = SimpleNamespace(_current_level=-1)
"""The module of Torch that knows whether there are tensors with tangents. It comes in with the first tensor."""


class _Form(NamedTuple):
    dtype: str
    size: int
    """The bytes of an element."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    span: int
    """The bytes from the first element to the end of the last, 0 without elements."""


@functools.lru_cache(4096)
def _form(kind: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Form | None:
    """What follows from a tensor's dtype, shape and strides; None for a dtype that is not supported."""
    if (dtype := torch_names().get(kind)) is None:
        return None
    size = SIZES[dtype]
    reach = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    return _Form(dtype, size, tuple(shape), strides, reach * size)


def require_ordinary(tensor: torch.Tensor, name: str) -> None:
    """Raise MapError for a tensor of a class that computes its elements by itself, such as fakes and wrappers."""
    import torch

    global _forward
    _forward = torch.autograd.forward_ad
    ORDINARY.update((torch.Tensor, torch.nn.Parameter))
    kind: Any = type(tensor)
    if issubclass(kind, torch.nn.UninitializedParameter | torch.nn.UninitializedBuffer):
        raise refusal(name, f"is an {kind.__name__}, which has no memory yet: run its module once")
    if kind.__torch_dispatch__ is not cast(Any, torch.Tensor).__torch_dispatch__:
        raise refusal(
            name,
            f"is a {kind.__name__}, whose elements need not be what its memory holds, if it has any: "
            "pass an ordinary torch.Tensor of its elements",
        )


def _no_memory_here(tensor: torch.Tensor, name: str) -> MapError:
    if tensor.is_meta:
        return refusal(name, "lies in meta, where tensors have shapes and no memory: pass one on the CPU or a GPU")
    return elsewhere(name, str(tensor.device), f"{name}.cpu()")


def _not_strided(tensor: torch.Tensor, name: str) -> MapError:
    """What is wrong with a tensor that does not tell where its elements are."""
    import torch

    if is_transformed(tensor):
        return refusal(
            name,
            "belongs to torch.vmap, torch.func.grad or another of these transforms, which have no memory for its "
            "elements: call this outside of the transform, on whole tensors",
        )
    if tensor.is_nested:
        return refusal(name, f"is a nested tensor: pass one of its parts, such as {name}.unbind()[0]")
    if tensor.layout is not torch.strided:
        return refusal(name, f"has no strided memory ({tensor.layout}): pass {name}.to_dense()")
    return refusal(name, f"has no memory that can be read: pass an ordinary tensor, such as {name}.clone()")


def is_transformed(tensor: torch.Tensor) -> bool:
    import torch

    torch_c: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    return torch_c._functorch.is_functorch_wrapped_tensor(tensor)


def _has_tangent(tensor: torch.Tensor) -> bool:
    return _forward.unpack_dual(tensor).tangent is not None


def _too_little(tensor: torch.Tensor, name: str, needed: int, stored: int) -> MapError:
    if tensor.data_ptr():
        first = tensor.storage_offset() * tensor.itemsize
        return refusal(
            name,
            f"needs {needed} bytes of its storage from byte {first} on, but that has {stored}, since it was resized: "
            "resize it back, or pass another tensor",
        )
    return refusal(
        name,
        f"has {tensor.numel()} elements and no memory for them: its storage was freed, or it is a zero, fake or "
        "functional tensor; pass one that has its elements, such as a clone of it made outside of the tracer",
    )
