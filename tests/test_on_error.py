"""What follows a model that fails: an error that changes nothing, or the original code."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.runtime.models import fallback

DIRECTIVES = """tensor functor(one: [i, 0:1] = ([i]))
                ml(infer) in(one(a[0:n])) out(one(c[0:n])) model(net) label("{}")"""


def body(a, c, n, net):
    c[:n] = a[:n] + 10


@hpacml.kernel
def kernel(a: Float64[np.ndarray, "N"], c: Float64[np.ndarray, "M"], n: int, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(a[0:n])) out(one(c[0:n])) model(net) label('kernel')"):
        for i in range(n):
            c[i] = a[i] + 10.0


@hpacml.kernel
def kernel_accurate(a: Float64[np.ndarray, "N"], c: Float64[np.ndarray, "M"], n: int, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(a[0:n])) out(one(c[0:n])) model(net) label('kernel')", on_error="accurate"):
        for i in range(n):
            c[i] = a[i] + 10.0


@hpacml.kernel
def kernel_raise(a: Float64[np.ndarray, "N"], c: Float64[np.ndarray, "M"], n: int, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(a[0:n])) out(one(c[0:n])) model(net) label('kernel')", on_error="raise"):
        for i in range(n):
            c[i] = a[i] + 10.0


def region(on_error: Any = None, clauses: str = "") -> Callable[..., Any]:
    return hpacml.region(DIRECTIVES.format("region") + clauses, on_error=on_error)(body)


DOORS: dict[str, dict[str | None, Callable[..., Any]]] = {
    "region": {None: region(), "accurate": region("accurate"), "raise": region("raise")},
    "kernel": {None: kernel, "accurate": kernel_accurate, "raise": kernel_raise},
}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fallback, "_counts", type(fallback._counts)())
    for name in ("HPACML_ON_ERROR", "HPACML_CHECK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    return np.arange(6.0), np.full(6, -1.0)


def failing(x):
    raise ValueError("no such weather")


def double(x):
    return 2 * x


@pytest.mark.parametrize("door", DOORS)
def test_by_default_the_error_is_raised_and_memory_stays(door: str, arrays) -> None:
    a, c = arrays
    for policy in (None, "raise"):
        with pytest.raises(hpacml.ModelError, match="no such weather"):
            DOORS[door][policy](a, c, 4, failing)
    np.testing.assert_array_equal(c, -1)
    assert hpacml.fallbacks() == {}


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("door", DOORS)
def test_accurate_runs_the_body_counts_and_warns_once(door: str, strided: bool, arrays, caplog: Any) -> None:
    a, c = arrays
    c = np.full(12, -1.0)[::2] if strided else c
    run = DOORS[door]["accurate"]
    with caplog.at_level(logging.DEBUG, "hpacml"):
        for count in (1, 2, 3):
            run(a, c, 4, failing)
            assert hpacml.fallbacks() == {door: count}
    np.testing.assert_array_equal(c, [10, 11, 12, 13, -1, -1])
    (record,) = [r for r in caplog.records if r.name == "hpacml"]
    assert record.levelname == "WARNING"
    assert f"the original code of the region '{door}' runs in place of its model" in record.getMessage()
    assert "no such weather" in record.getMessage()
    run(a, c, 5, double)
    np.testing.assert_array_equal(c, [0, 2, 4, 6, 8, -1])
    assert hpacml.fallbacks() == {door: 3}


@pytest.mark.parametrize("door", DOORS)
def test_the_environment_decides_without_compiling_anew(door: str, arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    a, c = arrays
    run = DOORS[door][None]
    with pytest.raises(hpacml.ModelError):
        run(a, c, 4, failing)
    monkeypatch.setenv("HPACML_ON_ERROR", "accurate")
    run(a, c, 4, failing)
    np.testing.assert_array_equal(c, [10, 11, 12, 13, -1, -1])
    c[:] = -1
    with pytest.raises(hpacml.ModelError):  # the region's own word comes first
        DOORS[door]["raise"](a, c, 4, failing)
    monkeypatch.setenv("HPACML_ON_ERROR", "raise")
    DOORS[door]["accurate"](a, c, 1, failing)
    monkeypatch.setenv("HPACML_ON_ERROR", "ignore")
    with pytest.raises(hpacml.HpacmlError, match="HPACML_ON_ERROR is 'ignore': set it to raise or accurate"):
        run(a, c, 4, failing)
    np.testing.assert_array_equal(c, [10, -1, -1, -1, -1, -1])


def test_what_counts_as_a_failure(arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, c = arrays
    run = DOORS["region"]["accurate"]
    (tmp_path / "torn.pt2").write_bytes(b"PK\x03\x04")

    def nested(x):
        kernel_raise(a, c, 3, failing)

    monkeypatch.setenv("HPACML_CHECK", "finite")
    models = [tmp_path / "none.pt2", tmp_path / "torn.pt2", 7, None, nested, lambda x: x[:2], lambda x: x / 0]
    for count, net in enumerate(models, 1):
        c[:] = -1
        run(a, c, 4, net)
        np.testing.assert_array_equal(c, [10, 11, 12, 13, -1, -1])
        assert hpacml.fallbacks() == {"region": count}


def test_what_does_not(arrays) -> None:
    a, c = arrays
    run = DOORS["region"]["accurate"]

    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(a, c, 4, interrupted)
    with pytest.raises(hpacml.MapError):  # maps are not the model's
        run(a, c, 7, double)
    np.testing.assert_array_equal(c, -1)
    assert hpacml.fallbacks() == {}


def test_the_body_may_fail_too(arrays) -> None:
    @hpacml.region(DIRECTIVES.format("r"), on_error="accurate")
    def bad(a, c, n, net):
        raise LookupError("the body")

    with pytest.raises(LookupError, match="the body"):
        bad(*arrays, 4, failing)


def test_the_body_returns_what_it_returns(arrays) -> None:
    @hpacml.region(DIRECTIVES.format("r"), on_error="accurate")
    def answer(a, c, n, net):
        return 42

    assert answer(*arrays, 4, failing) == 42
    assert answer(*arrays, 4, double) is None


def test_predicated_if_inout_and_batch(arrays, tmp_path: Path) -> None:
    @hpacml.region(
        f"""tensor functor(one: [i, 0:1] = ([i]))
            ml(predicated: use) inout(one(c[0:n])) model(net) database("{tmp_path}/d.h5") if(on) batch(2)""",
        on_error="accurate",
    )
    def add(c, n, net, use, on):
        c[:n] += 1

    calls = []

    def third(x):
        calls.append(len(x))
        if len(calls) == 3:
            raise ValueError
        return 0 * x

    _, c = arrays
    add(c, 6, third, True, True)
    np.testing.assert_array_equal(c, 0)
    assert calls == [2, 2, 2]
    add(c, 6, failing, True, False)
    assert hpacml.fallbacks() == {"add": 1}
    assert not (tmp_path / "d.h5").exists()


def test_indirect_targets(arrays) -> None:
    @hpacml.region(
        """tensor functor(one: [i, 0:1] = ([i]))
           ml(infer) in(one(a[0:n])) out(one(c[idx[0:n]])) model(net)""",
        on_error="accurate",
    )
    def spread(a, c, idx, n, net):
        c[idx[:n]] = 5

    a, c = arrays
    spread(a, c, np.array([5, 0]), 2, failing)
    np.testing.assert_array_equal(c, [5, -1, -1, -1, -1, 5])
    spread(a, c, np.array([4, 0]), 2, double)
    np.testing.assert_array_equal(c, [2, -1, -1, -1, 0, 5])


def test_several_threads_warn_once(caplog: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    run = DOORS["region"]["accurate"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run(np.zeros(3), np.zeros(3), 3, failing), range(40)))
    assert hpacml.fallbacks() == {"region": 40}
    assert len([r for r in caplog.records if r.name == "hpacml"]) == 1


def test_wrong_words() -> None:
    with pytest.raises(hpacml.DirectiveError, match="on_error is 'raise' or 'accurate', and this is 'ignore'"):
        region("ignore")

    def statement(a: Float64[np.ndarray, "N"]):
        approx("tensor functor(one: [i, 0:1] = ([i]))", on_error="raise")

    with pytest.raises(hpacml.CompileError, match="on_error belongs to a region"):
        hpacml.kernel(statement)(np.zeros(3))

    def misspelt(a: Float64[np.ndarray, "N"], net: Any):
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        with approx("ml(infer) inout(one(a[0:3])) model(net)", on_error="acurate"):
            a[0] = 1.0

    with pytest.raises(hpacml.CompileError, match="on_error='raise' or on_error='accurate'"):
        hpacml.kernel(misspelt)(np.zeros(3), None)


def test_plain_python_ignores_it(arrays) -> None:
    a, c = arrays
    kernel_accurate.py_func(a, c, 2, None)
    np.testing.assert_array_equal(c, [10, 11, -1, -1, -1, -1])
    assert torch.is_grad_enabled()
