"""What collecting adds to a program: three of the paper's programs, scaled to one core.

Each is run without collection, with a database clause, and with a writer that appends each call with h5py before it
goes on, into the datasets that HPAC-ML makes. The latter two keep the same data. The floors are a copy of as many
bytes in memory, and a plain write of them to a file.

The aim: less than 1.1 times the time without collection where the code takes longer than writing its data would, and
less than 2 times for MiniWeather, whose whole state goes in and out at each step of a millisecond. `hpacml.flush()`,
which waits until all is in the file, is told beside it, and again as a part of the whole.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import hpacml
from examples.binomial_options import app
from examples.bonds import app as bonds
from examples.miniweather.app import Simulation

from . import machine, show

RESULTS = Path(__file__).parent / "results" / "collect.json"
ROUNDS = 7

WITHOUT, OURS, THEIRS = "without collection", "hpacml", "h5py at each call"
COPY, WRITE = "copy of equal bytes", "write of equal bytes"


class Appender:
    """What HPAC-ML does at each call of a region: grow each dataset by one, and write the entry."""

    CHUNK_BYTES = 4_000_000

    def __init__(self, path, label):
        self._file = h5py.File(path, "w")
        self._group = self._file.create_group(label)
        self._sets = None

    def append(self, x, y, seconds):
        entries = {"input": x, "output": y, "runtime": np.float32(seconds * 1e3)}
        if self._sets is None:
            self._sets = {name: self._create(name, np.asarray(entry)) for name, entry in entries.items()}
        for name, entry in entries.items():
            dataset = self._sets[name]
            count = dataset.shape[0]
            dataset.id.set_extent((count + 1, *dataset.shape[1:]))
            dataset[count] = entry

    def close(self):
        self._file.close()

    def _create(self, name, entry):
        chunk, size = [], entry.itemsize
        for extent in reversed(entry.shape):
            # The largest part of the extent that divides it and still fits.
            part = next(n for n in range(extent, 0, -1) if extent % n == 0 and (n == 1 or n * size <= self.CHUNK_BYTES))
            size *= part
            chunk.insert(0, part)
        return self._group.create_dataset(
            name, (0, *entry.shape), entry.dtype, maxshape=(None, *entry.shape), chunks=(1, *chunk)
        )


class Binomial:
    """Options on a lattice of 1024 steps: five features and a price, float64."""

    label = "binomial"
    calls, options = 4, 8192
    what = f"binomial options, {calls} calls of {options}"

    def __init__(self):
        S, X, T, R, V = app.random_options(self.options)
        self._columns = (S, X, *app.prepare(T, R, V, app.STEPS))
        self._prices = None

    def call(self, database=None):
        self._prices = app.price_prepared(*self._columns, app.STEPS, database=database)

    def inputs(self):
        return np.stack(self._columns, -1)

    def outputs(self):
        return self._prices[:, None]


class Bonds:
    """Bonds: nine features and the accrued interest, float32."""

    label = "bonds"
    calls, bonds = 4, 100_000
    what = f"bonds, {calls} calls of {bonds}"

    def __init__(self):
        self._given = bonds.random_bonds(self.bonds)
        self._accrued = None

    def call(self, database=None):
        self._accrued = bonds.values(*self._given, database=database)["accrued"]

    def inputs(self):
        rates, *dates = self._given
        return np.concatenate([rates[:, None], *dates], 1, dtype=np.float32)

    def outputs(self):
        return self._accrued[:, None]


class MiniWeather:
    """The whole step of MiniWeather on 100 x 50 cells, whose state goes in and out: 4 x 54 x 104 float64 each."""

    label = "miniweather"
    calls = 1000
    what = f"MiniWeather, {calls} steps of 100 x 50 cells"

    def __init__(self):
        self._simulation = Simulation(100, 50)

    def call(self, database=None):
        self._simulation.step(database=database)

    def inputs(self):
        return self._simulation.state.copy()

    def outputs(self):
        return self._simulation.state


def run(program, way, path):
    """The seconds of all calls, and those until all is in the file."""
    appender = Appender(path, program.label) if way == THEIRS else None
    start = time.perf_counter()
    for _ in range(program.calls):
        if appender is None:
            program.call(path if way == OURS else None)
            continue
        x = program.inputs()
        began = time.perf_counter()
        program.call()
        appender.append(x, program.outputs(), time.perf_counter() - began)
    returned = time.perf_counter()
    if way == OURS:
        hpacml.flush()
    elif appender is not None:
        appender.close()
    return returned - start, time.perf_counter() - returned


def floors(program, path):
    """The seconds that it takes to copy and to write what the calls keep."""
    x, y = program.inputs(), np.ascontiguousarray(program.outputs())
    kept = [np.ones((program.calls, *each.shape), each.dtype) for each in (x, y)]  # memory that is there already
    start = time.perf_counter()
    for call in range(program.calls):
        np.copyto(kept[0][call], x)
        np.copyto(kept[1][call], y)
    copied = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(program.calls):
            file.write(x)
            file.write(y)
    return {COPY: copied - start, WRITE: time.perf_counter() - copied}, program.calls * (x.nbytes + y.nbytes)


def measure(rounds=ROUNDS):
    """A row of the results for each program. The ways take turns, and each turn has a new file."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder:
        for kind in (Binomial, Bonds, MiniWeather):
            yield compare(kind, rounds, folder)


