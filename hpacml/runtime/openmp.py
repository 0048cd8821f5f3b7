"""The threads of parallel loops: those of the OpenMP library that is loaded, else of Torch's, so that one is enough."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from hpacml.runtime.entry import Function
from hpacml.runtime.shim import runtime

_FUNCTIONS = ("GOMP_parallel", "omp_in_parallel", "omp_get_max_threads", "omp_get_thread_num")
_LIBRARIES = ("libgomp", "libiomp5", "libomp")
_FORKED = 0x40
"""The flag of a process that has been forked and has executed no program since (PF_FORKNOEXEC of Linux)."""


def call_with_each(function: Function, arguments: Sequence[Sequence[int]]) -> None:
    """Call a function that takes arrays with several sets of them, by their addresses, on threads; it may raise."""
    provide()
    slots = [(ctypes.c_int64 * (len(each) + 1))(*each) for each in arguments]
    calls = [word for each in slots for word in (function.address, ctypes.addressof(each))]
    told = (ctypes.c_int64 * (len(calls) + 1))(len(slots), *calls)
    function.settle(runtime().enter(runtime().symbols["hpacml_calls"], told))


@functools.cache
def provide() -> None:
    """Give parallel loops their threads, unless there is no OpenMP or this is a forked process, where it may hang."""
    if _is_forked():
        return
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            functions = [ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in _FUNCTIONS]
        except (OSError, AttributeError):
            continue
        use = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p for _ in functions))
        use(runtime().symbols["hpacml_use_openmp"])(*functions)
        return


def _is_forked() -> bool:
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return bool(int(fields[6]) & _FORKED)


def _candidates() -> Iterator[str]:
    torch = _torch_libraries()
    loaded = _loaded()
    yield from (path for path in loaded if any(Path(path).samefile(each) for each in torch))
    yield from loaded
    yield from torch
    yield "libgomp.so.1"


def _loaded() -> list[str]:
    """The paths of the OpenMP libraries in this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in lines if any(each in line for each in _LIBRARIES)}
    return sorted(path for path in paths if Path(path).name.startswith(_LIBRARIES) and Path(path).exists())


def _torch_libraries() -> list[str]:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    folders = package / "lib", package.parent / "torch.libs"
    return [str(path) for folder in folders for name in _LIBRARIES for path in folder.glob(f"{name}*.so*")]
