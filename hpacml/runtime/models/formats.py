"""The table of model file formats, which is all that the rest of the package knows of them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hpacml.errors import ModelError
from hpacml.runtime.models import aotinductor, archive, export, jax_programs, statedict, torchscript
from hpacml.runtime.models.network import Network

if TYPE_CHECKING:
    import torch

SaveFormat = Literal["export", "torchscript", "aotinductor", "state_dict", "jax"]
"""What `save_model` takes as its `format`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """A format of model files: how it is called, recognised, read and written.

    `name` and `noun`, the name within a sentence, are for messages; `argument` and `suffixes` are those by which
    `save_model` chooses the format. `runs_code` says that loading a file can run code of it, so that it has to be
    trusted. `replayable` says that a CUDA graph can hold its networks, `quick` that writing a file takes no compiler.

    `recognises` gets the content of a file and, if that is an archive, the names of its members. `read` loads a network
    onto a device; it raises BadZipFile for a damaged archive, and what Torch raises. `write` takes a module in
    evaluation mode, an example of its inputs, and metadata; it raises what Torch raises.
    """

    name: str
    noun: str
    argument: SaveFormat
    suffixes: tuple[str, ...]
    runs_code: bool
    replayable: bool
    quick: bool
    recognises: Callable[[bytes, Collection[str]], bool]
    read: Callable[[bytes, str], Network]
    write: Callable[[torch.nn.Module, Sequence[torch.Tensor], Mapping[str, Any]], bytes]


FORMATS = (
    ModelFormat(
        name="TorchScript",
        noun="TorchScript",
        argument="torchscript",
        suffixes=(".pt", ".ts"),
        runs_code=True,
        replayable=True,
        quick=True,
        recognises=torchscript.recognises,
        read=archive.reader(torchscript.read),
        write=archive.writer(torchscript.write),
    ),
    ModelFormat(
        name="torch.export",
        noun="torch.export",
        argument="export",
        suffixes=(".pt2",),
        runs_code=True,
        replayable=True,
        quick=True,
        recognises=export.recognises,
        read=archive.reader(export.read),
        write=archive.writer(export.write),
    ),
    ModelFormat(
        name="AOTInductor",
        noun="AOTInductor",
        argument="aotinductor",
        suffixes=(),
        runs_code=True,
        replayable=False,  # it asks the device whether it is ready, which cannot be captured
        quick=False,
        recognises=aotinductor.recognises,
        read=archive.reader(aotinductor.read),
        write=archive.writer(aotinductor.write),
    ),
    ModelFormat(
        name="state dict",
        noun="a state dict with its description",
        argument="state_dict",
        suffixes=(".safetensors",),
        runs_code=False,
        replayable=True,
        quick=True,
        recognises=statedict.recognises,
        read=statedict.read,
        write=statedict.write,
    ),
    ModelFormat(
        name="JAX",
        noun="a function of JAX",
        argument="jax",
        suffixes=(".jax",),
        runs_code=True,
        replayable=False,
        quick=False,
        recognises=jax_programs.recognises,
        read=jax_programs.read,
        write=jax_programs.write_module,
    ),
)


def by_preference() -> list[ModelFormat]:
    """List the formats as messages recommend them: torch.export first."""
    return sorted(FORMATS, key=lambda format: format.argument != "export")


def choose(argument: str | None, suffix: str) -> ModelFormat | None:
    """Find the format that `save_model` is to write: that of its argument, or without one that of a suffix."""
    if argument:
        return next((format for format in FORMATS if format.argument == argument), None)
    return next((format for format in FORMATS if suffix in format.suffixes), None)


def recognise(content: bytes) -> ModelFormat | None:
    """Find the format of a model file by its content. Raises BadZipFile for a torn archive."""
    members = archive.members(content)
    return next((format for format in FORMATS if format.recognises(content, members)), None)


def identify(content: bytes, path: str | os.PathLike[str]) -> ModelFormat:
    """Find the format of the model file at `path`. Raises ModelError if it holds no network that can be run."""
    try:
        if (format := recognise(content)) is not None:
            return format
        pickle = _is_pickle(content)
    except zipfile.BadZipFile as error:
        raise damaged(path) from error
    if pickle:
        raise ModelError(
            f"'{path}' is a state dict, or a module saved by torch.save, which does not tell safely which network "
            "to run. Make the network in Python, load the state dict into it, and write it with "
            "hpacml.save_model(network, 'model.pt2', example=...)"
        )
    *most, last = (format.noun for format in FORMATS)
    raise ModelError(
        f"'{path}' is no model that hpacml can read: it is neither {', '.join(most)} nor {last}. "
        "Write one with hpacml.save_model"
    )


def damaged(path: str | os.PathLike[str]) -> ModelError:
    """Make the error for a torn or damaged archive."""
    return ModelError(f"the model '{path}' is damaged or not complete: copy or write it again")


def _is_pickle(content: bytes) -> bool:
    """Tell whether `torch.save` wrote a file: a pickle, which was bare before Torch 1.6 and is in an archive since."""
    return content[:1] == b"\x80" or "data.pkl" in archive.members(content)
