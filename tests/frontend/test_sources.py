"""Kernels are compiled from the text of the code that Python runs, or not at all."""

from __future__ import annotations

import ast
import asyncio
import doctest
import functools
import importlib
import importlib.util
import linecache
import os
import py_compile
import sys
import textwrap
import traceback
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from kernels import kernel_of

import hpacml
from hpacml.frontend.kernel import Kernel

TWICE = "import hpacml\n\n\n@hpacml.kernel\ndef f(x: float):\n    return 2.0 * x\n"


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


def module(folder: Path, name: str, text: str) -> ModuleType:
    (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    importlib.invalidate_caches()
    return importlib.import_module(name)


def rewrite(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 5_000_000_000))


# -- the file changes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "new", [TWICE.replace("2.0", "3.0"), "# one line\n" + TWICE, TWICE.replace("def f", "def g"), ""]
)
def test_a_file_that_changes_between_import_and_call_changes_nothing(tmp_path: Path, new: str) -> None:
    made = module(tmp_path, "twice", TWICE)
    rewrite(tmp_path / "twice.py", new)
    linecache.checkcache()  # as a traceback does
    assert made.f(3.0) == made.f.py_func(3.0) == 6.0


LATER = "import hpacml\n\ndef make():\n    @hpacml.kernel\n    def f(x: float):\n        return 2.0 * x\n    return f\n"


@pytest.mark.parametrize("new", [LATER.replace("2.0", "3.0"), LATER.replace("2.0", "-0.0"), "\n" + LATER, "x = 1\n"])
def test_a_file_that_changes_between_import_and_decoration_is_refused(tmp_path: Path, new: str) -> None:
    made = module(tmp_path, "later", LATER)
    rewrite(tmp_path / "later.py", new)
    linecache.clearcache()
    kernel = made.make()
    for _ in range(2):
        with pytest.raises(
            hpacml.CompileError, match=r"later\.py:4: the source of 'f' is not the code that Python runs"
        ):
            kernel(3.0)
    assert kernel.py_func(3.0) == 6.0


def test_what_does_not_change_the_code_is_no_difference(tmp_path: Path) -> None:
    made = module(tmp_path, "same", LATER)
    rewrite(tmp_path / "same.py", LATER + "\nprint('behind it')\n")
    linecache.clearcache()
    assert made.make()(3.0) == 6.0


def test_numbers_differ_by_type_and_sign(tmp_path: Path) -> None:
    for number, (name, other) in enumerate([("0.0", "-0.0"), ("1.0", "1"), ("1", "True")]):
        made = module(tmp_path, f"numbers{number}", LATER.replace("2.0", name))
        rewrite(tmp_path / f"numbers{number}.py", LATER.replace("2.0", other))
        linecache.clearcache()
        with pytest.raises(hpacml.CompileError, match="is not the code"):
            made.make()(3.0)


def test_a_reloaded_module_has_its_new_text(tmp_path: Path) -> None:
    made = module(tmp_path, "again", TWICE)
    old = made.f
    rewrite(tmp_path / "again.py", "\n" + TWICE.replace("2.0", "3.0"))
    importlib.reload(made)
    assert (made.f(1.0), old(1.0)) == (3.0, 2.0)


def test_bytecode_without_source_is_refused_and_runs_as_python(tmp_path: Path) -> None:
    source = tmp_path / "bare.py"
    source.write_text(TWICE)
    py_compile.compile(str(source), cfile=str(tmp_path / "bare.pyc"), doraise=True)
    source.unlink()
    made = importlib.import_module("bare")
    with pytest.raises(hpacml.CompileError, match="no source text for 'f'"):
        made.f(1.0)
    assert made.f.py_func(1.0) == 2.0


def test_bytecode_beside_another_source_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "stale.py"
    source.write_text(TWICE)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), doraise=True, invalidation_mode=mode)
    source.write_text(TWICE.replace("2.0", "3.0"))
    made = importlib.import_module("stale")
    assert made.f.py_func(1.0) == 2.0
    with pytest.raises(hpacml.CompileError, match="is not the code"):
        made.f(1.0)


# -- where the text lies -------------------------------------------------------------------------

ODD_LINES = "import hpacml\n\x0c\n# \u2028 \x85 \x1c \n@hpacml.kernel\ndef f(x: float):\n    return 2.0 * x\n"


@pytest.mark.parametrize("text", [TWICE, ODD_LINES])
def test_a_module_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("zipped.py", text)
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    made = importlib.import_module("zipped")
    assert made.f(3.0) == 6.0
    del sys.modules["zipped"]


