"""MiniWeather: against the original program, and against its formulas in plain NumPy for all cases and variants."""

import csv
import json
import math

import numpy as np
import pytest
import torch

import hpacml
from examples.experiment import Setup
from examples.miniweather import app, experiment, interleaving, model
from tests.examples.gpu import assembled, on_gpu
from tests.examples.references import oracle

CASES = "collision", "thermal", "mountain", "density_current", "injection"


def test_states_and_background_are_those_of_the_original_program():
    expected = oracle("miniweather_collision_64x32.npz")
    simulation = app.Simulation(64, 32)
    for name in ("hy_dens_cell", "hy_dens_theta_cell", "hy_dens_int", "hy_dens_theta_int", "hy_pressure_int"):
        np.testing.assert_allclose(getattr(simulation, name), expected[f"bg_{name}"], rtol=1e-13)
    for steps in range(11):
        if f"state_{steps}" in expected:
            np.testing.assert_allclose(simulation.state, expected[f"state_{steps}"], rtol=0, atol=1e-12)
        simulation.step()


@pytest.mark.parametrize("variant", ["sc24", "official", "integer"])
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_formulas(case, variant):
    arguments = ("sc24", True) if variant == "integer" else (variant,)
    simulation = app.Simulation(48, 24, case, *arguments)
    assert math.modf(simulation.grid.dx)[0] == 0 if variant == "integer" else simulation.grid.dx == 2e4 / 48
    expected = simulation.state.copy()
    for steps in (1, 2):
        for n in range(3 * (steps - 1), 3 * steps):
            step(expected, simulation, case, variant, n)
        simulation.step(3)
        np.testing.assert_allclose(simulation.state, expected, rtol=0, atol=1e-12)


def step(state, simulation, case, variant, number):
    """One step in place, after the description of the program."""
    nz, nx = (size - 4 for size in state.shape[1:])
    dt = min(2e4 / nx, 1e4 / nz) / 450 * 1.5
    density, heat = simulation.hy_dens_cell, simulation.hy_dens_theta_cell
    faces = simulation.hy_dens_int, simulation.hy_dens_theta_int, simulation.hy_pressure_int
    for direction in ("xz", "zx")[number % 2]:
        now = state
        for part in (3, 2, 1):
            size = {"x": 2e4 / nx, "z": 1e4 / nz}[direction]
            hv = -(0.05 if variant == "official" else 0.25) * size
            hv /= 16 * (dt / part if variant == "official" else dt)
            if direction == "x":
                halos_x(now, density, heat, case)
                s, background = now[:, 2:-2], (density[2:-2, None], heat[2:-2, None], 0)
                stencil = [s[:, :, i : i + nx + 1] for i in range(4)]
            else:
                halos_z(now, density, case, variant)
                background = [each[:, None] for each in faces]
                stencil = [now[:, k : k + nz + 1, 2:-2] for k in range(4)]
            flux = fluxes(stencil, background, direction, hv)
            size = int(size) if variant == "integer" else size
            tendency = -np.diff(flux, axis=2 if direction == "x" else 1) / size
            if direction == "z":
                tendency[2] -= now[0, 2:-2, 2:-2] * 9.8
            out = state if part == 1 else state.copy()
            out[:, 2:-2, 2:-2] = state[:, 2:-2, 2:-2] + dt / part * tendency
            now = out


def halos_x(s, density, heat, case):
    inner = s[:, 2:-2]
    inner[:, :, [0, 1, -2, -1]] = inner[:, :, [-4, -3, 2, 3]]
    for k in range(s.shape[1] - 4):
        if case == "injection" and abs((k + 0.5) * 1e4 / (s.shape[1] - 4) - 7500) <= 625:
            for i in (0, 1):
                s[1, k + 2, i] = (s[0, k + 2, i] + density[k + 2]) * 50
                s[3, k + 2, i] = (s[0, k + 2, i] + density[k + 2]) * 298 - heat[k + 2]


def halos_z(s, density, case, variant):
    for halo, edge in ((0, 2), (1, 2), (-2, -3), (-1, -3)):
        s[[0, 1, 3], halo] = s[[0, 1, 3], edge]
        s[2, halo] = 0
        if variant == "official":
            s[1, halo] *= density[halo] / density[edge]
    for i in range(s.shape[2]):
        dx = 2e4 / (s.shape[2] - 4)
        x = (i - 1.5) * dx
        if case == "mountain" and abs(x - 5000) < 2500:
            a = math.pi * (x - 5000) / 2500
            s[2, :2, i] = -math.pi * math.cos(a / 2) * math.sin(a / 2) * 10 / dx * s[1, 2, i]


def fluxes(stencil, background, direction, hv):
    s0, s1, s2, s3 = stencil
    v, third = -s0 / 12 + 7 * s1 / 12 + 7 * s2 / 12 - s3 / 12, -s0 + 3 * s1 - 3 * s2 + s3
    rho = v[0] + background[0]
    u, w, theta = v[1] / rho, v[2] / rho, (v[3] + background[1]) / rho
    p = app.C0 * (rho * theta) ** app.GAMMA - background[2]
    if direction == "z":
        w[[0, -1]] = third[0, [0, -1]] = 0
        return np.stack([rho * w, rho * w * u, rho * w * w + p, rho * w * theta]) - hv * third
    return np.stack([rho * u, rho * u * u + p, rho * u * w, rho * u * theta]) - hv * third


