"""Families of networks: their sizes, what configurations they refuse, and that regions compile all of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml
from hpacml.networks import FAMILIES
from hpacml.networks.folding import folded

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def made(family: str, config: Mapping[str, object], row: tuple[int, ...], result: tuple[int, ...]) -> Any:
    return getattr(hpacml.networks, family)(config, (row,), (result,))


def test_they_are_found_without_torch() -> None:
    code = "import sys, hpacml; print([*hpacml.networks.FAMILIES], 'torch' in sys.modules, hpacml.networks.mlp({}, [(5,)], [(1,)]))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("['mlp', 'tapered', 'cnn', 'coordinates'] False Sequential(")


@pytest.mark.parametrize(
    ("family", "config", "row", "result", "parameters"),
    [
        ("mlp", {"hidden1": 20}, (5,), (1,), 141),
        ("mlp", {"hidden1": 512, "hidden2": 512}, (9,), (1,), 10 * 512 + 513 * 512 + 513),
        ("mlp", {"hidden": [3, 4, 5]}, (2,), (7,), 9 + 16 + 25 + 42),
        ("mlp", {"hidden": []}, (5,), (2,), 12),
        ("mlp", {"hidden": (np.int64(3),), "dropout": np.float32(0.5)}, (5,), (2,), 18 + 8),
        ("mlp", {"hidden1": 0}, (5,), (2,), 12),
        ("tapered", {"layers": 3, "hidden1": 64, "feature_multiplier": 0.5}, (6,), (1,), 2627),
        ("tapered", {}, (6,), (1,), 43396),
        ("tapered", {"layers": 12, "hidden1": 64, "feature_multiplier": 0.1}, (6,), (1,), 859),
        ("tapered", {"layers": 12, "hidden1": 4096, "feature_multiplier": 0.8}, (6,), (1,), 36882451),
        ("tapered", {"layers": 2, "hidden1": 64}, (24,), (4,), 25 * 64 + 1 + 65 * 4),
        ("cnn", {"conv1_channels": 4}, (4, 36, 68), (4, 36, 68), 296),
        ("cnn", {"conv2_kernel": 0, "conv1_kernel": 2}, (4, 36, 68), (4, 36, 68), 68),
        ("coordinates", {}, (128, 128, 1), (2,), 8330),
        ("coordinates", {"conv_kernel": 9, "conv_stride": 3, "pool": 4, "fc2": 0}, (128, 128, 1), (2,), 287),
        ("coordinates", {"conv_kernel": 9, "conv_stride": 3, "pool": 1}, (128, 128, 1), (2,), 53975),
    ],
)
def test_parameters(family: str, config: Any, row: Any, result: Any, parameters: int) -> None:
    with torch.device("meta"):
        net = made(family, config, row, result)
    assert sum(each.numel() for each in net.parameters()) == parameters


def test_the_layers_of_the_paper() -> None:
    def kinds(net: Any) -> list[str]:
        return [type(each).__name__ for each in net]

    assert kinds(made("mlp", {"hidden1": 8, "hidden2": 4, "dropout": 0.1}, (5,), (1,))) == [
        *("Linear", "LeakyReLU", "Dropout") * 2,
        "Linear",
    ]
    assert kinds(made("tapered", {"layers": 3, "dropout": 0.1}, (6,), (1,))) == [
        *("Linear", "PReLU", "Dropout", "Linear", "BatchNorm1d", "PReLU", "Dropout", "Linear")
    ]
    config = {"batchnorm": True, "activated_output": True, "dropout": 0.1}
    assert kinds(made("cnn", config, (4, 9, 9), (4, 9, 9))) == [
        *("Conv2d", "BatchNorm2d", "LeakyReLU", "Dropout", "Conv2d", "BatchNorm2d", "LeakyReLU")
    ]
    assert kinds(made("coordinates", {}, (1, 128, 128), (2,))) == [
        *("Conv2d", "BatchNorm2d", "PReLU", "MaxPool2d", "Flatten", "ReLU", "Linear", "ReLU", "Linear")
    ]


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["mlp", "tapered"]),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
)
def test_rows_of_any_rank(family: str, row: tuple[int, ...], result: tuple[int, ...]) -> None:
    assert made(family, {}, row, result).eval()(torch.zeros(7, *row)).shape == (7, *result)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_fields_of_any_layout(data: st.DataObject) -> None:
    size = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=2).map(tuple))
    layouts = [size, (*size, 1), (1, *size), (3, *size)]
    row, result = (data.draw(st.sampled_from(layouts)) for _ in range(2))
    config = {"dimensions": len(size), "conv1_kernel": data.draw(st.integers(1, 6)), "batchnorm": True}
    net = made("cnn", config, row, result).eval()
    assert net(torch.zeros(2, *row)).shape == (2, *result)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_vanishes_is_refused(data: st.DataObject) -> None:
    """Torch is the judge of what is left."""
    row = data.draw(st.lists(st.integers(2, 20), min_size=1, max_size=2).map(tuple))
    kernel = data.draw(st.integers(1, 24))
    stride, pool = (data.draw(st.integers(1, kernel)) for _ in range(2))
    config = {"conv_kernel": kernel, "conv_stride": stride, "pool": pool, "fc2": 0, "dimensions": len(row)}
    convolution, maxima = [(nn.Conv1d, nn.MaxPool1d), (nn.Conv2d, nn.MaxPool2d)][len(row) - 1]
    x = torch.zeros(2, *row)
    try:
        maxima(pool)(convolution(1, 1, kernel, stride, 1)(x[:, None]))
    except RuntimeError:
        with pytest.raises(hpacml.ModelError, match="leaves no pixels of its image"):
            made("coordinates", config, row, (3,))
    else:
        assert made("coordinates", config, row, (3,)).eval()(x).shape == (2, 3)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("mlp", {"hiden1": 5}, "has no 'hiden1': it has hidden, hidden1, hidden2, activation, dropout; did you mean 'hidden1'?"),
        ("mlp", {"hidden1": -1}, "has a wrong hidden1: it is an integer from 0 to 65536, not -1"),
        ("mlp", {"hidden1": 5.0}, "not 5.0"),
        ("mlp", {"hidden1": True}, "not True"),
        ("mlp", {"hidden": [64, 0]}, "a list of integers from 1 to 65536, not [64, 0]"),
        ("mlp", {"hidden": 64}, "a list of integers from 1 to 65536, not 64"),
        ("mlp", {"dropout": float("nan")}, "a number from 0 to 0.9, not nan"),
        ("mlp", {"dropout": 1}, "a number from 0 to 0.9, not 1"),
        ("mlp", {"activation": "swish"}, "one of leaky_relu, relu, prelu, elu, tanh, sigmoid, silu, gelu, not 'swish'"),
        ("mlp", {"hidden": [4], "hidden2": 0}, "has hidden and hidden2: leave out one of them"),
        ("mlp", {"hidden2": 4}, "has hidden2 = 4 without hidden1"),
        ("tapered", {"layers": 1}, "an integer from 2 to 64, not 1"),
        ("tapered", {"feature_multiplier": "0.5"}, "a number from 0 to 1, not '0.5'"),
        ("cnn", {"batchnorm": 1}, "true or false, not 1"),
        ("coordinates", {"pool": 7}, "has pool = 7 and conv_kernel = 6: pool <= conv_kernel must hold"),
        ("coordinates", {"conv_stride": 7}, "has conv_stride = 7 and conv_kernel = 6: conv_stride <= conv_kernel must hold"),
        (
            "coordinates",
            {"conv_kernel": 14, "conv_stride": 14, "pool": 10},
            "leaves no pixels of its image: 1x128x128, 1x9x9 after convolution of windows of 14, 14 apart, "
            "1x0x0 after maxima of windows of 10, 10 apart; smaller windows would",
        ),
    ],
)  # fmt: skip
def test_wrong_configurations(family: str, config: Any, message: str) -> None:
    row, result = {"cnn": ((4, 5, 6),) * 2, "coordinates": ((128, 128, 1), (2,))}.get(family, ((5,), (1,)))
    with pytest.raises(hpacml.ModelError) as error:
        made(family, config, row, result)
    assert f"the network {family} " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("family", "inputs", "outputs", "message"),
    [
        ("mlp", ((5,), (3, 2)), ((1,),), "has one input, and rows of 2 inputs are 5 and 3x2: one functor"),
        ("mlp", ((5,),), (), "has one output, and rows of 0 outputs are none"),
        ("tapered", ((0,),), ((1,),), "no use for rows of the input without elements"),
        ("cnn", ((5,),), ((1,),), "takes rows of [channels, rows, columns] or [rows, columns], and they are 5"),
        ("cnn", ((8, 9, 5),), ((8, 9, 1),), "rows of the input are 8x9x5, those of the output 8x9x1: the dimension of"),
        ("coordinates", ((5, 4, 8, 8),), ((2,),), "and they are 5x4x8x8"),
    ],
)
def test_wrong_rows(family: str, inputs: Any, outputs: Any, message: str) -> None:
    with pytest.raises(hpacml.ModelError) as error:
        getattr(hpacml.networks, family)({}, inputs, outputs)
    assert message in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_hyperparameters(family: str) -> None:
    """Defaults are allowed, and so is what the paper searches; constraints are of what there is."""
    known = {each.name: each for each in FAMILIES[family].hyperparameters}
    for each in known.values():
        for value in (each.default, *each.searched):
            each.read(value)
    for constraint in FAMILIES[family].constraints:
        assert {*constraint.split(" <= ")} <= known.keys()


@hpacml.region("""tensor functor(f: [i, 0:5] = ([i, 0:5])) tensor functor(g: [i, 0:2] = ([i, 0:2]))
                  ml(infer) in(f(x[0:n, 0:5])) out(g(y[0:n, 0:2])) model(net) engine(compiled)""")
def of_features(x, y, n, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, j] = ([i, j])) ml(infer) in(f(x[0:n, 0:m])) out(f(y[0:n, 0:m])) model(net)
                  engine(compiled)""")
