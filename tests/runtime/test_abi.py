"""The runtime symbols, called as compiled code calls them."""

from __future__ import annotations

import ctypes
import gc
import inspect
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects import func

import hpacml
from hpacml import save_model
from hpacml.abi.records import InferSite, Source, TensorType, strings
from hpacml.abi.symbols import PYTHON_HALVES, SYMBOLS, VALUES, VERSION
from hpacml.errors import DatabaseError, HpacmlError, MapError, ModelError
from hpacml.frontend.python.types import SCALARS, ScalarType
from hpacml.pipelines import run_passes
from hpacml.runtime import callbacks, handlers, shim
from hpacml.runtime.databases import writer
from hpacml.runtime.frame import Frame, current
from hpacml.runtime.gpu import device_handlers
from hpacml.runtime.models.inference import KNOWN_MEMORIES
from hpacml.runtime.sites import Sites

torch = pytest.importorskip("torch")

Infer = Callable[..., None]
Rows = Callable[..., np.ndarray[Any, Any]]

NET = {"argument": "net"}


def column(count: int, dtype: Any = np.float32, fill: float = -7) -> np.ndarray[Any, Any]:
    return np.full((count, 1), fill, dtype)


def expected(network: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return network(torch.from_numpy(x.astype(np.float32))).numpy()


class Sum(torch.nn.Module):
    """One weight, so that it has a dtype; sums the features."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def forward(self, x: Any) -> Any:
        self.seen.append((x.dtype, tuple(x.shape)))
        return (x * self.weight).sum(-1, keepdim=True)


# -- the table of symbols ------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"
HEADER = DOCS / "hpacml_abi.h"


@pytest.mark.parametrize("name", PYTHON_HALVES)
def test_every_half_in_python_has_a_handler(name: str):
    """Of as many parameters as its prototype."""
    handlers.install()
    device_handlers.install()
    taken = inspect.signature(callbacks._handlers[name]).parameters
    assert len(taken) == len(PYTHON_HALVES[name].parameters)


@pytest.mark.parametrize("name", SYMBOLS)
def test_every_symbol_is_defined(name: str):
    assert shim.runtime().symbols[name]


def test_every_symbol_is_described():
    """But for those of MLIR, and those that stand for another one."""
    page = (DOCS / "runtime-abi.md").read_text()
    own = (symbol.name for symbol in SYMBOLS.values() if symbol.name.startswith("hpacml_") and not symbol.replaces)
    assert not [name for name in own if f"`{name}`" not in page]


@pytest.mark.parametrize("number", SCALARS.values(), ids=str)
def test_every_number_of_kernels_has_a_slot(number: ScalarType):
    assert str(number.ir) in VALUES


def test_records_as_strings():
    """A key leads to each number and text; what is null has none, and the end is an empty key."""
    site = InferSite("größe", Source(path="m.pt2"), None, "raise", ("a", ""), (TensorType("f32", 2),), ())
    assert site.to_strings().split("\0") == [
        *("kind", "infer", "label", "größe", "model.path", "m.pt2", "on_error", "raise"),
        *("maps.0", "a", "maps.1", "", "inputs.0.dtype", "f32", "inputs.0.rank", "2", ""),
    ]
    assert strings({"a": {"b": [True, 3]}, "c": []}).split("\0") == ["a.b.0", "true", "a.b.1", "3", ""]


def test_records_as_strings_end_no_text_early():
    assert strings({"text": "a\0b"}) == "text\0a\\x00b\0"


def test_the_version_is_that_of_the_table():
    assert ctypes.CFUNCTYPE(ctypes.c_int32)(shim.runtime().symbols["hpacml_abi_version"])() == VERSION


@pytest.mark.parametrize(("compiler", "language"), [("cc", "c99"), ("c++", "c++11")])
def test_compilers_accept_the_header(compiler: str, language: str, tmp_path: Path):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no compiler of the name '{compiler}'")
    source = tmp_path / ("program.c" if compiler == "cc" else "program.cc")
    names = "".join(f"    (void)&{name};\n" for name in SYMBOLS)
    source.write_text(f'#include "{HEADER}"\n#include "{HEADER}"\nint main(void) {{\n{names}    return 0;\n}}\n')
    subprocess.run([compiler, "-fsyntax-only", f"-std={language}", "-Wall", "-Werror", source], check=True)


# -- infer: which model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pt2", "pt"])
def test_infer_with_a_file(suffix: str, infer: Infer, model_file: Callable[..., Path], network: Any, rows: Rows):
    path = model_file(suffix)
    for count in (64, 3, 3, 1):
        x, y = rows(count), column(count)
        before = x.copy()
        infer([x], [y], model={"path": str(path)})
        np.testing.assert_allclose(y, expected(network, x), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(x, before)


def test_infer_with_what_an_argument_holds(
    infer: Infer, model_file: Callable[..., Path], network: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    path = model_file("pt")
    monkeypatch.setenv("SURROGATE_MODEL", str(path))
    x = rows(4)
    for given in (str(path), path, network, lambda t: network(t), None):
        y = column(4)
        with Frame({"net": given}):
            infer([x], [y], model=NET)
        np.testing.assert_allclose(y, expected(network, x), rtol=1e-5, atol=1e-6)


def test_infer_with_the_environment(
    infer: Infer, model_file: Callable[..., Path], network: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    x, y = rows(4), column(4)
    with pytest.raises(
        ModelError, match="'heat' has no model: the environment variable SURROGATE_MODEL is not set; give"
    ):
        infer([x], [y])
    with Frame({"net": None}), pytest.raises(ModelError, match="the argument 'net' is None, and the environment"):
        infer([x], [y], model=NET)
    monkeypatch.setenv("SURROGATE_MODEL", str(model_file("pt")))
    infer([x], [y])
    np.testing.assert_allclose(y, expected(network, x), rtol=1e-5, atol=1e-6)


def test_relative_paths_start_where_they_are_first_used(
    call_site: Any, model_file: Callable[..., Path], rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(model_file("pt").parent)
    site = call_site([rows(4)], [column(4)], model={"path": "heat.pt"}, batch=None)
    site.infer()
    monkeypatch.chdir("/")
    site.infer()


def test_infer_takes_no_other_argument(infer: Infer, rows: Rows):
    with (
        Frame({"net": 3}),
        pytest.raises(ModelError, match="argument 'net' of the region 'heat' is of type int: pass the path"),
    ):
        infer([rows(4)], [column(4)], model=NET)


def test_the_errors_of_a_file_name_the_region(infer: Infer, rows: Rows, model_file: Callable[..., Path]):
    with pytest.raises(ModelError, match=r"in the region 'heat': the model '/none/m\.pt2' does not exist"):
        infer([rows(4)], [column(4)], model={"path": "/none/m.pt2"})
    with pytest.raises(ModelError, match=r"in the region 'heat': the model '.*' is not trusted"):
        infer([rows(4)], [column(4)], model={"path": str(model_file(trusted=False))})


def test_a_model_saved_again_is_used_at_once(call_site: Any, tmp_path: Path, rows: Rows):
    y = column(4)
    site = call_site([rows(4)], [y], model={"path": str(tmp_path / "m.pt")}, batch=None)
    for value in (1.0, 2.0):
        module = torch.nn.Linear(5, 1)
        torch.nn.init.zeros_(module.weight)
        torch.nn.init.constant_(module.bias, value)
        save_model(module, tmp_path / "m.pt", example=rows(4))
        site.infer()
        assert y.tolist() == [[value]] * 4


# -- infer: dtypes, shapes and strides --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("module_dtype", [torch.float32, torch.float64])
def test_the_casts_to_the_model_and_back(dtype: Any, module_dtype: Any, infer: Infer):
    x, y = np.arange(10).reshape(2, 5).astype(dtype), column(2, dtype, 1)
    module = Sum().to(module_dtype)
    with Frame({"net": module}):
        for _ in range(2):
            infer([x], [y], model=NET)
    assert y.tolist() == [[10], [35]]
    runs_on = {np.uint8: torch.int64, np.int32: torch.int32, np.int64: torch.int64}.get(dtype, module_dtype)
    assert module.seen == [(runs_on, (2, 5))] * 2  # a sum is one of integers, too


def test_bfloat16(infer: Infer):
    x, y = torch.ones(2, 5, dtype=torch.bfloat16), torch.zeros(2, 1, dtype=torch.bfloat16)
    with Frame({"net": Sum()}):
        infer([x], [y], model=NET)
    assert y.tolist() == [[5], [5]]


def test_a_model_without_weights_gets_the_tensors_as_they_are(infer: Infer, rows: Rows):
    dtypes: list[Any] = []

    def net(x: Any) -> Any:
        dtypes.append(x.dtype)
        return x[:, :1]

    x, y = rows(3, np.float64), column(3)
    with Frame({"net": net}):
        infer([x], [y], model=NET)
    assert dtypes == [torch.float64]
    np.testing.assert_array_equal(y, x[:, :1].astype(np.float32))


def test_an_exported_model_with_integer_inputs(infer: Infer, tmp_path: Path):
    path = save_model(torch.nn.Embedding(10, 3), tmp_path / "m.pt2", example=np.zeros(4, np.int64))
    y = np.zeros((2, 3), np.float32)
    infer([np.array([1, 9], np.int32)], [y], model={"path": str(path)})
    assert y.any()


def test_several_inputs_and_outputs_in_order(infer: Infer):
    a, b = np.full((2, 3), 2.0), np.full(4, 5.0)
    y, z = np.zeros((2, 3)), np.zeros(4)
    with Frame({"net": lambda a, b: [a + 1, b * 2]}):
        infer([a, b], [y, z], model=NET)
    assert (y == 3).all()
    assert (z == 10).all()


def test_strided_memory(infer: Infer, network: Any, rows: Rows):
    x, base = rows(16)[::2], np.zeros((8, 4), np.float32)
    with Frame({"net": network}):
        infer([x], [base[:, 2:3]], model=NET)
    np.testing.assert_allclose(base[:, 2:3], expected(network, x), rtol=1e-5, atol=1e-6)
    assert not base[:, [0, 1, 3]].any()


def test_nothing_to_fill_runs_no_model(infer: Infer):
    with Frame({"net": lambda x: 1 / 0}):
        infer([np.zeros((0, 5))], [np.zeros((0, 1))], model=NET)


def test_a_site_remembers_memory_but_not_values(call_site: Any, network: Any, rows: Rows):
    x, y = rows(6), column(6)
    site = call_site([x], [y], model=NET, batch=None)
    with Frame({"net": network}):
        for step in range(3):
            x += step
            site.infer()
            np.testing.assert_allclose(y, expected(network, x), rtol=1e-5, atol=1e-6)


def test_a_site_remembers_a_limited_number_of_memories(call_site: Any, network: Any):
    x, y = np.zeros((KNOWN_MEMORIES * 2, 5), np.float32), column(KNOWN_MEMORIES * 2)
    with Frame({"net": network}):
        sites = [call_site([x[i:]], [y[i:]], model=NET, batch=None) for i in range(len(x))]
        text = sites[0]
        for site in sites:
            site._text = text._text
            site.infer()
    assert len(handlers._inferences.at(ctypes.addressof(text._text))._known) <= KNOWN_MEMORIES
    np.testing.assert_allclose(y, expected(network, x), rtol=1e-5, atol=1e-6)


# -- infer: memory is not harmed ---------------------------------------------------------------------------


def test_in_place_models_get_a_copy(infer: Infer, rows: Rows):
    class InPlace(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.relu(x.unsqueeze_(0), inplace=True)[0, :, :1]

    x, y, net = rows(8), column(8), InPlace()
    before = x.copy()
    with Frame({"net": net}):
        for _ in range(3):
            infer([x], [y], model=NET)
            np.testing.assert_array_equal(x, before)
            np.testing.assert_array_equal(y, np.maximum(before, 0)[:, :1])


def test_a_model_that_begins_to_work_in_place_gets_a_copy(infer: Infer, rows: Rows):
    class Fickle(torch.nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return (x.mul_(2) if self.calls == 2 else x)[:, :1] + 0

    for count in 8, 20_000:  # small inputs are always copied, large ones of the application where code of a user runs
        x, y, net = rows(count), column(count), Fickle()
        before = x.copy()
        with Frame({"net": net}):
            for factor in 1, 2, 1:
                infer([x], [y], model=NET)
                np.testing.assert_array_equal(y, factor * before[:, :1])
                np.testing.assert_array_equal(x, before)


def test_a_module_of_torch_that_begins_to_work_in_place_is_refused(infer: Infer):
    x, y, net = np.full(50_000, -1.0, np.float32), np.zeros(50_000, np.float32), torch.nn.Sequential(torch.nn.ReLU())
    with Frame({"net": net}):
        infer([x], [y], model=NET)
        net[0].inplace = True
        with pytest.raises(ModelError, match="Sequential has changed its input in place, in memory of the region"):
            infer([x], [y], model=NET)


def test_a_model_without_a_hash_is_not_kept(call_site: Any):
    class Unhashable:
        def __eq__(self, other: object) -> bool:
            return True

        def __call__(self, x: Any) -> Any:
            return 2 * x

    y = np.zeros(3)
    site, net = call_site([np.ones(3)], [y], model=NET, batch=None), Unhashable()
    with Frame({"net": net}):
        site.infer()
        site.infer()
    assert y.tolist() == [2, 2, 2]
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_model_that_is_gone_is_not_taken_for_none(call_site: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SURROGATE_MODEL", raising=False)
    site = call_site([np.ones(3)], [np.zeros(3)], model=NET, batch=None)
    arguments: dict[str, Any] = {"net": torch.nn.Identity()}
    with Frame(arguments):
        site.infer()
        arguments["net"] = None
        gc.collect()
        with pytest.raises(ModelError, match="has no model"):
            site.infer()


@pytest.mark.parametrize("batch", [None, 2])
def test_outputs_that_are_views_of_the_destinations(batch: int | None, infer: Infer):
    memory = np.arange(8.0).reshape(4, 2)
    with Frame({"net": lambda x: x.flip(-1)}):
        infer([memory], [memory], model=NET, batch=batch)
    np.testing.assert_array_equal(memory, np.arange(8.0).reshape(4, 2)[:, ::-1])
    square = np.arange(4.0).reshape(2, 2)
    with Frame({"net": lambda x: x.mT}):
        for _ in range(2):  # the first call is with copies
            infer([square], [square], model=NET)
    np.testing.assert_array_equal(square, np.arange(4.0).reshape(2, 2))
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    with Frame({"net": lambda a, b: (b, a)}):
        for _ in range(3):
            infer([a, b], [a, b], model=NET, batch=batch)
    assert (a.tolist(), b.tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_a_model_that_returns_its_weights_is_copied_from(infer: Infer):
    weight, y = torch.nn.Parameter(torch.ones(3)), np.zeros(3, np.float32)
    with Frame({"net": lambda x: weight}):
        infer([np.zeros(3)], [y], model=NET)
        infer([np.zeros(3)], [y], model=NET)
    assert y.tolist() == [1, 1, 1]
    assert weight.tolist() == [1, 1, 1]


def test_a_module_in_training_mode_is_run_in_evaluation_mode(infer: Infer, rows: Rows):
    module = torch.nn.Sequential(torch.nn.Dropout(0.99), Sum())
    x, y = rows(50), column(50)
    with Frame({"net": module}):
        infer([x], [y], model=NET)
    np.testing.assert_allclose(y, x.sum(-1, keepdims=True), rtol=1e-5, atol=1e-5)
    assert module.training
    assert module[0].training


def test_no_gradients_are_recorded_inside_or_outside_of_inference_mode(infer: Infer, rows: Rows):
    modes: list[bool] = []

    def net(x: Any) -> Any:
        modes.append(torch.is_grad_enabled() or torch.is_inference_mode_enabled())
        return x[:, :1]

    with Frame({"net": net}):
        infer([rows(3)], [column(3)], model=NET)
        with torch.inference_mode():
            infer([rows(4)], [column(4)], model=NET)
    assert modes == [False, False]


# -- infer: what does not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            lambda x: x,
            r"its output is float32\[4, 5\], but the region expects float32\[4, 1\] for the map 'from: g: .*'$",
        ),
        (
            lambda x: x[:, 0][None],
            r"its output is float32\[1, 4\], but .* expects float32\[4, 1\] for .*: reshape it in the model",
        ),
        (lambda x: None, "it returns None, but the region has 1 tensor to fill"),
        (lambda x: {"z": x}, "it returns 'z', but the region has the outputs 'g' or 'y'"),
        (lambda x: (x, x), "it returns a tuple of 2, but the region has 1 tensor to fill"),
        (lambda x: ["no"], "its output is a str, but the region expects"),
        (lambda x: torch.complex(x, x)[:, :1], r"its output is complex64\[4, 1\], .*, dense and of real numbers, not"),
        (lambda x: x[:, :1].to_sparse(), r"its output is float32\[4, 1\], .* not torch.sparse_coo"),
    ],
)
def test_outputs_that_do_not_fit(net: Any, message: str, infer: Infer, rows: Rows):
    y = column(4)
    with Frame({"net": net}), pytest.raises(ModelError, match=message) as error:
        infer([rows(4)], [y], model=NET)
    assert str(error.value).startswith("the model <function <lambda>")
    assert "does not fit the region 'heat': " in str(error.value)
    assert (y == -7).all()


def test_the_second_output_does_not_fit(infer: Infer, rows: Rows):
    y, z = column(4), column(4)
    message = r"its output 1 is float32\[3, 1\], but the region expects float32\[4, 1\] for the map 'from: z'"
    with Frame({"net": lambda x: (x[:, :1], x[:3, :1])}), pytest.raises(ModelError, match=message):
        infer([rows(4)], [y, z], model=NET, maps=["to: x", "from: y", "from: z"])
    assert (y == -7).all()
    with (
        Frame({"net": lambda x: x}),
        pytest.raises(ModelError, match="returns one tensor, but the region has 2 tensors"),
    ):
        infer([rows(4)], [y, z], model=NET)


def test_inputs_that_do_not_fit(infer: Infer, model_file: Callable[..., Path]):
    path, y = model_file("pt2"), column(4)
    with pytest.raises(ModelError) as error:
        infer([np.zeros((4, 6))], [y], model={"path": str(path)})
    assert str(error.value).startswith(
        f"the model '{path}' does not fit the region 'heat': its input is float32[*, 5], but the region gives "
        "float64[4, 6] by the map 'to: f: "
    )
    assert error.value.__cause__ is not None
    with pytest.raises(
        ModelError, match=r"it takes 1 tensor \(float32\[\*, 5\]\), but the region gives 2 \(float64\[4, 5\]"
    ):
        infer([np.zeros((4, 5)), np.zeros(3)], [y], model={"path": str(path)})
    assert (y == -7).all()


def test_errors_of_the_model(infer: Infer, rows: Rows):
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("one\ntwo")

    y = column(4)
    with Frame({"net": broken}), pytest.raises(ModelError) as error:
        infer([rows(4)], [y], model=NET)
    assert "failed in the region 'heat' on the inputs float32[4, 5]: ZeroDivisionError: one" in str(error.value)
    assert "two" not in str(error.value)
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    assert (y == -7).all()


@pytest.mark.parametrize("error", [MapError("inner"), KeyboardInterrupt()])
def test_errors_that_pass(error: BaseException, infer: Infer, rows: Rows):
    def broken(x: Any) -> Any:
        raise error

    with Frame({"net": broken}), pytest.raises(type(error)) as raised:
        infer([rows(4)], [column(4)], model=NET)
    assert raised.value is error


# -- infer: batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "sizes"), [(None, [10]), (4, [4, 4, 2]), (10, [10]), (100, [10]), (0, [10])])
def test_batches(batch: int | None, sizes: Sequence[int], infer: Infer, rows: Rows):
    module, x, y = Sum(), rows(10), column(10)
    with Frame({"net": module}):
        infer([x], [y], model=NET, batch=batch)
    assert [shape[0] for _, shape in module.seen] == sizes
    np.testing.assert_allclose(y, x.sum(-1, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((9000, 5), [4096, 4096, 808]), ((5, 2048, 2), [2, 2, 1]), ((2, 9000, 1), [1, 1]), ((5000,), [4096, 904])],
)
def test_batches_of_any_rows_have_about_4096_points(shape: tuple[int, ...], sizes: Sequence[int], infer: Infer):
    seen: list[int] = []

    def net(x: Any) -> Any:
        seen.append(len(x))
        return x + 1

    x, y = np.zeros(shape), np.zeros(shape)
    with Frame({"net": net}):
        infer([x], [y], model=NET, batch=0)
    assert seen == sizes
    assert (y == 1).all()


def test_a_failing_batch_writes_no_row(infer: Infer, rows: Rows):
    def net(x: Any) -> Any:
        return x[:, :1] if len(x) == 4 else x

    y = column(10)
    with (
        Frame({"net": net}),
        pytest.raises(ModelError, match=r"its output is float32\[2, 5\], .* expects float32\[2, 1\]"),
    ):
        infer([rows(10)], [y], model=NET, batch=4)
    assert (y == -7).all()


def test_batches_need_rows(infer: Infer, rows: Rows):
    message = r"the clause batch, but the numbers of rows differ, .*: float32\[10, 5\], float32\[9, 1\]"
    with Frame({"net": Sum()}), pytest.raises(ModelError, match=message):
        infer([rows(10)], [column(9)], model=NET, batch=4)
    with Frame({"net": Sum()}), pytest.raises(ModelError, match="the clause batch"):
        infer([np.zeros(())], [np.zeros(())], model=NET, batch=4)


# -- collect -----------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    import h5py

    writer.flush()
    with h5py.File(path) as file:
        return {name: item[()] for name, item in file["heat"].items()}


def test_collect(collect: Callable[..., None], rows: Rows, tmp_path: Path):
    path = tmp_path / "d.h5"
    for step in range(3):
        collect([rows(4) + step, np.full(2, step)], [column(4, np.float64, step)], {"path": str(path)}, ms=step)
    data = read(path)
    np.testing.assert_array_equal(data["input"], [rows(4) + step for step in range(3)])
    np.testing.assert_array_equal(data["input_1"], [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(data["output"][:, 0, 0], [0, 1, 2])
    np.testing.assert_array_equal(data["runtime"], np.array([0, 1, 2], np.float32))


def test_collect_copies_strided_memory(collect: Callable[..., None], tmp_path: Path):
    base = np.arange(24.0).reshape(4, 6)
    collect([base[::2, 1:3]], [base[::-1, ::2]], {"path": str(tmp_path / "d.h5")})
    data = read(tmp_path / "d.h5")
    np.testing.assert_array_equal(data["input"][0], base[::2, 1:3])
    np.testing.assert_array_equal(data["output"][0], base[::-1, ::2])


def test_bfloat16_is_stored_as_float32(collect: Callable[..., None], tmp_path: Path):
    x = torch.tensor([1.5, -2.0, float("inf")], dtype=torch.bfloat16)
    collect([x], [np.zeros(1)], {"path": str(tmp_path / "d.h5")})
    data = read(tmp_path / "d.h5")
    assert data["input"].dtype == np.float32
    assert data["input"].tolist() == [[1.5, -2.0, float("inf")]]
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        (region,) = opened.values()
        assert region.schema.input_dtypes == ("bf16",)


def test_collect_finds_its_database(
    collect: Callable[..., None], rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    x, y = rows(2), column(2)
    with pytest.raises(
        DatabaseError, match="region 'heat' has no database: the environment variable HPAC_DB_FILE is not"
    ):
        collect([x], [y])
    with (
        Frame({"db": 3}),
        pytest.raises(DatabaseError, match="argument 'db' of the region 'heat' is of type int: pass the path"),
    ):
        collect([x], [y], {"argument": "db"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPAC_DB_FILE", "environment.h5")
    collect([x], [y])
    with Frame({"db": tmp_path / "argument.h5"}):
        collect([x], [y], {"argument": "db"})
    with Frame({"db": None}):
        collect([x], [y], {"argument": "db"})
    assert len(read(tmp_path / "environment.h5")["runtime"]) == 2
    assert len(read(tmp_path / "argument.h5")["runtime"]) == 1


# -- check_map ---------------------------------------------------------------------------------------------


def check_map(values: Sequence[int], **site: Any) -> None:
    base = {
        "kind": "map",
        "direction": "to",
        "functor": "f: [i] = ([i - 1])",
        "parameters": [],
        "names": ["t"],
        "targets": [[[1, None, 1]]],
        "arrays": [],
        "sharing": False,
        "text": "f(t[1:N])",
    }
    text = ctypes.create_string_buffer(json.dumps(base | site).encode())
    numbers = (ctypes.c_int64 * len(values))(*values)
    for _ in range(2):
        handlers.check_map(ctypes.addressof(text), ctypes.addressof(numbers), 0)


def test_a_map_that_fits():
    check_map([10, 11])
    check_map([10, -5])


def test_a_map_that_reaches_too_far():
    message = (
        r"in the map 'f\(t\[1:N\]\)': the entry 'i - 1' of .* reaches index 10 in dimension 0 of 't', which has 10"
    )
    with pytest.raises(MapError, match=message):
        check_map([10, 12])


def test_a_map_without_a_text():
    with pytest.raises(MapError, match=r"in the map 'f\(t\[1 : \?\]\)': "):
        check_map([10, 12], text=None)


def test_all_numbers_of_a_map():
    site: dict[str, Any] = {
        "functor": "f: [i, 0:m] = ([i * m : i * m + m, 0], [i * m : i * m + m, k])",
        "parameters": ["k", "m"],
        "names": ["a", "b"],
        "targets": [[[0, None, None], [0]], [[None, 4, 1], [None]]],
        "text": "f(a[0:n:s, 0], b[l:4, j])",
    }
    sizes, holes = [12, 1, 12, 8], [4, 1, 0, 7]
    with pytest.raises(MapError, match=r"the left side declares 3 features, the right side gives 6 \(2 \* m\)"):
        check_map([*sizes, *holes, 7, 3], **site)
    site["functor"] = site["functor"].replace("0:m]", "0:2*m]")
    check_map([*sizes, *holes, 7, 3], **site)
    with pytest.raises(MapError, match=r"reaches index 11 in dimension 0 of 'b', which has 11 elements"):
        check_map([12, 1, 11, 8, *holes, 7, 3], **site)
    with pytest.raises(MapError, match=r"'k' of the slice .* lies outside the range of dimension 1 of 'b' \(7 to 7\)"):
        check_map([*sizes, *holes, 6, 3], **site)


def test_indices_that_were_bad_when_they_were_used_fail_a_map_that_is_right_by_now():
    with pytest.raises(MapError, match=r"in the map 'f\(t\[1:N\]\)': indices were bad .* another thread changes them"):
        check_map([10, 11], indices=True)
    with pytest.raises(MapError, match="reaches index 10"):
        check_map([10, 12], indices=True)


def test_the_direction_matters():
    overlap = {"functor": "f: [i, 0:2] = ([i : i + 2])", "targets": [[[0, None, 1]]], "text": "f(t[0:N])"}
    check_map([11, 10], direction="to", **overlap)
    for direction in ("from", "inout"):
        with pytest.raises(MapError, match=r"must write each element once, but this one writes t\[1\] 2 times"):
            check_map([11, 10], direction=direction, **overlap)


def test_counting_saves_a_map_that_no_rule_shows_to_be_fine():
    interleaved = {"functor": "f: [i, 0:2] = ([2 * i], [2 * i + 1])", "targets": [[[0, None, 1]]]}
    check_map([20, 10], direction="from", **interleaved)
    with pytest.raises(MapError, match="reaches index 20"):
        check_map([20, 11], direction="from", **interleaved)


def test_numbers_beyond_64_bits():
    site: dict[str, Any] = {"functor": "f: [i] = ([m * i])", "parameters": ["m"], "targets": [[[None, 1, 4]]]}
    with pytest.raises(MapError, match=rf"it needs the number {8 << 62}, but indices and sizes have 64 bits"):
        check_map([10, 8, 1 << 62], **site)
    with pytest.raises(MapError, match=rf"reaches index {-8 << 62} in dimension 0"):
        check_map([10, -8, 1 << 62], **site)


# -- bodies, frames and sites ------------------------------------------------------------------------------


def test_bodies_of_the_innermost_frame():
    called: list[str] = []
    with Frame(bodies=[lambda: called.append("outer")]):
        with Frame(bodies=[lambda: called.append("a"), lambda: called.append("b")]):
            handlers.call_body(1)
        handlers.call_body(0)
    assert called == ["b", "outer"]


def test_errors_of_a_body_pass_and_the_frame_is_left():
    with pytest.raises(ZeroDivisionError), Frame(bodies=[lambda: 1 / 0]):
        handlers.call_body(0)
    with pytest.raises(HpacmlError, match="no call is under way"):
        current()


def test_a_site_is_read_again_when_other_code_lies_there():
    sites = Sites(lambda text: text["label"])
    buffer = ctypes.create_string_buffer(b'{"label": "a"}')
    address = ctypes.addressof(buffer)
    assert [sites.at(address), sites.at(address)] == ["a", "a"]
    buffer.value = b'{"label": "b"}'
    assert sites.at(address) == "b"


def test_collecting_does_not_load_torch(tmp_path: Path):
    code = """
import ctypes, json, sys, numpy as np
from hpacml.runtime import handlers
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor
site = {"label": "r", "database": {"path": "d.h5"}, "maps": ["m"],
        "inputs": [{"dtype": "f64", "rank": 1}], "outputs": []}
text = ctypes.create_string_buffer(json.dumps(site).encode())
d = descriptor(array_view(np.zeros(3), "a"))
pointers = (ctypes.c_size_t * 1)(ctypes.addressof(d))
handlers.collect(ctypes.addressof(text), ctypes.addressof(pointers), 1.0)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)
    with hpacml.open_database(tmp_path / "d.h5") as opened:
        assert len(opened["r"]) == 1


