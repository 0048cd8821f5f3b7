"""The clause `truth`: what is collected in place of what the region computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx

Vector = Float64[np.ndarray, "N"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def region(clauses: str = "truth(column(label[0:n, 0:2]))", **options: Any) -> Any:
    @hpacml.region(
        f"""tensor functor(one: [i, 0:1] = ([i])) tensor functor(column: [i, 0:1] = ([i, 1]))
            tensor functor(row: [i] = ([i, 0]))
            ml(predicated: use) in(one(x[0:n])) out(one(y[0:n])) {clauses} model(net) database("d.h5") label("r")""",
        **options,
    )
    def estimate(x, y, label, n, use=False, net=None):
        y[:] = 2 * x
        label[:, 1] += 0.5  # it is gathered behind the body

    return estimate


def test_it_is_collected_in_place_of_the_outputs() -> None:
    x, y, label = np.arange(3.0), np.zeros(3), np.arange(6, dtype=np.float32).reshape(3, 2)
    region()(x, y, label, 3)
    assert y.tolist() == [0, 2, 4]
    hpacml.flush()
    found = hpacml.open_database("d.h5")["r"]
    np.testing.assert_array_equal(found.inputs[0][:], x[None, :, None])
    np.testing.assert_array_equal(found.outputs[0][:], label[None, :, 1:])
    assert found.outputs[0].dtype == np.float32
    assert found.truth == ("to: column: [i, 0:1] = ([i, 1]) | column(label[0:n, 0:2])",)
    assert found.maps[1] == "from: one: [i, 0:1] = ([i]) | one(y[0:n])"
    points = found.dataset(rows="points")[:]
    np.testing.assert_array_equal(points[1].flatten(), label[:, 1])


def test_a_model_of_the_data_fits_the_region() -> None:
    x, y, label = np.arange(3.0), np.zeros(3), np.ones((3, 2))
    region()(x, y, label, 3)
    hpacml.flush()
    maps = hpacml.open_database("d.h5")["r"].maps
    net = torch.nn.Linear(1, 1).double()
    path = hpacml.save_model(net, "m.pt2", example=x[:, None], maps=maps)
    region()(x, y, np.ones((0, 2)), 3, True, path)  # which needs no labels any more
    np.testing.assert_allclose(y, net(torch.from_numpy(x[:, None]))[:, 0].detach())
    with pytest.raises(hpacml.MapError, match="'label'"):
        region()(x, y, np.ones((0, 2)), 3)


def test_points_may_differ_from_call_to_call() -> None:
    for n in (3, 3, 5, 2):
        region()(np.ones(n), np.zeros(n), np.full((n, 2), float(n)), n)
    hpacml.flush()
    outputs = hpacml.open_database("d.h5")["r"].dataset(rows="points")[:][1]
    assert outputs.flatten().tolist() == [3.5] * 6 + [5.5] * 5 + [2.5] * 2


def test_a_kernel_has_it() -> None:
    @hpacml.kernel
    def estimate(x: Vector, y: Vector, label: Vector):
        N = x.shape[0]
        approx("tensor functor(one: [i] = ([i]))")
        approx("tensor map(to: one(label[0:N]))")
        with approx("ml(collect) in(one(x[0:N])) out(one(y[0:N])) truth(label) database('d.h5')"):
            for i in range(N):
                y[i] = 2 * x[i]

    x, y = np.arange(3.0), np.zeros(3)
    estimate(x, y, -x)
    hpacml.flush()
    found = hpacml.open_database("d.h5")["estimate"]
    assert y.tolist() == [0, 2, 4]
    assert found.outputs[0][:].tolist() == [[0, -1, -2]]


def test_another_truth_is_other_data() -> None:
    arrays = np.ones(2), np.zeros(2), np.ones((2, 2))
    region()(*arrays, 2)
    for clauses in ("", "truth(one(y[0:n]))"):
        with pytest.raises(hpacml.DatabaseError, match="make the clauses meta and truth say the same"):
            region(clauses)(*arrays, 2)


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        ("truth(one(x[0:n]), one(y[0:n]))", "'truth' has 2 of the region's outputs, which are 1"),
        ("truth(one(labels[0:n]))", "'labels' is not a parameter"),
        ("truth(label)", "the array 'label' has no map"),
    ],
)
def test_clauses_that_are_wrong(clause: str, message: str) -> None:
    with pytest.raises(hpacml.DirectiveError, match=message):
        region(clause)


def test_it_has_the_dimensions_of_the_output() -> None:
    rows = region("truth(row(label[0:n, 0:2]))")
    with pytest.raises(hpacml.HpacmlError, match="a truth of 1 dimension stands for an output of 2"):
        rows(np.ones(2), np.zeros(2), np.ones((2, 2)), 2)


def test_it_has_the_rows_of_the_output() -> None:
    run = region("truth(column(label[1:n, 0:2]))")
    x, y, label = np.ones(3), np.zeros(3), np.ones((3, 2))
    with pytest.raises(hpacml.DatabaseError, match=r"has the rows \[2\], and the output .* has \[3\]") as caught:
        run(x, y, label, 3)
    assert "column(label[1:n, 0:2])" in str(caught.value)
    assert "one(y[0:n])" in str(caught.value)
    shifted = region("truth(column(label[1:n+1, 0:2]))")
    shifted(x, y, np.ones((4, 2)), 3)
    hpacml.flush()
    assert hpacml.open_database("d.h5")["r"].outputs[0].shape == (1, 3, 1)


def test_outputs_whose_rows_are_not_those_of_inputs() -> None:
    """Nobody knows how many these are."""

    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i])) ml(collect) in(one(x[0:n])) out(one(y[0:m]))
        truth(one(label[0:k])) database("d.h5") label("r")""")
    def run(x, y, label, n, m, k): ...

    run(np.ones(3), np.ones(2), np.ones(2), 3, 2, 2)
    hpacml.flush()
    assert hpacml.open_database("d.h5")["r"].outputs[0].shape == (1, 2, 1)