def test_an_example_of_doctest() -> None:
    example = """
    >>> import hpacml
    >>> @hpacml.kernel
    ... def f(x: float):
    ...     return 2.0 * x
    >>> f(3.0)
    6.0
    """
    test = doctest.DocTestParser().get_doctest(textwrap.dedent(example), {"__name__": "__main__"}, "example", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_a_cell_of_a_notebook_with_await() -> None:
    """A cell has its text in linecache, and may await at its top."""
    kernel = kernel_of(TWICE)
    file = "<a cell>"
    text = f"{TWICE}\nimport asyncio\nawait asyncio.sleep(0)\n"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    code = compile(text, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    space: dict[str, Any] = {}
    asyncio.run(eval(code, space))
    assert space["f"](3.0) == kernel(3.0) == 6.0


def test_text_of_which_linecache_knows_nothing_is_refused() -> None:
    space: dict[str, Any] = {}
    exec(TWICE, space)
    with pytest.raises(hpacml.CompileError, match="no source text for 'f', so it cannot be compiled"):
        space["f"](1.0)


def test_errors_count_lines_as_python_does(tmp_path: Path) -> None:
    made = module(tmp_path, "odd", ODD_LINES.replace("2.0 * x", '"a\u2028b" * x'))
    with pytest.raises(hpacml.CompileError) as caught:
        made.f(1.0)
    assert "odd.py:6: " in str(caught.value)
    assert "return" in str(caught.value).splitlines()[1]


# -- names that are private to a class -----------------------------------------------------------


class Solver:
    __rate = 3.0

    @staticmethod
    @hpacml.kernel
    def scaled(__x: float, *, __by: float = 2.0):
        __y = __x * __by
        return __y + 0.0

    @staticmethod
    @hpacml.kernel
    def triple(__x: float):
        return __rate * __x  # pyright: ignore


_Solver__rate = 3.0


def test_private_names_in_the_body_of_a_class() -> None:
    assert Solver.scaled(3.0) == Solver.scaled.py_func(3.0) == 6.0
    assert Solver.scaled(3.0, _Solver__by=5.0) == 15.0
    assert Solver.triple(2.0) == Solver.triple.py_func(2.0) == 6.0


def test_private_names_in_directives(tmp_path: Path) -> None:
    text = """
        import numpy as np, hpacml
        from hpacml import approx
        from jaxtyping import Float64
        class Solver:
            @hpacml.kernel
            def fill(__a: Float64[np.ndarray, "N"], __b: Float64[np.ndarray, "N"]):
                approx("tensor functor(f: [i, 0:1] = ([i]))")
                with approx("ml(collect) in(f(__a[0:3])) out(f(__b[0:3])) database('private.h5')"):
                    for i in range(3):
                        __b[i] = 2.0 * __a[i]
    """
    made = module(tmp_path, "private", text)
    a, b = np.arange(3.0), np.zeros(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        made.Solver.fill(a, b)
        hpacml.flush()
    assert (b == 2 * a).all()


# -- decorators ----------------------------------------------------------------------------------


def negated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return -function(*args)

    return wrapper


def test_a_decorator_below_is_refused_with_its_place() -> None:
    with pytest.raises(
        hpacml.CompileError, match=r"(?s)'f' is decorated below .*negated\.<locals>\.wrapper .*test_sources"
    ):

        @hpacml.kernel
        @negated
        def f(x: float):
            return 2.0 * x


def test_a_decorator_above_stays() -> None:
    @negated
    @hpacml.kernel
    def f(x: float):
        return 2.0 * x

    assert f(3.0) == -6.0
    assert isinstance(f.__wrapped__, Kernel)


def test_a_decorator_that_puts_another_function_in_its_place_is_what_is_compiled() -> None:
    def other(function: Any) -> Any:
        def f(x: float):
            return 5.0 * x

        return f

    @hpacml.kernel
    @other
    def f(x: float):
        return 2.0 * x

    assert f(1.0) == f.py_func(1.0) == 5.0


def test_attributes_of_the_function_do_not_hide_those_of_the_kernel() -> None:
    def marked(function: Any) -> Any:
        function.target = function.function = function.parameters = function.ir = function.mark = "mine"
        return function

    @hpacml.kernel
    @marked
    def f(x: float):
        return 2.0 * x

    assert f(1.0) == 2.0
    assert f.mark == "mine"
    assert "func.func" in str(f.ir())


def test_jaxtyped_changes_nothing() -> None:
    from jaxtyping import jaxtyped

    def checked(x: float):
        return rate * x

    below = hpacml.kernel(jaxtyped(checked, typechecker=None))
    above = jaxtyped(hpacml.kernel(checked), typechecker=None)
    strict = jaxtyped(hpacml.kernel(checked), typechecker=lambda function: function)
    assert below(2.0) == above(2.0) == strict(2.0) == 8.0


rate = 4.0


def test_the_import_hook_of_jaxtyping(tmp_path: Path) -> None:
    from jaxtyping import install_import_hook

    text = """
        import math, hpacml, numpy as np
        from jaxtyping import Float64

        @hpacml.kernel
        def f(a: Float64[np.ndarray, "N"]):
            for i in range(len(a)):
                a[i] = math.sqrt(a[i])

        class Solver:
            @hpacml.region(\"\"\"tensor functor(f: [i, 0:1] = ([i]))
                               ml(collect) in(f(a[0:2])) out(f(self.b[0:2])) if(False)\"\"\")
            def step(self, a):
                self.b[:] = 2 * a
    """
    with install_import_hook("hooked", None):
        made = module(tmp_path, "hooked", text)
    a = np.array([4.0, 9.0])
    made.f(a)
    assert a.tolist() == [2.0, 3.0]
    solver = made.Solver()
    solver.b = np.zeros(2)
    solver.step(a)
    assert solver.b.tolist() == [4.0, 6.0]


# -- errors --------------------------------------------------------------------------------------


def test_an_error_shows_no_frames_of_the_compiler() -> None:
    kernel = kernel_of("@hpacml.kernel\ndef f(x: float):\n    return math.sqrt(y)\n")
    for call in (lambda: kernel(1.0), kernel.ir):
        with pytest.raises(hpacml.CompileError) as caught:
            call()
        frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [file for file in frames if f"hpacml{os.sep}frontend" in file]
        assert len(ours) <= 2  # the door, which the user calls
        assert "'y' is not defined" in str(caught.value)
