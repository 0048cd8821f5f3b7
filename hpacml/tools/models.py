"""The commands `hpacml model`: what model files are, whether they are whole, and which of them this machine trusts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpacml.directives.map_texts import Maps
from hpacml.errors import ModelError, summary
from hpacml.frontend.functor import define_operators
from hpacml.runtime.models import formats, prerequisites, trust
from hpacml.runtime.models.model import forget, load
from hpacml.tools.console import Table, echo, show

if TYPE_CHECKING:
    from hpacml.runtime.models.domain import Domain

prerequisites.add(define_operators)

LARGEST_EXAMPLE = 1 << 30
"""Bytes of an example up to which `verify` runs a model on such inputs, of which any file may tell any size."""

LARGEST_OPERATION = 4 << 30
"""Bytes that a layer of a file that is data may take and make on its example, when `verify` runs it."""

MOST_SHOWN = 16
"""Features of a domain that are shown of each input."""

models = typer.Typer(help="Model files, and which of them this machine trusts.", no_args_is_help=True)

ModelFile = Annotated[Path, typer.Argument(metavar="FILE", help="A model file.")]
ModelFiles = Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Model files.")]


@models.command("trust")
def trust_model(file: ModelFile) -> None:
    """Trust FILE as it is now: programs of this user may load it, and then it can run any code."""
    content = trust.read(file)
    format = formats.identify(content, file)
    if not format.runs_code:
        echo(f"{file} is {format.noun}, which runs no code and needs no trust")
        return
    trust.trust_content(content, file.absolute())
    echo(f"trusted the {format.name} model {file}, SHA-256 {trust.digest(content)}")


@models.command("ls")
def list_models() -> None:
    """List the trusted models."""
    table = Table("model", "SHA-256")
    for entry in trust.entries():
        table.add_row(entry.name, entry.digest)
    show(f"trusted in {trust.trust_file()}: {table.row_count}", table)


@models.command("info")
def describe_model(file: ModelFile) -> None:
    """Show what FILE is; if it needs no trust or is trusted, it is loaded, to show its inputs too."""
    content = trust.read(file)
    format = formats.identify(content, file)
    trusted = not format.runs_code or trust.is_trusted_content(content)
    table = Table(show_header=False)
    maps = Maps()
    table.add_row("format", format.name)
    table.add_row("size", f"{len(content)} bytes")
    table.add_row("SHA-256", trust.digest(content))
    known = "yes" if format.runs_code else "needs no trust: it is data"
    table.add_row("trusted", known if trusted else f"no; to trust it: hpacml model trust {file}")
    if trusted:
        network = load(os.path.realpath(file)).network
        anchor = network.anchor()
        table.add_row("computes in", "not known" if anchor is None else f"{anchor.dtype} on {anchor.device}")
        table.add_row("inputs", ", ".join(map(str, network.inputs or ())) or "not declared by this format")
        if network.example:
            table.add_row("saved with the example", ", ".join(map(str, network.example)))
        if network.domain is not None:
            for name, text in _domain(network.domain):
                table.add_row(name, text)
        for key, value in network.metadata.items():
            table.add_row(key, value if isinstance(value, str) else json.dumps(value))
        if maps := network.maps:
            table.add_row("SHA-256 of its maps", network.maps_sha256 or "")
            table.add_row("element types of its maps", ", ".join(maps.dtypes) or "not known")
    show(str(file), table)
    if maps:
        echo("".join(["trained for the maps\n", *(f"  {text}\n" for text in maps)]))


def _domain(domain: Domain) -> Iterator[tuple[str, str]]:
    """Tell of each input where it lay in the training, and how far points were from their mean."""
    yield "domain", str(domain)
    for number, (low, high) in enumerate(zip(domain.low, domain.high, strict=True)):
        ranges = [f"{a:.6g} to {b:.6g}" for a, b in zip(low[:MOST_SHOWN], high, strict=False)]
        more = [f"and {len(low) - MOST_SHOWN} more"] if len(low) > MOST_SHOWN else []
        yield f"domain of input {number}", "\n".join([*ranges, *more])


@models.command("verify")
def verify_models(files: ModelFiles = None) -> None:
    """Check that each FILE is whole and trusted, loads, and runs; without FILE, all that are on the list of trust."""
    listed = [Path(entry.name) for entry in trust.entries() if entry.name]
    wrong = 0
    for file in dict.fromkeys(listed) if files is None else files:
        try:
            echo(f"{file}: {_verified(file)}")
        except ModelError as error:
            wrong += 1
            echo(f"{file}: WRONG: {error}")
    if wrong:
        raise typer.Exit(1)


def _verified(file: Path) -> str:
    """Tell what a model is that loads and runs. Raises ModelError for others."""
    import torch

    from hpacml.runtime.models import gradients

    path = os.path.realpath(file)
    forget(path)  # it is the file that is verified
    loaded = load(path)
    example = loaded.network.example
    if example is None:
        return f"{loaded.format}, loads"
    if (size := sum(each.nbytes for each in example)) > LARGEST_EXAMPLE:
        raise ModelError(
            f"it says that it was saved with an example of {size / 2**30:.1f} GiB ({loaded.network.declaration}), "
            f"and more than {LARGEST_EXAMPLE / 2**30:g} GiB is not tried"
        )
    inputs = [torch.zeros([size or 0 for size in each.shape], dtype=each.dtype) for each in example]
    if loaded.network.largest is not None and (size := loaded.network.largest(inputs)) > LARGEST_OPERATION:
        raise ModelError(
            f"one of its layers takes {size / 2**30:.1f} GiB on an example such as it was saved with "
            f"({loaded.network.declaration}), and more than {LARGEST_OPERATION / 2**30:g} GiB is not tried"
        )
    try:
        gradients.run(loaded.network.run, inputs)
    except Exception as error:
        known = loaded.network.declaration
        raise ModelError(f"it fails on an example such as it was saved with, {known}: {summary(error)}") from error
    return f"{loaded.format}, loads and runs"
