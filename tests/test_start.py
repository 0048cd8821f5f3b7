"""The first calls of processes whose code is in the cache: what they load, and that the code is not that of others."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hpacml
from hpacml.frontend.python.definition import Definition

KERNEL = """
import numpy as np
from jaxtyping import Float64
import hpacml

@hpacml.kernel
def run(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    for i in range(a.shape[0]):
        b[i] = 2.0 * a[i]

a, b = np.arange(5.0), np.zeros(5)
run(a, b)
assert (b == 2.0 * a).all()
"""

REGION = """
import numpy as np
import hpacml

@hpacml.region('''
    tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))
    tensor functor(point: [i, 0:1] = ([i]))
    ml(infer) in(sides(t[1:n-1])) out(point(new[1:n-1])) model("net.pt") if(on)
''')
def smooth(t, new, n, on):
    new[1 : n - 1] = 0.5 * (t[: n - 2] + t[2:n])

t, new = np.arange(10.0), np.zeros(10)
smooth(t, new, 10, False)
assert (new[1:-1] == t[1:-1]).all()
"""

TELL = "import json, sys\nprint(json.dumps(sorted(sys.modules)))\n"


def run(program: str, folder: Path, **variables: str) -> list[str]:
    """What a program prints last, as JSON; its file and its cache are in the folder."""
    file = folder / "program.py"
    if not file.exists() or file.read_text() != program:  # it may be running
        file.write_text(program)
    environment = {**os.environ, "HPACML_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "-W", "error", str(folder / "program.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


COMPILER = (
    *("mlir", "xdsl", "lark", "hpacml.dialects", "hpacml.passes.common", "hpacml.frontend.python.compiler"),
    *("hpacml.abi.records", "hpacml.functors.targets"),
)
REST = (
    *("torch", "h5py", "hpacml.runtime.gpu", "hpacml.runtime.mapcheck"),
    *("hpacml.runtime.databases.writer", "hpacml.runtime.models.inference"),
)


@pytest.mark.parametrize(
    ("program", "unused"), [(KERNEL, (*COMPILER, *REST)), (REGION, ("mlir", "xdsl", *REST))], ids=["kernel", "region"]
)
def test_a_cached_call_loads_only_what_it_needs(program: str, unused: tuple[str, ...], tmp_path: Path) -> None:
    run(program + TELL, tmp_path)
    modules = run(program + TELL, tmp_path)
    assert not [name for name in modules for each in unused if f"{name}.".startswith(f"{each}.")]


# -- what kernels take from outside of their text ------------------------------------------------------

OUTSIDE = """
import json, math, os, sys, types
from dataclasses import dataclass
from enum import Enum
from typing import Any
import numpy as np
from jaxtyping import Float64
import hpacml
import helper

SECOND = bool(os.environ.get("SECOND"))

def pick(first, second):
    return second if SECOND else first

number = pick(1.5, 2.5)
zero = pick(0.0, -0.0)
kind = pick(3, 3.0)
narrow = pick(np.float32(0.1), 0.1)
pair = (1.0, pick(2.0, 3.0))
table = np.array([1.0, pick(4.0, 5.0)])
settings = {"a": pick(math.sin, math.cos), "other": object()}
place = types.SimpleNamespace(deep=types.SimpleNamespace(x=pick(0.5, 0.25)))
function = pick(math.sqrt, math.cos)
element = pick(np.float32, np.float64)

if SECOND:
    def replaced(x):
        return 5.0 * x
    helper.replaced = replaced

def plain(x):
    return x * number + inner(x)

def inner(x, factor=pick(2.0, 7.0)):
    return x * factor

@hpacml.kernel
def called(x: pick(float, np.float32)):
    return x * number

class Color(Enum):
    RED = pick(1, 2)

@dataclass
class Point:
    x: float
    def scaled(self):
        return self.x * number

point = Point(pick(1.0, 2.0))

def made(k, more):
    def nested(x):
        return x + more

    @hpacml.kernel
    def closing(x: float):
        return nested(x) * k
    return closing

kernels = []
def known(function):
    kernels.append(hpacml.kernel(function))
    return function

@known
def of_number(x: float):
    return x * number
@known
def of_zero(x: float):
    return math.atan2(zero, -x)
@known
def of_kind(x: float):
    return 7 / kind + 2 ** kind
@known
def of_narrow(x: float):
    return np.float32(x) * narrow
@known
def of_pair(x: float):
    return x + pair[1]
@known
def of_all_of_pair(x: float):
    total = x
    for each in pair:
        total += each
    return total
@known
def of_table(x: float):
    return x + table[1]
@known
def of_settings(x: float):
    return settings["a"](x)
@known
def of_place(x: float):
    return x + place.deep.x
@known
def of_function(x: float):
    return function(x)
@known
def of_element(x: float):
    return element(x) * element(0.1)
@known
def of_replaced(x: float):
    return helper.replaced(x)
@known
def of_plain(x: float):
    return plain(x)
@known
def of_called(x: float):
    return called(np.float32(x))
@known
def of_module(x: float):
    return helper.scaled(x) + helper.OFFSET
@known
def of_color(x: float):
    return x + Color.RED.value
@known
def of_point(x: float):
    return x + point.x
@known
def of_name(x: float):
    return x * sin(x)
sin = pick(math.sin, math.tan)
@known
def of_default(x: float, y: float = pick(1.0, 2.0)):
    return x + y
@known
def of_annotation(x: pick(float, np.float32)):
    return x * np.float32(0.1)
kernels.append(made(pick(2.0, 3.0), 1.0))
kernels.append(made(2.0, pick(1.0, 3.0)))

failed = []
for kernel in kernels:
    for x in (1.25, 3.5):
        x = np.float32(x) if kernel.__name__ == "of_annotation" else x
        try:
            got, wanted = kernel(x), kernel.py_func(x)
        except hpacml.CompileError as error:
            failed.append(str(error))
            continue
        same = np.float64(got).tobytes() == np.float64(wanted).tobytes()
        assert same and type(got) is type(wanted), (kernel.__name__, x, got, wanted)
assert not failed, failed
"""

HELPER = """
OFFSET = 1.0
def replaced(x):
    return x
def scaled(x):
    return x * FACTOR
FACTOR = 2.0
"""


def test_code_is_that_of_what_names_stand_for(tmp_path: Path) -> None:
    """The text of the kernels is the same in all of these processes, and so is the cache."""
    helper = tmp_path / "helper.py"
    helper.write_text(HELPER)
    for changed in (HELPER, HELPER.replace("x * FACTOR", "x + FACTOR"), HELPER.replace("2.0", "3.0")):
        helper.write_text(changed)
        for second in ("", "1"):
            run(OUTSIDE + TELL, tmp_path, SECOND=second)


def test_code_is_that_of_the_text(tmp_path: Path) -> None:
    """Programs of one name in one file, one after the other."""
    texts = [
        KERNEL,
        KERNEL.replace("2.0", "2.5"),
        KERNEL.replace("2.0 *", "2.0 +"),
        KERNEL.replace(" range(", " range(0 * "),
    ]
    texts[-1] = texts[-1].replace("b == 2.0 * a", "b == 0")
    for text in (*texts, *texts):
        run(text + TELL, tmp_path)


CHECKED = """
import numpy as np
from jaxtyping import Float64
import hpacml

@hpacml.kernel
def read(a: Float64[np.ndarray, "N"], i: int):
    return a[i]

a = np.arange(10.0)[:5]
try:
    read(a, 7)
    print('["read"]')
except hpacml.HpacmlError:
    print('["refused"]')
"""


def test_all_that_kernels_are_made_of_is_known() -> None:
    """What else a kernel can be given decides its code, and belongs to its choices."""
    assert [*inspect.signature(Definition.__init__).parameters] == ["self", "function", "read", "fastmath"]
    plain, fast = (hpacml.kernel(fastmath=choice)(_twice) for choice in (False, True))
    assert plain.choices != fast.choices


def _twice(x: float) -> float:
    return x + x


def test_code_is_that_of_the_environment(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(CHECKED, tmp_path) == ["read"]
        assert run(CHECKED, tmp_path, HPACML_CHECK="bounds") == ["refused"]


def test_code_is_that_of_hpacml_itself(tmp_path: Path) -> None:
    """Two versions in one cache: one whose products are sums, which is what its files say, and not its number."""
    package = tmp_path / "other" / "hpacml"
    shutil.copytree(Path(hpacml.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "frontend" / "python" / "scalars.py"
    text = path.read_text()
    assert "MulfOp" in text
    path.write_text(text.replace("MulfOp", "AddfOp"))
    before = path.stat()
    os.utime(path, (before.st_atime - 1000, before.st_mtime - 1000))
    other = KERNEL.replace("b == 2.0 * a", "b == 2.0 + a")
    for _ in range(2):
        run(KERNEL + TELL, tmp_path)
        program = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n" + other + TELL
        run(program, tmp_path)


def test_code_is_that_of_the_processor(tmp_path: Path) -> None:
    """A home on several machines: what one has compiled for itself, another does not run."""
    other = (
        "from hpacml.backend import llvm\nhost = llvm.host()._replace(cpu='x86-64', features='')\n"
        "llvm.host = lambda: host\nmade = []\nemit = llvm.emit\n"
        "llvm.emit = lambda *given: made.append(given) or emit(*given)\n"
    )
    count = "import json\nprint(json.dumps([str(len(made))]))\n"
    run(KERNEL + TELL, tmp_path)
    assert run(other + KERNEL + count, tmp_path) == ["2"], "the runtime and the kernel"
    assert run(other + KERNEL + count, tmp_path) == ["0"]


def test_what_is_damaged_is_made_anew(tmp_path: Path) -> None:
    run(KERNEL + TELL, tmp_path)
    entries = sorted((tmp_path / "cache").iterdir())
    assert {"facts", "kernel", "lowered", "code", "llvm", "runtime"} == {
        path.name.partition("-")[0] for path in entries
    }
    for path in entries:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    run(KERNEL + TELL, tmp_path)
    modules = run(KERNEL + TELL, tmp_path)
    assert "xdsl.ir" not in modules


def test_without_a_cache(tmp_path: Path) -> None:
    """Turned off, and where there can be no folder."""
    run(KERNEL + TELL, tmp_path, HPACML_CACHE="0")
    run(KERNEL + TELL, tmp_path, HPACML_CACHE_DIR=str(tmp_path / "program.py" / "cache"))
    assert not (tmp_path / "cache").exists()


def test_processes_that_begin_at_once(tmp_path: Path) -> None:
    """Kernels of one text that differ in a number of the module, with one cache that is empty."""
    program = KERNEL.replace("2.0", "factor").replace(
        "import hpacml", "import hpacml, os\nfactor = float(os.environ['F'])"
    )
    (tmp_path / "program.py").write_text(program + TELL)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda factor: run(program + TELL, tmp_path, F=str(factor)), [2.0, 3.0, 2.0, 3.0]):
            assert "numpy" in found
    for factor in (2.0, 3.0):
        assert "xdsl.ir" not in run(program + TELL, tmp_path, F=str(factor))
