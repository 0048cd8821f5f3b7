"""Models that are functions of JAX, which regions in programs of JAX call as a part of the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from hpacml.errors import HpacmlError, ModelError, summary
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.libraries import jax, jnp
from hpacml.runtime.models import jax_programs, trust
from hpacml.runtime.models.model import stamp


def is_of_jax(model: object) -> bool:
    """Whether a model that was passed computes on arrays of JAX: all but modules of Torch, and what belongs to one."""
    if not callable(model):
        return False
    if "torch" not in sys.modules:
        return True
    from hpacml.runtime.models.functions import module_of

    return module_of(model) is None


def load(path: str) -> Callable[..., Any] | None:
    """The function of JAX in a file that is trusted, None if the file is none of these, or not there yet.

    Raises ModelError for a file that is not trusted, or damaged.
    """
    if not path.endswith(".jax") or (now := stamp(path)) is None:
        return None
    if (found := _loaded.get(path)) is None or found[0] != now:
        content = trust.read(path)
        if not jax_programs.recognises(content, ()):
            return None
        trust.require(content, path, "JAX")
        try:
            program, _ = jax_programs.decode(content)
            function = _of_file(program, path)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"JAX cannot load the model '{path}': {summary(error)}") from error
        found = _loaded[path] = now, function
    return found[1]


_loaded: dict[str, tuple[tuple[int, ...], Callable[..., Any]]] = {}
"""The functions in files, by paths, and what tells of other content."""


def _of_file(program: Any, path: str) -> Callable[..., Any]:
    """The function of a file, on tensors of any dtype. It raises ModelError for those that do not fit."""
    wanted = [*program.in_avals]

    def run(*given: Any) -> Any:
        fit = len(given) == len(wanted) and all(
            len(x.shape) == len(aval.shape)
            and all(not isinstance(size, int) or size == found for size, found in zip(aval.shape, x.shape, strict=True))
            for x, aval in zip(given, wanted, strict=True)
        )
        if not fit:
            takes, gets = (", ".join(map(_shown, each)) for each in (wanted, given))
            raise ModelError(f"the model '{path}' takes {takes}, and the region gives {gets}")
        return program.call(*(x.astype(aval.dtype) for x, aval in zip(given, wanted, strict=True)))

    run.__name__ = f"'{path}'"
    return run


def _shown(array: Any) -> str:
    sizes = (str(size) if isinstance(size, int) else "*" for size in array.shape)
    return f"{array.dtype}[{', '.join(sizes)}]"


def on_tensors(model: Callable[..., Any], what: str) -> Callable[[Sequence[Any], Sequence[ArrayForm]], Sequence[Any]]:
    """What makes tensors of the forms of outputs by a function of JAX. It raises ModelError."""
    name = getattr(model, "__name__", None) or type(model).__name__

    def run(inputs: Sequence[Any], outputs: Sequence[ArrayForm]) -> Sequence[Any]:
        try:
            returned = model(*inputs)
        except HpacmlError:
            raise
        except Exception as error:
            given = ", ".join(map(_shown, inputs))
            raise ModelError(f"the model {name} of {what} failed on {given}: {summary(error)}") from error
        several = isinstance(returned, tuple | list)
        found = [*cast("Sequence[Any]", returned)] if several else [returned]
        if len(found) != len(outputs):
            raise ModelError(f"the model {name} of {what} gives {len(found)} outputs, where there are {len(outputs)}")
        return [_fitted(y, form, name, what) for y, form in zip(found, outputs, strict=True)]

    return run


def _fitted(y: Any, form: ArrayForm, name: str, what: str) -> Any:
    if not isinstance(y, jax.Array):
        raise ModelError(f"the model {name} of {what} gives a {type(y).__name__}, not an array of JAX")
    shape = tuple(y.shape)
    if shape == form.shape:
        return y
    if shape == (*form.shape, 1):
        return y.squeeze(-1)
    if (*shape, 1) == form.shape:
        return jnp.expand_dims(y, -1)
    raise ModelError(
        f"the model {name} of {what} gives the shape {list(shape)}, and the region's output has {list(form.shape)}"
    )
