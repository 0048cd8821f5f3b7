"""The clause `sample`: which calls of a region are collected, and that the database tells."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.abi.records import SampleSite, Source
from hpacml.clauses import Sampling
from hpacml.runtime.databases import sampler

Vector = Float64[np.ndarray, "N"]
DATABASE = "d.h5"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of its own, so that the databases in it are, and with them the counts."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HPACML_SAMPLE", "HPACML_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
    yield tmp_path
    hpacml.flush()


def make(clauses: str, mode: str = "collect", database: str = DATABASE) -> Callable[..., Any]:
    """A region that collects the number it gets."""

    @hpacml.region(f"""tensor functor(one: [i, 0:1] = ([i]))
                       ml({mode}) in(one(a[0:1])) out(one(b[0:1])) model(net) database("{database}") label("r") {clauses}""")
    def double(a, b, use, active, net):
        b[:] = 2 * a

    def run(number: float, use: bool = False, active: bool = True) -> float:
        a, b = np.array([float(number)]), np.zeros(1)
        double(a, b, use, active, lambda x: -x)
        return float(b[0])

    return run


def collected(database: str = DATABASE) -> list[float]:
    with hpacml.open_database(database) as opened:
        inputs, outputs = opened["r"].inputs[0][:], opened["r"].outputs[0][:]
    np.testing.assert_array_equal(outputs, 2 * inputs)
    return inputs.ravel().tolist()


def picks(sampling: Sampling, calls: int = 1000) -> list[int]:
    """What a process that counts anew takes."""
    count = sampler.Count(sampling)
    return [k for k in range(calls) if count.take()]


CLAUSES = {
    "every: 10": [0, 10, 20, 30, 40],
    "most: 3": [0, 1, 2],
    "every: 7, most: 3": [0, 7, 14],
    "most: 100, every: 25": [0, 25],
    "fraction: 1": list(range(50)),
}


@pytest.mark.parametrize(("clause", "numbers"), CLAUSES.items())
def test_which_calls(clause: str, numbers: list[int]) -> None:
    run = make(f"sample({clause})")
    for k in range(50):
        assert run(k) == 2 * k
    assert collected() == numbers


def test_a_fraction_of_what_every_leaves_until_there_are_most() -> None:
    run = make("sample(every: 3, fraction: 0.5, seed: 7, most: 20)")
    for k in range(300):
        run(k)
    numbers = collected()
    chosen = picks(Sampling(fraction=0.5, seed=7), 100)
    assert numbers == [3 * k for k in chosen[:20]]


def test_the_seed_decides() -> None:
    assert (
        picks(Sampling(fraction=0.2)) == picks(Sampling(fraction=0.2, seed=0)) != picks(Sampling(fraction=0.2, seed=1))
    )
    assert 150 < len(picks(Sampling(fraction=0.2))) < 250
    assert picks(Sampling(fraction=0.2))[:5] == [4, 5, 9, 10, 16]


@pytest.mark.parametrize("variable", ["HPACML_RANK", "SLURM_PROCID"])
def test_ranks_pick_other_calls(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in ("0", "1", "0"):
        monkeypatch.setenv(variable, rank)
        found.append(picks(Sampling(fraction=0.2)))
    assert found[0] == found[2] != found[1]
    monkeypatch.setenv(variable, "5")
    assert picks(Sampling(every=100)) == list(range(0, 1000, 100))


@hpacml.kernel
def kernel(a: Vector, b: Vector, use: bool, active: bool, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("""ml(predicated: use) if(active) in(one(a[0:1])) out(one(b[0:1])) model(net) database("d.h5")
                   label("r") sample(every: 2)"""):
        b[0] = 2 * a[0]


def test_a_kernel_counts_the_calls_that_would_collect() -> None:
    for k in range(12):
        b = np.zeros(1)
        kernel(np.array([float(k)]), b, k % 4 == 1, k % 4 != 2, lambda x: -x)
        assert b[0] == (-k if k % 4 == 1 else 2 * k)
    assert collected() == [0, 4, 8]  # of 0, 3, 4, 7, 8, 11


def test_a_region_counts_the_calls_that_would_collect() -> None:
    run = make("if(active) sample(every: 2)", "predicated: use")
    for k in range(12):
        assert run(k, k % 4 == 1, k % 4 != 2) == (-k if k % 4 == 1 else 2 * k)
    assert collected() == [0, 4, 8]


def test_a_call_that_is_not_sampled_reads_nothing() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(a[idx[0:1]])) out(one(b[0:1])) database("d.h5") label("r") sample(most: 1)""")
    def first(a, idx, b):
        b[:] = 2 * a[0]

    a, b = np.array([1.0]), np.zeros(1)
    first(a, np.array([0]), b)
    first(a, np.array([7]), b)  # which a gather would refuse
    assert collected() == [1]


