"""A search finds the front, goes on after whatever stopped it, and does no trial twice."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hpacml
from hpacml.searching.domain import Domain
from hpacml.searching.journal import Journal, SearchError
from hpacml.searching.plan import Choice, Range
from hpacml.searching.proposals import Proposer, Tried
from hpacml.searching.stopwatch import Stopwatch
from hpacml.tools.cli import app
from tests.searching import toy
from tests.warm import warm_processes

ROOT = Path(__file__).parents[2]


def run(plan: dict[str, Any], **changes: Any) -> Any:
    return hpacml.search({**plan, **changes}, quiet=True, evaluate=toy.evaluate, measure=toy.measure)


def records(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(plan["out"]) / "journal.jsonl").read_text().splitlines()]


def told(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """What the journal has, but for the clock and the order of workers."""
    kept = [{name: value for name, value in record.items() if name != "elapsed"} for record in records(plan)]
    timeless = (
        {**each, "result": {**each["result"], "seconds": 0, "model": ""}} if "result" in each else each for each in kept
    )
    return sorted(timeless, key=json.dumps)


def test_front(plan: dict[str, Any], here: None) -> None:
    found = run(plan)
    folder = Path(plan["out"])
    everything = json.loads((folder / "search.json").read_text())
    points = [(each["time"], each["error"]) for each in everything["trials"]]
    best = sorted({p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)})
    assert [(each["time"], each["error"]) for each in found.front] == best
    assert found.ended == "all 6 trials are done"
    assert len(everything["trials"]) + len(everything["failed"]) == 6
    architectures = [(each["architecture"]["a"], each["architecture"]["b"]) for each in everything["trials"]]
    assert len(set(architectures)) == len(architectures)
    assert all(b <= a for a, b in architectures)
    with open(folder / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(record["kind"] == "trained" for record in records(plan))
    failed = [row for row in rows if row["failed"]]
    assert all(row["failed"].startswith("ValueError: no network has") and not row["error"] for row in failed)
    assert {Path(each["model"]).read_text() for each in found.front} == {f"{each['time']:g}" for each in found.front}
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")


def test_killed_anywhere_it_goes_on_as_if_it_had_not_been(
    plan: dict[str, Any], here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(plan)
    wanted = told(plan)
    other = {**plan, "out": str(tmp_path / "other")}
    path = Path(other["out"]) / "journal.jsonl"
    original = Journal.append
    most = 0

    def append(self: Journal, **record: Any) -> None:
        if len(self.records) >= most:
            os.pwrite(self._file, b'{"kind": "tra', self._length)  # what a process that is killed may leave
            raise KeyboardInterrupt
        original(self, **record)

    monkeypatch.setattr(Journal, "append", append)
    for seed in range(3):
        most = random.Random(seed).randint(1, 5) + (path.read_text().count("\n") if path.exists() else 0)
        with pytest.raises(KeyboardInterrupt):
            run(other)
    monkeypatch.setattr(Journal, "append", original)
    assert run(other).ended == "all 6 trials are done"
    assert told(other) == wanted


def test_architectures_learn_from_those_before(plan: dict[str, Any], here: None) -> None:
    """The learning rate that was good for one is tried as the second of the next one."""
    run(plan, hyperparameters={"lr": {"range": [1e-4, 1e-1], "log": True}, "kept": 3},
        trials={"outer": 3, "inner": 4, "parallel": 1, "patience": None})  # fmt: skip
    trained = [record for record in records(plan) if record["kind"] == "trained" and "error" in record["result"]]
    of = {number: [each for each in trained if each["trial"] == number] for number in {t["trial"] for t in trained}}
    first, *others = of.values()
    assert [each["source"] for each in first] == ["start", "beside", "beside", "model"]
    best = min(first, key=lambda each: each["result"]["error"])
    assert best is not first[0]
    assert [each["source"] for each in others[0]][:2] == ["start", "before"]
    assert others[0][1]["hyperparameters"] == best["hyperparameters"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": {"hiden1": {"range": [5, 8]}}}, "has no 'hiden1': .*did you mean 'hidden1'"),
        ({"hyperparameters": {"network.dropot": {"range": [0.0, 0.1]}}}, "did you mean 'dropout'"),
    ],
)
def test_names_that_a_family_does_not_have_are_refused_before_anything_is_trained(
    settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(hpacml.ModelError, match=message):
        hpacml.search({"database": "none.h5", "architecture": {"hidden1": 8}, "out": str(out), **settings}, quiet=True)
    assert not out.exists()


def test_a_search_that_finds_nothing_has_failed(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(folder=tmp_path, front=[])
    monkeypatch.setattr("hpacml.searching.running.search", lambda *_, **__: nothing)
    result = CliRunner().invoke(app, ["search", "s.yaml"])
    assert result.exit_code == 1
    assert "no trial has a model and its time" in result.output


def test_an_application_that_does_not_infer_has_no_time() -> None:
    """Its time would be that of anything: the front would be made of it without a word."""
    application = "tests.searching.toy:without_a_region"
    result = Stopwatch("none.h5", None, application, repeats=3, seconds=1, threads=1)("model.pt2")
    assert result["failed"].startswith(f"ModelError: no region infers in the application {application}(model)")


class Skipping(torch.nn.Module):
    """A network whose program is no chain of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(1, 4), torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.last(hidden * torch.sin(hidden))


