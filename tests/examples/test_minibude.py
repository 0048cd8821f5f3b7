"""MiniBUDE: against the original program, and against its formulas in plain NumPy where its molecules have no such atoms."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml
from examples.experiment import Setup
from examples.minibude import app, experiment, model
from tests.examples.references import SHARED, oracle


def test_energies_are_those_of_the_original_program():
    expected = oracle("minibude_bm1.npz")
    deck = app.Deck(
        *(
            app.Atoms(*expected[f"bm1_{name}_xyz"].T.copy(), expected[f"bm1_{name}_type"])
            for name in ("ligand", "protein")
        ),
        app.ForceField(*(expected[f"bm1_ff_{name}"] for name in ("hbtype", "radius", "hphb", "elsc"))),
        expected["bm1_poses"],
    )
    energies = app.accurate(deck, deck.poses)
    assert energies.dtype == np.float32
    for name in ("ref_file", "f32_c", "f64"):
        close(energies, expected[f"bm1_energy_{name}"])


@pytest.mark.parametrize("name", ["bm1", "bm2"])
def test_decks_are_read(name):
    folder = SHARED / "data" / "minibude" / name
    if not folder.exists():
        pytest.skip(f"the deck {folder} is not here")
    deck, energies = app.load_deck(folder), np.loadtxt(folder / "ref_energies.out")
    close(app.accurate(deck, deck.poses[:, 65_500:].copy()), energies[65_500:])


def test_decks_with_unknown_types_are_refused(tmp_path):
    deck = app.synthetic_deck(2, 2, poses=1)
    for name, fields, dtype in (
        ("ligand", deck.ligand, app._ATOM),
        ("protein", deck.protein._replace(type=np.array([0, 6], np.int32)), app._ATOM),
        ("forcefield", deck.forces, app._FORCE),
    ):
        np.rec.fromarrays(fields, dtype).tofile(tmp_path / f"{name}.in")
    deck.poses.tofile(tmp_path / "poses.in")
    with pytest.raises(ValueError, match="a type that its force field, with 6 types, does not have"):
        app.load_deck(tmp_path)
    np.rec.fromarrays(deck.protein, app._ATOM).tofile(tmp_path / "protein.in")
    for read, made in zip(app.load_deck(tmp_path), deck, strict=True):
        for field, expected in zip(read, made, strict=True):
            np.testing.assert_array_equal(field, expected)
    for name, content, message in (
        ("ligand.in", b"", "ligand.in has 0 bytes"),
        (
            "protein.in",
            (tmp_path / "protein.in").read_bytes()[:-6],
            "protein.in has 26 bytes, which are no multiple of 16",
        ),
        ("poses.in", np.array([np.nan] * 6, "<f4").tobytes(), "numbers that is not finite"),
    ):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            app.load_deck(tmp_path)
        (tmp_path / name).write_bytes(whole)


def test_molecules_whose_arrays_do_not_belong_together_are_refused():
    deck = app.synthetic_deck(5, 5, poses=2)
    shorter = deck._replace(protein=deck.protein._replace(type=deck.protein.type[:3].copy()))
    with pytest.raises(ValueError, match=r"the protein has arrays of different lengths: .*'type': 3"):
        app.accurate(shorter, deck.poses)
    unknown = deck._replace(ligand=deck.ligand._replace(type=deck.ligand.type + np.int32(9)))
    with pytest.raises(ValueError, match="an atom of the ligand has a type that its force field, with 6 types"):
        app.accurate(unknown, deck.poses)
    with pytest.raises(ValueError, match="no multiple of ni=0"):
        app.energies(deck, deck.poses, ni=0)


@pytest.mark.parametrize("poses", [1, 63, 130])
def test_energies_are_those_of_the_formulas(poses):
    deck = app.synthetic_deck(40, 50, poses)
    forces = deck.forces._replace(hydrophobicity=np.array([-0.15, 0.0, 0.437, -0.121, 0.064, 0.336], np.float32))
    deck = deck._replace(forces=forces)
    close(app.accurate(deck, deck.poses), formulas(deck))
    np.testing.assert_array_equal(app.energies(deck, deck.poses, block=7), app.accurate(deck, deck.poses))


def close(energies, expected):
    np.testing.assert_array_less(abs(energies - expected) / np.maximum(1, abs(expected)), 1e-4)


def formulas(deck):
    """The energies of a deck in float64, after the description of the program."""
    tilt, roll, pan, *shift = deck.poses.astype(float)
    zero, one = np.zeros_like(tilt), np.ones_like(tilt)
    turns = [
        [[np.cos(pan), -np.sin(pan), zero], [np.sin(pan), np.cos(pan), zero], [zero, zero, one]],
        [[np.cos(roll), zero, np.sin(roll)], [zero, one, zero], [-np.sin(roll), zero, np.cos(roll)]],
        [[one, zero, zero], [zero, np.cos(tilt), -np.sin(tilt)], [zero, np.sin(tilt), np.cos(tilt)]],
    ]
    ligand, protein = (np.stack(molecule[:3]).astype(float) for molecule in (deck.ligand, deck.protein))
    moved = np.einsum("ijp,jkp,klp,la->pia", *(np.array(turn) for turn in turns), ligand) + np.array(shift).T[..., None]
    distance = np.linalg.norm(moved[..., None] - protein[:, None], axis=1)
    a, b = (
        {name: field[molecule.type] for name, field in deck.forces._asdict().items()}
        for molecule in (deck.ligand, deck.protein)
    )
    a = {name: field[:, None] for name, field in a.items()}
    radii = a["radius"] + b["radius"]
    gap = distance - radii
    inside = gap < 0
    steric = np.where(inside, (1 - distance / radii) * 76, 0)
    charged = (a["kind"] == 70) & (b["kind"] == 70)
    charge = a["charge"] * b["charge"] * np.where(inside, 1, 1 - gap * np.where(charged, 0.25, 0.5))
    charge *= gap < np.where(charged, 4, 2)
    charge = np.where((a["kind"] == 69) | (b["kind"] == 69), -abs(charge), charge)
    ha, hb = a["hydrophobicity"], b["hydrophobicity"]
    flipped = np.where((hb < 0) & (ha > 0), -hb, hb) + np.where((hb > 0) & (ha < 0), -ha, ha)
    reach = np.select([(ha < 0) & (hb < 0), (ha < 0) ^ (hb < 0)], [5.5, 1.0], -np.inf)
    hydrophobic = np.where((gap < reach) & (hb != 0), flipped * np.where(inside, 1, 1 - gap / reach), 0)
    return 0.5 * (steric + 45 * charge + hydrophobic).sum((1, 2))


def test_regions_see_the_poses_as_the_model_does(tmp_path):
    deck = app.synthetic_deck(5, 5, poses=8)
    energies = app.energies(deck, deck.poses, ni=4, database=str(tmp_path / "poses.h5"))
    hpacml.flush()
    with hpacml.open_database(tmp_path / "poses.h5") as data:
        x, y = data["minibude"].dataset(rows="points")[:]
    np.testing.assert_array_equal(x, deck.poses.reshape(6, 2, 4).transpose(1, 0, 2).reshape(2, 24))
    np.testing.assert_array_equal(y, energies.reshape(2, 4))
    with pytest.raises(ValueError, match="8 poses are no multiple of ni=3"):
        app.energies(deck, deck.poses, ni=3)


def test_poses_are_distinct_and_on_the_grid():
    poses = app.random_poses(1000)
    assert poses.dtype == np.float32
    assert len(np.unique(poses, axis=1).T) == 1000
    degrees = np.degrees(poses[:3].astype(float)) / 10
    np.testing.assert_allclose(degrees, np.rint(degrees), atol=1e-5)
    assert (degrees.min(), degrees.max()) == pytest.approx((-17, 18))
    assert (poses[3:].min(), poses[3:].max()) == (-7, 7)


@pytest.mark.parametrize(
    ("layers", "features", "factor", "parameters"),
    [(3, 64, 0.5, 2_627), (4, 256, 0.5, 43_396), (12, 64, 0.1, 859), (12, 4096, 0.8, 36_882_451), (2, 64, 0.5, 514)],
)
def test_networks_have_the_sizes_of_the_papers(layers, features, factor, parameters):
    config = {"num_hidden_layers": layers, "hidden_1_features": features, "feature_multiplier": factor}
    with torch.device("meta"):
        net = model.build({**config, "multiplier": 1, "trainable_params": parameters})
        trained = model.network(config, [(6,)], [(1,)])
    for each in (net, trained):
        assert sum(weights.numel() for weights in each.parameters()) == parameters


def test_the_network_of_the_paper_is_that_of_its_description():
    net = model.build({"num_hidden_layers": 4, "hidden1_features": 8, "feature_multiplier": 0.5, "multiplier": 3})
    rng = np.random.default_rng(0)
    state = {
        name: np.int64(1) if value.ndim == 0 else rng.uniform(0.5, 2, value.shape) * rng.choice([-1, 1], value.shape)
        for name, value in net.state_dict().items()
    }
    state = {name: abs(each) if "running_var" in name else each for name, each in state.items()}
    widths = [state[name].shape for name in state if name.endswith("weight") and state[name].ndim == 2]
    assert widths == [(8, 18), (4, 8), (3, 4)]  # a layer of 2 has fewer features than the output, and is left out
    net.load_state_dict({name: torch.from_numpy(np.asarray(each)) for name, each in state.items()})
    x = rng.normal(size=(5, 18))
    y = (x - state["ipt_mean"]) / state["ipt_std"]

    def linear(y, name):
        return y @ state[f"layers.{name}.weight"].T + state[f"layers.{name}.bias"]

    y = linear(y, 0)
    y = np.where(y < 0, state["layers.1.weight"] * y, y)
    y = linear(y, 3)
    y = (y - state["layers.4.running_mean"]) / np.sqrt(state["layers.4.running_var"] + 1e-5)
    y = y * state["layers.4.weight"] + state["layers.4.bias"]
    y = np.where(y < 0, state["layers.5.weight"] * y, y)
    y = linear(y, 7) * state["opt_std"] + state["opt_mean"]
    np.testing.assert_allclose(net(torch.from_numpy(x)), y, rtol=0, atol=1e-4 * np.ptp(y))


def test_configurations_that_are_none_are_refused():
    with pytest.raises(hpacml.ModelError, match="has no 'hidden2': it has num_hidden_layers, hidden1_features, "):
        model.build({"hidden2": 5})
    with pytest.raises(hpacml.ModelError, match="has multiplier = 4, and the data has rows of 1 poses"):
        model.network({"multiplier": 4}, [(6,)], [(1,)])


def test_the_experiment_from_data_to_energies_by_a_model(tmp_path, monkeypatch):
    size = experiment.Size(training=600, first=600, poses=40, fewest=10, pairs=60 * 60 * 20, atoms=60)
    monkeypatch.setitem(experiment.SIZES, "small", size)
    setup, this, data = Setup(), experiment.EXPERIMENT, tmp_path / "data.h5"
    this.collect(setup, data)
    settings = {**this.settings(setup), "epochs": 2, "network": this.networks["6-64-32-1"], "pictures": False}
    trained = hpacml.train(data, model=this.factory, config=settings, out=tmp_path / "net.pt2", quiet=True)
    run = this.program(setup)
    accurate, found = run(), run(model=str(trained.path))
    deck = app.synthetic_deck(60, 60, 640, density=experiment.DENSITY)
    expected = app.accurate(deck, deck.poses[:, 600:620].copy())  # as many as have 72,000 pairs of atoms
    np.testing.assert_array_equal(accurate, expected)
    assert found.shape == (20,)
    assert np.ptp(found) > 0
    simple = {name: call() for name, call in this.baselines(setup, data).items()}
    assert list(simple) == ["median", "mean", "every 4th atom"]
    known = app.accurate(deck, deck.poses[:, :600].copy())
    assert simple["median"] == pytest.approx(np.full(20, np.median(known)))
    assert simple["mean"] == pytest.approx(np.full(20, known.mean()), rel=1e-5)
    assert np.corrcoef(simple["every 4th atom"], accurate)[0, 1] > 0.5
    pictures = this.figures(setup, tmp_path, {"net": trained.path})
    assert [each.read_bytes()[:4] for each in pictures] == [b"\x89PNG"]


def test_decks_with_few_poses_get_others(tmp_path, monkeypatch):
    deck = app.synthetic_deck(3, 3, poses=70)
    monkeypatch.setattr(app, "load_deck", lambda folder: deck)
    sizes = {poses: experiment.Size(training=50, first=50, poses=poses, fewest=1, pairs=1e9) for poses in (20, 30)}
    for poses, size in sizes.items():
        monkeypatch.setitem(experiment.SIZES, "small", size)
        found = experiment.deck_of(Setup(deck=tmp_path))
        assert found.poses.shape[1] == {20: 70, 30: 80}[poses]
        assert found.ligand is deck.ligand


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(hpacml.DeviceError, match=r"the device is 'cuda', and .*: choose 'cpu', or install a Torch"):
        experiment.EXPERIMENT.program(Setup(device="cuda"))
    with pytest.raises(hpacml.DeviceError, match="the device is 'cuda'"):
        experiment.EXPERIMENT.collect(Setup(device="cuda"), Path("never.h5"))
