"""`python -m benchmarks.slices`: MiniWeather's step in slices, in loops, and in slices that NumPy runs."""

from rich.console import Console
from rich.table import Table

from . import medians, miniweather, miniweather_loops, show

GRIDS = (100, 50), (200, 100), (768, 384)


def measure(nx, nz):
    """Seconds of a step of each."""
    slices, numpy = miniweather.Simulation(nx, nz), miniweather.Simulation(nx, nz)
    loops = miniweather_loops.Simulation(nx, nz)
    return medians(
        {
            "slices": slices.step,
            "loops": loops.step,
            "NumPy": lambda: numpy.step(advance=miniweather.advance.py_func),
        },
        budget=4,
    )


def main():
    table = Table("cells", "")
    for column in ("a step", "/ slices"):
        table.add_column(column, justify="right")
    for nx, nz in GRIDS:
        seconds = measure(nx, nz)
        for name, value in seconds.items():
            cells = f"{nx} x {nz}" if name == "slices" else ""
            table.add_row(cells, name, show(value), f"{value / seconds['slices']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
