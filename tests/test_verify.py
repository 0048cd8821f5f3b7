"""The clause `verify`: a model is compared with the original code, and a circuit breaker opens where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml
from hpacml.errors import DirectiveError, ModelError

MAPS = "tensor functor(f: [i, 0:1] = ([i]))\n"
REGION = MAPS + "ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(m) label('LABEL') verify(SETTINGS)"
A = np.linspace(0, 1, 13, dtype=np.float32)


def model(path: Path, factor: float) -> str:
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(factor)
    hpacml.save_model(net, path, example=(torch.rand(100, 1),))
    return str(path)


def region(label: str, settings: str, calls: list[float]) -> Callable[..., None]:
    @hpacml.region(REGION.replace("LABEL", label).replace("SETTINGS", settings))
    def double(a: np.ndarray, c: np.ndarray, n: int, m: str) -> None:
        calls.append(np.random.rand())
        c[:n] = 2 * a[:n]
        c[n:] = -7

    return double


def test_a_bad_model_is_found_and_a_good_one_is_used_again(tmp_path: Path) -> None:
    good, bad = model(tmp_path / "good.pt2", 2.0), model(tmp_path / "bad.pt2", 3.0)
    calls: list[float] = []
    double = region("exchanged", "every: 2, tolerance: 0.01, window: 4", calls)
    wrong: list[int] = []
    for k in range(30):
        c = np.zeros(15, np.float32)
        before = len(calls)
        double(A, c, 13, bad if 5 <= k < 11 else good)
        right = np.allclose(c[:13], 2 * A)
        if not right:
            wrong.append(k)
        if not right or (k < 5 and len(calls) > before):  # the model's, or a check, which runs aside
            assert not c[13:].any()
    assert wrong == [5]  # the check of call 6 is beyond five times the tolerance
    at_end = len(calls)
    c = np.zeros(15, np.float32)
    double(A, c, 13, good)
    double(A, c, 13, good)
    assert len(calls) - at_end <= 1  # the model is used again


def test_checks_leave_random_numbers_and_memory_as_they_were(tmp_path: Path) -> None:
    calls: list[float] = []
    double = region("aside", "every: 1, tolerance: 0.01", calls)
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    c = np.zeros(15, np.float32)
    for _ in range(3):
        double(A, c, 13, model(tmp_path / "m.pt2", 2.0))
    assert calls == [expected] * 3
    assert not c[13:].any()


def test_checks_inside_of_checks_leave_random_numbers_as_they_were(tmp_path: Path) -> None:
    inner = region("inside", "every: 1, tolerance: 0.01", [])

    @hpacml.region(REGION.replace("LABEL", "failing").replace("SETTINGS", "every: 1, tolerance: 0.01"))
    def failing(a: np.ndarray, c: np.ndarray, n: int, m: str) -> None:
        np.random.rand()
        raise ValueError("no solution")

    @hpacml.region(REGION.replace("LABEL", "around").replace("SETTINGS", "every: 1, tolerance: 0.01"))
    def around(a: np.ndarray, c: np.ndarray, n: int, m: str) -> None:
        np.random.rand()
        inner(a, c, n, m)
        with pytest.raises(ValueError, match="no solution"):
            failing(a, c, n, m)

    path, c = model(tmp_path / "m.pt2", 2.0), np.zeros(15, np.float32)
    np.random.seed(3)
    expected = np.random.rand()
    for _ in range(3):
        np.random.seed(3)
        around(A, c, 13, path)
        assert np.random.rand() == expected


def test_raise(tmp_path: Path) -> None:
    double = region("raises", "every: 1, tolerance: 0.01, then: raise", [])
    c = np.zeros(15, np.float32)
    with pytest.raises(ModelError, match=r"rmse.*'c'"):
        double(A, c, 13, model(tmp_path / "m.pt2", 3.0))
    assert not c.any()


def test_warn(tmp_path: Path) -> None:
    double = region("warns", "every: 1, tolerance: 0.01, then: warn", [])
    c = np.zeros(15, np.float32)
    for _ in range(3):
        double(A, c, 13, model(tmp_path / "m.pt2", 3.0))
    np.testing.assert_allclose(c[:13], 3 * A, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("every: 10", "'verify' needs 'tolerance'"),
        ("every: 0, tolerance: 1", "'every' is an integer, 1 or more"),
        ("every: 2, tolerance: 0", "'tolerance' is a number above 0"),
        ("every: 2, tolerance: 1, metric: mse", "'metric' is one of rmse, mape, max"),
        ("every: 2, tolerance: 1, then: stop", "'then' is one of accurate, raise, warn"),
        ("every: 2, threshold: 1", "did you mean 'tolerance'?"),
    ],
)
def test_mistakes(settings: str, message: str) -> None:
    with pytest.raises(DirectiveError, match=message):
        region("wrong", settings, [])
