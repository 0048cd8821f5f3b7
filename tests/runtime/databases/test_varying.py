"""Calls of one region with other numbers of points: adaptive meshes, particles, the last batch."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import blocks, groups, writer
from hpacml.runtime.databases.writer import Schema
from hpacml.tools.check import check_region
from hpacml.tools.export import export
from hpacml.tools.merge import merge
from hpacml.tools.plot import plot
from tests.faults import fail_at

h5py = pytest.importorskip("h5py")
torch = pytest.importorskip("torch")

MAPS = (
    "to: f: [0:3, i, j] = ([i - 1, j], [i, j:j + 2]) | f(t[1:N, 0:M])",
    "to: g: [p, 0:2] = ([p], [p]) | g(x[0:P])",
    "from: h: [i, j] = ([i, j]) | h(u[0:N, 0:M])",
)

SCHEMA = Schema(MAPS, ("f32", "f64"), ("f64",))
SIZES = ((4, 5, 3), (4, 5, 3), (2, 7, 3), (4, 5, 0), (0, 5, 4), (1, 1, 9), (1, 1, 9), (30, 50, 2), (4, 5, 3))


def tensors(call: int, n: int, m: int, p: int) -> list[np.ndarray]:
    """Of a call: all numbers are different ones."""
    start = 10_000.0 * call
    return [
        (start + np.arange(3 * n * m).reshape(3, n, m)).astype(np.float32),
        start + np.arange(2.0 * p).reshape(p, 2),
        start + np.arange(1.0 * n * m).reshape(n, m),
    ]


CALLS = [tensors(call, *sizes) for call, sizes in enumerate(SIZES)]


def collect(path: Path, calls: Any = CALLS, schema: Schema = SCHEMA, label: str = "r", start: int = 0) -> Path:
    for k, call in enumerate(calls, start):
        writer.append(str(path), label, schema, call, k)
    return path


def require_calls(path: Any, calls: Any = CALLS, label: str = "r") -> None:
    """What is read are these calls, and `hpacml db check` has no complaint."""
    with hpacml.open_database(path) as database:
        region = database[label]
        assert region.calls == len(calls)
        for k, expected in enumerate(calls):
            for tensor, array in zip((*region.inputs, *region.outputs), expected, strict=True):
                np.testing.assert_array_equal(tensor[k], array)
                assert tensor[k].dtype == array.dtype
        if len(region.shards) == 1:
            assert check_region(database, region, False)[0] == []


def call_of(group: Any, name: str, k: int) -> np.ndarray:
    """A call, by h5py alone, as docs/databases.md tells."""
    fixed = group[name]
    if k < len(fixed):
        return fixed[k]
    k -= len(fixed)
    points, shape = group["varying"][name], group["varying"][f"{name}_shapes"][k]
    first, last = group["varying"][f"{name}_offsets"][k : k + 2]
    dims = points.attrs["dims"]
    return points[first:last].reshape(shape[dims]).transpose(np.argsort(dims))


# -- what is in the file -----------------------------------------------------------------------------------


def test_the_layout(tmp_path: Path):
    collect(tmp_path / "d.h5")
    hpacml.flush()
    with h5py.File(tmp_path / "d.h5") as file:
        group = file["r"]
        assert sorted(group) == ["input", "input_1", "output", "runs", "runtime", "varying"]
        assert [group[name].shape for name in ("input", "input_1", "output")] == [(2, 3, 4, 5), (2, 3, 2), (2, 4, 5)]
        np.testing.assert_array_equal(group["runtime"], range(len(CALLS)))
        varying = group["varying"]
        assert [varying[name].shape for name in ("input", "input_1", "output")] == [(1556, 3), (30, 2), (1556,)]
        assert varying["input"].dtype == np.float32
        assert varying["input"].attrs["dims"].tolist() == [1, 2, 0]
        assert varying["input_offsets"][:].tolist() == [0, 14, 34, 34, 35, 36, 1536, 1556]
        assert varying["input_shapes"][:3].tolist() == [[3, 2, 7], [3, 4, 5], [3, 0, 5]]
        for k, expected in enumerate(CALLS):
            for name, array in zip(("input", "input_1", "output"), expected, strict=True):
                np.testing.assert_array_equal(call_of(group, name, k), array)
    require_calls(tmp_path / "d.h5")


def test_calls_that_agree_are_stored_as_ever(tmp_path: Path):
    collect(tmp_path / "d.h5", CALLS[:2])
    hpacml.flush()
    with h5py.File(tmp_path / "d.h5") as file:
        assert "varying" not in file["r"]


@pytest.mark.parametrize("first", [3, 4])
def test_a_first_call_without_points(tmp_path: Path, first: int):
    calls = CALLS[first:]
    collect(tmp_path / "d.h5", calls)
    require_calls(tmp_path / "d.h5", calls)
    with hpacml.open_database(tmp_path / "d.h5") as database:
        assert database["r"].inputs[0].shape == (len(calls), 3, None, None)


def test_other_processes_go_on(tmp_path: Path):
    for k, call in enumerate(CALLS):
        collect(tmp_path / "d.h5", [call], start=k)
        hpacml.flush()
        require_calls(tmp_path / "d.h5", CALLS[: k + 1])


def test_small_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Blocks of one call each."""
    monkeypatch.setenv("HPACML_DB_BUFFER", "1")
    collect(tmp_path / "d.h5")
    require_calls(tmp_path / "d.h5")


