"""What a module consists of, to tell at each call whether it still does. It imports Torch."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable
from typing import Any, cast

import torch

from hpacml.runtime.fastcall import checksum, same

_DICTIONARIES = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")


class Snapshot:
    """The parts of a module, their attributes, hooks and modes, and where their weights are.

    It does not keep the module alive, but its parts and the memory of its weights as long as there is the snapshot, so
    that no others come to lie at their addresses.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = weakref.ref(module)
        dictionaries: list[dict[str, Any]] = []
        ahead = [module]
        for part in ahead:
            inside = vars(part)
            dictionaries += inside, *(inside[name] for name in _DICTIONARIES)
            ahead += inside["_modules"].values()
        self._has_same = same(dictionaries)
        tensors: list[torch.Tensor] = [
            tensor
            for part in ahead
            for name in ("_parameters", "_buffers")
            for tensor in vars(part)[name].values()
            if tensor is not None
        ]
        self._tensors = [(tensor, tensor.data_ptr()) for tensor in tensors]
        self._kinds: list[tuple[Any, Any, Any]] = [(part, part.__class__, part.__class__.forward) for part in ahead[1:]]
        self._kind = module.__class__
        plain = [tensor.detach() for tensor in tensors if tensor.numel()]
        self._dense = [each for each in plain if each.is_contiguous() and each.device.type == "cpu"]
        self._checksum = checksum([(each.data_ptr(), each.nbytes) for each in self._dense])
        self._others = [_copies(each) for each in plain if not any(each is dense for dense in self._dense)]

    def holds(self, module: torch.nn.Module) -> bool:
        """Tell whether this is the module, and consists of the same, apart from the values of its weights."""
        if self._module() is not module or module.__class__ is not self._kind or not self._has_same():
            return False
        for part, kind, forward in self._kinds:
            if part.__class__ is not kind or kind.forward is not forward:
                return False
        for tensor, address in self._tensors:  # noqa: SIM110 (each call asks, and a generator takes longer)
            if tensor.data_ptr() != address:
                return False
        return True

    def digest(self) -> tuple[int, ...]:
        """Checksums of the weights, which also change after writes that Torch does not count, by `.data` or NumPy.

        The module must be the same as before.
        """
        return self._checksum(), *[zlib.crc32(content()) for content in self._others]


def _copies(tensor: torch.Tensor) -> Callable[[], Any]:
    """What gives the elements of a tensor that is not dense as they are at that time."""
    return lambda: cast(Any, tensor).contiguous().numpy()
