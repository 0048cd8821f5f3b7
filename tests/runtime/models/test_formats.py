"""Every format of model files: what `save_model` writes, what is told beside it, and what damage does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models import archive, formats, model, statedict, trust
from hpacml.runtime.models.network import evaluating
from tests import faults

SUFFIXES = {"export": "pt2", "torchscript": "pt", "state_dict": "safetensors", "aotinductor": "pt2"}
NAMES = {
    "export": "torch.export",
    "torchscript": "TorchScript",
    "state_dict": "state dict",
    "aotinductor": "AOTInductor",
}
QUICK = ["export", "torchscript", "state_dict"]
ALL = [*QUICK, pytest.param("aotinductor", marks=pytest.mark.slow)]

Saved = Callable[..., bytes]


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).to(dtype).eval()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """`saved(format, dtype)` is the file of the network, written once, and trusted elsewhere."""
    folder = tmp_path_factory.mktemp("saved")
    known: dict[tuple[str, torch.dtype], bytes] = {}

    def save(format: Any, dtype: torch.dtype = torch.float32) -> bytes:
        if (format, dtype) not in known:
            path = folder / f"{format}.{SUFFIXES[format]}"
            example = torch.zeros(4, 5)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HPACML_TRUST_FILE", str(folder / "trusted"))
                hpacml.save_model(network(dtype), path, example=example, format=format, metadata={"maps": "0abc"})
            known[format, dtype] = path.read_bytes()
        return known[format, dtype]

    return save


@pytest.fixture
def file(tmp_path: Path, saved: Saved) -> Callable[..., Path]:
    """`file(format, content, trusted)` is a file with the network in a format, or with other content."""

    def write(format: str, content: bytes | None = None, trusted: bool = True, name: str = "m") -> Path:
        path = tmp_path / f"{name}.{SUFFIXES[format]}"
        path.write_bytes(saved(format) if content is None else content)
        if trusted:
            trust.trust(path)
        return path

    return write


def test_every_format_of_torch_is_tested_here():
    """Functions of JAX have tests of their own, in tests/jax_programs."""
    assert {format.argument: format.name for format in formats.FORMATS} == {**NAMES, "jax": "JAX"}
    assert NAMES.keys() == SUFFIXES.keys() == {*QUICK, "aotinductor"}


# -- what is written -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("format", QUICK)
def test_any_number_of_rows_in_every_dtype(format: str, dtype: torch.dtype, file: Callable[..., Path], saved: Saved):
    loaded = model.load(str(file(format, saved(format, dtype))))
    assert loaded.format == NAMES[format]
    assert loaded.network.dtypes == (dtype,)
    assert loaded.network.metadata == {"maps": "0abc"}
    for rows in (4, 1, 0, 999):
        x = torch.randn(rows, 5, dtype=dtype)
        torch.testing.assert_close(loaded.network.run(x), network(dtype)(x))


@pytest.mark.slow
def test_an_aotinductor_package_takes_any_number_of_rows_in_its_dtype(
    file: Callable[..., Path], infer: Any, capfd: Any
):
    path = file("aotinductor", trusted=False)
    with pytest.raises(ModelError, match="is not trusted on this machine: AOTInductor can run any code"):
        model.load(str(path))
    trust.trust(path)
    loaded = model.load(str(path))
    assert (loaded.format, loaded.network.metadata) == ("AOTInductor", {"maps": "0abc"})
    assert not loaded.replayable
    for rows in (4, 1, 0, 999):
        x = np.random.default_rng(rows).standard_normal((rows, 5))
        y = np.zeros((rows, 1))
        infer([x], [y], model={"path": str(path)})  # of float64, which the region converts
        torch.testing.assert_close(torch.from_numpy(y), network()(torch.from_numpy(x).float()).double().detach())
    with pytest.raises(ModelError, match=r"inputs float32\[2, 6\].* It was saved with the example float32\[4, 5\]"):
        infer([np.zeros((2, 6))], [np.zeros((2, 1))], model={"path": str(path)})


def test_the_same_state_is_the_same_file():
    assert statedict.encode(network(), {}) == statedict.encode(network(), {})


def test_metadata_is_what_json_has(tmp_path: Path):
    with pytest.raises(ModelError, match="the metadata of a model is what JSON has"):
        hpacml.save_model(network(), tmp_path / "m.pt", example=torch.zeros(2, 5), metadata={"a": object()})
    for name in ("m.pt", "m.safetensors"):
        path = hpacml.save_model(
            network(), tmp_path / name, example=torch.zeros(2, 5), metadata={"a": [1, {"b": None}]}
        )
        assert model.load(str(path)).network.metadata == {"a": [1, {"b": None}]}


@pytest.mark.parametrize("format", ALL)
def test_torch_is_left_as_it_was(format: Any, tmp_path: Path, infer: Any):
    def state() -> list[object]:
        return [
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.random.get_rng_state().tolist(),
            torch.are_deterministic_algorithms_enabled(),
        ]

    module = network()
    before = state()
    path = hpacml.save_model(module, tmp_path / f"m.{SUFFIXES[format]}", example=torch.zeros(4, 5), format=format)
    assert state() == before
    for wrong in (False, True):
        with pytest.raises(ModelError) if wrong else contextlib.nullcontext():
            infer([np.zeros((4, 5 + wrong))], [np.zeros((4, 1))], model={"path": str(path)})
        assert state() == before
    assert all(p.requires_grad for p in module.parameters())


# -- state dicts ---------------------------------------------------------------------------------------

LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(5, 2, bias=False), (3, 5)),
    (nn.Conv1d(2, 4, 3, padding="same", dilation=2), (3, 2, 7)),
    (nn.Conv2d(2, 4, (3, 1), stride=2, padding=1, groups=2, padding_mode="circular"), (3, 2, 8, 8)),
    (nn.Conv3d(1, 1, 2, bias=False), (1, 1, 3, 3, 3)),
    (nn.BatchNorm1d(5, eps=0.1), (3, 5)),
    (nn.BatchNorm2d(2, affine=False, momentum=None), (3, 2, 4, 4)),
    (nn.LayerNorm([4, 5], bias=False), (3, 4, 5)),
    (nn.LayerNorm(5, elementwise_affine=False), (3, 5)),
    (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 2))), (3, 2, 4)),
    (nn.Sequential(nn.MaxPool1d(2), nn.AvgPool1d(3, stride=1), nn.AdaptiveAvgPool1d(2)), (3, 2, 12)),
    (
        nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d((1, 2)), nn.AdaptiveAvgPool2d((None, 2))),
        (3, 2, 9, 9),
    ),
    (nn.Sequential(nn.Dropout(0.9), nn.Dropout1d(), nn.Identity(), nn.Softmax(-1), nn.LogSoftmax(1)), (3, 2, 5)),
    (nn.Sequential(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.3), nn.PReLU(2), nn.ELU(2.0), nn.CELU(0.5)), (3, 2)),
    (nn.Sequential(nn.SELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Tanh(), nn.Sigmoid()), (3, 2)),
    (nn.Sequential(nn.LogSigmoid(), nn.Hardtanh(-0.5, 0.5), nn.Hardsigmoid(), nn.Hardswish()), (3, 2)),
    (nn.Sequential(nn.Softplus(2.0), nn.Softsign(), hpacml.Normalize(torch.rand(2), torch.rand(2, 1) + 1)), (2, 2)),
    (nn.Sequential(nn.Sequential(nn.Linear(2, 2)), hpacml.Normalize(1.0, 3.0, inverse=True)), (3, 2)),
]


@pytest.mark.parametrize(("module", "shape"), LAYERS, ids=[str(n) for n in range(len(LAYERS))])
def test_layers_come_back(module: nn.Module, shape: tuple[int, ...]):
    x = torch.randn(shape)
    module(x)  # batch norms learn something
    read, _ = statedict.decode(statedict.encode(module, {}))
    assert not read.training
    assert str(read) == str(module)
    with evaluating(module):
        torch.testing.assert_close(read(x), module(x))


def test_normalize():
    normalize = hpacml.Normalize([1.0, 2.0], [2.0, 4.0])
    assert normalize(torch.tensor([[3.0, 2.0]])).tolist() == [[1.0, 0.0]]
    back = hpacml.Normalize([1.0, 2.0], [2.0, 4.0], inverse=True)
    assert back(torch.tensor([[1.0, 0.0]])).tolist() == [[3.0, 2.0]]


def test_layers_that_have_no_description(tmp_path: Path):
    class Own(nn.Linear):
        pass

    hooked = nn.Linear(5, 1)
    hooked.register_forward_hook(lambda *_: None)
    example = torch.zeros(2, 5)
    for module, message in {
        nn.Sequential(nn.Linear(5, 4), nn.Hardshrink()): r"the layer Hardshrink \('1'\) is none that .*: Linear, ",
        Own(5, 1): "the layer Own is none that",
        hooked: "the layer Linear has hooks",
    }.items():
        with pytest.raises(ModelError, match=message + r".* or format='export'") as error:
            hpacml.save_model(module, tmp_path / "m.safetensors", example=example)
        assert "Torch cannot write" in str(error.value)
    byte = hpacml.Normalize(torch.tensor(1, dtype=torch.uint8), 2.0)
    with pytest.raises(ModelError, match=r"'mean' is of torch\.uint8, for which the format has no name"):
        hpacml.save_model(byte, tmp_path / "m.safetensors", example=example)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_state_dict_needs_no_trust(file: Callable[..., Path]):
    path = file("state_dict", trusted=False)
    assert not trust.is_trusted(path)
    assert model.load(str(path)).network.run(torch.zeros(2, 5)).shape == (2, 1)
    hpacml.save_model(network(), path, example=torch.zeros(2, 5))
    assert not trust.is_trusted(path)


def described(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The state dict of a network with its description changed, and a checksum that agrees."""
    content = statedict.encode(network(), {})
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    texts, data = table.pop("__metadata__"), content[8 + size :]
    whole = {"described": json.loads(texts["hpacml"]), "table": table}
    change(whole)
    text = json.dumps(whole["described"])
    texts = {"hpacml": text, "sha256": statedict._digest(text, table, data)}
    header = json.dumps({"__metadata__": texts, **table}).encode()
    return len(header).to_bytes(8, "little") + header + data


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(whole: Any) -> None:
        for key in path[:-1]:
            whole = whole[key]
        whole[path[-1]] = value

    return change


