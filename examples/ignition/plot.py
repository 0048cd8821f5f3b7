"""The pictures: temperature.png, the field over place and time, and errors.png, its error over time."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .front import SIZE, STEP


def temperatures(fields, path):
    """Draw temperatures over place and time: `fields` maps titles to float64[steps + 1, cells]."""
    figure, axes = plt.subplots(1, len(fields), figsize=(4 * len(fields), 4), layout="constrained", sharey=True)
    for axis, (title, field) in zip(axes, fields.items(), strict=True):
        steps, cells = field.shape
        extent = (0.0, 1e3 * SIZE * cells, 0.0, 1e6 * STEP * (steps - 1))
        image = axis.imshow(field, origin="lower", aspect="auto", cmap="inferno", vmin=900, vmax=2900, extent=extent)
        axis.set(title=title, xlabel="mm")
    axes[0].set(ylabel="µs")
    figure.colorbar(image, ax=axes, label="K")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def errors(curves, path):
    """Draw errors over time: `curves` maps labels to the RMSE after 0, 1, ... steps, in K."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for label, curve in curves.items():
        steps = np.flatnonzero(curve)  # a logarithmic axis has no place for exact ones
        axis.loglog(1e6 * STEP * steps, curve[steps], label=label)
    axis.set(xlabel="µs", ylabel="RMSE of the temperature, K")
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
