"""`hpacml db plot`: a histogram for each feature of a region."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError, plain
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.reader import Region
from hpacml.runtime.databases.tensors import Rows
from hpacml.tools.console import progress
from hpacml.tools.outputs import new_file

BINS = 60
COLUMNS = 4


def plot(region: Region, out: Path, most: int) -> int:
    """Write a picture with histograms of the first `most` features. Returns the number of all features."""
    pyplot = _pyplot()
    drawn, total = _histograms(region, most)
    if not drawn:
        raise DatabaseError(f"the region '{region.label}' has no numbers to draw: collect some calls first")
    rows = math.ceil(len(drawn) / COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(drawn) :]:
        axis.axis("off")
    for axis, (name, counts, edges) in zip(axes.flat, drawn, strict=False):
        colour = "tab:blue" if name.startswith("input") else "tab:orange"
        axis.stairs(counts, edges, fill=True, color=colour)
        axis.set_title(name, fontsize="medium", parse_math=False)
        axis.set_yscale("symlog", linthresh=1)
    figure.suptitle(plain(f"{region.label}, calls: {region.calls}", line=True), parse_math=False)
    figure.tight_layout()
    with new_file(out) as part:
        figure.savefig(part, format="png", dpi=100)
    pyplot.close(figure)
    return total


def _pyplot() -> Any:
    try:
        importlib.import_module("matplotlib").use("agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise DatabaseError(f"plots need matplotlib ({error}): pip install 'hpacml[examples]'") from error


def _histograms(region: Region, most: int) -> tuple[list[tuple[str, Array, Array]], int]:
    """Return the name, counts and edges of each of the first features, and the number of all features."""
    drawn: list[tuple[str, Array, Array]] = []
    total = 0
    for tensor in (*region.inputs, *region.outputs):
        rows = region.all_points(tensor)
        features = math.prod(rows.features)
        total += features
        shown = min(features, most - len(drawn))
        if shown > 0 and len(rows):
            histograms = zip(*_count(rows, shown), strict=True)
            for place, (counts, edges) in zip(np.ndindex(rows.features), histograms, strict=False):
                drawn.append((f"{tensor.name}{list(place)}" if place else tensor.name, counts, edges))
    return drawn, total


def _count(rows: Rows, features: int) -> tuple[Array, Array]:
    """Count the finite numbers: counts [features, BINS], and edges [features, BINS + 1]."""

    def blocks(what: str) -> Any:
        for block in progress(rows.blocks, f"{what} {rows.name}", len(rows.blocks)):
            yield rows[block].reshape(block.stop - block.start, -1)[:, :features].astype(float)

    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    for values in blocks("ranges of"):
        finite = np.isfinite(values)
        low = np.minimum(low, np.where(finite, values, np.inf).min(0))
        high = np.maximum(high, np.where(finite, values, -np.inf).max(0))
    empty = low > high
    low[empty], high[empty] = 0, 1
    edges = np.stack([np.histogram_bin_edges([], BINS, ends) for ends in zip(low, high, strict=True)])
    counts = np.zeros((features, BINS), np.int64)
    for values in blocks("counting"):
        for k in range(features):
            column = values[:, k]
            counts[k] += np.histogram(column[np.isfinite(column)], edges[k])[0]
    return counts, edges