def of_numbers(x, y, n, m, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [b, 0:c, 0:h, 0:w] = ([b, 0:c, 0:h, 0:w]))
                  tensor functor(g: [b, 0:d, 0:h, 0:w] = ([b, 0:d, 0:h, 0:w]))
                  ml(infer) in(f(x[0:n, 0:c, 0:h, 0:w])) out(g(y[0:n, 0:d, 0:h, 0:w])) model(net) engine(compiled)""")
def of_fields(x, y, n, c, d, h, w, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [b, 0:h, 0:w, 0:1] = ([b, 0:h, 0:w])) tensor functor(g: [b, 0:2] = ([b, 0:2]))
                  ml(infer) in(f(x[0:n, 0:h, 0:w])) out(g(y[0:n, 0:2])) model(net) engine(compiled)""")
def of_frames(x, y, n, h, w, net):
    raise AssertionError("the body ran")


COMPILED: list[tuple[str, dict[str, object]]] = [
    *(("mlp", {"hidden1": 7, "activation": each}) for each in FAMILIES["mlp"].hyperparameters[3].choices),
    ("mlp", {"hidden": [9, 8, 7], "dropout": 0.2}),
    ("mlp", {"hidden": []}),
    ("tapered", {"layers": 5, "hidden1": 20, "feature_multiplier": 0.6, "dropout": 0.2}),
    ("tapered", {"layers": 12, "hidden1": 20, "feature_multiplier": 0.1, "activation": "gelu"}),
    ("cnn", {"conv1_kernel": 2, "conv2_kernel": 0}),
    ("cnn", {"conv1_kernel": 4, "conv1_channels": 5, "conv2_kernel": 3, "dropout": 0.2}),
    ("cnn", {"batchnorm": True, "activated_output": True, "activation": "prelu"}),
    ("coordinates", {}),
    ("coordinates", {"conv_kernel": 5, "conv_stride": 2, "conv_channels": 3, "pool": 3, "fc2": 0, "dropout": 0.2}),
    ("coordinates", {"conv_kernel": 2, "conv_stride": 2, "pool": 1}),
]


