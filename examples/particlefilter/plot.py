"""The picture: how far from the true position each way to find the object is."""

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np


def errors(found, path):
    """Draw the errors float[videos, 2] of ways by their names, in pixels."""
    reach = 1.05 * max(np.nanmax(abs(each)) for each in found.values())
    figure, panels = plt.subplots(1, len(found), figsize=(2.6 * len(found), 3), sharex=True, sharey=True, squeeze=False)
    for axes, (name, each) in zip(panels[0], found.items(), strict=True):
        axes.plot(*each.T, ".", markersize=4)
        axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.7", linewidth=0.8, zorder=0)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_title(f"{name}\nRMSE {np.sqrt(np.nanmean(each**2)):.2g}", fontsize=9)
        axes.set_xlabel("x, pixels")
    panels[0, 0].set_ylabel("y, pixels")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
