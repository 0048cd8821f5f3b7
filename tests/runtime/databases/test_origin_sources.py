"""Two scripts of one name do not mix their data, while one that is moved, copied or edited goes on with its own."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import h5py
import pytest

import hpacml
from hpacml.frontend.origin import origin_of
from hpacml.runtime.databases.origins import Origin, Source, is_other
from tests.command import run_hpacml

SCRIPT = """
import numpy as np, hpacml
from hpacml import approx
from jaxtyping import Float64

def physics(x):
    return {factor} * x

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(collect) in(f(a[0:3])) out(f(b[0:3])) database(file) {clauses}
''')
def step(a, b, file):
    b[:] = physics(a)

@hpacml.kernel
def inner(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    for i in range(3):
        b[i] = {factor} * a[i]

@hpacml.kernel
def kernel(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], file: str):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(f(a[0:3])) out(f(b[0:3])) database(file) {clauses}"):
        inner(a, b)

runs = [1]
for each in (step, kernel):
    each(np.arange(3.0), np.zeros(3), f"{database}/{each.__name__}.h5")
hpacml.flush()
"""


@pytest.fixture
def write(tmp_path: Path):
    """Writes a script that collects into databases in `tmp_path`, by a function that calls another one."""

    def write(name: str, factor: float, clauses: str = "", database: Path = tmp_path) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = SCRIPT.replace("{factor}", str(factor)).replace("{clauses}", clauses)
        path.write_text(text.replace("{database}", str(database)))
        return path

    return write


def run(path: Path | str) -> None:
    runpy.run_path(str(path), run_name="__main__")


def calls(folder: Path) -> list[int]:
    counts: list[int] = []
    for label in ("step", "kernel"):
        with h5py.File(folder / f"{label}.h5") as file:
            counts.append(len(cast(Any, file)[label]["runtime"]))
    return counts


@pytest.mark.parametrize("name", ["step", "kernel"])
def test_a_second_script_of_the_name_is_refused_naming_both(write: Any, tmp_path: Path, name: str) -> None:
    """Also where the function that collects is the same, and only one that it calls differs."""
    one, two = write("x/scr.py", 2.0), write("x/d2/scr.py", 3.0)
    other = two.read_text().replace("(step, kernel)", f"[{name}]")
    two.write_text(other)
    run(one)
    with pytest.raises(hpacml.DatabaseError, match=rf"scr:{name} in {one}, and scr:{name} in {two} is another one"):
        run(two)
    assert calls(tmp_path) == [1, 1]
    two.write_text(other.replace("ml(collect)", f"ml(collect) label('{name}')"))
    run(two)
    assert sum(calls(tmp_path)) == 3


def test_a_script_moved_copied_or_edited_appends(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write("x/scr.py", 2.0)
    run(one)
    moved = tmp_path / "y" / "scr.py"
    moved.parent.mkdir()
    one.rename(moved)
    run(moved)
    run(write("y/scr.py", 3.0))  # edited where it is
    copied = tmp_path / "z" / "scr.py"
    copied.parent.mkdir()
    copied.write_text("# a comment\n\n" + moved.read_text().replace("runs = [1]", "runs = [2]"))
    monkeypatch.chdir(copied.parent)
    run("scr.py")
    assert calls(tmp_path) == [4, 4]
    with h5py.File(tmp_path / "step.h5") as file:
        sources: Any = file["step"].attrs["sources"]
    assert [text.partition(" ")[2] for text in sources] == [str(each) for each in (one, moved, moved, copied)]


def test_another_process_is_refused_too(write: Any, tmp_path: Path) -> None:
    one, two = write("x/scr.py", 2.0), write("x/d2/scr.py", 3.0)
    code = "import runpy, sys\nfor each in sys.argv[1:]:\n    runpy.run_path(each, run_name='__main__')"
    for scripts, error in (([one, one], ""), ([two], f"scr:step in {two} is another one")):
        command = [sys.executable, "-c", code, *scripts]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert error in done.stderr
        assert bool(done.returncode) == bool(error)
    assert calls(tmp_path) == [2, 2]


@pytest.mark.parametrize("names", [{}, {"__file__": "<stdin>"}])
def test_programs_without_a_file_are_told_apart_by_a_warning(
    write: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, names: dict[str, str]
) -> None:
    """As those that a shell pipes in: nothing tells whether they are the same, edited."""
    for number, (factor, warnings) in enumerate([(2.0, 0), (2.0, 0), (3.0, 1), (3.0, 1)]):
        text = write("scr.py", factor).read_text()
        text = text[: text.index("@hpacml.kernel")] + text[text.index("\nruns") :].replace("(step, kernel)", "[step]")
        exec(compile(text, "<stdin>", "exec"), {"__name__": "__main__", **names})
        with h5py.File(tmp_path / "step.h5") as file:
            assert len(cast(Any, file)["step"]["runtime"]) == number + 1
        messages = [record.message for record in caplog.records]
        assert sum("holds calls of another version of " in message for message in messages) == warnings


def test_files_from_before_and_other_versions_of_python() -> None:
    one, two = Source("/x/scr.py", "a", "1"), Source("/y/scr.py", "a", "2")
    newer = Source("/y/scr.py", "b", "2")
    origin = Origin("scr:step", False, (one,))
    assert is_other(origin, Origin("scr:step", False, (two,)))
    assert not is_other(origin, Origin("scr:step", True, (two,)))
    assert not is_other(origin, Origin("scr:step", False, (newer,)))  # nothing can compare them
    assert not is_other(Origin("scr:step"), Origin("scr:step", False, (two,)))
    assert origin.joined([Origin("scr:step", False, (two, one)), Origin("b:step", False, (newer,))]).sources == (
        one,
        two,
    )
    assert Source.of(str(one)) == one
    assert Source.of("") == Source("", "", "")


def test_what_counts_as_code() -> None:
    space: dict[str, Any] = {"__name__": "m", "__file__": "/x/m.py"}

    def digest(text: str) -> str:
        names = dict(space)
        exec(text, names)
        return origin_of(names["f"]).sources[0].digest

    text = "k = 1\nclass A:\n  @property\n  def g(s): return {0}\ndef f(a=1):\n  return A().g, {{'a', 'b', 'c'}} > {{'d'}}, k"
    same = [text.format(1), "# x\n\n" + text.format(1).replace("k = 1", "k = 2")]
    others = [
        text.format(2),
        text.format(1.0),
        text.format(1).replace("a=1", "a=2"),
        text.format(1).replace("'d'", "'e'"),
    ]
    assert len({*map(digest, same)}) == 1
    assert len({*map(digest, [same[0], *others])}) == 1 + len(others)


def test_notebooks_whose_editor_tells_their_file() -> None:
    space: dict[str, Any] = {"__name__": "__main__", "__vsc_ipynb_file__": "/x/notes.ipynb"}
    exec("def f(): ...", space)
    assert origin_of(space["f"]).sources[0].file == "/x/notes.ipynb"


def test_an_installed_package_is_the_same_in_every_environment() -> None:
    files: set[str] = set()
    for place in ("/home/a/env/lib/python3.11", "/opt/env/lib/python3.12"):
        space: dict[str, Any] = {"__name__": "pkg.m", "__file__": f"{place}/site-packages/pkg/m.py"}
        exec("def f(): ...", space)
        files.add(origin_of(space["f"]).sources[0].file)
    assert files == {"site-packages/pkg/m.py"}


def test_merged_files_remember_all_sources(
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [write(f"{name}/scr.py", factor, "", tmp_path / name) for name, factor in (("x", 2), ("y", 2), ("z", 3))]
    for script in scripts:
        run(script)
    files = [str(script.with_name("step.h5")) for script in scripts]
    merged = str(tmp_path / "merged.h5")
    assert run_hpacml(monkeypatch, capsys, "db", "merge", merged, *files)[0] != 0
    with pytest.raises(hpacml.DatabaseError, match=r"(?s)other functions in .*scr:step in .*z/scr.py.*x/scr.py"):
        hpacml.open_database([files[0], files[2]])
    assert run_hpacml(monkeypatch, capsys, "db", "merge", merged, *files[:2])[0] == 0
    with h5py.File(merged) as file:
        assert len(cast(Any, file)["step"].attrs["sources"]) == 2
