"""Two functions of one name do not mix their data: a group knows the function that made it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import h5py
import numpy as np
import pytest

import hpacml
from hpacml.frontend.origin import origin_of
from tests.command import run_hpacml

TEXT = """
import numpy as np, hpacml
from hpacml import approx
from jaxtyping import Float64

REGION = "tensor functor(f: [i, 0:1] = ([i]))\\nml(collect) in(f(a[0:3])) out(f(b[0:3])) database(file) {clauses}"

@hpacml.region(REGION)
def step(a, b, file):
    b[:] = {factor} * a

def make():
    @hpacml.region(REGION)
    def step(a, b, file):
        b[:] = -a
    return step

class Solver:
    @hpacml.region(REGION)
    def step(self, a, b, file):
        b[:] = a

@hpacml.kernel
def kernel(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], file: str):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(f(a[0:3])) out(f(b[0:3])) database(file) {clauses}"):
        for i in range(3):
            b[i] = {factor} * a[i]

def run(region, file="d.h5"):
    region(np.arange(3.0), np.zeros(3), file)
    hpacml.flush()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a module of a name, with these clauses, and imports it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, clauses: str = "", factor: float = 2.0) -> Any:
        (tmp_path / f"{name}.py").write_text(TEXT.replace("{clauses}", clauses).replace("{factor}", str(factor)))
        made.append(name)
        return __import__(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def function(label: str, file: str = "d.h5") -> tuple[str | None, int]:
    hpacml.flush()
    with h5py.File(file) as opened:
        group: Any = opened[label]
        return group.attrs.get("function"), len(group["runtime"])


@pytest.mark.parametrize("name", ["step", "kernel"])
@pytest.mark.parametrize("flush", [True, False])
def test_a_second_function_of_the_name_is_refused_naming_both(module: Any, name: str, flush: bool) -> None:
    one, two = module("one"), module("two", factor=3.0)
    getattr(one, name)(np.arange(3.0), np.zeros(3), "d.h5")
    if flush:
        hpacml.flush()
    with pytest.raises(hpacml.DatabaseError, match=rf"function one:{name}, and two:{name} is another one"):
        two.run(getattr(two, name))
    one.run(getattr(one, name))
    assert function(name) == (f"one:{name}", 2)


def test_methods_and_inner_functions_are_others(module: Any) -> None:
    one = module("one")
    one.run(one.step)
    with pytest.raises(hpacml.DatabaseError, match=r"one:step, and one:Solver\.step"):
        one.run(one.Solver().step)
    with pytest.raises(hpacml.DatabaseError, match=r"one:step, and one:make\.<locals>\.step"):
        one.run(one.make())
    for _ in range(3):  # the same function, made again
        one.run(one.make(), "e.h5")
    assert function("step", "e.h5") == ("one:make.<locals>.step", 3)


def test_kernels_that_a_kernel_calls_keep_their_names(module: Any) -> None:
    module("one")
    text = Path("one.py").read_text().replace("database(file)", "database('d.h5')").replace(", file: str", "")
    for name in ("first", "second"):
        Path(f"{name}.py").write_text(text)
    calls = "    {0}.kernel(a, b)\n"
    head = "import numpy as np, hpacml, first, second\nfrom jaxtyping import Float64\n"
    head += "\n@hpacml.kernel\ndef outer(a: Float64[np.ndarray, 'N'], b: Float64[np.ndarray, 'N']):\n"
    Path("alone.py").write_text(head + calls.format("first"))
    Path("both.py").write_text(head + calls.format("first") + calls.format("second"))
    a, b = np.arange(3.0), np.zeros(3)
    __import__("alone").outer(a, b)
    assert function("kernel") == ("first:kernel", 1)
    with pytest.raises(hpacml.CompileError, match="first:kernel and second:kernel collect under one label, 'kernel'"):
        __import__("both").outer(a, b)


def test_labels_share_a_group_on_purpose(module: Any) -> None:
    one, two, three = module("one"), module("two", "label('step')", 3.0), module("three")
    for each in (one, two, one, two):
        each.run(each.step)
    assert function("step") == ("one:step", 4)
    for first, second in ((two, three), (one, three)):
        Path("d.h5").unlink()
        first.run(first.step)
        with pytest.raises(hpacml.DatabaseError, match=r"and three:step is another one"):
            second.run(second.step)


def test_a_file_from_before_takes_calls_and_remembers_then(module: Any) -> None:
    one, two = module("one"), module("two")
    one.run(one.step)
    with h5py.File("d.h5", "r+") as file:
        del file["step"].attrs["function"]
    two.run(two.step)
    assert function("step") == ("two:step", 2)


def test_merge_and_open_of_several_files(
    module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = module("one"), module("two"), module("three", "label('step')")
    for each in (one, two, three):
        each.run(each.step, f"{each.__name__}.h5")
    for name, copy in (("two", "old"), ("one", "again")):
        Path(f"{copy}.h5").write_bytes(Path(f"{name}.h5").read_bytes())
    with h5py.File("old.h5", "r+") as file:
        del file["step"].attrs["function"]
    with pytest.raises(hpacml.DatabaseError, match=r"(?s)other functions in .*two:step.*one:step"):
        hpacml.open_database(["one.h5", "two.h5"])
    assert run_hpacml(monkeypatch, capsys, "db", "merge", "m.h5", "one.h5", "two.h5")[0] != 0
    for number, files in enumerate([["one.h5", "three.h5"], ["old.h5", "one.h5"], ["one.h5", "again.h5"]]):
        assert run_hpacml(monkeypatch, capsys, "db", "merge", f"m{number}.h5", *files)[0] == 0
        assert function("step", f"m{number}.h5") == ("one:step", 2)
    with pytest.raises(hpacml.DatabaseError, match="two:step is another one"):
        two.run(two.step, "m0.h5")


def test_the_main_program_is_its_script(module: Any, tmp_path: Path) -> None:
    main = "\nif __name__ == '__main__':\n    run(step)\n    run(kernel, 'k.h5')\n"
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(TEXT.replace("{clauses}", "").replace("{factor}", "2.0") + main)

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)
        return done.stderr

    assert run("first.py") == run("-m", "first") == run("-c", "import first; first.run(first.step)") == ""
    error = run("second.py")
    assert "the function first:step, and second:step is another one" in error
    assert "first.py`" in error
    assert "second.py`" in error
    assert function("step") == ("first:step", 3)
    assert function("kernel", "k.h5") == ("first:kernel", 2)


def test_where_functions_are_defined() -> None:
    def function() -> None: ...

    here = "test_where_functions_are_defined.<locals>.function"
    assert origin_of(function).function == f"{__name__}:{here}"
    of_lambda = origin_of(lambda: None).function
    assert of_lambda.startswith(f"{__name__}:test_where_functions_are_defined.<locals>.<lambda> of line ")
    for name, names, module in [
        ("__main__", {"__file__": "/x/run.py"}, "run"),
        ("__mp_main__", {"__file__": "/x/run.py"}, "run"),
        ("__main__", {"__file__": "/x/tool/__main__.py"}, "tool"),
        ("__main__", {"__file__": "/x/tool/__main__.py", "__package__": "tool"}, "tool.__main__"),
        ("__main__", {"__file__": "/x/tool/run.py", "__package__": "tool"}, "tool.run"),
        ("__main__", {}, "__main__"),
        ("<run_path>", {"__file__": "/x/run.py"}, "<run_path>"),
    ]:
        space: dict[str, Any] = {"__name__": name, **names}
        exec("def function(): ...", space)
        origin = origin_of(space["function"])
        assert origin.function == f"{module}:function"
        assert origin.sources[0].file == next((file for file in names.values() if file.startswith("/")), "")
        assert origin_of(cloudpickle.loads(cloudpickle.dumps(space["function"]))) == origin