FIRST = ("described", "network", "layers", "0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("described", "version", value=99), "it is of version 99 of this format, and 1 is known"),
        (put(*FIRST, "layer", value="os.system"), "there is no layer 'os.system'; there are Linear"),
        (put(*FIRST, "layer", value=["Linear"]), "Torch cannot load"),
        (put(*FIRST, "device", value="cuda"), "has no argument"),
        (put(*FIRST, "out_features", value=10**15), "Torch cannot load"),
        (put(*FIRST, value=7), "Torch cannot load"),
        (put("described", "network", value=None), "Torch cannot load"),
        (put("described", value=[]), "Torch cannot load"),
        (put("table", "0.weight", "shape", value=[8, 6]), "the place of a tensor does not agree with its shape"),
        (put("table", "0.weight", "shape", value=[-8, -5]), "Torch cannot load"),
        (put("table", "0.weight", "data_offsets", value=[0, 10**9]), "the place of a tensor"),
        (put("table", "0.weight", "dtype", value="Q8"), "Torch cannot load"),
        (put("table", "more", value={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}), "Unexpected key|Error"),
        (lambda whole: whole["table"].pop("0.bias"), "Torch cannot load"),
    ],
)
def test_descriptions_that_are_wrong(change: Any, message: str, file: Callable[..., Path]):
    path = file("state_dict", described(change), trusted=False)
    with pytest.raises(ModelError, match=message):
        model.load(str(path))


