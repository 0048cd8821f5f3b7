"""Call sites made by hand, and models of all formats."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpacml.runtime import handlers
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor
from hpacml.runtime.databases import writer
from hpacml.runtime.models import export, torchscript, trust

TO = "to: f: [i, 0:5] = ([i, 0:5]) | f(x[0:N, 0:5])"
FROM = "from: g: [i, 0:1] = ([i, 0:1]) | g(y[0:N, 0:1])"
DEFAULTS = {"label": "heat", "on_error": None, "engine": None, "maps": [TO, FROM]}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file of the user is read or written, and no database stays open."""
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    for name in ("SURROGATE_MODEL", "HPAC_DB_FILE", "HPACML_TRUST_MODELS"):
        monkeypatch.delenv(name, raising=False)
    yield
    writer.flush()


class CallSite:
    """The text and the tensors of a call from compiled code, as it passes them."""

    def __init__(self, inputs: Sequence[Any], outputs: Sequence[Any], **site: Any) -> None:
        views = [array_view(array, "a") for array in (*inputs, *outputs)]
        tensors = [{"dtype": view.dtype, "rank": len(view.shape)} for view in views]
        site |= {"inputs": tensors[: len(inputs)], "outputs": tensors[len(inputs) :]}
        self._text = ctypes.create_string_buffer(json.dumps(DEFAULTS | site).encode())
        self._descriptors = [descriptor(view) for view in views]
        self._pointers = (ctypes.c_size_t * len(views))(*map(ctypes.addressof, self._descriptors))
        self._owners = (inputs, outputs)

    def infer(self) -> None:
        handlers.infer(ctypes.addressof(self._text), ctypes.addressof(self._pointers))

    def collect(self, milliseconds: float = 1.5) -> None:
        handlers.collect(ctypes.addressof(self._text), ctypes.addressof(self._pointers), milliseconds)


@pytest.fixture
def call_site() -> type[CallSite]:
    return CallSite


@pytest.fixture
def infer() -> Callable[..., None]:
    """`infer(inputs, outputs, model=..., batch=..., ...)` runs one inference."""

    def run(inputs: Sequence[Any], outputs: Sequence[Any], model: Any = None, batch: int | None = None, **site: Any):
        CallSite(inputs, outputs, model=model, batch=batch, **site).infer()

    return run


@pytest.fixture
def collect() -> Callable[..., None]:
    """`collect(inputs, outputs, database=..., ...)` runs one collection."""

    def run(inputs: Sequence[Any], outputs: Sequence[Any], database: Any = None, ms: float = 1.5, **site: Any):
        CallSite(inputs, outputs, database=database, **site).collect(ms)

    return run


@pytest.fixture(scope="session")
def network() -> Any:
    """An MLP from 5 to 1 features, in float32."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).eval()


@pytest.fixture(scope="session")
def model_files(network: Any) -> dict[str, bytes]:
    """The network in each format, by suffix."""
    import torch

    example = [torch.zeros(64, 5)]
    return {"pt2": export.write(network, example), "pt": torchscript.write(network, example)}


@pytest.fixture
def model_file(tmp_path: Path, model_files: dict[str, bytes]) -> Callable[..., Path]:
    """`model_file(suffix)` is a file with the network, trusted or not."""

    def write(suffix: str = "pt2", trusted: bool = True) -> Path:
        path = tmp_path / f"heat.{suffix}"
        path.write_bytes(model_files[suffix])
        if trusted:
            trust.trust(path)
        return path

    return write


@pytest.fixture
def rows() -> Callable[..., np.ndarray[Any, Any]]:
    """`rows(n, dtype)` are n rows of 5 random features."""

    def make(count: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        return np.random.default_rng(count).standard_normal((count, 5)).astype(dtype)

    return make