@pytest.mark.parametrize(("family", "config"), COMPILED)
def test_regions_compile_them(family: str, config: dict[str, object]) -> None:
    torch.manual_seed(0)
    region, row, result = {
        "cnn": (of_fields, (3, 9, 14), (2, 9, 14)),
        "coordinates": (of_frames, (20, 30, 1), (2,)),
    }.get(family, (of_features, (5,), (2,)))
    net = with_statistics(made(family, config, row, result))
    x = np.random.default_rng(0).standard_normal((6, *row)).astype("f4")
    y = np.full((6, *result), np.nan, "f4")
    sizes = {"cnn": (3, 2, 9, 14), "coordinates": (20, 30)}.get(family, ())
    region(x[..., 0] if family == "coordinates" else x, y, 6, *sizes, net)
    require_equal(net, x, y)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_regions_compile_them_on_single_numbers(family: str) -> None:
    """Points without features, and a field without channels."""
    row = () if family == "mlp" else (6, 9)
    net = with_statistics(made(family, {}, row, row))
    x = np.random.default_rng(0).standard_normal((6, 9)).astype("f4")
    y = np.full_like(x, np.nan)
    of_numbers(x, y, 6, 9, net)
    require_equal(net, x, y)


def with_statistics(net: Any) -> Any:
    """A network as training may leave it."""
    for part in net:
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return net.eval()


