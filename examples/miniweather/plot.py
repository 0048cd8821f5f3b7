"""The parts of Figure 9, each drawn of columns by their names into a PNG file."""

from matplotlib.figure import Figure

HEAT = 3
"""The variable whose field is shown: density times the change of potential temperature."""


def fields(columns, path):
    """Draw the fields at the last step below each other, all in the scale of the first, the accurate one."""
    figure = Figure(figsize=(6, 2.7 * len(columns)), layout="constrained")
    bound = abs(next(iter(columns.values()))).max()
    axes = figure.subplots(len(columns), 1, squeeze=False)[:, 0]
    for axis, (name, field) in zip(axes, columns.items(), strict=True):
        image = axis.imshow(field, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound)
        axis.set(title=name, xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="density times change of potential temperature")
    _save(figure, path)


def interleaving(columns, path):
    """Draw the error after each step."""
    (_, steps), *curves = columns.items()
    figure, axis = _axis("step of model and program", "RMSE")
    for name, curve in curves:
        axis.semilogy(steps, curve, "k--" if name == "persistence" else "-", label=name)
    axis.figure.legend(loc="outside upper center", ncols=4, fontsize="small", title="original:surrogate")
    _save(figure, path)


def relative_error(columns, path):
    """Draw which part of the cells has a smaller relative error."""
    (_, parts), *curves = columns.items()
    figure, axis = _axis("relative error", "part of all cells and variables")
    for name, errors in curves:
        axis.semilogx(errors, parts, "--" if name.startswith("persistence") else "-", label=name)
    axis.set_xlim(1e-4, 1e3)
    axis.legend()
    _save(figure, path)


def patterns(columns, path):
    """Draw the speed of each pattern and its error at the last step."""
    figure, axis = _axis("speed-up", "RMSE at the last step")
    axis.semilogy(columns["speed-up"], columns["rmse"], "o")
    for name, *place in zip(*columns.values(), strict=True):
        axis.annotate(name, place, xytext=(5, 5), textcoords="offset points")
    axis.margins(0.1)
    _save(figure, path)


def _axis(x, y):
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.set(xlabel=x, ylabel=y)
    return figure, axis


def _save(figure, path):
    figure.savefig(path, dpi=110)
