"""Reports of guards, checks, bounds and projections: numbers, tables, files, and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpacml
from hpacml.errors import HpacmlError
from hpacml.runtime.reports import guarded, saved_report
from hpacml.runtime.reports.guarded import Check
from hpacml.tools.plot_checks import open_spans
from tests.command import run_hpacml

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    hpacml.report(reset=True)
    yield
    hpacml.report(reset=True)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run(*arguments)` gives the exit status, the output and the errors of a command."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_hpacml(monkeypatch, capsys, *arguments)


def use_guards(label: str = "heat") -> None:
    guarded.note_points(label, 100, {})
    guarded.note_points(label, 90, {1: 3, 5: 2})
    guarded.note_points(label, 10, {8: 10})
    guarded.note_open_call(label)
    guarded.note_clipped(label, "tnew", 4)
    guarded.note_projected(label)
    events = {2: "opened", 4: "closed"}
    for number, error in enumerate([0.001, 0.002, math.inf, 0.003, 0.004]):
        check = Check(100 * number, {"tnew": error}, 2 <= number < 4, events.get(number))  # pyright: ignore
        guarded.note_check(label, check, "rmse", 0.01)


def counts(report: Any, label: str = "heat") -> guarded.Guarded:
    found = report[label].guards
    assert found is not None
    return found


def test_numbers() -> None:
    assert not hpacml.report()
    use_guards()
    report = hpacml.report()
    found = counts(report)
    assert (found.calls, found.points, found.rejected, found.whole_calls, found.open_calls) == (3, 200, 15, 1, 1)
    assert found.reasons == {"range": 5, "where": 2, "below": 10}
    assert (found.checks.count, found.checks.opened, found.checks.closed) == (5, 1, 1)
    assert report["heat"].calls == {"infer": 0, "collect": 0, "body": 0}
    assert not report["heat"].is_measured


def test_with_reset_the_next_report_begins_there() -> None:
    use_guards()
    assert counts(hpacml.report(reset=True)).points == 200
    assert not hpacml.report()
    guarded.note_points("heat", 7, {})
    assert counts(hpacml.report()).points == 7


def test_the_table() -> None:
    use_guards()
    lines = str(hpacml.report()).splitlines()
    assert "event" not in lines[1]  # no calls were measured
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [
        ["heat", "points by the model", "", "185", "92.50"],
        ["", "points by the original", "", "15", "7.50"],
        ["", "range", "out of the model's range", "5", "2.50"],
        ["", "where", "excluded by the program", "2", "1.00"],
        ["", "below", "the model is uncertain", "10", "5.00"],
        ["", "calls by the original", "no point passed", "1", ""],
        ["", "calls by the original", "the breaker was open", "1", ""],
        ["", "clipped numbers", "tnew", "4", ""],
        ["", "projected calls", "", "1", ""],
        ["", "checks", "rmse up to 0.01", "5", ""],
        ["", "largest error", "tnew", "inf", ""],
        ["", "beyond tolerance", "", "1", ""],
        ["", "within it again", "", "1", ""],
    ]


def test_measured_calls_and_guards_are_in_one_report() -> None:
    functor = "tensor functor(point: [i, 0:1] = ([i]))"

    @hpacml.region(f"{functor} ml(infer) inout(point(a[0:n])) model(net) label('both')")
    def double(a: Any, n: int, net: Any) -> None: ...

    np = pytest.importorskip("numpy")
    hpacml.timing()
    try:
        double(np.ones(3), 3, lambda x: 2 * x)
    finally:
        hpacml.timing(False)
    assert hpacml.report()["both"].guards is None
    use_guards("both")
    report = hpacml.report()
    assert report["both"].calls["infer"] == 1
    assert counts(report, "both").points == 200
    assert {"From Tensor", "points by the model"} <= {word.strip() for word in str(report).split("│")}
    assert report.as_dict()["regions"]["both"].keys() >= {"calls", "events", "guards"}


def test_a_guarded_region_is_measured() -> None:
    """Its calls are fallbacks where its model fails, and not where no point passes."""
    torch = pytest.importorskip("torch")

    @hpacml.region(
        "tensor functor(point: [i, 0:1] = ([i])) ml(infer) in(point(a[0:n])) out(point(b[0:n])) model(net) "
        "guard(where: a < 5) pointwise label('measured')",
        on_error="accurate",
    )
    def triple(a: Any, b: Any, n: int, net: Any) -> None:
        b[:n] = 3 * a[:n]

    def failing(x: Any) -> Any:
        raise ValueError("no such weather")

    hpacml.timing()
    try:
        for first, net in ((0, torch.nn.Identity()), (100, torch.nn.Identity()), (0, failing)):
            a, b = torch.arange(10.0) + first, torch.zeros(10)
            triple(a, b, 10, net)
            passes = a < 5 if net is not failing else torch.zeros(10, dtype=torch.bool)
            assert torch.equal(b, torch.where(passes, a, 3 * a))
        report = hpacml.report()
    finally:
        hpacml.timing(False)
    assert report["measured"].calls["infer"] == 3
    assert report["measured"].fallbacks == 1
    assert report["measured"].events["Guard"].count == 3
    found = counts(report, "measured")
    assert (found.points, found.rejected, found.whole_calls) == (30, 25, 1)
    assert found.reasons == {"where": 20, "failure": 5}


def test_a_checked_region_is_measured() -> None:
    torch = pytest.importorskip("torch")

    @hpacml.region(
        "tensor functor(point: [i, 0:1] = ([i])) ml(infer) in(point(a[0:n])) out(point(b[0:n])) model(net) "
        "verify(every: 2, tolerance: 0.1) guard(where: a < 5) pointwise label('checked')"
    )
    def double(a: Any, b: Any, n: int, net: Any) -> None:
        b[:n] = 2 * a[:n]

    a, b = torch.arange(10.0), torch.zeros(10)
    hpacml.timing()
    try:
        for factor in (2, 2, 2, 2, 3, 3, 2, 2):
            double(a, b, 10, lambda x, factor=factor: factor * x)
            assert torch.equal(b, 2 * a)
        report = hpacml.report()
    finally:
        hpacml.timing(False)
    assert report["checked"].calls == {"infer": 6, "collect": 0, "body": 2}  # in two calls the breaker was open
    assert report["checked"].fallbacks == 0
    assert report["checked"].events["Check"].count == 4
    found = counts(report, "checked")
    assert (found.calls, found.points, found.rejected) == (6, 60, 30 + 10)
    assert found.reasons == {"where": 30, "check": 10}
    assert [(check.call, check.is_open, check.event) for check in found.checks.history] == [
        *((0, False, None), (2, False, None), (4, True, "opened"), (6, True, None)),
    ]


def test_a_file_gives_the_same_report(tmp_path: Path) -> None:
    use_guards()
    for number in range(3 * guarded.MOST_CHECKS):
        guarded.note_check("other", Check(number, {"a": 1.0, "b": 0.5}), "max", 2.0)
    report = hpacml.report()
    report.save(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["regions"] == report.as_dict()["regions"]
    loaded, command = saved_report.load(tmp_path / "report.json")
    assert command
    assert str(loaded) == str(report)
    assert loaded.as_dict()["regions"] == report.as_dict()["regions"]
    assert counts(loaded, "other").checks.history == counts(report, "other").checks.history


def test_the_command_shows_a_file_and_draws_its_checks(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    use_guards()
    use_guards("two\n\x1b[31mlines $x^2$")
    hpacml.report().save("report.json")
    status, output, errors = run("report", "report.json", "--plot", "checks.png")
    assert (status, errors) == (0, "")
    assert "points by the model" in output
    assert r"two\n\x1b[31mlines" in output
    assert "checks.png: the checks of 2 regions" in output
    assert (tmp_path / "checks.png").read_bytes().startswith(b"\x89PNG")
    status, _, errors = run("report", "report.json", "--plot", "checks.png")
    assert status == 1
    assert "is there already" in errors


def test_without_checks_there_is_nothing_to_draw(run: Run) -> None:
    guarded.note_points("heat", 100, {})
    hpacml.report().save("report.json")
    status, output, errors = run("report", "report.json", "--plot", "checks.png")
    assert status == 1
    assert "100" in output
    assert "the report has no checks to draw" in errors
    assert not Path("checks.png").exists()


BAD = {
    "no JSON": "nonsense",
    "no object": "[1]",
    "another format": '{"format": 99, "regions": {}, "command": ""}',
    "regions that are none": '{"format": 1, "regions": 3, "command": ""}',
    "a region without calls": '{"format": 1, "regions": {"r": {}}, "command": ""}',
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_other_files_are_no_reports(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(HpacmlError, match=r"r.json' is no report \("):
        saved_report.load(tmp_path / "r.json")
    (tmp_path / "r.json").write_bytes(b"\xff\xfe")
    with pytest.raises(HpacmlError, match=r"r.json' is no report \("):
        saved_report.load(tmp_path / "r.json")
    with pytest.raises(HpacmlError, match="cannot read the report"):
        saved_report.load(tmp_path / "absent.json")


def test_a_damaged_part_of_guards_is_found(tmp_path: Path) -> None:
    use_guards()
    whole = hpacml.report().as_dict()
    for part in ("points", "checks", "clipped", "calls"):
        damaged = json.loads(json.dumps(whole))
        damaged["regions"]["heat"]["guards"][part] = None
        (tmp_path / "r.json").write_text(json.dumps(damaged))
        with pytest.raises(HpacmlError, match="is no report"):
            saved_report.load(tmp_path / "r.json")


def test_spans_in_which_the_original_code_ran() -> None:
    history = [Check(call, {}, call in (2, 3, 6, 7)) for call in range(8)]
    assert open_spans(history) == [(2, 4), (6, 7)]
    assert open_spans(history[:2]) == []
