"""Models that know the maps they were trained for."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml.directives import meaning
from hpacml.directives.map_texts import Maps
from hpacml.runtime.map_digest import meaning_sha256, texts_sha256
from hpacml.runtime.models import formats, model, saving, trust
from hpacml.tools import cli

FILES = {"export": "m.pt2", "torchscript": "m.pt", "state_dict": "m.safetensors", "aotinductor": "a.pt2"}
OTHER = ["to: g: [i, 0:1] = ([i]) | g(u[0:n])", "from: g: [i, 0:1] = ([i]) | g(w[0:m])"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def make(clauses: str = "", on_error: Any = None) -> Callable[..., Any]:
    @hpacml.region(
        f"""tensor functor(one: [i, 0:1] = ([i]))
            ml(predicated: use) in(one(a[0:3])) out(one(b[0:3])) model(net) database("d.h5") label("r") {clauses}""",
        on_error=on_error,
    )
    def double(a, b, use, net):
        b[:] = 2 * a

    def run(net: Any, use: bool = True) -> list[float]:
        b = np.zeros(3)
        double(np.arange(3.0), b, use, net)
        return b.tolist()

    return run


@pytest.fixture
def maps() -> tuple[str, ...]:
    """Those of the region, as its database tells them."""
    make()(None, use=False)
    with hpacml.open_database("d.h5") as database:
        told = database["r"].maps
    assert told is not None
    return told


def save(path: str, maps: Any = None, **options: Any) -> Path:
    """A network that gives the negative of its input."""
    net = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.constant_(net.weight, -1.0)
    return hpacml.save_model(net, path, example=np.ones((3, 1)), maps=maps, **options)


@pytest.mark.parametrize("format", [*list(FILES)[:3], pytest.param("aotinductor", marks=pytest.mark.slow)])
def test_every_format_keeps_them(format: Any, maps: tuple[str, ...]) -> None:
    path = save(FILES[format], maps, format=format, metadata={"maps": "of the user"})
    network = model.load(str(path)).network
    assert network.maps == maps
    assert network.maps_sha256 == meaning_sha256(maps)
    assert network.metadata == {"maps": "of the user"}
    assert make()(str(path)) == [0, -1, -2]
    assert make("batch(2)")(str(path)) == [0, -1, -2]
    save(FILES[format], OTHER, format=format)
    with pytest.raises(hpacml.ModelError, match="it was trained for the maps"):
        make()(str(path))


def test_other_maps_are_an_error_that_shows_both(maps: tuple[str, ...], tmp_path: Path) -> None:
    save("m.pt2", OTHER)
    run = make()
    for _ in range(2):
        with pytest.raises(hpacml.ModelError) as caught:
            run("m.pt2")
    assert str(caught.value) == (
        f"the model '{tmp_path}/m.pt2' does not fit the region 'r': it was trained for the maps\n"
        f"    {OTHER[0]}\n    {OTHER[1]}\nand the region has\n    {maps[0]}\n    {maps[1]}\n"
        "They differ in more than names: train it on data of this region, or give the region those maps; if both mean the "
        "same to it, save it with maps=... of this region"
    )


@pytest.mark.parametrize("old", [False, True])
def test_names_do_not_matter(old: bool, maps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if old:  # files from before have the digest of the texts
        monkeypatch.setattr(saving, "meaning_sha256", texts_sha256)
    save("m.pt2", maps)

    def region(slice: str, outputs: str = "v") -> Callable[..., Any]:
        @hpacml.region(
            f"""tensor functor(g: [k, 0:1] = ([{slice}])) tensor functor(h: [cell, 0:1] = ([cell]))
                ml(infer) in(g(u[0:3])) out(h({outputs}[0:3])) model("m.pt2")"""
        )
        def negative(u, v):
            raise AssertionError("the body ran")

        return negative

    u, v = np.arange(3.0), np.zeros(3)
    region("k")(u, v)
    assert v.tolist() == [0, -1, -2]
    for other in (region("2 - k"), region("k", "u")):
        with pytest.raises(hpacml.ModelError, match="They differ in more than names"):
            other(u, v)


def test_arrays_that_were_exchanged_do(tmp_path: Path) -> None:
    def region(*arrays: str) -> Callable[..., Any]:
        @hpacml.region(
            f"""tensor functor(f: [i, 0:2] = ([i], [i])) tensor functor(g: [i, 0:1] = ([i]))
                ml(predicated: use) in(f({arrays[0]}[0:3], {arrays[1]}[0:3])) out(g(c[0:3])) model("m.pt2")
                database("d.h5")"""
        )
        def difference(a, b, c, use):
            c[:] = a - b

        return difference

    a, b, c = np.arange(3.0), np.ones(3), np.zeros(3)
    region("a", "b")(a, b, c, False)
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        maps = database["difference"].maps
    hpacml.save_model(torch.nn.Linear(2, 1).double(), "m.pt2", example=np.ones((3, 2)), maps=maps)
    region("a", "b")(a, b, c, True)
    with pytest.raises(hpacml.ModelError, match=r"'b' stands where 'a' did: train it on data of this region"):
        region("b", "a")(a, b, c, True)


def test_the_order_of_maps_matters(maps: tuple[str, ...]) -> None:
    save("m.pt2", maps[::-1])
    with pytest.raises(hpacml.ModelError, match="does not fit"):
        make()("m.pt2")


def test_without_maps_it_goes_into_any_region(maps: tuple[str, ...]) -> None:
    path = save("m.pt2")
    assert model.load(str(path)).network.maps == ()
    assert model.load(str(path)).network.maps_sha256 is None
    assert make()("m.pt2") == [0, -1, -2]
    assert make()(lambda x: -x) == [0, -1, -2]


def test_the_policies_apply(maps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    save("m.pt2", OTHER)
    before = hpacml.fallbacks().get("r", 0)
    assert make(on_error="accurate")("m.pt2") == [0, 2, 4]
    assert make("batch(1)", on_error="accurate")("m.pt2") == [0, 2, 4]
    monkeypatch.setenv("HPACML_ON_ERROR", "accurate")
    assert make()("m.pt2") == [0, 2, 4]
    assert hpacml.fallbacks()["r"] == before + 3


def test_it_is_checked_once(maps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []

    def counted(recorded: Any, given: Any) -> str | None:
        compared.append(given)
        return difference(recorded, given)

    difference = meaning.difference
    monkeypatch.setattr(meaning, "difference", counted)
    save("m.pt2", maps)
    run, other = make(), make("batch(1)")
    for _ in range(3):
        run("m.pt2")
    assert len(compared) == 1
    other("m.pt2")
    assert len(compared) == 2
    save("m.pt2", OTHER)  # which replaces what is loaded
    with pytest.raises(hpacml.ModelError, match="does not fit"):
        run("m.pt2")


def test_a_reloaded_file_is_checked_again(maps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    path, others, same = save("m.pt2", maps), save("other.pt2", OTHER), save("same.pt2", maps)
    run = make()
    assert run("m.pt2") == [0, -1, -2]
    os.replace(others, path)
    with pytest.raises(hpacml.ModelError, match="it was trained for the maps"):
        run("m.pt2")
    os.replace(same, path)
    assert run("m.pt2") == [0, -1, -2]


WRONG = ["to: f", b"to: f", 3, [], [1], {"to": "f"}]


@pytest.mark.parametrize("given", WRONG, ids=repr)
def test_maps_are_texts(given: Any) -> None:
    expected = f"maps are a list of texts, hpacml.open_database(FILE)[LABEL].maps, and this is {given!r}"
    with pytest.raises(hpacml.ModelError, match=f"^{re.escape(expected)}$"):
        save("m.pt2", given)
    assert not Path("m.pt2").exists()


@pytest.mark.parametrize("file", ["m.pt2", "m.safetensors"])
def test_info_shows_them(
    file: str, maps: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def info() -> str:
        monkeypatch.setattr(sys, "argv", ["hpacml", "model", "info", file])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        assert not exit.value.code
        return capsys.readouterr().out

    save(file, maps)
    out = info()
    assert f"trained for the maps\n  {maps[0]}\n  {maps[1]}\n" in out
    assert meaning_sha256(maps) in out
    save(file)
    assert "trained for" not in info()


def test_they_come_with_the_content_alone(maps: tuple[str, ...]) -> None:
    content = trust.read(save("m.safetensors", maps))
    assert formats.recognise(content).read(content, "cpu").maps == maps


def typed(label: str) -> Callable[..., list[Any]]:
    """A region of the same maps whose arrays have the elements that a call gives them."""

    @hpacml.region(
        f"""tensor functor(one: [i, 0:1] = ([i]))
            ml(predicated: use) in(one(a[0:3])) out(one(b[0:3])) model(net) database("{label}.h5") label("r")"""
    )
    def double(a, b, use, net):
        b[:] = 2 * a

    def run(a: str, b: str, net: Any = None) -> list[Any]:
        outputs = np.zeros(3, b)
        double(np.arange(3).astype(a), outputs, net is not None, net)
        return outputs.tolist()

    return run


def model_of(a: str, b: str) -> str:
    """A model of data with elements of these types, that gives 3 for everything."""
    label = f"{a}-{b}"
    typed(label)(a, b)
    hpacml.flush()
    with hpacml.open_database(f"{label}.h5") as database:
        maps = database["r"].maps
    net = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(net.weight), torch.nn.init.constant_(net.bias, 3.0)
    return str(hpacml.save_model(net, f"{label}.safetensors", example=torch.zeros(3, 1), maps=maps))


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (("float32", "float64"), ("float64", "float32")),
        (("int32", "uint8"), ("int16", "uint8")),  # integers that it has learned from have these among them
        (("float64", "int16"), ("float64", "int64")),  # which holds what it gives
        (("bool", "float64"), ("bool", "float64")),
    ],
)
def test_elements_of_the_same_kind_fit(trained: tuple[str, str], given: tuple[str, str]) -> None:
    assert typed("r")(*given, net=model_of(*trained)) == [3, 3, 3]


@pytest.mark.parametrize(
    ("trained", "given", "array", "told"),
    [
        (
            ("uint8", "float64"),
            ("float64", "float64"),
            "a",
            "uint8 where the region has float64, unsigned integers, not",
        ),
        (("float64", "float64"), ("float64", "int32"), "b", "float64 where the region has int32, floats, not signed"),
        (("bool", "float64"), ("uint8", "float64"), "a", "bool where the region has uint8, truth values, not unsigned"),
        (
            ("int16", "float64"),
            ("int32", "float64"),
            "a",
            "int16 where the region has int32, integers of another width",
        ),
        (
            ("float64", "int32"),
            ("float64", "int16"),
            "b",
            "int32 where the region has int16, integers of another width",
        ),
    ],
)
def test_elements_of_another_kind_are_refused(
    trained: tuple[str, str], given: tuple[str, str], array: str, told: str
) -> None:
    path = model_of(*trained)
    with pytest.raises(hpacml.ModelError, match=told) as caught:
        typed("r")(*given, net=path)
    assert f"in '{array}' of the map" in str(caught.value)
    assert "save it with maps=... of this region" in str(caught.value)
    typed("r")(*given)
    hpacml.flush()
    with hpacml.open_database("r.h5") as database:
        save(path, database["r"].maps)
    assert typed("r")(*given, net=path)[0] == 0


def test_files_that_do_not_tell_elements_fit_all() -> None:
    typed("d")("uint8", "float64")
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        save("m.pt2", list(database["r"].maps))
    assert typed("r")("float64", "float64", net="m.pt2") == [0, -1, -2]


def test_digests_know_kinds_of_elements() -> None:
    one, wide, other = (Maps(OTHER, dtypes) for dtypes in (("u8", "f64"), ("u16", "f32"), ("i8", "f64")))
    assert meaning_sha256(one) == meaning_sha256(wide)
    assert len({meaning_sha256(each) for each in (one, other, OTHER)}) == 3
    assert pickle.loads(pickle.dumps(one)).dtypes == one.dtypes


def test_a_truth_has_elements_of_its_own() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i])) ml(predicated: use) in(one(a[0:3])) out(one(b[0:3]))
        truth(one(label[0:3])) model(net) database("d.h5") label("r")""")
    def likely(a, b, label, use, net): ...

    arrays = np.arange(3.0), np.zeros(3), np.ones(3, np.int64)
    likely(*arrays, False, None)
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        path = str(save("m.pt2", database["r"].maps))
    likely(*arrays, True, path)
    assert arrays[1].tolist() == [0, -1, -2]


def test_a_number_has_the_type_of_the_call() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i])) tensor functor(two: [i, 0:2] = ([i], [i]))
        ml(predicated: use) in(two(a[0:3], dt), one(dt)) out(one(b[0:3])) model(net) database("d.h5") label("r")""")
    def step(a, b, dt, use, net): ...

    class Both(torch.nn.Module):
        def forward(self, x: torch.Tensor, dt: torch.Tensor) -> torch.Tensor:
            return x[:, :1] + dt

    a, b = np.arange(3.0), np.zeros(3)
    step(a, b, 1, False, None)
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        maps = database["r"].maps
    assert maps is not None
    hpacml.save_model(Both().double(), "m.pt", example=(np.ones((3, 2)), np.ones((1, 1))), maps=maps)
    step(a, b, 0.5, True, "m.pt")
    assert b.tolist() == [0.5, 1.5, 2.5]
