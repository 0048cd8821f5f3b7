"""The benchmarks for GPUs run: tiny ones on a simulated device, whose times say nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmarks import gpu
from tests.machines import Simulated, missing_gpu
from tests.simulated_gpu import TensorOnDevice, simulated

Calls = dict[str, Callable[[], Any]]
ROOT = Path(__file__).parents[2]


class Stub(gpu.Cuda):
    """The simulated device, on which each call takes as many seconds as its name has letters."""

    def __init__(self, machine: Simulated) -> None:
        self.device = machine.device
        self.machine = machine
        self.measured: list[str] = []

    def place(self, tensor: torch.Tensor) -> tuple[torch.Tensor, TensorOnDevice]:
        return tensor, self.machine.there(tensor)

    def device_seconds(self, calls: Calls, repeats: int, each: int = 1, **options: Any) -> dict[str, float]:
        return self.host_seconds(calls, repeats)

    def host_seconds(self, calls: Calls, repeats: int) -> dict[str, float]:
        for name, call in calls.items():
            call()
            self.measured.append(name)
        return {name: float(len(name)) for name in calls}

    def synchronize(self) -> None:
        pass

    def graph(self, call: Callable[[], Any]) -> Callable[[], Any]:
        return call

    def describe(self) -> dict[str, Any]:
        return {"device": "NVIDIA Simulated (1 GB)", "peak": 1e3}


SIZES = gpu.Sizes(stencils=(7, 10), columns=(13,), regions=(6, 9), repeats=1, calls=1)


def test_everything_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HPACML_CUDA_GRAPHS", raising=False)
    with simulated(monkeypatch) as devices:
        stub = Stub(Simulated(devices))
        results = gpu.measure(stub, SIZES)
        assert stub.machine.replays > 0
    path = gpu.write(results, tmp_path)
    assert path.name == "gpu-nvidia-simulated-1-gb.json"
    assert json.loads(path.read_text()) == results
    assert results["machine"].keys() >= {"torch", "device"}
    assert [len(results[kind]) for kind in ("gather", "scatter", "region", "dispatch")] == [4, 3, 2, 3]
    stencil = results["gather"][0]
    assert stencil["bytes"] == 5 * 5 * 5 * 4
    assert stencil["moved"] == {**dict.fromkeys((gpu.OURS, gpu.CAT, gpu.STACK), 500 + 7 * 7 * 4), gpu.COPY: 1000}
    assert stencil["of a copy"] == len(gpu.COPY) / len(gpu.OURS)
    assert stencil["x views"] == len(gpu.CAT) / len(gpu.OURS)
    assert results["region"][0]["seconds"].keys() == {"eager", "replayed", "by hand", "the model alone"}
    gather, eager, replayed = results["dispatch"]
    assert gather["beyond"] == len("the call") - len("a launch")
    assert eager["beyond"] == len("the call") - len("a launch" + "another launch" + "the model alone")
    assert replayed["way"] == "replayed"
    console = Console(width=200, record=True)
    for table in gpu.tables(results):
        console.print(table)
    assert f"{len(gpu.COPY) / len(gpu.OURS):.2f} (aim 0.85)" in console.export_text()


@pytest.mark.skipif(missing_gpu() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("these benchmarks need a GPU of NVIDIA, and a Torch with CUDA: the GPU 0 cannot be")
