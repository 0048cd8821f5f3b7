"""`python -m examples.c_heat`: a program in C collects, a network is trained, and the program runs with it."""

from pathlib import Path
from typing import Annotated

import typer

from .driver import KERNEL, compare, require, run


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side of the plate.")] = 130,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 400,
    out: Annotated[Path, typer.Option(help="Folder for program, database and model.")] = Path("out/c_heat"),
) -> None:
    """Simulate a plate by a program in C: accurately, and by a surrogate that was trained with its data."""
    require("cc")
    source = Path(__file__).resolve().with_name("main.c")

    def build(flags: list[str]) -> None:
        run("hpacml", "build", KERNEL, "-o", "libheat.so", "--header", "heat.h")
        run("cc", "-O2", "-I.", source, "-o", "heat", "-L.", "-lheat", "-Wl,-rpath,$ORIGIN", *flags)

    compare(build, "C", size, steps, out)


if __name__ == "__main__":
    typer.run(main)
