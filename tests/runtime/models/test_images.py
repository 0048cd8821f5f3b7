"""Compiled networks on images give what Torch gives: convolutions, pools, and what is beside and behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml
from hpacml.networks.architecture import outputs, parse
from hpacml.networks.images import Image

torch = pytest.importorskip("torch")
nn = torch.nn

C, H, W = 4, 9, 21


@hpacml.region("""tensor functor(f: [b, 0:c, 0:h, 0:w] = ([b, 0:c, 0:h, 0:w]))
                  tensor functor(g: [b, 0:d, 0:k, 0:l] = ([b, 0:d, 0:k, 0:l]))
                  ml(infer) in(f(x[0:n, 0:c, 0:h, 0:w])) out(g(y[0:n, 0:d, 0:k, 0:l]))
                  model(net) engine(compiled) label("images")""")
def images(x, y, n, c, h, w, d, k, l, net):  # noqa: E741
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [b, 0:c, 0:h, 0:w] = ([b, 0:c, 0:h, 0:w]))
                  tensor functor(g: [b, 0:d] = ([b, 0:d]))
                  ml(infer) in(f(x[0:n, 0:c, 0:h, 0:w])) out(g(y[0:n, 0:d]))
                  model(net) engine(compiled) label("images")""")
def features(x, y, n, c, h, w, d, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [b, 0:c, 0:w] = ([b, 0:c, 0:w]))
                  tensor functor(g: [b, 0:d, 0:l] = ([b, 0:d, 0:l]))
                  ml(infer) in(f(x[0:n, 0:c, 0:w])) out(g(y[0:n, 0:d, 0:l]))
                  model(net) engine(compiled) label("images")""")
def signals(x, y, n, c, w, d, l, net):  # noqa: E741
    raise AssertionError("the body ran")


STATE = "tensor functor(f: [0:4, i, j] = ([0:4, i, j])) ml(infer) inout(f(s[0:4, 0:h, 0:w])) model(net) "


@hpacml.region(STATE + 'engine(compiled) label("images")')
def step(s, h, w, net):
    raise AssertionError("the body ran")


@hpacml.region(STATE + 'engine(auto) label("images")')
def either(s, h, w, net):
    raise AssertionError("the body ran")


def made(net: Any, x: Any) -> Any:
    """What the region makes of an array, in the shape that Torch gives."""
    y = np.full(by_torch(net, x).shape, 7.0, x.dtype)
    if y.ndim == 4:
        images(x, y, *x.shape, *y.shape[1:], net)
    elif x.ndim == 4:
        features(x, y, *x.shape, y.shape[1], net)
    else:
        signals(x, y, *x.shape, *y.shape[1:], net)
    return y


def by_torch(net: Any, x: Any) -> Any:
    with torch.no_grad():
        return net(torch.from_numpy(x.copy())).numpy()


def require_equal(net: Any, *shape: int, dtype: Any = torch.float64) -> None:
    net = net.to(dtype).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    x = np.random.default_rng(3).standard_normal(shape).astype(str(dtype).removeprefix("torch."))
    expected = by_torch(net, x)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(made(net, x), expected, rtol=0, atol=bound * max(1.0, np.abs(expected).max(initial=0.0)))


LAYERS: dict[str, Callable[[], list[Any]]] = {
    "conv": lambda: [nn.Conv2d(C, 6, 3)],
    "same": lambda: [nn.Conv2d(C, 9, (3, 5), padding="same"), nn.Tanh()],
    "even": lambda: [nn.Conv2d(C, C, 2, padding="same"), nn.LeakyReLU(), nn.Conv2d(C, C, 4, padding="same")],
    "strides": lambda: [nn.Conv2d(C, 3, (2, 3), (2, 3), padding=(1, 2))],
    "far apart": lambda: [nn.Conv2d(C, 3, 2, (3, 5)), nn.MaxPool2d((1, 2), (1, 3), dilation=(1, 2))],
    "dilation": lambda: [nn.Conv2d(C, 2, 3, dilation=(2, 3), padding=2, bias=False)],
    "groups": lambda: [nn.Conv2d(C, 10, 3, groups=2), nn.Conv2d(10, 10, (1, 3), groups=10)],
    "all": lambda: [nn.Conv2d(C, C, 3, (1, 2), (2, 1), (1, 2), groups=2), nn.GELU()],
    "max": lambda: [nn.MaxPool2d(3, 2, 1), nn.Conv2d(C, C, 1)],
    "max of max": lambda: [nn.Conv2d(C, C, 1), nn.MaxPool2d(2, 1), nn.MaxPool2d((1, 2), dilation=(1, 3))],
    "average": lambda: [nn.AvgPool2d((2, 3)), nn.Conv2d(C, 1, 1), nn.AvgPool2d(3, 1, 1)],
    "norm": lambda: [nn.BatchNorm2d(C), nn.PReLU(C), nn.Conv2d(C, C, 3), nn.BatchNorm2d(C), nn.PReLU()],
    "dropout": lambda: [nn.Conv2d(C, C, 3), nn.Dropout2d(), nn.Identity(), nn.ReLU6(), nn.Dropout()],
    "normalize": lambda: [
        hpacml.Normalize(torch.rand(C, 1, 1), torch.rand(C, 1, 1) + 0.5),
        nn.Conv2d(C, C, 3, padding=1),
        hpacml.Normalize(torch.rand(1, C, 1, 1), torch.tensor(2.0), inverse=True),
    ],
    "flatten": lambda: [nn.Conv2d(C, 3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(36, 5), nn.BatchNorm1d(5), nn.SiLU()],
    "pooled": lambda: [nn.Conv2d(C, 8, 3), nn.AvgPool2d((7, 19)), nn.Flatten(), nn.Linear(8, 2)],
    "flat at the end": lambda: [nn.Conv2d(C, 2, 3, 3), nn.Flatten()],
    "residual": lambda: [hpacml.Residual(nn.Conv2d(C, C, 3, padding=1), nn.Tanh()), nn.Conv2d(C, C, 5, padding=2)],
    "scaled": lambda: [
        *(hpacml.Normalize(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 2.0)), nn.PReLU(), nn.Flatten(-3, -1)),
        *(nn.Unflatten(-1, (C, H, W)), nn.Conv2d(C, 2, 3), nn.Flatten(-3, -1), nn.Tanh(), nn.Unflatten(1, (2, 19, 7))),
        *(hpacml.Normalize(torch.full((1, 1, 1, 1), 0.5), torch.tensor(2.0), inverse=True), nn.Hardtanh(0, 1)),
    ],
    "reshaped": lambda: [nn.Flatten(), nn.Unflatten(1, (2, 2 * H, W)), nn.Conv2d(2, 1, 3, 2), nn.Unflatten(1, (1, 1))],
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*LAYERS[name]())
    if name == "reshaped":
        net.append(nn.Flatten(1, 2))
    require_equal(net, 3, C, H, W, dtype=torch.float32 if name < "f" else torch.float64)


@pytest.mark.parametrize("place", [0, 3, 4])
def test_a_scaling_with_more_dimensions(place: int) -> None:
    """Torch gives results of five dimensions then, or fails."""
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (C, H, W)), nn.Conv2d(C, C, 1), nn.Flatten(-2, -1), nn.Flatten(1))
    net.insert(place, hpacml.Normalize(torch.ones(1, 1, 1, 1, 1), torch.tensor(2.0)))
    x, y = np.zeros((2, C, H, W)), np.zeros((2, C * H * W))
    with pytest.raises(hpacml.CompileError, match="cannot be"):
        features(x, y, 2, C, H, W, C * H * W, net.double().eval())


def test_images_of_one_dimension() -> None:
    net = nn.Sequential(nn.Conv1d(2, 6, 5, 2, 2, 2, 2), nn.AvgPool1d(3, 2, 1), nn.BatchNorm1d(6), nn.MaxPool1d(2))
    require_equal(net, 5, 2, 77)


@settings(max_examples=5, deadline=None)
@given(st.data())
def test_windows(data: st.DataObject) -> None:
    def pair(least: int, most: int) -> tuple[int, int]:
        return data.draw(st.tuples(*[st.integers(least, most)] * 2))

    groups, count = data.draw(st.sampled_from([1, 2])), data.draw(st.integers(1, 9))
    size, dilation = pair(1, 4), pair(1, 2)
    height, width = pair(8, 40)
    net = nn.Conv2d(2 * groups, groups * count, size, pair(1, 4), pair(0, 3), dilation, groups)
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    require_equal(
        nn.Sequential(net, nn.LeakyReLU()), data.draw(st.integers(0, 3)), 2 * groups, height, width, dtype=dtype
    )


def test_a_state_in_place() -> None:
    """MiniWeather: four fields with their halos, without a dimension for their number."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(4, 4, 3, padding="same") for _ in range(2)]
    net = nn.Sequential(convolutions[0], nn.LeakyReLU(), convolutions[1], nn.LeakyReLU()).double().eval()
    state = np.random.default_rng(0).standard_normal((4, 14, 24))
    expected = state
    for _ in range(3):
        step(state, 14, 24, net)
        expected = by_torch(
            net, expected if expected is not state else np.random.default_rng(0).standard_normal((4, 14, 24))
        )
    np.testing.assert_allclose(state, expected, rtol=0, atol=1e-12)
    inside = state[:, 2:-2, 2:-2]  # which is not packed
    expected = by_torch(net, inside)
    step(inside, 10, 20, net)
    np.testing.assert_allclose(state[:, 2:-2, 2:-2], expected, rtol=0, atol=1e-12)


