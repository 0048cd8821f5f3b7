"""The database: its layout, what it appends to, and that it stays whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import files, hdf5, pool, settings, writer
from hpacml.runtime.databases.commits import transaction
from hpacml.runtime.databases.writer import Schema
from hpacml.tools.check import check_region
from hpacml.version import version
from tests.faults import fail_at

h5py = pytest.importorskip("h5py")

MAPS = ("to: f: [i] = ([i]) | f(x[0:N])", "from: f: [i] = ([i]) | f(y[0:N])")
SCHEMA = Schema(MAPS, ("f32",), ("f64",))
X, Y = np.arange(3, dtype=np.float32), np.arange(6.0).reshape(3, 2)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "d.h5")


def append(path: str, label: str = "heat", schema: Schema = SCHEMA, tensors: Any = (X, Y), ms: float = 1.0) -> None:
    writer.append(path, label, schema, tensors, ms)


def calls(path: str, label: str = "heat") -> dict[str, int]:
    """The number of entries of each dataset of calls, as another reader finds it."""
    with h5py.File(path) as file:
        return {name: len(item) for name, item in file[label].items() if name != "runs"}


# -- layout ------------------------------------------------------------------------------------------------


def test_the_layout(path: str):
    for step in range(3):
        append(path, tensors=(X + step, Y * step), ms=step / 2)
    hpacml.flush()
    with h5py.File(path) as file:
        assert list(file) == ["heat"]
        group = file["heat"]
        names = ["input", "output", "runtime"]
        assert sorted(group) == [*names[:2], "runs", "runtime"]
        assert [group[n].shape for n in names] == [(3, 3), (3, 3, 2), (3,)]
        assert [group[n].maxshape for n in names] == [(None, 3), (None, 3, 2), (None,)]
        assert [group[n].dtype for n in names] == [np.float32, np.float64, np.float32]
        np.testing.assert_array_equal(group["input"][()], [X, X + 1, X + 2])
        np.testing.assert_array_equal(group["output"][()], [0 * Y, Y, 2 * Y])
        np.testing.assert_array_equal(group["runtime"][()], np.array([0, 0.5, 1], np.float32))
        assert list(group.attrs["maps"]) == list(MAPS)
        assert group.attrs["maps_sha256"] == hashlib.sha256("\n".join(MAPS).encode()).hexdigest()
        assert list(group.attrs["input_dtypes"]) == ["f32"]
        assert list(group.attrs["output_dtypes"]) == ["f64"]
        assert list(group.attrs["input_shapes"]) == ["[3]"]
        assert list(group.attrs["output_shapes"]) == ["[3, 2]"]
        assert group.attrs["hpacml_version"] == version()


def test_several_tensors_and_regions(path: str):
    schema = Schema(MAPS, ("f32", "f64", "u8"), ("f64", "i32"))
    tensors = (X, Y, np.zeros((), np.uint8), Y, np.zeros((2, 0), np.int32))
    for _ in range(2):
        append(path, "many", schema, tensors)
        append(path)
    writer.flush()
    with h5py.File(path) as file:
        shapes = {name: item.shape for name, item in file["many"].items() if name != "runs"}
        assert sorted(file) == ["heat", "many"]
    assert shapes == {
        "input": (2, 3),
        "input_1": (2, 3, 2),
        "input_2": (2,),
        "output": (2, 3, 2),
        "output_1": (2, 2, 0),
        "runtime": (2,),
    }


def test_without_outputs(path: str):
    append(path, schema=Schema(MAPS, ("f32",), ()), tensors=(X,))
    writer.flush()
    assert calls(path) == {"input": 1, "runtime": 1}


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunks"),
    [
        ((), 4, (4096,)),
        ((64, 5), 4, (204, 64, 5)),
        ((0, 5), 4, (4096, 1, 5)),
        ((4, 54, 104), 8, (1, 4, 54, 104)),
        ((1 << 18,), 4, (1, 1 << 18)),
        ((262147,), 4, (1, 131074)),
        ((1000003, 5), 4, (1, 50001, 5)),
        ((1024, 1024, 5), 4, (1, 49, 1024, 5)),
        ((2, 1 << 20), 8, (1, 1, 1 << 17)),
        ((7, 3, 1 << 22), 2, (1, 1, 1, 1 << 19)),
    ],
)
def test_chunks_are_of_a_mebibyte_at_most(shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]):
    assert hdf5._chunks(shape, itemsize) == chunks
    assert np.prod(chunks) * itemsize <= hdf5.CHUNK_BYTES
    stored = np.prod([-(-size // chunk) * chunk for size, chunk in zip(shape, chunks[1:], strict=True)])
    assert stored <= 1.1 * max(1, np.prod([max(1, size) for size in shape]))


def test_entries_of_several_chunks(path: str):
    big = np.random.default_rng(0).standard_normal((300, 1024))
    append(path, tensors=(X, big))
    append(path, tensors=(X, -big))
    writer.flush()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["heat/output"][()], [big, -big])


# -- appending ---------------------------------------------------------------------------------------------


def test_appending_continues(path: str):
    for count in (1, 2, 3):
        append(path)
        writer.flush()
        assert calls(path) == {"input": count, "output": count, "runtime": count}


def test_other_maps_are_refused(path: str):
    append(path)
    other = Schema((MAPS[0], "from: g"), ("f32",), ("f64",))
    for _ in range(2):
        with pytest.raises(DatabaseError) as error:
            append(path, schema=other)
        assert str(error.value) == (
            f"in the database '{path}': the group 'heat' holds data of other maps:\n    {MAPS[0]}\n    {MAPS[1]}\n"
            f"The region has\n    {MAPS[0]}\n    from: g\nUse another label or another file"
        )
        writer.flush()
    append(path, "other", schema=other)


def test_other_dtypes_are_refused(path: str):
    append(path)
    writer.flush()
    with pytest.raises(
        DatabaseError, match=r"holds tensors of \(f32\) -> \(f64\), but the region has \(f64\) -> \(f64\)"
    ):
        append(path, schema=Schema(MAPS, ("f64",), ("f64",)), tensors=(X.astype(float), Y))


def test_other_shapes_are_refused(path: str):
    append(path)
    message = r"'heat/output' holds float64\[3, 2\] per call, but this call gives float64\[4, 2\]: collect it under"
    for _ in range(2):
        with pytest.raises(DatabaseError, match=message):
            append(path, tensors=(X, np.zeros((4, 2))))
        writer.flush()
    append(path)
    writer.flush()
    assert calls(path) == {"input": 2, "output": 2, "runtime": 2}


def test_a_group_made_by_hand_is_refused(path: str):
    with h5py.File(path, "w") as file:
        file["heat/input"] = np.zeros((2, 3), np.float32)
        file["single"] = np.zeros(3)
    for label in ("heat", "single"):
        with pytest.raises(DatabaseError, match=f"'{label}' is there already, and does not say of which maps"):
            append(path, label)
    append(path, "other")
    writer.flush()
    with h5py.File(path) as file:
        assert [label for label in file if "maps" in file[label].attrs] == ["other"]


def test_a_damaged_group_is_refused(path: str):
    append(path)
    writer.flush()
    with h5py.File(path, "a") as file:
        file["heat/output"].resize(4, 0)
    message = r"different numbers of calls in its datasets \(input: 1, output: 4, runtime: 1\): resize them to 1 calls"
    with pytest.raises(DatabaseError, match=message):
        append(path)
    writer.flush()
    with h5py.File(path, "a") as file:
        del file["heat/output"]
    with pytest.raises(DatabaseError, match="the group 'heat' lacks its dataset 'output'"):
        append(path)


@pytest.mark.parametrize("label", ["", ".", "a/b", "/"])
def test_labels_that_name_no_group(label: str, path: str):
    with pytest.raises(DatabaseError, match=f"'{label}' cannot be a region's label"):
        append(path, label)


def test_a_file_that_was_removed_or_replaced_is_made_again(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_FLUSH", "1 call")
    append(path)
    append(path)  # which waits until the first call is committed
    wait_for_commit(path)
    os.remove(path)
    append(path)
    writer.flush()
    assert calls(path)["input"] == 1
    append(path)
    wait_for_commit(path)
    os.replace(path, path + ".old")
    append(path)
    writer.flush()
    assert (calls(path)["input"], calls(path + ".old")["input"]) == (1, 2)


def wait_for_commit(path: str) -> None:
    """Return when nothing is left to be committed, without closing the file."""
    database = writer._pool._databases[path]
    while database.queued or database.committing:
        time.sleep(0.001)


# -- all or nothing ----------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_last_commit(path: str, monkeypatch: pytest.MonkeyPatch):
    """Whichever write it is that fails."""
    for count in range(40):
        Path(path).unlink(missing_ok=True)
        append(path)
        append(path, "other")
        writer.flush()
        content = Path(path).read_bytes()
        with monkeypatch.context() as patch:
            failed = fail_at(patch, count)
            for n in range(3):
                append(path, tensors=(X + n, Y + n))
            append(path, "late")
            error = None
            try:
                writer.flush()
            except DatabaseError as raised:
                error = str(raised)
            if error is None:  # at most what HDF5 tidies up after the commit has failed
                assert calls(path)["input"] == 4
                if not failed():
                    break
                continue
            assert failed()
            lost = "4 calls collected before it are lost"
            assert error == f"cannot write the database '{path}': No space left on device; {lost}"
            assert Path(path).read_bytes() == content
        append(path, tensors=(X + 9, Y + 9))
        writer.flush()
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["heat/input"][()], [X, X + 9])
            np.testing.assert_array_equal(file["heat/output"][()], [Y, Y + 9])
            assert len(file["heat/runtime"]) == 2
            assert "late" not in file
    else:
        pytest.fail("every write failed")
    assert count > 3


def test_the_next_call_tells_of_what_was_lost(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_FLUSH", "1 call")
    with monkeypatch.context() as patch:
        fail_at(patch, 0)
        append(path)
        with pytest.raises(DatabaseError, match="No space left on device; one call collected before it is lost"):
            append(path)
    append(path)
    writer.flush()
    assert calls(path)["input"] == 1


def test_a_group_that_cannot_be_made_is_not_there(path: str, monkeypatch: pytest.MonkeyPatch):
    def fail(self: Schema, group: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Schema, "write", fail)
        with pytest.raises(DatabaseError, match="No space left on device"):
            append(path)
    append(path)
    writer.flush()
    assert calls(path) == {"input": 1, "output": 1, "runtime": 1}


def test_threads(path: str):
    def work(number: int) -> None:
        for _ in range(50):
            append(path, tensors=(X * 0 + number, Y * 0 + number), ms=number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    with h5py.File(path) as file:
        first = [file[f"heat/{name}"][()].reshape(200, -1)[:, 0] for name in ("input", "output", "runtime")]
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(first[0], first[2])
    assert np.bincount(first[0].astype(int)).tolist() == [50] * 4


# -- files that cannot be opened ---------------------------------------------------------------------------


def test_a_missing_directory(tmp_path: Path):
    with pytest.raises(DatabaseError, match=f"the directory '{tmp_path}/none' does not exist; make it"):
        append(str(tmp_path / "none" / "d.h5"))


def test_a_directory(tmp_path: Path):
    with pytest.raises(DatabaseError, match=f"cannot open the database '{tmp_path}': it is a directory; name a file"):
        append(str(tmp_path))


def test_a_device():
    with pytest.raises(DatabaseError, match="cannot open the database '/dev/null': it is no regular file"):
        append("/dev/null")


def test_memory_of_chunks_at_an_edge(path: str):
    """HDF5 lets go of them, though they are never full."""
    code = (
        "import os, numpy as np\n"
        "from hpacml.runtime.databases import writer\n"
        "schema = writer.Schema(('m',), ('f64',), ())\n"
        "entry = np.zeros(262147)\n"
        "def memory():\n"
        "    lines = open('/proc/self/status')\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon')) >> 10\n"
        "os.environ['HPACML_DB_BUFFER'] = '8M'\n"
        "for n in range(150):\n"
        "    writer.append(os.path.realpath('d.h5'), 'r', schema, [entry], 0)\n"
        "    if n == 20: before = memory()\n"
        "assert memory() - before < 60, (before, memory())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.path.dirname(path))


def test_another_kind_of_file(path: str):
    Path(path).write_text("name,value\n")
    with pytest.raises(DatabaseError, match="it is no HDF5 file; collect into another file"):
        append(path)
    assert Path(path).read_text() == "name,value\n"


def test_an_empty_file_becomes_a_database(path: str):
    Path(path).touch()
    append(path)
    writer.flush()
    assert calls(path)["input"] == 1


def test_a_truncated_file(path: str):
    append(path)
    writer.flush()
    os.truncate(path, 4000)
    with pytest.raises(DatabaseError, match=f"cannot open the database '{path}': .*truncated file"):
        append(path)


def test_a_file_that_this_program_reads(path: str):
    append(path)
    writer.flush()
    with h5py.File(path), pytest.raises(DatabaseError, match="this program itself has it open; close it first"):
        append(path)
    append(path)


def test_a_file_that_cannot_be_written(path: str, monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, "open", PermissionError(errno.EACCES, "Permission denied"), of=path)
    with pytest.raises(DatabaseError, match=f"'{path}': it cannot be written here; collect into another file"):
        append(path)


def test_a_file_system_without_locks(path: str, monkeypatch: pytest.MonkeyPatch):
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(DatabaseError, match=r"its file system has no locks .* set HDF5_USE_FILE_LOCKING=FALSE"):
        append(path)
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    append(path)


def test_a_file_system_without_links(path: str, monkeypatch: pytest.MonkeyPatch):
    refuse(monkeypatch, "link", PermissionError(errno.EPERM, "Operation not permitted"))
    append(path)
    writer.flush()
    assert calls(path)["input"] == 1
    assert os.listdir(os.path.dirname(path)) == ["d.h5"]


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError, of: str | None = None) -> None:
    """Have a function of `os` fail, or fail for one path."""
    function = getattr(os, name)

    def fail(path: Any, *rest: Any, **named: Any) -> Any:
        if of is None or path == of:
            raise error
        return function(path, *rest, **named)

    monkeypatch.setattr(os, name, fail)


# -- asynchronous and bounded ------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", ["1", "100K", "256M"])
def test_memory_is_bounded(buffer: str, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_BUFFER", buffer)
    schema = Schema(("m",), ("f64",), ())
    most, limit = 0, max(settings.buffer_bytes(), 8 * 1000 + 4)
    for n in range(1500):
        append(path, f"r{n % 3}", schema, [np.full(1000, float(n))], n)
        most = max(most, memory())
    writer.flush()
    assert 0 < most <= limit
    assert memory() == 0
    with h5py.File(path) as file:
        for r in range(3):
            np.testing.assert_array_equal(file[f"r{r}/input"][:, 7], np.arange(r, 1500, 3))
            np.testing.assert_array_equal(file[f"r{r}/runtime"], np.arange(r, 1500, 3))


def memory() -> int:
    """Of all blocks."""
    own = writer._pool
    with own._lock:
        held = [block for recorder in own._recorders.values() for block in (*recorder.blocks, *recorder.free)]
        return sum(block.nbytes for block in (*held, *own._writing))


def test_a_call_waits_while_the_disk_is_slow(path: str, monkeypatch: pytest.MonkeyPatch):
    """Else a kill would lose more than HPACML_DB_FLUSH says."""
    monkeypatch.setenv("HPACML_DB_FLUSH", "4 calls")
    commit, uncommitted = files.File.commit, 0

    def slow(self: files.File) -> None:
        time.sleep(0.02)
        commit(self)

    monkeypatch.setattr(files.File, "commit", slow)
    for n in range(30):
        append(path, tensors=(X + n, Y))
        database = writer._pool._databases[path]
        uncommitted = max(uncommitted, database.queued + database.committing)
    assert uncommitted == 4
    writer.flush()
    assert calls(path)["input"] == 30


def test_flushing_while_other_threads_collect(path: str):
    def work(number: int) -> None:
        for n in range(200):
            append(path, f"r{number}", tensors=(X + n, Y), ms=n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        writer.flush()
    for thread in threads:
        thread.join()
    writer.flush()
    with h5py.File(path) as file:
        for number in range(4):
            np.testing.assert_array_equal(file[f"r{number}/input"][:, 0], np.arange(200))


def test_what_the_thread_cannot_foresee_is_an_error_too(path: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(files.File, "write", fail)
        append(path)
        with pytest.raises(DatabaseError, match=r"ZeroDivisionError\('a bug'\); one call"):
            writer.flush()
    append(path)
    writer.flush()
    assert calls(path)["input"] == 1


# -- storage -----------------------------------------------------------------------------------------------


def test_float64_as_float32(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_DTYPE", "float32")
    append(path, tensors=(X, Y + 1e300))
    monkeypatch.delenv("HPACML_DB_DTYPE")
    append(path, tensors=(X, Y / 3))  # a group keeps what it has
    writer.flush()
    with h5py.File(path) as file:
        assert file["heat/output"].dtype == np.float32
        np.testing.assert_array_equal(file["heat/output"][1], (Y / 3).astype(np.float32))
        assert np.isinf(file["heat/output"][0]).all()
        assert list(file["heat"].attrs["output_dtypes"]) == ["f64"]
    with hpacml.open_database(path) as found:
        problems, _ = check_region(found, found["heat"], allow_nan=True)
    assert problems == []


@pytest.mark.parametrize("compress", ["gzip", "gzip:9", "lzf", "zstd", "zstd:9"])
def test_compression(compress: str, path: str, monkeypatch: pytest.MonkeyPatch):
    if compress.startswith("zstd"):
        pytest.importorskip("hdf5plugin", reason="Zstandard needs hdf5plugin")
    monkeypatch.setenv("HPACML_DB_COMPRESS", compress)
    field = np.linspace(0, 1, 4 * 54 * 104).reshape(4, 54, 104).round(3)
    schema = Schema(("m",), ("f64",), ())
    for n in range(20):
        append(path, schema=schema, tensors=[field + n])
    writer.flush()
    assert os.path.getsize(path) < 20 * field.nbytes / 3
    code = (
        "import hpacml, numpy as np\n"
        f"x = hpacml.open_database({path!r})['heat'].inputs[0]\n"
        "assert x.shape == (20, 4, 54, 104) and (x[7] - x[0]).round(6).min() == 7"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_setting_that_makes_no_sense(path: str, monkeypatch: pytest.MonkeyPatch):
    for name, text in [("FLUSH", "soon"), ("FLUSH", "1.5 calls"), ("DTYPE", "f16"), ("COMPRESS", "gzip:10")]:
        with monkeypatch.context() as patch:
            patch.setenv(f"HPACML_DB_{name}", text)
            with pytest.raises(DatabaseError, match=f"HPACML_DB_{name} is '{text}': set it to "):
                append(path)
    monkeypatch.setenv("HPACML_DB_BUFFER", "much")
    with pytest.raises(DatabaseError, match="HPACML_DB_BUFFER is 'much': set it to bytes"):
        append(path)


@pytest.mark.parametrize(
    ("text", "bytes"), [("7", 7), ("64M", 64 << 20), ("1 GiB", 1 << 30), ("1.5k", 1536), ("2 kb", 2048)]
)
def test_bytes(text: str, bytes: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_BUFFER", text)
    assert settings.buffer_bytes() == bytes


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("5", settings.Loss(5)),
        ("0.25 s", settings.Loss(0.25)),
        ("2seconds", settings.Loss(2)),
        ("10 calls", settings.Loss(math.inf, 10)),
        ("0calls", settings.Loss(math.inf, 1)),
    ],
)
def test_what_a_kill_may_lose(text: str, loss: settings.Loss, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_FLUSH", text)
    assert settings.Loss.of_environment() == loss


# -- files ---------------------------------------------------------------------------------------------


def test_a_file_system_that_tells_at_closing(path: str, monkeypatch: pytest.MonkeyPatch):
    """What is committed is there, and the thread lives."""
    close = transaction.TransactionalFile.close

    def fail(self: transaction.TransactionalFile) -> None:
        close(self)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(transaction.TransactionalFile, "close", fail)
    for _ in range(2):
        append(path)
        writer.flush()
    assert calls(path)["input"] == 2


def test_what_a_killed_process_leaves_behind_the_end_is_cut_off(path: str):
    append(path)
    writer.flush()
    size = os.path.getsize(path)
    with open(path, "ab") as file:
        file.write(b"x" * (1 << 24))
    append(path)
    writer.flush()
    assert os.path.getsize(path) <= size + 4096
    assert calls(path)["input"] == 2


def test_more_files_than_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "MOST_FILES", 3)
    for round in range(2):
        for number in range(8):
            append(str(tmp_path / f"{number}.h5"), tensors=(X + round, Y))
            assert len(writer._pool._databases) <= 3
    writer.flush()
    for number in range(8):
        with h5py.File(tmp_path / f"{number}.h5") as file:
            np.testing.assert_array_equal(file["heat/input"][()], [X, X + 1])


def test_flush_without_anything_collected_loads_nothing():
    code = "import sys, hpacml; hpacml.flush(); assert not {'torch', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
