"""The picture: how wrong accrued interest is, over the rate that alone decides it."""

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt


def errors(rates, found, path):
    """Draw errors by the names of what makes them, over the rates of the bonds."""
    figure, panels = plt.subplots(1, len(found), figsize=(3.2 * len(found), 3), sharey=True, squeeze=False)
    for axes, (name, values) in zip(panels[0], found.items(), strict=True):
        axes.plot(rates, values, ".", markersize=1)
        axes.set_yscale("symlog", linthresh=1e-4)
        axes.set_title(name)
        axes.set_xlabel("rate")
    panels[0, 0].set_ylabel("error of the accrued interest")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
