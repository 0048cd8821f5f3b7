"""Databases that are damaged, of another version, or out of reach: an error that says so, or the right data.

Nothing else may happen: no crash, no hang, no change of a file that is refused, and no harm to the application.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.databases import writer
from tests import faults

h5py = pytest.importorskip("h5py")

COUNT = 100
CALLS = 20

region = faults.counting_region()


def collect(path: Path, calls: Iterable[int]) -> None:
    faults.collect(region, path, calls)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "d.h5"
    collect(path, range(CALLS))
    hpacml.flush()
    assert faults.numbers_in(path) == list(range(CALLS))
    return path.read_bytes()


def attempt(variants: Iterable[tuple[str, bytes]], folder: Path, **more: Any) -> list[dict[str, Any]]:
    """Use each variant in all ways: what came of it."""
    trials = []
    for number, (name, content) in enumerate(variants):
        path = folder / f"d{number}.h5"
        path.write_bytes(content)
        trials.append({"name": name, "path": str(path), "calls": CALLS, **more})
    results = faults.attempt("database", trials)
    faults.require_no_problems(results)
    return results


def test_the_whole_file(database: bytes, tmp_path: Path) -> None:
    attempt([("whole", database)], tmp_path, sound=True)
    assert faults.numbers_in(tmp_path / "d0.h5") == list(range(CALLS + 1))


@pytest.mark.slow
def test_truncated(database: bytes, tmp_path: Path) -> None:
    results = attempt(faults.truncations(database, COUNT), tmp_path, refused=["open", "check", "info", "ls", "merge"])
    assert len(results) >= 30


@pytest.mark.slow
def test_random_bytes(database: bytes, tmp_path: Path) -> None:
    results = attempt(faults.scribbles(database, COUNT), tmp_path)
    assert len(results) >= 30


# -- other versions ------------------------------------------------------------------------------------

Edit = Callable[[Any, Any], object]
"""What is done to the file and its group."""


def attribute(name: str, value: Any) -> Edit:
    def edit(file: Any, group: Any) -> None:
        if name in group.attrs:
            del group.attrs[name]
        if value is not None:
            group.attrs[name] = value

    return edit


def run_with(**fields: Any) -> Edit:
    """Change the record of the run."""

    def edit(file: Any, group: Any) -> None:
        group["runs"][0] = json.dumps(json.loads(group["runs"][0]) | fields)

    return edit


def dataset(name: str, make: Callable[[Any], Any] | None, **options: Any) -> Edit:
    """Another dataset in place of one, made of what that held."""

    def edit(file: Any, group: Any) -> None:
        values = group[name][()]
        del group[name]
        if make is not None:
            group.create_dataset(name, data=make(values), **options)

    return edit


def growing(name: str, make: Callable[[Any], Any]) -> Edit:
    return lambda file, group: dataset(name, make, maxshape=(None, *make(group[name][()]).shape[1:]))(file, group)


def instead(place: str, make: Callable[[Any], object]) -> Edit:
    """Something else in place of a group or dataset."""

    def edit(file: Any, group: Any) -> None:
        del file[place]
        make(file)

    return edit


TEXTS = ["to: f: [i] = ([i]) | f(x[0:8])", "from: f: [i] = ([i]) | f(y[0:8])"]
OTHER: dict[str, tuple[Edit, str]] = {
    # What is read is as good as before.
    "hpacml_version of the future": (attribute("hpacml_version", "99.0"), ""),
    "no hpacml_version": (attribute("hpacml_version", None), ""),
    "hpacml_version that is a number": (attribute("hpacml_version", 7), ""),
    "no runs": (attribute("runs", "[]"), ""),
    "a run that tells more": (run_with(accelerator="none"), ""),
    "a run of another machine": (run_with(host="elsewhere", process=1), ""),
    "no shapes": (attribute("input_shapes", None), ""),
    "more attributes": (lambda file, group: group.attrs.update(unit="K"), ""),
    "another region": (lambda file, group: file.create_group("other"), ""),
    # Nothing is appended, but what is there can be read.
    "other maps": (attribute("maps", TEXTS), "append check"),
    "other maps with their digest": (
        lambda file, group: (
            attribute("maps", TEXTS)(file, group),
            attribute("maps_sha256", hashlib.sha256("\n".join(TEXTS).encode()).hexdigest())(file, group),
        ),
        "append",
    ),
    "no maps": (attribute("maps", None), "append"),
    "fewer maps": (attribute("maps", TEXTS[:1]), "append check"),
    "more dtypes": (attribute("input_dtypes", ["f64", "f64"]), "append check ls merge"),
    "other dtypes": (attribute("input_dtypes", ["f32"]), "append check"),
    "unknown dtypes": (attribute("output_dtypes", ["f128"]), "append check"),
    "a dataset of another dtype": (growing("input", lambda x: x.astype("i4")), "append check"),
    "a dataset of other bytes": (growing("output", lambda x: x.astype("f2")), "append check"),
    "a dataset of another number of points": (growing("input", lambda x: x[:, :4]), "check"),
    "a dataset of another rank": (growing("output", lambda x: x[..., 0]), "append check"),
    "a dataset of more calls": (growing("runtime", lambda x: np.repeat(x, 2)), "append check"),
    "a dataset of no calls": (growing("input", lambda x: x[:0]), "append check"),
    "a dataset that cannot grow": (dataset("input", lambda x: x), "append"),
    "a dataset that cannot grow much": (dataset("input", lambda x: x, maxshape=(CALLS, 8, 1)), "append"),
    "no runtime": (dataset("runtime", None), "append check"),
    "no input": (dataset("input", None), "append check ls merge"),
    "a group in place of a dataset": (
        instead("heat/output", lambda file: file.create_group("heat/output")),
        "open append check export info ls merge",
    ),
    "a dataset in place of the group": (
        instead("heat", lambda file: file.create_dataset("heat", data=np.zeros(3))),
        "append export",
    ),
    "a link to nowhere in place of the group": (
        instead("heat", lambda file: file.__setitem__("heat", h5py.SoftLink("/none"))),
        "append export",
    ),
    # Nothing can be read.
    **{
        f"maps {value!r}": (attribute("maps", value), "append open check info ls merge export")
        for value in ("a text", 3, [1, 2], np.array([b"\xff\xfe", b"a"]), [TEXTS, TEXTS], 1.5)
    },
    **{
        f"input_dtypes {value!r}": (attribute("input_dtypes", value), "append open check info ls merge export")
        for value in ("f64", 64, [64])
    },
    **{
        f"runs {value!r}": (attribute("runs", value), "append open check info ls merge export")
        for value in ("", "none", "7", "[7]", "{}x", '[{"a": 1}]', "[[]]", 3, [1, 2], "[" * 5000)
    },
    **{
        f"a run with first_call {value!r}": (run_with(first_call=value), "append open check info ls merge export")
        for value in (-1, "0", None, 1.5, [0])
    },
    "a run after the end": (run_with(first_call=10**6), "check"),
    **{
        f"input_shapes {value!r}": (attribute("input_shapes", value), "check")
        for value in (["[8, 2]"], ["8"], ["none"], "[8, 1]", 3, ["null"])
    },
    "a link to nowhere in place of a dataset": (
        instead("heat/output", lambda file: file.__setitem__("heat/output", h5py.SoftLink("/none"))),
        "append open check info ls merge export",
    ),
    "a dataset of texts": (growing("input", lambda x: x.astype("S8")), "append open check info ls merge export"),
    "a dataset of records": (
        growing("input", lambda x: np.zeros(CALLS, "i4, f8")),
        "append open check info ls merge export",
    ),
    "a dataset of complex numbers": (growing("input", lambda x: x + 0j), "append open check info ls merge export"),
    "a dataset of one number": (dataset("input", lambda x: x[0, 0, 0]), "append open check info ls merge export"),
    "an empty dataset": (
        instead("heat/input", lambda file: file.create_dataset("heat/input", data=h5py.Empty("f8"))),
        "append open check info ls merge export",
    ),
}
"""By name, how a database differs from one of this version, and what must be refused."""


def edited(content: bytes, edit: Edit) -> bytes:
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        edit(file, file["heat"])
    return buffer.getvalue()


def headers(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Other numbers in the first fields of the file: versions, sizes, addresses."""
    for offset, values in {8: (1, 2, 3, 4, 5, 99, 255), 9: (1,), 10: (1,), 12: (1,), 13: (4, 16), 14: (4, 16)}.items():
        for value in values:
            yield f"{value} at {offset}", content[:offset] + bytes([value]) + content[offset + 1 :]
    for offset in (16, 18, 24, 40):
        yield f"ones at {offset}", content[:offset] + b"\xff" * 8 + content[offset + 8 :]


