"""`hpacml.evaluate`: what its rows say is what ran."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml import HpacmlError, save_model
from hpacml.evaluation.breakdown import breakdown
from hpacml.evaluation.clocks import Spread, Turn
from hpacml.evaluation.contestants import Contestant
from hpacml.evaluation.measured import Row
from hpacml.evaluation.remarks import disturbed, remarks
from hpacml.runtime.reports import instruments
from hpacml.runtime.reports.report import Event, RegionReport
from tests.evaluation.programs import N, Program, Sine, patient

FEW = {"trials": 4, "dropped": 1}


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    monkeypatch.delenv("HPACML_ENGINE", raising=False)


def test_rows_are_of_what_ran(program, net):
    evaluation = hpacml.evaluate(program, {"net": net}, baselines={"line": lambda: program.x - 0.2}, **FEW)
    assert [(row.name, row.kind, row.engine) for row in evaluation.rows] == [
        ("accurate", "accurate", ""),
        ("net", "model", "torch"),
        ("net", "model", "compiled"),
        ("line", "baseline", ""),
    ]
    assert all(len(row.wall) == len(row.cpu) == 3 for row in evaluation.rows)
    assert program.given.count(None) == program.given.count(net) / 2 >= 4
    accurate, by_torch, compiled, line = evaluation.rows
    assert accurate.errors is None
    wrong = program.predicted(net) - program.right
    for row in (by_torch, compiled):
        assert row.errors["rmse"] == pytest.approx(np.sqrt(np.mean(wrong**2)), rel=1e-9)
        assert row.errors["max"] == pytest.approx(np.abs(wrong).max(), rel=1e-9)
        assert row.speedup == pytest.approx(accurate.mean / row.mean)
        ratios = np.array(accurate.wall) / row.wall
        assert row.paired == pytest.approx(np.percentile(ratios, [25, 50, 75]))
        assert row.events["model"] > 0
        assert row.events["body"] == 0
        assert sum(row.shares.values()) == pytest.approx(1)
    assert line.errors["mae"] == pytest.approx(np.abs(program.x - 0.2 - program.right).mean())
    assert line.events["program"] > 0 == line.events["model"]
    assert accurate.events["body"] > 0
    assert (by_torch.engine_note, compiled.engine_note) == ("Torch", "compiled")
    assert not [note for note in evaluation.notes if "disturbed" not in note]


def test_the_time_of_a_run_is_shared_out(program, net):
    evaluation = hpacml.evaluate(program, {"net": net}, engines="torch", **FEW)
    row = evaluation["net"]
    total = sum(row.events.values())
    assert row.shares == pytest.approx({name: time / total for name, time in row.events.items()})


def test_errors_are_against_a_truth_that_is_given(program, net):
    evaluation = hpacml.evaluate(program, {"net": net}, truth=program.right + 0.5, metric="mae", **FEW)
    assert evaluation.accurate.errors["mae"] == pytest.approx(0.5)
    assert evaluation["net"].errors["mae"] == pytest.approx(np.abs(program.predicted(net) - program.right - 0.5).mean())


def test_several_arrays_and_numbers(net):
    def run(model):
        shift = 0.0 if model is None else 1.0
        return {"a": torch.zeros(3, 4) + shift, "b": 2 * shift, "c": np.arange(6) + int(shift)}

    row = hpacml.evaluate(run, {"net": net}, engines=["torch"], **FEW)["net"]
    assert row.errors["mae"] == pytest.approx((12 * 1 + 2 + 6) / 19)
    assert row.errors["max"] == 2
    by_name = {each["name"]: each["mae"] for each in row.errors["per_output"]}
    assert by_name["b"] == 2
    assert by_name["c[5]"] == 1


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_files_are_models(engine, program, net, tmp_path):
    path = tmp_path / "small.pt2"
    save_model(net, path, example=torch.zeros(3, 1, dtype=torch.float64))
    row = hpacml.evaluate(program, path, engines=engine, **FEW)["small", engine]
    assert row.failed is None
    assert row.engine_note.lower() == engine


def test_what_cannot_be_compiled_is_a_row_that_says_why(program):
    evaluation = hpacml.evaluate(program, {"sine": Sine()}, **FEW)
    assert evaluation["sine", "torch"].errors is not None
    failed = evaluation["sine", "compiled"]
    assert "cannot be" in failed.failed
    assert failed.wall == ()
    assert "cannot be" in evaluation.verdict()


def test_the_original_code_in_place_of_a_model_is_told(net):
    wide = nn.Linear(2, 2).double()
    evaluation = hpacml.evaluate(Program(patient), {"wide": wide}, engines="torch", **FEW)
    row = evaluation["wide"]
    assert row.failed is None
    assert "original code in place of the model in 3 of 3 calls" in row.engine_note
    assert any("failed 4 times" in note for note in evaluation.notes)


def test_a_model_that_is_not_used_is_told(program, net):
    evaluation = hpacml.evaluate(lambda model: program(None), {"net": net}, engines="torch", **FEW)
    assert evaluation["net"].engine_note == "the original code in 3 of 3 calls"
    assert any("does `run` use the model" in note for note in evaluation.notes)


def test_an_engine_that_the_region_chose_is_told(net):
    @hpacml.region("""
        tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(point(x[0:n])) out(point(y[0:n])) model(net) if(use) engine(torch)
    """)
    def chosen(x, y, n, net, use):
        y[:] = x * x

    evaluation = hpacml.evaluate(Program(chosen), {"net": net}, engines="compiled", **FEW)
    assert evaluation["net"].engine_note == "Torch"
    assert any("computed by torch, whatever was asked for" in note for note in evaluation.notes)


def test_an_accurate_program_that_collects_is_told(program, net, tmp_path):
    @hpacml.region("""
        tensor functor(point: [i, 0:1] = ([i]))
        ml(predicated: use) in(point(x[0:n])) out(point(y[0:n])) model(net) database(db)
    """)
    def collecting(x, y, n, net, use, db=str(tmp_path / "data.h5")):
        y[:] = x * x

    evaluation = hpacml.evaluate(Program(collecting), {"net": net}, engines="torch", **FEW)
    assert any("accurate collects data in 3 calls" in note for note in evaluation.notes)


def test_nan_is_counted(program, net):
    with torch.no_grad():
        net[2].bias.fill_(float("nan"))
    evaluation = hpacml.evaluate(program, {"net": net}, engines="torch", **FEW)
    row = evaluation["net"]
    assert np.isnan(row.errors["rmse"])
    assert row.not_finite == N
    assert any(f"{N} of {N} numbers" in note for note in evaluation.notes)
    assert "NaN" in evaluation.verdict()


def test_a_random_program_is_told(program):
    rng = np.random.default_rng(0)
    evaluation = hpacml.evaluate(lambda model: rng.random(5), baselines={"half": lambda: np.full(5, 0.5)}, **FEW)
    assert any("accurate gave other results in later trials" in note for note in evaluation.notes)


def test_a_program_that_reports_itself(program, net):
    def run(model):
        hpacml.report(reset=True)
        return program(model)

    row = hpacml.evaluate(run, {"net": net}, engines="compiled", **FEW)["net"]
    assert row.engine_note == "compiled"
    assert all(time >= 0 for time in row.events.values())
    assert row.shares["model"] > 0


def test_a_program_that_turns_timing_on_is_told(program, net):
    def run(model):
        hpacml.timing(True)
        return program(model)

    evaluation = hpacml.evaluate(run, {"net": net}, engines="torch", **FEW)
    assert "`run` turns hpacml.timing on" in evaluation.notes[0]
    assert not instruments.current.timing


def test_more_cores_than_threads_are_told():
    done = breakdown([([], 1.0)])
    two = Contestant("two", "baseline", "", lambda: None, turns=[Turn(1.0, 2.0)])
    assert list(remarks(two, done, threads=1)) == [
        "two used 2 cores, more than 1: limit the threads of all its libraries"
    ]
    assert not list(remarks(two, done, threads=2))


def test_one_disturbed_run_does_not_tell_where_the_time_goes() -> None:
    def run(seconds: float) -> tuple[list[tuple[str, RegionReport]], float]:
        events = {"Forward Pass": Event(2, 500 * seconds), "Region (infer)": Event(2, 750 * seconds)}
        return [("region", RegionReport({"infer": 2, "collect": 0, "body": 0}, 0, events, {"compiled": 2}))], seconds

    done = breakdown([run(0.1), run(9.0), run(0.2)])
    assert (done.events["model"], done.events["runtime"], done.events["program"]) == (100, 50, pytest.approx(50))
    assert (done.shares["model"], done.inferred, done.engines) == (0.5, 6, {"compiled"})


def test_means_of_few_trials_are_told():
    """One of five trials of the accurate program took a hundred times as long."""
    paired = Spread.of([100.0, 1.0, 1.0, 1.0, 1.0])
    row = Row("m", "model", "torch", (1.0,) * 5, (1.0,) * 5, 104 / 5, paired)
    (note,) = disturbed(row)
    assert "20.8x of mean times, but 1x in the median trial" in note
    assert not list(disturbed(replace(row, speedup=1.05)))
    assert not list(disturbed(Row("m", "model", "torch", failed="it failed")))


def test_a_gpu_has_finished_before_clocks_are_read(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    hpacml.evaluate(lambda model: done.append("run") or 0.0, baselines={"zero": lambda: 0.0}, **FEW)
    runs = [k for k, each in enumerate(done) if each == "run"]
    assert all(done[k - 1] == done[k + 1] == "wait" for k in runs[-4:])
    assert len(runs) == 4 + 3 + 4 + 4  # those until calls are graphs, with and without timing, come first


@hpacml.region("""
    tensor functor(whole: [i, j] = ([i, j]))
    ml(infer) in(whole(a[0:n, 0:m])) out(whole(b[0:n, 0:m])) model(net) if(use)
