"""The folder of results: tables and figures of one application, and those of all of them beside the paper's."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..resumable import write
from . import complete, figure5, figure6, figures7and8, tables
from .drawing import table
from .measured import Measured

INDEX = "tables.md"


def write_one(measured: Measured, folder: Path) -> Measured:
    """Write NAME.csv, NAME.json, NAME.md and NAME.png, and copy the application's own pictures beside them."""
    copies = [_copied(path, folder, measured.name) for path in measured.figures]
    one = {measured.name: replace(measured, figures=copies)}
    write(folder / f"{measured.name}.csv", table(tables.runs(one)))
    write(folder / f"{measured.name}.json", _json(_told(one[measured.name])))
    figures7and8.draw_panels([measured], folder / f"{measured.name}.png")
    write(folder / f"{measured.name}.md", _page(one[measured.name]))
    return one[measured.name]


def write_all(all_measured: Mapping[str, Measured], names: Iterable[str], folder: Path) -> list[str]:
    """Write what is of each application, all figures, and tables.md. Returns what is missing, as that page says."""
    written = {name: write_one(measured, folder) for name, measured in all_measured.items()}
    for figure in (figure5, figure6, figures7and8) if written else ():
        figure.draw(written, folder)
    parts = {name: make(written) for name, make in _TABLES.items()}
    for name, rows in parts.items():
        write(folder / f"{name}.csv", table(rows))
    lacking = complete.missing(written, names, folder)
    told = {"machines": {name: each.machine for name, each in written.items()}, "missing": lacking, **parts}
    write(folder / "tables.json", _json(told))
    write(folder / INDEX, _index(written, parts, lacking))
    return lacking


_TABLES = {
    "summary": tables.summary,
    "table2": tables.table2,
    "table3": tables.table3,
    "originals": tables.originals,
    "runs": tables.runs,
    "shares": tables.shares,
    "trainings": tables.trainings,
}


def _copied(source: Path, folder: Path, name: str) -> Path:
    """Copy a picture of an application, which is named after it, or as one of the paper's figures is."""
    named = source.name.startswith((f"{name}-", "figure9"))
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(source, folder / (source.name if named else f"{name}-{source.name}")))


def _told(measured: Measured) -> dict[str, Any]:
    return {**asdict(measured), "figures": [path.name for path in measured.figures]}


def _page(measured: Measured) -> str:
    """All of one application as Markdown."""
    one = {measured.name: measured}
    says = _listed(f"{what}: {words}" for what, words in measured.says.items())
    head = f"# {measured.title}\n\nQuality of interest: {measured.quality}. {_about(measured)}"
    sections = {
        head: tables.markdown(tables.runs(one)),
        "## What to use": _listed(measured.verdict),
        "## What to know of the measurement": _listed(measured.notes),
        "## The paper": says,
        "## Speed against accuracy": f"![Speed against accuracy]({measured.name}.png)\n",
        "## Where the time of its region goes": tables.markdown(tables.shares(one)),
        "## Collection": tables.markdown(tables.table3(one)),
        "## The accurate path and C": tables.markdown(tables.originals(one)),
        "## Training": tables.markdown(tables.trainings(one)),
        "## Its own figures": _pictures(measured.pictures),
    }
    return "\n".join(f"{head}\n\n{body}" for head, body in sections.items() if body)


def _index(written: Mapping[str, Measured], parts: Mapping[str, Any], lacking: Iterable[str]) -> str:
    """All tables and figures beside the paper's."""
    own = written["miniweather"].pictures if "miniweather" in written else ()
    machines = "\n\n".join(dict.fromkeys(map(_about, written.values())))
    lacks = _listed(lacking) or "Nothing: every figure has all points, every table all rows.\n"
    sections = {
        f"# The paper's evaluation\n\n{machines}": tables.markdown(parts["summary"]),
        "## Table II: lines and directives": tables.markdown(parts["table2"]),
        "## Table III: collection": tables.markdown(parts["table3"]),
        "## Figure 5: speed-up and error of each model": f"![Figure 5]({figure5.NAME})\n",
        "## Figure 6: gather, model, scatter": f"![Figure 6]({figure6.NAME})\n\n{tables.markdown(parts['shares'])}",
        "## Figures 7 and 8: speed against accuracy": "".join(f"![{n}]({n})\n" for n in figures7and8.PANELS),
        "## Figure 9: MiniWeather": _pictures(own),
        "## All runs": tables.markdown(parts["runs"]),
        "## The accurate paths and C": tables.markdown(parts["originals"]),
        "## Trainings": tables.markdown(parts["trainings"]),
        "## Missing": lacks,
    }
    return "\n".join(f"{head}\n\n{body}" for head, body in sections.items() if body)


def _json(value: Any) -> str:
    """JSON has no NaN and no infinity: they are texts, as paths are."""
    return json.dumps(_plain(value), indent=1, default=str, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(paths: Iterable[Path]) -> str:
    return "".join(f"![{path.stem}]({quote(path.name)})\n" for path in paths)


def _listed(lines: Iterable[str]) -> str:
    return "".join(f"- {each}\n" for each in lines)


def _about(measured: Measured) -> str:
    """The machine, less what changes from one measurement to the next."""
    told = {name: value for name, value in measured.machine.items() if value is not None and name != "load"}
    told = {"device": measured.device, **told}
    return ", ".join(f"{name} {value}" for name, value in told.items())
