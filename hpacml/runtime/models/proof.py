"""The proof that a file computes what its module does, also beyond the example. It imports Torch."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from hpacml.errors import summary
from hpacml.runtime.models import gradients, outputs
from hpacml.runtime.models.network import describe

Tensors = Sequence[torch.Tensor]

EXAMPLE = -1
_LARGEST = 1 << 22
"""Elements up to which an example is made longer by one."""

_LARGER = {True: 1 << 20, False: 1 << 18}
"""Elements up to which it is made longer by more, in rows or in other sizes."""

_FAR, _STEP, _QUICK = 4096, 4, 0.02
"""The size up to which a dimension becomes longer, by which factor at once, and after how many seconds it does not.

Where all pairs of rows are looked at, the factor is squared: such a trial still takes less than a second, and as much
memory as that writes.
"""

_ROUNDINGS = 16
"""How many times the rounding of a module a file may be away from it."""


class Unlike(ValueError):
    """A file that does not compute what its module does; the message tells on which inputs, and how."""


def prove(file: Callable[..., object], module: nn.Module, example: Tensors) -> None:
    """Run the network of a file beside its module, which is in evaluation mode, and compare.

    The inputs are the example; other values; 0, 1 and other numbers of rows, up to some thousands as long as that is
    quick; and other sizes. What the module does not take is not asked of the file. The file may refuse sizes that are
    not numbers of rows, but never give other results. Raises Unlike, and what the module raises on the example.
    """
    rowwise = False
    for number, trial in enumerate(trials := _Trials(example)):
        state = torch.random.get_rng_state()
        clocks = _clocks()
        try:
            expected = gradients.run(module, [x.clone() for x in trial.inputs])
        except Exception:
            if number == 0:
                raise
            trials.seconds = math.inf
            continue
        trials.seconds = min(now - before for now, before in zip(_clocks(), clocks, strict=True))
        torch.random.set_rng_state(state)
        rows = trial.rows
        if number == 0:
            rowwise = any(_have_rows(expected, x.shape[0]) for x in example if x.dim())
        required = rows == EXAMPLE or (rowwise and rows is not None and _have_rows(expected, rows))
        _compare(file, module, trial.inputs, expected, required)


def _clocks() -> tuple[float, float]:
    """Give two times in seconds: other programs make the one run ahead of the work, other threads the other one."""
    return time.perf_counter(), time.process_time()


@contextlib.contextmanager
def own_random_numbers(example: Tensors) -> Generator[None]:
    """Draw random numbers from a seed, and leave Torch's own as they were."""
    devices = sorted({x.get_device() for x in example if x.is_cuda})
    random = cast(Any, torch.random)
    with random.fork_rng(devices):
        random.manual_seed(0)
        yield


def _compare(file: Callable[..., object], module: nn.Module, inputs: Tensors, expected: object, required: bool) -> None:
    """Compare with what the module gives; unless it is `required`, the file may refuse the inputs. Raises Unlike."""
    try:
        found = gradients.run(file, [x.clone() for x in inputs])
    except Exception as error:
        if required:
            raise Unlike(f"on {describe(inputs)}, which the module takes, it fails: {summary(error)}") from error
    else:
        if (difference := _difference(found, expected)) is not None:
            exact = _in_double(module, inputs, expected)
            if exact is None or _difference(found, expected, exact) is not None:
                raise Unlike(f"on {describe(inputs)} {difference}")


# -- inputs ------------------------------------------------------------------------------------------------


class _Trial(NamedTuple):
    inputs: Tensors
    rows: int | None
    """Their number of rows, or EXAMPLE for the sizes of the example; None for sizes that are no rows."""


class _Trials:
    """Lists inputs. Who runs the module on one tells the `seconds` that it took, infinity if it does not take it."""

    def __init__(self, example: Tensors) -> None:
        self._example = example
        self.seconds = math.inf

    def __iter__(self) -> Iterator[_Trial]:
        example = self._example
        yield _Trial(example, EXAMPLE)
        for factor in (1.0, -1.0, 3.0):
            yield _Trial([_varied(x, x.shape, factor) for x in example], EXAMPLE)
        sizes = {size for x in example for size in x.shape}
        few = next(n for n in itertools.count(2) if n not in sizes)
        for dim in range(max((x.dim() for x in example), default=0)):
            for group in _groups(example, dim):
                if dim == 0:
                    for count in (0, 1, few):
                        yield _Trial(_resized(example, 0, group, count), count)
                yield from self._longer(dim, group)

    def _longer(self, dim: int, lengths: Sequence[int]) -> Iterator[_Trial]:
        """List inputs that are longer in a dimension, as long as these are neither too large nor too slow."""
        before, size = max(lengths), max(lengths) + 1
        room = _room(self._example, dim, lengths, _LARGEST)
        while before < size <= room:
            yield _Trial(_resized(self._example, dim, lengths, size), None if dim else size)
            if self.seconds > _QUICK or size >= _FAR:
                break
            before, size = size, min(_STEP * size + 1, _room(self._example, dim, lengths, _LARGER[dim == 0]))