def test_mass_is_conserved():
    simulation = app.Simulation(40, 20)
    before = mass(simulation)
    simulation.step(100)
    assert abs(mass(simulation) / before - 1) < 1e-12


def mass(simulation):
    return math.fsum((simulation.state[0] + simulation.hy_dens_cell[:, None])[2:-2, 2:-2].ravel())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'turbulence'; there are 'collision', 'thermal'"):
        app.Simulation(8, 4, "turbulence")
    with pytest.raises(ValueError, match="'new'; there are 'sc24' and 'official'"):
        app.Simulation(8, 4, variant="new")
    with pytest.raises(ValueError, match="there are -1 steps to take"):
        app.Simulation(8, 4).step(-1)
    with pytest.raises(ValueError, match="there are -4 x 10 cells"):
        app.Simulation(-4, 10)
    with pytest.raises(ValueError, match="the pattern 0:0 has no steps"):
        app.Simulation(8, 4).step(model=halved, pattern=(0, 0))


def halved(state):
    """A model that nobody takes for the program."""
    return state * 0.5


@pytest.mark.parametrize(("original", "surrogate"), [(0, 1), (1, 1), (2, 1), (1, 3), (1, 0)])
def test_steps_of_program_and_model_take_turns(original, surrogate):
    inside, outside, by_hand = (app.Simulation(16, 8) for _ in range(3))
    inside.step(4, halved, pattern=(original, surrogate))
    inside.step(3, halved, pattern=[original, surrogate])
    outside.step(7, halved, pattern=(original, surrogate), advance=app.advance_outside)
    for n in range(7):
        by_hand.step(model=halved if n % (original + surrogate) >= original else None)
    assert abs(by_hand.state[3]).max() > 1e-3
    np.testing.assert_array_equal(inside.state, by_hand.state)
    np.testing.assert_array_equal(outside.state, by_hand.state)


def test_another_pattern_begins_anew():
    simulation, by_hand = app.Simulation(16, 8), app.Simulation(16, 8)
    for pattern, models in (((2, 1), [0, 0]), ((1, 1), [0]), ((2, 1), [0, 0, 1, 0]), ((0, 1), [1]), ((2, 1), [0])):
        for by_model in models:
            simulation.step(model=halved, pattern=pattern)
            by_hand.step(model=halved if by_model else None)
    np.testing.assert_array_equal(simulation.state, by_hand.state)


def test_the_time_loop_is_inside_of_the_kernel_or_outside(tmp_path):
    recorded = []
    for name, advance in (("inside", app.advance), ("outside", app.advance_outside)):
        simulation, file = app.Simulation(16, 8), tmp_path / f"{name}.h5"
        simulation.step(5, database=str(file), advance=advance)
        hpacml.flush()
        with hpacml.open_database(file) as data:
            recorded.append([each.numpy() for each in data["miniweather"].dataset(rows="calls")[:]])
        np.testing.assert_array_equal(recorded[-1][1][-1], simulation.state)
    for inside, outside in zip(*recorded, strict=True):
        assert inside.shape == (5, 4, 12, 20)
        np.testing.assert_array_equal(inside, outside)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["sc24", "official"])
@pytest.mark.parametrize("case", ["mountain", "injection"])
def test_whole_fields_are_what_rows_are(case, variant):
    rows, fields = (app.Simulation(20, 10, case, variant, place=place) for place in (None, np.copy))
    for each in (rows, fields):
        each.step(4)
    np.testing.assert_array_equal(fields.state, rows.state)


# -- networks ----------------------------------------------------------------------------------------


def test_the_network_is_that_of_the_original_program():
    values = oracle("net_miniweather_k3_c4_k3_bn0.npz")
    network = model.build(json.loads(str(values["config"])))
    weights = {name[2:]: torch.from_numpy(value) for name, value in values.items() if name.startswith("w:")}
    network.load_state_dict(weights, strict=True)
    found = network(torch.from_numpy(values["x"])).numpy()
    np.testing.assert_allclose(found, values["y"], rtol=0, atol=1e-4 * np.ptp(values["y"]))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # of Torch
@pytest.mark.parametrize("normalised", [0, 1])
@pytest.mark.parametrize(("first", "channels", "second"), [(3, 4, 0), (4, 6, 0), (2, 6, 4), (8, 5, 6)])
def test_networks_of_the_paper_keep_the_size_of_fields(first, channels, second, normalised):
    sizes = {"conv1_kernel_size": first, "conv1_out_channels": channels, "conv2_kernel_size": second}
    network = model.build({**sizes, "batchnorm": normalised, "dropout": 0.5, "structure": "..."})
    assert network.conv1.out_channels == (channels if second else 4)
    assert hasattr(network, "conv2") == bool(second)
    assert sum(isinstance(each, torch.nn.BatchNorm2d) for each in network.fp) == normalised * (2 if second else 1)
    x = torch.randn(2, 4, 9, 11)
    assert network(x).shape == x.shape
    assert torch.equal(network(x), network(x))


