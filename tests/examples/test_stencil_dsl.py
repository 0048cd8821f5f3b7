"""The language of stencil programs: its compiler, its errors, and the whole of its command line."""

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import hpacml
from examples.stencil_dsl.__main__ import main
from examples.stencil_dsl.compiler import Simulation, module
from examples.stencil_dsl.reference import gray_scott, spots
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from tests.examples.gpu import assembled
from tests.simulated_gpu import simulated

FOLDER = Path(__file__).parents[2] / "examples" / "stencil_dsl"
PROGRAM = FOLDER / "gray_scott.stencil"
PARAMS = {"feed": 0.04, "kill": 0.06}

ADVECTION = """program advection  # by a wind that differs from point to point
field wind
field c
param dt
upwind = c[-2, 0] - -3 * c[0, 0] / 2
next c = c - dt * wind * upwind
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(text, name="p.stencil"):
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize("mode", ["accurate", "collect"])
@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_results_are_those_of_numpy_to_the_last_bit(mode, steps):
    u, v = np.random.default_rng(0).random((2, 7, 9))
    before = u.copy(), v.copy()
    found = Simulation(PROGRAM)(u, v, steps=steps, mode=mode, **PARAMS)
    for array, expected in zip(found, gray_scott(u, v, steps, **PARAMS), strict=True):
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal((u, v), before)


def test_fields_that_stay_and_neighbours_on_one_side():
    wind, c = np.random.default_rng(1).random((2, 8, 6))
    found = Simulation(written(ADVECTION))(wind, c, steps=3, dt=0.1)
    for _ in range(3):
        new = c.copy()
        new[2:-2] = c[2:-2] - 0.1 * wind[2:-2] * (c[:-4] - -3 * c[2:-2] / 2)
        c = new
    np.testing.assert_array_equal(found, c)


def test_what_is_collected_are_neighbours_and_parameters():
    u, v = spots(8, seed=0)
    Simulation(PROGRAM)(u, v, steps=1, mode="collect", **PARAMS)
    hpacml.flush()
    with hpacml.open_database("gray_scott.h5") as database:
        region = database["gray_scott"]
        x, y = (np.array(each[0])[0] for each in (region.inputs, region.outputs))
        assert region.maps[0].endswith("v[1 : N - 1, 1 : M - 1], v[1 : N - 1, 1 : M - 1], feed, kill)")
    c = slice(1, -1)
    places = [(slice(0, -2), c), (slice(2, None), c), (c, slice(0, -2)), (c, slice(2, None)), (c, c)]
    features = [field[place] for field in (u, v) for place in places]
    np.testing.assert_array_equal(x[..., :10], np.stack(features, -1))
    assert (x[..., 10:] == [0.04, 0.06]).all()
    np.testing.assert_array_equal(y, np.stack(gray_scott(u, v, 1, **PARAMS), -1)[1:-1, 1:-1])


def test_a_model_of_one_size_serves_another():
    net = torch.nn.Linear(12, 2).double()
    Simulation(PROGRAM)(*spots(6, seed=0), steps=1, mode="collect", **PARAMS)
    hpacml.flush()
    with hpacml.open_database("gray_scott.h5") as database:
        maps = database["gray_scott"].maps
    hpacml.save_model(net, "gray_scott.pt2", example=torch.zeros(5, 5, 12, dtype=torch.float64), maps=maps)
    u, v = spots(9, seed=1)
    new_u, _ = Simulation(PROGRAM)(u, v, steps=1, mode="infer", **PARAMS)
    around = [u[:-2, 1:-1], u[2:, 1:-1], u[1:-1, :-2], u[1:-1, 2:], u[1:-1, 1:-1]]
    around += [v[:-2, 1:-1], v[2:, 1:-1], v[1:-1, :-2], v[1:-1, 2:], v[1:-1, 1:-1]]
    x = np.stack([*around, np.full((7, 7), 0.04), np.full((7, 7), 0.06)], -1)
    np.testing.assert_allclose(new_u[1:-1, 1:-1], net(torch.tensor(x)).detach().numpy()[..., 0], rtol=1e-12)
    np.testing.assert_array_equal(new_u[0], u[0])


def test_a_gpu_computes_the_same_bits(monkeypatch):
    u, v = spots(9, seed=3)
    with simulated(monkeypatch) as (device,):
        on_gpu = Simulation(PROGRAM, target="gpu")
        for mode in ("accurate", "collect"):
            found = on_gpu(u, v, steps=3, mode=mode, **PARAMS)
            np.testing.assert_array_equal(found, gray_scott(u, v, 3, **PARAMS))
        hpacml.flush()
        assert any("loop" in name for name in device.launched)
        assert any("gather" in name for name in device.launched)
    with hpacml.open_database("gray_scott.h5") as database:
        assert len(database["gray_scott"]) == 3


def test_its_code_for_gpus_is_assembled(tmp_path):
    names = assembled(Simulation(PROGRAM).compiled((64, 64)), tmp_path)
    assert {name.split("_")[2] for name in names} >= {"loop", "gather", "scatter"}


def test_it_is_a_function_of_a_library_too():
    if shutil.which("cc") is None:
        pytest.skip("cc, a compiler of C, is not on PATH")
    hpacml.build(module(Simulation(PROGRAM).program, (7, 9)), "libgray_scott.so", header="gray_scott.h")
    assert "double *next_v" in Path("gray_scott.h").read_text()
    function = ctypes.CDLL("./libgray_scott.so").gray_scott
    u, v = np.random.default_rng(0).random((2, 7, 9))
    arrays = [u.copy(), v.copy(), u.copy(), v.copy()]
    sizes = (ctypes.c_int64 * 2)(7, 9)
    given = [each for array in arrays for each in (ctypes.c_void_p(array.ctypes.data), sizes, None)]
    params = [ctypes.c_double(PARAMS[name]) for name in ("feed", "kill")]
    assert function(*given, *params, ctypes.c_int64(3), ctypes.c_bool(False), ctypes.c_bool(False)) == 0
    np.testing.assert_array_equal(arrays[2:], gray_scott(u, v, 3, **PARAMS))


def test_its_maps_are_those_that_its_code_tells(monkeypatch):
    """`hpacml-infer-maps` finds in the lowered loops what the compiler took from the program."""

    def elements(stage):
        made = Simulation(PROGRAM).compiled((8, 8)).ir(stage)
        functors = {op.sym_name.data: op for op in made.walk() if isinstance(op, FunctorOp)}
        found = set()
        for op in made.walk():
            if isinstance(op, MapOp):
                slices = functors[op.functor.root_reference.data].rhs
                arrays = [op.arrays[number].name_hint for number in op.holding_elements]
                found |= {(a, "" if a in PARAMS else str(s)) for a, s in zip(arrays, slices, strict=True)}
        return found

    def region(build, program, values, new, params, reach, active, infer):
        return build.ml_region("predicated", program.name, condition=infer, if_condition=active)

    taken = elements(None)
    assert len(taken) == 14
    monkeypatch.setattr("examples.stencil_dsl.surrogate.region", region)
    assert not elements(None)
    assert elements("maps") == taken


def test_operations_come_from_the_program():
    program = Simulation(PROGRAM).program
    lines = PROGRAM.read_text().splitlines()
    places = {str(op.location) for op in module(program, (5, 5)).walk() if op.name == "arith.mulf"}
    eaten = next(number for number, text in enumerate(lines, 1) if text.startswith("eaten"))
    assert f'loc("{PROGRAM}":{eaten}:9)' in places


WRONG = {
    "field": "1:1: expected program, field or param and a name, name = ..., or next name = ..., in ASCII",
    "program p\nfield u\nnext u = w": "3:10: there is no 'w'\n  next u = w\n           ^",
    "program p\nfield temp\nnext temp = tmp": "3:13: there is no 'tmp'; did you mean 'temp'?",
    "program p\nfield u\n  next u = u[-1,0]+2*u[1]": "3:22: a neighbour is two whole numbers away, as in u[-1, 0]\n    next u = u[-1,0]+2*u[1]\n                       ^^^^",
    "program p\nfield u\nnext u = u[0.5, 0]": "3:10: a neighbour is two whole",
    "program p\nfield u\nnext u = u[n, 0]": "3:10: a neighbour is two whole",
    "program p\nfield u\nparam k\nnext u = k[0, 1]": "4:10: there is no field 'k'",
    "program p\nfield u\nu = 2": "3:1: 'u' is a field: write next u = ...",
    "program p\nfield u\nnext v = u": "3:1: 'v' is no field",
    "program p\nfield u\nnext u = u\nnext u = 2": "4:1: 'u' has a value already",
    "program p\nfield u\na = 1\na = 2": "4:1: 'a' has a value already",
    "program p\nfield u\nfield u": "3:1: 'u' is taken",
    "program p\nparam steps": "2:1: 'steps' is taken",
    "program p\nprogram q": "2:1: the program has a name already",
    "program p\nfield u\nnext u = u ** 2": "3:10: 'u ** 2' is none of + - * /, numbers, names, and fields",
    "program p\nfield u\nnext u = sin(u)": "3:10: 'sin(u)' is none of",
    "program p\nfield u\nnext u = True * u": "3:10: 'True' is none of",
    "program p\nfield u\nnext u = 1e999 * u": "3:10: '1e309' is none of",
    "program p\nfield u\nnext u = 2 * (u": "3:14: '(' was never closed\n  next u = 2 * (u\n               ^",
    "program p\nfield ü": "2:1: expected program",
    "program p\nfield u": "2:1: the program lacks next u = ...",
    "field u\nnext u = u": "2:1: the program lacks program name",
    "program p\nfield u\nnext u = 1": "3:1: the program lacks fields",
    "": "1:1: the program lacks program name",
}


@pytest.mark.parametrize("text", WRONG)
def test_errors_tell_file_line_and_column(text):
    with pytest.raises(hpacml.HpacmlError) as error:
        Simulation(written(text))
    assert str(error.value).startswith(f"p.stencil:{WRONG[text]}")


def test_grids_that_are_too_small():
    simulate = Simulation(written(ADVECTION))
    with pytest.raises(hpacml.HpacmlError) as error:
        simulate(*np.zeros((2, 4, 6)), steps=1, dt=0.1)
    assert str(error.value) == (
        "p.stencil:5:10: no point of 4 x 6 has such a neighbour on all sides\n"
        "  upwind = c[-2, 0] - -3 * c[0, 0] / 2\n"
        "           ^^^^^^^^"
    )


def test_wrong_calls():
    simulate = Simulation(PROGRAM)
    u, v = spots(8, seed=0)
    for arguments, wrong in [((u,), {}), ((u, v), {"fed": 1}), ((u, v), {"mode": "train"}), ((u[0], v[0]), {})]:
        with pytest.raises(TypeError, match="gray_scott takes arrays with 2 dimensions"):
            simulate(*arguments, steps=1, **{**PARAMS, **wrong})
    with pytest.raises(hpacml.MapError, match=r"has the shape|dimension 0 of argument"):
        simulate(u, v[:4], steps=1, **PARAMS)
    with pytest.raises(hpacml.MapError, match="float32"):
        simulate(u, v.astype(np.float32), steps=1, **PARAMS)
    with pytest.raises(hpacml.ModelError, match=r"gray_scott\.pt2"):
        simulate(u, v, steps=1, mode="infer", **PARAMS)


def test_the_compiler_is_small_and_its_glue_is_smaller():
    texts = {name: (FOLDER / f"{name}.py").read_text() for name in ("language", "compiler", "surrogate")}
    assert sum(text.count("\n") for text in texts.values()) < 250
    assert sum(bool(line.strip()) for line in texts["surrogate"].splitlines()) <= 15
    glue = "map_to", "map_from", "ml_region", "functor"
    assert not any(word in texts[name] for word in glue for name in ("language", "compiler"))


@pytest.mark.slow
def test_collects_trains_and_compares(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    app = typer.Typer()
    app.command()(main)
    arguments = ["--size", "24", "--steps", "12", "--runs", "4", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "accurate steps equal those of NumPy to the last bit" in result.output
    start = spots(24, seed=100)
    monkeypatch.chdir(tmp_path)
    simulate = Simulation(PROGRAM)
    accurate, surrogate = (simulate(*start, steps=1, mode=mode, **PARAMS) for mode in ("accurate", "infer"))
    error, change = (max(abs(a - b).max() for a, b in zip(accurate, each, strict=True)) for each in (surrogate, start))
    assert 0 < error < 0.3 * change


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    pytest.importorskip("marimo", reason="marimo is not installed: pip install 'hpacml[dev]'")
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    from examples.stencil_dsl.notebook import app

    _, defined = app.run()
    assert defined["equals_numpy"]
    assert "hpacml.ml predicated" in defined["bridge"]
    assert "wrong.stencil:8:23: there is no field 'w'" in defined["message"]
    (_, accurate), (_, surrogate), (_, start) = (defined[name] for name in ("accurate", "surrogate", "start"))
    assert 0 < abs(surrogate - accurate).max() < abs(start - accurate).max()
