"""The first calls of processes: `python -m benchmarks.start [ROUNDS]`, with an empty cache and with a full one.

NumPy and jaxtyping, which programs import themselves, come first and are counted apart. All that hpacml loads counts
where it is loaded: `import hpacml` and decorators, or the first call. Modules are compiled to byte code before, as
installers do. Processes with empty and with full caches take turns. Times are medians.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from . import show

ROUNDS = 5

IMPORTS = """
import json, sys, time
now = time.perf_counter
marks = [now()]
import numpy as np
import jaxtyping
marks.append(now())
"""

CALLS = """
marks.append(now())
call()
marks.append(now())
call()
marks.append(now())
further = {further}
marks.append(now())
further()
marks.append(now())
spans = [after - before for before, after in zip(marks, marks[1:])]
print(json.dumps(spans))
"""

STENCIL = """
from jaxtyping import Float64
import hpacml
a, b = np.ones((64, 64)), np.zeros((64, 64))

@hpacml.kernel
def step(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N M"]):
    for i in range(1, a.shape[0] - 1):
        for j in range(1, a.shape[1] - 1):
            b[i, j] = a[i, j] + 0.1 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] - 4.0 * a[i, j])

@hpacml.kernel
def halve(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N M"]):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            b[i, j] = 0.5 * a[i, j]

def call():
    step(a, b)
"""

HEAT = """
from examples.heat2d.heat import heat
import hpacml
t, new = np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32)

def call():
    heat(t, new, False, True)
"""

REGION = """
import hpacml
t, new = np.ones(1000), np.zeros(1000)

def region(left):
    @hpacml.region(f'''
        tensor functor(sides: [i, 0:2] = ([i - {left}], [i + 1]))
        tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(sides(t[2:n-1])) out(point(new[2:n-1])) model("net.pt") if(use)
    ''')
    def smooth(t, new, n, use):
        new[1 : n - 1] = 0.5 * (t[: n - 2] + t[2:n])
    return lambda: smooth(t, new, 1000, False)

call = region(1)
"""

CASES = {
    "a kernel: a stencil": (STENCIL, "lambda: halve(a, b)"),
    "a kernel with a region: heat": (HEAT, "call"),
    "a region": (REGION, "region(2)"),
}
COLUMNS = ("NumPy, jaxtyping", "hpacml, decorators", "first call", "the same call again")


def run(file, cache):
    """The times of one process. Its file is the same in all, as code depends on the place of what it is made of."""
    root = str(Path(__file__).parents[1])
    bytecode = str(cache.parent / "bytecode")
    environment = {**os.environ, "HPACML_CACHE_DIR": str(cache), "PYTHONPATH": root, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, file], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(rounds=ROUNDS):
    """The medians of each case, with an empty and a full cache."""
    found = {}
    for name, (setup, further) in CASES.items():
        program = IMPORTS + setup + CALLS.format(further=further)
        times = {"empty": [], "full": []}
        with tempfile.TemporaryDirectory() as folder:
            full = Path(folder) / "full"
            file = Path(folder) / "program.py"
            file.write_text(program)
            run(file, full)
            for number in range(rounds):
                times["empty"].append(run(file, Path(folder) / str(number)))
                times["full"].append(run(file, full))
        found[name] = {cache: list(map(median, zip(*each, strict=True))) for cache, each in times.items()}
    return found


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    table = Table("", "cache", *COLUMNS, "another one: decorators", "its first call")
    for name, caches in measure(rounds).items():
        for cache, spans in caches.items():
            table.add_row(name if cache == "empty" else "", cache, *map(show, spans))
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
