"""`python -m benchmarks`: all tables, and results/."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import binomial, collect, dispatch, gather, kernels, machine, report, show

RESULTS = Path(__file__).parent / "results" / "cpu.json"


def main():
    console = Console()
    results = {"machine": machine()}
    console.print(", ".join(f"{name} {value}" for name, value in results["machine"].items()), highlight=False)

    results["gather"] = []
    for row in gather.measure():
        results["gather"].append(row)
        console.print(f"\n{row['what']}: {row['bytes'] / 1e6:.2f} MB, 1 thread", highlight=False)
        console.print(gathers(row["seconds"]))

    results["binomial"] = row = binomial.measure()
    console.print(f"\n{row['options']} options, lattice of {row['steps']} steps, 1 thread", highlight=False)
    table = Table("")
    for column in ("time", "/ hpacml"):
        table.add_column(column, justify="right")
    for name, value in row["seconds"].items():
        table.add_row(name, show(value), f"{value / row['seconds']['hpacml']:.2f}")
    console.print(table)
    if "numba" not in row["seconds"]:
        console.print("numba is not installed: 'make bench' installs it, to compare with it")

    results["dispatch"] = dispatch.measure()
    console.print("\nOne call of a region in infer mode, network 5-64-32-1, float64, 1 thread", highlight=False)
    table = Table("rows", "")
    for column in ("time", "beyond the model"):
        table.add_column(column, justify="right")
    for row in results["dispatch"]:
        alone = row["seconds"]["the model alone"]
        for k, (name, value) in enumerate(row["seconds"].items()):
            table.add_row("" if k else str(row["rows"]), name, show(value), show(value - alone) if k else "")
        table.add_section()
    console.print(table)

    results["report"] = report.measure()
    console.print("\nOne call of a region without and with hpacml.timing(), 1 thread", highlight=False)
    table = Table("")
    for column in ("off", "on", "difference"):
        table.add_column(column, justify="right")
    for what, seconds in results["report"].items():
        off, on = seconds["off"], seconds["on"]
        table.add_row(what, *(f"{each * 1e6:.3f} µs" for each in (off, on, on - off)))
    console.print(table)

    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"medians in seconds: {RESULTS}")

    collect.report(console, results["machine"])
    kernels.report(console, results["machine"])


def gathers(seconds):
    """The table of one gather. Each kind of memory is compared with itself."""
    table = Table("")
    for memory in gather.MEMORY:
        for column in (memory, "/ hpacml", "/ copy"):
            table.add_column(column, justify="right")
    for name, times in seconds.items():
        cells = []
        for memory, time in times.items():
            ratios = (time / seconds[other][memory] for other in (gather.OURS, gather.COPY))
            cells += [show(time), *(f"{ratio:.2f}" for ratio in ratios)]
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()