def _groups(example: Tensors, dim: int) -> list[tuple[int, ...]]:
    """List the sizes of a dimension that change at once: each, and all leading ones, as inputs share their rows."""
    lengths = sorted({x.shape[dim] for x in example if x.dim() > dim})
    groups = [(length,) for length in lengths]
    return [tuple(lengths), *groups] if dim == 0 and len(groups) > 1 else groups


def _room(example: Tensors, dim: int, lengths: Sequence[int], elements: int) -> int:
    """Give the size in a dimension, where it has one of `lengths`, with which the example has so many elements."""
    longer = [x.numel() // x.shape[dim] for x in example if x.dim() > dim and x.shape[dim] in lengths]
    return elements // sum(longer)


def _resized(example: Tensors, dim: int, lengths: Sequence[int], size: int) -> list[torch.Tensor]:
    """Give the example with another size in one dimension, where that has one of `lengths`."""
    resized: list[torch.Tensor] = []
    for x in example:
        shape = list(x.shape)
        if x.dim() > dim and shape[dim] in lengths:
            shape[dim] = size
        resized.append(_varied(x, shape, 1.0))
    return resized


def _varied(x: torch.Tensor, shape: Sequence[int], factor: float) -> torch.Tensor:
    """Repeat an input up to a shape; floats are multiplied and get some noise, zeros among them become random."""
    for dim, size in enumerate(shape):
        if size != x.shape[dim]:
            x = x.index_select(dim, torch.arange(size, device=x.device) % x.shape[dim])
    if not x.is_floating_point():
        return x
    noise = torch.randn(x.shape, dtype=torch.float32, device=x.device).to(x.dtype)
    return torch.where(x == 0, noise, x * (factor + 0.1 * noise))


# -- results -----------------------------------------------------------------------------------------------


def _have_rows(returned: object, rows: int) -> bool:
    """Tell whether all that a module returns has this number of rows."""
    named = outputs.by_name(returned)
    results = list(named.values()) if named is not None else outputs.in_order(returned) or ()
    return all(isinstance(x, torch.Tensor) and x.dim() > 0 and x.shape[0] == rows for x in results)


def _in_double(module: nn.Module, inputs: Tensors, expected: object) -> object:
    """Run a module in double precision, to tell how far results are rounding; None if it cannot, or has a state."""
    try:
        if _values(gradients.run(module, [x.clone() for x in inputs])) != _values(expected):
            return None
        wide = [x.double() if x.is_floating_point() else x.clone() for x in inputs]
        return gradients.run(copy.deepcopy(module).double(), wide)
    except Exception:
        return None


def _values(returned: object) -> list[list[float]]:
    """List the values of what a module returns."""
    named = outputs.by_name(returned)
    found = list(named.values()) if named is not None else outputs.in_order(returned) or ()
    return [cast(Any, x).detach().nan_to_num().flatten().tolist() for x in found if isinstance(x, torch.Tensor)]


def _difference(found: object, expected: object, exact: object = None) -> str | None:
    """Tell how what a file returns differs from what its module does; with `exact`, by more than that does."""
    named, wanted, precise = outputs.by_name(found), outputs.by_name(expected), outputs.by_name(exact)
    if named is not None and wanted is not None:
        if named.keys() != wanted.keys():
            return f"its outputs are named {', '.join(named)} instead of {', '.join(wanted)}"
        pairs = [(f"its output '{name}'", named[name], wanted[name], (precise or {}).get(name)) for name in wanted]
    else:
        these, those = outputs.in_order(found), outputs.in_order(expected)
        if these is None or those is None or len(these) != len(those):
            return f"it returns {type(found).__name__} instead of {type(expected).__name__}"
        known = outputs.in_order(exact) or [None] * len(these)
        triples = zip(these, those, known, strict=True)
        pairs = [(f"its output {n}", *triple) for n, triple in enumerate(triples)]
    for name, x, y, z in pairs:
        if (how := _difference_of(x, y, z)) is not None:
            return f"{name} {how}"
    return None


def _difference_of(x: object, y: object, z: object) -> str | None:
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        return None if type(x) is type(y) else f"is {type(x).__name__} instead of {type(y).__name__}"
    if x.shape != y.shape:
        return f"is {describe([x])} instead of {describe([y])}"
    if x.is_sparse or y.is_sparse or x.is_complex() or y.is_complex():
        return None  # which no region takes
    half = {torch.float16, torch.bfloat16} & {x.dtype, y.dtype}
    double = x.dtype == y.dtype == torch.float64
    relative = 2e-2 if half else 1e-9 if double else 1e-4
    a, b = x.detach().to(torch.float64), y.detach().to(x.device, torch.float64)
    slack = relative * min(_largest(b), 1e30) + 1e-30
    if isinstance(z, torch.Tensor):
        slack += _ROUNDINGS * _largest(z.detach().to(x.device, torch.float64) - b)
    close = torch.isclose(a, b, rtol=relative, atol=slack, equal_nan=True)
    if bool(close.all()):
        return None
    place = [int(d) for d in cast(Any, (~close).nonzero()[0])]
    values = (float(a[tuple(place)]), float(b[tuple(place)]))
    count = int((~close).sum())
    return f"differs in {count} of {a.numel()} values, the first at {place}: {values[0]:g} instead of {values[1]:g}"


def _largest(x: torch.Tensor) -> float:
    """Give the largest magnitude among finite values, 0 if there are none."""
    finite = x[x.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
