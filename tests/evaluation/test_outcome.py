"""What an evaluation shows and writes is what it has."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

import hpacml
from hpacml import HpacmlError
from hpacml.evaluation.clocks import Spread
from hpacml.evaluation.measured import Row
from hpacml.evaluation.outcome import Evaluation
from tests.evaluation.programs import Sine


@pytest.fixture
def evaluation(program, net):
    """One with a row of each kind, an error and NaN."""
    broken = torch.nn.Sequential(torch.nn.Linear(1, 1)).double()
    torch.nn.init.constant_(broken[0].bias, float("nan"))
    models = {"net": net, "a | b": Sine(), "broken": broken}
    return hpacml.evaluate(program, models, baselines={"line": lambda: program.x}, trials=4, dropped=1)


def refuse(text):
    raise AssertionError(f"{text} is no JSON")


def test_files(evaluation, tmp_path):
    paths = evaluation.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"evaluation.{ending}" for ending in ("json", "csv", "md", "png")]
    assert paths[3].read_bytes().startswith(b"\x89PNG")
    json.loads(paths[0].read_text(), parse_constant=refuse)
    with open(paths[1], newline="") as file:
        records = list(csv.DictReader(file))
    assert [(r["name"], r["engine"]) for r in records] == [(row.name, row.engine) for row in evaluation.rows]
    for record, row in zip(records, evaluation.rows, strict=True):
        assert record["failed"] == (row.failed or "")
        if row.errors is not None:
            assert record["rmse"] == str(row.errors["rmse"])
        if row.wall:
            assert float(record["wall_mean"]) == pytest.approx(row.mean)
            assert float(record["model_share"]) == row.shares["model"]


def test_a_page_is_one_table(evaluation, tmp_path):
    lines = evaluation.save(tmp_path)[2].read_text().splitlines()
    table = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + len(evaluation.rows)
    for column in ("speed-up", "RMSE", "MAPE", "largest error", "model", "wall, ms"):
        assert column in table[0]
    assert all(line in "\n".join(lines) for line in evaluation.verdict().splitlines())


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_read_back_is_what_was_written(what, evaluation, tmp_path):
    evaluation.save(tmp_path)
    read = Evaluation.load(tmp_path if what == "folder" else tmp_path / "evaluation.json")
    assert repr(read) == repr(evaluation)
    assert read.verdict() == evaluation.verdict()
    assert read.rows[0].wall_spread == evaluation.rows[0].wall_spread


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1, "rows": 3}', '{"format": 99}'])
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    with pytest.raises(HpacmlError, match=r"evaluation\.json"):
        Evaluation.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(HpacmlError, match="no evaluation in"):
        Evaluation.load(tmp_path / "evaluation.json")


def test_a_folder_that_cannot_be_written(evaluation, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HpacmlError, match="name another folder"):
        evaluation.save(tmp_path / "file")


def test_the_table_shows_all(evaluation):
    console = Console(width=400, color_system=None)
    with console.capture() as shown:
        console.print(evaluation)
    text = shown.get()
    assert str(evaluation).splitlines()[0].strip() == text.splitlines()[0].strip()
    for row in evaluation.rows:
        assert row.name in text
    assert "NaN (500 numbers)" in text
    assert "failed, see below" in text
    assert "a | b (compiled) failed: CompileError" in text
    assert "broken (torch) gives 500 of 500 numbers" in text


def rows(*others):
    accurate = Row("accurate", "accurate", "", (1.0,), (1.0,), 1.0, Spread(1.0, 1.0, 1.0))
    return (accurate, *(_row(*each) for each in others))


def _row(name, kind, seconds, rmse):
    errors = {"rmse": rmse, "mae": rmse, "mape": rmse, "max": rmse, "rows": 1, "per_output": []}
    engine, speed = "torch" if kind == "model" else "", 1 / seconds
    return Row(name, kind, engine, (seconds,), (seconds,), speed, Spread(speed, speed, speed), errors)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([("m", "model", 0.1, 0.2)], "m (torch) has RMSE 0.2 at 10x the speed; no baseline is as good"),
        ([("m", "model", 2.0, 0.2)], "the accurate program has RMSE 0 at 1x the speed: use it instead"),
        (
            [("m", "model", 0.1, 0.2), ("b", "baseline", 0.05, 0.1)],
            "m (torch) has RMSE 0.2 at 10x the speed; b has RMSE 0.1 at 20x the speed: use it instead",
        ),
        (
            [("m", "model", 0.1, 0.2), ("b", "baseline", 0.2, 0.1)],
            "b has RMSE 0.1 at 5x the speed, and takes 2 times as long",
        ),
        ([("m", "model", 0.1, 0.2), ("b", "baseline", 0.05, 0.3)], "no baseline is as good"),
        ([("m", "model", 0.1, 0.0), ("b", "baseline", 0.1, 0.0)], "b has RMSE 0 at 10x the speed: use it instead"),
        ([("m", "model", 0.1, 0.2), ("b", "baseline", 0.1, float("nan"))], "no baseline is as good"),
    ],
)
def test_verdicts(others, expected, evaluation):
    verdict = replace(evaluation, rows=rows(*others)).verdict()
    assert expected in verdict
    assert len(verdict.splitlines()) == 1


def test_a_truth_shows_that_the_accurate_program_is_worse(evaluation):
    accurate = replace(_row("accurate", "accurate", 1.0, 0.5), errors=_row("", "model", 1.0, 0.5).errors)
    model = _row("m", "model", 2.0, 0.2)
    verdict = replace(evaluation, rows=(accurate, model)).verdict()
    assert verdict == "m (torch) has RMSE 0.2 at 0.5x the speed; no baseline is as good"
