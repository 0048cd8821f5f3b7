"""The clause `units`: recorded, shown, kept, and not mixed with others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml import approx
from tests.command import run_hpacml

Vector = Float64[np.ndarray, "N"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def collect(clause: str, database: str = "d.h5") -> None:
    @hpacml.region(f"""tensor functor(one: [i, 0:1] = ([i]))
                       ml(collect) in(one(t[0:2])) out(one(v[0:2])) database("{database}") label("r") {clause}""")
    def double(t, v):
        v[:] = 2 * t

    double(np.ones(2), np.zeros(2))
    hpacml.flush()


def units(database: str | list[str] = "d.h5") -> dict[str, str]:
    with hpacml.open_database(database) as opened:
        return opened["r"].units


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(*arguments)` gives the exit status, the output and the errors of `hpacml db`."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_hpacml(monkeypatch, capsys, "db", *arguments)

    return run


def test_they_are_recorded() -> None:
    collect("units(v: 'm/s', t: \"°C\")")
    assert units() == {"t": "°C", "v": "m/s"}
    with h5py.File("d.h5") as file:
        assert json.loads(file["r"].attrs["units"]) == {"t": "°C", "v": "m/s"}
    collect("units(t: '°C', v: 'm/s')")
    with hpacml.open_database("d.h5") as opened:
        assert len(opened["r"]) == 2


def test_a_kernel_records_them() -> None:
    @hpacml.kernel
    def kernel(t: Vector, idx: Vector, größe: Vector):
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        approx("tensor map(to: one(t[0:2]))")
        with approx("ml(collect) in(t) out(one(größe[0:2])) database('d.h5') label('r') units(größe: 'm', t: 'K')"):
            größe[0] = t[0]

    kernel(np.ones(2), np.ones(2), np.zeros(2))
    assert units() == {"größe": "m", "t": "K"}


@pytest.mark.parametrize("name", ["idx", "tt"])
def test_a_kernel_refuses_names_of_no_map(name: str) -> None:
    @hpacml.kernel
    def kernel(t: Vector, idx: Vector):
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        with approx(TEXT):
            t[0] = idx[0]

    globals()["TEXT"] = f"ml(collect) inout(one(t[0:2])) units({name}: 'K')"
    with pytest.raises(hpacml.DirectiveError, match=rf"'{name}' is no array of the region's maps.*'?t'?") as caught:
        kernel.ir()
    assert caught.value.text[caught.value.start : caught.value.end] == name


def test_index_arrays_are_arrays_of_maps() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(t[idx[0:2]])) out(one(v[0:2])) units(idx: "cell", t: "K")""")
    def region(t, idx, v): ...

    text = str(region.ir(np.ones(4), np.array([0, 1]), np.zeros(2)))
    assert 'units <idx: "cell", t: "K">' in text


def test_without_them_there_is_no_attribute() -> None:
    collect("")
    assert units() == {}
    with h5py.File("d.h5") as file:
        assert "units" not in file["r"].attrs
    collect("")


OTHER = [
    ("units(t: 'K')", "units(t: '°C')", 'in the units t: "K"', 'in the units t: "°C"'),
    ("units(t: 'K')", "units(t: 'K', v: 'm')", 'in the units t: "K"', 'in the units t: "K", v: "m"'),
    ("units(t: 'K')", "", 'in the units t: "K"', "without units"),
    ("", "units(t: 'K')", "without units", 'in the units t: "K"'),
]


@pytest.mark.parametrize(("there", "here", "holds", "gives"), OTHER)
def test_others_are_refused(there: str, here: str, holds: str, gives: str, run: Run) -> None:
    collect(there)
    with pytest.raises(hpacml.DatabaseError) as caught:
        collect(here)
    assert str(caught.value).endswith(
        f"the group 'r' holds data {holds}, but the region gives data {gives}: make the clause units say the same, "
        "or use another label or another file"
    )
    hpacml.flush()
    collect(here, "e.h5")
    with pytest.raises(hpacml.DatabaseError, match="the region 'r' has other units in") as caught:
        units(["d.h5", "e.h5"])
    assert holds in str(caught.value)
    assert gives in str(caught.value)
    status, _, err = run("merge", "all.h5", "d.h5", "e.h5")
    assert status == 1
    assert "has other units" in err
    assert not Path("all.h5").exists()