def test_a_deep_description(file: Callable[..., Path]):
    deep: Any = {"layer": "Identity"}
    for _ in range(500):
        deep = {"layer": "Sequential", "layers": {"0": deep}}
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)  # to write it
    try:
        path = file("state_dict", described(put("described", "network", value=deep)), trusted=False)
    finally:
        sys.setrecursionlimit(limit)
    with pytest.raises(ModelError):
        model.load(str(path))


# -- damage --------------------------------------------------------------------------------------------


def other_version(member: str, content: bytes) -> bytes:
    if member in ("version", "archive_version", ".data/version"):
        return b"99999\n"
    if member.startswith("models/") and member.endswith(".json"):
        told = json.loads(content)
        return json.dumps(told | {"schema_version": {"major": 999, "minor": 0}}).encode()
    return content


@pytest.mark.parametrize("format", ["export", "torchscript"])
def test_files_of_another_version(format: str, file: Callable[..., Path], saved: Saved, capfd: Any):
    path = file(format, faults.rewritten(saved(format), other_version))
    with pytest.raises(ModelError, match=f"Torch cannot load the {NAMES[format]} model .*of another version of Torch"):
        model.load(str(path))


@pytest.mark.parametrize("format", ["export", "torchscript"])
def test_members_that_are_rubbish(format: str, file: Callable[..., Path], saved: Saved, capfd: Any):
    with zipfile.ZipFile(io.BytesIO(saved(format))) as whole:
        members = [name.partition("/")[2] for name in whole.namelist()]
    # Torch does not check the sizes of tensors against what is stored: such files are as unsafe as others that lie.
    members = [member for member in members if not re.search(r"data/\d|weights|constants/\d", member)]
    for number, member in enumerate(members):
        for rubbish in (b"", b"rubbish", os.urandom(300)):
            content = faults.rewritten(saved(format), lambda name, old, m=member, r=rubbish: r if name == m else old)
            with contextlib.suppress(ModelError):
                model.load(str(file(format, content, name=f"m{number}_{len(rubbish)}")))


