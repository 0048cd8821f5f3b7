"""The command `hpacml train`: from a database to a model that a region uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpacml.errors import ConfigError

Databases = Annotated[list[Path], typer.Argument(metavar="DB...", help="Databases with the same maps, or patterns.")]
Region = Annotated[str | None, typer.Option(metavar="LABEL", help="The region; needless if there is one.")]
Factory = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="PACKAGE.MODULE:FACTORY",
        help="The function that makes the network; without it hpacml.networks:mlp, or that of --more.",
    ),
]
More = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Go on from this model, with its folder .train beside it.")
]
Rejected = Annotated[
    bool, typer.Option("--rejected", help="Train with the points, too, that guards of the region have rejected.")
]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, YAML or TOML: docs/training.md.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The model to write: .pt2, .pt or .safetensors.")]
Range = Annotated[str | None, typer.Option(metavar="RANGE", help="Calls or rows, as in 0:480, or a fraction.")]
By = Annotated[str | None, typer.Option(metavar="calls|rows", help="What the split counts.")]
Shuffle = Annotated[bool, typer.Option("--shuffle", help="Draw the parts of the split by the seed.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Another setting, as in optimizer.lr=1e-2.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever a training that was killed has left.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def train_model(
    databases: Databases,
    region: Region = None,
    model: Factory = None,
    config: Config = None,
    out: Out = Path("model.pt2"),
    more: More = None,
    rejected: Rejected = False,
    train: Range = None,
    validation: Range = None,
    test: Range = None,
    by: By = None,
    shuffle: Shuffle = False,
    seed: Annotated[int | None, typer.Option(help="The seed of weights, order and split.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often the training goes through its rows.")] = None,
    others: Set = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Train a network with the data of a region, test it beside baselines, and write it as the region's model."""
    from hpacml.training.train import train as fit

    parts = {"train": train, "validation": validation, "test": test}
    given: dict[str, Any] = {
        **{f"split.{part}": value if ":" in value else _number(part, value) for part, value in parts.items() if value},
        **({} if by is None else {"split.by": by}),
        **({"split.shuffle": True} if shuffle else {}),
        **({} if seed is None else {"seed": seed}),
        **({} if epochs is None else {"epochs": epochs}),
        **dict(map(_setting, others or ())),
    }
    files = [str(each) for each in databases]
    fit(
        files if len(files) > 1 else files[0], region, model, config=config, changes=given, out=out, more=more,
        rejected=rejected, resume=not fresh, quiet=quiet,
    )  # fmt: skip


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--{name} {text} is neither a range, such as 0:480, nor a fraction, such as 0.7") from None


def _setting(text: str) -> tuple[str, Any]:
    """Split a setting such as `optimizer.lr=1e-2`, whose value is YAML."""
    import yaml

    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set {text} is no setting, such as optimizer.lr=1e-2")
    try:
        return name.strip(), _numbers(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is no YAML: {error}") from error


def _numbers(value: Any) -> Any:
    """YAML takes 1e-2 for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