@pytest.mark.slow
def test_another_version(database: bytes, tmp_path: Path) -> None:
    results = attempt(((name, edited(database, edit)) for name, (edit, _) in OTHER.items()), tmp_path)
    refused = {r["name"]: {use for use, outcome in r["outcomes"].items() if outcome} for r in results}
    assert refused == {name: set(uses.split()) for name, (_, uses) in OTHER.items()}
    assert not [result["name"] for result in results if result["odd"] and not refused[result["name"]]]


def test_another_version_of_hdf5(database: bytes, tmp_path: Path) -> None:
    results = attempt(headers(database), tmp_path)
    assert all(result["outcomes"]["open"] for result in results if result["name"].endswith((" at 8", " at 13")))


@pytest.mark.parametrize("content", [b"", b"no database", b"PK\3\4" + bytes(100), bytes(4096)])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    attempt([("other", content)], tmp_path, refused=["open", "check", *(["append"] if content else [])])


# -- places that cannot be written ---------------------------------------------------------------------

AS_NOBODY = """
warm = path.parent.parent / "warm.h5"  # what is imported late may be out of nobody's reach
collect(region, warm, [0])
hpacml.flush()
assert numbers_in(warm) == [0]
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""

REFUSED = """
for attempt in range(2):
    try:
        collect(region, path, [20])
    except hpacml.DatabaseError as error:
        assert str(path) in str(error), error
        assert "it cannot be written here; collect into another file" in str(error), error
    else:
        raise AssertionError("the call was not refused")
