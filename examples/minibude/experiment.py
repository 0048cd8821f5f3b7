"""What the driver knows of miniBUDE: a model gives energies of poses that the training has not seen."""

from typing import NamedTuple

import numpy as np

import hpacml

from ..devices import on_host, placed, require
from ..experiment import Experiment
from . import app, plot
from .model import NETWORKS


class Size(NamedTuple):
    """Poses to train with, the first one that programs have, and how many poses these have.

    A program has fewer poses where these have more than `pairs` pairs of atoms, but `fewest`. Without a deck, each
    molecule has `atoms`.
    """

    training: int
    first: int
    poses: int
    fewest: int
    pairs: float
    atoms: int = 1_000


SIZES = {
    "small": Size(training=52_000, first=52_536, poses=13_000, fewest=2_048, pairs=1.5e9),
    "paper": Size(training=1 << 20, first=1 << 20, poses=1 << 20, fewest=1 << 20, pairs=0),
}

DENSITY = 0.05
"""Atoms in a cubic angstrom, as in bm2: with fewer, energies change faster from pose to pose."""

STRIDE, FITTED = 4, 512
"""A baseline has every fourth atom of each molecule, and a line through the energies of so many poses."""


def deck_of(setup):
    """The deck of a setup: with the poses of its folder, or others on their grid if these are too few."""
    size = SIZES[setup.size]
    needed = size.first + size.poses
    if setup.deck is None:
        return app.synthetic_deck(size.atoms, size.atoms, needed, density=DENSITY)
    deck = app.load_deck(setup.deck)
    if (count := deck.poses.shape[1]) >= needed:
        return deck
    print(f"the deck '{setup.deck}' has {count} poses of the {needed} that are needed: random ones take their place")
    return deck._replace(poses=app.random_poses(needed))


def unseen(deck, size):
    """The poses of programs, float32[6, n]."""
    pairs = len(deck.ligand.x) * len(deck.protein.x)
    count = min(size.poses, max(size.fewest, int(size.pairs / pairs)))
    return deck.poses[:, size.first : size.first + count].copy()


def collect(setup, database):
    """Dock poses while the region records them."""
    deck = deck_of(setup)
    poses = deck.poses[:, : SIZES[setup.size].training].copy()
    app.energies(*placed((deck, poses), setup.device), database=str(database))
    hpacml.flush()


def program(setup):
    """Docking of poses that come after those of the training; on a GPU with the way there and back."""
    deck = deck_of(setup)
    poses = unseen(deck, SIZES[setup.size])
    deck = deck._replace(poses=poses)
    require(setup.device)

    def run(model=None, database=None):
        there = placed(deck, setup.device)
        return on_host(app.energies(there, there.poses, model=model, database=database))

    return run


def settings(setup):
    """Those of `hpacml.train`: errors in proportion are small where the loss does not go by the largest energies."""
    return {
        "epochs": 60,
        "batch": 256,
        "optimizer": {"lr": 4e-3, "weight_decay": 1e-5},
        "schedule": "one-cycle",
        "loss": "mae",
        "split": {"by": "rows", "train": 0.9, "validation": 0.05, "test": 0.05},
        "threads": 1,
    }


def baselines(setup, database):
    """Predictors that know the energies of the training, but no network; the last one has fewer atoms."""
    deck = deck_of(setup)
    with hpacml.open_database(database) as data:
        known = data["minibude"].dataset(rows="points")[:][1].numpy().ravel()
    poses, coarse = unseen(deck, SIZES[setup.size]), deck.thinned(STRIDE)
    slope, height = np.polyfit(app.accurate(coarse, deck.poses[:, :FITTED].copy()), known[:FITTED], 1)

    def constant(value):
        return lambda: np.full(poses.shape[1], value, np.float32)

    return {
        "median": constant(np.median(known)),
        "mean": constant(known.mean(dtype=float)),
        f"every {STRIDE}th atom": lambda: np.float32(slope) * app.accurate(coarse, poses) + np.float32(height),
    }


def figures(setup, folder, models):
    """The errors of all models, in one picture."""
    run = program(setup)
    accurate, path = run(), folder / "minibude-errors.png"
    plot.errors(accurate, {name: run(model=str(model)) for name, model in models.items()}, path)
    return [path]


EXPERIMENT = Experiment(
    name="minibude",
    title="MiniBUDE",
    quality="energy",
    metric="mape",
    collect=collect,
    program=program,
    settings=settings,
    networks=NETWORKS,
    baselines=baselines,
    paper={
        "speed-up": "25.5x at 2.71 % MAPE, by its largest model, to 35x at 6.82 %, by its smallest",
        "data": "1,048,576 poses of bm2_long for the training, and as many for the test",
    },
    figures=figures,
)
