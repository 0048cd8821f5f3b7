"""Compares kernels with their Python functions: results, arrays, and the exceptions that programs raise."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hpacml.errors import CompileError
from hpacml.frontend.kernel import Kernel
from tests.frontend.kernels import bits, kernel_of
from tests.random_programs.program import Program

REFUSALS = (
    "division by zero",
    "depending on whether a variable",
    "differ between machines",
    "does not fit",
    "convert with",
    "convert first",
)
"""Parts of messages about what docs/python.md says is refused."""


def difference(program: Program, calls: int, tally: Counter[str]) -> str | None:
    """What a kernel does otherwise than Python, None if nothing."""
    try:
        kernel = kernel_of(program.text)
        kernel.parameters  # noqa: B018 (reads the annotations)
    except CompileError as error:
        return f"the text does not compile: {error}"
    names = kernel.py_func.__globals__
    for number in range(calls):
        ours, theirs = (program.arguments(number, names) for _ in range(2))
        try:
            found = compared(kernel, ours, theirs, number % 2 * 3, tally)
        except CompileError as error:
            tally["refused"] += 1
            return None if any(part in str(error) for part in REFUSALS) else f"refused: {error}"
        if found is not None:
            return f"call {number} {found}"
    return None


def compared(
    kernel: Kernel[..., Any], ours: dict[str, Any], theirs: dict[str, Any], few: int, tally: Counter[str]
) -> str | None:
    """How a call differs from Python's, whose first `few` arguments have no keyword."""
    expected, error = outcome(kernel.py_func, theirs, few)
    result, raised = outcome(kernel, ours, few)
    if isinstance(raised, CompileError):
        raise raised
    if error is not None and not is_meant(error):
        tally["raised"] += 1
        return None
    tally["compared" if error is None else "stopped"] += 1
    if (type(error), getattr(error, "args", ())) != (type(raised), getattr(raised, "args", ())):
        return f"raises {raised!r} and not {error!r}"
    if (found := differ(result, expected)) is not None:
        return f"returns {found}"
    if (found := differ(tuple(ours.values()), tuple(theirs.values()))) is not None:
        return f"leaves {found}"
    return None if shared(result, ours) == shared(expected, theirs) else "returns other memory"


def outcome(call: Callable[..., Any], given: Mapping[str, Any], few: int) -> tuple[Any, Exception | None]:
    """What a call returns, and what it raises."""
    values = list(given.values())[:few]
    keywords = dict(list(given.items())[few:])
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(*values, **keywords), None
    except Exception as error:
        return None, error


def is_meant(error: Exception) -> bool:
    """Whether the program raises this itself, where other exceptions are differences that are known."""
    text = str(error.args[0]) if error.args else ""
    return isinstance(error, AssertionError | NotImplementedError) or text.startswith("stop")


def differ(found: Any, expected: Any) -> str | None:
    """How two values differ, None if they do not."""
    if type(found) is not type(expected):
        return f"{found!r}, a {type(found).__name__}, and not {expected!r}, a {type(expected).__name__}"
    if isinstance(expected, tuple):
        if len(found) != len(expected):
            return f"{found!r} and not {expected!r}"
        return next((text for a, b in zip(found, expected, strict=True) if (text := differ(a, b)) is not None), None)
    if dataclasses.is_dataclass(expected):
        return differ(tuple(vars(found).values()), tuple(vars(expected).values()))
    if isinstance(expected, np.ndarray):
        alike = (found.dtype, found.shape) == (expected.dtype, expected.shape)
        return None if alike and np.array_equal(bits(found), bits(expected)) else f"\n{found!r} and not\n{expected!r}"
    if isinstance(expected, float | np.floating):
        return None if bits(np.asarray(found)) == bits(np.asarray(expected)) else f"{found!r} and not {expected!r}"
    return None if found == expected else f"{found!r} and not {expected!r}"


def arrays_in(value: Any) -> Iterator[Any]:
    """The arrays in arguments or results."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from arrays_in(item)
    elif dataclasses.is_dataclass(value):
        yield from arrays_in(tuple(vars(value).values()))


def shared(result: Any, given: Mapping[str, Any]) -> list[list[bool]]:
    """Which arrays of a result share memory with which arguments."""
    arguments = list(arrays_in(tuple(given.values())))
    return [[np.shares_memory(array, other) for other in arguments] for array in arrays_in(result)]
