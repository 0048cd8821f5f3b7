"""`python -m benchmarks.kernels [NAMES]`: the kernels of the paper's applications against the same programs in C.

Each is compared twice, on one core: as it is, which keeps the order of Python's floats, with what C has at `-O3`
without changing a bit; and with `fastmath=True` in all of its kernels with `-Ofast`. Results are compared before times
are. Time is that of the processor, since others may take turns on it.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import hpacml

from . import machine, show

SOURCES = Path(__file__).parent / "c"
RESULTS = Path(__file__).parent / "results" / "kernels.json"
ROUNDS = 30
STRICT, FAST = "strict", "fastmath"
FLAGS = {
    STRICT: "-O3 -march=native -ffp-contract=off -fno-math-errno -fno-trapping-math",
    FAST: "-Ofast -march=native",
}
"""Without `-fno-math-errno` no loop with a root becomes vectors: miniBUDE then takes six times as long."""


def miniweather(app, c):
    """Ten steps of colliding thermals on 100 x 50 cells."""
    ours, theirs = app.Simulation(100, 50), app.Simulation(100, 50)
    grid, state = theirs.grid, theirs.state
    arguments = (
        *grid[:5],
        *map(ctypes.c_double, grid[5:8]),
        grid.viscosity,
        grid.stagewise,
        *state.shape[1:],
        True,
        10,
    )
    return lambda: ours.step(10), lambda: c("advance", state, *arguments), (ours.state, state), 1e-10


def minibude(app, c):
    """1,024 poses of a synthetic deck of 334 atoms with 334."""
    deck = app.synthetic_deck(poses=1024)
    ours, theirs = np.zeros((2, 1024), np.float32)
    molecules = (value for atoms in deck[:2] for value in (*atoms, len(atoms.x)))
    arguments = *molecules, *deck.forces, deck.poses
    return (
        lambda: app.dock(deck, deck.poses, ours, 1, False, False, None, None),
        lambda: c("dock", *arguments, theirs, 1024),
        (ours, theirs),
        1e-4,
    )


def bonds(app, c):
    """4,096 bonds in float32."""
    given = app.random_bonds(4096)
    ours, theirs = np.zeros((2, 4, 4096), np.float32)
    return (
        lambda: app.value32(*given, *ours, 1, False, False, None, None),
        lambda: c("value", *given, *theirs, 4096),
        (ours, theirs),
        1e-3,
    )


def particlefilter(app, c):
    """A video of 24 frames, 512 particles."""
    video, seed = app.make_video(64, 65, seed=1)
    ours, theirs = np.zeros((2, 2, len(video)), np.float32)
    return (
        lambda: app.particle_filter(video, *ours, 512, seed, False, False, False, None, None),
        lambda: c("particle_filter", video, app.DISK, len(app.DISK), *theirs, *video.shape, 512, seed, False),
        (ours, theirs),
        1e-3,
    )


def binomial_options(app, c):
    """256 options on a lattice of 1,024 steps."""
    S, X, *rest = app.random_options(256)
    given = S, X, *app.prepare(*rest, 1024)
    ours, theirs = np.zeros((2, 256))
    return (
        lambda: app.lattice(*given, ours, 1024, False, False, None, None),
        lambda: c("lattice", *given, theirs, 256, 1024),
        (ours, theirs),
        1e-9,
    )


PROGRAMS = {each.__name__: each for each in (miniweather, minibude, bonds, particlefilter, binomial_options)}


def load(name, fastmath):
    """The application, with all of its kernels compiled with or without fastmath."""
    spec = importlib.util.find_spec(f"examples.{name}.app")
    app = importlib.util.module_from_spec(spec)
    with mock.patch.object(hpacml, "kernel", partial(hpacml.kernel, fastmath=fastmath)):
        spec.loader.exec_module(app)
    return app


def compiled(name, flags, folder):
    """The functions of the C program, called by name with arrays, integers and bools, and other numbers of ctypes."""
    code, library = Path(folder) / f"{name}.o", Path(folder) / f"{name}.so"
    subprocess.run(["cc", *flags.split(), "-fPIC", "-c", "-o", code, SOURCES / f"{name}.c"], check=True)
    # Linked with -Ofast, a library would flush denormal numbers to 0 in all of the process.
    subprocess.run(["cc", "-shared", "-o", library, code, "-lm"], check=True)
    functions = ctypes.CDLL(str(library))

    def c(function, *arguments):
        getattr(functions, function)(*map(_argument, arguments))

    return c


def _argument(value):
    match value:
        case np.ndarray():
            return ctypes.c_void_p(value.ctypes.data)
        case bool():
            return ctypes.c_bool(value)
        case int():
            return ctypes.c_long(value)
    return value


def measure(names=tuple(PROGRAMS)):
    """A row of the results for each program and way."""
    torch.set_num_threads(1)
    for name in names:
        for way, flags in FLAGS.items():
            with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder:
                row = {"name": name, "what": PROGRAMS[name].__doc__.rstrip("."), "way": way}
                yield row | compare(name, way, flags, folder)


def compare(name, way, flags, folder):
    ours, theirs, results, tolerance = PROGRAMS[name](load(name, way == FAST), compiled(name, flags, folder))
    ours()
    theirs()
    if not (equal := np.array_equal(*results)):
        np.testing.assert_allclose(*results, rtol=tolerance, atol=tolerance)
    times = np.empty((ROUNDS, 2))
    for k in range(ROUNDS):
        for column in (0, 1) if k % 2 else (1, 0):
            start = time.process_time()
            (ours, theirs)[column]()
            times[k, column] = time.process_time() - start
    quartiles = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    return {
        "flags": flags,
        "equal": equal,
        "seconds": dict(zip(("hpacml", "C"), np.median(times, axis=0).tolist(), strict=True)),
        "ratio": dict(zip(("lower quartile", "median", "upper quartile"), quartiles.tolist(), strict=True)),
    }


def report(console, about, names=tuple(PROGRAMS)):
    """Print the table, and write it with what it is `about`."""
    console.print("\nThe kernels of the paper's applications, 1 thread", highlight=False)
    for way, flags in FLAGS.items():
        console.print(f"{way}: against cc {flags}", highlight=False)
    table = Table("", "", "results")
    for column in ("hpacml", "C", "/ C", "quartiles"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = []
    for row in measure(names):
        rows.append(row)
        ratio = row["ratio"]
        table.add_row(
            row["name"] if row["way"] == STRICT else "",
            row["way"],
            "equal" if row["equal"] else "close",
            *(show(row["seconds"][name]) for name in ("hpacml", "C")),
            f"{ratio['median']:.2f}",
            f"{ratio['lower quartile']:.2f} {ratio['upper quartile']:.2f}",
        )
    console.print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": about, "kernels": rows}, indent=2) + "\n")
    console.print(f"medians in seconds: {RESULTS}")


if __name__ == "__main__":
    report(Console(), machine(), tuple(sys.argv[1:]) or tuple(PROGRAMS))