def test_variants_of_a_region_count_together() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(a[0:1])) out(one(b[0:1])) database("d.h5") label("r") sample(every: 3)""")
    def double(a, b):
        b[:] = 2 * a

    wide = np.zeros(2)[::2]
    for k in range(9):  # contiguous or not: two pieces of compiled code
        double(np.array([float(k)]), np.zeros(1) if k % 2 else wide)
    assert collected() == [0, 3, 6]


def test_each_database_has_its_count() -> None:
    first, again, other = make("sample(most: 2)"), make("sample(most: 2)"), make("sample(most: 2)", database="e.h5")
    for k in range(3):
        first(k)
        again(10 + k)
        other(k)
    assert collected() == [0, 10]
    assert collected("e.h5") == [0, 1]


def test_the_database_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(a[0:1])) out(one(b[0:1])) label("r") sample(every: 2)""")
    def double(a, b):
        b[:] = 2 * a

    with pytest.raises(hpacml.DatabaseError, match="the region 'r' has no database"):
        double(np.zeros(1), np.zeros(1))
    for name in ("e.h5", "f.h5"):
        monkeypatch.setenv("HPAC_DB_FILE", name)
        for k in range(3):
            double(np.array([float(k)]), np.zeros(1))
        assert collected(name) == [0, 2]


@pytest.mark.parametrize("clause", ["every: 7", "fraction: 0.3", "every: 2, fraction: 0.5, most: 50"])
def test_threads_take_as_many_as_one(clause: str) -> None:
    run = make(f"sample({clause})")
    serial = make(f"sample({clause})", database="serial.h5")
    for k in range(800):
        serial(k)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(800)))
    assert len(collected()) == len(collected("serial.h5"))
    assert len(set(collected())) == len(collected())


def test_the_same_in_each_process() -> None:
    program = """
        import sys, numpy as np, hpacml

        @hpacml.region('''tensor functor(one: [i, 0:1] = ([i]))
                          ml(collect) in(one(a[0:1])) out(one(b[0:1])) database(path) label("r") sample(fraction: 0.2)''')
        def double(a, b, path):
            b[:] = 2 * a

        for k in range(100):
            double(np.array([float(k)]), np.zeros(1), sys.argv[1])
    """
    for name in ("e.h5", "f.h5"):
        subprocess.run([sys.executable, "-c", textwrap.dedent(program), name], check=True, env=dict(os.environ))
    assert collected("e.h5") == collected("f.h5") == picks(Sampling(fraction=0.2), 100)


