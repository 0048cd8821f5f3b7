"""The picture: prices by lattice and by model."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def prices(accurate, surrogate, path):
    """Draw the model's prices and their errors over those of the lattice, into the PNG file `path`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    dots = {"s": 2, "alpha": 0.4, "linewidths": 0}
    left.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    left.scatter(accurate, surrogate, **dots)
    left.set(xlabel="price by the lattice", ylabel="price by the surrogate", aspect="equal")
    right.axhline(0, color="grey", linewidth=0.8)
    right.scatter(accurate, surrogate - accurate, **dots)
    right.set(xlabel="price by the lattice", ylabel="error of the surrogate")
    figure.savefig(path, dpi=150)
    plt.close(figure)
