"""What a worker does: it evaluates one trial, in a folder whose result is a file before it is told."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpacml.disk.whole_files import whole_file
from hpacml.errors import summary

Evaluate = Callable[[Mapping[str, Any], Mapping[str, Any], Path], Mapping[str, Any]]
"""`evaluate(architecture, hyper-parameters, folder)` gives at least `error` and `model`, a number and a file."""

RESULT = "result.json"

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Training:
    """Trains a network for each trial."""

    databases: str | list[str]
    region: str | None
    model: str
    config: Mapping[str, Any]
    metric: str

    def __call__(
        self, architecture: Mapping[str, Any], hyperparameters: Mapping[str, Any], folder: Path
    ) -> Mapping[str, Any]:
        """Train and test a network, which is written to model.pt2 in the folder."""
        from hpacml.training.train import train

        network = {**self.config.get("network", {}), **architecture}
        config = {"threads": 1, "pictures": False, **self.config, "network": network}
        trained = train(
            self.databases,
            self.region,
            self.model,
            config=config,
            changes=hyperparameters,
            out=folder / "model.pt2",
            quiet=True,
        )
        metrics = trained.metrics
        error = metrics["validation_loss"] if self.metric == "loss" else metrics["validation"][self.metric]
        told = {name: metrics[name] for name in ("epochs", "test", "remarks")}
        return {"error": error, "model": str(trained.path), **told}


def attempt(
    evaluate: Evaluate, architecture: Mapping[str, Any], hyperparameters: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    """Evaluate a trial in a folder of its own, once: what it gave, or `failed`, the error by which it failed.

    A worker of a search that was killed may still be at it. Then this waits for it, and gives what that found.
    Raises OSError where the disk is full: what is no fault of the trial.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if (place / RESULT).exists():
            return json.loads((place / RESULT).read_text())
        began = time.monotonic()
        try:
            result: dict[str, Any] = {**evaluate(architecture, hyperparameters, place), "failed": None}
            if not math.isfinite(result["error"]):
                result = {"failed": f"its error is {result['error']}"}
        except Exception as error:
            if is_full(error):
                raise OSError(errno.ENOSPC, summary(error), folder) from None
            result = {"failed": summary(error)}
        result["seconds"] = time.monotonic() - began
        _write(place / RESULT, result)
        return result


def is_full(error: BaseException) -> bool:
    """Whether an error comes from a full disk."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


@contextlib.contextmanager
def _alone(place: Path) -> Generator[None]:
    with open(place / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, content: Any) -> None:
    """Write JSON that is there whole or not at all, also after a power cut."""
    with whole_file(path) as part, open(part, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
