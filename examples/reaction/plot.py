"""The pictures: fields.png, what there is at the end, and errors.png."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def fields(truth, others, path):
    """Draw `a` at the end, and the differences of others from it: float64[size, size] by their titles."""
    figure, axes = plt.subplots(1, 1 + len(others), figsize=(4 * (1 + len(others)), 3.6), layout="constrained")
    figure.colorbar(axes[0].imshow(truth, cmap="viridis"), ax=axes[0])
    axes[0].set(title="a, implicitly", xticks=[], yticks=[])
    for axis, (title, field) in zip(axes[1:], others.items(), strict=True):
        difference = field - truth
        limit = abs(difference).max() or 1.0
        figure.colorbar(axis.imshow(difference, cmap="RdBu_r", vmin=-limit, vmax=limit), ax=axis)
        axis.set(title=f"difference: {title}", xticks=[], yticks=[])
    figure.savefig(path, dpi=150)
    plt.close(figure)


def errors(curves, known, path):
    """Draw errors over steps: `curves` maps labels to arrays; the training knows the first `known` steps."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for label, curve in curves.items():
        steps = np.flatnonzero(curve)  # a logarithmic axis has no place for exact ones
        axis.semilogy(steps, curve[steps], label=label)
    axis.axvspan(0, known, color="0.9", label="as long as the training")
    axis.set(xlabel="step", ylabel="RMSE")
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