def test_many_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_BUFFER", "300K")
    monkeypatch.setattr(blocks, "FIRST_BYTES", 4096)
    schema = Schema(("to: f: [i] = ([i]) | f(x[0:N])",), ("f64",), ())
    sizes = np.random.default_rng(0).integers(0, 60, 3000)
    calls = [[k + np.arange(size) / 64] for k, size in enumerate(sizes)]
    collect(tmp_path / "d.h5", calls, schema)
    with hpacml.open_database(tmp_path / "d.h5") as database:
        region = database["r"]
        points = region.points(region.inputs[0])
        np.testing.assert_array_equal(points, np.concatenate([x for (x,) in calls]))
        np.testing.assert_array_equal(points.counts, sizes)
        np.testing.assert_array_equal(region.runtime, np.arange(3000))


@pytest.mark.parametrize("compress", ["gzip", "lzf", "zstd"])
def test_groups_keep_their_ways(compress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if compress == "zstd":
        pytest.importorskip("hdf5plugin")
    monkeypatch.setenv("HPACML_DB_COMPRESS", compress)
    monkeypatch.setenv("HPACML_DB_DTYPE", "float32")
    collect(tmp_path / "d.h5", CALLS[:2])
    hpacml.flush()
    monkeypatch.delenv("HPACML_DB_COMPRESS")
    monkeypatch.delenv("HPACML_DB_DTYPE")
    collect(tmp_path / "d.h5", CALLS[2:])
    hpacml.flush()
    with h5py.File(tmp_path / "d.h5") as file:
        filters = [file[f"r/{name}"]._filters for name in ("output", "varying/output")]
        assert list(filters[0]) == list(filters[1]) != []
        assert file["r/varying/output"].dtype == np.float32
        np.testing.assert_array_equal(call_of(file["r"], "output", 7), CALLS[7][2].astype(np.float32))


def test_features_must_agree(tmp_path: Path):
    collect(tmp_path / "d.h5", CALLS[:3])
    for wrong in (
        [CALLS[0][0][:2], *CALLS[0][1:]],
        [CALLS[0][0], CALLS[0][1][:, :1], CALLS[0][2]],
    ):
        with pytest.raises(DatabaseError, match="may differ in the points of their sweeps, and in nothing else"):
            collect(tmp_path / "d.h5", [wrong])
        hpacml.flush()
    require_calls(tmp_path / "d.h5", CALLS[:3])


def test_threads(tmp_path: Path):
    schema = Schema(("to: f: [i] = ([i]) | f(x[0:N])",), ("f64",), ())

    def work(thread: int) -> None:
        for k in range(200):
            collect(tmp_path / "d.h5", [[np.full(1 + (thread > 1 and k > 20) * (k % 5), 1000.0 * thread + k)]], schema)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with hpacml.open_database(tmp_path / "d.h5") as database:
        x = database["r"].inputs[0]
        calls = [x[k] for k in range(len(x))]
    assert all((call == call[0]).all() for call in calls)
    firsts = np.array([call[0] for call in calls])
    for thread in range(4):
        np.testing.assert_array_equal(firsts[firsts // 1000 == thread], 1000.0 * thread + np.arange(200))
        sizes = [len(call) for call, first in zip(calls, firsts, strict=True) if first // 1000 == thread]
        assert sizes == [1 + (thread > 1 and k > 20) * (k % 5) for k in range(200)]


def test_an_interrupted_copy_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    collect(tmp_path / "d.h5", CALLS[:3])
    copy = blocks.VaryingBlock.copy

    def interrupted(self: blocks.VaryingBlock, *arguments: Any) -> None:
        copy(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(blocks.VaryingBlock, "copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect(tmp_path / "d.h5", CALLS[7:8])
    collect(tmp_path / "d.h5", CALLS[3:], start=3)
    require_calls(tmp_path / "d.h5")


# -- reading ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["one file", "shards"])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The calls in one file; or in files of which two have calls that agree, of other sizes each."""
    cuts = [0, len(CALLS)] if request.param == "one file" else [0, 2, 5, 7, len(CALLS)]
    for first, last in pairwise(cuts):
        collect(tmp_path / f"d.rank{first}.h5", CALLS[first:last])
    with hpacml.open_database(tmp_path / "d.rank*.h5") as database:
        yield database["r"]


def test_tensors(region: Any):
    x, p, y = (*region.inputs, *region.outputs)
    assert (x.shape, p.shape, y.shape) == ((9, 3, None, None), (9, None, 2), (9, None, None))
    assert repr(x) == "<input: float32[9, 3, *, *]>"
    assert (len(x), x.ndim, x.size) == (9, 4, sum(call[0].size for call in CALLS))
    assert x.shapes.tolist() == [list(call[0].shape) for call in CALLS]
    for one, (expected, *_) in zip(x, CALLS, strict=True):
        np.testing.assert_array_equal(one, expected)
    np.testing.assert_array_equal(x[-1, :, 2, ::-1], CALLS[-1][0][:, 2, ::-1])
    np.testing.assert_array_equal(x[7, [0, 2], 3], CALLS[7][0][[0, 2], 3])
    np.testing.assert_array_equal(x[:2], np.stack([call[0] for call in CALLS[:2]]))
    np.testing.assert_array_equal(x[[8, 3, 0, 8], 1], np.stack([CALLS[k][0][1] for k in (8, 3, 0, 8)]))
    np.testing.assert_array_equal(p[5:7, 0], [CALLS[5][1][0], CALLS[6][1][0]])
    assert x[3:3].shape == (0, 3, 0, 0)
    for wrong in (lambda: x[:3], lambda: x[[0, 2]], lambda: x.numpy(), lambda: np.asarray(x), lambda: x[:, 0]):
        with pytest.raises(
            DatabaseError, match=r"calls of 'input' differ in their points \(one has \[3, 4, 5\], anoth"
        ):
            wrong()
    with pytest.raises(IndexError):
        x[9]


def test_points(region: Any):
    x, p = region.inputs
    points = region.all_points(x)
    expected = np.concatenate([np.moveaxis(call[0], 0, -1).reshape(-1, 3) for call in CALLS])
    assert points.shape == expected.shape
    assert points.offsets.tolist() == [0, 20, 40, 54, 74, 74, 75, 76, 1576, 1596]
    for key in (slice(None), 0, -1, slice(15, 60, 3), [1595, 0, 700, 76, 75], (slice(70, 80), 1), expected[:, 0] < 9e3):
        np.testing.assert_array_equal(points[key], expected[key])
    np.testing.assert_array_equal(points.take([1595, 3]), expected[[1595, 3]])
    np.testing.assert_array_equal(region.all_points(p), np.concatenate([call[1] for call in CALLS]))


def test_calls_are_items(region: Any):
    data = region.dataset()
    for k in (0, 2, 4, -1):
        (x, p), y = data[k]
        for given, expected in zip((x, p, y), CALLS[k], strict=True):
            np.testing.assert_array_equal(given, expected)
    assert data[5:7][1].shape == (2, 1, 1)
    with pytest.raises(DatabaseError, match="calls of 'input' differ"):
        data[:]
    items = list(torch.utils.data.DataLoader(data, batch_size=None, num_workers=0))
    np.testing.assert_array_equal(items[7][1], CALLS[7][2])
    items = list(torch.utils.data.DataLoader(data, batch_size=3, collate_fn=list))
    np.testing.assert_array_equal(items[2][1][1], CALLS[7][2])


def test_tensors_without_common_points(region: Any):
    with pytest.raises(DatabaseError, match=r"'input' differ in more than their number of points: its features"):
        region.dataset("points")


SIDES = Schema(
    ("to: f: [i, 0:2] = ([i - 1], [i + 1]) | f(t[1:n-1])", "from: g: [0:1, k] = ([k]) | g(u[1:n-1])"),
    ("f64",),
    ("f32",),
)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    sizes = [5, 5, 0, 9, 3000, 5, 1]
    x = [100.0 * k + np.arange(2 * size).reshape(size, 2) for k, size in enumerate(sizes)]
    y = [np.array(each[:, :1].T - 1, np.float32) for each in x]
    collect(tmp_path / "d.h5", zip(x, y, strict=True), SIDES)
    return hpacml.open_database(tmp_path / "d.h5")["r"], np.concatenate(x), np.concatenate(y, 1).T


@pytest.mark.parametrize("beside", [0, 1 << 14], ids=["one by one", "in passing"])
def test_points_are_items(sides: Any, beside: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpacml.runtime.databases.tensors.BYTES_OF_A_ROW", beside)
    region, x, y = sides
    data = pickle.loads(pickle.dumps(region.dataset("points")))  # as workers get it
    assert len(data) == len(x)
    for rows in (slice(None), slice(3, 40), slice(2000, 10, -13)):
        np.testing.assert_array_equal(data[rows][0], x[rows])
        np.testing.assert_array_equal(data[rows][1], y[rows])
    batches = list(torch.utils.data.DataLoader(data, batch_size=100, shuffle=True))
    assert all(len(given) == len(wanted) for given, wanted in batches)
    given = np.concatenate([batch[0] for batch in batches])
    np.testing.assert_array_equal(np.sort(given[:, 0]), np.sort(x[:, 0]))
    np.testing.assert_array_equal(given[:, :1].astype(np.float32) - 1, np.concatenate([batch[1] for batch in batches]))
    train, test = (region.dataset("points", split=split, dtype=torch.float64) for split in ("train", "test"))
    assert (len(train), len(train) + len(test)) == (round(0.8 * len(x)), len(x))
    np.testing.assert_array_equal(train[:][0][:, :1] - 1, train[:][1])


def test_counts_that_differ_in_one_call(tmp_path: Path):
    calls = [[np.zeros((n, 2)), np.zeros((1, m), np.float32)] for n, m in ((3, 3), (4, 4), (5, 6))]
    collect(tmp_path / "d.h5", calls, SIDES)
    with hpacml.open_database(tmp_path / "d.h5") as database:
        with pytest.raises(DatabaseError, match=r"\(in call 2: input: 5, output: 6\): use rows='calls'"):
            database["r"].dataset("points")
        assert database["r"].dataset()[2][1].shape == (1, 6)


@pytest.mark.parametrize("wrong", ["offsets", "shapes", "points", "missing", "calls"])
def test_damaged_points(tmp_path: Path, wrong: str):
    path = collect(tmp_path / "d.h5")
    hpacml.flush()
    with h5py.File(path, "a") as file:
        group = file["r/varying"]
        if wrong == "offsets":
            group["output_offsets"][2] += 1
        elif wrong == "shapes":
            group["output_shapes"][2] = [3, -3]
        elif wrong == "points":
            group["output"].resize(1000, 0)
        elif wrong == "missing":
            del group["output_offsets"]
        else:
            file["r/input"].resize(1, 0)
    with pytest.raises(DatabaseError, match="as a database of regions"):
        hpacml.open_database(path)
    if wrong in ("points", "missing", "calls"):
        with pytest.raises(DatabaseError):
            collect(path, CALLS[:1])


# -- tools --------------------------------------------------------------------------------------------------


def test_merged(tmp_path: Path):
    cuts = [0, 2, 5, 7, len(CALLS)]
    parts = [collect(tmp_path / f"{a}.h5", CALLS[a:b]) for a, b in pairwise(cuts)]
    hpacml.flush()
    (region,) = merge(tmp_path / "all.h5", parts, False)
    assert region.calls == len(CALLS)
    require_calls(tmp_path / "all.h5")
    with h5py.File(tmp_path / "all.h5") as file:
        assert [len(file[f"r/{name}"]) for name in ("input", "output", "varying/input_shapes")] == [0, 0, len(CALLS)]
    collect(tmp_path / "all.h5", CALLS[2:3], start=len(CALLS))
    require_calls(tmp_path / "all.h5", [*CALLS, CALLS[2]])
    hpacml.flush()
    with pytest.raises(DatabaseError, match="merge without --virtual"):
        merge(tmp_path / "virtual.h5", parts, True)
    merge(tmp_path / "virtual.h5", [parts[0], parts[0]], True)
    require_calls(tmp_path / "virtual.h5", [*CALLS[:2], *CALLS[:2]])


def test_exported(tmp_path: Path):
    collect(tmp_path / "d.h5")
    with hpacml.open_database(tmp_path / "d.h5") as database:
        for name in ("d.npz", "d.pt"):
            export(database["r"], tmp_path / name)
        assert plot(database["r"], tmp_path / "d.png", 4) == 6
    for found in (np.load(tmp_path / "d.npz"), torch.load(tmp_path / "d.pt")):
        names = [f"{name}{what}" for name in ("input", "input_1", "output") for what in ("", "_offsets", "_shapes")]
        assert sorted(found) == sorted([*names, "maps", "runtime"])
        first, last = found["input_offsets"][7:9]
        shape = tuple(found["input_shapes"][7])
        np.testing.assert_array_equal(np.asarray(found["input"])[first:last].T.reshape(shape), CALLS[7][0])


# -- regions ------------------------------------------------------------------------------------------------


@hpacml.region("""tensor functor(wide: [i, 0:2] = ([i], [i]))
                  tensor functor(one: [i, 0:1] = ([i]))
                  ml(collect) in(wide(x[0:n])) out(one(y[0:n])) database(file) label("batches")""")
def batches(x: Any, y: Any, n: int, file: str) -> None:
    y[:n] = 2 * x[:n]


@hpacml.region("""tensor functor(frames: [i, j, k, 0:1] = ([i, j, k]))
                  tensor functor(place: [i, 0:2] = ([i], [i]))
                  ml(collect) in(frames(pixels[0:n, 0:h, 0:w])) out(place(xe[0:n], ye[0:n]))
                  database(file) label("filter")""")
def locate(pixels: Any, xe: Any, ye: Any, n: int, h: int, w: int, file: str) -> None:
    xe[:n], ye[:n] = pixels[:n, 0, 0], pixels[:n, -1, -1]


@hpacml.region("""tensor functor(rows: [i, k] = ([i, k]))
                  tensor functor(other: [k, i] = ([k, i]))
                  ml(collect) in(rows(x[0:n, 0:m])) out(other(y[0:m, 0:n])) database(file) label("transposed")""")
def transposed(x: Any, y: Any, n: int, m: int, file: str) -> None:
    y[:] = x.T


@pytest.fixture(params=["numpy", "torch"])
def arrays(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return np.array if request.param == "numpy" else torch.tensor


def test_the_last_batch(tmp_path: Path, arrays: Callable[[Any], Any]):
    path = str(tmp_path / "d.h5")
    for first, last in ((0, 64), (64, 128), (128, 145), (145, 145)):
        x = arrays(np.arange(float(first), float(last)))
        batches(x, arrays(np.zeros(last - first)), last - first, path)
    with hpacml.open_database(path) as database:
        x, y = database["batches"].dataset("points", dtype=torch.float32)[:]
    np.testing.assert_array_equal(x, np.arange(145.0)[:, None].repeat(2, 1))
    np.testing.assert_array_equal(y, 2 * np.arange(145.0)[:, None])


@pytest.mark.parametrize("frames", [(6, 6, 6), (6, 2, 0, 4)])
def test_leading_symbols_are_the_points(frames: tuple[int, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path, rng = str(tmp_path / "d.h5"), np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (n, 5, 4)).astype(np.uint8) for n in frames]
    for each in pixels:
        n = len(each)
        locate(each, np.zeros(n, np.float32), np.zeros(n, np.float32), n, 5, 4, path)
    with hpacml.open_database(path) as database:
        data = database["filter"].dataset("points", dtype=torch.float32)
        expected = np.concatenate(pixels)
        assert len(data) == len(expected)
        assert (data[3][0].shape, data[3][1].shape) == ((5, 4, 1), (2,))
        np.testing.assert_array_equal(data[:][0][..., 0], expected)
        np.testing.assert_array_equal(data[:][1], np.stack([expected[:, 0, 0], expected[:, -1, -1]], 1))
        items = data.__getitems__([len(expected) - 1, 0])
        np.testing.assert_array_equal(items[0][0][..., 0], expected[-1])
    assert not caplog.records


def test_frames_of_other_sizes_are_no_rows(tmp_path: Path):
    path = str(tmp_path / "d.h5")
    for h in (5, 6):
        locate(np.zeros((2, h, 4), np.uint8), np.zeros(2, np.float32), np.zeros(2, np.float32), 2, h, 4, path)
    with hpacml.open_database(path) as database:
        assert database["filter"].dataset()[1][0].shape == (2, 6, 4, 1)
        with pytest.raises(DatabaseError, match="the calls of 'input' differ in more than their number of points"):
            database["filter"].dataset("points")


def test_points_that_do_not_fit_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(groups, "_told", set())
    for name in ("a.h5", "b.h5"):
        for _ in range(2):
            transposed(np.ones((2, 3)), np.zeros((3, 2)), 2, 3, str(tmp_path / name))
        hpacml.flush()
    (record,) = caplog.records
    assert "the tensors of the region 'transposed' have no points in common" in record.getMessage()
    assert "input: [2, 3], output: [3, 2]" in record.getMessage()


# -- all or nothing -----------------------------------------------------------------------------------------


def error_of_flush() -> str | None:
    try:
        hpacml.flush()
    except DatabaseError as error:
        return str(error)
    return None


def test_a_full_disk_leaves_the_last_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whichever write it is that fails when calls begin to differ."""
    path, first = tmp_path / "d.h5", CALLS[:2]
    for count in range(0, 60, 3):
        path.unlink(missing_ok=True)
        collect(path, first)
        hpacml.flush()
        content = path.read_bytes()
        with monkeypatch.context() as patch:
            failed = fail_at(patch, count)
            collect(path, CALLS[2:], start=2)
            error = error_of_flush()
        if error is None:  # at most what HDF5 tidies up after the commit has failed
            require_calls(path)
            if not failed():
                break
            continue
        assert "7 calls collected before it are lost" in error
        assert path.read_bytes() == content
        collect(path, CALLS[7:], start=2)
        require_calls(path, [*first, *CALLS[7:]])
    else:
        pytest.fail("every write failed")
    assert count > 3