hpacml.flush()
collect(region, path.parent.parent / "other.h5", range(3))
hpacml.flush()
assert numbers_in(path.parent.parent / "other.h5") == [0, 1, 2]
"""


@pytest.fixture
def inside() -> Iterator[Path]:
    """A folder of this user in one that everybody can write."""
    with tempfile.TemporaryDirectory(prefix="hpacml-faults-") as name:
        outside = Path(name)
        outside.chmod(0o777)
        folder = outside / "inside"
        folder.mkdir(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written(inside: Path) -> None:
    inside.chmod(0o555)
    faults.succeed(AS_NOBODY + REFUSED, inside / "d.h5")
    assert not list(inside.iterdir())


def test_a_file_that_cannot_be_written(database: bytes, inside: Path) -> None:
    inside.chmod(0o777)
    path = inside / "d.h5"
    path.write_bytes(database)
    path.chmod(0o444)
    faults.succeed(AS_NOBODY + REFUSED, path)
    assert path.read_bytes() == database
    assert list(inside.iterdir()) == [path]


def test_a_file_that_can_be_written_in_a_folder_that_cannot(database: bytes, inside: Path) -> None:
    path = inside / "d.h5"
    path.write_bytes(database)
    path.chmod(0o666)
    inside.chmod(0o555)
    faults.succeed(AS_NOBODY + "collect(region, path, range(20, 30)); hpacml.flush()", path)
    assert faults.numbers_in(path) == list(range(30))


def test_a_file_that_cannot_be_read(database: bytes, inside: Path) -> None:
    path = inside / "d.h5"
    path.write_bytes(database)
    path.chmod(0)
    source = """
