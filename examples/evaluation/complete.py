"""What is missing: every figure shall have all points, and every table all rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from . import figure5, figure6, figures7and8
from .measured import ENGINES, STAGES, Measured, Row, numbers


def missing(all_measured: Mapping[str, Measured], names: Iterable[str], folder: Path) -> list[str]:
    """Each row, point and picture that should be there and is not, in words; nothing if all is there."""
    names = list(names)
    here = {name: all_measured[name] for name in names if name in all_measured}
    absent = [f"{name}: nothing is measured" for name in names if name not in all_measured]
    return [*absent, *(each for measured in here.values() for each in _of(measured)), *_figures(here, folder)]


def _of(measured: Measured) -> Iterator[str]:
    """What the tables lack of one application."""
    rows = {(row.name, row.engine): row for row in measured.rows if row.kind == "model"}
    for network, engine in product(measured.networks, ENGINES):
        yield from _lacks(measured, rows.get((network, engine)), f"{network} by {engine}")
    for row in measured.rows:
        if row.kind == "baseline":
            yield from _lacks(measured, row, row.name)
    if not measured.networks:
        yield f"{measured.name}: there is no network"
    if not any(row.kind == "baseline" for row in measured.rows):
        yield f"{measured.name}: there is no baseline"
    if measured.accurate is None or not numbers(measured.accurate.seconds):
        yield f"{measured.name}: the accurate path has no time"
    if not numbers(measured.collection.get("seconds"), measured.collection.get("seconds_collecting")):
        yield f"{measured.name}: collection is not measured"
    for way in ("strict", "fastmath"):
        if not numbers(measured.original.get(way, {}).get("ratio")):
            reason = measured.original.get(way, {}).get("skipped", "not measured")
            yield f"{measured.name}: no comparison with C ({way}): {reason}"
    if not measured.lines.directives:
        yield f"{measured.name}: no directive is counted"


def _lacks(measured: Measured, row: Row | None, what: str) -> Iterator[str]:
    if row is None:
        yield f"{measured.name}: {what} is not measured"
    elif row.failed is not None:
        yield f"{measured.name}: {what} failed: {row.failed}"
    elif not row.known:
        yield f"{measured.name}: {what} has the speed-up {row.speedup} and the error {row.error}"


def _figures(here: Mapping[str, Measured], folder: Path) -> Iterator[str]:
    """What the figures lack, by the points that were drawn."""
    panelled = [picture for picture, panels in figures7and8.PANELS.items() if here.keys() & set(panels)]
    for picture in (figure5.NAME, figure6.NAME, *panelled):
        if not (folder / picture).is_file():
            yield f"{picture} is not there"
    every = [(name, *point) for name, each in here.items() for point in product(each.networks, ENGINES)]
    yield from _points(folder / figure5.NAME, every)
    yield from _points(folder / figure6.NAME, every, [f"{stage}, %" for stage in STAGES])
    for picture, panels in figures7and8.PANELS.items():
        baselines = [(n, row.name, "") for n in panels if n in here for row in here[n].rows if row.kind == "baseline"]
        yield from _points(folder / picture, [each for each in every if each[0] in panels] + baselines)
    for name, measured in here.items():
        if measured.has_figures and not measured.pictures:
            yield f"{name}: it has drawn none of its own figures"
        for path in measured.figures:
            if not path.is_file() or not path.stat().st_size:
                yield f"{name}: its figure {path.name} is not there"


def _points(
    picture: Path, expected: Sequence[tuple[str, str, str]], columns: Sequence[str] = ("speedup", "error")
) -> Iterator[str]:
    """The expected points of a figure that were not drawn, or have no numbers."""
    drawn = {(row["application"], row["model"], row["engine"]): row for row in _rows(picture)}
    for point in expected:
        if point not in drawn or not all(_finite(drawn[point][column]) for column in columns):
            yield f"{picture.name}: {' '.join(filter(None, point))} is missing"


def _rows(picture: Path) -> list[dict[str, Any]]:
    try:
        with open(picture.with_suffix(".csv"), newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def _finite(text: str) -> bool:
    try:
        return numbers(float(text))
    except ValueError:
        return False
