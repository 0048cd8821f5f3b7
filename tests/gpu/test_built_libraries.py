"""A library that was built for a GPU, with a real one: results, order on a stream, a model, errors."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml.runtime.gpu import devices
from tests.compilers import needs_cc
from tests.embedding import gpu_kernels
from tests.machines import Cuda

pytestmark = [pytest.mark.gpu, needs_cc]


class Library:
    """A library, called with tensors on the GPU and numbers."""

    def __init__(self, path: Path) -> None:
        self.loaded = ctypes.CDLL(str(path))
        self.loaded.hpacml_last_error.restype = ctypes.c_char_p

    def __call__(self, name: str, *given: Any, stream: int = 0) -> str:
        """The message, empty if it worked."""
        words: list[object] = []
        for each in given:
            if isinstance(each, torch.Tensor):
                numbers = ctypes.c_int64 * each.ndim
                words += [ctypes.c_void_p(each.data_ptr()), numbers(*each.shape), numbers(*each.stride())]
            else:
                words.append(ctypes.c_double(each) if isinstance(each, float) else each)
        status = getattr(self.loaded, name)(*words, ctypes.c_void_p(stream))
        message: str = self.loaded.hpacml_last_error().decode()
        assert (status == 0) == (message == "")
        return message


@pytest.fixture
def library(cuda: Cuda, tmp_path: Path) -> Library:
    hpacml.build(gpu_kernels.KERNELS, tmp_path / "libkernels.so", target=devices.current_device().chip)
    return Library(tmp_path / "libkernels.so")


def test_kernels(library: Library) -> None:
    x = torch.rand(300, 70, dtype=torch.float64)
    for turn in (lambda a: a, lambda a: a.T.contiguous().T, lambda a: a[::2]):
        there, expected, rows = turn(x.cuda()), np.zeros(turn(x).shape), ctypes.c_int64()
        new, stream = torch.zeros_like(there), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        assert library("scale", there, new, 0.3, ctypes.byref(rows), stream=stream.cuda_stream) == ""
        stream.synchronize()
        assert rows.value == gpu_kernels.scale.py_func(turn(x).numpy(), expected, 0.3)
        np.testing.assert_array_equal(new.cpu().numpy(), expected)


def test_a_graph_of_the_program(library: Library) -> None:
    x, rows = torch.rand(30, 7, dtype=torch.float64).cuda(), ctypes.c_int64()
    new = torch.zeros_like(x)
    assert library("scale", x, new, 2.0, ctypes.byref(rows)) == ""
    torch.cuda.synchronize()
    expected, graph = new.clone(), torch.cuda.CUDAGraph()
    new.zero_()
    with torch.cuda.graph(graph):
        stream = torch.cuda.current_stream().cuda_stream
        assert library("scale", x, new, 2.0, ctypes.byref(rows), stream=stream) == ""
    graph.replay()
    torch.testing.assert_close(new, expected, rtol=0, atol=0)


def test_regions(library: Library) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    hpacml.save_model(network, "net.safetensors", example=torch.zeros(4, 5))
    t = torch.rand(40, 50)
    there, new, yes, no = t.cuda(), torch.zeros(40, 50).cuda(), ctypes.c_bool(True), ctypes.c_bool(False)
    assert library("heat", there, new, no, 1.0, None, b"gpu.h5") == ""
    expected = np.zeros((40, 50), np.float32)
    gpu_kernels.heat(t.numpy(), expected, False, 1.0, None, "cpu.h5")
    np.testing.assert_allclose(new.cpu().numpy(), expected, rtol=1e-6)
    assert library("heat", there, new, yes, 1.0, b"net.safetensors", None) == ""
    gpu_kernels.heat(t.numpy(), expected, True, 1.0, "net.safetensors", None)
    np.testing.assert_allclose(new.cpu().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert "none.safetensors" in library("heat", there, new, yes, 1.0, b"none.safetensors", None)
    assert library.loaded.hpacml_stop() == 0
    hpacml.flush()
    ours, theirs = hpacml.open_database("gpu.h5")["heat"], hpacml.open_database("cpu.h5")["heat"]
    np.testing.assert_array_equal(ours.inputs[0][0], theirs.inputs[0][0])


def test_memory_of_the_host(library: Library) -> None:
    x = torch.ones(3, 4, dtype=torch.float64)
    assert "argument 'x' of scale() lies in memory of the host" in library(
        "scale", x, x.cuda(), 1.0, ctypes.byref(ctypes.c_int64())
    )
