"""The kernels of the paper's applications against the same programs in C.

Each is compared twice, on one core: as it is, which keeps the order of Python's floats, with what C has at `-O3`
without changing a bit; and with `fastmath=True` in all of its kernels with `-Ofast`. Before times are compared, results
are: the former are equal to the last bit.
"""

import ctypes
import importlib.util
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import hpacml

from .harness import ROUNDS, Aim, compare

SOURCES = Path(__file__).parent / "c"
STRICT, FAST = "strict", "fastmath"
FLAGS = {
    STRICT: "-O3 -march=native -ffp-contract=off -fno-math-errno -fno-trapping-math",
    FAST: "-Ofast -march=native",
}
"""Without `-fno-math-errno` no loop with a root becomes vectors: miniBUDE then takes six times as long."""
OURS = {STRICT: "hpacml", FAST: "hpacml, fastmath=True"}
C = {way: f"cc {flags}" for way, flags in FLAGS.items()}


def miniweather(app, c):
    """Thirty steps of colliding thermals on 100 x 50 cells."""
    ours, theirs = app.Simulation(100, 50), app.Simulation(100, 50)
    grid, state = theirs.grid, theirs.state
    arguments = (
        *grid[:5],
        *map(ctypes.c_double, grid[5:8]),
        np.array([grid.viscosity_x, grid.viscosity_z]),
        grid.stagewise,
        *state.shape[1:],
        True,
        30,
    )
    return lambda: ours.step(30), lambda: c("advance", state, *arguments), (ours.state, state), 1e-10


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
    """16,384 bonds in float32."""
    given = app.random_bonds(16384)
    ours, theirs = np.zeros((2, 4, 16384), np.float32)
    return (
        lambda: app.value32(*given, *ours, 1, False, False, None, None),
        lambda: c("value", *given, *theirs, 16384),
        (ours, theirs),
        1e-3,
    )


def particlefilter(app, c):
    """A video of 24 frames, 512 particles."""
    video, seed = app.make_video(64, 65, seed=1)
    ours, theirs = np.zeros((2, 2, len(video)), np.float32)
    return (
        lambda: app.particle_filter(video, *ours, *ours, 512, seed, False, False, False, None, None),
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


def measure(quick=False):
    """A comparison of each program, four ways."""
    torch.set_num_threads(1)
    for name in PROGRAMS:
        yield program(name, 10 if quick else ROUNDS)


def program(name, count):
    calls, skipped = {}, {}
    for way, flags in FLAGS.items():
        with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder:
            try:
                functions = compiled(name, flags, folder)
            except (OSError, subprocess.CalledProcessError) as error:
                functions, skipped[C[way]] = unavailable, str(error)
            ours, theirs, results, tolerance = PROGRAMS[name](load(name, way == FAST), functions)
        ours()
        calls[OURS[way]] = ours
        if C[way] not in skipped:
            theirs()
            allowed = tolerance if way == FAST else 0.0
            np.testing.assert_allclose(*results, rtol=allowed, atol=allowed)
            calls[C[way]] = theirs
    aims = [
        Aim(f"{name}, {way}: hpacml / C", OURS[way], to=C[way], most=most)
        for way, most in ((STRICT, 1.1), (FAST, 1.15))
    ]
    what = PROGRAMS[name].__doc__.rstrip(".")
    return compare(f"{name}: {what}", calls, ours=OURS[STRICT], count=count, aims=aims, skipped=skipped)


def unavailable(function, *arguments):
    raise AssertionError("there is no C compiler")
