"""Collected data read again: runs, NumPy views, Torch datasets, shards, files of HPAC-ML."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import hpacml
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import runs, tensors, writer
from hpacml.runtime.databases.writer import Schema
from hpacml.version import version

h5py = pytest.importorskip("h5py")
torch = pytest.importorskip("torch")

MAPS = (
    "to: f: [0:3, i, j] = ([i - 1, j], [i, j:j + 2]) | f(t[1:N, 0:M])",
    "from: g: [i, j] = ([i, j]) | g(u[0:N, 0:M])",
)
SCHEMA = Schema(MAPS, ("f32",), ("f64",))
CALLS, SWEEP = 7, (4, 5)
X = np.random.default_rng(0).random((CALLS, 3, *SWEEP), np.float32)
Y = np.random.default_rng(1).random((CALLS, *SWEEP))
POINTS_X, POINTS_Y = np.moveaxis(X, 1, -1).reshape(-1, 3), Y.reshape(-1)


def collect(path: Path, x: Any = X, y: Any = Y, schema: Schema = SCHEMA, label: str = "heat") -> Path:
    for k in range(len(x)):
        writer.append(str(path), label, schema, [x[k], y[k]], k)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return collect(tmp_path / "d.h5")


@pytest.fixture(params=[1, 3])
def region(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """The same calls in one file, and in three."""
    cuts = [0, CALLS] if request.param == 1 else [0, 2, 3, CALLS]
    for k, (a, b) in enumerate(pairwise(cuts)):
        collect(tmp_path / f"rank-{k}.h5", X[a:b], Y[a:b])
    with hpacml.open_database(tmp_path / "rank-*.h5") as opened:
        yield opened["heat"]


# -- runs --------------------------------------------------------------------------------------------------


def test_a_run_is_recorded_once(path: Path):
    hpacml.flush()
    collect(path)
    with hpacml.open_database(path) as opened:
        (run,) = opened["heat"].runs
    assert (run.first_call, run.process, run.hpacml, run.torch) == (0, os.getpid(), version(), torch.__version__)
    assert run.python == ".".join(map(str, sys.version_info[:3]))
    assert run.start.endswith("+00:00")
    assert run.host
    assert run.user
    assert run.command == shlex.join(sys.orig_argv)


def test_calls_are_traced_to_their_runs(path: Path):
    hpacml.flush()
    code = f"""
import sys
import numpy as np
from hpacml.runtime.databases import writer
schema = writer.Schema({MAPS}, ("f32",), ("f64",))
for k in range(2):
    writer.append({str(path)!r}, "heat", schema, [np.zeros((3, 4, 5), np.float32), np.zeros((4, 5))], k)
assert "torch" not in sys.modules
"""
    command = [sys.executable, "-c", code, "an argument"]
    subprocess.run(command, env={**os.environ, "SLURM_PROCID": "3", "PMI_RANK": "5"}, check=True)
    collect(path, X[:1], Y[:1])
    with hpacml.open_database(path) as opened:
        region = opened["heat"]
        assert [run.first_call for run in region.runs] == [0, CALLS, CALLS + 2]
        found = [region.run_of(call) for call in (0, CALLS - 1, CALLS, CALLS + 1, -1)]
    assert [region.runs.index(run) for run in found] == [0, 0, 1, 1, 2]
    assert region.runs[1].rank == 5
    assert "'an argument'" in region.runs[1].command
    with h5py.File(path) as file:
        assert [json.loads(run)["rank"] for run in file["heat/runs"]] == [None, 5, None]


def test_many_runs_fit(path: Path):
    hpacml.flush()
    with h5py.File(path, "a") as file:
        (run,) = runs.read_runs(file["heat"])
        del file["heat/runs"]
        runs.write_runs(file["heat"], [run.after(call) for call in range(2000)])
    with hpacml.open_database(path) as opened:
        assert len(opened["heat"].runs) == 2000


def test_many_runs_take_little(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each adds a record, and does not write those before anew."""
    hpacml.flush()
    sizes = []
    for process in range(30):
        run = dataclasses.replace(runs.this_run(), process=process)
        with monkeypatch.context() as patch:
            patch.setattr(runs, "this_run", lambda run=run: run)
            collect(path, X[:1], Y[:1])
            hpacml.flush()
        sizes.append(path.stat().st_size)
    assert np.diff(sizes[10:]).max() <= 3 * 4096
    assert sizes[-1] - sizes[10] <= 19 * 5000
    with hpacml.open_database(path) as opened:
        assert [run.process for run in opened["heat"].runs[1:]] == [*range(30)]
        assert [run.first_call for run in opened["heat"].runs] == [0, *range(CALLS, CALLS + 30)]


