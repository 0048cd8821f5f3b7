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


def plot(region: Region, out: Path, most: int, where: str | None = None) -> int:
    """Write a picture with histograms of the first `most` features, those of tensors and then numbers of calls.

    Returns how many features there are. `where` is a condition on the numbers of calls, and the picture is of those
    that meet it.
    """
    plotting = pyplot()
    calls = None if where is None else region.calls_where(where)
    drawn, total = _histograms(region, most, calls)
    if not drawn:
        wanted = "" if where is None else f" where {where}"
        raise DatabaseError(f"the region '{region.label}' has no numbers to draw{wanted}: collect some calls first")
    rows = math.ceil(len(drawn) / COLUMNS)
    figure, axes = plotting.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(drawn) :]:
        axis.axis("off")
    for axis, (name, counts, edges) in zip(axes.flat, drawn, strict=False):
        kinds = {"input": "tab:blue", "output": "tab:orange"}
        colour = kinds.get(name.partition("[")[0].partition("_")[0], "tab:green")
        axis.stairs(counts, edges, fill=True, color=colour)
        axis.set_title(name, fontsize="medium", parse_math=False)
        axis.set_yscale("symlog", linthresh=1)
    count = str(region.calls) if calls is None else f"{calls.sum()} of {region.calls}, where {where}"
    figure.suptitle(plain(f"{region.label}, calls: {count}", line=True), parse_math=False)
    figure.tight_layout()
    with new_file(out) as part:
        figure.savefig(part, format="png", dpi=100)
    plotting.close(figure)
    return total


def pyplot() -> Any:
    """Matplotlib's functions for pictures that are written to files. Raises DatabaseError without matplotlib."""
    try:
        importlib.import_module("matplotlib").use("agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise DatabaseError(f"plots need matplotlib ({error}): pip install 'hpacml[examples]'") from error


def _histograms(region: Region, most: int, calls: Array | None = None) -> tuple[list[tuple[str, Array, Array]], int]:
    """Return the name, counts and edges of each of the first features, and the number of all features."""
    drawn: list[tuple[str, Array, Array]] = []
    total = 0
    tensors = [region.all_points(tensor) for tensor in (*region.inputs, *region.outputs)]
    for rows in (*tensors, *map(Rows, region.meta.values())):
        tensor = rows.tensor
        chosen = None if calls is None else np.repeat(calls, rows.counts)
        features = math.prod(rows.features)
        total += features
        shown = min(features, most - len(drawn))
        if shown > 0 and (len(rows) if chosen is None else chosen.any()):
            histograms = zip(*_count(rows, shown, chosen), strict=True)
            for place, (counts, edges) in zip(np.ndindex(rows.features), histograms, strict=False):
                drawn.append((f"{tensor.name}{list(place)}" if place else tensor.name, counts, edges))
    return drawn, total


def _count(rows: Rows, features: int, chosen: Array | None) -> tuple[Array, Array]:
    """Count the finite numbers of the chosen rows: counts [features, BINS], and edges [features, BINS + 1]."""

    def blocks(what: str) -> Any:
        for block in progress(rows.blocks, f"{what} {rows.name}", len(rows.blocks)):
            values = rows[block].reshape(block.stop - block.start, -1)[:, :features].astype(float)
            yield values if chosen is None else values[chosen[block]]

    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    for values in blocks("ranges of"):
        finite = np.isfinite(values)
        low = np.minimum(low, np.where(finite, values, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(finite, values, -np.inf).max(0, initial=-np.inf))
    empty = low > high
    low[empty], high[empty] = 0, 1
    edges = np.stack([np.histogram_bin_edges([], BINS, ends) for ends in zip(low, high, strict=True)])
    counts = np.zeros((features, BINS), np.int64)
    for values in blocks("counting"):
        for k in range(features):
            column = values[:, k]
            counts[k] += np.histogram(column[np.isfinite(column)], edges[k])[0]
    return counts, edges