def test_programs_that_are_no_chain_of_layers_have_a_time(tmp_path: Path) -> None:
    model, database = str(tmp_path / "skipping.pt2"), str(tmp_path / "doubled.h5")
    hpacml.save_model(Skipping(), model, example=torch.zeros(20, 1))

    @hpacml.region(f"""tensor functor(p: [i, 0:1] = ([i]))
        ml(collect) in(p(x[0:n])) out(p(y[0:n])) database("{database}")""")
    def doubled(x: Any, y: Any, n: int) -> None:
        y[:n] = 2 * x[:n]

    doubled(np.ones(20, np.float32), np.zeros(20, np.float32), 20)
    hpacml.flush()
    result = Stopwatch(database, None, None, repeats=3, seconds=1, threads=1)(model)
    assert result["failed"] is None
    assert result["calls"] == 3


def test_ends(plan: dict[str, Any], here: None) -> None:
    tiny = {"a": {"choice": [2, 4]}, "b": {"range": [0, 1]}}
    assert run(plan, architecture=tiny, constraints=[]).ended == "all 4 architectures of the space are tried"
    patient = {**plan, "out": plan["out"] + "p", "trials": {"outer": 99, "inner": 1, "patience": 2, "parallel": 1}}
    assert run(patient, hyperparameters={}, architecture={"a": {"range": [1, 40]}, "b": 0}).ended.startswith(
        "the last 2 trials"
    )
    late = {**plan, "out": plan["out"] + "l", "time_limit": 1e-9}
    found = run(late)
    assert found.ended == "the time limit of 1e-09 s is reached"
    assert found.front == []
    assert run(late, time_limit=None).ended == "all 6 trials are done"


def test_another_search_is_refused(plan: dict[str, Any], here: None) -> None:
    run(plan)
    with pytest.raises(hpacml.ConfigError, match="has a search of other settings"):
        run(plan, seed=1)
    held = Journal(Path(plan["out"]) / "journal.jsonl")
    with pytest.raises(SearchError, match="another process has"):
        run(plan)
    held.close()


def test_other_data_is_refused(plan: dict[str, Any], here: None, tmp_path: Path) -> None:
    """One number of the database is another: errors of trials before and after that would not compare."""
    plan = {
        **plan,
        "database": str(tmp_path / "d.h5"),
        "train": {"rows": "calls"},
        "architecture": {"hidden1": {"range": [5, 8]}},
        "constraints": [],
        "hyperparameters": {},
        "time_limit": 1e-9,
    }
    with h5py.File(plan["database"], "w") as file:
        file["line/input"], file["line/output"] = np.ones((12, 3)), np.ones((12, 1))
    for _ in range(2):
        assert hpacml.search(plan, quiet=True).ended == "the time limit of 1e-09 s is reached"
    with h5py.File(plan["database"], "r+") as file:
        file["line/output"][11] = 2
    with pytest.raises(hpacml.ConfigError, match="has a search with other data than the database has now"):
        hpacml.search(plan, quiet=True)


