"""Gather and scatter as operators of Torch, which its tracers record: `torch.ops.hpacml.gather` and `.scatter`.

A traced, scripted or exported model keeps the calls of them, with the map as text, and so gathers other data of the
same map. Both are functions of their tensors: `scatter` returns what the arrays become, and who records it copies that
back. Kernels and regions have no such form, and refuse tracers (`hpacml.frontend.tracers`).
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from hpacml.directives.parser import parse_application_targets, parse_functor, require_text
from hpacml.directives.syntax import Expr, FunctorDirective, Target, depth_first
from hpacml.errors import MapError, summary
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.placement import Machine
from hpacml.runtime.arrays.overlap import overlap
from hpacml.runtime.arrays.protocols import array_view

if TYPE_CHECKING:
    import torch

_GATHER = (
    "(Tensor[] arrays, str functor, str targets, str names, SymInt[] numbers, Tensor[] sizes, bool unchecked, "
    "str target) -> Tensor"
)
_SCATTER = _GATHER.replace("(", "(Tensor tensor, ", 1) + "[]"
"""`names` are those of the arrays, then of the numbers, then of the sizes, with commas. Sizes are numbers that
`torch.jit.trace` keeps as tensors. `target` is that of the functor, or empty."""


class Door(Protocol):
    """A functor as `hpacml.functor` makes it."""

    directive: FunctorDirective

    @property
    def target(self) -> Machine | None: ...
    def gather(
        self, targets: str, /, *, out: torch.Tensor | None = None, unchecked: bool = False, **names: Any
    ) -> torch.Tensor: ...
    def scatter(self, tensor: object, targets: str, /, *, unchecked: bool = False, **names: object) -> None: ...
    def form(
        self, targets: str, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, int]
    ) -> tuple[tuple[int, ...], torch.dtype]:
        """The shape and the dtype of a gathered tensor; sizes and numbers may be symbols of Torch."""
        ...


def define(make: Callable[[FunctorDirective, Machine | None], Door]) -> None:
    """Define the operators, unless they are. Torch needs them before it reads a model that has them."""
    import torch
    from torch import library

    if _defined:
        return
    _defined.append(True)

    @functools.lru_cache(256)
    def door(functor: str, target: str) -> Door:
        return make(parse_functor(functor), cast("Machine | None", target or None))

    def gather(
        arrays: Sequence[torch.Tensor],
        functor: str,
        targets: str,
        names: str,
        numbers: Sequence[int],
        sizes: Sequence[torch.Tensor],
        unchecked: bool,
        target: str,
    ) -> torch.Tensor:
        with _unrecorded():
            given = _named(names, arrays, numbers, sizes)
            return door(functor, target).gather(targets, unchecked=unchecked, **given)

    def shape_of_gather(
        arrays: Sequence[torch.Tensor],
        functor: str,
        targets: str,
        names: str,
        numbers: Sequence[int],
        sizes: Sequence[torch.Tensor],
        unchecked: bool,
        target: str,
    ) -> torch.Tensor:
        names_of_arrays, rest = names.split(",")[: len(arrays)], names.split(",")[len(arrays) :]
        tensors = dict(zip(names_of_arrays, arrays, strict=True))
        shape, dtype = door(functor, target).form(targets, tensors, dict(zip(rest, numbers, strict=True)))
        return torch.empty(shape, dtype=dtype, device=arrays[0].device)

    def scatter(
        tensor: torch.Tensor,
        arrays: Sequence[torch.Tensor],
        functor: str,
        targets: str,
        names: str,
        numbers: Sequence[int],
        sizes: Sequence[torch.Tensor],
        unchecked: bool,
        target: str,
    ) -> list[torch.Tensor]:
        with _unrecorded():
            written = _written(parse_application_targets(targets))
            given = _named(names, arrays, numbers, sizes)
            _require_apart({name: given[name] for name in written})
            given |= {name: cast("torch.Tensor", given[name]).detach().clone() for name in written}
            door(functor, target).scatter(tensor, targets, unchecked=unchecked, **given)
            return [cast("torch.Tensor", given[name]) for name in written]

    def shapes_of_scatter(
        tensor: torch.Tensor, arrays: Sequence[torch.Tensor], functor: str, targets: str, names: str, *_: object
    ) -> list[torch.Tensor]:
        given = dict(zip(names.split(","), arrays, strict=False))
        return [torch.empty_like(given[name]) for name in _written(parse_application_targets(targets))]

    operator = cast(Any, library.custom_op)
    operator("hpacml::gather", gather, mutates_args=(), schema=_GATHER).register_fake(shape_of_gather)
    operator("hpacml::scatter", scatter, mutates_args=(), schema=_SCATTER).register_fake(shapes_of_scatter)


_defined: list[bool] = []


def records(values: Sequence[object], tracer: str | None) -> bool:
    """Whether a call with these arguments is to be recorded as an operator."""
    return tracer is not None or not _fakes().isdisjoint(map(type, values))


@functools.cache
def _fakes() -> frozenset[type]:
    """The classes of tensors with which Torch's tracers run a program."""
    from torch._subclasses.fake_tensor import FakeTensor
    from torch._subclasses.functional_tensor import FunctionalTensor

    return frozenset([FakeTensor, FunctionalTensor])


