"""The picture: errors over time."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .burgers import STEP


def errors(curves, path):
    """Draw errors over time: `curves` maps labels to the errors after 1, 2, ... steps."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for label, curve in curves.items():
        axis.semilogy([STEP * (k + 1) for k in range(len(curve))], curve, label=label)
    axis.set(xlabel="time", ylabel="RMSE")
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
