"""A model is a file with its time; its error falls with its size."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any


def evaluate(architecture: dict[str, Any], hyperparameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    if log := os.environ.get("TOY_LOG"):
        with open(log, "a") as file:
            file.write(f"{folder.parent.name}/{folder.name}\n")
        time.sleep(0.2)
    size = architecture["a"] + architecture["b"]
    if size % 7 == 3:
        raise ValueError(f"no network has {size} features")
    model = folder / "model.pt2"
    model.write_text(str(size))
    return {"error": 1 / size + abs(math.log10(hyperparameters["lr"]) + 3), "model": str(model)}


def measure(model: str) -> dict[str, Any]:
    time = float(Path(model).read_text())
    return {"time": time, "accurate": 100.0, "speedup": 100 / time, "failed": None}


def without_a_region(model: str | None) -> int:
    return 1
