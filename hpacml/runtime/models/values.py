"""What a module decides in Python by the values of its inputs, which a trace would fix. It imports Torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch.overrides import TorchFunctionMode

from hpacml.runtime.models import gradients

_READS = {
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero"),
    *(f"__{name}__" for name in ("bool", "int", "float", "complex", "index", "array", "contains")),
}


def reads_values(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Tell whether a module makes Python numbers of its inputs, as `if x.sum() > 0` and `x.item()` do."""
    reads = _Reads(inputs)
    with reads:
        gradients.run(module, inputs)
    return reads.found


class _Reads(TorchFunctionMode):
    """Follows inputs through functions; `found` tells whether a Python number was made of what comes of them."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._followed = {id(x): x for x in inputs}
        self.found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        if any(id(x) in self._followed for x in flat((args, kwargs))):
            name = getattr(func, "__name__", "")
            self.found |= name in _READS
            written = args[:1] if name == "__setitem__" else ()
            self._followed |= {id(x): x for x in flat((returned, written)) if isinstance(x, torch.Tensor)}
        return returned


def flat(value: object) -> Iterable[object]:
    """List what is in nested containers."""
    if isinstance(value, (tuple, list)):
        for item in cast("Sequence[object]", value):
            yield from flat(item)
    elif isinstance(value, dict):
        for item in cast("dict[object, object]", value).values():
            yield from flat(item)
    else:
        yield value
