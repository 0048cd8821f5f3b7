"""Networks of the families, trained on rows of regions whose tensors have other dimensions, run there in both engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hpacml


@hpacml.region("""tensor functor(f: [i, j, 0:2] = ([i, j:j+2])) tensor functor(g: [i, j, 0:1] = ([i, j]))
                  ml(predicated: use) in(f(t[0:n, 0:m])) out(g(u[0:n, 0:m])) model(net) database("grid.h5")""")
def grid(t: np.ndarray, u: np.ndarray, n: int, m: int, use: bool, net: object = None) -> None:
    u[:] = np.sin(t[:, :-1]) + t[:, 1:]


@hpacml.region("""tensor functor(f: [i, j, k, 0:1] = ([i, j, k])) tensor functor(g: [i, 0:2] = ([i], [i]))
                  ml(predicated: use) in(f(v[0:n, 0:16, 0:20])) out(g(x[0:n], y[0:n])) model(net) database("video.h5")""")
def video(v: np.ndarray, x: np.ndarray, y: np.ndarray, n: int, use: bool, net: object = None) -> None:
    x[:], y[:] = v.max(1).argmax(1), v.max(2).argmax(1)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_batch_normalisation_on_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has as many columns as its layer has features."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        grid(rng.random((6, 8)), np.zeros((6, 7)), 6, 7, False)
    hpacml.flush()
    config = {"network": {"layers": 3, "hidden1": 14}, "epochs": 1, "pictures": False}
    net = hpacml.train("grid.h5", model="hpacml.networks:tapered", config=config, quiet=True).path
    found = {}
    for engine in ("torch", "compiled"):
        monkeypatch.setenv("HPACML_ENGINE", engine)
        t, found[engine] = np.random.default_rng(1).random((6, 8)), np.zeros((6, 7))
        grid(t, found[engine], 6, 7, True, str(net))
    assert found["torch"].std() > 0
    np.testing.assert_allclose(found["compiled"], found["torch"], atol=1e-5)


def test_pictures_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        video(rng.integers(0, 256, (8, 16, 20), np.uint8), np.zeros(8, "f4"), np.zeros(8, "f4"), 8, False)
    hpacml.flush()
    config = {"network": {"conv_kernel": 4, "conv_stride": 2}, "epochs": 1, "pictures": False}
    net = hpacml.train("video.h5", model="hpacml.networks:coordinates", config=config, quiet=True).path
    found = {}
    for engine in ("torch", "compiled"):
        monkeypatch.setenv("HPACML_ENGINE", engine)
        v, found[engine] = np.random.default_rng(1).integers(0, 256, (8, 16, 20), np.uint8), np.zeros((2, 8), "f4")
        video(v, *found[engine], 8, True, str(net))
    assert found["torch"].std() > 0
    np.testing.assert_allclose(found["compiled"], found["torch"], atol=1e-4)
