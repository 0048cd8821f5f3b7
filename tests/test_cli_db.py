"""The command `hpacml db`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.databases import writer
from hpacml.runtime.databases.writer import Schema
from tests.command import run_hpacml

h5py = pytest.importorskip("h5py")

MAPS = ("to: f: [i, 0:2] = ([i], [i + 1]) | f(x[0:N])", "from: g: [i] = ([i]) | g(y[0:N])")
SCHEMA = Schema(MAPS, ("f32",), ("f64",))
X = np.random.default_rng(0).random((5, 4, 2), np.float32)
Y = np.random.default_rng(1).random((5, 4))

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run(*arguments)` gives the exit status, the output and the errors of `hpacml db`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_hpacml(monkeypatch, capsys, "db", *arguments)

    return run


def collect(path: Path, x: Any = X, y: Any = Y, schema: Schema = SCHEMA, label: str = "heat") -> None:
    for k in range(len(x)):
        writer.append(str(path), label, schema, [x[k], y[k]], k)
    hpacml.flush()


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    collect(tmp_path / "0.h5", X[:2], Y[:2])
    collect(tmp_path / "1.h5", X[2:], Y[2:])
    return ["0.h5", "1.h5"]


def test_calls_that_differ_in_their_points(run: Run, tmp_path: Path):
    for k, rows in enumerate(([4, 4, 2], [0], [3, 3])):
        for n in rows:
            collect(tmp_path / f"{k}.h5", X[k : k + 1, :n], Y[k : k + 1, :n])
    files = [f"{k}.h5" for k in range(3)]
    assert run("check", *files)[0] == 0
    assert "input" in (out := run("info", "0.h5")[1])
    assert "3 x varies x 2" in out
    assert run("merge", "all.h5", *files)[1] == "all.h5: heat, calls: 6\n"
    status, out, _ = run("check", "all.h5")
    assert (status, "no problems" in out) == (0, True)
    assert "heat" in run("ls", "all.h5")[1]
    assert run("plot", "all.h5", "heat", "--out", "all.png")[1] == "all.png: 3 of 3 features\n"
    assert run("export", "all.h5", "heat", "all.npz")[0] == 0
    found = np.load("all.npz")
    expected = [X[0], X[0], X[0, :2], X[1, :0], X[2, :3], X[2, :3]]
    np.testing.assert_array_equal(found["input"], np.concatenate(expected))
    assert found["input_offsets"].tolist() == [0, 4, 8, 10, 10, 13, 16]
    assert run("merge", "--virtual", "none.h5", *files)[0] == 1
    with h5py.File("all.h5", "a") as file:
        file["heat/varying/output"][12] = np.nan
    assert "first in call 4: leave such calls" in run("check", "all.h5")[2]


@pytest.fixture
def peer(tmp_path: Path) -> str:
    """A file as HPAC-ML writes it."""
    with h5py.File(tmp_path / "peer.h5", "w") as file:
        for name, data in {"input": X[None], "output": Y[None], "runtime": np.ones(5, np.float32)}.items():
            file.create_dataset(f"heat/{name}", data=data).attrs["type"] = 2
    return "peer.h5"


def rows(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]


def values(path: Path) -> tuple[Any, Any]:
    with hpacml.open_database(path) as opened:
        return opened["heat"].inputs[0][:], opened["heat"].outputs[0][:]


# -- ls, info ----------------------------------------------------------------------------------------------


def test_ls_of_several_files(run: Run, shards: list[str]):
    status, out, _ = run("ls", *shards)
    assert status == 0
    assert "regions in 0.h5: 1\n" in out
    assert rows(out) == [["heat", "2", "1", "1", "0.5 ms"], ["heat", "3", "1", "1", "1 ms"]]


def test_info_shows_the_runs(run: Run, shards: list[str]):
    status, out, _ = run("info", "0.h5")
    assert status == 0
    assert "\nruns:\n  calls 0 to 1: " in out
    assert f", Python {'.'.join(map(str, sys.version_info[:3]))}\n    " in out


def test_info_of_a_file_of_hpac_ml(run: Run, peer: str):
    status, out, _ = run("info", peer)
    assert status == 0
    assert "heat, calls: 5" in out
    assert ["input", "5 x 4 x 2", "float32"] in rows(out)
    assert "written by HPAC-ML: it does not tell its maps" in out


# -- check -------------------------------------------------------------------------------------------------


def test_check_of_whole_files(run: Run, shards: list[str], peer: str):
    status, out, err = run("check", *shards, peer)
    assert (status, err) == (0, "")
    assert out.count("no problems") == 3
    assert rows(out)[0] == ["heat", "input", "2", "0", "0", ""]


def damage(file: Any, name: str) -> None:
    group = file["heat"]
    if name == "counts":
        group["output"].resize(1, 0)
    elif name == "hash":
        group.attrs["maps_sha256"] = "0" * 64
    elif name == "missing":
        del group["output"]
    elif name == "stray":
        group["input_7"] = np.zeros(2)
    elif name == "dtype":
        del group["output"]
        group["output"] = Y[:2].astype(np.int32)
    elif name == "shape":
        group.attrs["input_shapes"] = ["[4, 3]"]
    elif name == "runs":
        group["runs"][0] = group["runs"].asstr()[0].replace('"first_call": 0', '"first_call": 9')
    else:
        group["output"][1, 2] = np.nan
        group["output"][1, 3] = -np.inf


DAMAGE = {
    "counts": "the numbers of calls differ (input: 2, output: 1, runtime: 2), perhaps",
    "hash": f"the attribute maps_sha256 is {'0' * 64}, but the maps have {SCHEMA.sha256}",
    "missing": "the dataset 'output' is missing: use a copy",
    "stray": "the dataset 'input_7' belongs to no map: remove it",
    "dtype": "'output' holds int32, but its attribute says float64",
    "shape": "'input' holds [4, 2] per call, but its attribute says [4, 3]",
    "runs": "a run is said to begin after the last call (2)",
    "numbers": "'output' has elements that are no finite numbers (1 NaN, 1 infinite), first in call 1: leave such calls",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_check_finds(run: Run, shards: list[str], tmp_path: Path, name: str):
    with h5py.File(tmp_path / "0.h5", "a") as file:
        damage(file, name)
    status, out, err = run("check", *shards)
    assert status == 1
    assert err.startswith(f"error: 0.h5: heat: {DAMAGE[name]}")
    assert err.endswith("\nproblems: 1\n")
    assert "0.h5: problems: 1" in out
    assert "1.h5: no problems" in out


def test_check_allows_nan(run: Run, shards: list[str], tmp_path: Path):
    with h5py.File(tmp_path / "0.h5", "a") as file:
        damage(file, "numbers")
    status, out, _ = run("check", "--allow-nan", "0.h5")
    assert status == 0
    assert ["heat", "output", "2", "1", "1", "1"] in rows(out)


def test_check_goes_on_after_a_file_that_does_not_open(run: Run, shards: list[str], tmp_path: Path):
    (tmp_path / "0.h5").write_bytes((tmp_path / "0.h5").read_bytes()[:3000])
    status, out, err = run("check", *shards, "none.h5")
    assert status == 1
    assert f"error: 0.h5: cannot open the database '{tmp_path}/0.h5'" in err
    assert "error: none.h5: the database" in err
    assert err.endswith("problems: 2\n")
    assert "1.h5: no problems" in out


def test_check_finds_chunks_that_cannot_be_read(run: Run, tmp_path: Path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        data = file.create_dataset("r/input", data=np.arange(1000.0), chunks=(100,), compression="gzip")
        where = data.id.get_chunk_info(3)
    with open(tmp_path / "d.h5", "r+b") as file:
        file.seek(where.byte_offset)
        file.write(b"\xff" * where.size)
    status, _, err = run("check", "d.h5")
    assert status == 1
    assert f"error: d.h5: r: cannot read 'r/input' of the database '{tmp_path}/d.h5': " in err


# -- merge -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--virtual"]])
def test_merge(run: Run, shards: list[str], tmp_path: Path, options: list[str]):
    collect(tmp_path / "1.h5", label="other")
    assert run("merge", "all.h5", *shards, *options) == (0, "all.h5: heat, calls: 5, other, calls: 5\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5", "all.h5"]
    np.testing.assert_array_equal(values(tmp_path / "all.h5")[0], X)
    np.testing.assert_array_equal(values(tmp_path / "all.h5")[1], Y)
    with hpacml.open_database("all.h5") as opened:
        assert opened["heat"].schema == SCHEMA
        assert [run.first_call for run in opened["heat"].runs] == [0, 2]
        np.testing.assert_array_equal(opened["heat"].runtime[:], [0, 1, 0, 1, 2])
        np.testing.assert_array_equal(opened["heat"].dataset("points")[5][0], X[1, 1])
    assert run("check", "all.h5")[0] == 0


def test_a_merged_copy_goes_on(run: Run, shards: list[str], tmp_path: Path):
    run("merge", "all.h5", *shards)
    collect(tmp_path / "all.h5")
    assert len(values(tmp_path / "all.h5")[0]) == 10


def test_a_virtual_database(run: Run, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "out").mkdir()
    run("merge", "--virtual", "out/all.h5", *shards)
    assert (tmp_path / "out/all.h5").stat().st_size < 30_000
    with pytest.raises(hpacml.DatabaseError, match="cannot grow, as those of `hpacml db merge --virtual`"):
        collect(tmp_path / "out/all.h5")
    hpacml.flush()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("0.h5", "1.h5", "out"):
        os.rename(tmp_path / name, moved / name)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(values(moved / "out/all.h5")[0], X)
    os.remove(moved / "1.h5")
    with pytest.raises(hpacml.DatabaseError, match=r"its source '\.\./1\.h5' is missing: put it back"):
        hpacml.open_database(moved / "out/all.h5")


@pytest.mark.parametrize("options", [[], ["--virtual"]])
def test_merge_of_files_of_hpac_ml(run: Run, peer: str, tmp_path: Path, options: list[str]):
    assert run("merge", "all.h5", peer, peer, *options)[0] == 0
    np.testing.assert_array_equal(values(tmp_path / "all.h5")[0], np.concatenate([X, X]))


def test_merge_mends_calls_that_are_not_complete(run: Run, shards: list[str], tmp_path: Path):
    with h5py.File(tmp_path / "1.h5", "a") as file:
        file["heat/output"].resize(2, 0)
    assert run("merge", "new.h5", "1.h5")[1] == "new.h5: heat, calls: 2\n"
    assert run("check", "new.h5")[0] == 0


def test_merge_refuses_other_maps(run: Run, shards: list[str], tmp_path: Path):
    collect(tmp_path / "e.h5", schema=Schema(("to: f", "from: g"), ("f32",), ("f64",)))
    status, out, err = run("merge", "all.h5", *shards, "e.h5")
    assert (status, out) == (1, "")
    assert f"the region 'heat' has other maps in '{tmp_path}/e.h5' than in '{tmp_path}/0.h5'" in err
    assert MAPS[0] in err
    assert not (tmp_path / "all.h5").exists()


def test_merge_refuses_a_region_without_its_outputs(run: Run, shards: list[str], tmp_path: Path):
    with h5py.File(tmp_path / "0.h5", "a") as file:
        del file["heat/output"]
    assert f"'heat' in '{tmp_path}/0.h5' lacks its dataset 'output'" in run("merge", "all.h5", "0.h5")[2]
    assert not list(tmp_path.glob("*all*"))


def test_merge_of_tensors_without_elements(run: Run, tmp_path: Path):
    collect(tmp_path / "0.h5", np.zeros((2, 0), np.float32), np.zeros((2, 3)))
    for options in ([], ["--virtual"]):
        assert run("merge", f"all{len(options)}.h5", "0.h5", "0.h5", *options)[0] == 0
        assert values(tmp_path / f"all{len(options)}.h5")[0].shape == (4, 0)


@pytest.mark.parametrize("command", ["merge", "export", "plot"])
def test_nothing_is_replaced(run: Run, shards: list[str], tmp_path: Path, command: str):
    out = {"merge": "out.h5", "export": "out.npz", "plot": "out.png"}[command]
    arguments = {"merge": [out, *shards], "export": ["0.h5", "heat", out], "plot": ["0.h5", "heat", "--out", out]}
    (tmp_path / out).write_text("precious")
    status, _, err = run(command, *arguments[command])
    assert status == 1
    assert err == f"error: '{out}' is there already and is not replaced: remove it, or name another file\n"
    assert (tmp_path / out).read_text() == "precious"
    nowhere = [argument.replace("out.", "none/out.") for argument in arguments[command]]
    assert "the directory 'none' does not exist; make it" in run(command, *nowhere)[2]
    assert not list(tmp_path.glob(".*"))


# -- export, plot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["npz", "pt"])
def test_export(run: Run, shards: list[str], suffix: str, monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("hpacml.runtime.databases.tensors.BLOCK_BYTES", 64)
    assert run("export", "[01].h5", "heat", f"out.{suffix}") == (0, f"out.{suffix}: heat\n", "")
    found = dict(np.load("out.npz")) if suffix == "npz" else torch.load("out.pt", weights_only=True)
    assert list(found) == ["input", "output", "runtime", "maps"]
    np.testing.assert_array_equal(found["input"], X)
    np.testing.assert_array_equal(found["output"], Y)
    np.testing.assert_array_equal(found["runtime"], [0, 1, 0, 1, 2])
    assert list(found["maps"]) == list(MAPS)
    assert sorted(os.listdir()) == ["0.h5", "1.h5", f"out.{suffix}"]


def test_export_of_nothing(run: Run, tmp_path: Path):
    collect(tmp_path / "d.h5", np.zeros((2, 0), np.float32), np.zeros((2, 3)))
    for suffix in ("npz", "pt"):
        assert run("export", "d.h5", "heat", f"out.{suffix}")[0] == 0
    assert np.load("out.npz")["input"].shape == (2, 0)


def test_export_refuses(run: Run, shards: list[str]):
    assert "neither .npz (NumPy) nor .pt (Torch)" in run("export", "0.h5", "heat", "out.csv")[2]
    assert "has no region 'cold': it has 'heat'" in run("export", "0.h5", "cold", "out.npz")[2]


def test_plot(run: Run, shards: list[str], tmp_path: Path):
    pytest.importorskip("matplotlib")
    assert run("plot", "0.h5", "heat", "--out", "a.png") == (0, "a.png: 3 of 3 features\n", "")
    assert run("plot", "*.h5", "heat", "--out", "b.png", "--features", "2")[1] == "b.png: 2 of 3 features\n"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_histograms_count_the_finite_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hpacml.tools import plot

    monkeypatch.setattr("hpacml.runtime.databases.tensors.BLOCK_BYTES", 64)
    x = X.copy()
    x[1, 2, 1] = np.nan
    x[:, :, 0] = np.inf
    collect(tmp_path / "d.h5", x)
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        drawn, total = plot._histograms(opened["heat"], 9)
    assert total == 3
    assert [(name, counts.sum()) for name, counts, _ in drawn] == [("input[0]", 0), ("input[1]", 19), ("output", 20)]
    counts, edges = np.histogram(Y, plot.BINS)
    np.testing.assert_array_equal(drawn[2][1], counts)
    np.testing.assert_allclose(drawn[2][2], edges)


def test_plot_without_matplotlib(run: Run, shards: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = run("plot", "0.h5", "heat", "--out", "a.png")
    assert status == 1
    assert err.endswith("pip install 'hpacml[examples]'\n")


def test_commands_without_need_load_no_torch(shards: list[str], tmp_path: Path):
    code = "import sys; from hpacml.tools.db import databases; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