def test_an_archive_is_checked_as_a_whole(saved: Saved):
    content = saved("torchscript")
    archive.check(content)
    start = content.index(network()[0].weight.detach().numpy().tobytes())  # and not in what pads members
    with pytest.raises(zipfile.BadZipFile):
        torn = bytes(255 - byte for byte in content[start : start + 80])  # more than lies between members
        archive.check(content[:start] + torn + content[start + 80 :])
    assert archive.read_metadata(content)["example"] == [{"dtype": "float32", "shape": [4, 5]}]


# -- reload --------------------------------------------------------------------------------------------


def replace(path: Path, content: bytes) -> None:
    other = path.with_name("new")
    other.write_bytes(content)
    os.replace(other, path)


def constant(value: float, rows: int = 1) -> bytes:
    net = nn.Sequential(nn.Linear(5, rows))
    nn.init.zeros_(net[0].weight)
    nn.init.constant_(net[0].bias, value)
    return statedict.encode(net, {})


def test_a_changed_file_is_loaded_again_if_wanted(tmp_path: Path, infer: Any, monkeypatch: Any, caplog: Any):
    path = tmp_path / "m.safetensors"
    path.write_bytes(constant(1))
    x, y = np.zeros((3, 5), np.float32), np.zeros((3, 1), np.float32)

    def result() -> float:
        infer([x], [y], model={"path": str(path)})
        return float(y[0, 0])

    assert result() == 1
    replace(path, constant(2))
    assert result() == 1
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    assert result() == 2
    first = model.load(str(path))
    assert result() == 2
    assert model.load(str(path)) is first
    replace(path, constant(3)[:-9])
    with caplog.at_level("INFO", "hpacml"):
        assert [result(), result()] == [2, 2]
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert "has changed, but the one loaded before stays in use" in caplog.text
        assert "checksum" in caplog.text
        path.unlink()
        assert [result(), result()] == [2, 2]
        assert "does not exist" in caplog.records[-1].message
        replace(path, constant(4))
        assert result() == 4
        assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING", "INFO"]


