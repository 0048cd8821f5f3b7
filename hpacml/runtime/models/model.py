"""Models: files, which are read once per process and device, and callables passed from Python."""

from __future__ import annotations

import logging
import os
import threading
import weakref
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hpacml import environment
from hpacml.errors import ModelError
from hpacml.runtime.models import formats, trust

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("hpacml")


@dataclass(eq=False, slots=True)
class Model:
    """A model to run. `name` is for messages; `format` and `digest` are those of its file, if it has one.

    `writes_inputs` is learned by running it: whether it changes its input tensors in place. `replayable` says that it
    computes the same from the same inputs and weights, as networks do and Python functions may not, and that it has not
    been found out that a graph cannot hold it.
    """

    name: str
    network: formats.Network
    format: formats.Format | None = None
    digest: str | None = None
    writes_inputs: bool | None = None
    replayable: bool = False


Stamp = tuple[int, int, int]
"""By which a changed file is known: its time of change, size and inode."""


@dataclass(slots=True)
class _Loaded:
    model: Model
    stamp: Stamp | None
    """Of the file when it was last read, also in vain; None if there was none."""


_lock = threading.Lock()
_loaded: dict[tuple[str, str], _Loaded] = {}
_passed: weakref.WeakKeyDictionary[Any, Model] = weakref.WeakKeyDictionary()


def load(path: str, device: str = "cpu") -> Model:
    """The model in the file at `path`, which is absolute and without symbolic links, on `device`. Raises ModelError.

    The file is read at the first call; later ones give the same model, until `save_model` writes another there.
    With HPACML_MODEL_RELOAD=1 each call looks whether the file has changed, and reads it then; if that fails, the
    model stays, and the log tells why.
    """
    key = path, device
    if (loaded := _loaded.get(key)) is None:
        with _lock:
            if (loaded := _loaded.get(key)) is None:
                stamp = _stamp(path)  # before it is read: a change from here on is seen by the next call
                loaded = _loaded[key] = _Loaded(_read(path, device), stamp)
    elif environment.MODEL_RELOAD.is_on() and _stamp(path) != loaded.stamp:
        with _lock:
            _reload(path, device, loaded)
    return loaded.model


def forget(path: str) -> None:
    """Have the next `load` read the file anew, on every device."""
    with _lock:
        for key in [key for key in _loaded if key[0] == path]:
            del _loaded[key]


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _reload(path: str, device: str, loaded: _Loaded) -> None:
    """Read a file again, unless another thread has just done so."""
    if (stamp := _stamp(path)) == loaded.stamp:
        return
    loaded.stamp = stamp
    try:
        loaded.model = _read(path, device)
    except ModelError as error:
        _log.warning("the model '%s' has changed, but the one loaded before stays in use: %s", path, error)
    else:
        _log.info("the model '%s' has changed, and is loaded again", path)


def passed(network: Callable[..., object]) -> Model:
    """The model that a module, or any other callable on tensors, is. It is not kept alive by this."""
    try:
        if (model := _passed.get(network)) is None:
            model = _passed[network] = _wrap(network)
    except TypeError:  # it can have no weak reference; then each call learns anew what it does
        return Model(repr(network), formats.Network(network))
    return model


def describe(tensors: Sequence[torch.Tensor]) -> str:
    """Such as `float32[64, 5], float32[64]`."""
    return ", ".join(str(formats.InputType(x.dtype, tuple(x.shape))) for x in tensors)


def summary(error: BaseException) -> str:
    """The type and the first line of an error."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0].rstrip('.')}" if text else type(error).__name__


def file_format(content: bytes, path: str | os.PathLike[str]) -> formats.Format:
    """The format of a model file with this content. Raises ModelError if it holds no network that can be run."""
    try:
        format = formats.recognise(content)
    except zipfile.BadZipFile as error:
        raise _damaged(path) from error
    if format is None:
        raise ModelError(
            f"'{path}' is no model that hpacml can read: it is neither TorchScript, torch.export, "
            "AOTInductor nor a state dict with its description. Write one with hpacml.save_model"
        )
    if format == "pickle":
        raise ModelError(
            f"'{path}' is a state dict, or a module saved by torch.save, which does not tell safely which network "
            "to run. Make the network in Python, load the state dict into it, and write it with "
            "hpacml.save_model(network, 'model.pt2', example=...)"
        )
    return format


def _read(path: str, device: str) -> Model:
    content = trust.read(path)
    format = file_format(content, path)
    if format != formats.DATA:
        trust.require(content, path, format)
    try:
        network = formats.read(content, format, device)
    except zipfile.BadZipFile as error:
        raise _damaged(path) from error
    except Exception as error:
        raise ModelError(
            f"Torch cannot load the {format} model '{path}': {summary(error)}. It may be damaged, or of another "
            "version of Torch: write it again with hpacml.save_model"
        ) from error
    # An AOTInductor package asks the device whether it is ready, which cannot be captured.
    return Model(f"'{path}'", network, format, trust.digest(content), replayable=format != "AOTInductor")


def _damaged(path: str | os.PathLike[str]) -> ModelError:
    return ModelError(f"the model '{path}' is damaged or not complete: copy or write it again")


def _wrap(network: Callable[..., object]) -> Model:
    import torch

    from hpacml.runtime.models.traits import traits

    reference = cast("Callable[[], Any]", weakref.ref(network))
    if not isinstance(network, torch.nn.Module):
        return Model(repr(network), formats.Network(lambda *inputs: reference()(*inputs)))

    def run(*inputs: torch.Tensor) -> object:
        module = reference()
        if not module.training:
            return module(*inputs)
        with formats.evaluating(module):
            return module(*inputs)

    described = formats.Network(run, lambda: formats.first_floating(reference()), addresses=lambda: traits(reference()))
    return Model(type(network).__name__, described, replayable=True)
