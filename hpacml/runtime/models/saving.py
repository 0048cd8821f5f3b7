"""The writing of model files."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hpacml.errors import ModelError
from hpacml.runtime.map_digest import maps_sha256
from hpacml.runtime.models import archive, formats, model, trust
from hpacml.runtime.models.model import describe, summary
from hpacml.version import version

if TYPE_CHECKING:
    import numpy as np
    import torch

    Example = torch.Tensor | np.ndarray[Any, Any]

SaveFormat = Literal["export", "torchscript", "aotinductor", "state_dict"]

_SUFFIXES: dict[str, SaveFormat] = {
    ".pt2": "export",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".safetensors": "state_dict",
}
_WRITERS: dict[SaveFormat, Callable[[torch.nn.Module, Sequence[torch.Tensor]], bytes]] = {
    "export": formats.write_export,
    "torchscript": formats.write_torchscript,
    "aotinductor": formats.write_aotinductor,
}


def save_model(
    module: torch.nn.Module,
    path: str | os.PathLike[str],
    *,
    example: Example | Sequence[Example],
    format: SaveFormat | None = None,
    metadata: Mapping[str, Any] | None = None,
    maps: Sequence[str] | None = None,
) -> Path:
    """Write a module to a file that a region can use as its model, and trust the file on this machine.

    `example` is an input such as the region will give, or a tuple of several: tensors or arrays, of which the
    floating ones are converted to the module's dtype. The module is saved as it computes in evaluation mode, and
    stays as it is. In every format the number of rows may vary from call to call.

    `format`, or else the suffix, says how:

    - "export" (`.pt2`): by torch.export; every dimension may vary that the module does not fix.
    - "torchscript" (`.pt`, `.ts`): traced TorchScript, or the module itself if it is scripted.
    - "state_dict" (`.safetensors`): the weights and a description of the layers. It is data, which loads on any
      machine without trust; but only for modules made of `torch.nn.Sequential` and the common layers, among them
      `hpacml.Normalize`.
    - "aotinductor": compiled for this kind of processor, by a C++ compiler; it takes seconds. Name it `.pt2`.

    `metadata` is kept in the file: anything that JSON has; `hpacml model info FILE` shows it.

    `maps` are the functors and maps that the training data is of, `hpacml.open_database(...)[label].maps`. They are
    kept in the file with their digest, and a region that has other maps refuses the model. Without them, or with None,
    as of data that does not tell its maps, it goes into any region that its shapes fit.

    Returns the absolute path. The file appears whole or not at all. Raises ModelError.
    """
    import torch

    target = Path(os.path.realpath(path))
    chosen = format or _SUFFIXES.get(target.suffix)
    if chosen != "state_dict" and chosen not in _WRITERS:
        raise ModelError(
            f"cannot tell in which format to write the model '{target}': name it .pt2 (torch.export), "
            ".pt (TorchScript) or .safetensors (state dict), or give format='export', 'torchscript', 'aotinductor' "
            "or 'state_dict'"
        )
    if not isinstance(cast(object, module), torch.nn.Module):
        raise ModelError(f"save_model takes a torch.nn.Module, not a {type(module).__name__}")
    inputs = _example_tensors(example, module)
    told = {**_told(inputs, metadata), **_told_maps(maps)}
    try:
        with formats.evaluating(module):
            if chosen == "state_dict":
                content = formats.write_state_dict(module, inputs, told)
            else:
                content = archive.with_metadata(_WRITERS[chosen](module, inputs), told)
    except Exception as error:
        other = "torchscript" if chosen == "export" else "export"
        raise ModelError(
            f"Torch cannot write the {type(module).__name__} with the example {describe(inputs)} as "
            f"{chosen}: {summary(error)}. Try the module on the example, or format='{other}'"
        ) from error
    if chosen != "state_dict":
        trust.trust_content(content, target)
    _write(target, content)
    model.forget(str(target))
    return target


def _told(inputs: Sequence[torch.Tensor], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is written beside a model, and as JSON will give it back."""
    import torch

    example = [{"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)} for x in inputs]
    told = {"hpacml": version(), "torch": str(torch.__version__), "example": example, "metadata": metadata or {}}
    try:
        return json.loads(json.dumps(told, default=dict))
    except (TypeError, ValueError) as error:
        raise ModelError(f"the metadata of a model is what JSON has: {error}") from error


def _told_maps(maps: Sequence[str] | None) -> dict[str, Any]:
    if maps is None:
        return {}
    given = cast(object, maps)
    texts = cast("Sequence[object]", given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ModelError(f"maps are a list of texts, hpacml.open_database(FILE)[LABEL].maps, and this is {given!r}")
    return {"maps": list(maps), "maps_sha256": maps_sha256(maps)}


def _example_tensors(example: Example | Sequence[Example], module: torch.nn.Module) -> list[torch.Tensor]:
    import numpy as np
    import torch

    anchor = formats.first_floating(module)
    tensors: list[torch.Tensor] = []
    for each in example if isinstance(example, (tuple, list)) else (example,):
        try:
            tensor = (
                each.detach()
                if isinstance(each, torch.Tensor)
                else torch.as_tensor(np.array(each, order="C"), device="cpu")
            )
        except TypeError as error:
            raise ModelError(f"an example must be a tensor or an array of numbers: {error}") from error
        if 0 in tensor.shape:
            raise ModelError(f"the example {describe([tensor])} has no elements: give one row or more")
        if anchor is not None:
            tensor = tensor.to(anchor.device, anchor.dtype if tensor.is_floating_point() else tensor.dtype)
        tensors.append(tensor)
    return tensors


def _write(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, target)
    except OSError as error:
        raise ModelError(f"cannot write the model '{target}': {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