""")
def doubled(a, b, n, m, net, use):
    b[:] = 2 * a


def test_functions_of_training_are_baselines(program):
    given = []

    def cube(x):
        given.append(x)
        return x[:, 0] ** 3

    row = hpacml.evaluate(program, baselines={"cube": cube}, **FEW)["cube"]
    assert row.kind == "baseline"
    assert row.errors["max"] == pytest.approx(np.abs(program.x**3 - program.right).max())
    assert row.engine_note == "Torch"
    assert given[0].shape == (N, 1)
    assert given[0].dtype == np.float64
    assert not given[0].flags.writeable


@pytest.mark.parametrize(("sweep", "shape"), [(0, (1, 3, 4)), (1, (3, 4)), (2, (12,))])
def test_rows_of_functions_are_as_it_is_said(sweep, shape, monkeypatch):
    monkeypatch.setenv("HPACML_ENGINE", "compiled")
    a = np.arange(12.0).reshape(3, 4)
    shapes = set()

    def run(model):
        b = np.zeros((3, 4))
        doubled(a, b, 3, 4, model, model is not None)
        return b

    def same(x):
        shapes.add(x.shape)
        return x + 1

    row = hpacml.evaluate(run, baselines={"same": same}, sweep=sweep, **FEW)["same"]
    assert shapes == {shape}
    assert row.errors["max"] == np.abs(a + 1 - 2 * a).max()


def test_a_function_that_fails_is_a_row(program):
    evaluation = hpacml.evaluate(program, baselines={"wrong": lambda x: x[:, 7], "mean": lambda x: x.mean()}, **FEW)
    assert "the function fails: IndexError" in evaluation["wrong"].failed
    assert f"an output [] for inputs of {N} rows" in evaluation["mean"].failed


def test_a_model_that_fails_is_a_row(program, net):
    evaluation = hpacml.evaluate(program, {"none": "/nowhere/none.pt2", "net": net}, engines="torch", **FEW)
    assert "none.pt2" in evaluation["none"].failed
    assert evaluation["net"].failed is None


def test_a_model_that_fails_later_is_a_row(program, net):
    calls = []

    def late():
        calls.append(0)
        if len(calls) == 6:
            raise ValueError("it is late")
        return program.right

    row = hpacml.evaluate(program, baselines={"late": late}, **FEW)["late"]
    assert row.failed == "ValueError: it is late"
    assert len(calls) == 6


@pytest.mark.parametrize("timing", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_all_that_is_set_is_as_it_was(timing, fails, program, net, monkeypatch):
    monkeypatch.setenv("HPACML_ENGINE", "auto")
    threads = torch.get_num_threads()
    hpacml.timing(timing)
    seen = []

    def run(model):
        seen.append((os.environ["HPACML_ENGINE"], torch.get_num_threads(), instruments.current.timing))
        if fails and len(seen) == 10:
            raise KeyboardInterrupt
        return program(model)

    try:
        if fails:
            with pytest.raises(KeyboardInterrupt):
                hpacml.evaluate(run, {"net": net}, threads=2, **FEW)
        else:
            hpacml.evaluate(run, {"net": net}, threads=2, **FEW)
        assert os.environ["HPACML_ENGINE"] == "auto"
        assert torch.get_num_threads() == threads
        assert instruments.current.timing is timing
    finally:
        hpacml.timing(False)
    assert {engine for engine, _, _ in seen} == {"auto", "torch", "compiled"}
    assert {count for _, count, _ in seen} == {2}


def test_it_counts_for_itself_while_others_measure(program, net):
    hpacml.report(reset=True)
    hpacml.timing(True)
    try:
        for _ in range(7):
            program(net)
        evaluation = hpacml.evaluate(program, {"net": net}, engines="torch", **FEW)
        program(net)
    finally:
        hpacml.timing(False)
    assert evaluation["net"].engine_note == "Torch"
    assert hpacml.report(reset=True)["square"].calls["infer"] == 7 + 4 + 1


def test_an_error_of_the_accurate_program_is_the_users(program, net):
    def run(model):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        hpacml.evaluate(run, {"net": net})
    assert not instruments.current.timing


def test_trials_end_in_time(program):
    evaluation = hpacml.evaluate(program, baselines={"right": lambda: program.right}, dropped=2, seconds=1e-9)
    assert len(evaluation.accurate.wall) == 3
    assert evaluation.trials == 5
    assert "ended after 5 of 20 trials" in evaluation.notes[0]


def test_what_is_as_good_and_as_fast_is_told(program, net):
    calls = {"exact": lambda: program.right, "far": lambda: program.right + 100}
    evaluation = hpacml.evaluate(program, {"net": net}, baselines=calls, engines="torch", **FEW)
    assert "has RMSE 0 at" in evaluation.verdict()
    assert "far" not in evaluation.verdict()


def same(model):
    return np.zeros(3)


def growing():
    sizes = iter(range(1, 100))
    return lambda model: np.zeros(next(sizes) // 4 + 1)


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        (same, {}, "no models and no baselines"),
        (same, {"models": {"m": 1}, "trials": 2, "dropped": 2}, "which leaves none"),
        (same, {"models": {"m": 1}, "trials": 9, "dropped": -1}, "which leaves none"),
        (same, {"models": {"m": 1}, "metric": "r2"}, "metric is one of rmse, mae, mape, max"),
        (same, {"models": {"m": 1}, "engines": ["fast"]}, "engines are auto, compiled, torch|engines are .*'fast'"),
        (same, {"models": {"m": 1}, "engines": []}, "engines is empty"),
        (same, {"models": {"m": 1}, "threads": 0}, "threads is 1 or more"),
        (same, {"models": {"m": 1}, "seconds": 0}, "seconds is more than 0"),
        (same, {"models": {"m": None}}, "the model 'm' is None"),
        (same, {"models": {"accurate": 1}}, "'accurate' names two"),
        (same, {"models": {"m": 1}, "baselines": {"m": lambda: 0}}, "'m' names two"),
        (same, {"models": ["nowhere.pt2"]}, "no model 'nowhere.pt2'"),
        (same, {"models": [nn.Linear(1, 1)]}, "give models by names"),
        (same, {"models": nn.Linear(1, 1)}, "give models by names"),
        (same, {"models": {"m": 1}, "sweep": -1}, "sweep is a number of dimensions"),
        (same, {"baselines": {"b": 3}}, "'b' is a int, not a function"),
        (
            same,
            {"baselines": {"b": lambda: np.zeros(4)}},
            r"'quality' of shape \[4\], but the accurate result has \[3\]",
        ),
        (same, {"baselines": {"b": lambda: {"x": np.zeros(3)}}}, "gives 'x', but the accurate result has 'quality'"),
        (same, {"models": {"m": 1}, "truth": np.zeros(2)}, r"of shape \[3\], but the truth has \[2\]"),
        (same, {"models": {"m": 1}, "truth": [1.0, np.inf, 2.0]}, r"1 of 3 numbers .* the first at \[1\]"),
        (lambda model: None, {"models": {"m": 1}}, "which is None"),
        (lambda model: {}, {"models": {"m": 1}}, "gives no arrays"),
        (lambda model: np.ma.array([1.0, 2.0], mask=[0, 1]), {"models": {"m": 1}}, "masked numbers"),
        (lambda model: [[1.0], [1.0, 2.0]], {"models": {"m": 1}}, "there is no array"),
        (lambda model: "text", {"models": {"m": 1}}, "return real numbers"),
        (lambda model: np.zeros(2, complex), {"models": {"m": 1}}, "dtype complex128"),
        (lambda model: np.zeros((0, 2)), {"models": {"m": 1}}, "no numbers to compare"),
        (lambda model: np.array([np.nan, 1]), {"models": {"m": 1}}, "the accurate result has 1 of 2 numbers"),
        (growing(), {"baselines": {"b": lambda: np.zeros(2)}}, "of the same shapes from each run"),
    ],
)
def test_what_cannot_be_compared_is_refused(run, options, message):
    with pytest.raises(HpacmlError, match=message):
        hpacml.evaluate(run, **options)


def test_two_files_of_one_name_are_refused(tmp_path):
    paths = [tmp_path / "a" / "net.pt2", tmp_path / "b" / "net.pt2"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(HpacmlError, match="two models are named 'net'"):
        hpacml.evaluate(same, paths)
