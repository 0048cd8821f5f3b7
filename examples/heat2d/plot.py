"""The pictures: fields.png and errors.png."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def fields(accurate, surrogate):
    """Draw two fields beside each other, and their difference."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    bound = abs(accurate).max()
    for axis, title, field, limit in (
        (axes[0], "accurate", accurate, bound),
        (axes[1], "surrogate", surrogate, bound),
        (axes[2], "difference", surrogate - accurate, abs(surrogate - accurate).max()),
    ):
        image = axis.imshow(field, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(title=title, xticks=[], yticks=[])
        figure.colorbar(image, ax=axis)
    figure.savefig("fields.png", dpi=150)
    plt.close(figure)


def errors(curves):
    """Draw errors over steps: `curves` maps labels to arrays."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for label, curve in curves.items():
        steps = np.flatnonzero(curve)  # a logarithmic axis has no place for exact ones
        axis.semilogy(steps, curve[steps], label=label)
    axis.set(xlabel="step", ylabel="RMSE")
    axis.legend()
    figure.savefig("errors.png", dpi=150)
    plt.close(figure)