for action in (lambda: read_all(path), lambda: collect(region, path, [0])):
    try:
        action()
    except hpacml.DatabaseError as error:
        assert str(path) in str(error), error
    else:
        raise AssertionError("it was read")
"""
    faults.succeed(AS_NOBODY + source, path)
    assert path.read_bytes() == database


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "d.h5"
    with pytest.raises(hpacml.DatabaseError, match=f"the directory '{path.parent}' does not exist; make it"):
        collect(path, [0])
    hpacml.flush()
    path.parent.mkdir()
    collect(path, range(3))
    hpacml.flush()
    assert faults.numbers_in(path) == [0, 1, 2]


# -- files that vanish ---------------------------------------------------------------------------------


def attempts(path: Path, calls: Iterable[int]) -> list[str]:
    """The errors of calls, and of a flush after them."""
    errors = []
    for action in (*(lambda call=call: collect(path, [call]) for call in calls), hpacml.flush):
        try:
            action()
        except hpacml.DatabaseError as error:
            errors.append(str(error))
    return errors


def test_a_file_that_is_removed_between_commits(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    assert not attempts(path, range(5))
    path.unlink()
    assert not attempts(path, range(5, 8))
    assert faults.numbers_in(path) == [5, 6, 7]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_with_calls_not_committed(replaced: bool, database: bytes, tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    collect(path, range(5))
    path.unlink()
    if replaced:
        path.write_bytes(database)
    errors = attempts(path, range(5, 8))
    assert len(errors) <= 1  # once
    assert all(f"the database '{path}' was removed or replaced" in error for error in errors)
    assert all("calls collected before it are lost" in error for error in errors)
    assert not attempts(path, range(100, 102))
    found = faults.numbers_in(path)
    assert found[-2:] == [100, 101]
    assert not replaced or found[:CALLS] == list(range(CALLS))


def test_a_folder_that_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "inside" / "d.h5"
    path.parent.mkdir()
    collect(path, range(5))
    shutil.rmtree(path.parent)
    errors = attempts(path, range(5, 8))
    assert errors
    assert all(str(path) in error for error in errors)
    path.parent.mkdir()
    assert not attempts(path, range(8, 10))
    assert faults.numbers_in(path) == [8, 9]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def extend(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1000)


def scribble(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"no database any more" * 10)


def put_back(path: Path) -> None:
    """An old copy, into the same file."""
    content = path.with_suffix(".old").read_bytes()
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(content)


def put_back_in_part(path: Path) -> None:
    """An old copy of the bytes that it has: its size does not tell."""
    with open(path, "r+b") as file:
        file.write(path.with_suffix(".old").read_bytes())


@pytest.mark.parametrize("change", [truncate, extend, scribble, put_back, put_back_in_part])
def test_a_file_that_others_change(change: Callable[[Path], None], tmp_path: Path, monkeypatch: Any) -> None:
    """Nothing more is written to it, and who comes with the next calls is told."""
    monkeypatch.setenv("HPACML_DB_FLUSH", "1 call")
    path = tmp_path / "d.h5"
    collect(path, range(3))
    hpacml.flush()
    path.with_suffix(".old").write_bytes(path.read_bytes())
    collect(path, range(3, 8))
    database = writer._pool._databases[str(path)]
    while database.queued or database.committing:
        time.sleep(0.001)
    change(path)
    left = path.read_bytes()
    monkeypatch.setenv("HPACML_DB_FLUSH", "100 calls")
    errors = attempts(path, [8])
    assert path.read_bytes() == left
    (error,) = errors
    assert str(path) in error
    assert "another program has" in error
    assert "one call collected before it is lost" in error


def test_what_is_said_of_a_file_that_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    ended = faults.program(
        "os.environ['HPACML_DB_FLUSH'] = '1 call'; collect(region, path, range(3)); time.sleep(0.3); path.unlink()",
        path,
    )
    assert ended.returncode
    assert f"the database '{path}' was removed or replaced while it was collected into" in ended.stderr
    assert "the 3 calls that it had got from this program went with it" in ended.stderr
    assert "collected before it" not in ended.stderr


# -- two processes -------------------------------------------------------------------------------------


def test_two_writers(tmp_path: Path) -> None:
    """The second is refused at its first call, and goes on elsewhere; the first does not notice."""
    path = tmp_path / "d.h5"
    collect(path, range(5))
    source = """
    for attempt in range(2):
        try:
            collect(region, path, [100])
        except hpacml.DatabaseError as error:
            assert str(path) in str(error), error
            assert "another process has it open" in str(error), error
            assert "collect into another file" in str(error), error
        else:
            raise AssertionError("there are two writers")
    collect(region, path.with_name("other.h5"), range(100, 103))
    """
    faults.succeed(source, path)
    collect(path, range(5, 8))
    hpacml.flush()
    assert faults.numbers_in(path) == list(range(8))
    assert faults.numbers_in(tmp_path / "other.h5") == [100, 101, 102]
    faults.succeed("collect(region, path, range(8, 10))", path)
    assert faults.numbers_in(path) == list(range(10))


def test_a_fork_between_calls(tmp_path: Path) -> None:
    """The child has nothing of the parent's open, and both can go on, with the same file in turn."""
    source = """
    collect(region, path, range(5))
    for start in (5, 10, 15):
        if not (child := os.fork()):
            collect(region, path, range(start, start + 5))
            hpacml.flush()
            collect(region, path.with_name(f"{start}.h5"), range(3))
            hpacml.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    collect(region, path, range(20, 25))
    hpacml.flush()
    assert numbers_in(path) == list(range(25)), numbers_in(path)
    for start in (5, 10, 15):
        assert numbers_in(path.with_name(f"{start}.h5")) == [0, 1, 2]
    """
    faults.succeed(source, tmp_path / "d.h5")