def compare(kind, rounds, folder):
    path = os.path.join(folder, "d.h5")
    ways = [WITHOUT, OURS, THEIRS]
    times = {way: [] for way in ways}
    lower = []
    for number in range(rounds + 1):
        ways.append(ways.pop(0))
        made = {}
        for way in ways:
            program = kind()
            taken = run(program, way, path)
            if number:  # the first round compiles
                times[way].append(taken)
            if way != WITHOUT:
                made[way] = stored(path, program.label)
                os.remove(path)
        seconds, size = floors(program, path)
        lower.append(seconds)
        os.remove(path)
        if not number:
            require_same(made)
    return {
        "what": kind.what,
        "calls": kind.calls,
        "bytes": size,
        "rounds": rounds,
        "seconds": {
            way: {
                "calls": median(calls for calls, _ in taken),
                "flush": median(flush for _, flush in taken),
                "all": median(map(sum, taken)),
            }
            for way, taken in times.items()
        },
        "floors": {name: median(each[name] for each in lower[1:]) for name in (COPY, WRITE)},
    }


def stored(path, label):
    """The first and the last call that a file has."""
    with h5py.File(path) as file:
        return {name: file[label][name][[0, -1]] for name in ("input", "output")}


def require_same(made):
    for name, expected in made[THEIRS].items():
        np.testing.assert_array_equal(made[OURS][name], expected)


def table(row):
    """The table of one program: ratios are to the time without collection."""
    table = Table("")
    for column in ("calls", "ratio", "flush", "calls and flush", "ratio", "MB/s"):
        table.add_column(column, justify="right")
    base = row["seconds"][WITHOUT]
    for way, taken in row["seconds"].items():
        ratios = [f"{taken[name] / base[name]:.2f}" for name in ("calls", "all")]
        rate = "" if way == WITHOUT else f"{row['bytes'] / taken['all'] / 1e6:.0f}"
        flush = "" if way == WITHOUT else show(taken["flush"])
        table.add_row(way, show(taken["calls"]), ratios[0], flush, show(taken["all"]), ratios[1], rate)
    table.add_section()
    for name, seconds in row["floors"].items():
        table.add_row(name, show(seconds), "", "", "", "", f"{row['bytes'] / seconds / 1e6:.0f}")
    return table


def report(console, about):
    """Print the tables, and write them with what they are `about`."""
    rows = []
    for row in measure():
        rows.append(row)
        console.print(f"\n{row['what']}, {row['bytes'] / 1e6:.1f} MB, 1 thread", highlight=False)
        console.print(table(row))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": about, "collect": rows}, indent=2) + "\n")
    console.print(f"medians in seconds: {RESULTS}")


if __name__ == "__main__":
    report(Console(), machine())
