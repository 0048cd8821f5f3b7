"""The frames of calls, which hold what compiled code cannot: Python objects and opaque bodies."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Protocol, TypeGuard

from hpacml.errors import HpacmlError

if TYPE_CHECKING:
    from hpacml.runtime.arrays.views import ArrayView
    from hpacml.runtime.databases.origins import Origin
    from hpacml.runtime.differentiation import Recorder


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    """Tell whether a clause that may name a file has been given its path."""
    return isinstance(value, (str, os.PathLike))


NO_ARGUMENTS: Mapping[str, object] = {}


class Paths:
    """The paths that one kernel or region names; relative ones start from the directory of their first use.

    `origins` has the functions whose regions collect under each label. `function` is the one that has the region, whose
    names code at run time may ask for.
    """

    def __init__(self, function: FunctionType | None = None) -> None:
        self.function = function
        self.origins: dict[str, Origin] = {}
        self._absolute: dict[str, str] = {}
        self._real: dict[str, str] = {}

    def seen(self, name: str) -> object:
        """What the function sees now by a name of its closure or its module; None if there is no such name."""
        if (function := self.function) is None:
            return None
        if name not in (free := function.__code__.co_freevars):
            return function.__globals__.get(name)
        cells = function.__closure__ or ()
        try:
            return cells[free.index(name)].cell_contents
        except ValueError:  # the function around it has not given it a value
            return None

    def absolute(self, name: str | os.PathLike[str]) -> str:
        """The absolute path, with its symbolic links, which may lead elsewhere later."""
        name = os.fspath(name)
        if (path := self._absolute.get(name)) is None:
            path = self._absolute[name] = str(Path.cwd() / name)
        return path

    def real(self, name: str | os.PathLike[str]) -> str:
        """The absolute path, without symbolic links: what they lead to at the first use stays."""
        name = os.fspath(name)
        if (path := self._real.get(name)) is None:
            path = self._real[name] = os.path.realpath(self.absolute(name))
        return path


SHALLOW = 16
"""How deep calls may nest before it is checked that Python has room for one more."""

DEEPEST = 500
"""How deep calls may nest: each takes C's stack, too, which ends without an error."""

_ROOM = 60
"""The frames of Python that a call may need before it has run its body, which can itself fail for want of more."""


class DeviceCall(Protocol):
    """What a frame knows of `hpacml.runtime.gpu.device_call.Call`."""

    def end(self) -> None:
        """Note that the call launches no more kernels."""
        ...


class CallFrame(Protocol):
    """What is known of a call: the `bodies` that compiled code calls by index, its `paths`, the names and the views of
    its `arrays`, where a model may be Python, its call on a GPU, None on the host, and what records its inference for
    derivatives, None if nothing does.
    """

    @property
    def bodies(self) -> Sequence[Callable[..., object]]: ...
    @property
    def paths(self) -> Paths: ...
    @property
    def arrays(self) -> tuple[Sequence[str], Sequence[ArrayView]]: ...
    @property
    def gpu(self) -> DeviceCall | None: ...
    @property
    def recorder(self) -> Recorder | None: ...

    def argument(self, name: str) -> object:
        """The opaque argument of this name."""
        ...

    def is_in_place(self) -> bool:
        """Tell whether all arrays certainly have the memory and the sizes that they had when the call began."""
        ...


@dataclass(slots=True, eq=False)  # not frozen: that would take several times as long to make
class Frame:
    """One call, with its opaque `arguments` by name.

    Inside `with frame:` it is the innermost frame of its thread, above those of the calls around it.
    """

    arguments: Mapping[str, object] = field(default_factory=lambda: NO_ARGUMENTS)
    bodies: Sequence[Callable[..., object]] = ()
    paths: Paths = field(default_factory=Paths)
    arrays: tuple[Sequence[str], Sequence[ArrayView]] = ((), ())
    gpu: DeviceCall | None = None
    recorder: Recorder | None = None

    def argument(self, name: str) -> object:
        if name not in self.arguments:
            raise HpacmlError(
                f"the call has no argument '{name}', which is to name the model or the database of a region: functions "
                "of modules take arrays and numbers, so name a file in its place"
            )
        return self.arguments[name]

    def is_in_place(self) -> bool:
        return False

    def on(self, gpu: DeviceCall) -> Frame:
        """The frame of the same call on a GPU."""
        return Frame(self.arguments, self.bodies, self.paths, self.arrays, gpu)

    def __enter__(self) -> Frame:
        if len(_calls.frames) >= SHALLOW:
            _require_room(len(_calls.frames))
        _calls.frames.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _calls.frames.pop()
        if self.gpu is not None:
            self.gpu.end()


def _require_room(depth: int) -> None:
    """Raise HpacmlError if a call cannot nest in `depth` others."""
    try:
        if depth < DEEPEST:
            _take(_ROOM)
            return
    except RecursionError:
        pass
    raise HpacmlError(
        f"calls of regions are nested too deep, {depth} in each other: they can be as deep as Python's stack allows, "
        f"whose limit is {sys.getrecursionlimit()} now (sys.setrecursionlimit), and at most {DEEPEST}"
    )


def _take(frames: int) -> None:
    if frames:
        _take(frames - 1)


def innermost() -> CallFrame | None:
    """The innermost frame of this thread, None outside of any."""
    return _calls.frames[-1] if _calls.frames else None


def depth() -> int:
    """How many calls of this thread are around one another."""
    return len(_calls.frames)


def is_on_device() -> bool:
    """Whether the innermost frame of this thread is that of a call on a GPU."""
    return bool(_calls.frames) and _calls.frames[-1].gpu is not None


def current() -> CallFrame:
    """The innermost frame of this thread. Raises HpacmlError outside of any."""
    if not _calls.frames:
        raise HpacmlError("compiled code asked for an argument or a body of its call, but no call is under way")
    return _calls.frames[-1]


def arrays() -> tuple[Sequence[str], Sequence[ArrayView]]:
    """The arrays of the innermost frame of this thread, none outside of any."""
    return _calls.frames[-1].arrays if _calls.frames else ((), ())


def recorder() -> Recorder | None:
    """What records the inference of the innermost frame of this thread, None if nothing does."""
    return _calls.frames[-1].recorder if _calls.frames else None


def is_in_place() -> bool:
    """Whether all arrays of the innermost frame of this thread certainly are where they were when its call began."""
    return bool(_calls.frames) and _calls.frames[-1].is_in_place()


def paths() -> Paths:
    """The paths of the innermost frame of this thread, or of code that runs outside of any."""
    return _calls.frames[-1].paths if _calls.frames else _elsewhere


_elsewhere = Paths()


class _Calls(threading.local):
    def __init__(self) -> None:
        self.frames: list[CallFrame] = []


_calls = _Calls()

FRAMES = _calls, "frames"
"""What has the frames of each thread, the innermost last, and by which name."""