def test_a_changed_file_has_to_be_trusted(file: Callable[..., Path], saved: Saved, monkeypatch: Any, caplog: Any):
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    path = file("torchscript")
    first = model.load(str(path))
    replace(path, saved("torchscript", torch.float64))
    assert model.load(str(path)) is first
    assert "is not trusted" in caplog.text
    trust.trust(path)
    os.utime(path)
    assert model.load(str(path)).network.dtypes == (torch.float64,)


def test_a_model_is_loaded_once_per_device(file: Callable[..., Path]):
    path = str(file("state_dict"))
    assert model.load(path) is model.load(path, "cpu")
    assert model.load(path, "meta").network.anchor().is_meta


@pytest.mark.parametrize("linked", ["file", "folder", "chain"])
def test_a_symbolic_link_that_moves_is_followed(linked: str, tmp_path: Path, infer: Any, monkeypatch: Any, caplog: Any):
    """A model is published by moving a link to it, to its folder, or to another link."""
    for value in (1, 2):
        (tmp_path / f"v{value}").mkdir()
        (tmp_path / f"v{value}" / "m.safetensors").write_bytes(constant(value))
    moved, path = {
        "file": (tmp_path / "m.safetensors", tmp_path / "m.safetensors"),
        "folder": (tmp_path / "latest", tmp_path / "latest" / "m.safetensors"),
        "chain": (tmp_path / "latest.safetensors", tmp_path / "m.safetensors"),
    }[linked]
    if linked == "chain":
        path.symlink_to(moved)

    def publish(value: int) -> None:
        new = tmp_path / "new"
        new.symlink_to(tmp_path / f"v{value}" / ("" if linked == "folder" else "m.safetensors"))
        os.replace(new, moved)

    x, y = np.zeros((3, 5), np.float32), np.zeros((3, 1), np.float32)

    def result() -> float:
        infer([x], [y], model={"path": str(path)})
        return float(y[0, 0])

    publish(1)
    assert result() == 1
    publish(2)
    assert result() == 1
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    assert result() == 2
    moved.unlink()
    assert result() == 2
    assert "the one loaded before stays in use" in caplog.text
    publish(1)
    assert result() == 1


def test_where_a_link_moves_to_has_to_be_trusted(file: Callable[..., Path], saved: Saved, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    link = tmp_path / "link.pt"
    link.symlink_to(file("torchscript"))
    first = model.load(str(link))
    link.unlink()
    link.symlink_to(file("torchscript", saved("torchscript", torch.float64), trusted=False, name="other"))
    assert model.load(str(link)) is first


def test_a_file_and_links_to_it_are_one_model(tmp_path: Path):
    path, link = tmp_path / "m.safetensors", tmp_path / "link"
    link.symlink_to(path)
    hpacml.save_model(nn.Sequential(nn.Linear(5, 1)), path, example=torch.zeros(1, 5))
    first = model.load(str(path))
    assert model.load(str(link)) is first
    hpacml.save_model(nn.Sequential(nn.Linear(5, 1)), link, example=torch.zeros(1, 5))
    assert model.load(str(link)) is not first
    assert model.load(str(path)) is model.load(str(link))


def test_a_model_that_is_no_regular_file(tmp_path: Path):
    os.mkfifo(tmp_path / "m.pt2")
    for path in (tmp_path / "m.pt2", Path("/dev/zero")):
        with pytest.raises(ModelError, match=f"cannot read the model '{path}': it is no regular file"):
            model.load(str(path))
