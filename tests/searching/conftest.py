"""Cheap evaluations and measurements in place of trainings and regions."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest


class Here:
    """Workers that are this process: what is submitted has run."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, task: Any, /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(task(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpacml.searching.running.Workforce", Here)


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    return {
        "database": "none.h5",
        "architecture": {"a": {"range": [1, 40]}, "b": {"range": [0, 40]}},
        "constraints": ["b <= a"],
        "hyperparameters": {"lr": {"range": [1e-4, 1e-2], "log": True}},
        "trials": {"outer": 6, "inner": 2, "patience": None, "parallel": 2},
        "out": str(tmp_path / "out"),
    }
