"""Copies of modules, which are tried, traced and written, so that the user's own stay as they are. It imports Torch."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn

_WRAPPERS: dict[type[nn.Module], str] = {
    nn.DataParallel: "module",
    nn.parallel.DistributedDataParallel: "module",
    torch.optim.swa_utils.AveragedModel: "module",
}
"""Modules that compute what another one does, by the name under which they have it."""


def evaluated_copy(module: nn.Module) -> nn.Module:
    """Copy a module with its state, in evaluation mode, without what only wraps modules: compilation, parallelism."""
    duplicate = _unwrapped(_copied(_unwrapped(module)))
    for part in duplicate.modules():
        for name, child in list(part.named_children()):
            if (inner := _unwrapped(child)) is not child:
                setattr(part, name, inner)
    for part in duplicate.modules():
        if part.training:
            part.training = False
        if vars(part).get("_compiled_call_impl") is not None:
            vars(part)["_compiled_call_impl"] = None  # of `module.compile()`
    return duplicate


@contextlib.contextmanager
def contents_kept(module: nn.Module) -> Generator[None]:
    """Put back afterwards what a module has written to its tensors in between."""
    kept = [(tensor, tensor.detach().clone()) for tensor in _tensors(module)]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, content in kept:
                if tensor.shape == content.shape:
                    tensor.copy_(content)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Give what a module wraps, where it is called as the wrapper would call it, without hooks."""
    while (inner := _wrapped(module)) is not None:
        module = inner
    return module


def _wrapped(module: nn.Module) -> nn.Module | None:
    name = _WRAPPERS.get(type(module)) or ("_orig_mod" if type(module).__name__ == "OptimizedModule" else None)
    if name is None or vars(module)["_forward_hooks"] or vars(module)["_forward_pre_hooks"]:
        return None
    return cast("nn.Module", getattr(module, name))


def _copied(module: nn.Module) -> nn.Module:
    """Copy a module; attributes that cannot be copied, such as locks, are shared."""
    memo: dict[int, Any] = {}
    for tensor in _tensors(module):
        if tensor.grad_fn is not None:  # which copy.deepcopy refuses
            memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(module, dict(memo))
    except Exception:  # whatever an attribute raises
        for value in _attributes(module):
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:
                memo[id(value)] = value
        return copy.deepcopy(module, memo)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """List the tensors of a module: its weights, and those in its attributes."""
    known: set[int] = set()
    for tensor in (*module.parameters(), *module.buffers(), *_in_attributes(module)):
        empty = nn.parameter.is_lazy(tensor)
        if id(tensor) not in known and tensor.layout is torch.strided and not empty:
            known.add(id(tensor))
            yield tensor


def _in_attributes(module: nn.Module) -> Iterator[torch.Tensor]:
    for value in _attributes(module):
        for item in _items(value):
            if isinstance(item, torch.Tensor):
                yield item


def _attributes(module: nn.Module) -> Iterator[object]:
    """List the attributes of the parts of a module, without those that Torch keeps for it."""
    own = nn.Module().__dict__
    for part in module.modules():
        yield from [value for name, value in vars(part).items() if name not in own]


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return list(cast("dict[object, object]", value).values())
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,)
