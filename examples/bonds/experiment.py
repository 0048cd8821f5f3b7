"""What is measured: the accrued interest of bonds that no training has seen."""

import numpy as np

import hpacml

from ..devices import on_host, placed
from ..experiment import Experiment, Setup
from . import app, model, plot

TRAINING = {"small": range(40_000), "paper": range(6_194_304)}
UNSEEN = {"small": range(40_000, 140_000), "paper": range(9_194_304, 16_777_216)}
"""The bonds of the paper's program, by their numbers."""

CLOSED_FORM, CLOSED = "100 * rate * 179 / 360", np.float32(100 * 179 / 360)


def bonds(numbers, device):
    """Rates and dates of some bonds, on a device."""
    return [placed(each, device) for each in app.random_bonds(len(numbers), first=numbers.start)]


def collect(setup: Setup, database):
    """Value bonds, and record what enters and leaves the region."""
    app.values(*bonds(TRAINING[setup.size], setup.device), database=str(database))


def program(setup: Setup):
    """Value the unseen bonds."""
    given = bonds(UNSEEN[setup.size], setup.device)

    def run(model=None, database=None):
        return on_host(app.values(*given, model=model, database=database)["accrued"])

    return run


def settings(setup: Setup):
    """Of the training. The paper trains on 7 % of its bonds."""
    split = {"small": (0.8, 0.1, 0.1), "paper": (0.07, 0.02, 0.02)}[setup.size]
    return {
        "split": {"by": "rows", "shuffle": True, **dict(zip(("train", "validation", "test"), split, strict=True))},
        "epochs": 100,
        "batch": 256,
        "optimizer": {"lr": 1e-2},
        "schedule": "one-cycle",
        "threads": 1,
    }


def baselines(setup: Setup, database):
    """What needs no network: the interest is a multiple of the rate, whatever the dates."""
    with hpacml.open_database(database) as collected:
        features, interest = (each.numpy().astype(float) for each in collected["bonds"].dataset(rows="points")[:])
    slope, offset = np.polyfit(features[:, 0], interest[:, 0], 1)
    slope, offset, rates = np.float32(slope), np.float32(offset), unseen_rates(setup)
    return {"least squares on the rate": lambda: slope * rates + offset, CLOSED_FORM: lambda: CLOSED * rates}


def unseen_rates(setup: Setup):
    """The rates of the unseen bonds, float32[n]."""
    numbers = UNSEEN[setup.size]
    return app.random_bonds(len(numbers), first=numbers.start)[0]


def figures(setup: Setup, folder, models):
    """The errors of each model and of the line over the rate."""
    run = program(setup)
    accurate, line = run(), CLOSED * unseen_rates(setup)
    found = {name: run(model=str(path)) - accurate for name, path in models.items()}
    path = folder / "bonds-errors.png"
    plot.errors(unseen_rates(setup), {**found, CLOSED_FORM: line - accurate}, path)
    return [path]


EXPERIMENT = Experiment(
    name="bonds",
    title="Bonds",
    quality="accrued interest",
    metric="rmse",
    collect=collect,
    program=program,
    settings=settings,
    networks=model.NETWORKS,
    baselines=baselines,
    paper={
        "speed-up": "7.96x at RMSE 0.280 (the fastest network is the most accurate) to 6.00x at 0.320",
        "collection": "0.96 s, 1.18 s with collection, 303 MB",
        "program": "2248 lines, 9 of them for HPAC-ML, 4 directives",
    },
    figures=figures,
)