def test_a_refused_call_is_no_run(path: Path):
    hpacml.flush()
    with h5py.File(path, "a") as file:
        del file["heat/runs"]
    with pytest.raises(DatabaseError, match="per call, but this call gives"):
        collect(path, X[:1, :2], Y[:1])
    with hpacml.open_database(path) as opened:
        assert opened["heat"].runs == ()


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert runs._user() == str(os.getuid())


# -- NumPy -------------------------------------------------------------------------------------------------


KEYS: list[Any] = [
    3,
    -1,
    np.int64(2),
    slice(2, 5),
    slice(None, None, -2),
    slice(5, 2),
    [3, 1, 1],
    [],
    np.arange(CALLS) % 2 == 0,
    (slice(1, 4), slice(None), 2),
    (2, Ellipsis, 1),
    (Ellipsis, 0),
    ([6, 0], slice(0, 2)),
    (),
    Ellipsis,
    None,
    np.zeros((2, 2), int),
    [[0, 1], [6, 2]],
    np.array(4),
    True,
    (False, 2),
    (slice(7, -7), np.int8(0), True),
    (slice(None), False),
    (2, np.True_),
    (..., np.array(True), 1),
    ([0, 2], True, [1, 0]),
    ([0, 2], slice(None), [0, 2]),
    ([0, 2], [1, 0], [0, 3]),
    ([-1, 2], 1),
    (0, slice(None), [1, 3]),
    (0, slice(None), None, [1, 3]),
    (slice(None), [0, 2]),
    (slice(None, None, 2), [[0], [2]], [1, 3]),
    (slice(1, 3), np.array([True, False, True])),
    (slice(None), 1, X[0, 0] > 0.5),
    X > 0.5,
    (X[:, :, 0, 0] > 0.5, 1),
    (X[:, 0, 0, 0] > 0.5, Ellipsis, 2),
    (None, slice(0, 2), Ellipsis, None),
    (None, 3, None),
    (Ellipsis, None, [0, 1]),
    (Ellipsis, [0, 1], slice(None)),
    (2, Ellipsis),
    (1, 2, 3, 4, Ellipsis),
    (1, 2, 3, 4),
    (slice(None), slice(None, None, -1), 0),
    (3, slice(2, None, -2), slice(4, 0, -3)),
    (slice(6, 0, -3), slice(None), slice(None, None, -1)),
    (slice(0, 3), slice(5, 2), 1),
    (slice(2, 4), slice(0, 9), -1),
    np.arange(6, -1, -2, dtype=np.uint8),
    np.zeros(0, bool)[:0].astype(int),
    np.zeros(0, bool),
    np.zeros((CALLS, 0), bool),
    (slice(0, 0), 1),
    np.int8(-3),
    torch.tensor([5, 0]),
]


def test_views_index_like_numpy(region: Any):
    for key in KEYS:
        given, expected = region.inputs[0][key], X[key]
        assert (type(given), given.dtype, given.shape) == (type(expected), expected.dtype, expected.shape), key
        np.testing.assert_array_equal(given, expected, str(key))