def require_equal(net: Any, x: Any, y: Any) -> None:
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@hpacml.region("""tensor functor(f: [i, j, 0:5] = ([i, j, 0:5])) tensor functor(g: [i, j, 0:2] = ([i, j, 0:2]))
                  ml(infer) in(f(x[0:n, 0:m, 0:5])) out(g(y[0:n, 0:m, 0:2])) model(net) engine(compiled)""")
def of_a_grid(x, y, n, m, net):
    raise AssertionError("the body ran")


def test_folded_networks_take_sweeps_over_several_dimensions() -> None:
    """The sweep has as many columns as a layer has features: batch normalisation would go by columns."""
    net = with_statistics(made("tapered", {"layers": 3, "hidden1": 14}, (5,), (2,)))
    x = np.random.default_rng(0).standard_normal((6, 7, 5)).astype("f4")
    y = np.full((6, 7, 2), np.nan, "f4")
    deployed = nn.Sequential(*folded(net, torch.zeros(2, 5))).eval()
    of_a_grid(x, y, 6, 7, deployed)
    require_equal(net, x.reshape(42, 5), y.reshape(42, 2))


@pytest.mark.parametrize(
    ("layers", "shape", "left"),
    [
        (lambda: [nn.Conv2d(3, 4, 2, bias=False), nn.BatchNorm2d(4), nn.BatchNorm2d(4)], (3, 9, 5), 1),
        (lambda: [nn.Conv1d(3, 4, 2, padding=1), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(24, 2)], (3, 5), 3),
        (
            lambda: [nn.Linear(5, 3), nn.BatchNorm1d(3)],
            (3, 5),
            2,
        ),  # of rows of two dimensions, of which it takes the first
        (lambda: [nn.Linear(5, 3), nn.BatchNorm1d(3, affine=False)], (5,), 2),
        (lambda: [nn.Linear(5, 3), nn.ReLU(), nn.BatchNorm1d(3)], (5,), 3),
    ],
)
def test_folding(layers: Any, shape: tuple[int, ...], left: int) -> None:
    torch.manual_seed(0)
    net = with_statistics(nn.Sequential(*layers()))
    deployed = nn.Sequential(*folded(net, torch.zeros(2, *shape))).eval()
    assert len(deployed) == left
    x = np.random.default_rng(0).standard_normal((6, *shape)).astype("f4")
    require_equal(net, x, deployed(torch.from_numpy(x)).detach().numpy())
