"""A network that can be run, wherever it comes from, and what the file formats share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from hpacml.directives.map_texts import Maps
from hpacml.errors import ModelError
from hpacml.locks import Order, lock
from hpacml.runtime.map_digest import meaning_sha256, texts_sha256

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.models.domain import Domain


class InTraining(ValueError):
    """A network that computes as in training, whatever mode is set; the message tells what of it."""


@dataclass(frozen=True, slots=True)
class InputType:
    """The dtype and the shape of an input, with None for sizes that may vary."""

    dtype: torch.dtype
    shape: tuple[int | None, ...]

    @property
    def nbytes(self) -> int:
        """The bytes of such an input, if sizes that may vary are 0."""
        return self.dtype.itemsize * math.prod(size or 0 for size in self.shape)

    def fits(self, shape: Sequence[int]) -> bool:
        """Tell whether a tensor has this rank and these sizes; its dtype does not matter, as it is converted."""
        sizes = zip(self.shape, shape, strict=False)
        return len(self.shape) == len(shape) and all(size in (None, given) for size, given in sizes)

    def __str__(self) -> str:
        sizes = ", ".join("*" if size is None else str(size) for size in self.shape)
        return f"{str(self.dtype).removeprefix('torch.')}[{sizes}]"


@dataclass(frozen=True)
class Network:
    """A network: `run` takes tensors, and should return a tensor or a tuple of tensors.

    `anchor` gives a tensor that has the network's floating dtype and its device, or None if it has no such
    tensor. `inputs` is what a file declares; `example`, `metadata`, and `maps` of the training data with the digest
    of their meaning are what `save_model` was given; `names` are those of the outputs, where it gives a tuple that was
    a named one. `domain` is where the inputs of its training lie.
    `addresses` tells where its weights are, and what else a captured graph of it depends on, if that may change.
    `trial` makes a copy of it, to try what it takes; there is none of a function, which is given what is there.
    `runs_code` tells whether it runs Python of a user, which may keep what it gets; networks of files do not.
    `reads_only` tells that it can do nothing to its inputs, such as ask for a gradient.
    `module` gives the module that it runs, as it is, where it is one, or one of layers that compute the same; one that
    is `fixed` never changes.
    `largest` gives the bytes of the largest operation on inputs of these shapes, which it does not run; networks of
    data have it, which come from anywhere.
    """

    run: Callable[..., object]
    anchor: Callable[[], torch.Tensor | None] = lambda: None
    inputs: tuple[InputType, ...] | None = None
    example: tuple[InputType, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    maps: Maps = field(default_factory=Maps)
    maps_sha256: str | None = None
    names: tuple[str, ...] = ()
    domain: Domain | None = None
    addresses: Callable[[], tuple[int, ...]] = lambda: ()
    trial: Callable[[], Callable[..., object]] | None = None
    runs_code: Callable[[], bool] | None = None
    reads_only: bool = False
    module: Callable[[], torch.nn.Module] | None = None
    fixed: bool = False
    largest: Callable[[Sequence[torch.Tensor]], int] | None = None

    @cached_property
    def dtypes(self) -> tuple[torch.dtype, ...] | None:
        """The dtypes of the inputs that a file tells."""
        known = self.inputs or self.example
        return None if known is None else tuple(declared.dtype for declared in known)

    def takes_batches_of(self, ranks: Sequence[int]) -> bool:
        """Tell whether its file declares inputs that have each one dimension more than tensors of these ranks, else
        whether the example had: such a network is given a batch of one, and gives one."""
        known = self.inputs or self.example
        return known is not None and [len(each.shape) for each in known] == [rank + 1 for rank in ranks]

    def differs_from(self, maps: Sequence[str]) -> str | None:
        """Say why maps do not mean what those of its training data do; None if they do."""
        if self.maps:
            from hpacml.directives.meaning import difference

            return difference(self.maps, maps)
        known = self.maps_sha256 in (None, texts_sha256(maps), meaning_sha256(maps))  # once it was that of the texts
        return None if known else "Their digests differ"

    def misfit_of_elements(self, maps: Maps) -> int | None:
        """Find the first map whose tensor has other elements than that of its training data; None if none is known."""
        if not self.maps.dtypes or self.maps.dtypes == maps.dtypes:
            return None
        from hpacml.directives.element_types import misfit

        return misfit(self.maps, maps)

    @property
    def declaration(self) -> str:
        """The inputs that a file declares, such as `float32[*, 5]`, else those it was saved with."""
        return ", ".join(map(str, self.inputs or self.example or ()))

    def with_metadata(self, metadata: Mapping[str, Any]) -> Network:
        """Add what `save_model` wrote beside the network; files that it did not write have nothing of it.

        Raises ValueError for what it would not write: the file can come from anywhere.
        """
        example, maps, types, names, digest, user, domain = (
            metadata.get(key)
            for key in ("example", "maps", "map_dtypes", "outputs", "maps_sha256", "metadata", "domain")
        )
        texts = all(map(_is_texts, (maps, types, names)))
        if not (texts and isinstance(digest, str | None) and isinstance(user, dict | None)):
            raise ValueError("what stands beside the network is not what save_model writes")
        return replace(
            self,
            example=_example(example) or None,
            metadata=cast("dict[str, Any]", user or {}),
            maps=Maps(cast("list[str]", maps or ()), cast("list[str]", types or ())),
            maps_sha256=digest,
            names=tuple(cast("list[str]", names or ())),
            domain=_domain(domain),
        )


_EXAMPLE_DTYPES = frozenset(
    [
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    ]
)
_RANK = 64
"""The rank up to which Torch has tensors."""


def _is_texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(x, str) for x in cast("list[object]", value)))


def _domain(record: object) -> Domain | None:
    """Read a domain. Raises ValueError for anything else."""
    if record is None:
        return None
    from hpacml.runtime.models.domain import Domain

    return Domain.parse(record)


def _example(records: object) -> tuple[InputType, ...]:
    """Read the dtypes and shapes of an example. Raises ValueError for anything else."""
    import torch

    if not isinstance(records, list | None):
        raise ValueError("its example is no list of inputs")
    inputs: list[InputType] = []
    for record in cast("list[object]", records or []):
        told = cast("dict[str, object]", record) if isinstance(record, dict) else {}
        dtype, shape = told.get("dtype"), told.get("shape")
        sizes = cast("list[object]", shape) if isinstance(shape, list) else [None]
        if dtype not in _EXAMPLE_DTYPES or len(sizes) > _RANK or not all(map(_is_size, sizes)):
            raise ValueError(f"its example has an input of dtype {dtype!r} and shape {shape!r}, which no tensor has")
        inputs.append(InputType(getattr(torch, cast(str, dtype)), tuple(cast("list[int]", sizes))))
    return tuple(inputs)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def describe(tensors: Sequence[torch.Tensor]) -> str:
    """Write dtypes and shapes, such as `float32[64, 5], float32[64]`."""
    return ", ".join(str(InputType(x.dtype, tuple(x.shape))) for x in tensors)


def attributes(module: torch.nn.Module) -> dict[str, Any]:
    """Give the attributes of a module with its parts and tensors; a traced one has them in another one."""
    inside = module.__dict__
    return inside if "_modules" in inside else inside["_actual_script_module"].__dict__


def first_floating(module: torch.nn.Module) -> torch.Tensor | None:
    """Find the first floating parameter of a module, else its first floating buffer.

    Each call asks, so this walks the modules by itself: `parameters()` takes several times as long.
    """
    found = _first_floating(module, "_parameters")
    return _first_floating(module, "_buffers") if found is None else found


def _first_floating(module: torch.nn.Module, kind: str) -> torch.Tensor | None:
    inside = attributes(module)
    for tensor in inside[kind].values():
        if tensor is not None and tensor.is_floating_point():
            return tensor
    for child in inside["_modules"].values():
        if child is not None and (found := _first_floating(child, kind)) is not None:
            return found
    return None


class evaluating:
    """Inside `with evaluating(module)`, a module is in evaluation mode, with its parts; then each is as it was.

    Several calls, also in several threads, may evaluate one module, and parts may be shared: the last call to end puts
    a part back. Raises ModelError at the end if other code has put a part into training mode meanwhile.
    """

    __slots__ = ("_held", "_module")

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._held: dict[int, torch.nn.Module | None] = {}

    def __enter__(self) -> None:
        with _modes:
            _evaluate(self._module, self._held)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _modes:
            untouched = [_put_back(part) for part in self._held.values() if part is not None]
        if kind is None and not all(untouched):
            raise ModelError(
                f"the {type(self._module).__name__} was put into training mode by other code while a region evaluated "
                "it: give one of them a copy, such as copy.deepcopy(module).eval()"
            )


def is_in_evaluation(module: torch.nn.Module) -> bool:
    """Tell whether a module and its parts are in evaluation mode, and not only as long as some call evaluates them.

    Each call asks, so this walks the modules by itself, for tens of nanoseconds each. Of very many, or those that
    have each other as parts, it tells nothing: `evaluating` looks at each once.
    """
    parts: list[torch.nn.Module | None] = [module]
    with _modes:
        for part in parts:  # to which the parts of each are added
            if part is None:
                continue
            inside = part.__dict__
            try:
                training, children = inside["training"], inside["_modules"]
            except KeyError:
                training, children = getattr(part, "training", False), attributes(part)["_modules"]
            if training or (_evaluations and id(part) in _evaluations):
                return False
            if children:
                parts += children.values()
                if len(parts) > _MANY:
                    return False
    return True


_MANY = 1 << 12
_modes = lock(Order.COUNTING)
_evaluations: dict[int, int] = {}
"""The number of calls that evaluate a part which else is in training mode, by its id."""


def _evaluate(part: torch.nn.Module, held: dict[int, torch.nn.Module | None]) -> None:
    """Put the parts that are in training mode into evaluation mode, and add them to `held`; None stands for others."""
    key = id(part)
    if key in held:
        return
    held[key] = None
    if (count := _evaluations.get(key, 0)) or getattr(part, "training", False):
        _evaluations[key] = count + 1
        held[key] = part
        _set_training(part, False)
    for child in attributes(part)["_modules"].values():
        if child is not None:
            _evaluate(child, held)


def _put_back(part: torch.nn.Module) -> bool:
    """End an evaluation of a part, and tell whether it has stayed in evaluation mode."""
    untouched = not part.training
    if _evaluations[id(part)] > 1:
        _evaluations[id(part)] -= 1
    else:
        del _evaluations[id(part)]
        _set_training(part, True)
    return untouched


def _set_training(part: torch.nn.Module, mode: bool) -> None:
    inside = part.__dict__
    if "training" in inside and not hasattr(type(part), "training"):
        inside["training"] = mode  # ten times as fast as Torch's setter
    else:
        part.training = mode
