"""Comparisons as tables on the screen, as a page, and as a picture."""

from rich.table import Table

from . import show

AIMS = ("what", "measured", "quartiles", "to reach", "reached")


def heads(comparison):
    ratios = [f"CPU / {other}" for other in (comparison.ours, comparison.floor) if other]
    return ["", "time", "quartiles", "CPU", *ratios]


def rows(comparison):
    """The cells of each way."""
    for name, way in comparison.ways.items():
        wall = way.wall
        ratios = [f"{way.ratios['cpu'][other].median:.2f}" for other in (comparison.ours, comparison.floor) if other]
        yield [name, show(wall.median), f"{show(wall.low)} to {show(wall.high)}", show(way.cpu.median), *ratios]
    for name, reason in comparison.skipped.items():
        yield [name, reason, *[""] * (len(heads(comparison)) - 2)]


def title(comparison):
    return f"{comparison.what}, {comparison.threads} thread{'s' * (comparison.threads > 1)}"


def judgement(comparisons):
    """The cells of each aim: what, measured, its quartiles, to reach, reached."""
    for comparison in comparisons:
        for aim in comparison.aims:
            number = (lambda value: f"{value:.2f}") if aim.to is not None else show
            bounds = (("at most", aim.most), ("at least", aim.least))
            limit = " and ".join(f"{word} {number(value)}" for word, value in bounds if value is not None)
            missing = [way for way in (aim.way, *aim.others) if way not in comparison.ways]
            if missing:
                yield [aim.what, "", "", limit, f"not measured: {comparison.skipped[missing[0]]}"]
                continue
            found = aim.measured(comparison.ways)
            quartiles = f"{number(found.low)} to {number(found.high)}"
            yield [aim.what, number(found.median), quartiles, limit, "yes" if aim.reached(comparison.ways) else "no"]


def table(heads, rows):
    made = Table(*heads[:1])
    for head in heads[1:]:
        made.add_column(head, justify="right")
    for row in rows:
        made.add_row(*row)
    return made


def page(machine, comparisons):
    """All tables as Markdown."""
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [f"# Measured\n\n{about}\n\n## Aims\n", _markdown(AIMS, judgement(comparisons))]
    for comparison in comparisons:
        parts += [f"\n## {title(comparison)}\n", _markdown(heads(comparison), rows(comparison))]
    return "\n".join(parts) + "\n"


def _markdown(heads, rows):
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def picture(comparisons, path):
    """The ratios of all ways to ours, with their quartiles, as a picture for matplotlib to write."""
    from matplotlib.figure import Figure

    shown = [(each, name) for each in comparisons for name in each.ways if name != each.ours]
    figure = Figure(figsize=(11, 0.22 * len(shown) + 0.28 * len(comparisons) + 1), layout="constrained")
    axes = figure.add_subplot()
    places, labels, place = [], [], 0.0
    for comparison in comparisons:
        axes.text(0, place, title(comparison), transform=axes.get_yaxis_transform(), weight="bold", fontsize=8)
        place += 1
        for name, way in comparison.ways.items():
            if name == comparison.ours:
                continue
            ratio = way.ratios["cpu"][comparison.ours]
            color = "tab:gray" if name == comparison.floor else "tab:blue"
            axes.plot([ratio.low, ratio.high], [place, place], color=color)
            axes.plot([ratio.median], [place], "o", color=color, markersize=4)
            places.append(place)
            labels.append(name)
            place += 1
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="time on a core / that of hpacml, with quartiles", ylim=(place, -1.5))
    axes.set_yticks(places, labels, fontsize=7)
    figure.savefig(path, dpi=80)
