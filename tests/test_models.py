"""Models through the door a user takes: a region in infer mode."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml

BIN = Path(sys.executable).parent


@hpacml.region("""tensor functor(pair: [i, 0:2] = ([i], [i]))
                  tensor functor(one: [i, 0:1] = ([i]))
                  ml(infer) in(pair(a[0:n], b[0:n])) out(one(c[0:n])) model(net) label("r")""")
def region(a, b, c, n, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(pair: [i, 0:2] = ([i], [i]))
                  tensor functor(one: [i, 0:1] = ([i]))
                  ml(infer) in(pair(a[0:n], b[0:n])) out(one(c[0:n])) model(net) label("r") batch(3)""")
def batched(a, b, c, n, net):
    raise AssertionError("the body ran")


@pytest.fixture
def arrays() -> list[np.ndarray]:
    return [*np.random.default_rng(1).random((2, 8)), np.full(8, -1.0)]


@pytest.fixture(scope="session")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double().eval()


@pytest.fixture(scope="session")
def exported(net: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "net.pt2"
    hpacml.save_model(net, path, example=torch.zeros(4, 2, dtype=torch.float64))
    return path


def expected(net: torch.nn.Module, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(np.stack([a, b], -1)))[:, 0].numpy()


def test_exported_model_for_any_number_of_rows(net, exported: Path, arrays) -> None:
    a, b, c = arrays
    for n in (8, 1, 5, 0):
        region(a, b, c, n, str(exported))
        np.testing.assert_allclose(c[:n], expected(net, a, b)[:n], rtol=1e-12)


def test_torchscript(net, arrays, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    hpacml.save_model(net, path, example=torch.zeros(4, 2, dtype=torch.float64))
    a, b, c = arrays
    region(a, b, c, 8, path)
    np.testing.assert_allclose(c, expected(net, a, b), rtol=1e-12)


def test_the_environment_names_the_model(net, exported: Path, arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURROGATE_MODEL", str(exported))
    a, b, c = arrays
    region(a, b, c, 8, None)
    np.testing.assert_allclose(c, expected(net, a, b), rtol=1e-12)


def test_a_model_computes_in_its_own_dtype(arrays) -> None:
    a, b, c = arrays
    net = torch.nn.Linear(2, 1)
    region(a, b, c, 8, net)
    x = torch.from_numpy(np.stack([a, b], -1)).float()
    np.testing.assert_array_equal(c, net(x).detach().double().numpy()[:, 0])


def test_a_training_module_is_evaluated_and_left_in_training(arrays) -> None:
    a, b, c = arrays
    net = torch.nn.Sequential(torch.nn.Dropout(0.99), torch.nn.Linear(2, 1)).double()
    region(a, b, c, 8, net)
    assert net.training
    np.testing.assert_allclose(c, expected(net.eval(), a, b), rtol=1e-12)


def test_batches_give_the_same(net, arrays) -> None:
    a, b, c = arrays
    batched(a, b, c, 8, net)
    np.testing.assert_allclose(c, expected(net, a, b), rtol=1e-12)


def test_a_late_batch_that_fails_leaves_every_row(arrays) -> None:
    calls = []

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            if len(calls) == 3:
                raise ValueError("third batch")
            return x[:, :1]

    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match="third batch"):
        batched(a, b, c, 8, Net())
    assert calls == [3, 3, 2]
    np.testing.assert_array_equal(c, -1.0)


def test_an_identity_model_over_its_own_memory() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(infer) in(one(a[0:n-1])) out(one(a[1:n])) model(net)""")
    def shift(a, n, net):
        raise AssertionError("the body ran")

    a = np.arange(6.0)
    shift(a, 6, torch.nn.Identity())
    np.testing.assert_array_equal(a, [0, 0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "net.pt2"),
        (b"no model at all", "net.pt2"),
        (bytes(range(256)) * 20, "net.pt2"),
    ],
    ids=["empty", "text", "bytes"],
)
def test_files_that_are_no_models(arrays, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.pt2").write_bytes(content)
    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match=message):
        region(a, b, c, 8, str(tmp_path / "net.pt2"))
    np.testing.assert_array_equal(c, -1.0)


def test_a_truncated_model(exported: Path, arrays, tmp_path: Path) -> None:
    content = exported.read_bytes()
    for size in (10, len(content) // 2, len(content) - 10):
        path = tmp_path / f"cut{size}.pt2"
        path.write_bytes(content[:size])
        with pytest.raises(hpacml.ModelError, match=f"cut{size}"):
            region(*arrays, 8, str(path))
    np.testing.assert_array_equal(arrays[2], -1.0)


def test_a_bare_state_dict_is_explained(net, arrays, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(hpacml.ModelError, match="save_model"):
        region(*arrays, 8, str(tmp_path / "weights.pt"))


def untrusted(exported: Path, folder: Path, name: str) -> Path:
    """The same model with other bytes, as if from elsewhere."""
    import zipfile

    path = folder / f"{name}.pt2"
    path.write_bytes(exported.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = name.encode()
    return path


def test_what_is_not_trusted_does_not_load_until_it_is(net, exported: Path, arrays, tmp_path: Path) -> None:
    path = untrusted(exported, tmp_path, "elsewhere")
    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match="hpacml model trust"):
        region(a, b, c, 8, str(path))
    np.testing.assert_array_equal(c, -1.0)
    subprocess.run([BIN / "hpacml", "model", "trust", path], check=True, capture_output=True)
    region(a, b, c, 8, str(path))
    np.testing.assert_allclose(c, expected(net, a, b), rtol=1e-12)


def test_the_check_can_be_turned_off(
    net, exported: Path, arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = untrusted(exported, tmp_path, "other")
    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match="is not trusted"):
        region(a, b, c, 8, str(path))
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    region(a, b, c, 8, str(path))
    np.testing.assert_allclose(c, expected(net, a, b), rtol=1e-12)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x, r"\[8, 1\]"),
        (lambda x: (x[:, :1], x), "returns"),
        (lambda x: None, "returns"),
        (lambda x: x[:, :1].to(torch.complex128), "complex128"),
    ],
    ids=["shape", "count", "nothing", "dtype"],
)
def test_results_that_do_not_fit(arrays, forward: Callable[..., object], message: str) -> None:
    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match=message), warnings.catch_warnings():
        region(a, b, c, 8, forward)
    np.testing.assert_array_equal(c, -1.0)


# -- outputs that are not finite -------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "first"), [(region, "[4, 0], nan"), (batched, "[4, 0], nan")])
def test_outputs_may_have_to_be_finite(run, first: str, arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = arrays
    a[4], a[6] = np.nan, np.inf

    def add(x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1, keepdim=True)

    run(a, b, c, 8, add)
    assert np.isnan(c[4])
    c[:] = -1.0
    monkeypatch.setenv("HPACML_CHECK", "finite")
    with pytest.raises(
        hpacml.ModelError, match=r"region 'r': 2 of output 0, the map 'from: one: .*, the first at "
    ) as e:
        run(a, b, c, 8, add)
    assert str(e.value).endswith(first)
    np.testing.assert_array_equal(c, -1.0)
    run(a, b, c, 4, add)
    np.testing.assert_allclose(c[:4], (a + b)[:4])
    monkeypatch.setenv("HPACML_CHECK", "all")
    with pytest.raises(
        hpacml.HpacmlError, match="HPACML_CHECK is 'all': all is no check; these are 'bounds', 'finite', 'sync'"
    ):
        run(a, b, c, 4, add)


def test_what_is_finite_only_in_the_dtype_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    c = np.full(3, -1.0, np.float32)
    with pytest.raises(hpacml.ModelError, match=r"1 of output 0, .*, the first at \[2, 0\], 1e\+300"):
        region(
            np.zeros(3),
            np.zeros(3),
            c,
            3,
            lambda x: torch.tensor([[1.0], [2.0], [1e300]], dtype=torch.float64) + 0 * x[:, :1],
        )
    np.testing.assert_array_equal(c, -1.0)
    whole = np.zeros(3, np.int32)
    region(np.zeros(3), np.zeros(3), whole, 3, lambda x: torch.ones(3, 1, dtype=torch.int64))
    np.testing.assert_array_equal(whole, 1)


def test_a_declared_input_that_does_not_fit(arrays, tmp_path: Path) -> None:
    path = hpacml.save_model(torch.nn.Linear(3, 1), tmp_path / "three.pt2", example=torch.zeros(4, 3))
    with pytest.raises(
        hpacml.ModelError, match=r"its input is float32\[\*, 3\], but the region gives float64\[8, 2\] by"
    ):
        region(*arrays, 8, path)
    path = hpacml.save_model(torch.nn.Bilinear(2, 2, 1), tmp_path / "two.pt2", example=[torch.zeros(4, 2)] * 2)
    with pytest.raises(hpacml.ModelError, match=r"it takes 2 tensors .*, but the region gives 1 \(float64\[8, 2\]\)"):
        region(*arrays, 8, path)
    np.testing.assert_array_equal(arrays[2], -1.0)
