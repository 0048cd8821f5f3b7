"""The driver of the paper's applications, and what makes tables and figures of its measurements."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from examples.__main__ import cli
from examples.evaluation import complete, lines
from examples.evaluation.measured import ENGINES, Measured, Row, front
from examples.evaluation.results import write_all
from examples.resumable import once
from examples.workflow import NAMES
from examples.workflow import front as searched


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
        assert "Torch finds no GPU here" in said

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
        assert "has no search.json" in said


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
    for k, network in enumerate(networks, 1):
        for speedup, engine in zip((2.0, 4.0), ENGINES, strict=True):
            rows.append(
                Row(network, "model", 1 / speedup / k, k * speedup, k, engine, None, None, 0.1, 0.3, 0.1, 10 * k)
            )
    ways = {way: {"seconds": 1.0, "seconds_c": 0.5, "ratio": 2.0} for way in ("strict", "fastmath")}
    collection = {"seconds": 1.0, "seconds_collecting": 1.5, "overhead": 1.5, "bytes": 1000}
    counted = lines.Lines(100, 8, 4)
    return Measured(
        name, name.title(), "something", "rmse", networks, rows, collection, {"what": name, **ways}, counted
    )


@pytest.fixture
def everything():
    return {name: application(name) for name in NAMES}


def test_results_have_all_points_and_all_rows(everything, tmp_path):
    assert write_all(everything, NAMES, tmp_path) == []
    page = (tmp_path / "tables.md").read_text()
    assert "every figure has all points, every table all rows" in page
    for picture in ("figure5", "figure6", "figure7", "figure8", *NAMES):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{picture}.png" in page + "".join(path.read_text() for path in tmp_path.glob("*.md"))
    assert "| Bonds | 100 | 8 | 4 | 8 | 2248 | 9 | 4 |" in page
    assert "| Bonds | 1000.0 | 1500.0 | 1.5 | 0.001 | 960.0 | 1180.0 | 1.23 | 303 |" in page
    assert len(json.loads((tmp_path / "tables.json").read_text())["runs"]) == 6 * len(NAMES)
    runs = json.loads((tmp_path / "tables.json").read_text())["runs"]
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
        "figure6.png: bonds by torch is missing",
        "figure8.png: miniweather b torch is missing",
    ):
        assert each in found
        assert each in (tmp_path / "tables.md").read_text()
    assert not [each for each in found if "binomial" in each or "particle" in each]


def test_figures_that_are_gone_are_missing(everything, tmp_path):
    write_all(everything, NAMES, tmp_path)
    (tmp_path / "figure7.png").unlink()
    (tmp_path / "figure6.csv").unlink()
    found = complete.missing(everything, NAMES, tmp_path)
    assert "figure7.png is not there" in found
    assert "figure6.png: bonds by compiled is missing" in found


def test_the_front_has_what_nothing_is_better_than():
    rows = [Row(name, "model", 1.0, s, e) for name, s, e in (("a", 1, 1), ("b", 2, 2), ("c", 1, 3), ("d", 3, 2))]
    assert [row.name for row in front(rows)] == ["d", "a"]
