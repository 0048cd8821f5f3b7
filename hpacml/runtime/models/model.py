"""Models: files, which are read once per process and device, and callables passed from Python."""

from __future__ import annotations

import logging
import os
import weakref
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hpacml import environment
from hpacml.errors import ModelError, summary
from hpacml.locks import Order, lock
from hpacml.runtime.models import formats, jax_programs, prerequisites, trust
from hpacml.runtime.models.network import InTraining, Network, evaluating, first_floating, is_in_evaluation

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.models.engine import Engine
    from hpacml.runtime.models.intake import Taken

_log = logging.getLogger("hpacml")


@dataclass(eq=False, slots=True)
class Model:
    """A model to run.

    `name` is for messages; `format`, by its name, and `digest` are those of its file, if it has one. Whether it changes
    its input tensors in place, `writes_inputs`, is learned by running it, and whether it takes `gradients` itself,
    which are recorded for it then. `replayable` says that it computes the same from the same inputs and weights, as
    networks do and Python functions may not, and that no graph has failed to hold it.
    """

    name: str
    network: Network
    format: str | None = None
    digest: str | None = None
    writes_inputs: bool | None = None
    gradients: bool = False
    replayable: bool = False
    engine: Engine | None = None
    """The code that computes it, if there is some."""
    taken: dict[tuple[torch.dtype | None, ...], Taken] = field(default_factory=lambda: dict[Any, Any]())
    """What it was found to take for the dtypes that are given, before its own floating one."""


Stamp = tuple[int, ...]
"""Device, inode, size and times of change of the file that a path leads to: these tell of another file or content."""


@dataclass(slots=True)
class _Loaded:
    """The model of a file, the file itself, without symbolic links, and the stamp that was there when it was last read,
    also in vain; None for no file.
    """

    model: Model
    file: str
    stamp: Stamp | None


_lock = lock(Order.LOADING)
_loaded: dict[tuple[str, str], _Loaded] = {}

V = TypeVar("V")
_ByIdentity = dict[int, tuple[Callable[[], Any], V]]
"""By the number of an object, a weak reference to it, and what is known of it: equal objects need not be one model."""

_passed: _ByIdentity[Model] = {}
_methods: _ByIdentity[dict[Any, Model]] = {}


def load(path: str, device: str = "cpu") -> Model:
    """Give the model in the file at `path`, which is absolute, on `device`.

    The file is read at the first call; later ones give the same model, until `save_model` writes another there.
    With HPACML_MODEL_RELOAD=1 each call follows symbolic links anew and looks whether the file is another or has
    changed, and reads it then; if that fails, the model stays, and the log tells why. Raises ModelError.
    """
    key = path, device
    if (loaded := _loaded.get(key)) is None:
        with _lock:
            if (loaded := _loaded.get(key)) is None:
                loaded = _loaded[key] = _first(path, device)
    elif environment.MODEL_RELOAD.is_on() and stamp(path) != loaded.stamp:
        with _lock:
            _reload(path, device, loaded)
    return loaded.model


on_change: list[Callable[[], None]] = []
"""What is called where a model of a file is another one from now on."""


def forget(file: str) -> None:
    """Have the next `load` read the file, whose path has no symbolic links, anew, by any path and on every device."""
    with _lock:
        for key in [key for key, loaded in _loaded.items() if file in (loaded.file, os.path.realpath(key[0]))]:
            del _loaded[key]
    for tell in on_change:
        tell()


def _first(path: str, device: str) -> _Loaded:
    """Read a file, unless it has been read by another path."""
    now = stamp(path)  # before it is read: a change from here on is seen by the next call
    file = os.path.realpath(path)
    for (_, where), known in _loaded.items():
        if where == device and known.file == file and known.stamp == now:
            return _Loaded(known.model, file, now)
    return _Loaded(_read(path, device), file, now)