def test_a_full_disk_loses_nothing(plan: dict[str, Any], here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise hpacml.ConfigError("cannot write") from OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SearchError, match="the disk is full"):
        hpacml.search(plan, quiet=True, evaluate=full, measure=toy.measure)
    assert [record["kind"] for record in records(plan)] == ["plan", "round"]

    def pwrite(file: int, content: bytes, place: int) -> int:
        os.lseek(file, place, os.SEEK_SET)
        os.write(file, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        with pytest.raises(SearchError, match="No space left on device"):
            run(plan)
    assert [record["kind"] for record in records(plan)] == ["plan", "round"]
    assert run(plan).ended == "all 6 trials are done"


@pytest.mark.slow
def test_proposals_are_a_function_of_the_seed_and_the_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Ax's model proposes, for ranges, choices and several at a time, and a compilation was killed."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    for folder in (tmp_path / "logei_fused_ext", tmp_path / "py311_cpu" / "logei_fused_ext"):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    parameters = {
        "n": Range(range=(1, 50)),
        "x": Range(range=(1e-3, 1.0), log=True),
        "kind": Choice(choice=["relu", "tanh"]),
        "size": Choice(choice=[64, 128, 256]),
    }
    domain = Domain(parameters, ["n <= 40", "size <= 10 * n + 128"])
    proposer = Proposer(domain, {"error": 1.0, "time": 50.0}, 7, 4)
    tried: list[Tried] = []
    sources: list[str] = []
    while len(tried) < 6:
        proposals = proposer.propose(tried, 2)
        assert proposals == proposer.propose(list(tried), 2)
        sources += [each.source for each in proposals]
        for each in proposals:
            assert domain.holds(each.point)
            assert 1e-3 <= each.point["x"] <= 1
            found = {"error": 1 / each.point["n"], "time": each.point["n"] + each.point["size"] * each.point["x"]}
            tried.append(Tried(each.point, found if len(tried) != 1 else None))
    assert sources == ["start", "sobol", "sobol", "sobol", "model", "model"]
    assert "logei_fused_ext" not in sys.modules


def search(plan: dict[str, Any], log: Path) -> None:
    """Search in this process, whose workers write to the log which trials they begin."""
    os.environ |= {"TOY_LOG": str(log), "PYTHONPATH": str(ROOT)}
    run(plan)


@pytest.mark.slow
def test_killed_with_its_workers(plan: dict[str, Any], tmp_path: Path) -> None:
    """A search in processes, killed at random: no worker outlives it, and no finished trial is begun again."""
    log = tmp_path / "log"
    journal = Path(plan["out"]) / "journal.jsonl"

    def lines() -> int:
        return journal.read_text().count("\n") if journal.exists() else 0

    def start() -> BaseProcess:
        process = warm_processes().Process(target=search, args=(plan, log))
        process.start()
        return process

    for _ in range(3):
        process, before = start(), lines()
        while process.is_alive() and lines() < before + 3:
            time.sleep(0.05)
        begun = log.read_text().splitlines()
        finished = {f"{r['trial']:04}" for r in records(plan) if r["kind"] == "measured"}
        process.kill()
        process.join()
        time.sleep(1)
        at_kill = log.read_text()
        time.sleep(1)
        assert log.read_text() == at_kill
        assert begun
        assert all(name.partition("/")[0] in finished or begun.count(name) <= 3 for name in begun)
    process = start()
    process.join()
    assert process.exitcode == 0
    trials = [(r["trial"], tuple(r["hyperparameters"].items())) for r in records(plan) if r["kind"] == "trained"]
    assert len(set(trials)) == len(trials)
    assert sum(r["kind"] == "measured" for r in records(plan)) == 6