def test_forks_while_other_threads_collect(tmp_path: Path) -> None:
    source = """
    collect(region, path, [0])  # a thread that compiles when its process forks has locks that the child lacks
    done = threading.Event()
    counts = [0, 0]

    def work(number):
        while not done.is_set():
            collect(region, path.with_name(f"thread{number}.h5"), [counts[number]])
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for number in range(10):
        if not (child := os.fork()):
            collect(region, path.with_name(f"child{number}.h5"), range(20))
            hpacml.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    done.set()
    for thread in threads:
        thread.join()
    hpacml.flush()
    for number, count in enumerate(counts):
        assert numbers_in(path.with_name(f"thread{number}.h5")) == list(range(count)), count
    for number in range(10):
        assert numbers_in(path.with_name(f"child{number}.h5")) == list(range(20))
    """
    faults.succeed(source, tmp_path / "d.h5", HPACML_DB_FLUSH="0.05")


def test_regions_called_while_h5py_lists_a_file(tmp_path: Path) -> None:
    """As long as `file.items()` is not exhausted, h5py serves no other thread."""
    source = """
    with h5py.File(path.with_name("in.h5"), "w") as file:
        for call in range(3):
            file[str(call)] = counting_arrays(call)[0]
    with h5py.File(path.with_name("in.h5")) as file:
        for name, x in file.items():
            region(x[()], np.zeros(8), str(path))
        for x in file.values():
            hpacml.flush()
    assert numbers_in(path) == [0, 1, 2]
    """
    faults.succeed(source, tmp_path / "d.h5")


# -- interrupts ----------------------------------------------------------------------------------------