def test_what_python_answers_gives_nothing_or_yes_and_no():
    assert {symbol.result for symbol in SYMBOLS.values() if symbol.python} == {"void", "i32"}


def test_front_ends_declare_symbols_as_the_table_does():
    """They know a few by themselves, which the lowering does not declare."""

    @hpacml.kernel
    def zeros(n: int) -> float:
        return np.zeros(n)[0]

    @hpacml.region("""tensor functor(f: [i, 0:1] = ([i]))
        ml(collect) in(f(a[0:n])) out(f(b[0:n])) database("x.h5")""")
    def opaque(a, b, n):
        pass

    modules = [zeros.ir(stage="runtime"), run_passes(opaque.ir(np.zeros(3), np.ones(3), 3))]
    declared = {
        op.sym_name.data: op.function_type
        for module in modules
        for op in module.walk()
        if isinstance(op, func.FuncOp) and op.is_declaration and op.sym_name.data in SYMBOLS
    }
    assert {"hpacml_call_body", "hpacml_refuse_size", "hpacml_collect"} <= declared.keys()
    kinds = {"i64": "i64", "index": "i64", "i32": "i32", "f64": "double", "!llvm.ptr": "ptr"}
    for name, type in declared.items():
        assert [kinds[str(each)] for each in type.inputs] == list(SYMBOLS[name].parameters.values()), name
        assert [kinds[str(each)] for each in type.outputs] == [SYMBOLS[name].result] * (SYMBOLS[name].result != "void")
