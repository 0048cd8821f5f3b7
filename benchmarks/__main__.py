"""`python -m benchmarks [--quick] [NAME ...]`: tables of the modules of these names, or of all, and results/."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console

from . import machine, tables

RESULTS = Path(__file__).parent / "results"
MODULES = ("dispatch", "gather", "network", "guards", "kernels", "threads", "binomial", "report", "standalone")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure hpacml against alternatives.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODULES)}; without, all, and results")
    parser.add_argument("--quick", action="store_true", help="in two minutes: fewer sizes, no torch.compile")
    given = parser.parse_args()
    if unknown := set(given.names) - set(MODULES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    start, comparisons = time.perf_counter(), []
    about = machine()
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), highlight=False)
    for name in given.names or MODULES:
        for comparison in import_module(f"{__package__}.{name}").measure(given.quick):
            comparisons.append(comparison)
            console.print(f"\n{tables.title(comparison)}", highlight=False)
            console.print(tables.table(tables.heads(comparison), tables.rows(comparison)))
    console.print(f"\nAims, after {time.perf_counter() - start:.0f} s")
    console.print(tables.table(tables.AIMS, tables.judgement(comparisons)))
    if not given.names:
        write("quick" if given.quick else "full", about, comparisons)
        console.print(f"written to {RESULTS}")
        if not given.quick:
            from . import collect

            collect.report(console, about)


def write(name, about, comparisons):
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": about, "comparisons": [rounded(asdict(each)) for each in comparisons]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(tables.page(about, comparisons))
    try:
        tables.picture(comparisons, RESULTS / f"{name}.png")
    except ImportError:
        Console(stderr=True).print("no picture: matplotlib is not installed (pip install 'hpacml[examples]')")


def rounded(value):
    """Spreads as low, median and high in one text, with four digits."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"low", "median", "high"}:
        return " ".join(f"{value[each]:.4g}" for each in ("low", "median", "high"))
    return {name: rounded(each) for name, each in value.items()}


if __name__ == "__main__":
    main()
