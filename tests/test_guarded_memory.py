"""Gathers and scatters of arrays between pages that nobody may touch: an element beside the memory kills the process."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

PROGRAMS = 25
WAYS = ("functor", "functor out", "region")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Guarded:
    """Makes arrays that end where a page begins that cannot be read or written, or begin where one ends."""

    def __init__(self, at_the_end: bool):
        self.at_the_end = at_the_end
        self._maps: list[tuple[mmap.mmap, int]] = []

    def __call__(self, shape: Sequence[int], dtype: Any) -> Any:
        size = prod(shape) * (2 if isinstance(dtype, torch.dtype) else np.dtype(dtype).itemsize)
        inner = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, inner + 2 * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (address, address + mmap.PAGESIZE + inner):
            if _libc.mprotect(page, mmap.PAGESIZE, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        offset = mmap.PAGESIZE + (inner - size if self.at_the_end else 0)
        if isinstance(dtype, torch.dtype):
            if not size:
                return torch.zeros(list(shape), dtype=dtype)
            return torch.frombuffer(memory, dtype=dtype, count=size // 2, offset=offset).view(list(shape))
        return np.ndarray(shape, dtype, memory, offset)


def search(seed: int, at_the_end: bool, trace: Path) -> None:
    """The cases of the oracle in guarded memory; `trace` tells which was the last."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, given, settings

    from tests import differential, strategies

    @hypothesis.seed(seed)
    @settings(
        max_examples=PROGRAMS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.cases())
    def run(case: tuple[strategies.Program, list[strategies.Binding]]) -> None:
        program, bindings = case
        for number, binding in enumerate(bindings):
            for way in WAYS if number == 0 else WAYS[:2]:
                if not differential.applies(way, program):
                    continue
                trace.write_text(f"{way}: {program}\n{binding}\n", encoding="utf-8")
                differential.compare(program, binding, way, Guarded(at_the_end))

    run()


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.test_guarded_memory", *map(str, arguments)]
    return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("at_the_end", [False, True], ids=["start", "end"])
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_beside_the_memory_is_touched(seed: int, at_the_end: bool, tmp_path: Path) -> None:
    trace = tmp_path / "last"
    done = in_a_process("search", seed, int(at_the_end), trace)
    last = trace.read_text(encoding="utf-8") if trace.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{last}"


@pytest.mark.parametrize("at_the_end", [False, True], ids=["start", "end"])
def test_the_guard_guards(at_the_end: bool) -> None:
    assert in_a_process("touch", int(at_the_end)).returncode == -11


def touch(at_the_end: bool) -> None:
    array = Guarded(at_the_end)((3,), np.float64)
    array[...] = 1.0
    ctypes.c_char.from_address(array.ctypes.data + (array.nbytes if at_the_end else -1)).value = b"x"


if __name__ == "__main__":
    if sys.argv[1] == "touch":
        touch(sys.argv[2] == "1")
    else:
        search(int(sys.argv[2]), sys.argv[3] == "1", Path(sys.argv[4]))