def test_frames_of_a_video() -> None:
    """ParticleFilter: frames of bytes, and positions of floats."""

    @hpacml.region("""tensor functor(f: [i, j, k, 0:1] = ([i, j, k])) tensor functor(g: [i, 0:2] = ([i], [i]))
                      ml(infer) in(f(video[0:n, 0:h, 0:w])) out(g(x[0:n], y[0:n])) model(net) engine(compiled)""")
    def track(video, x, y, n, h, w, net):
        raise AssertionError("the body ran")

    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Flatten(), nn.Unflatten(1, (1, 32, 40)), hpacml.Normalize(0.0, 255.0)),
        *(nn.Conv2d(1, 1, 6, 4, 1), nn.BatchNorm2d(1), nn.PReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.ReLU()),
        *(
            nn.Linear(20, 32),
            nn.ReLU(),
            nn.Linear(32, 2),
            hpacml.Normalize(0.0, 40.0, inverse=True),
            nn.Hardtanh(0, 40),
        ),
    ).eval()
    net[3].weight.data.abs_()
    video = np.random.default_rng(0).integers(0, 255, (100, 32, 40), np.uint8)
    x, y = np.full(100, np.nan, "f4"), np.full(100, np.nan, "f4")
    track(video, x, y, 100, 32, 40, net)
    expected = by_torch(net, video.astype("f4"))
    assert expected.std() > 0
    np.testing.assert_allclose(np.stack([x, y], 1), expected, rtol=0, atol=1e-3)


