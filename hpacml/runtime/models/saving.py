"""The writing of model files."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpacml.directives.map_texts import Maps
from hpacml.errors import ModelError, summary
from hpacml.runtime.map_digest import meaning_sha256
from hpacml.runtime.models import formats, prerequisites, trust
from hpacml.runtime.models.formats import ModelFormat, SaveFormat
from hpacml.runtime.models.model import forget, load
from hpacml.runtime.models.network import describe, first_floating
from hpacml.version import version

if TYPE_CHECKING:
    import numpy as np
    import torch

    from hpacml.runtime.models.domain import Domain

    Example = torch.Tensor | np.ndarray[Any, Any]


def save_model(
    module: torch.nn.Module | Callable[..., Any],
    path: str | os.PathLike[str],
    *,
    example: Example | Sequence[Example],
    format: SaveFormat | None = None,
    metadata: Mapping[str, Any] | None = None,
    maps: Sequence[str] | None = None,
    domain: Domain | Example | Sequence[Example] | str | os.PathLike[str] | None = None,
) -> Path:
    """Write a module to a file that a region can use as its model, and trust the file on this machine.

    `example` is an input such as the region will give, or a tuple of several: tensors or arrays, of which the
    floating ones are converted to the module's dtype. If each has one dimension more than the region's tensors, the
    model gets and gives a batch of one there. The module is saved as it computes in evaluation mode, and stays as it
    is. In every format the number of rows may vary from call to call.

    `format`, or else the suffix, says how:

    - "export" (`.pt2`): by torch.export; every dimension may vary that the module does not fix.
    - "torchscript" (`.pt`, `.ts`): traced TorchScript, or the module itself if it is scripted.
    - "state_dict" (`.safetensors`): the weights and a description of the layers. It is data, which loads on any
      machine without trust; but only for modules made of `torch.nn.Sequential` and the common layers, among them
      `hpacml.Normalize`.
    - "jax" (`.jax`): a function of JAX, or a module of Equinox or Flax, by jax.export.
    - "aotinductor": compiled for this kind of processor, by a C++ compiler; it takes seconds. Name it `.pt2`.

    `metadata` is kept in the file: anything that JSON has; `hpacml model info FILE` shows it.

    `maps` are the functors and maps of the training data, `hpacml.open_database(...)[label].maps`. The file keeps them
    with the digest of what they mean, and a region whose maps mean anything else refuses the model; names do not
    matter. As the database gives them they know the element types of the data, and a region whose arrays have elements
    of another kind refuses the model, too; a plain list of their texts does not. Without them, or with None, which data
    that does not tell its maps gives, the model goes into any region that its shapes fit.

    `domain` are the inputs of the training: as many tensors as examples, with any number of points. The file keeps the
    range of each feature of a point, and how features go together, by which the clause `guard` knows whether a model
    may be used at a point. Points and features are told by `maps`; without these, the last dimension of a tensor has
    the features, unless it is the only one. A path is that of a model whose domain the file gets, too.

    Returns the absolute path. The file appears whole or not at all. Raises ModelError.
    """
    import torch

    target = Path(os.path.realpath(path))
    if (chosen := formats.choose(format, target.suffix)) is None:
        raise _no_format(target)
    told = {**_maps_metadata(maps), **_domain_metadata(domain, maps, example)}
    _require_kind(chosen, module)
    if not isinstance(module, torch.nn.Module):
        content = _content_of_function(module, example, metadata, told)
    else:
        inputs = _example_tensors(example, module)
        content = _content(chosen, module, inputs, {**_file_metadata(inputs, metadata), **told})
    if chosen.runs_code:
        trust.trust_content(content, target)
    _write(target, content)
    forget(str(target))
    return target


def _require_kind(chosen: ModelFormat, model: object) -> None:
    """Raise ModelError for a model of another kind than files of a format have."""
    import torch

    is_module = isinstance(model, torch.nn.Module)
    if chosen.argument == "jax" and (is_module or not callable(model)):
        raise ModelError(f"a file named .jax has a function of JAX, and this is a {type(model).__name__}")
    if chosen.argument != "jax" and not is_module:
        raise ModelError(
            f"save_model takes a torch.nn.Module, not a {type(model).__name__}; functions of JAX go into files that "
            "are named .jax"
        )


def _content_of_function(
    function: Callable[..., Any],
    example: Example | Sequence[Example],
    metadata: Mapping[str, Any] | None,
    told: Mapping[str, Any],
) -> bytes:
    """Make the file of a function of JAX. Raises ModelError."""
    from hpacml.runtime.models import jax_programs

    inputs = [_tensor(each) for each in _examples(example)]
    name = getattr(function, "__name__", type(function).__name__)
    return jax_programs.write_function(function, inputs, {**_file_metadata(inputs, metadata), **told}, name)


def require_savable(module: torch.nn.Module, path: str | os.PathLike[str], example: Sequence[Example]) -> None:
    """Raise ModelError if `save_model` would, so that a training which ends with it does not begin.

    A module of layers that can be described is not written for that.
    """
    from hpacml.runtime.models import layers

    target = Path(path)
    if (chosen := formats.choose(None, target.suffix)) is None:
        raise _no_format(target)
    _require_kind(chosen, module)
    try:
        layers.describe(module)
    except layers.UnknownLayer:
        _content(chosen, module, _example_tensors(example, module), {})


def _no_format(target: Path) -> ModelError:
    known = formats.by_preference()
    *names, last_name = (f"{each.suffixes[0]} ({each.name})" for each in known if each.suffixes)
    *arguments, last = (f"'{each.argument}'" for each in known)
    return ModelError(
        f"cannot tell in which format to write the model '{target}': name it {', '.join(names)} or {last_name}, "
        f"or give format={', '.join(arguments)} or {last}"
    )


def _content(
    chosen: ModelFormat, module: torch.nn.Module, inputs: Sequence[torch.Tensor], metadata: Mapping[str, Any]
) -> bytes:
    """Make the file of a module, and prove it. Raises ModelError, which recommends what works."""
    from hpacml.runtime.models.proof import Unlike

    try:
        return _proven(chosen, module, inputs, metadata)
    except Unlike as error:
        failure = error
        reason = f"as {chosen.argument} the {type(module).__name__} would not compute what it does in Python: {error}"
    except Exception as error:
        failure = error
        reason = (
            f"Torch cannot write the {type(module).__name__} with the example {describe(inputs)} as "
            f"{chosen.argument}: {summary(error)}{_mixed_dtypes(module)}"
        )
    raise ModelError(f"{reason}. {_advice(chosen, module, inputs, metadata)}") from failure


def _proven(
    chosen: ModelFormat, module: torch.nn.Module, inputs: Sequence[torch.Tensor], metadata: Mapping[str, Any]
) -> bytes:
    """Write the content of a file, and run it beside the module. Raises `proof.Unlike`, and what Torch raises.

    A module that takes derivatives, which the format does not hold as it is, is written by its operations, theirs
    among them.
    """
    from hpacml.runtime.models import gradients, proof
    from hpacml.runtime.models.copies import contents_kept, evaluated_copy
    from hpacml.runtime.models.export import with_more_rows
    from hpacml.runtime.models.outputs import fields

    def written(subject: torch.nn.Module) -> bytes:
        content = chosen.write(subject, inputs, {**metadata, "outputs": names} if names else metadata)
        file = chosen.read(content, str(inputs[0].device))
        proof.prove(file.run, evaluated_copy(module), inputs)
        return content

    prerequisites.meet()
    with proof.own_random_numbers(inputs):
        subject = evaluated_copy(module)
        with contents_kept(subject):
            names = fields(gradients.run(subject, inputs))
            derives = gradients.takes_gradients(subject, inputs) or gradients.turns_them_on(subject, inputs)
        try:
            return written(subject)
        except Exception:
            if not derives:
                raise
        subject = gradients.unrolled(evaluated_copy(module), next(iter(with_more_rows(inputs)), inputs))
        return written(subject)


def _advice(
    chosen: ModelFormat, module: torch.nn.Module, inputs: Sequence[torch.Tensor], metadata: Mapping[str, Any]
) -> str:
    """Recommend a format that holds the module, which is tried, else the module itself."""
    for other in formats.by_preference():
        if other is not chosen and other.quick:
            try:
                _proven(other, module, inputs, metadata)
            except Exception:
                continue
            return f"Try the module on the example, or format='{other.argument}', which holds it"
    return (
        "Try the module on the example; what it decides in Python by values or numbers of rows, torch.where can, "
        "or else give the region the module itself, model(net)"
    )


def _mixed_dtypes(module: torch.nn.Module) -> str:
    """Tell of floating weights of several dtypes, which operations refuse to mix."""
    found: dict[str, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            found.setdefault(str(tensor.dtype).removeprefix("torch."), name)
    if len(found) < 2:
        return ""
    listed = ", ".join(f"'{name}' is {dtype}" for dtype, name in found.items())
    return f" ({listed}: module.float() or .double() makes them one)"


def _file_metadata(inputs: Sequence[torch.Tensor], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Collect what is written beside a model, as JSON will give it back. Raises ModelError for what JSON lacks."""
    import torch

    example = [{"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)} for x in inputs]
    written = {"hpacml": version(), "torch": str(torch.__version__), "example": example, "metadata": metadata or {}}
    try:
        return json.loads(json.dumps(written, default=dict))
    except (TypeError, ValueError) as error:
        raise ModelError(f"the metadata of a model is what JSON has: {error}") from error


def _maps_metadata(maps: Sequence[str] | None) -> dict[str, Any]:
    """Collect what is written of the maps of the training data. Raises ModelError for anything but texts."""
    if maps is None:
        return {}
    given = cast(object, maps)
    texts = cast("Sequence[object]", given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ModelError(f"maps are a list of texts, hpacml.open_database(FILE)[LABEL].maps, and this is {given!r}")
    types = {"map_dtypes": list(maps.dtypes)} if isinstance(maps, Maps) and maps.dtypes else {}
    return {"maps": list(maps), "maps_sha256": meaning_sha256(maps), **types}


def _domain_metadata(
    domain: Domain | Example | Sequence[Example] | str | os.PathLike[str] | None,
    maps: Sequence[str] | None,
    example: Example | Sequence[Example],
) -> dict[str, Any]:
    """Collect what is written of a domain, or of the inputs that lie in it. Raises ModelError for others."""
    if domain is None:
        return {}
    from hpacml.runtime.models import survey
    from hpacml.runtime.models.domain import Domain, listed

    if isinstance(domain, (str, os.PathLike)):
        name = os.fspath(domain)
        if (domain := load(os.path.realpath(name)).network.domain) is None:
            raise ModelError(f"the model '{name}', whose domain is wanted, has none")
    if isinstance(domain, Domain):
        return {"domain": domain.to_json()}
    inputs, given = ([_tensor(each) for each in _examples(side)] for side in (example, domain))
    try:
        wanted = survey.features_of(inputs, maps or ())
        found = survey.surveyed(given, maps or ())
    except ValueError as error:
        raise ModelError(f"the inputs {describe(given)} have no domain: {error}") from error
    if found.features != wanted:
        raise ModelError(
            f"a point of the domain {describe(given)} has {listed(found.features)} features, and one of the example "
            f"{describe(inputs)} has {listed(wanted)}: give as domain=... inputs such as the example, with more points"
        )
    return {"domain": found.to_json()}


def _example_tensors(example: Example | Sequence[Example], module: torch.nn.Module) -> list[torch.Tensor]:
    """Convert the examples to tensors as the module takes them, on its device. Raises ModelError."""
    anchor = first_floating(module)
    tensors: list[torch.Tensor] = []
    for each in _examples(example):
        tensor = _tensor(each)
        if anchor is not None:
            tensor = tensor.to(anchor.device, anchor.dtype if tensor.is_floating_point() else tensor.dtype)
        tensors.append(tensor)
    return _as_taken(tensors, module, anchor)


def _examples(example: Example | Sequence[Example]) -> Sequence[Example]:
    return cast("Sequence[Example]", example if isinstance(example, (tuple, list)) else (example,))


def _tensor(example: Example) -> torch.Tensor:
    """An example as a tensor. Raises ModelError for what is none, and for one without elements."""
    import numpy as np
    import torch

    try:
        tensor = (
            example.detach()
            if isinstance(example, torch.Tensor)
            else torch.as_tensor(np.array(example, order="C"), device="cpu")
        )
    except TypeError as error:
        raise ModelError(f"an example must be a tensor or an array of numbers: {error}") from error
    if 0 in tensor.shape:
        raise ModelError(f"the example {describe([tensor])} has no elements: give one row or more")
    return tensor


def _as_taken(tensors: list[torch.Tensor], module: torch.nn.Module, anchor: torch.Tensor | None) -> list[torch.Tensor]:
    """Convert examples whose dtypes the module does not take: those of integers, and all if it tells no dtype."""
    from hpacml.runtime.models import intake
    from hpacml.runtime.models.copies import evaluated_copy

    if anchor is not None and all(x.is_floating_point() for x in tensors):
        return tensors
    floating = None if anchor is None else anchor.dtype
    found, _ = intake.taken(lambda: evaluated_copy(module), tensors, floating, declared=True)
    return [x.to(dtype) for x, dtype in zip(tensors, found.dtypes, strict=True)]


def _write(target: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises ModelError."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, target)
    except OSError as error:
        raise ModelError(f"cannot write the model '{target}': {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # there is none, or not even its folder
            temporary.unlink()