def test_what_is_no_network_is_refused():
    with pytest.raises(hpacml.ModelError, match=r"'kernel'.*it has conv1_kernel_size, conv1_out_channels"):
        model.build({"kernel": 3})
    with pytest.raises(hpacml.ModelError, match="has no 'residual'"):
        model.build({"residual": True})
    with pytest.raises(hpacml.ModelError, match="conv1_stride: it is an integer from 1 to 1, not 2"):
        model.build({"conv1_stride": 2})
    with pytest.raises(hpacml.ModelError, match=r"'depth'.*dropout, residual"):
        model.network({"depth": 3}, [(4, 9, 11)], [(4, 9, 11)])


def test_a_residual_network_gives_the_state_and_a_change_within_bounds():
    network = model.network({"residual": True}, [(4, 9, 11)], [(4, 9, 11)]).eval()
    x = torch.randn(2, 4, 9, 11)
    x[0, 0, 0, 0] = 1e6
    y = network(x)
    assert 0 < (y - x)[1].abs().max() < 1
    assert y.max() == model.BOUNDS[1]


# -- the experiment ----------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A reduced experiment, with models that are hardly trained."""
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    monkeypatch.setitem(experiment.SIZES, "small", experiment.Size(24, 12, training=16, validation=3, test=3, run=12))
    setup, database, made = Setup(), tmp_path / "weather.h5", experiment.EXPERIMENT
    made.collect(setup, database)
    models = {}
    for name in [*made.networks][-2:]:
        settings = made.settings(setup) | {"network": made.networks[name], "epochs": 2, "pictures": False, "threads": 1}
        models[name] = hpacml.train(database, model=made.factory, config=settings, out=tmp_path / f"{name}.pt2").path
    return setup, database, models


@pytest.mark.slow
def test_collects_trains_and_runs(small, tmp_path):
    setup, database, models = small
    run, baselines = experiment.program(setup), experiment.baselines(setup, database)
    by_hand = app.Simulation(24, 12)
    by_hand.step(22)
    still = by_hand.state.copy()
    by_hand.step()
    for _ in range(2):
        np.testing.assert_array_equal(run(), by_hand.state)
    np.testing.assert_array_equal(baselines["persistence"](), still)
    for path in models.values():
        state = run(model=str(path))
        assert 0 < interleaving.rmse(state, by_hand.state) < np.inf
        np.testing.assert_array_equal(run(model=str(path)), state)
    run(database=str(tmp_path / "run.h5"))
    hpacml.flush()
    with hpacml.open_database(tmp_path / "run.h5") as data:
        assert len(data["miniweather"]) == 12

    files = experiment.EXPERIMENT.figures(setup, tmp_path / "figures", models)
    assert {file.name for file in files} == {
        "figure9.json",
        *(
            f"{name}.{end}"
            for name in ("fields", "interleaving", "relative_error", "patterns")
            for end in ("csv", "png")
        ),
    }
    told = json.loads((tmp_path / "figures" / "figure9.json").read_text())
    assert told["rmse after a step"].keys() == {*models, "persistence"}
    assert told["model"] == min(models, key=told["rmse after a step"].get)
    assert all(told["finite"].values())
    rows = {}
    for file in files:
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG")
        elif file.suffix == ".csv":
            rows[file.stem] = list(csv.DictReader(file.read_text().splitlines()))
            assert all(math.isfinite(float(x)) for row in rows[file.stem] for n, x in row.items() if n != "pattern")
    assert [len(rows[name]) for name in ("fields", "interleaving", "relative_error")] == [16 * 28, 12, 1001]
    assert [row["pattern"] for row in rows["patterns"]] == [*interleaving.PATTERNS]
    curves = rows["interleaving"]
    assert {"persistence", *interleaving.PATTERNS} < curves[0].keys()
    assert float(curves[0]["1:1"]) == 0 < float(curves[1]["1:1"])
    assert float(curves[0]["0:1"]) == pytest.approx(told["rmse after a step"][told["model"]], rel=1e-5)
    assert float(curves[-1]["1:1"]) == pytest.approx(told["rmse after 12 steps"]["1:1"], rel=1e-5)


@pytest.mark.slow
def test_a_gpu_steps_as_the_cpu_does(monkeypatch):
    expected, placed = app.Simulation(8, 6, "injection"), []
    expected.step(2)
    with on_gpu(monkeypatch) as machine:

        def there(array):
            placed.append(array)
            return machine.there(array)

        app.Simulation(8, 6, "injection", place=there).step(2)
    np.testing.assert_allclose(placed[-1], expected.state, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_code_for_gpus_is_assembled(tmp_path):
    assembled(app.step, tmp_path, sweep=app.FIELDS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    setup = Setup(device="cuda")
    for part in (experiment.program, lambda setup: experiment.collect(setup, tmp_path / "weather.h5")):
        with pytest.raises(hpacml.DeviceError, match=r"the device is 'cuda'.*choose 'cpu'"):
            part(setup)
