"""Model files that are damaged, of another version or made to harm, through the door a user takes: a region.

All are trusted first, so that they come as far as they can. Each gives an error that names the file and leaves the
output as it was, or, where the damage hit nothing that counts, the right results. The process lives on.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.runtime.models import statedict, torchscript
from tests import faults

SUFFIXES = {"torchscript": "pt", "export": "pt2", "state_dict": "safetensors", "aotinductor": "pt2"}
QUICK = ["torchscript", "export", "state_dict"]
ALL = [
    *QUICK,
    pytest.param(
        "aotinductor",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"),
        ],
    ),
]
COUNT = 36

Saved = Callable[[str], bytes]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The file of the network in a format."""
    folder = tmp_path_factory.mktemp("saved")
    known: dict[str, bytes] = {}

    def save(format: Any) -> bytes:
        if format not in known:
            path = folder / f"{format}.{SUFFIXES[format]}"
            hpacml.save_model(network(), path, example=torch.zeros(4, 5), format=format)
            known[format] = path.read_bytes()
        return known[format]

    return save


def attempt(format: str, variants: Iterable[tuple[str, bytes]], folder: Path) -> list[dict[str, Any]]:
    """Run the region with each variant of a file: what was refused, and how."""
    x = torch.linspace(-1, 1, 15).reshape(3, 5)
    with torch.no_grad():
        expected = network()(x)[:, 0].tolist()
    trials = []
    for number, (name, content) in enumerate(variants):
        path = folder / f"m{number}.{SUFFIXES[format]}"
        path.write_bytes(content)
        trials.append({"name": f"{format}, {name}", "path": str(path), "expected": expected})
    results = faults.attempt("model", trials, HPACML_TRUST_MODELS="all")
    faults.require_no_problems(results)
    return results


@pytest.mark.parametrize("format", ALL)
def test_the_whole_file(format: str, saved: Saved, tmp_path: Path) -> None:
    (result,) = attempt(format, [("whole", saved(format))], tmp_path)
    assert result["refused"] is None


@pytest.mark.parametrize("format", ALL)
@pytest.mark.slow
def test_truncated(format: str, saved: Saved, tmp_path: Path) -> None:
    results = attempt(format, faults.truncations(saved(format), COUNT), tmp_path)
    assert len(results) >= 30
    assert all(result["refused"] for result in results)


@pytest.mark.parametrize("format", ALL)
@pytest.mark.slow
def test_random_bytes(format: str, saved: Saved, tmp_path: Path) -> None:
    results = attempt(format, faults.scribbles(saved(format), COUNT), tmp_path)
    assert len(results) >= 30
    assert sum(bool(result["refused"]) for result in results) >= 30


# -- other versions ------------------------------------------------------------------------------------


def member(name: str, content: bytes | None) -> faults.Change:
    """The change of one member of an archive, to `content` or to nothing."""
    return lambda each, old: content if each == name else old


def in_json(name: str, *path: Any, value: Any) -> faults.Change:
    """The change of one value in a member that is JSON."""

    def change(each: str, old: bytes) -> bytes:
        if each != name:
            return old
        told = json.loads(old)
        put(told, path, value)
        return json.dumps(told).encode()

    return change


