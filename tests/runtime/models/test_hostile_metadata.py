"""What a model file says of itself may come from anywhere."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models import archive, model, statedict, trust
from hpacml.tools import models
from hpacml.tools.cli import app

GOOD = {"example": [{"dtype": "float32", "shape": [2, 5]}], "metadata": {}}

HOSTILE: list[Any] = [
    {"example": [{"dtype": "_inductor", "shape": [1]}]},
    {"example": [{"dtype": "nn", "shape": [1]}]},
    {"example": [{"dtype": ["float32"], "shape": [1]}]},
    {"example": [{"dtype": "float32", "shape": [-1]}]},
    {"example": [{"dtype": "float32", "shape": [1.5]}]},
    {"example": [{"dtype": "float32", "shape": [True]}]},
    {"example": [{"dtype": "float32", "shape": [1 << 70]}]},
    {"example": [{"dtype": "float32", "shape": [1] * 70}]},
    {"example": [{"dtype": "float32", "shape": 5}]},
    {"example": [{"dtype": "float32"}]},
    {"example": ["float32"]},
    {"example": {"dtype": "float32"}},
    {"example": 7},
    {"metadata": ["a"]},
    {"metadata": "text"},
    {"maps": "to: f"},
    {"maps": [1]},
    {"maps_sha256": 5},
    {"outputs": "y"},
    {"outputs": [None]},
    {"domain": 7},
    {"domain": {"inputs": [{"low": [0.0], "high": [-1.0]}], "points": 1}},
    [],
    "text",
    7,
]


@pytest.fixture(params=["safetensors", "pt"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    """`file(metadata)` is a trusted file with a network and this metadata."""
    path = tmp_path / f"m.{request.param}"
    hpacml.save_model(nn.Sequential(nn.Linear(5, 1)), path, example=torch.zeros(2, 5))
    content = path.read_bytes()

    def write(metadata: Any) -> Path:
        if path.suffix == ".safetensors":
            module, _ = statedict.decode(content)
            path.write_bytes(statedict.encode(module, {}))
            path.write_bytes(with_description(path.read_bytes(), metadata))
        else:
            plain = without_metadata(content)
            path.write_bytes(archive.with_metadata(plain, metadata))
        trust.trust(path)
        model.forget(str(path))
        return path

    return write


def with_description(content: bytes, metadata: Any) -> bytes:
    table, data = statedict._parts(content)
    described = json.loads(table.pop("__metadata__")["hpacml"]) | {"metadata": metadata}
    text = json.dumps(described)
    texts = {"hpacml": text, "sha256": statedict._digest(text, table, data)}
    header = json.dumps({"__metadata__": texts, **table}).encode()
    return len(header).to_bytes(8, "little") + header + data


def without_metadata(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            if not info.filename.endswith("hpacml.json"):
                new.writestr(info, old.read(info))
    return out.getvalue()


def hpacml_model(command: str, path: Path) -> Any:
    return CliRunner().invoke(app, ["model", command, str(path)])


def test_nothing_but_a_model_error_comes_of_it(file: Callable[[Any], Path]) -> None:
    loaded = set(sys.modules)
    for metadata in HOSTILE:
        path = file(metadata)
        with pytest.raises(ModelError, match=r"Torch cannot load the"):
            model.load(str(path))
        for command in ("info", "verify"):
            result = hpacml_model(command, path)
            assert result.exit_code == 1, (metadata, result.output)
            assert isinstance(result.exception, (SystemExit, ModelError)), metadata
    assert not {name for name in set(sys.modules) - loaded if "_inductor" in name}
    assert hpacml_model("verify", file(GOOD)).exit_code == 0
    assert hpacml_model("info", file({})).exit_code == 0


def test_an_example_that_no_machine_has_is_not_tried(file: Callable[[Any], Path]) -> None:
    for shape, count in (([1 << 28], 64), ([1 << 40], 1), ([1 << 62], 1), ([3, 1 << 62, 5], 2)):
        path = file({"example": [{"dtype": "float32", "shape": shape}] * count})
        result = hpacml_model("verify", path)
        assert result.exit_code == 1
        assert "it says that it was saved with an example of" in result.output
        assert hpacml_model("info", path).exit_code == 0
    assert models.LARGEST_EXAMPLE == 1 << 30


def test_what_stands_beside_a_network_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_LARGEST_METADATA", 1000)
    with pytest.raises(ModelError, match="what stands beside the network takes more than"):
        hpacml.save_model(nn.Linear(5, 1), tmp_path / "m.pt", example=torch.zeros(2, 5), metadata={"a": "x" * 2000})
