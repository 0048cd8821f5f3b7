"""`python -m examples.fortran_heat`: a Fortran program collects, a network is trained, and the program runs with it."""

from pathlib import Path
from typing import Annotated

import typer

from examples.c_heat.driver import KERNEL, compare, require, run


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side of the plate.")] = 130,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 400,
    out: Annotated[Path, typer.Option(help="Folder for program, database and model.")] = Path("out/fortran_heat"),
) -> None:
    """Simulate a plate by a program in Fortran: accurately, and by a surrogate that was trained with its data."""
    require("gfortran")
    source = Path(__file__).resolve().with_name("main.f90")

    def build(flags: list[str]) -> None:
        run("hpacml", "build", KERNEL, "-o", "heat.o", "--fortran", "heat.f90")
        run("gfortran", "-O2", "heat.f90", source, "heat.o", "-o", "heat", *flags)

    compare(build, "F", size, steps, out)


if __name__ == "__main__":
    typer.run(main)
