"""MiniBUDE: against the original program, and against its formulas in plain NumPy where its molecules have no such atoms."""

import numpy as np
import pytest

import hpacml
from examples.minibude import app
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


@pytest.mark.parametrize("poses", [1, 63, 130])
def test_energies_are_those_of_the_formulas(poses):
    deck = app.synthetic_deck(40, 50, poses)
    forces = deck.forces._replace(hydrophobicity=np.array([-0.15, 0.0, 0.437, -0.121, 0.064, 0.336], np.float32))
    deck = deck._replace(forces=forces)
    close(app.accurate(deck, deck.poses), formulas(deck))


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
