"""Pictures, of which the drawn numbers are looked at."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from hpacml.errors import DatabaseError, HpacmlError
from hpacml.training import pictures
from hpacml.training.pictures import draw, learning_curve
from tests.training.rows import Memory

RNG = np.random.default_rng(5)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figures that are written, by the names of their files."""
    written: dict[str, Any] = {}
    save = Figure.savefig

    def savefig(self: Figure, path: Path, **settings: Any) -> None:
        written[re.sub(r"^\.(.*)\.\d+\.part$", r"\1", path.name)] = self
        save(self, path, **settings)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return written


def half(x: Any) -> Any:
    return [each / 2 for each in x]


def test_outputs(tmp_path: Path, figures: dict[str, Any]) -> None:
    y = [RNG.normal(size=(40, 3)), RNG.integers(0, 200, 40, np.uint8)]
    before = dict(matplotlib.rcParams)
    paths = draw(tmp_path, Memory(y, y), half)
    assert [path.name for path in paths] == ["parity.png", "errors.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.png", "parity.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert dict(matplotlib.rcParams) == before
    flat = np.concatenate([y[0], y[1][:, None]], 1)
    axes = figures["parity.png"].axes
    assert [axis.get_title() for axis in axes] == ["output0[0]", "output0[1]", "output0[2]", "output1"]
    for k, axis in enumerate(axes):
        truth, predicted = axis.lines[1].get_data()
        np.testing.assert_array_equal(truth, flat[:, k])
        np.testing.assert_array_equal(predicted, flat[:, k] / 2)
    for k, axis in enumerate(figures["errors.png"].axes):
        counts, edges, _ = axis.patches[0].get_data()
        assert counts.sum() == 40
        assert edges[0] == pytest.approx((-flat[:, k] / 2).min())
        assert edges[-1] == pytest.approx((-flat[:, k] / 2).max())


def test_many_rows_are_sampled(tmp_path: Path, figures: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SAMPLED", 200)
    monkeypatch.setattr(pictures, "POINTS", 50)
    y = [RNG.normal(size=5000)]
    seen = []
    draw(tmp_path, Memory(y, y), lambda x: seen.append(len(x[0])) or x)
    assert 150 < sum(seen) < 250
    assert figures["parity.png"].get_suptitle() == f"a random sample of {sum(seen)} of the 5000 test rows"
    assert len(figures["parity.png"].axes[0].lines[1].get_xdata()) == 50
    assert figures["errors.png"].axes[0].patches[0].get_data()[0].sum() == sum(seen)


def test_fields_of_the_worst_row(tmp_path: Path, figures: dict[str, Any]) -> None:
    y = [RNG.normal(size=(30, 2, 5, 7)).astype(np.float32), RNG.normal(size=(30, 2))]
    y[0][17, 1, 2, 3] = 50
    assert [path.name for path in draw(tmp_path, Memory(y, y), half)][-1] == "fields.png"
    shown = figures["fields.png"]
    assert shown.get_suptitle() == "call 1, row 7: the largest error"
    images = [axis.images[0] for axis in shown.axes if axis.images]
    assert len(images) == 6
    for channel in range(2):
        truth, predicted, error = (image.get_array() for image in images[3 * channel : 3 * channel + 3])
        np.testing.assert_array_equal(truth, y[0][17, channel])
        np.testing.assert_array_equal(predicted, y[0][17, channel] / 2)
        np.testing.assert_array_equal(error, -y[0][17, channel] / 2)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_fields_of_the_last_call(tmp_path: Path, figures: dict[str, Any], block: int) -> None:
    x, y = RNG.normal(size=(36, 1)), RNG.normal(size=(36, 1))
    draw(tmp_path, Memory([x], [y], block), half, (3, 4))
    truth, predicted, _ = (axis.images[0].get_array() for axis in figures["fields.png"].axes if axis.images)
    np.testing.assert_array_equal(truth, y[24:].reshape(3, 4))
    np.testing.assert_array_equal(predicted, x[24:].reshape(3, 4) / 2)
    assert figures["fields.png"].get_suptitle() == "the last call, up to call 3, row 5"
    assert len(draw(tmp_path, Memory([x], [y], block), half, (30, 4))) == 2


def test_predictions_that_are_odd(tmp_path: Path, figures: dict[str, Any]) -> None:
    y = [np.full((9, 2, 2), 1e17)]
    odd = torch.tensor([[np.nan, np.inf], [0, 1e17]])
    assert len(draw(tmp_path, Memory(y, y), lambda x: [odd.expand(x[0].shape)])) == 3
    titles = [axis.get_title().removeprefix("output0") for axis in figures["parity.png"].axes]
    assert titles == ["[0, 0] (9 not finite)", "[0, 1] (9 not finite)", "[1, 0]", "[1, 1]"]
    counts = [axis.patches[0].get_data()[0].sum() for axis in figures["errors.png"].axes]
    assert counts == [0, 0, 9, 9]


def test_a_learning_curve(tmp_path: Path, figures: dict[str, Any]) -> None:
    """Lightning's file has rows of training and of validation, with the cells of the other ones empty."""
    text = "epoch,step,train_loss,val_loss,lr,$a$_loss\n0,9,2.5,,0.1,\n0,9,,3.5,,\n1,19,1.5,,0.1,\n1,19,,nan,,\n"
    learning_curve(tmp_path / "curve.png", list(csv.DictReader(io.StringIO(text))))
    (axis,) = figures["curve.png"].axes
    lines = {line.get_label(): np.transpose(line.get_data()).tolist() for line in axis.lines}
    assert lines == {"train_loss": [[0, 2.5], [1, 1.5]], "val_loss": [[0, 3.5]], r"\$a\$_loss": []}
    assert axis.get_yscale() == "log"
    learning_curve(tmp_path / "curve.png", [{"epoch": 1, "rmse": -1.0}], ["rmse"])
    assert figures["curve.png"].axes[0].get_yscale() == "linear"
    learning_curve(tmp_path / "curve.png", [])


def test_faults(tmp_path: Path) -> None:
    test = Memory([np.zeros(3)], [np.zeros(3)])
    with pytest.raises(HpacmlError, match=r"cannot write '.*parity\.png': No such file or directory"):
        draw(tmp_path / "missing", test, half)
    with pytest.raises(DatabaseError, match="the test part has no rows"):
        draw(tmp_path, Memory([np.zeros(0)], [np.zeros(0)]), half)
    assert not list(tmp_path.iterdir())