def stamp(path: str) -> Stamp | None:
    """What tells that a file has other content than before; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _reload(path: str, device: str, loaded: _Loaded) -> None:
    """Read a file again, unless another thread has just done so."""
    if (now := stamp(path)) == loaded.stamp:
        return
    loaded.stamp = now
    try:
        loaded.model, loaded.file = _read(path, device), os.path.realpath(path)
    except ModelError as error:
        _log.warning("the model '%s' has changed, but the one loaded before stays in use: %s", path, error)
    else:
        _log.info("the model '%s' has changed, and is loaded again", path)


def passed(network: Callable[..., object]) -> Model:
    """Make a module, or any other callable on tensors, a model, without keeping it alive."""
    try:
        if isinstance(network, MethodType):
            return _method(network)
        if (model := _known(_passed, network)) is None:
            model = _remember(_passed, network, _wrap(network))
    except TypeError:  # it can have no weak reference; then each call learns anew what it does
        return Model(repr(network), Network(network, runs_code=lambda: True))
    return model


def _method(network: MethodType) -> Model:
    """Find the model of a method, which Python makes anew each time that it is asked for: by its object."""
    of_object = _known(_methods, network.__self__)
    if of_object is None:
        of_object = _remember(_methods, network.__self__, dict[Any, Model]())
    if (model := of_object.get(network.__func__)) is None:
        owner, function = weakref.ref(network.__self__), network.__func__
        model = of_object[function] = _wrap(network, lambda: MethodType(function, owner()))
    return model


def _known(table: _ByIdentity[V], key: Any) -> V | None:
    found = table.get(id(key))
    return found[1] if found is not None and found[0]() is key else None


def _remember(table: _ByIdentity[V], key: Any, value: V) -> V:
    """Remember something of an object, as long as there is the object. Raises TypeError if that cannot be told."""
    number = id(key)

    def forget(reference: object) -> None:
        if (found := table.get(number)) is not None and found[0] is reference:
            del table[number]

    table[number] = weakref.ref(key, forget), value
    return value


def _read(path: str, device: str) -> Model:
    content = trust.read(path)
    format = formats.identify(content, path)
    if format.runs_code:
        trust.require(content, path, format.name)
    prerequisites.meet()
    try:
        network = format.read(content, device)
    except zipfile.BadZipFile as error:
        raise formats.damaged(path) from error
    except InTraining as error:
        raise ModelError(f"the {format.name} model '{path}' cannot be evaluated: {error}") from error
    except Exception as error:
        raise ModelError(
            f"Torch cannot load the {format.name} model '{path}': {summary(error)}. It may be damaged, or of another "
            "version of Torch: write it again with hpacml.save_model"
        ) from error
    return Model(f"'{path}'", network, format.name, trust.digest(content), replayable=format.replayable)


def _wrap(network: Callable[..., object], find: Callable[[], Any] | None = None) -> Model:
    """Make a model of what `find` gives, by default a weak reference."""
    from hpacml.runtime.models.copies import evaluated_copy
    from hpacml.runtime.models.functions import as_it_is, module_of, upon
    from hpacml.runtime.models.training import require_evaluation
    from hpacml.runtime.models.traits import runs_code, traits

    reference = find or cast("Callable[[], Any]", weakref.ref(network))
    if jax_programs.is_jitted(network):
        return Model(
            getattr(network, "__name__", None) or type(network).__name__,
            Network(jax_programs.on_tensors(lambda *given: reference()(*given)), reads_only=True),
        )
    if (owner := module_of(network)) is None:
        return Model(repr(network), Network(as_it_is(network, reference), runs_code=lambda: True))

    try:
        require_evaluation(owner)
    except InTraining as error:
        raise ModelError(f"the model {type(owner).__name__} cannot be evaluated: {error}") from error

    def run(*inputs: torch.Tensor) -> object:
        called = reference()
        module = called if whole else cast(Any, module_of(called))
        if is_in_evaluation(module):
            return called(*inputs)
        with evaluating(module):
            return called(*inputs)

    def module() -> Any:
        return module_of(reference())

    whole = network is owner
    weak = Network(
        run,
        (lambda: first_floating(reference())) if whole else (lambda: first_floating(module())),
        addresses=lambda: traits(module()),
        trial=lambda: upon(reference(), evaluated_copy(module())),
        runs_code=(lambda: runs_code(reference())) if whole else lambda: True,
        module=reference if whole else None,
    )
    name = type(owner).__name__
    return Model(name if whole else f"{name} ({network!r})", weak, replayable=whole)
