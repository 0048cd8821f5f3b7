"""The folder of a training: what a killed one goes on with, and the logs."""

from __future__ import annotations

import csv
import fcntl
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hpacml.errors import ConfigError
from hpacml.training.scores import METRICS, Result

CHECKPOINT = "last.ckpt"


@contextmanager
def alone(folder: Path, rank: int) -> Generator[None]:
    """Have the folder for this process, and those that it starts. Raises ConfigError where another one trains there."""
    with ExitStack() as held:
        if not rank:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                fcntl.flock(held.enter_context(open(folder / "lock", "w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                reason = f"another process trains in '{folder}': wait for it, or write to another file"
                raise ConfigError(reason) from error
            except OSError as error:
                raise _unwritable(folder, error) from error
        yield


def prepare(folder: Path, fingerprint: str, resume: bool) -> tuple[bool, bool]:
    """Tell whether there is what another run has left, and whether a training goes on with it: only if it is its own.

    Raises ConfigError.
    """
    mark, checkpoint = folder / "training.sha256", folder / CHECKPOINT
    try:
        is_left = checkpoint.exists()
        goes_on = resume and is_left and mark.exists() and mark.read_text() == fingerprint
        if not goes_on:
            checkpoint.unlink(missing_ok=True)
            mark.write_text(fingerprint)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return is_left, goes_on


def write_logs(
    folder: Path,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    results: Mapping[str, Result],
) -> None:
    """Write the logs, and remove what a killed training goes on with. Raises ConfigError."""
    errors = [
        {"predictor": name, "output": each.get("name", "all"), **{metric: each[metric] for metric in METRICS}}
        for name, result in results.items()
        for each in (result, *result["per_output"])
    ]
    try:
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))
        _write_table(folder / "history.csv", ["epoch", "training", "validation", "lr"], history)
        _write_table(folder / "test.csv", ["predictor", "output", *METRICS], errors)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"the model is written, but not its logs: {_unwritable(folder, error)}") from error


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to '{error.filename or folder}': {error.strerror or error}")
