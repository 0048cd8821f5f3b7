"""A database that comes from others: HDF5 follows what leads out of it, hpacml does not."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hpacml
from hpacml import DatabaseError
from hpacml.tools.cli import app
from hpacml.tools.merge import merge
from tests import faults

h5py = pytest.importorskip("h5py")

Edit = Callable[[Any, Path], object]

region = faults.counting_region()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("own") / "d.h5"
    faults.collect(region, path, range(3))
    hpacml.flush()
    return path.read_bytes()


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "other.h5").write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "d.h5"
    path.write_bytes(content)
    return path


def instead(name: str, make: Callable[[Any, str], object]) -> Edit:
    def edit(file: Any, _: Path) -> None:
        del file[name]
        make(file, name)

    return edit


def link(name: str, to: Any) -> Edit:
    return instead(name, lambda file, name: file.__setitem__(name, to))


def external(name: str, source: str) -> Edit:
    return instead(
        name, lambda file, name: file.create_dataset(name, (3, 8, 1), "f8", external=[(source, 0, h5py.h5f.UNLIMITED)])
    )


def virtual(source: str, name: str = "heat/input", calls: int = 3) -> Edit:
    def make(file: Any, own: str) -> None:
        layout = h5py.VirtualLayout((calls, 8, 1), "f8")
        layout[:3] = h5py.VirtualSource(source, name, (3, 8, 1))
        file.create_virtual_dataset(own, layout)

    return instead("heat/input", make)


def endless(file: Any, name: str) -> None:
    layout = h5py.VirtualLayout((3, 8, 1), "f8", maxshape=(None, 8, 1))
    source = h5py.VirtualSource("other.h5", "heat/input", (3, 8, 1), maxshape=(None, 8, 1))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset(name, layout)


def sized(name: str, shape: tuple[int, ...], dtype: Any = "f8", **more: Any) -> Edit:
    chunks = tuple(min(size, 64) for size in shape)
    maxshape = (None, *shape[1:])
    options = {"chunks": chunks, "maxshape": maxshape, **more}
    return instead(name, lambda file, name: file.create_dataset(name, shape, dtype, **options))


OUTSIDE: dict[str, tuple[Edit, str]] = {
    "elements in another file": (external("heat/input", "secret"), "has its elements in the file 'secret'"),
    "runtimes in another file": (external("heat/runtime", "/etc/passwd"), "has its elements in the file '/etc/passwd'"),
    "elements in a pipe": (external("heat/output", "pipe"), "has its elements in the file 'pipe'"),
    "a virtual dataset of itself": (virtual("."), "is no path from its own folder to another file"),
    "a virtual dataset of its own file": (virtual("d.h5"), "leads back to it"),
    "a virtual dataset of another dataset": (virtual("other.h5", "heat/output"), "its source is another dataset"),
    "a virtual dataset of a path of its own": (virtual("/etc/x.h5"), "is no path from its own folder"),
    "a virtual dataset of a pipe": (virtual("pipe"), "it is no regular file"),
    "a virtual dataset of a file of another kind": (virtual("secret"), "cannot be read"),
    "a virtual dataset with gaps": (virtual("other.h5", calls=2**40), "and its sources have 24"),
    "a virtual dataset without end": (instead("heat/input", endless), "takes elements without end"),
    "a link to another file": (
        link("heat", h5py.ExternalLink("other.h5", "/heat")),
        "is a link to '/heat' of the file",
    ),
    "a link to a pipe": (link("heat", h5py.ExternalLink("pipe", "/heat")), "'heat' is a link to '/heat' of the file"),
    "a link to a pipe in a group": (link("heat/input", h5py.ExternalLink("pipe", "/x")), "of the file 'pipe'"),
    "runs in another file": (link("heat/runs", h5py.ExternalLink("pipe", "/x")), "of the file 'pipe'"),
    "points in another file": (
        lambda file, _: file.__setitem__("heat/varying", h5py.ExternalLink("pipe", "/x")),
        "'heat/varying' is a link",
    ),
    "a soft link": (link("heat/input", h5py.SoftLink("/heat/output")), "is a soft link to '/heat/output'"),
    "calls that are not there": (sized("heat/input", (2**40, 8, 1)), "of which the file has 0"),
    "a call that is not there": (sized("heat/output", (3, 2**40, 1)), "of which the file has 0"),
    "compressed calls that are not there": (sized("heat/input", (2**40, 8, 1), compression="gzip"), "the file has 0"),
    "calls of nothing that are not there": (
        sized("heat/input", (2**40, 8, 0), chunks=(64, 8, 1), maxshape=(None,) * 3),
        "the file has 0",
    ),
    "runs that are not there": (sized("heat/runs", (2**40,), h5py.string_dtype()), "'heat/runs' is said to be of"),
    "runs that are a group": (instead("heat/runs", lambda file, name: file.create_group(name)), "is no dataset"),
    "points that are the region's": (
        lambda file, _: file.__setitem__("heat/varying", file["heat"]),
        "is the group that it lies in",
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_leads_out_of_a_database_is_refused(name: str, path: Path, tmp_path: Path):
    edit, why = OUTSIDE[name]
    with h5py.File(path, "r+") as file:
        edit(file, path)
    before = {each: (tmp_path / each).read_bytes() for each in ("d.h5", "secret", "other.h5")}
    with pytest.raises(DatabaseError, match=re.escape(why)) as refused:
        hpacml.open_database(path)
    assert str(path) in str(refused.value)
    out = str(tmp_path / "out.h5")
    for command in (["check"], ["info"], ["merge", out], ["merge", "--virtual", out]):
        done = CliRunner().invoke(app, ["db", *command, str(path)])
        assert done.exit_code == 1, (command, done.output)
        assert done.exception is None or isinstance(done.exception, (SystemExit, DatabaseError)), done.exception
    with pytest.raises(DatabaseError):
        faults.collect(region, path, range(1))
        hpacml.flush()
    assert before == {each: (tmp_path / each).read_bytes() for each in before}
    assert not os.path.exists(out)


def test_one_object_by_two_names_takes_no_calls(path: Path):
    """What is appended by one name would be written over by the other."""
    with h5py.File(path, "r+") as file:
        file["again"] = file["heat"]
    with pytest.raises(DatabaseError, match="'heat' has several names in the file"):
        faults.collect(region, path, range(1))
        hpacml.flush()
    with hpacml.open_database(path) as database:
        assert [each.calls for each in database.values()] == [3, 3]


def test_virtual_databases_of_virtual_ones(path: Path, tmp_path: Path):
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    merge(first, [path, tmp_path / "other.h5"], True)
    merge(second, [first, path], True)
    with hpacml.open_database(second) as database:
        numbers = database["heat"].inputs[0][:, 0, 0]
        np.testing.assert_array_equal(numbers, [*numbers[:3]] * 3)
    path.unlink()
    path.symlink_to(second)  # a circle: first, second and first again
    with pytest.raises(DatabaseError, match="leads back to it"):
        hpacml.open_database(first)


def test_a_source_that_lost_calls_is_refused(path: Path, tmp_path: Path):
    """HDF5 would give zeros."""
    merge(tmp_path / "all.h5", [path, tmp_path / "other.h5"], True)
    with h5py.File(path, "r+") as file:
        file["heat/input"].resize(2, 0)
    with pytest.raises(DatabaseError, match=r"takes 24 elements from its source .*: they are not there"):
        hpacml.open_database(tmp_path / "all.h5")
