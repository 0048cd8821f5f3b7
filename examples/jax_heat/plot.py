"""The pictures: fields.png and gradients.png."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def _show(figure, axis, title, field, **options):
    image = axis.imshow(field, **options)
    axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=axis)


def fields(original, surrogate, path):
    """Draw the fuel that is left by the original code and by the surrogate, and the difference."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    most, off = original.max(), abs(surrogate - original).max()
    for axis, title, field in ((axes[0], "original code", original), (axes[1], "surrogate", surrogate)):
        _show(figure, axis, title, field, cmap="inferno", vmin=0, vmax=most)
    _show(figure, axes[2], "difference", surrogate - original, cmap="RdBu_r", vmin=-off, vmax=off)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def gradients(original, surrogate, sizes, remainders, path):
    """Draw both gradients, and what they leave of changes of some sizes: `remainders` maps labels to these."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    most = abs(original).max()
    for axis, title, field in ((axes[0], "original code", original), (axes[1], "surrogate", surrogate)):
        _show(figure, axis, f"gradient through the {title}", field, cmap="RdBu_r", vmin=-most, vmax=most)
    for label, left in remainders.items():
        axes[2].loglog(sizes, left, marker=".", label=label)
    sizes = np.asarray(sizes)
    axes[2].loglog(sizes, max(map(max, remainders.values())) * (sizes / sizes.max()) ** 2, "k:", label="square of it")
    axes[2].set(xlabel="size of the change", ylabel="what the gradient leaves")
    axes[2].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
