"""Databases that are damaged, of another version, or out of reach: an error that says so, or the right data.

Nothing else may happen: no crash, no hang, no change of a file that is refused, and no harm to the application.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from tests import faults

h5py = pytest.importorskip("h5py")

COUNT = 100
CALLS = 20

region = faults.counting_region()


def collect(path: Path, calls: range) -> None:
    for call in calls:
        region(*faults.counting_arrays(call), str(path))


def require_calls(path: Path, count: int) -> None:
    """Plain h5py finds the first calls, and `hpacml db check` no problem."""
    with h5py.File(path) as file:
        x, y = (file["heat"][name][:, :, 0] for name in ("input", "output"))
    np.testing.assert_array_equal(x, [faults.counting_arrays(call)[0] for call in range(count)])
    np.testing.assert_array_equal(y, 2 * x + 1)
    faults.hpacml_db("check", str(path))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "d.h5"
    collect(path, range(CALLS))
    hpacml.flush()
    require_calls(path, CALLS)
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
    require_calls(tmp_path / "d0.h5", CALLS + 1)


def test_truncated(database: bytes, tmp_path: Path) -> None:
    results = attempt(faults.truncations(database, COUNT), tmp_path, refused=["open", "check", "info", "ls", "merge"])
    assert len(results) >= 30


def test_random_bytes(database: bytes, tmp_path: Path) -> None:
    results = attempt(faults.scribbles(database, COUNT), tmp_path)
    assert len(results) >= 30


# -- other versions ------------------------------------------------------------------------------------

Edit = Callable[[Any, Any], object]
"""What is done to the file and its group."""


def attribute(name: str, value: Any) -> Edit:
    def edit(file: Any, group: Any) -> None:
        del group.attrs[name]
        if value is not None:
            group.attrs[name] = value

    return edit


def run_with(**fields: Any) -> Edit:
    """Change the record of the run."""

    def edit(file: Any, group: Any) -> None:
        (run,) = json.loads(group.attrs["runs"])
        group.attrs["runs"] = json.dumps([run | fields])

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
    "more dtypes": (attribute("input_dtypes", ["f64", "f64"]), "append check merge"),
    "other dtypes": (attribute("input_dtypes", ["f32"]), "append check"),
    "unknown dtypes": (attribute("output_dtypes", ["f128"]), "append check"),
    "a dataset of another dtype": (growing("input", lambda x: x.astype("i4")), "append check"),
    "a dataset of other bytes": (growing("output", lambda x: x.astype("f2")), "append check"),
    "a dataset of another shape": (growing("input", lambda x: x[:, :4]), "append check"),
    "a dataset of another rank": (growing("output", lambda x: x[..., 0]), "append check"),
    "a dataset of more calls": (growing("runtime", lambda x: np.repeat(x, 2)), "append check"),
    "a dataset of no calls": (growing("input", lambda x: x[:0]), "append check"),
    "a dataset that cannot grow": (dataset("input", lambda x: x), "append"),
    "a dataset that cannot grow much": (dataset("input", lambda x: x, maxshape=(CALLS, 8, 1)), "append"),
    "no runtime": (dataset("runtime", None), "append check"),
    "no input": (dataset("input", None), "append check merge"),
    "a group in place of a dataset": (
        instead("heat/output", lambda file: file.create_group("heat/output")),
        "append check merge",
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
