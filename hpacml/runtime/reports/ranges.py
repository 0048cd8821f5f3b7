"""Ranges in the timelines of profilers, around the functions that Python runs."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from hpacml import environment
from hpacml.errors import HpacmlError

P = ParamSpec("P")
R = TypeVar("R")

Profiler = Literal["nvtx", "torch"]
PROFILERS: tuple[Profiler, ...] = get_args(Profiler)

Opener = Callable[[str], AbstractContextManager[object]]

_log = logging.getLogger("hpacml")


def in_range(profiler: str, name: Callable[P, str], function: Callable[P, R]) -> Callable[P, R]:
    """`function` in a range of a profiler; `name` makes the name of the range from the arguments.

    An unavailable profiler, which only HPACML_RANGES can name, is logged once and has no ranges.
    """
    open_range = _opener(profiler)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with open_range(name(*args, **kwargs)):
            return function(*args, **kwargs)

    return call


def require(profiler: str) -> Opener:
    """Return what opens a range of a profiler. Raises HpacmlError for an unknown or an unavailable one."""
    if profiler not in PROFILERS:
        raise environment.RANGES.wrong(profiler, f"set it to {' or '.join(PROFILERS)}")
    if profiler == "torch":
        from torch.profiler import record_function

        return record_function
    return _nvtx()


@functools.cache
def _opener(profiler: str) -> Opener:
    try:
        return require(profiler)
    except HpacmlError as error:
        _log.error("%s", error)
        return nullcontext


def _nvtx() -> Opener:
    """What opens ranges of NVTX, by the package of that name, else by Torch. Raises HpacmlError if neither can."""
    try:
        package: Any = importlib.import_module("nvtx")
        return _pushing(package.push_range, package.pop_range)
    except (ImportError, AttributeError):  # another module can have this name
        torch_nvtx = _torch_nvtx()
    try:
        torch_nvtx.mark("hpacml")
    except RuntimeError as error:
        raise HpacmlError(
            f"no NVTX ranges: this Torch is built without CUDA ({error}), and there is no package nvtx: "
            "`pip install nvtx`, install a Torch with CUDA, or use 'torch'"
        ) from error
    return _pushing(torch_nvtx.range_push, torch_nvtx.range_pop)


def _pushing(push: Callable[[str], object], pop: Callable[[], object]) -> Opener:
    @contextmanager
    def open_range(name: str) -> Generator[None]:
        push(name)
        try:
            yield
        finally:
            pop()

    return open_range


def _torch_nvtx() -> Any:
    return importlib.import_module("torch.cuda.nvtx")  # which has no types
