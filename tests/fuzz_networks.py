"""Random small networks as Python text, for `tests.fuzz_models`: what each takes and gives, and which formats may refuse it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PRELUDE = '''"""Made by tests/fuzz_networks.py."""
from __future__ import annotations
import collections, dataclasses
import torch
from torch import nn
import torch.nn.functional as F
import hpacml


@dataclasses.dataclass
class Data1:
    y: torch.Tensor


@dataclasses.dataclass
class Data2:
    z: torch.Tensor
    y: torch.Tensor


Named1 = collections.namedtuple("Named1", "y")
Named2 = collections.namedtuple("Named2", "z y")
'''

FORMATS = ("pt", "pt2", "safetensors", "aotinductor")


@dataclass
class Text:
    """The parts of a network as they are written: lines of `__init__` and `forward`, and what is known of them."""

    rng: random.Random
    init: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    width: int = 4
    rowwise: bool = True
    refusable: set[str] = field(default_factory=lambda: {"safetensors"})
    counts: bool = False

    def part(self, made: str) -> str:
        name = f"self.p{len(self.init)}"
        self.init.append(f"{name} = {made}")
        return name


def linear(text: Text) -> None:
    wide = text.rng.choice([2, 4, 6])
    part = text.part(f"nn.Linear({text.width}, {wide})")
    text.forward.append(f"h = {part}(h)")
    text.width = wide


def activation(text: Text) -> None:
    made = text.rng.choice(
        ["tanh(h)", "relu(h)", "gelu(h)", "silu(h)", "softmax(h, -1)", "leaky_relu(h, 0.2)", "elu(h)"]
    )
    text.forward.append(f"h = F.{made}")


def dropout(text: Text) -> None:
    kind = text.rng.randrange(4)
    if kind == 0:
        text.forward.append("h = F.dropout(h, 0.4, self.training)")
    else:
        part = text.part(["", "nn.Dropout(0.5)", "nn.AlphaDropout(0.3)", "nn.RReLU()"][kind])
        text.forward.append(f"h = {part}(h)")


def batch_norm(text: Text) -> None:
    part = text.part(f"nn.BatchNorm1d({text.width}, affine={text.rng.random() < 0.7})")
    text.init += [f"nn.init.normal_({part}.running_mean)", f"nn.init.uniform_({part}.running_var, 0.5, 2.0)"]
    text.forward.append(f"h = {part}(h)")


def layer_norm(text: Text) -> None:
    text.forward.append(f"h = {text.part(f'nn.LayerNorm({text.width})')}(h)")


def residual(text: Text) -> None:
    part = text.part(f"nn.Linear({text.width}, {text.width})")
    text.forward.append(f"h = h + torch.tanh({part}(h))")


def buffer(text: Text) -> None:
    name, kind = f"b{len(text.init)}", text.rng.randrange(4)
    made = f"torch.rand({text.width})"
    if kind == 0:
        text.init.append(f"self.register_buffer('{name}', {made})")
    elif kind == 1:
        text.init.append(f"self.register_buffer('{name}', {made}, persistent=False)")
    elif kind == 2:
        text.init.append(f"self.{name} = {made}")
    else:
        text.init.append(f"self.{name} = nn.Parameter({made})")
    text.forward.append(f"h = h {text.rng.choice('+*-')} self.{name}")


def elementwise(text: Text) -> None:
    text.forward.append(
        text.rng.choice(
            ["h = torch.where(h > 0.1, h, 0.5 * h)", "h = 1 - h * 2", "h = h.clamp(-3, 3)", "h = h * torch.sigmoid(h)"]
        )
    )


def halves(text: Text) -> None:
    text.forward += ["left, right = h.chunk(2, 1)", "h = torch.cat([right, left.sigmoid()], 1)"]


def transposed(text: Text) -> None:
    text.forward.append(f"h = h.reshape(-1, 2, {text.width // 2}).transpose(1, 2).flatten(1)")


def product(text: Text) -> None:
    part = text.part(f"nn.Parameter(torch.randn({text.width}, {text.width}))")
    text.forward.append(text.rng.choice([f"h = h @ {part}", f"h = torch.einsum('ni,ij->nj', h, {part})"]))


def recurrent(text: Text) -> None:
    part = text.part(f"nn.{text.rng.choice(['GRU', 'LSTM'])}({text.width}, {text.width}, batch_first=True)")
    text.forward.append(f"h = {part}(h.unsqueeze(1))[0][:, 0]")
    text.refusable |= {"pt2", "aotinductor"}


def of_all_rows(text: Text) -> None:
    text.rowwise = False
    text.forward.append(
        text.rng.choice(
            [
                "h = h - h.sum(0, keepdim=True) / 17",
                "h = h.cumsum(0)",
                "h = h.flip(0)",
                "h = h * (h.shape[0] / 8)",  # which a trace computes in float32, here exactly
                "h = h + torch.arange(h.shape[0], dtype=h.dtype)[:, None] / 10",
                "h = h[torch.arange(h.shape[0] - 1, -1, -1)]",
                "h = h + (h @ h.T).softmax(-1) @ h",
            ]
        )
    )


def loop(text: Text) -> None:
    text.refusable |= {"pt", "pt2", "aotinductor"}
    text.forward.append(
        text.rng.choice(
            [
                "h = torch.stack([row * 2 for row in h]) if len(h) else h",
                "g = torch.zeros_like(h)\nfor k in range(len(h)):\n    g[k] = h[k].tanh() * 2\nh = g",
            ]
        )
    )


def branch(text: Text) -> None:
    text.rowwise = False
    text.refusable |= {"pt", "pt2", "aotinductor"}
    text.forward.append("if h.sum() > 0:\n    h = h * 2\nelse:\n    h = h - 1")


def counter(text: Text) -> None:
    if not text.counts:
        text.counts = True
        text.init.append("self.register_buffer('calls', torch.zeros(()))")
        text.forward.append(text.rng.choice(["self.calls += 1", "self.calls.add_(1)"]))
        text.refusable.add("aotinductor")


STEPS = [
    linear,
    linear,
    activation,
    activation,
    dropout,
    dropout,
    batch_norm,
    layer_norm,
    residual,
    residual,
    buffer,
    buffer,
]
STEPS += [elementwise, halves, transposed, product, of_all_rows, recurrent, loop, branch, counter]
IDS = [
    ("nn.Embedding(10, {w})", "h = h + {p}(ids)"),
    ("nn.Parameter(torch.randn(10, {w}))", "h = h + {p}[ids]"),
    ("nn.Parameter(torch.randn(10, {w}))", "h = h * {p}.index_select(0, ids)"),
    ("nn.Parameter(torch.randn(10, {w}))", "h = h + {p}[(ids * 7 + 3) % 10]"),
    ("nn.Parameter(torch.randn(10, {w}))", "h = h + F.one_hot(ids.long(), 10).to(h.dtype) @ {p}"),
    ("nn.Parameter(torch.randn({w}))", "h = h + h.gather(1, (ids % 2).unsqueeze(1)) * {p}"),
    ("nn.Parameter(torch.randn({w}))", "h = torch.where((ids == 3).unsqueeze(1), h * {p}, h)"),
]
EDGES = [
    "h = h + torch.zeros_like(h).index_add(0, edges[:, 1], h[edges[:, 0]])",
    "src, dst = edges[:, 0], edges[:, 1]\nh = h + torch.zeros_like(h).scatter_add(0, dst.unsqueeze(1).expand(-1, h.shape[1]), h[src])",
    "h = h + torch.zeros_like(h).index_add(0, edges[:, 1], (h[edges[:, 0]] - h[edges[:, 1]]).tanh())",
]
IMAGE = [
    "nn.Conv2d(1, 2, 3, padding=1)",
    "nn.Conv2d(1, 2, 3, padding='same', padding_mode='circular')",
    "nn.Conv2d(1, 2, 2, stride=2)",
]


@dataclass(frozen=True)
class Generated:
    """A network: its text, which has a function `make`, and what may be done with it."""

    text: str
    signature: str
    rowwise: bool
    refusable: frozenset[str]
    counts: bool


def generate(rng: random.Random, seed: int) -> Generated:
    """Make the text of a network for one of the signatures of `fuzz_models`."""
    signature = rng.choice(["rows", "rows", "two", "two", "graph", "image", "ids"])
    double, wrapper = rng.random() < 0.4, rng.choice(["", "", "", "", "averaged", "parallel"])
    if signature in ("rows", "image", "ids") and rng.random() < 0.35:
        return _sequential(rng, signature, seed, double, wrapper)
    text = Text(rng)
    _beginning(text, signature)
    for _ in range(rng.randrange(1, 6)):
        if signature != "graph" or rng.random() < 0.7:
            step = rng.choice(STEPS)
            if signature == "graph" and step in (batch_norm,):
                continue
            step(text)
    if signature == "graph":
        text.rowwise = False
        text.refusable.add("aotinductor")  # some of its code takes no graph without edges
        for _ in range(rng.randrange(1, 3)):
            text.forward.append(rng.choice(EDGES))
    text.forward.append(f"y = {text.part(f'nn.Linear({text.width}, 3)')}(h)")
    returned = _returned(text, signature)
    arguments = {"two": "x, ids", "graph": "x, edges", "ids": "ids"}.get(signature, "x")
    starred = rng.random() < 0.15
    if starred:
        text.forward.insert(0, f"{arguments}{'' if ',' in arguments else ','} = inputs")
        text.refusable |= {"pt"} if text.refusable & {"pt2"} else set()
    lines = ["class Net(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        {line}" for line in text.init]
    lines += [f"    def forward(self, {'*inputs' if starred else arguments}):"]
    lines += [f"        {line}" for part in text.forward for line in part.split("\n")]
    lines += [f"        return {returned}"]
    body = "\n".join(lines) + "\n" + _make("Net()", seed, double, wrapper)
    return Generated(PRELUDE + "\n\n" + body, signature, text.rowwise, frozenset(text.refusable), text.counts)


def _beginning(text: Text, signature: str) -> None:
    rng = text.rng
    if signature == "ids":
        made, use = rng.choice(IDS[:4])
        part = text.part(made.format(w=text.width))
        text.forward.append(use.format(p=part).replace("h + ", "").replace("h * ", ""))
        return
    if signature == "image":
        part = text.part(rng.choice(IMAGE))
        text.forward.append(f"h = F.adaptive_avg_pool2d({part}(x), 2).flatten(1)")
        text.width = 8
        return
    linear_part = text.part(f"nn.Linear(4, {text.width})")
    text.forward.append(
        rng.choice([f"h = {linear_part}(x)", f"h = {linear_part}(x * 0.5 + 1)", f"h = x * {linear_part}.bias"])
    )
    if signature == "two":
        made, use = rng.choice(IDS)
        part = text.part(made.format(w=text.width))
        text.forward.append(use.format(p=part))


def _returned(text: Text, signature: str) -> str:
    rng = text.rng
    if signature != "two":
        kinds = ["y", "y", "y", "(y,)", "[y]", "{'y': y}", "{'y': y, 'more': h}", "Data1(y)", "Named1(y)"]
        returned = rng.choice(kinds)
        if "Data" in returned or "Named" in returned:
            text.refusable |= {"pt"} if "pt2" in text.refusable else set()
        return returned
    text.forward.append(rng.choice(["z = h.sum(-1)", "z = h.sum(-1, keepdim=True)", "z = h[:, 0]"]))
    returned = rng.choice(
        ["(y, z)", "[y, z]", "{'z': z, 'y': y}", "{'z': z, 'more': h, 'y': y}", "Data2(z, y)", "Named2(z, y)"]
    )
    if "(z" in returned or "'" in returned:
        text.refusable |= {"pt"} if "pt2" in text.refusable else set()
    return returned


def _sequential(rng: random.Random, signature: str, seed: int, double: bool, wrapper: str) -> Generated:
    layers: list[str] = []
    width = 4
    if signature == "image":
        layers += [rng.choice(IMAGE), "nn.AdaptiveAvgPool2d(2)", "nn.Flatten()"]
        width = 8
        if rng.random() < 0.5:
            layers.insert(1, "nn.BatchNorm2d(2)")
    elif signature == "ids":
        layers.append(f"nn.Embedding(10, {width})")
    elif rng.random() < 0.5:
        layers.append("hpacml.Normalize(torch.rand(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 1)")
        double = False
    for _ in range(rng.randrange(0, 5)):
        wide = rng.choice([2, 4, 6])
        made = [f"nn.Linear({width}, {wide})", "nn.Tanh()", "nn.GELU()", "nn.Dropout(0.5)", f"nn.LayerNorm({width})"]
        made += [f"nn.BatchNorm1d({width})", "nn.Softplus()", "nn.Softmax(-1)", "nn.SELU()", "nn.Identity()"]
        layer = rng.choice(made)
        width = wide if "Linear" in layer else width
        layers.append(layer)
    layers.append(f"nn.Linear({width}, 3)")
    if rng.random() < 0.3:
        layers.append("hpacml.Normalize(torch.rand(3), torch.rand(3) + 1, inverse=True)")
    made = "nn.Sequential(" + ", ".join(layers) + ")"
    return Generated(PRELUDE + "\n\n" + _make(made, seed, double, wrapper), signature, True, frozenset(), False)


def _make(made: str, seed: int, double: bool, wrapper: str) -> str:
    """The function `make`, whose module is in the mode of training, in part or not at all."""
    around = {"": "net", "averaged": "torch.optim.swa_utils.AveragedModel(net)", "parallel": "nn.DataParallel(net)"}[
        wrapper
    ]
    return f"""

def make():
    torch.manual_seed({seed})
    net = {made}{".double()" if double else ""}
    for part in list(net.modules()):
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    net = {around}
    return net.{["eval", "train", "train", "train"][seed % 4]}()
"""
