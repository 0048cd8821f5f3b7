"""Models: files, which are read once per process, and callables passed from Python; and the writing of files."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hpacml.errors import ModelError
from hpacml.runtime import formats, trust

if TYPE_CHECKING:
    import numpy as np
    import torch

    Example = torch.Tensor | np.ndarray[Any, Any]

SaveFormat = Literal["export", "torchscript"]

_SUFFIXES: dict[str, SaveFormat] = {".pt2": "export", ".pt": "torchscript", ".ts": "torchscript"}


@dataclass(eq=False, slots=True)
class Model:
    """A model to run. `name` is for messages; `format` and `digest` are those of its file, if it has one.

    `writes_inputs` is learned by running it: whether it changes its input tensors in place.
    """

    name: str
    network: formats.Network
    format: formats.Format | None = None
    digest: str | None = None
    writes_inputs: bool | None = None


_lock = threading.Lock()
_loaded: dict[str, Model] = {}
_passed: weakref.WeakKeyDictionary[Any, Model] = weakref.WeakKeyDictionary()


def load(path: str) -> Model:
    """The model in the file at `path`, which is absolute and without symbolic links. Raises ModelError.

    The file is read at the first call; later ones give the same model, until `save_model` writes another there.
    """
    if (model := _loaded.get(path)) is None:
        with _lock:
            if (model := _loaded.get(path)) is None:
                model = _loaded[path] = _read(path)
    return model


def passed(network: Callable[..., object]) -> Model:
    """The model that a module, or any other callable on tensors, is. It is not kept alive by this."""
    try:
        if (model := _passed.get(network)) is None:
            model = _passed[network] = _wrap(network)
    except TypeError:  # it can have no weak reference; then each call learns anew what it does
        return Model(repr(network), formats.Network(network))
    return model


def save_model(
    module: torch.nn.Module,
    path: str | os.PathLike[str],
    *,
    example: Example | Sequence[Example],
    format: SaveFormat | None = None,
) -> Path:
    """Write a module to a file that a region can use as its model, and trust the file on this machine.

    `example` is an input such as the region will give, or a tuple of several: tensors or arrays, of which the
    floating ones are converted to the module's dtype. The module is saved as it computes in evaluation mode, and
    stays as it is.

    The suffix, or else `format`, says how: `.pt2` by torch.export ("export"), where every dimension may vary
    from call to call that the module does not fix; `.pt` and `.ts` as traced TorchScript ("torchscript").

    Returns the absolute path. The file appears whole or not at all. Raises ModelError.
    """
    import torch

    target = Path(os.path.realpath(path))
    chosen = format or _SUFFIXES.get(target.suffix)
    writers = {"export": formats.write_export, "torchscript": formats.write_torchscript}
    if chosen not in writers:
        raise ModelError(
            f"cannot tell in which format to write the model '{target}': name it .pt2 (torch.export) or "
            ".pt (TorchScript), or give format='export' or format='torchscript'"
        )
    if not isinstance(cast(object, module), torch.nn.Module):
        raise ModelError(f"save_model takes a torch.nn.Module, not a {type(module).__name__}")
    inputs = _example_tensors(example, module)
    try:
        with formats.evaluating(module):
            content = writers[chosen](module, inputs)
    except Exception as error:
        other = "torchscript" if chosen == "export" else "export"
        raise ModelError(
            f"Torch cannot write the {type(module).__name__} with the example {describe(inputs)} as "
            f"{chosen}: {summary(error)}. Try the module on the example, or format='{other}'"
        ) from error
    trust.trust_content(content, target)
    _write(target, content)
    with _lock:
        _loaded.pop(str(target), None)
    return target


def describe(tensors: Sequence[torch.Tensor]) -> str:
    """Such as `float32[64, 5], float32[64]`."""
    return ", ".join(str(formats.InputType(x.dtype, tuple(x.shape))) for x in tensors)


def summary(error: BaseException) -> str:
    """The type and the first line of an error."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def executable_format(content: bytes, path: str | os.PathLike[str]) -> formats.Format:
    """The format of a model file with this content. Raises ModelError if it holds no network that can be run."""
    try:
        format = formats.recognise(content)
    except zipfile.BadZipFile as error:
        raise ModelError(f"the model '{path}' is damaged or not complete: copy or write it again") from error
    if format is None:
        raise ModelError(
            f"'{path}' is no model that hpacml can read: it is neither TorchScript, torch.export nor AOTInductor. "
            "Write one with hpacml.save_model"
        )
    if format == "pickle":
        raise ModelError(
            f"'{path}' is a state dict, or a module saved by torch.save, which does not tell safely which network "
            "to run. Make the network in Python, load the state dict into it, and write it with "
            "hpacml.save_model(network, 'model.pt2', example=...)"
        )
    return format


def _read(path: str) -> Model:
    content = trust.read(path)
    format = executable_format(content, path)
    trust.require(content, path, format)
    try:
        network = formats.read(content, format)
    except Exception as error:
        raise ModelError(
            f"Torch cannot load the {format} model '{path}': {summary(error)}. It may be damaged, or of another "
            "version of Torch: write it again with hpacml.save_model"
        ) from error
    return Model(f"'{path}'", network, format, trust.digest(content))


def _wrap(network: Callable[..., object]) -> Model:
    import torch

    reference = cast("Callable[[], Any]", weakref.ref(network))
    if not isinstance(network, torch.nn.Module):
        return Model(repr(network), formats.Network(lambda *inputs: reference()(*inputs)))

    def run(*inputs: torch.Tensor) -> object:
        module = reference()
        if not module.training:
            return module(*inputs)
        with formats.evaluating(module):
            return module(*inputs)

    return Model(type(network).__name__, formats.Network(run, lambda: formats.first_floating(reference())))


def _example_tensors(example: Example | Sequence[Example], module: torch.nn.Module) -> list[torch.Tensor]:
    import numpy as np
    import torch

    anchor = formats.first_floating(module)
    tensors: list[torch.Tensor] = []
    for each in example if isinstance(example, (tuple, list)) else (example,):
        try:
            tensor = each.detach() if isinstance(each, torch.Tensor) else torch.as_tensor(np.array(each, order="C"))
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