@pytest.mark.parametrize("options", [[], ["--virtual"]])
def test_merge_keeps_them(options: list[str], run: Run) -> None:
    collect("units(t: 'K')")
    collect("units(t: 'K')", "e.h5")
    assert run("merge", "all.h5", "d.h5", "e.h5", *options)[0] == 0
    assert units("all.h5") == units(["d.h5", "e.h5"]) == {"t": "K"}


def test_info_shows_units_and_sampling(run: Run) -> None:
    collect("units(t: 'K', v: 'm/s') sample(every: 10, most: 3)")
    out = run("info", "d.h5")[1]
    assert 'in the units t: "K", v: "m/s", of the maps\n' in out
    assert "\n    sampled by every: 10, most: 3\n" in out
    collect("", "e.h5")
    out = run("info", "e.h5")[1]
    assert "in the units" not in out
    assert "sampled by" not in out


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_a_damaged_attribute(text: str, run: Run) -> None:
    collect("units(t: 'K')")
    with h5py.File("d.h5", "a") as file:
        file["r"].attrs["units"] = text
    with pytest.raises(hpacml.DatabaseError, match="as a database of regions"):
        units()
    with pytest.raises(hpacml.DatabaseError):
        collect("units(t: 'K')")
    assert run("check", "d.h5")[0] == 1


def test_every_mode_takes_them() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(infer) inout(one(t[0:2])) model(net) units(t: "K")""")
    def region(t, net: Any): ...

    t = np.ones(2)
    region(t, lambda x: 3 * x)
    assert list(t) == [3, 3]


class Quantity:
    """As OpenMM has it: an array, and a unit that converts."""

    def __init__(self, numbers: np.ndarray[Any, Any], unit: str):
        self.numbers, self.unit = numbers, unit
        self.__array_interface__ = numbers.__array_interface__


QUANTITIES: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "astropy": lambda x: pytest.importorskip("astropy.units").Quantity(x, "km"),
    "pint": lambda x: pytest.importorskip("pint").UnitRegistry().Quantity(x, "km"),
    "OpenMM": lambda x: Quantity(x, "km"),
}


@pytest.mark.parametrize("clause", ["", "units(t: 'm')"])
@pytest.mark.parametrize("kind", QUANTITIES)
def test_units_of_objects_are_not_lost(kind: str, clause: str) -> None:
    @hpacml.region(f"""tensor functor(one: [i, 0:1] = ([i]))
                       ml(collect) in(one(t[0:2])) out(one(v[0:2])) database("d.h5") {clause}""")
    def double(t, v):
        raise AssertionError

    one = hpacml.functor("one: [i, 0:1] = ([i])")
    quantity, numbers = QUANTITIES[kind](np.ones(2)), np.zeros(2)
    for name, call in (
        ("t", lambda: double(quantity, numbers)),
        ("v", lambda: double(numbers, quantity)),
        ("a", lambda: one.gather("a[0:2]", a=quantity)),
        ("a", lambda: one.scatter(np.ones((2, 1)), "a[0:2]", a=quantity)),
        ("t", lambda: halve(quantity)),
    ):
        message = (
            rf"argument '{name}' is a Quantity of the unit 'k(ilo)?m.*', .* and write that into units\({name}: 'm'\)"
        )
        with pytest.raises(hpacml.MapError, match=message):
            call()


def test_what_has_no_dimension_is_its_numbers() -> None:
    units = pytest.importorskip("astropy.units")
    ratio = np.ones(2) * units.m / units.m
    assert hpacml.functor("one: [i] = ([i])").gather("a[0:2]", a=ratio).tolist() == [1, 1]


@hpacml.kernel
def halve(t: Vector):
    for i in range(t.shape[0]):
        t[i] = t[i] / 2
