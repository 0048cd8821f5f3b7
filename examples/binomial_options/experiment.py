"""What the driver knows of Binomial Options: a model gives prices of options that the training has not seen."""

from typing import NamedTuple

import hpacml

from ..devices import on_host, placed, require
from ..experiment import Experiment
from . import app, closed_form, plot
from .model import NETWORKS


class Size(NamedTuple):
    """Options to train with, the first one that programs have, how many they have, and the steps of the lattice."""

    training: int
    first: int
    options: int
    steps: int = app.STEPS


SIZES = {
    "small": Size(training=40_000, first=40_000, options=10_000),
    "paper": Size(training=6_194_304, first=11_194_304, options=5_582_912),
}


def collect(setup, database):
    """Price options on the lattice while the region records them."""
    size = SIZES[setup.size]
    _price(setup, app.random_options(size.training), database=str(database))
    hpacml.flush()


def program(setup):
    """Pricing of other options, with its preparation; on a GPU with the way there and back."""
    options = unseen(setup)
    require(setup.device)
    return lambda model=None, database=None: _price(setup, options, model, database)


def unseen(setup):
    """The options of programs: S, X, T, R, V."""
    size = SIZES[setup.size]
    return app.random_options(size.options, size.first)


def _price(setup, options, model=None, database=None):
    S, X, T, R, V = options
    steps = SIZES[setup.size].steps
    given = placed((S, X, *app.prepare(T, R, V, steps)), setup.device)
    return on_host(app.price_prepared(*given, steps, model, database))


def settings(setup):
    """Those of `hpacml.train`, with which the sizes of networks tell in their errors."""
    return {
        "epochs": 200,
        "batch": 256,
        "optimizer": {"lr": 5e-3},
        "schedule": "one-cycle",
        "clip": None,
        "normalize": {"inputs": "min-max", "targets": "min-max"},
        "clamp": {"min": 0},
        "split": {"by": "rows", "train": 0.8, "validation": 0.1, "test": 0.1},
        "threads": 1,
    }


def baselines(setup, database):
    """The price in closed form, to which the lattice converges, and what an option is worth without volatility."""
    return closed_form.of_options(*unseen(setup))


def figures(setup, folder, models):
    """The prices of each model over those of the lattice."""
    run = program(setup)
    accurate, paths = run(), []
    for name, model in models.items():
        paths.append(folder / f"binomial_options-{name}.png")
        plot.prices(accurate, run(model=str(model)), paths[-1])
    return paths


EXPERIMENT = Experiment(
    name="binomial_options",
    title="Binomial Options",
    quality="price",
    metric="rmse",
    collect=collect,
    program=program,
    settings=settings,
    networks=NETWORKS,
    baselines=baselines,
    paper={
        "speed-up": "83.59x at RMSE 0.114, by its smallest model, to 19.36x at 0.0111, by its largest",
        "accurate path": "it has the probabilities of moves up and down the wrong way round, so that its prices are "
        "off by an RMSE of 3.8",
    },
    figures=figures,
)
