"""The paper's applications, so small that all of an evaluation takes seconds; networks are hardly trained.

`python -m tests.examples.tiny ...` is the driver of these.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from examples import __main__ as driver
from examples.evaluation.measure import Effort
from examples.experiment import Experiment

SIZES = {
    "minibude": {"training": 600, "first": 600, "poses": 64, "fewest": 64, "atoms": 12},
    "binomial_options": {"training": 400, "first": 400, "options": 100, "steps": 16},
    "miniweather": {"nx": 12, "nz": 6, "training": 14, "validation": 3, "test": 3, "run": 4},
}
NETWORKS = 2
EFFORT = Effort(trials=3, dropped=1, pairs=1, rounds=1)

Put = Callable[[object, str, object], None]


def experiment(name: str, put: Put = setattr) -> Experiment:
    """An experiment with little data, two networks and two epochs; `put` changes the sizes in its module."""
    module = import_module(f"examples.{name}.experiment")
    if name in SIZES:
        put(module, "SIZES", {"small": module.SIZES["small"]._replace(**SIZES[name])})
    if name == "bonds":
        put(module, "TRAINING", {"small": range(400)})
        put(module, "UNSEEN", {"small": range(400, 500)})
    if name == "particlefilter":
        put(module, "FRAMES", {"small": 40})
        put(module, "STARTS", module.STARTS[:2])
        put(module, "LAST", module.LAST[:2])
        module.videos.cache_clear()
    whole = module.EXPERIMENT
    return replace(
        whole,
        settings=lambda setup: {**whole.settings(setup), "epochs": 2, "pictures": False},
        networks=dict(list(whole.networks.items())[:NETWORKS]),
    )


if __name__ == "__main__":
    driver.experiment = experiment
    driver.cli()