def gather(
    functor: Door, targets: str, out: torch.Tensor | None, unchecked: bool, names: Mapping[str, object]
) -> torch.Tensor:
    """Gather as an operator. Raises `MapError` as the functor does, and for arrays that are no tensors of Torch."""
    import torch

    found: torch.Tensor = _run(torch.ops.hpacml.gather, *_arguments(functor, targets, unchecked, names))
    if out is None:
        return found
    if tuple(out.shape) != tuple(found.shape):
        raise MapError(f"the tensor has the shape {list(out.shape)}, but the map takes {list(found.shape)}")
    return out.copy_(found)


def scatter(functor: Door, tensor: object, targets: str, unchecked: bool, names: Mapping[str, object]) -> None:
    """Scatter as an operator, whose results are copied to the arrays. Raises as `gather`."""
    import torch

    _require_tensor(tensor, "tensor")
    results: list[torch.Tensor] = _run(
        torch.ops.hpacml.scatter, tensor, *_arguments(functor, targets, unchecked, names)
    )
    for name, result in zip(_written(parse_application_targets(targets)), results, strict=True):
        cast("torch.Tensor", names[name]).copy_(result)


def _run(operator: Any, *arguments: object) -> Any:
    """Run an operator. Raises `MapError` where a tracer's tensors meet others, which Torch asserts not to happen."""
    try:
        return operator(*arguments)
    except AssertionError as error:
        raise MapError(f"a tracer of Torch refuses the tensors of this call: {summary(error)}") from error


def _arguments(functor: Door, targets: str, unchecked: bool, names: Mapping[str, object]) -> tuple[object, ...]:
    """The arguments of the operators, without the tensor to be scattered."""
    import torch

    parsed = parse_application_targets(require_text(targets, "the targets"))
    used = dict.fromkeys(target.array for target in depth_first(parsed))
    for name in used:
        if name not in names:
            raise MapError(f"the map '{functor.directive.name}({targets})' uses '{name}': give it as {name}=...")
        _require_tensor(names[name], name)
    others = {name: value for name, value in names.items() if name not in used}
    numbers: dict[str, Any] = {n: v for n, v in others.items() if isinstance(v, Integral | torch.SymInt)}
    sizes = {n: v for n, v in others.items() if isinstance(v, torch.Tensor) and _is_number(v)}
    _require_numbers(AppliedFunctor(functor.directive, parsed, frozenset()), {**numbers, **sizes}, others)
    text = ",".join([*used, *numbers, *sizes])
    arrays = [names[name] for name in used]
    integers = [v if isinstance(v, torch.SymInt) else int(v) for v in numbers.values()]
    return (
        arrays,
        functor.directive.canonical,
        targets,
        text,
        integers,
        [*sizes.values()],
        unchecked,
        functor.target or "",
    )


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 0 and not (tensor.is_floating_point() or tensor.is_complex())


def _require_numbers(map: AppliedFunctor, known: Mapping[str, object], others: Mapping[str, object]) -> None:
    """Raise `MapError` if a map uses a name as a number that is given as something else."""
    for number in map.open_numbers:
        for node in ast.walk(number.node) if isinstance(number, Expr) else ():
            if isinstance(node, ast.Name) and node.id in others and node.id not in known:
                raise MapError(
                    f"the map '{map.text}' uses '{node.id}' as an integer, and it is a {type(others[node.id]).__name__}"
                )


def _require_tensor(value: object, name: str) -> None:
    import torch

    if not isinstance(value, torch.Tensor):
        kind = type(value)
        if not issubclass(kind, Real | np.ndarray | np.generic):
            array_view(value, name, gpu=True)  # which refuses what is no array without a tracer either
        raise MapError(
            f"argument '{name}' is a {kind.__name__}, of whose elements a tracer of Torch would keep what they "
            f"are now: pass a tensor, such as torch.from_numpy({name})"
        )


def _named(
    names: str, arrays: Sequence[torch.Tensor], numbers: Sequence[int], sizes: Sequence[torch.Tensor]
) -> dict[str, Any]:
    """The arguments of a functor by name."""
    values = [*arrays, *numbers, *(int(size) for size in sizes)]
    return dict(zip(names.split(","), values, strict=True))


def _written(targets: Sequence[Target]) -> list[str]:
    """The arrays that a scatter writes, each once."""
    return list(dict.fromkeys(target.array for target in targets))


def _require_apart(arrays: Mapping[str, object]) -> None:
    """Raise `MapError` if two arrays may share memory: each is written as a copy, so that one would undo the other."""
    views = {name: array_view(array, name, gpu=True) for name, array in arrays.items()}
    for one, other in combinations(views, 2):
        if overlap(views[one], views[other]):
            raise MapError(f"'{one}' and '{other}' share memory, so that they cannot be written in a recorded scatter")


@contextmanager
def _unrecorded() -> Generator[None]:
    """Stop `torch.jit.trace` from recording what an operator does inside."""
    import torch

    torch_c: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    if (state := torch_c._get_tracing_state()) is None:
        yield
        return
    torch_c._set_tracing_state(None)
    try:
        yield
    finally:
        torch_c._set_tracing_state(state)
