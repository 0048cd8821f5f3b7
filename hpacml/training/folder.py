"""The folder of a training: what a killed one goes on with, and the logs."""

from __future__ import annotations

import csv
import fcntl
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from hpacml.errors import ConfigError

CHECKPOINT = "last.ckpt"


@contextmanager
def alone(folder: Path, rank: int) -> Generator[None]:
    """Have the folder for this process, and those that it starts. Raises ConfigError where another one trains there."""
    with nullcontext() if rank else _locked(folder):
        yield


def _locked(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "w")  # noqa: SIM115 (the caller closes it, which opens the lock)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"another process trains in '{folder}': wait for it, or write to another file") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    return file


def prepare(folder: Path, fingerprint: str, resume: bool) -> bool:
    """Tell whether a training goes on with what is there: only if that is its own. Raises ConfigError."""
    mark, checkpoint = folder / "training.sha256", folder / CHECKPOINT
    try:
        goes_on = resume and checkpoint.exists() and mark.exists() and mark.read_text() == fingerprint
        if not goes_on:
            checkpoint.unlink(missing_ok=True)
            mark.write_text(fingerprint)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return goes_on


def write_logs(folder: Path, metrics: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> None:
    """Write the logs, and remove what a killed training goes on with. Raises ConfigError."""
    try:
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))
        with open(folder / "history.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "training", "validation", "lr"])
            writer.writeheader()
            writer.writerows(history)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"the model is written, but not its logs: {_unwritable(folder, error)}") from error


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to '{error.filename or folder}': {error.strerror or error}")
