"""The picture: how many energies are how wrong."""

import numpy as np
from matplotlib.figure import Figure

LEAST = 1e-6
"""Errors of smaller energies are in proportion to this."""


def errors(accurate, predicted, path):
    """Draw the shares of poses over their relative errors, of predictions by their names, into the PNG file `path`."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, energies in predicted.items():
        axes.ecdf(100 * abs(energies - accurate) / np.maximum(abs(accurate), LEAST), label=name)
    axes.set(xscale="log", xlabel="relative error of the energy, %", ylabel="share of poses below")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
