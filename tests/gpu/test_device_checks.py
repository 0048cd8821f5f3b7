"""Indices on a device: bad ones are found there, nothing outside of arrays is touched, and the host learns of it later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32, Int32

import hpacml
from hpacml.runtime.gpu import flags, graphs
from tests.machines import Machine, Simulated

Vector = Float32[np.ndarray, "N"]
Squared = Float32[np.ndarray, "M"]
Indices = Int32[np.ndarray, "K"]

INDICES = {"i32": np.int32, "i64": np.int64, "u8": np.uint8}

f = hpacml.functor("f: [i] = ([i])")
pairs = hpacml.functor("pairs: [i, 0:2] = ([i], [i+1])")


class Arrays:
    """Arrays on a machine, made anew where they are asked for on the host."""

    def __init__(self, machine: Machine | None, **arrays: Any) -> None:
        self.machine = machine
        self.arrays = {name: np.array(array) for name, array in arrays.items()}
        self.there = self.arrays if machine is None else {n: machine.there(a) for n, a in self.arrays.items()}

    def gather(self, functor: Any, targets: str, **options: Any) -> Any:
        result = functor.gather(targets, **options, **self.there)
        return result if self.machine is None else self.machine.host(result)

    def scatter(self, functor: Any, targets: str, tensor: Any, **options: Any) -> None:
        there = tensor if self.machine is None else self.machine.there(tensor)
        functor.scatter(there, targets, **options, **self.there)

    def __getitem__(self, name: str) -> Any:
        return self.there[name] if self.machine is None else self.machine.host(self.there[name])


def of(*numbers: int, dtype: Any = np.int32) -> Any:
    return np.array(numbers, dtype)


def values(count: int) -> Any:
    return np.arange(1, count + 1, dtype=np.float32)


def message(call: Callable[[], object]) -> str:
    with pytest.raises(hpacml.MapError) as error:
        call()
    return str(error.value)


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "too large": ("a[r[0:3]]", {"r": of(1, 10, 2)}, "the index 10 lies outside a dimension that has 10 elements"),
    "of 64 bits": (
        "a[r[0:3]]",
        {"r": of(1, 2**32 + 1, 2, dtype=np.int64)},
        "the index 4294967297 lies outside a dimension that has 10 elements",
    ),
    "of 8 bits": (
        "a[r[0:3]]",
        {"r": of(1, 2, 255, dtype=np.uint8)},
        "the index 255 lies outside a dimension that has 10 elements",
    ),
    "negative": ("a[r[0:3]]", {"r": of(-1, 1, 2)}, "the index -1 lies outside a dimension that has 10 elements"),
    "inner": (
        "a[r[s[0:3]]]",
        {"r": of(9, 8), "s": of(0, 1, 2, dtype=np.int64)},
        "the index 2 lies outside a dimension that has 2 elements",
    ),
    "outer": (
        "a[r[s[0:3]]]",
        {"r": of(9, 77), "s": of(0, 1, 1, dtype=np.uint8)},
        "the index 77 lies outside a dimension that has 10 elements",
    ),
}
"""Targets, the index arrays, and what is wrong with them."""

REPEATED = "a[r[0:3]]", {"r": of(1, 2, 1)}, "indices repeat"


@pytest.mark.parametrize("dtype", INDICES)
def test_good_indices(machine: Machine, dtype: str) -> None:
    arrays = Arrays(machine, a=values(300), r=of(*range(250, 0, -1), dtype=INDICES[dtype]))
    np.testing.assert_array_equal(arrays.gather(f, "a[r[0:250]]"), range(251, 1, -1))
    arrays.scatter(f, "a[r[0:250]]", values(250))
    np.testing.assert_array_equal(arrays["a"][1:251], range(250, 0, -1))
    hpacml.flush()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_index_is_an_error_of_the_next_call(machine: Machine, case: str) -> None:
    targets, indices, reason = BAD[case]
    bad, good = Arrays(machine, a=values(10), **indices), Arrays(machine, a=values(10), r=of(0, 9))
    bad.gather(f, targets)
    machine.device.synchronize_all()
    expected = f"in the map 'f({targets})' of 'gather': {reason}. An earlier call on the GPU 0 met it"
    assert message(lambda: good.gather(f, "a[r[0:2]]")).startswith(expected)
    np.testing.assert_array_equal(good.gather(f, "a[r[0:2]]"), [1, 10])
    hpacml.flush()


@pytest.mark.parametrize("case", [*BAD, "repeated"])
def test_a_scatter_with_bad_indices_writes_nothing(machine: Machine, case: str) -> None:
    targets, indices, reason = BAD.get(case, REPEATED)
    arrays = Arrays(machine, a=values(10), **indices)
    arrays.scatter(f, targets, values(3))
    assert reason in message(hpacml.flush)
    np.testing.assert_array_equal(arrays["a"], values(10))
    hpacml.flush()


@pytest.mark.parametrize("case", [*BAD, "repeated"])
def test_waiting_at_each_check_gives_the_message_of_the_host(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("HPACML_CHECK", "sync")
    targets, indices, _ = BAD.get(case, REPEATED)
    here, there = (Arrays(each, a=values(10), **indices) for each in (None, machine))
    expected = message(lambda: here.scatter(f, targets, values(3)))
    assert message(lambda: there.scatter(f, targets, values(3))) == expected
    np.testing.assert_array_equal(there["a"], values(10))
    if case != "repeated":
        expected = message(lambda: here.gather(f, targets))
        assert message(lambda: there.gather(f, targets)) == expected
    hpacml.flush()


@pytest.mark.parametrize("case", [*BAD, "repeated"])
def test_arrays_of_the_host_are_waited_for_anyway(machine: Machine, case: str) -> None:
    targets, indices, _ = BAD.get(case, REPEATED)
    on_gpu = hpacml.functor("f: [i] = ([i])", target="gpu")
    arrays = Arrays(None, a=values(10), **indices)
    expected = message(lambda: arrays.scatter(f, targets, values(3)))
    assert message(lambda: arrays.scatter(on_gpu, targets, values(3))) == expected
    np.testing.assert_array_equal(arrays["a"], values(10))


def test_the_part_of_an_Indices_that_a_call_reads(machine: Machine) -> None:
    """Of the rest nothing is copied, nor looked at."""
    on_gpu = hpacml.functor("f: [i] = ([i])", target="gpu")
    arrays = Arrays(None, a=values(10), r=of(99, 99, 3, 12, 99))
    assert "the index r[3] is 12, outside dimension 0 of 'a'" in message(lambda: arrays.gather(on_gpu, "a[r[2:4]]"))
    np.testing.assert_array_equal(arrays.gather(on_gpu, "a[r[2:3]]"), [4])


def test_indices_backwards_in_memory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "sync")
    a, r = machine.there(values(10)), machine.there(of(11, 2, 3)[::-1])
    assert "the index r[2] is 11, outside" in message(lambda: f.gather("a[r[0:3]]", a=a, r=r))


def test_windows_through_indices(machine: Machine) -> None:
    """Tiles in shared memory: all threads of a block come to its barriers, also where it has nothing to do."""
    r = np.tile(of(*range(98)), 10)
    arrays = Arrays(machine, a=values(99), r=r)
    np.testing.assert_array_equal(arrays.gather(pairs, "a[r[0:979]]")[:, 1], values(99)[r[1:980]])
    r[500] = 99
    bad = Arrays(machine, a=values(99), r=r)
    bad.gather(pairs, "a[r[0:979]]")
    assert "the index 99 lies outside a dimension that has 99 elements" in message(hpacml.flush)


def test_empty_maps(machine: Machine) -> None:
    arrays = Arrays(machine, a=values(10), r=of(77, 77))
    assert arrays.gather(f, "a[r[0:0]]").shape == (0,)
    arrays.scatter(f, "a[r[0:0]]", values(0))
    hpacml.flush()


def test_unchecked_maps_have_no_checks(machine: Machine) -> None:
    arrays = Arrays(machine, a=values(10), r=of(1, 2))
    arrays.scatter(f, "a[r[0:2]]", np.full(2, 5, np.float32), unchecked=True)
    np.testing.assert_array_equal(arrays["a"][:4], [1, 5, 5, 4])
    assert machine.launched == 1
    hpacml.flush()


def test_one_error_for_all_calls_until_it_is_seen(machine: Machine) -> None:
    """The kernels of those behind do nothing."""
    bad, good = Arrays(machine, a=values(10), r=of(1, 2, 3)), Arrays(machine, a=values(10), r=of(4, 5, 6))
    bad.scatter(f, "a[r[0:3]]", values(3))
    flag = flags.shared(machine.device, machine.device.stream)
    with flag.used():  # another call is under way
        machine.fill(bad.there["r"], of(1, 2, 33))
    bad.scatter(f, "a[r[0:3]]", np.zeros(3, np.float32))
    assert "the index 33" in message(hpacml.flush)
    np.testing.assert_array_equal(bad["a"][:5], [1, 1, 2, 3, 5])
    good.scatter(f, "a[r[0:3]]", np.zeros(3, np.float32))
    np.testing.assert_array_equal(good["a"][3:8], [4, 0, 0, 0, 8])


def test_a_flag_stays_raised_while_a_call_launches_kernels(machine: Machine) -> None:
    """Else the second of these would follow indices that the first has found to be bad."""
    flag = flags.shared(machine.device, machine.device.stream)
    bad, good = Arrays(machine, a=values(10), r=of(1, 10)), Arrays(machine, a=values(10), r=of(1, 2))
    with flag.used():
        bad.gather(f, "a[r[0:2]]")
        machine.device.synchronize_all()
        for _ in range(2):
            assert "the index 10" in message(lambda: good.gather(f, "a[r[0:2]]"))
        assert flag.word.item() == 1
    np.testing.assert_array_equal(good.gather(f, "a[r[0:2]]"), [2, 3])
    assert flag.word.item() == 0
    hpacml.flush()


def test_a_bad_index_of_the_last_call_is_logged_at_the_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("hpacml"), "propagate", True)
    Arrays(machine, a=values(10), r=of(10)).gather(f, "a[r[0:1]]")
    flags._at_exit()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "the index 10 lies outside a dimension that has 10 elements" in record.getMessage()


def test_streams_have_flags_of_their_own(machine: Machine) -> None:
    if not isinstance(machine, Simulated):
        pytest.skip("the simulated device tells its streams")
    bad, good = Arrays(machine, a=values(10), r=of(1, 10)), Arrays(machine, a=values(10), r=of(1, 2))
    bad.gather(f, "a[r[0:2]]")
    machine.device.stream = 5
    assert "the index 10" in message(lambda: good.gather(f, "a[r[0:2]]"))
    np.testing.assert_array_equal(good.gather(f, "a[r[0:2]]"), [2, 3])
    assert flags.shared(machine.device, 0) is not flags.shared(machine.device, 5)


# -- regions -----------------------------------------------------------------------------------------


@hpacml.region(
    """tensor functor(rows: [i, 0:2] = ([i, 0:2]))
    tensor functor(one: [i] = ([i]))
    ml(infer) in(rows(a[r[0:n], 0:2])) out(one(b[s[0:n]])) model(net)"""
)
def inferred(a: Any, b: Any, r: Any, s: Any, n: int, net: Any) -> None:
    raise AssertionError


class Sum(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


def test_graphs_check_indices_each_time(machine: Machine) -> None:
    net = machine.network(Sum())
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    arrays = Arrays(machine, a=table, b=np.zeros(8, np.float32), r=of(0, 1, 2), s=of(5, 6, 7))

    def call(r: Any, s: Any) -> None:
        machine.fill(arrays.there["r"], r)
        machine.fill(arrays.there["s"], s)
        inferred(*arrays.there.values(), 3, net)
        machine.device.synchronize_all()

    good = of(0, 1, 2), of(5, 6, 7)
    for _ in range(graphs.WARM + 1):
        call(*good)
    assert machine.replays == 1
    for r, s, reason in (of(0, 1, 10), good[1], "10 elements"), (good[0], of(5, 5, 6), "repeat"):
        before = machine.replays
        machine.fill(arrays.there["b"], np.zeros(8, np.float32))
        call(r, s)
        assert machine.replays == before + 1
        assert reason in message(lambda: call(*good))
        np.testing.assert_array_equal(arrays["b"], np.zeros(8))
        call(*good)
        assert machine.replays == before + 2
        np.testing.assert_array_equal(arrays["b"], [0, 0, 0, 0, 0, 1, 5, 9])


def test_graphs_are_not_replayed_where_each_check_is_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, table = machine.network(Sum()), np.zeros((10, 2), np.float32)
    arrays = Arrays(machine, a=table, b=np.zeros(8, np.float32), r=of(0, 1, 2), s=of(5, 6, 7))
    for _ in range(graphs.WARM + 1):
        inferred(*arrays.there.values(), 3, net)
    monkeypatch.setenv("HPACML_CHECK", "sync")
    machine.fill(arrays.there["s"], of(5, 6, -7))
    assert "the index s[2] is -7, outside" in message(lambda: inferred(*arrays.there.values(), 3, net))
    assert machine.replays == 1


@hpacml.kernel
def squares(a: Vector, r: Indices, b: Squared):
    M = b.shape[0]
    hpacml.approx("tensor functor(one: [i] = ([i]))")
    with hpacml.approx("ml(collect) in(one(a[r[0:M-1]])) out(one(b[0:M])) database('squares.h5')"):
        for i in hpacml.prange(M):
            b[i] = b[i] * b[i]


def test_calls_with_bad_indices_are_not_collected(machine: Machine, tmp_path: Path) -> None:
    good, bad = (Arrays(machine, a=values(10), r=r, b=values(3)) for r in (of(1, 2), of(1, 10)))
    for arrays in good, bad:
        squares(arrays.there["a"], arrays.there["r"], arrays.there["b"])
    assert "in the map 'one(a[r[0 : M - 1]])' of 'squares': the index 10" in message(hpacml.flush)
    squares(good.there["a"], good.there["r"], good.there["b"])
    hpacml.flush()
    with hpacml.open_database(tmp_path / "squares.h5") as database:
        assert len(database["squares"]) == 2
