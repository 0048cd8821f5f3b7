"""What an evaluation found, as a table, words, files and a picture."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpacml.disk.whole_files import whole_file
from hpacml.errors import HpacmlError
from hpacml.evaluation.clocks import Spread
from hpacml.evaluation.measured import Measured, Row
from hpacml.evaluation.speed_over_error import draw
from hpacml.evaluation.tabular import csv_text, markdown, rich_table
from hpacml.evaluation.verdicts import verdict

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = 1


@dataclass(frozen=True)
class Evaluation(Measured):
    """What `hpacml.evaluate` found, which is what it measured, and what can be made of that."""

    def verdict(self) -> str:
        """Say of each model, a line each, what is as good and as fast, or that nothing is."""
        return verdict(self)

    def table(self) -> Table:
        """Make a table for rich: times, speed-up, errors, and where the time goes."""
        return rich_table(self)

    def __rich__(self) -> Table:
        return self.table()

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=200, color_system=None).print(self.table())
        return text.getvalue().rstrip("\n")

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write evaluation.json, .csv, .md and .png into a folder, which is made; return their paths.

        Raises HpacmlError where that is not possible.
        """
        place = Path(folder)
        texts = {"json": self._json(), "csv": csv_text(self), "md": markdown(self)}
        try:
            place.mkdir(parents=True, exist_ok=True)
            for ending, text in texts.items():
                with whole_file(place / f"evaluation.{ending}") as part:
                    part.write_text(text, encoding="utf-8")
            with whole_file(place / "evaluation.png") as part:
                draw(self, part)
        except OSError as error:
            reason = error.strerror or error
            raise HpacmlError(f"cannot write the evaluation to '{place}' ({reason}): name another folder") from error
        return [place / f"evaluation.{ending}" for ending in (*texts, "png")]

    def _json(self) -> str:
        content = {"format": FORMAT, **asdict(self), "verdict": self.verdict().splitlines()}
        return json.dumps(_encoded(content), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Evaluation:
        """Read what `save` has written: evaluation.json, or the folder with it. Raises HpacmlError for other files."""
        file = Path(path)
        file = file / "evaluation.json" if file.is_dir() else file
        try:
            content = cast("dict[str, Any]", _decoded(json.loads(file.read_text(encoding="utf-8"))))
            if content.pop("format") != FORMAT:
                raise HpacmlError(f"'{file}' has another format than {FORMAT}: evaluate again")
            del content["verdict"]
            content["rows"] = tuple(map(_row, content["rows"]))
            content["notes"] = tuple(content["notes"])
            return Evaluation(**content)
        except OSError as error:
            raise HpacmlError(f"there is no evaluation in '{file}': {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HpacmlError(f"'{file}' is no evaluation that hpacml.evaluate has written: write it again") from error


def _row(content: Mapping[str, Any]) -> Row:
    paired = content["paired"]
    read: dict[str, Any] = {**content, "wall": tuple(content["wall"]), "cpu": tuple(content["cpu"])}
    read["paired"] = None if paired is None else Spread(*paired)
    return Row(**read)


NUMBERS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
"""The floats that JSON lacks, as `{"float": NAME}`."""


def _encoded(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _encoded(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, float) and str(value) in NUMBERS:
        return {"float": str(value)}
    return value


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        content = cast("dict[str, object]", value)
        if content.keys() == {"float"}:
            return NUMBERS[str(content["float"])]
        return {name: _decoded(each) for name, each in content.items()}
    if isinstance(value, list):
        return [_decoded(each) for each in cast("list[object]", value)]
    return value