def test_weights_and_threads_that_change() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(C, 8, 5, padding=2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4 * 10, 2))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            require_equal(net, 70, C, H, W)
            with torch.no_grad():
                net[0].weight += 0.1
            net[3].bias.data.add_(1.0)
    finally:
        torch.set_num_threads(threads)


def test_numbers_that_are_none() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2, 1)).eval()
    net[0].weight.data.fill_(1.0)
    net[0].bias.data.fill_(0.0)
    x = np.full((1, 1, 9, 40), -np.inf, "f4")
    x[0, 0, 4, 7], x[0, 0, 8, 20] = np.nan, np.inf
    np.testing.assert_array_equal(made(net, x), by_torch(net, x))


OTHERS: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "circular": (lambda: [nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")], "pads with what circular says"),
    "transposed": (lambda: [nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 4, 1)], "is no layer that is compiled"),
    "ceil": (lambda: [nn.Conv2d(4, 4, 1), nn.MaxPool2d(1, ceil_mode=True)], "as ceil_mode says"),
    "divisor": (lambda: [nn.Conv2d(4, 4, 1), nn.AvgPool2d(1, divisor_override=3)], "divides by other numbers"),
    "uncounted": (
        lambda: [nn.Conv2d(4, 4, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)],
        "divides by other numbers",
    ),
    "alone": (lambda: [nn.Conv2d(4, 4, 1), nn.PReLU()], "its input has 3 dimensions"),
    "rows": (lambda: [nn.Conv2d(4, 4, 1), nn.Linear(12, 12)], r"Linear \('1'\) takes features, and others"),
    "wide": (lambda: [nn.Conv2d(4, 80, 1), nn.Conv2d(80, 4, 1)], "more than 64 channels"),
    "columns": (lambda: [nn.Conv2d(4, 4, (1, 33), padding=(0, 16))], "more than 32 columns"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_compiled(name: str) -> None:
    make, reason = OTHERS[name]
    net = nn.Sequential(*make()).double().eval()
    state = np.random.default_rng(0).standard_normal((4, 6, 12))
    before = state.copy()
    with pytest.raises(hpacml.CompileError, match=reason):
        step(state, 6, 12, net)
    assert (state == before).all()
    if name != "transposed":
        either(state, 6, 12, net)
        np.testing.assert_allclose(state, by_torch(net, before), rtol=0, atol=1e-12)


def test_images_of_many_sizes() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()).double().eval()
    for width in (*range(1, 9), 1, 8):
        state = np.ones((4, 2, width))
        step(state, 2, width, net)
    with pytest.raises(hpacml.CompileError, match="its images had more than 8 sizes"):
        step(np.ones((4, 2, 9)), 2, 9, net)


@pytest.mark.parametrize(
    "text",
    [
        "image(4, 50, 100)",
        "conv(4, 8, 3x3)",
        "conv(4, 8, 3x5 stride 2x1 dilation 1x2 padding 1x0+2x1 groups 2)",
        "max_pool(2x2 stride 2x2)",
        "avg_pool(1x3 padding 0x1)",
        "flatten",
    ],
)
def test_texts(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["conv(4, 8, 3)", "conv(4, 9, 3x3 groups 2)", "max_pool(0x1)", "flatten(1)", "conv(4, 8)"]
)
def test_wrong_texts(text: str) -> None:
    with pytest.raises(ValueError, match=r"no window|multiple of its groups|at least 1|is no layer"):
        parse(text)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["image(1, 2, 2)", "conv(1, 1, 3x3)"], r"a window of 3x3 is larger than image\(1, 2, 2\)"),
        (["image(1, 2, 2)", "conv(2, 1, 1x1)"], r"conv\(2, 1, 1x1\) takes 2 channels, and there are 1"),
        (["conv(2, 1, 1x1)"], "takes an image, and there are 4 features"),
        (["image(1, 2, 3)"], r"image\(1, 2, 3\) has 6 features, and there are 4"),
        (["image(1, 2, 2)", "linear(4, 1)"], r"takes 4 features, and there are image\(1, 2, 2\)"),
    ],
)
def test_sizes_that_do_not_fit(layers: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outputs([parse(text) for text in layers], 4)


def test_sizes() -> None:
    assert outputs([parse(text) for text in ("image(1, 2, 2)", "conv(1, 3, 2x1)")], 4) == Image(3, 1, 2)
