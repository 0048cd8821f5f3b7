"""What the HPAC-ML paper (Fink et al., SC'24) measured, on an A100."""

from typing import NamedTuple


class Point(NamedTuple):
    """A model: how many times faster the application was by it, and its error, by the metric of the application."""

    speedup: float
    error: float


class Paper(NamedTuple):
    """The paper's numbers for one application; None where it gives none."""

    lines: int
    directive_lines: int
    directives: int
    seconds: float
    seconds_collecting: float
    megabytes: float
    points: tuple[Point, ...]
    best_speedup: float
    accurate_error: float | None = None


NUMBERS = {
    "minibude": Paper(539, 8, 4, 23.15, 23.25, 29, (Point(35.0, 6.82), Point(25.5, 2.71)), 35.0),
    "binomial_options": Paper(455, 8, 4, 2.02, 2.21, 268, (Point(83.59, 0.114), Point(19.36, 0.0111)), 83.59),
    "bonds": Paper(2248, 9, 4, 0.96, 1.18, 303, (Point(7.96, 0.280), Point(6.00, 0.320)), 7.96),
    "miniweather": Paper(905, 3, 3, 0.65e-3, 28.92e-3, 19, (), 1.66),
    "particlefilter": Paper(1025, 5, 4, 3.43e-3, 3.51e-3, 852, (Point(9.60, 0.12),), 9.60, accurate_error=0.4767),
}
"""MiniWeather's speed-up follows from the geometric mean of 13.0 of all five; the others stand in the text.

The model of ParticleFilter has the best speed-up and the best error, which are of two models.
"""
