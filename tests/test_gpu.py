"""Kernels for GPUs, run on the CPU thread by thread: what gathers, scatters and parallel loops become is right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from xdsl.dialects import gpu
from xdsl.dialects.builtin import ModuleOp

from hpacml import pipelines
from hpacml.frontend import bridge, entries
from hpacml.passes.hpacml_gpu_to_loops import HpacmlGpuToLoopsPass
from tests import differential
from tests.test_oracle import search


def as_loops(module: ModuleOp, *, fuse: bool = True, report: bool = False) -> ModuleOp:
    pipelines.run_passes(module, fuse=fuse, report=report, gpu=True)
    HpacmlGpuToLoopsPass().apply(pipelines.make_context(), module)
    module.verify()
    return module


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Everything is compiled for GPUs from then on, and run as loops; how many kernels each module had."""
    counts: list[int] = []

    def run_passes(module: ModuleOp, report: bool) -> ModuleOp:
        pipelines.run_passes(module, report=report, gpu=True)
        counts.append(sum(isinstance(op, gpu.LaunchOp) for op in module.walk()))
        HpacmlGpuToLoopsPass().apply(pipelines.make_context(), module)
        module.verify()
        return module

    caches = bridge._compiled, differential.functor, differential.region, differential.kernel
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(entries, "run_passes", run_passes)
    yield counts
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 4))])
def test_functors(launched: list[int], part: int) -> None:
    search(100 + part, 30, "functor")
    assert any(launched)