def put(told: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        told = told[key]
    told[path[-1]] = value


NUMBERS = [b"0\n", b"1\n", b"11\n", b"999\n", b"-1\n", b"", b"three", b"3.5\n", b"9" * 30, b"\xff\xfe\0"]

BYTEORDERS = {f"byteorder {order!r}": member("byteorder", order) for order in (b"big", b"middle", b"")}
TORCHSCRIPT = {
    **{f"version {number!r}": member("version", number) for number in NUMBERS},
    **BYTEORDERS,
    **{f"no {name}": member(name, None) for name in ("version", "data.pkl", "constants.pkl", "data/0", "byteorder")},
    "newer code": lambda name, old: b"op_version_set = 99\nclass X(Y):\n" if name.endswith(".py") else old,
}

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
OPSETS = {f"opset {value}": in_json(MODEL, "opset_version", value=value) for value in ({"aten": 99}, {}, None, [1])}
EXPORT = {
    **{f"archive version {number!r}": member("archive_version", number) for number in NUMBERS},
    **{f"archive format {name!r}": member("archive_format", name) for name in (b"pt3", b"", b"\xff")},
    **{
        f"schema {value}": in_json(MODEL, "schema_version", value=value)
        for value in ({"major": 999, "minor": 0}, {"major": 0, "minor": 1}, {"major": -1, "minor": 0}, {}, None, "8", 8)
    },
    **OPSETS,
    "another graph": in_json(MODEL, "graph_module", value={}),
    "an unknown operator": in_json(
        MODEL, "graph_module", "graph", "nodes", 0, "target", value="torch.ops.aten.new.default"
    ),
    "no weights": in_json(WEIGHTS, "config", value={}),
    **{f"model {text!r}": member(MODEL, text) for text in (b"", b"[]", b"null", b"{}", b"\x80\x02.")},
    **{f"no {name}": member(name, None) for name in (MODEL, WEIGHTS, "archive_version", "archive_format", "byteorder")},
}

AOTINDUCTOR = {
    **{f"archive version {number!r}": member("archive_version", number) for number in NUMBERS},
    **{f"archive format {name!r}": member("archive_format", name) for name in (b"pt3", b"")},
    "no libraries": lambda name, old: None if name.endswith(".so") else old,
    "libraries that are none": lambda name, old: b"\x7fELF\2" if name.endswith(".so") else old,
    "another device": lambda name, old: old.replace(b'"cpu"', b'"npu"') if name.endswith("metadata.json") else old,
    "no metadata": lambda name, old: None if name.endswith("metadata.json") else old,
}

LAYER = ("network", "layers", "0")
STATE_DICT: dict[str, tuple[tuple[Any, ...], Any]] = {
    **{f"version {value!r}": (("version",), value) for value in (0, 2, 99, -1, "1", None, [1], 1.5, "", {})},
    "no network": (("network",), None),
    "an unknown layer": ((*LAYER, "layer"), "Transformer"),
    "a layer without a name": ((*LAYER, "layer"), None),
    "a layer that is no layer": ((*LAYER, "layer"), "Module"),
    "a layer that is a list": (LAYER, ["Linear", 5, 8]),
    "a layer that is a text": (LAYER, "Linear(5, 8)"),
    "more layers": (("network", "layers", "3"), {"layer": "Linear", "in_features": 1, "out_features": 1, "bias": True}),
    "layers that are a list": (("network", "layers"), [{"layer": "Tanh"}]),
    "no layers": (("network", "layers"), {}),
    "an unknown argument": ((*LAYER, "rank"), 4),
    "an argument of another type": ((*LAYER, "in_features"), "five"),
    "an argument below 0": ((*LAYER, "out_features"), -8),
    "a huge layer": ((*LAYER, "out_features"), 10**18),
    "an argument that is missing": (LAYER, {"layer": "Linear", "bias": True}),
    "another shape": ((*LAYER, "in_features"), 6),
}


def described(content: bytes, path: tuple[Any, ...], value: Any) -> bytes:
    """A state dict with another description, and a checksum that agrees."""
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    texts, data = table.pop("__metadata__"), content[8 + size :]
    told = json.loads(texts["hpacml"])
    put(told, path, value)
    text = json.dumps(told)
    texts = {"hpacml": text, "sha256": statedict._digest(text, table, data)}
    header = json.dumps({"__metadata__": texts, **table}).encode()
    return len(header).to_bytes(8, "little") + header + data


def other_versions(format: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if format == "state_dict":
        for name, (path, value) in STATE_DICT.items():
            yield name, described(content, path, value)
        return
    changes = {"torchscript": TORCHSCRIPT, "export": EXPORT, "aotinductor": AOTINDUCTOR}[format]
    for name, change in changes.items():
        yield name, faults.rewritten(content, change)


LOADS_ALL_THE_SAME = {
    "torchscript": {"version b'1\\n'", "version b'3.5\\n'", *BYTEORDERS, "no byteorder"},
    "export": {*OPSETS, "no byteorder"},
    "aotinductor": set(),
    "state_dict": set(),
}
"""What Torch does not look at."""


@pytest.mark.parametrize("format", ALL)
@pytest.mark.slow
def test_another_version(format: str, saved: Saved, tmp_path: Path) -> None:
    results = attempt(format, other_versions(format, saved(format)), tmp_path)
    loaded = {result["name"].partition(", ")[2] for result in results if not result["refused"]}
    assert loaded == LOADS_ALL_THE_SAME[format]


# -- files that would do harm --------------------------------------------------------------------------


@hpacml.region("""tensor functor(row: [i, 0:5] = ([i, 0:5]))
                  tensor functor(one: [i, 0:1] = ([i]))
                  ml(infer) in(row(x[0:n, 0:5])) out(one(y[0:n])) model(net) label("r")""")
def region(x, y, n, net):
    raise AssertionError("the body ran")


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class Writing(nn.Module):
    """As TorchScript, it writes a file when it is loaded, and when it runs."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.path)
        return x[:, :1]

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)


def bare_pickle(mark: Path) -> bytes:
    return pickle.dumps(Touch(mark))


def saved_by_torch(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3), "more": Touch(mark)}, buffer)
    return buffer.getvalue()


def writing_torchscript(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with torchscript.jit() as jit:
        jit.save(jit.script(Writing(str(mark))), buffer)
    mark.unlink(missing_ok=True)  # scripting makes it
    return buffer.getvalue()


def harmful_torchscript_pickle(mark: Path) -> bytes:
    code = writing_torchscript(mark)
    return faults.rewritten(code, lambda name, old: pickle.dumps(Touch(mark)) if name == "data.pkl" else old)


def harmful_weights(mark: Path) -> bytes:
    """An export whose weights and constants are pickles."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(network(), (torch.zeros(4, 5),)), buffer)
    return faults.rewritten(
        buffer.getvalue(), lambda name, old: saved_by_torch(mark) if name.startswith("data/") else old
    )


HARMFUL = [bare_pickle, saved_by_torch, writing_torchscript, harmful_torchscript_pickle, harmful_weights]


@pytest.mark.parametrize("suffix", ["pt", "pt2", "safetensors"])
@pytest.mark.parametrize("make", HARMFUL)
def test_harm_is_refused_without_being_run(make: Callable[[Path], bytes], suffix: str, tmp_path: Path) -> None:
    mark, path, y = tmp_path / "mark", tmp_path / f"m.{suffix}", np.full(3, -1.0, np.float32)
    path.write_bytes(make(mark))
    assert not mark.exists()
    with pytest.raises(hpacml.ModelError, match=re.escape(str(path))):
        region(np.zeros((3, 5), np.float32), y, 3, str(path))
    assert not mark.exists()
    np.testing.assert_array_equal(y, -1)


def test_the_harm_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused above would have made the file."""
    mark = tmp_path / "mark"
    pickle.loads(bare_pickle(mark))
    assert mark.exists()
    mark.unlink()
    path = tmp_path / "m.pt"
    path.write_bytes(writing_torchscript(mark))
    assert not mark.exists()
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    y = np.full(3, -1.0, np.float32)
    region(np.zeros((3, 5), np.float32), y, 3, str(path))
    assert mark.exists()
    np.testing.assert_array_equal(y, 0)
