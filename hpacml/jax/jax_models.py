"""Models that are functions of JAX, which regions in programs of JAX call as a part of the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from hpacml.errors import HpacmlError, ModelError, summary
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.inferring import Inferring
from hpacml.jax.libraries import jax, jnp
from hpacml.jax.operands import form_of
from hpacml.jax.value_checks import ValueCheck, any_of
from hpacml.runtime import checks
from hpacml.runtime.models import jax_programs, trust
from hpacml.runtime.models.model import Model, stamp
from hpacml.runtime.models.network import Network

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.models.inference import Inference


@dataclass(frozen=True)
class JaxModel:
    """A function on arrays of JAX. `takes` are the types of its inputs, and `network` what its file tells, if any."""

    name: str
    function: Callable[..., Any]
    takes: Sequence[Any] | None = None
    network: Network | None = None


def is_of_jax(model: object) -> bool:
    """Whether a model that was passed computes on arrays of JAX: all but modules of Torch, and what belongs to one."""
    if not callable(model):
        return False
    if "torch" not in sys.modules:
        return True
    from hpacml.runtime.models.functions import module_of

    return module_of(model) is None


def passed(function: Callable[..., Any]) -> JaxModel:
    """A function that was passed."""
    return JaxModel(getattr(function, "__name__", None) or type(function).__name__, function)


def load(path: str) -> JaxModel | None:
    """The function of JAX in a file that is trusted, None if the file is none of these, or not there yet.

    Raises ModelError for a file that is not trusted, or damaged.
    """
    if (now := stamp(path)) is None:
        return None
    if (found := _loaded.get(path)) is None or found[0] != now:
        found = _loaded[path] = now, _read(path) if jax_programs.is_one(path) else None
    return found[1]


_loaded: dict[str, tuple[tuple[int, ...], JaxModel | None]] = {}
"""The functions in files, by paths, and what tells of other content."""


def _read(path: str) -> JaxModel:
    content = trust.read(path)
    trust.require(content, path, "JAX")
    try:
        program, _ = jax_programs.decode(content)
        return JaxModel(f"'{path}'", program.call, program.in_avals, jax_programs.read(content, "cpu"))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"JAX cannot load the model '{path}': {summary(error)}") from error


class Run:
    """Runs a model in one call of a region, whose parts `remember` keeps. Calls raise ModelError.

    `failed` tells behind that whether values were refused and, by the policy, the original code is to run; None if no
    values are checked.
    """

    def __init__(
        self, model: JaxModel, common: Inferring, policy: str, remember: Callable[[object, Callable[[], Any]], Any]
    ) -> None:
        self._model, self._common, self._policy, self._remember = model, common, policy, remember
        self._what = f"the model {model.name} of {common.what}"
        self._flags: list[Any] = []
        self._inputs: Sequence[Any] = ()
        self._outputs: Sequence[ArrayForm] = ()

    @property
    def _named(self) -> Model:
        """The model as messages know it: without its function, in which something may be traced."""
        return Model(self._model.name, self._model.network or Network(tuple))

    @property
    def failed(self) -> Any:
        return any_of(self._flags)

    def __call__(self, inputs: Sequence[Any], outputs: Sequence[ArrayForm]) -> Sequence[Any]:
        self._inputs, self._outputs = inputs, outputs
        given = [*inputs]
        batch = self._model.network is not None and self._inference.fit(self._named).batch
        if batch:
            given = [x[None] for x in given]
        returned = self._returned(self._as_taken(given))
        found = self._in_order(returned)
        if len(found) != len(outputs):
            raise ModelError(f"{self._what} gives {len(found)} outputs, where there are {len(outputs)}")
        if batch:
            found = [self._of_one(y) for y in found]
        made = [self._fitted(y, form) for y, form in zip(found, outputs, strict=True)]
        return self._finite(made) if "finite" in checks.chosen() else made

    def _returned(self, given: Sequence[Any]) -> Any:
        try:
            return self._model.function(*given)
        except HpacmlError:
            raise
        except Exception as error:
            shown = ", ".join(map(_shown, given))
            hint = ""
            if isinstance(error, TypeError) and "Tensor" in str(error):
                hint = ": a function passed to a region of JAX gets arrays of JAX; one of Torch must be a module"
            elif "call_exported" in str(error):
                hint = ": jax.vmap cannot batch the program in a file: pass the function itself as the model"
            raise ModelError(f"{self._what} failed on {shown}: {summary(error)}{hint}") from error

    # -- inputs ----------------------------------------------------------------------------------

    def _as_taken(self, given: Sequence[Any]) -> Sequence[Any]:
        """Inputs in the types that a file takes. Raises ModelError for those that do not fit."""
        if (takes := self._model.takes) is None:
            return given
        if len(given) != len(takes) or not all(map(_fits, given, takes)):
            wanted, gets = (", ".join(map(_shown, each)) for each in (takes, given))
            raise ModelError(f"the model {self._model.name} takes {wanted}, and the region gives {gets}")
        return [self._converted(k, x, aval.dtype) for k, (x, aval) in enumerate(zip(given, takes, strict=True))]

    def _converted(self, number: int, x: Any, dtype: Any) -> Any:
        """An input in another dtype, which must have its values where integers are among these."""
        if x.dtype == dtype or all(jnp.issubdtype(each, jnp.floating) for each in (x.dtype, dtype)):
            return x.astype(dtype)
        from hpacml.dtypes import torch_dtypes
        from hpacml.runtime.models.intake import first_inexact, is_checked

        made = jax.eval_shape(lambda: jnp.zeros(x.shape, dtype))
        form, wanted = form_of(x, "an input"), form_of(made, "an input")
        source, target = torch_dtypes()[form.dtype], torch_dtypes()[wanted.dtype]
        if not is_checked(source, target):
            return x.astype(dtype)
        inference, model = self._inference, self._named

        def check(tensors: Sequence[torch.Tensor]) -> None:
            if (place := first_inexact(tensors[0], tensors[0].to(target))) is not None:
                raise inference.misfits.inexact(model, number, tensors[0], target, place)

        return self._checked(("exact", self._model.name, number), [x], [wanted], check)[0]

    # -- outputs ---------------------------------------------------------------------------------

    def _in_order(self, returned: Any) -> Sequence[Any]:
        """The outputs in the region's order: by names, where the model has these, else as they are."""
        if isinstance(returned, jax.Array):
            return [returned]
        names = () if self._model.network is None else self._model.network.names
        if type(returned) in (tuple, list) and not names:
            return cast("Sequence[Any]", returned)
        found = self._inference.in_order(self._named, returned)
        return [returned] if found is None else found

    def _of_one(self, y: Any) -> Any:
        """The only one of a batch."""
        if not isinstance(y, jax.Array) or y.shape[:1] != (1,):
            raise ModelError(f"{self._what} was given a batch of one, and gives {_shown(y)}")
        return y[0]

    def _fitted(self, y: Any, form: ArrayForm) -> Any:
        if not isinstance(y, jax.Array):
            raise ModelError(f"{self._what} gives a {type(y).__name__}, not an array of JAX")
        shape = tuple(y.shape)
        if shape == form.shape:
            return y
        if shape == (*form.shape, 1):
            return y.squeeze(-1)
        if (*shape, 1) == form.shape:
            return jnp.expand_dims(y, -1)
        raise ModelError(f"{self._what} gives the shape {list(shape)}, and the region's output has {list(form.shape)}")

    def _finite(self, made: Sequence[Any]) -> Sequence[Any]:
        """Outputs of which Python sees, when the program runs, whether they are finite."""
        from hpacml.dtypes import torch_dtypes

        inference, model = self._inference, self._named
        dtypes = [torch_dtypes()[form.dtype] for form in self._outputs]

        def check(tensors: Sequence[torch.Tensor]) -> None:
            targets = [x.to(dtype) for x, dtype in zip(tensors, dtypes, strict=True)]
            inference.require_finite(model, [*zip(targets, tensors, strict=True)], 0)

        forms = [form_of(y, "an output") for y in made]
        return self._checked(("finite", self._model.name, *self._outputs), made, forms, check)

    # -- checks ----------------------------------------------------------------------------------

    def _checked(
        self,
        key: tuple[object, ...],
        arrays: Sequence[Any],
        results: Sequence[ArrayForm],
        check: Callable[[Sequence[torch.Tensor]], None],
    ) -> Sequence[Any]:
        forms = [form_of(x, "an array") for x in arrays]
        common, policy = self._common, self._policy
        call = self._remember(
            (*key, *forms, *results, policy),
            lambda: ValueCheck(common.what, common.label, policy, forms, results, check),
        )
        *made, flag = call(*arrays)
        if policy == "accurate":
            self._flags.append(flag)
        return made

    @cached_property
    def _inference(self) -> Inference:
        """What knows how models fit the region's maps. It imports Torch."""
        from hpacml.runtime.models.inference import Inference

        return Inference(self._common.site([form_of(x, "an input") for x in self._inputs], self._outputs))


def _fits(array: Any, aval: Any) -> bool:
    return len(array.shape) == len(aval.shape) and all(
        not isinstance(size, int) or size == found for size, found in zip(aval.shape, array.shape, strict=True)
    )


def _shown(array: Any) -> str:
    if not hasattr(array, "dtype"):
        return f"a {type(array).__name__}"
    sizes = (str(size) if isinstance(size, int) else "*" for size in array.shape)
    return f"{array.dtype}[{', '.join(sizes)}]"
