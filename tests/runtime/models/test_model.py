"""Model files of all formats: reading, writing, and what is wrong with them."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpacml import save_model
from hpacml.errors import ModelError
from hpacml.runtime.models import export, formats, model, torchscript, trust
from hpacml.runtime.models.network import Network

torch = pytest.importorskip("torch")


class Pair(torch.nn.Module):
    """Two inputs, two outputs, all kinds of state."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(5, 3)
        self.register_buffer("kept", torch.full((3,), 2.0))
        self.register_buffer("dropped", torch.full((3,), 3.0), persistent=False)
        self.constant = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, a: Any, b: Any) -> tuple[Any, Any]:
        return self.linear(a) * self.kept + self.dropped * self.constant, b * 2


class Counting(torch.nn.Module):
    """Writes to its state, which is more than passing tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Any) -> Any:
        self.calls.add_(1)
        return x + self.calls


class Named(torch.nn.Module):
    def forward(self, x: Any) -> dict[str, Any]:
        return {"y": x}


def exported(module: Any, *example: Any) -> Network:
    return export.read(io.BytesIO(export.write(module.eval(), example)), "cpu")


# -- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "kind"), [("pt2", "torch.export"), ("pt", "TorchScript")])
def test_a_file_computes_what_the_module_does(suffix: str, kind: str, model_file: Callable[..., Path], network: Any):
    path = model_file(suffix)
    loaded = model.load(str(path))
    assert loaded.format == kind
    assert loaded.name == f"'{path}'"
    assert loaded.digest == trust.digest(path.read_bytes())
    for rows in (64, 1, 0, 7, 7):
        x = torch.randn(rows, 5)
        assert torch.equal(loaded.network.run(x), network(x))
    assert loaded.network.anchor().dtype is torch.float32


def test_the_format_follows_from_the_content(model_files: dict[str, bytes]):
    assert {suffix: formats.recognise(content).name for suffix, content in model_files.items()} == {
        "pt2": "torch.export",
        "pt": "TorchScript",
    }


def test_the_export_declares_its_inputs(model_file: Callable[..., Path]):
    assert model.load(str(model_file("pt2"))).network.declaration == "float32[*, 5]"
    assert model.load(str(model_file("pt"))).network.declaration == ""


def test_several_inputs_and_outputs_and_all_state():
    module = Pair()
    network = exported(module, torch.zeros(8, 5), torch.zeros(9, 4))
    assert network.declaration == "float32[*, 5], float32[*, *]"
    for _ in range(2):  # by Torch's wrapper, then by the graph alone
        a, b = torch.randn(3, 5), torch.randn(2, 6)
        torch.testing.assert_close(network.run(a, b), module(a, b))


def test_new_shapes_are_checked_by_the_wrapper():
    network = exported(torch.nn.Linear(5, 1), torch.zeros(8, 5))
    network.run(torch.zeros(3, 5))
    with pytest.raises(Exception, match="5"):
        network.run(torch.zeros(3, 6))


def test_a_module_that_writes_to_its_state_runs_as_a_whole():
    network = exported(Counting(), torch.zeros(4, 5))
    assert [float(network.run(torch.zeros(4, 5))[0, 0]) for _ in range(3)] == [1, 2, 3]


def test_a_dictionary_stays_one():
    network = exported(Named(), torch.zeros(4, 5))
    for _ in range(2):
        assert list(network.run(torch.ones(4, 5))) == ["y"]


def test_integer_inputs_stay_integers():
    network = exported(torch.nn.Embedding(10, 3), torch.zeros(4, dtype=torch.int64))
    assert network.dtypes == (torch.int64,)


def test_a_frozen_torchscript_file_has_a_dtype(tmp_path: Path, network: Any):
    buffer = io.BytesIO()
    with torchscript.jit() as jit:
        jit.save(jit.freeze(jit.trace(network.double(), torch.zeros(2, 5, dtype=torch.float64))), buffer)
    network.float()
    assert torchscript.read(io.BytesIO(buffer.getvalue()), "cpu").anchor().dtype is torch.float64


def test_a_file_is_read_once_until_it_is_saved_again(tmp_path: Path, network: Any):
    path = save_model(network, tmp_path / "m.pt", example=torch.zeros(2, 5))
    first = model.load(str(path))
    assert model.load(str(path)) is first
    save_model(torch.nn.Linear(5, 2), path, example=torch.zeros(2, 5))
    assert model.load(str(path)).network.run(torch.zeros(2, 5)).shape == (2, 2)


# -- files that are no models --------------------------------------------------------------------------


def test_an_untrusted_file_is_not_loaded(model_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    path = model_file(trusted=False)
    with pytest.raises(ModelError, match=f"not trusted on this machine: torch.export can run any code (.|\n)*{path}"):
        model.load(str(path))
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    assert model.load(str(path)).format == "torch.export"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no model that hpacml can read"),
        (os.urandom(1000).replace(b"\x80", b"\x81"), "is no model that hpacml can read: it is neither TorchScript"),
        (b"\x89HDF\r\n\x1a\n", r"Write one with hpacml\.save_model"),
        (b"PK\x03\x04 torn", "is damaged or not complete: copy or write it again"),
        (b"\x80\x02}q\x00.", r"is a state dict, or a module saved by torch\.save, .* load the state dict into it"),
    ],
)
def test_other_content(content: bytes, message: str, tmp_path: Path):
    path = tmp_path / "m.pt2"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        model.load(str(path))
    assert str(path) in str(error.value)


def test_a_truncated_file(model_file: Callable[..., Path], model_files: dict[str, bytes]):
    path = model_file()
    path.write_bytes(model_files["pt2"][:-100])
    with pytest.raises(ModelError, match="is damaged or not complete"):
        model.load(str(path))


def test_an_archive_of_something_else(tmp_path: Path):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(ModelError, match="is no model that hpacml can read"):
        model.load(str(path))


@pytest.mark.parametrize("member", ["m/models/model.json", "m/constants.pkl", "m/data/aotinductor/model/m.so"])
def test_a_trusted_archive_that_torch_cannot_load(member: str, tmp_path: Path, capfd: Any):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "rubbish")
    trust.trust(path)
    with pytest.raises(ModelError, match=rf"Torch cannot load the .* model '{path}': .*It may be damaged") as error:
        model.load(str(path))
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("whole", [True, False])
def test_a_state_dict_or_a_pickled_module(whole: bool, tmp_path: Path, network: Any):
    path = tmp_path / "m.pt"
    torch.save(network if whole else network.state_dict(), path)
    with pytest.raises(ModelError, match=r"is a state dict, or a module saved by torch\.save"):
        model.load(str(path))


def test_no_file(tmp_path: Path):
    with pytest.raises(ModelError, match=f"the model '{tmp_path}/none.pt2' does not exist: train one"):
        model.load(str(tmp_path / "none.pt2"))


# -- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "m.ts"])
def test_save_model_writes_a_trusted_file_and_leaves_the_module_alone(name: str, tmp_path: Path):
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    module[2].eval()
    path = save_model(module, tmp_path / name, example=np.ones((3, 5)))
    assert path == tmp_path / name
    assert [part.training for part in module] == [True, True, False]
    assert trust.is_trusted(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, "trusted"]
    x = torch.randn(11, 5)
    torch.testing.assert_close(model.load(str(path)).network.run(x), module[2](module[0](x)))


def test_save_model_does_not_keep_the_example(tmp_path: Path):
    big = torch.zeros(100_000, 5)
    for name in ("m.pt2", "m.pt"):
        assert save_model(torch.nn.Linear(5, 1), tmp_path / name, example=big).stat().st_size < 100_000


def test_an_example_of_one_row_fixes_nothing(tmp_path: Path):
    path = save_model(torch.nn.Linear(5, 1), tmp_path / "m.pt2", example=np.zeros((1, 1, 5)))
    network = model.load(str(path)).network
    assert network.declaration == "float32[*, *, 5]"
    assert network.run(torch.zeros(3, 4, 5)).shape == (3, 4, 1)
    assert network.run(torch.zeros(1, 1, 5)).shape == (1, 1, 1)


def test_a_feature_dimension_of_one_stays_one(tmp_path: Path, capfd: Any):
    path = save_model(torch.nn.Linear(1, 1), tmp_path / "m.pt2", example=torch.zeros(7, 1))
    assert model.load(str(path)).network.declaration == "float32[*, 1]"
    assert capfd.readouterr().err == ""


def test_rows_that_are_no_rows_stay_as_in_the_example(tmp_path: Path):
    class OfOne(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x[0] if x.shape[0] == 1 else x

    path = save_model(OfOne(), tmp_path / "m.pt2", example=torch.zeros(1, 6, 5))
    network = model.load(str(path)).network
    assert network.declaration == "float32[1, *, *]"
    assert network.run(torch.zeros(1, 6, 5)).shape == (6, 5)


def test_examples_are_converted(tmp_path: Path):
    pair = (np.zeros((4, 5))[::-1], torch.zeros(4, 2))
    path = save_model(Pair().double(), tmp_path / "m.pt", example=pair)
    outputs = model.load(str(path)).network.run(torch.ones(6, 5).double(), torch.ones(6, 2).double())
    assert [y.dtype for y in outputs] == [torch.float64] * 2


def test_the_format_can_be_given(tmp_path: Path):
    path = save_model(torch.nn.Linear(5, 1), tmp_path / "model", example=torch.zeros(2, 5), format="torchscript")
    assert model.load(str(path)).format == "TorchScript"


def test_a_scripted_module_is_saved_as_it_is(tmp_path: Path):
    with torchscript.jit() as jit:
        scripted = jit.script(torch.nn.Linear(5, 1))
    path = save_model(scripted, tmp_path / "m.pt", example=torch.zeros(2, 5))
    assert scripted.training
    assert model.load(str(path)).network.run(torch.zeros(3, 5)).shape == (3, 1)


def test_save_model_refuses(tmp_path: Path):
    linear, example = torch.nn.Linear(5, 1), torch.zeros(2, 5)
    with pytest.raises(ModelError, match=r"in which format to write .*m\.onnx': name it \.pt2"):
        save_model(linear, tmp_path / "m.onnx", example=example)
    with pytest.raises(ModelError, match=r"give format='export', 'torchscript', 'aotinductor', .*'state_dict'"):
        save_model(linear, tmp_path / "m.pt2", example=example, format="onnx")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"takes a torch\.nn\.Module, not a function"):
        save_model(lambda x: x, tmp_path / "m.pt2", example=example)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"the example float32\[0, 5\] has no elements"):
        save_model(linear, tmp_path / "m.pt2", example=torch.zeros(0, 5))
    with pytest.raises(ModelError, match="an example must be a tensor or an array of numbers"):
        save_model(linear, tmp_path / "m.pt2", example="rows")  # type: ignore[arg-type]
    for name in ("m.pt2", "m.pt"):
        with pytest.raises(ModelError, match=r"Torch cannot write the Linear .*float32\[2, 4\] as .*: RuntimeError"):
            save_model(linear, tmp_path / name, example=torch.zeros(2, 4))
    with pytest.raises(ModelError, match=rf"cannot write the model '{tmp_path}/none/m.pt': No such file"):
        save_model(linear, tmp_path / "none" / "m.pt", example=example)
    assert [p.name for p in tmp_path.iterdir()] == ["trusted"]


# -- models from Python --------------------------------------------------------------------------------


def test_a_passed_module_is_not_kept_alive():
    module = torch.nn.Linear(5, 1)
    assert model.passed(module) is model.passed(module)
    assert model.passed(module).name == "Linear"
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


def test_a_passed_module_runs_in_evaluation_mode_and_keeps_its_own():
    module = torch.nn.Sequential(torch.nn.Dropout(0.99), torch.nn.BatchNorm1d(5))
    module[1].eval()
    x = torch.randn(64, 5)
    assert torch.allclose(model.passed(module).network.run(x), x, atol=1e-4)
    assert [module.training, module[0].training, module[1].training] == [True, True, False]


def test_the_dtype_of_a_passed_module_is_its_present_one():
    module = torch.nn.Linear(5, 1)
    assert model.passed(module).network.anchor().dtype is torch.float32
    module.double()
    assert model.passed(module).network.anchor().dtype is torch.float64


def test_passed_callables():
    def double(x: Any) -> Any:
        return 2 * x

    assert model.passed(double) is model.passed(double)
    assert float(model.passed(double).network.run(torch.ones(1))) == 2

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: Any) -> Any:
            return x

    assert float(model.passed(Unhashable()).network.run(torch.ones(1))) == 1


def test_importing_and_recognising_does_not_load_torch():
    code = "import sys, hpacml.runtime.handlers, hpacml.runtime.models.model as m; assert not {'torch', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