def test_views_are_like_arrays(region: Any):
    x, (first, *rest) = region.inputs[0], iter(region.inputs[0])
    assert (x.ndim, x.size, x.nbytes, len(x)) == (X.ndim, X.size, X.nbytes, len(X))
    np.testing.assert_array_equal([first, *rest], X)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x, copy=True).flags.writeable
    with pytest.raises(ValueError, match="'input' is read from a file, which makes an array"):
        np.array(x, copy=False)
    np.testing.assert_array_equal(np.mean(x, axis=0), X.mean(0))
    points = region.points(x)
    assert (points.shape, points.ndim, points.size) == (POINTS_X.shape, 2, POINTS_X.size)
    for key in (5, slice(3, 60, 7), [[100, 0], [3, 3]], (slice(None), [0, 2]), (..., None), POINTS_X[:, 0] > 0.5):
        np.testing.assert_array_equal(points[key], POINTS_X[key])
    np.testing.assert_array_equal(points.counts, [20] * CALLS)


def test_what_a_region_has(region: Any):
    (x,), (y,) = region.inputs, region.outputs
    assert (region.label, region.calls, len(region), region.maps) == ("heat", CALLS, CALLS, MAPS)
    assert (region.schema, region.writer) == (SCHEMA, f"hpacml {version()}")
    assert (x.shape, x.dtype, len(x)) == (X.shape, np.float32, CALLS)
    assert (y.shape, y.dtype) == (Y.shape, np.float64)
    np.testing.assert_array_equal(np.asarray(y), Y)
    np.testing.assert_array_equal(x.numpy(), X)
    assert region.runtime.shape == (CALLS,)
    np.testing.assert_array_equal(np.concatenate([x[block] for block in x.blocks]), X)
    assert (
        repr(region) == f"<region heat: 7 calls of [<input: float32{list(X.shape)}>] -> [<output: float64[7, 4, 5]>]>"
    )


WRONG: list[Any] = [
    CALLS,
    -CALLS - 1,
    [0, CALLS],
    (0, 3),
    (slice(None), 0, 0, -6),
    (0, 0, 0, 0, 0),
    (..., ...),
    1.5,
    "input",
    [0.5],
    np.ones(CALLS + 1, bool),
    np.ones((CALLS, 2), bool),
    (0, [3]),
    ([0, 1], [0, 1, 2]),
]


def test_wrong_indices(region: Any):
    for key in WRONG:
        with pytest.raises(IndexError):
            X[key]
        with pytest.raises(IndexError):
            region.inputs[0][key]


def test_several_tensors_in_order(tmp_path: Path):
    schema = Schema(("m",) * 13, ("i32",) * 12, ())
    writer.append(str(tmp_path / "d.h5"), "r", schema, [np.full(2, k, np.int32) for k in range(12)], 1)
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        assert [tensor[0, 0] for tensor in opened["r"].inputs] == list(range(12))
        x, y = opened["r"].dataset()[0]
        assert [part[0].item() for part in x] == list(range(12))
        assert y == ()


# -- Torch -------------------------------------------------------------------------------------------------


def test_calls_are_items(region: Any):
    data = region.dataset()
    assert isinstance(data, torch.utils.data.Dataset)
    assert len(data) == CALLS
    for k in (0, 4, -1):
        np.testing.assert_array_equal(data[k][0], X[k])
        np.testing.assert_array_equal(data[k][1], Y[k])
    np.testing.assert_array_equal(data[1:6:2][0], X[1:6:2])
    for several in ([3, 1, 1], [], np.array([-1, 0]), torch.tensor([2, 5]), X[:, 0, 0, 0] > 0.5):
        np.testing.assert_array_equal(data[several][0], X[several])
        np.testing.assert_array_equal(data[several][1], Y[several])
    for outside in (CALLS, [0, CALLS], [True]):
        with pytest.raises(IndexError):
            data[outside]
    for wrong in (True, "input", 1.5, None, (1, 2), [[0, 1]], [0.5], ...):
        with pytest.raises(DatabaseError, match="is no index of a dataset, whose items are pairs"):
            data[cast(Any, wrong)]