def test_interrupts_in_the_body(tmp_path: Path) -> None:
    source = """
    @hpacml.region('''tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(x[0:8])) out(one(y[0:8])) database(path) label("heat")''')
    def interrupted(x, y, path):
        y[:] = 2 * x + 1
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    collect(region, path, range(5))
    for call in range(5, 8):
        try:
            interrupted(*counting_arrays(call), str(path))
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the interrupt was lost")
        collect(region, path, [10 + call])
    hpacml.flush()
    assert numbers_in(path) == [0, 1, 2, 3, 4, 15, 16, 17], numbers_in(path)
    """
    faults.succeed(source, tmp_path / "d.h5")


@pytest.mark.parametrize("environment", [{}, {"HPACML_DB_FLUSH": "3 calls"}, {"HPACML_DB_BUFFER": "1K"}], ids=str)
@pytest.mark.slow
def test_interrupts_at_any_time(environment: dict[str, str], tmp_path: Path) -> None:
    """Each call is in the database if it returned; those that were interrupted may be."""
    source = """
    import random
    chance, wanted, stop = random.Random(0), 150, time.monotonic() + 15
    returned, seen, call = [], 0, -1

    def going():
        return seen < wanted and time.monotonic() < stop

    def interrupt():
        while going():
            time.sleep(chance.uniform(0, 0.006))
            os.kill(os.getpid(), signal.SIGINT)

    collect(region, path.with_name("warm.h5"), [0])
    threading.Thread(target=interrupt).start()
    while going():
        try:
            while going():
                call += 1
                region(*counting_arrays(call), str(path))
                returned.append(call)
                if call % 50 == 0:
                    hpacml.flush()
        except KeyboardInterrupt:
            seen += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hpacml.flush()
    found = numbers_in(path)
    assert found == sorted(set(found)), found
    assert not set(returned) - set(found), sorted(set(returned) - set(found))
    assert seen >= wanted // 2, seen
    assert len(found) >= wanted // 2, len(found)
    """
    faults.succeed(source, tmp_path / "d.h5", **environment)


# -- full disks ----------------------------------------------------------------------------------------

FILL = """
def fill(most):
    '''How many calls were made until there was an error, and its text.'''
    for call in range(most):
        try:
            collect(region, path, [call])
        except hpacml.DatabaseError as error:
            return call, str(error)
    try:
        hpacml.flush()
    except hpacml.DatabaseError as error:
        return most, str(error)
    raise AssertionError("the disk did not fill")

def there():
    return numbers_in(path) if path.exists() else []

made, told = fill(50_000)
assert str(path) in told and REASON in told, told
found = there()
assert found == list(range(len(found))), found
assert len(found) < made or not made, (len(found), made)
assert not made or f"{made - len(found)} calls collected before it are lost" in told, (made, len(found), told)
hpacml.flush()  # that was told once
"""

ANEW = """
collect(region, path, range(made, made + 100))
hpacml.flush()
assert there() == [*found, *range(made, made + 100)]
"""

FLUSHES = ["0.05", "100 calls", "3600"]


@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.slow
def test_a_quota(flush: str, tmp_path: Path) -> None:
    """A limit on the size of files, which a write beyond fails with an error."""
    limit = """
REASON = "File too large"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, most))
"""
    lift = "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))"
    faults.succeed(limit + FILL + lift + ANEW, tmp_path / "d.h5", HPACML_DB_FLUSH=flush)
    assert faults.numbers_in(tmp_path / "d.h5")


@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.parametrize("left", [3_000_000, 300_000, 0])
@pytest.mark.slow
def test_a_full_disk(left: int, flush: str, tmp_path: Path) -> None:
    """A file system of 4 MiB, of which some is left, and more when another file is removed."""
    mount = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=4M none "{tmp_path}" && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system in a namespace")
    taken = f"""
REASON = "No space left on device"
other = path.with_name("other")
other.write_bytes(bytes((4 << 20) - {left}))
"""
    faults.succeed(taken + FILL + "other.unlink()" + ANEW, tmp_path / "d.h5", *mount, HPACML_DB_FLUSH=flush)