def test_forks_and_spawned_processes_count_anew_and_pick_other_calls() -> None:
    program = """
        import multiprocessing, os, sys
        from hpacml.runtime.databases.sampler import Samples
        from hpacml.abi.records import SampleSite, Source
        from hpacml.clauses import Sampling

        every = Samples(SampleSite("r", Source("d.h5"), Sampling(every=100, most=3)))
        part = Samples(SampleSite("r", Source("d.h5"), Sampling(fraction=0.2)))

        def picks(samples):
            return [k for k in range(1000) if samples.take()]

        def show():
            print(hash(tuple(picks(part))), picks(every) == [0, 100, 200], flush=True)

        if __name__ == "__main__":
            show()
            for _ in range(2):
                if not (child := os.fork()):
                    show()
                    os._exit(0)
                os.waitpid(child, 0)
            context = multiprocessing.get_context("spawn")
            for _ in range(2):
                process = context.Process(target=show)
                process.start()
                process.join()
    """
    Path("program.py").write_text(textwrap.dedent(program))
    runs = [
        subprocess.run([sys.executable, "program.py"], check=True, capture_output=True, text=True).stdout.splitlines()
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 5
    assert all(line.endswith("True") for line in runs[0])


# -- the record --------------------------------------------------------------------------------------------


def record(database: str = DATABASE) -> list[tuple[int, str | None]]:
    with hpacml.open_database(database) as opened:
        return [(run.first_call, run.sample) for run in opened["r"].runs]


def test_the_run_tells_the_clause() -> None:
    run = make("sample(most: 1000, every: 2)")
    for k in range(4):
        run(k)
    assert record() == [(0, "every: 2, most: 1000")]
    make("", database="e.h5")(1)
    assert record("e.h5") == [(0, None)]


def test_one_run_tells_all_clauses_of_its_regions() -> None:
    plain, some, few = make(""), make("sample(every: 2)"), make("sample(most: 1)")
    for k in range(4):
        for run in (plain, some, few):
            run(k)
    assert record() == [(0, "all; every: 2; most: 1")]
    hpacml.flush()
    plain(5)
    assert record() == [(0, "all; every: 2; most: 1")]


def test_records_without_it_are_read() -> None:
    make("")(1)
    hpacml.flush()
    with h5py.File(DATABASE, "a") as file:
        text = file["r/runs"].asstr()[0]
        del file["r/runs"]
        old = "[" + text.replace(', "sample": null', "") + "]"
        file["r"].attrs["runs"] = old
    make("sample(every: 2)")(2)
    assert record() == [(0, None), (1, "every: 2")]
    assert '"sample": null' in text
    with h5py.File(DATABASE) as file:  # a file keeps the attribute that it has
        assert (file["r"].attrs["runs"], len(file["r/runs"])) == (old, 1)


# -- the environment ---------------------------------------------------------------------------------------


def test_the_environment_samples_regions_without_the_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_SAMPLE", "every: 3, most: 2")
    run, own = make(""), make("sample(every: 4)", database="e.h5")
    for k in range(10):
        run(k)
        own(k)
    assert collected() == [0, 3]
    assert collected("e.h5") == [0, 4, 8]
    assert record() == [(0, "every: 3, most: 2")]
    assert make("", "infer")(1, True) == -1


def test_a_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_SAMPLE", "every: 0")
    with pytest.raises(hpacml.DirectiveError) as caught:
        make("")(1)
    assert str(caught.value) == (
        "in the environment variable HPACML_SAMPLE: 'every' is an integer, 1 or more, as in every: 10\n"
        "  every: 0\n         ^"
    )


def test_the_ir_without_the_clause_is_as_before() -> None:
    text = str(kernel.ir())
    assert 'label "r" model @net database "d.h5" sample <every: 2> {' in text
    assert "hpacml.sample" in str(kernel.ir(stage="expand"))

    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(a[0:1])) out(one(b[0:1])) label("r")""")
    def plain(a, b): ...

    assert "sample" not in str(plain.ir(np.zeros(1), np.zeros(1)))


def test_sites_that_are_equal_count_together() -> None:
    site = SampleSite("equal", Source("d.h5"), Sampling(every=2))
    one, other = sampler.Samples(site), sampler.Samples(site)
    assert [samples.take() for samples in (one, other, one, other)] == [True, False, True, False]