@pytest.mark.parametrize("beside", [0, 1 << 14], ids=["one by one", "in passing"])
def test_points_are_items(region: Any, beside: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensors, "BYTES_OF_A_ROW", beside)
    data = region.dataset(rows="points")
    assert len(data) == len(POINTS_X)
    for k in (0, 33, -1):
        np.testing.assert_array_equal(data[k][0], POINTS_X[k])
        assert data[k][1] == POINTS_Y[k]
    for rows in (slice(None), slice(17, 91), slice(90, 10, -7), slice(3, 3)):
        np.testing.assert_array_equal(data[rows][0], POINTS_X[rows])
        np.testing.assert_array_equal(data[rows][1], POINTS_Y[rows])
    for batch in ([2, 139], [60, 61, 59, 60], []):
        items = data.__getitems__(batch)
        assert [y.item() for _, y in items] == POINTS_Y[np.array(batch, int)].tolist()
        for (x, _), k in zip(items, batch, strict=True):
            np.testing.assert_array_equal(x, POINTS_X[k])


def test_dtypes(region: Any):
    assert [part.dtype for part in region.dataset()[0]] == [torch.float32, torch.float64]
    assert [part.dtype for part in region.dataset(dtype=torch.bfloat16)[:2]] == [torch.bfloat16] * 2


@pytest.mark.parametrize("rows", ["calls", "points"])
def test_a_split_has_each_row_once(region: Any, rows: Any):
    parts = [region.dataset(rows, split=split, fraction=0.7) for split in ("train", "test")]
    count = {"calls": CALLS, "points": len(POINTS_X)}[rows]
    assert [len(part) for part in parts] == [round(0.7 * count), count - round(0.7 * count)]
    values = torch.cat([part[:][1].reshape(len(part), -1)[:, 0] for part in parts])
    expected = Y[:, 0, 0] if rows == "calls" else POINTS_Y
    np.testing.assert_array_equal(values.sort()[0], np.sort(expected))
    assert torch.equal(region.dataset(rows, split="train", fraction=0.7)[3][0], parts[0][3][0])
    for wrong in ({"split": "all"}, {"split": "test", "fraction": 2}):
        with pytest.raises(DatabaseError, match="use 'train' or 'test', and 0 to 1"):
            region.dataset(**wrong)
    with pytest.raises(DatabaseError, match="rows='rows' is neither 'calls' nor 'points'"):
        region.dataset("rows")


def test_a_copy_opens_files_of_its_own(region: Any):
    copy = pickle.loads(pickle.dumps(region.dataset("points", split="test")))
    np.testing.assert_array_equal(copy[3][0], region.dataset("points", split="test")[3][0])
    del copy
    gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(path: Path, method: str):
    with hpacml.open_database(path) as opened:
        data = opened["heat"].dataset("points")
        assert data[0][1] == POINTS_Y[0]
        loader = torch.utils.data.DataLoader(
            data, batch_size=32, shuffle=True, num_workers=2, multiprocessing_context=method, persistent_workers=True
        )
        for _ in range(1 + (method == "fork")):
            y = torch.cat([y for _, y in loader])
            np.testing.assert_array_equal(y.sort()[0], np.sort(POINTS_Y))
        assert data[5][1] == POINTS_Y[5]


def test_maps_tell_the_points_with_parameters_too(tmp_path: Path):
    schema = Schema(
        ("to: f: [i, 0:m] = ([i * m:i * m + m]) | f(x[0:N])", "from: g: [k, i] = ([i]) | g(y[0:N])"), *(("f64",),) * 2
    )
    x, y = np.random.rand(2, 6, 3), np.random.rand(2, 1, 6)
    collect(tmp_path / "d.h5", x, y, schema)
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        shown = opened["heat"].dataset("points")[:]
    np.testing.assert_array_equal(shown[0], x.reshape(12, 3))
    np.testing.assert_array_equal(shown[1], y.reshape(12, 1))


