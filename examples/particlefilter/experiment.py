"""What is measured: where the object is in the last frame of videos, of which all frames are looked at."""

from functools import cache

import numpy as np

from ..devices import on_host, placed
from ..experiment import Experiment, Setup
from . import app, model, plot
from .centroid import centroids

FRAMES = {"small": 8_000, "paper": 13_000}
"""Frames to train with. The paper's, too, are single ones."""

STARTS = """
    64,65 68,65 60,64 69,60 69,66 66,69 60,68 68,59 67,60 62,68 61,64 67,66 64,61 61,69 64,66 60,62 65,69 66,68 59,60
    68,60 69,64 65,68 66,67 69,69 65,61 69,63 61,67 67,59 61,63 66,59 67,61 66,65 64,68 68,68 64,67 64,62 62,65 65,65
    62,60 67,64 61,65 67,68 67,63 60,61 68,67 69,59 59,61 66,60 66,63 63,59 66,66 64,60 63,65 59,59 64,69 67,62 69,68
    67,69 63,63 63,64 62,64 63,69 59,69 63,62 63,68 59,62 62,62 62,69 69,67 61,62 65,59 59,64 67,65 65,63 68,62 66,62
    68,61 69,61 69,62 62,66 61,68 62,59 64,59 68,64 63,66 65,64 68,66 60,60 61,61 62,67 60,67 65,62 66,61 62,63 61,66
    59,66 65,66 60,63 62,61 59,67
"""
STARTS = [tuple(map(int, each.split(","))) for each in STARTS.split()]
"""Where the object is in the first frame of each video of the paper's evaluation."""

LAST = np.array([app.path(*start)[-1] for start in STARTS])
"""Where it is in the last frame, int64[100, 2]."""

MARGIN = range(5, 121)
"""The coordinates of the object in frames to train with: all of it is in the frame."""


def centres(count, seed=0):
    """Distinct positions int64[count, 2] of the object, none of which is the last one of a video."""
    x, y = np.meshgrid(MARGIN, MARGIN)
    others = np.array(sorted({*zip(x.flat, y.flat, strict=True)} - {*map(tuple, LAST.tolist())}))
    return np.random.default_rng(seed).permutation(others)[:count]


def collect(setup: Setup, database):
    """Record single frames with the true positions of the object, which the filter has nothing to do with."""
    where = centres(FRAMES[setup.size])
    frames, _ = app.make_frames(where, seed=2)
    for frame, centre in zip(frames, where.astype(np.float32), strict=True):
        video, truth = (placed(each[None], setup.device) for each in (frame, centre))
        app.track(video, particles=1, database=str(database), truth=truth)


@cache
def videos():
    """The videos of the evaluation, each with the seed that it leaves to the filter."""
    made, seed = [], 1
    for start in STARTS:
        video, seed = app.make_video(*start, seed)
        made.append((video, seed))
    return made


def program(setup: Setup):
    """Track the object in each video."""
    given = [(placed(video, setup.device), seed) for video, seed in videos()]
    return lambda model=None, database=None: _last(given, model=model, database=database)


def _last(videos, **arguments):
    """The positions in the last frames, float32[videos, 2]."""
    return np.stack([on_host(app.track(video, seed=seed, **arguments)[-1]) for video, seed in videos])


def truth(setup: Setup):
    """The true positions in the last frames."""
    return LAST.astype(np.float32)


def settings(setup: Setup):
    """Of the training."""
    return {
        "split": {"by": "rows", "shuffle": True, "train": 0.9, "validation": 0.05, "test": 0.05},
        "normalize": {"inputs": "none"},  # the convolution takes bytes; batch normalisation scales what it gives
        "epochs": 60,
        "batch": 32,
        "optimizer": {"lr": 1e-2},
        "schedule": "one-cycle",
        "clamp": {"min": 0, "max": app.SIZE},
        "threads": 2,
    }


def baselines(setup: Setup, database):
    """What needs no network: the filter as it is meant, and the bright pixels."""
    return {
        "rounding filter": lambda: _last(videos(), rounding="nearest"),
        "bright pixels": lambda: np.stack([centroids(video)[-1] for video, _ in videos()]),
    }


def figures(setup: Setup, folder, models):
    """The errors of the filter, of all that needs no network, and of each model."""
    run, path = program(setup), folder / "particlefilter-errors.png"
    found = {"filter": run(), **{name: find() for name, find in baselines(setup, None).items()}}
    found |= {name: run(model=str(model)) for name, model in models.items()}
    plot.errors({name: each - LAST for name, each in found.items()}, path)
    return [path]


EXPERIMENT = Experiment(
    name="particlefilter",
    title="ParticleFilter",
    quality="position in the last frame",
    metric="rmse",
    collect=collect,
    program=program,
    settings=settings,
    networks=model.NETWORKS,
    baselines=baselines,
    truth=truth,
    paper={
        "speed-up": "8.67x to 9.60x; the network alone up to 23.3x",
        "error": "RMSE 0.12 of the best network, 0.48 of the filter, which truncates positions",
        "collection": "3.43 ms, 3.51 ms with collection, 852 MB",
        "program": "1025 lines, 5 of them for HPAC-ML, 4 directives",
    },
    figures=figures,
)
