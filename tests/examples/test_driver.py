"""The driver of the paper's applications, and what makes tables and figures of its measurements."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hpacml
from examples.__main__ import _called, _place, cli
from examples.evaluation import complete, lines
from examples.evaluation.everything import evaluate_all
from examples.evaluation.measure import Effort, evaluate, rows
from examples.evaluation.measured import ENGINES, STAGES, Measured, Row, front
from examples.evaluation.results import write_all
from examples.experiment import Setup
from examples.resumable import once
from examples.workflow import NAMES, Workflow
from examples.workflow import front as searched
from tests.examples import tiny


def driver(*arguments):
    """Run the driver in this process; its exit code, and all that it says on one line."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join((result.output + result.stderr).split())


class TestOnce:
    def test_what_was_made_with_the_same_settings_stays(self, tmp_path):
        said, target = [], tmp_path / "folder" / "result"
        for number, settings in enumerate(({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2})):
            made = once(target, settings, lambda n=number: target.write_text(str(n)), said.append)
            assert made == (number in (0, 2))
        assert target.read_text() == "2"
        assert "done before" in said[0]
        assert "made anew, since a changed" in said[1]

    def test_what_somebody_changed_is_made_anew(self, tmp_path):
        target = tmp_path / "result"
        for content in ("changed", None):
            once(target, {}, lambda: target.write_text("right"), print)
            target.unlink() if content is None else target.write_text(content)
            assert once(target, {}, lambda: target.write_text("right"), print)
        assert target.read_text() == "right"

    def test_folders_are_whole_or_made_anew(self, tmp_path):
        target = tmp_path / "folder"

        def make():
            target.mkdir(exist_ok=True)
            (target / "part").write_text("right")

        assert once(target, {}, make, print)
        assert not once(target, {}, make, print)
        (target / "part").unlink()
        assert once(target, {}, make, print)

    def test_a_failure_leaves_nothing_that_counts(self, tmp_path):
        target = tmp_path / "result"

        def fail():
            target.write_text("half")
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011
            once(target, {}, fail, print)
        assert once(target, {}, lambda: target.write_text("whole"), print)

    def test_what_another_process_makes_is_waited_for(self, tmp_path):
        target, said = tmp_path / "result", []
        with open(tmp_path / "result.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            thread = threading.Thread(target=lambda: once(target, {}, lambda: target.write_text(""), said.append))
            thread.start()
            while not said:
                time.sleep(0.001)
            assert not target.exists()
        thread.join()
        assert said == [f"{target}: another process is at it, which is waited for"]
        assert target.exists()

    def test_fresh_makes_it_in_any_case(self, tmp_path):
        target = tmp_path / "result"
        assert once(target, {}, lambda: target.write_text(""), print)
        assert once(target, {}, lambda: target.write_text(""), print, fresh=True)


class TestArguments:
    def test_unknown_names_are_answered_with_the_known(self):
        code, said = driver("weather", "run")
        assert code == 1
        assert "there is no application 'weather'; there are " + ", ".join(NAMES) in said

    @pytest.mark.parametrize("step", [[], ["evaluated"]])
    def test_unknown_steps_are_answered_with_the_known(self, step):
        code, said = driver("bonds", *step)
        assert code == 1
        assert "there are collect, train, run, evaluate" in said

    def test_a_deck_is_looked_at_first(self, tmp_path):
        (tmp_path / "ligand.in").touch()
        code, said = driver("minibude", "run", "--deck", tmp_path)
        assert code == 1
        assert "has no protein.in, forcefield.in, poses.in" in said

    def test_others_have_no_deck(self, tmp_path):
        code, said = driver("bonds", "run", "--deck", tmp_path)
        assert code == 1
        assert "a deck is of minibude, and bonds has none" in said

    def test_without_a_gpu_there_is_no_cuda(self, monkeypatch):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        code, said = driver("bonds", "run", "--device", "cuda")
        assert code == 1
        assert "the device is 'cuda'" in said

    @pytest.mark.parametrize("arguments", [("bonds", "evaluate", "--all"), ("bonds", "run", "--all")])
    def test_all_goes_with_no_name(self, arguments):
        code, said = driver(*arguments)
        assert code == 1
        assert "python -m examples evaluate --all" in said

    def test_models_of_a_search_are_trained(self, tmp_path):
        code, said = driver("binomial_options", "train", "--networks", tmp_path)
        assert code == 1
        assert "leave out --networks" in said

    def test_a_folder_without_a_search_is_refused(self, tmp_path):
        code, said = driver("binomial_options", "run", "--networks", tmp_path, "--out", tmp_path / "out")
        assert code == 1
        assert "has no whole search.json" in said


def test_results_of_other_decks_and_searches_have_a_folder_of_their_own(tmp_path):
    assert _called("small", "cpu", None, None) == ""
    assert _called("paper", "cuda", tmp_path / "bm2", None) == "paper-cuda-bm2"
    assert _called("small", "cpu", None, tmp_path / "found") == "found"
    places = {_place("minibude", "small", deck) for deck in (None, tmp_path / "bm1", tmp_path / "bm2")}
    assert len(places) == 3
    assert _place("bonds", "small", tmp_path) == _place("bonds", "small", None)


def test_the_front_of_a_search_is_found_by_its_architectures(tmp_path):
    row = {"trial": 3, "architecture": {"hidden1": 5}, "model": "/elsewhere/models/0003.pt2", "time": 1.0}
    (tmp_path / "search.json").write_text(json.dumps({"front": [row]}))
    with pytest.raises(Exception, match=r"has models that are not there: .*models/0003\.pt2"):
        searched(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "0003.pt2").touch()
    assert searched(tmp_path) == {"0003: hidden1 5": (tmp_path / "models" / "0003.pt2", row)}
    (tmp_path / "search.json").write_text(json.dumps({"front": []}))
    with pytest.raises(Exception, match="has no front"):
        searched(tmp_path)


def test_lines_are_those_of_code_and_of_directives(tmp_path):
    (tmp_path / "app.py").write_text('''\
"""What it is,
in two lines."""

import hpacml  # 1
from hpacml import approx  # 2

SIZE = 3  # 3
"""What that is."""


@hpacml.kernel  # 4
def kernel(x, n):  # 5
    """Doubles."""
    # approx("tensor functor(not: [i] = ([i]))")
    approx("tensor functor(f: [i] = ([i]))")  # 6, directive 1
    with approx("""

            tensor map(to: f(x[0:n]))
            ml(collect) in(x) out(f(x[0:n]))
            """):  # lines 7 to 10, directives 2 and 3; one is blank
        x[:] = 2 * (  # 11
            x  # 12
        )  # 13
''')
    assert lines.of(tmp_path / "app.py") == (13, 5, 3)


@pytest.mark.parametrize("name", NAMES)
def test_each_application_has_its_directives(name):
    found = lines.of(Path("examples") / name / "app.py")
    assert found.directives >= 2
    assert found.directives <= found.directive_lines + 1 < found.code / 5


def application(name, networks=("a", "b")):
    """A measured application, of numbers that are as good as any."""
    rows = [Row("accurate", "accurate", 1.0, 1.0, 0.1), Row("mean", "baseline", 0.1, 10.0, 5.0)]
    stages = {"gather": 0.1, "casts": 0.0, "model": 0.3, "scatter": 0.1}
    for k, network in enumerate(networks, 1):
        for speedup, engine in zip((2.0, 4.0), ENGINES, strict=True):
            rows.append(Row(network, "model", 1 / speedup / k, k * speedup, k, engine, None, None, stages, 10 * k))
    ways = {way: {"seconds": 1.0, "seconds_c": 0.5, "ratio": 2.0} for way in ("strict", "fastmath")}
    collection = {"seconds": 1.0, "seconds_collecting": 1.5, "overhead": 1.5, "bytes": 1000}
    counted = lines.Lines(100, 8, 4)
    return Measured(
        name, name.title(), "something", "rmse", networks, rows, collection, {"what": name, **ways}, counted
    )


@pytest.fixture
def everything():
    return {name: application(name) for name in NAMES}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results in which nothing is missing."""
    folder = tmp_path_factory.mktemp("results")
    assert write_all({name: application(name) for name in NAMES}, NAMES, folder) == []
    return folder


def test_results_have_all_points_and_all_rows(results):
    page = (results / "tables.md").read_text()
    assert "every figure has all points, every table all rows" in page
    for picture in ("figure5", "figure6", "figure7", "figure8", *NAMES):
        assert (results / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{picture}.png" in page + "".join(path.read_text() for path in results.glob("*.md"))
    assert "| Bonds | RMSE | 8 | 2 | 4 | 1 | mean | 10 | 5 | 7.96 | 7.96 | 0.28 |" in page
    assert "| geometric mean |  | 8 |  |  |  |  |  |  | 13 |  |  |" in page
    assert "| Bonds | 100 | 8 | 4 | 8 | 2248 | 9 | 4 |" in page
    assert "| Bonds | 1000.0 | 1500.0 | 1.5 | 0.001 | 960.0 | 1180.0 | 1.23 | 303 |" in page
    assert len(json.loads((results / "tables.json").read_text())["runs"]) == 6 * len(NAMES)
    with open(results / "figure6.csv", newline="") as file:
        shares = list(csv.DictReader(file))
    assert [shares[0][name] for name in ("application", "model", "engine")] == [NAMES[0], "a", "torch"]
    assert [round(float(shares[0][f"{stage}, %"])) for stage in STAGES] == [20, 0, 60, 20]
    runs = json.loads((results / "tables.json").read_text())["runs"]
    assert all(each["over C"] == each["speed-up"] / 2 for each in runs)


def test_what_is_missing_is_said(everything, tmp_path):
    bonds, weather = everything["bonds"], everything["miniweather"]
    del everything["minibude"]
    rows = [row for row in bonds.rows if (row.name, row.engine) != ("a", "torch")]
    everything["bonds"] = replace(
        bonds,
        rows=[replace(row, failed="no memory") if (row.name, row.engine) == ("b", "torch") else row for row in rows],
        original={"what": "", "strict": {"skipped": "no compiler"}, "fastmath": {"skipped": "no compiler"}},
    )
    everything["miniweather"] = replace(
        weather, rows=[replace(row, error=float("nan")) if row.name == "b" else row for row in weather.rows]
    )
    found = write_all(everything, NAMES, tmp_path)
    for each in (
        "minibude: nothing is measured",
        "bonds: a by torch is not measured",
        "bonds: b by torch failed: no memory",
        "bonds: no comparison with C (strict): no compiler",
        "miniweather: b by compiled has the speed-up 8.0 and the error nan",
        "figure5.png: bonds a torch is missing",
        "figure6.png: bonds a torch is missing",
        "figure8.png: miniweather b torch is missing",
    ):
        assert each in found
        assert each in (tmp_path / "tables.md").read_text()
    assert not [each for each in found if "binomial" in each or "particle" in each]


def test_figures_that_are_gone_are_missing(everything, results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    (folder / "figure7.png").unlink()
    (folder / "figure6.csv").unlink()
    found = complete.missing(everything, NAMES, folder)
    assert "figure7.png is not there" in found
    assert "figure6.png: bonds a compiled is missing" in found


def test_the_front_has_what_nothing_is_better_than():
    rows = [Row(name, "model", 1.0, s, e) for name, s, e in (("a", 1, 1), ("b", 2, 2), ("c", 1, 3), ("d", 3, 2))]
    assert [row.name for row in front(rows)] == ["d", "a"]


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))


class TestWorkflow:
    @pytest.fixture
    def work(self, tmp_path, monkeypatch, trusted):
        said = []
        small = tiny.experiment("binomial_options", monkeypatch.setattr)
        return said, Workflow(small, Setup(), tmp_path / "out", say=said.append)

    def test_what_a_killed_collection_left_is_no_database(self, work):
        _, work = work
        (work.folder / "collecting-abc").mkdir(parents=True)
        (work.folder / "collecting-abc" / "data.h5").write_text("half")
        work.database.write_text("half")
        with hpacml.open_database(work.collect()) as database:
            assert len(database["binomial"].dataset(rows="points")) == 400
        assert not list(work.folder.glob("collecting-*"))

    def test_a_collection_that_fails_leaves_none(self, work):
        _, work = work

        def fail(setup, path):
            path.write_text("half")
            raise OSError("no space")

        with pytest.raises(OSError, match="no space"):
            replace(work, experiment=replace(work.experiment, collect=fail)).collect()
        assert not work.database.exists()
        work.collect()

    def test_models_of_a_search_take_the_place_of_others(self, work, tmp_path):
        said, work = work
        model = work.models()["5-8-1"]
        found = tmp_path / "search" / "models" / "0007.pt2"
        found.parent.mkdir(parents=True)
        shutil.copyfile(model, found)
        row = {"trial": 7, "architecture": {"hidden1_features": 8}, "model": str(found)}
        (tmp_path / "search" / "search.json").write_text(json.dumps({"front": [row]}))
        said.clear()
        work = replace(work, searched=tmp_path / "search")
        assert work.models() == {"0007: hidden1_features 8": found}
        assert said == [f"{work.database}: done before with the same settings, and left as it is"]
        evaluation = evaluate(work, work.models(), Effort(trials=2, dropped=1), engines=("compiled",))
        assert [row.name for row in rows(evaluation, work.models()) if row.kind == "model"] == list(work.models())
        assert evaluation["0007: hidden1_features 8"].failed is None

    def test_networks_are_trained_once_for_settings_and_data(self, work):
        said, work = work
        models = work.models()
        assert list(models) == list(work.experiment.networks)
        assert [line for line in said if line.startswith("training")] == [f"training {name}" for name in models]
        assert set(work.trained()) == set(models)
        said.clear()
        work.models()
        assert len(said) == 3
        assert all("done before" in line for line in said)
        said.clear()
        longer = replace(work.experiment, settings=lambda setup: {**work.experiment.settings(setup), "epochs": 3})
        replace(work, experiment=longer).models()
        assert sum("since training changed" in line for line in said) == 2
        said.clear()
        work.collect(fresh=True)  # with other times in it
        work.models()
        assert sum("made anew, since training, data changed" in line for line in said) == 2


@pytest.mark.slow
def test_a_killed_driver_goes_on(tmp_path, trusted):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.examples.tiny", "binomial_options", "train", "--out", str(out)]
    first, second = tiny.experiment("binomial_options", lambda *_: None).networks
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while not (out / "models" / f"{first}.pt2.made.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert f"{out / 'data.h5'}: done before with the same settings, and left as it is" in said
    assert f"{out / 'models' / first}.pt2: done before with the same settings, and left as it is" in said
    assert (out / "models" / f"{second}.pt2.made.json").exists()


def test_a_process_on_a_leash_ends_with_the_one_that_holds_it():
    code = "import time; from examples.leash import end_with_stdin; end_with_stdin(); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == 1


@pytest.mark.slow
def test_an_evaluation_has_all_points_and_rows_and_goes_on(tmp_path, monkeypatch, trusted):
    said = []
    works = {
        name: Workflow(tiny.experiment(name, monkeypatch.setattr), Setup(), tmp_path / name, say=said.append)
        for name in NAMES
    }
    results = tmp_path / "results"
    assert evaluate_all(works, results, jobs=1, effort=tiny.EFFORT) == []
    assert not [line for line in said if "failed" in line]
    for name, work in works.items():
        rows = json.loads((results / f"{name}.json").read_text())["rows"]
        models = [(row["name"], row["engine"]) for row in rows if row["kind"] == "model"]
        assert models == [(network, engine) for network in work.experiment.networks for engine in ENGINES]
    (tmp_path / "binomial_options" / "original.json").unlink()
    said.clear()
    assert evaluate_all(works, results, jobs=1, effort=tiny.EFFORT) == []
    anew = [line for line in said if "done before" not in line and not line.endswith(" s")]
    assert anew == [f"{tmp_path / 'binomial_options' / 'original.json'}: made anew"]


@pytest.mark.slow
def test_one_that_fails_is_missing_and_the_others_go_on(tmp_path, monkeypatch, trusted):
    said = []

    def fail(setup):
        raise RuntimeError("no such options")

    small = tiny.experiment("binomial_options", monkeypatch.setattr)
    broken = Workflow(replace(small, program=fail), Setup(), tmp_path / "broken", say=said.append)
    works = {"bonds": broken, "binomial_options": Workflow(small, Setup(), tmp_path / "small", say=said.append)}
    lacking = evaluate_all(works, tmp_path / "results", jobs=2, effort=tiny.EFFORT, driver=tiny.__name__)
    assert lacking == ["bonds: nothing is measured"]
    assert not [line for line in said if line.startswith("training")]  # by processes of their own
    failed = next(line for line in said if line.startswith("bonds failed"))
    assert "no such options" in failed