def test_points_that_differ(tmp_path: Path):
    schema = Schema((MAPS[1].replace("from", "to"), MAPS[1]), ("f64",), ("f64",))
    collect(tmp_path / "d.h5", Y, Y[:, :, :2], schema)
    with hpacml.open_database(tmp_path / "d.h5") as opened, pytest.raises(DatabaseError) as error:
        opened["heat"].dataset("points")
    assert "differ in their points (input: [4, 5], output: [4, 2]): use rows='calls'" in str(error.value)


def test_a_compressed_file(tmp_path: Path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("r/input", data=X, chunks=(2, 3, 4, 5), compression="gzip")
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        np.testing.assert_array_equal(opened["r"].inputs[0][[5, 0]], X[[5, 0]])


# -- files -------------------------------------------------------------------------------------------------


def test_a_database_is_closed_once(path: Path):
    with hpacml.open_database(path) as opened:
        assert list(opened) == ["heat"]
        assert "heat" in opened
        assert repr(opened).startswith(f"<database {path}: <region heat: 7 calls of")
    with pytest.raises(DatabaseError, match=f"the database '{path}' is closed: read it before, or open it again"):
        opened["heat"].inputs[0][0]
    opened.close()
    collect(path)


def test_no_such_region(path: Path):
    with hpacml.open_database(path) as opened, pytest.raises(DatabaseError, match="no region 'cold': it has 'heat'"):
        opened["cold"]


def test_files_that_are_not_there(tmp_path: Path):
    for given, message in {
        tmp_path / "none.h5": f"the database '{tmp_path}/none.h5' does not exist",
        tmp_path / "none-*.h5": f"no file matches '{tmp_path}/none-\\*.h5': name a database",
        (): "the list of files of a database is empty",
    }.items():
        with pytest.raises(DatabaseError, match=message):
            hpacml.open_database(given)


def test_shards_of_other_maps_dtypes_and_shapes(path: Path, tmp_path: Path):
    other = tmp_path / "e.h5"
    for schema, x, what in (
        (Schema((MAPS[0], "from: h"), ("f32",), ("f64",)), X, "maps"),
        (Schema(MAPS, ("f64",), ("f64",)), X.astype(float), "dtypes"),
        (SCHEMA, X[:, :2], "tensors"),
    ):
        collect(other, x, Y, schema)
        with pytest.raises(DatabaseError) as error:
            hpacml.open_database([path, other])
        assert str(error.value).startswith(f"the region 'heat' has other {what} in '{other}' than in '{path}':\n    ")
        assert str(error.value).endswith("Open the files one by one")
        other.unlink()


def test_shards_with_other_regions(path: Path, tmp_path: Path):
    collect(tmp_path / "e.h5", label="cold")
    with hpacml.open_database([path, tmp_path / "e.h5", path]) as opened:
        assert {label: region.calls for label, region in opened.items()} == {"heat": 2 * CALLS, "cold": CALLS}
        assert [run.first_call for run in opened["heat"].runs] == [0, CALLS]


def test_only_complete_calls_are_read(path: Path):
    hpacml.flush()
    with h5py.File(path, "a") as file:
        file["heat/output"].resize(CALLS - 2, 0)
    with hpacml.open_database(path) as opened:
        assert [tensor.shape[0] for tensor in opened["heat"].tensors] == [CALLS - 2] * 3


@pytest.fixture
def hpacml_peer(tmp_path: Path) -> Callable[..., Path]:
    """`hpacml_peer(leading)` is a file as HPAC-ML writes it."""

    def write(leading: bool) -> Path:
        path = tmp_path / f"test-{leading}.h5"
        with h5py.File(path, "w") as file:
            for name, data in {
                "input": X,
                "output": Y[..., None],
                "runtime": np.arange(CALLS, dtype=np.float32),
            }.items():
                shown = data[None] if leading and name != "runtime" else data
                dataset = file.create_dataset(f"heat/{name}", data=shown, maxshape=(None, *shown.shape[1:]))
                dataset.attrs["type"] = 2
        return path

    return write


@pytest.mark.parametrize("leading", [False, True])
def test_files_of_hpac_ml(hpacml_peer: Callable[..., Path], leading: bool):
    path = hpacml_peer(leading)
    with hpacml.open_database(path) as opened:
        region = opened["heat"]
        assert (region.writer, region.maps, region.calls, region.runs) == ("HPAC-ML", None, CALLS, ())
        np.testing.assert_array_equal(region.inputs[0].numpy(), X)
        np.testing.assert_array_equal(region.inputs[0][[4, 0]], X[[4, 0]])
        np.testing.assert_array_equal(region.outputs[0][2, 1], Y[2, 1, :, None])
    with pytest.raises(DatabaseError, match="does not say of which maps its data are"):
        collect(path)


def test_points_without_maps(tmp_path: Path):
    x = np.moveaxis(X, 1, -1)
    for name, y in {"a.h5": Y[..., None], "b.h5": Y, "c.h5": x}.items():
        with h5py.File(tmp_path / name, "w") as file:
            file["heat/input"], file["heat/output"] = x, y
        with hpacml.open_database(tmp_path / name) as opened:
            shown = opened["heat"].dataset("points")[:]
        np.testing.assert_array_equal(shown[0], POINTS_X)
        assert len(shown[1]) == len(POINTS_X)


@pytest.mark.parametrize("odd", ["runtime of text", "maps that are a number", "no shape", "runs of others", "group"])
def test_a_file_of_somebody_else(tmp_path: Path, odd: str):
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        if odd == "runtime of text":
            file["g/runtime"] = np.array([b"a"])
        elif odd == "no shape":
            file["g/input"] = h5py.Empty("f4")
        elif odd == "group":
            file.create_group("g/input")
        elif odd == "runs of others":
            file["g/input"] = np.zeros(3)
            file["g"].attrs["runs"] = [1, 2]
        else:
            file["g/input"] = np.zeros(3)
            for name in ("maps", "input_dtypes", "output_dtypes"):
                file["g"].attrs[name] = 3
    with pytest.raises(DatabaseError, match=r"cannot read '.*' as a database of regions.*hpacml did not write it so"):
        hpacml.open_database(path)


ODD: dict[str, tuple[Callable[[Any], object], str]] = {
    "input": (lambda group: group.create_group("input"), "'heat/input' is no dataset, but a group"),
    "output": (
        lambda group: group.__setitem__("output", np.dtype("f4")),
        "'heat/output' is no dataset, but a datatype",
    ),
    "runtime": (lambda group: group.create_group("runtime"), "'heat/runtime' is no dataset, but a group"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_in_the_place_of_a_dataset_is_refused(name: str, path: Path):
    hpacml.flush()
    edit, message = ODD[name]
    with h5py.File(path, "a") as file:
        del file[f"heat/{name}"]
        edit(file["heat"])
    with pytest.raises(DatabaseError, match=message):
        hpacml.open_database(path)
    with pytest.raises(DatabaseError, match=message):
        collect(path)


def test_datasets_are_those_that_the_attributes_tell(path: Path):
    hpacml.flush()
    with h5py.File(path, "a") as file:
        file["heat/input_1"] = file["heat/input"][()]
    for message in ("input_1' .* is not among the tensors that its attributes tell", "input' .* is missing"):
        with hpacml.open_database(path) as opened:
            for use in (lambda opened=opened: opened["heat"].inputs, opened["heat"].dataset):
                with pytest.raises(DatabaseError, match=f"the dataset 'heat/{message}: see `hpacml db check`"):
                    use()
        with h5py.File(path, "a") as file:
            for name in ("input", "input_1"):
                file["heat"].pop(name, None)
