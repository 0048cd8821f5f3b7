"""Gathers and scatters in programs of XLA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hpacml.dtypes import common
from hpacml.errors import MapError
from hpacml.frontend.bound_map import compiled
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.wrapper import ArrayType
from hpacml.functors.application import Way
from hpacml.functors.strided_views import Mapped
from hpacml.jax import array_maps
from hpacml.jax.batched_maps import batched
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.compiled_call import CompiledCall
from hpacml.jax.differentials import tangents_of
from hpacml.jax.libraries import jnp
from hpacml.jax.operands import form_of, result_of
from hpacml.jax.templates import Template
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.entry import Function


class Use(NamedTuple):
    """A functor applied to arrays whose numbers are known: the distinct open ones, and its parameters."""

    application: AppliedFunctor
    numbers: tuple[int, ...]
    params: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays, each once."""
        return tuple(dict.fromkeys(self.application.arrays))

    @property
    def written(self) -> tuple[str, ...]:
        """The arrays that a scatter writes."""
        application = self.application
        return tuple(dict.fromkeys(application.arrays[head] for head in application.heads))

    def resolve(self, way: Way, forms: Mapping[str, ArrayForm]) -> Mapped[int]:
        """What is read or written of arrays of these forms. Raises `MapError` if the map does not fit."""
        application = self.application
        shapes = [forms[name].shape for name in application.arrays]
        numbers = [self.numbers[place] for place in application.places]
        params = dict(zip(application.functor.used_params, self.params, strict=True))
        return application.resolve(way, shapes, numbers, params)

    def dtype(self, forms: Mapping[str, ArrayForm]) -> str:
        """The element type of the tensor."""
        application = self.application
        found = common([forms[application.arrays[head]].dtype for head in application.heads])
        if found is None:
            raise MapError(f"in the map '{application.text}': no integer type has the numbers of all arrays")
        return found


class MapCall(CompiledCall):
    """A gather of the arrays that a map names, or a scatter of a tensor, which follows these, into some of them."""

    def __init__(self, use: Use, way: Way, forms: Mapping[str, ArrayForm], dtype: str | None = None) -> None:
        self._use, self._forms = use, {name: forms[name] for name in use.names}
        self._way: Way = way
        self._mapped = use.resolve(way, forms)
        self.tensor = ArrayForm(dtype or use.dtype(forms), self._mapped.shape)
        self.what = f"the map '{use.application.text}'"
        names, arguments = [*self._forms], len(self._forms)
        if way == "to":
            results, aliases = [result_of(self.tensor)], dict[int, int]()
        else:
            results = [result_of(forms[name]) for name in use.written]
            aliases = {names.index(name): k for k, name in enumerate(use.written)}
            arguments += 1
        key = way, use.application.directive.canonical, use.application.text, use, self._forms, self.tensor
        super().__init__(results, aliases, key, arguments)

    def compile(self, chip: str | None) -> Function:
        application = self._use.application
        forms = (*(self._forms[name] for name in application.arrays), self.tensor)
        types = tuple(ArrayType(form.dtype, len(form.shape), Layout.PACKED) for form in forms)
        return compiled(application, "gather" if self._way == "to" else "scatter", types, chip)

    def fill(self, template: Template) -> None:
        application, names = self._use.application, [*self._forms]
        targets = {name: self._arguments + k for k, name in enumerate(self._use.written)} if self._way == "from" else {}
        for slot, name in enumerate(application.arrays):
            template.array(slot, targets.get(name, names.index(name)), *self._forms[name])
        slot = len(application.arrays)
        template.array(slot, len(names), *self.tensor)
        for number in (*self._use.numbers, *self._use.params):
            slot += 1
            template.put(slot, "index", number)

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        return tangents_of(self._in_jax, primals, tangents)

    def _in_jax(self, *operands: Any) -> Sequence[Any]:
        arrays = dict(zip(self._forms, operands, strict=False))
        application = self._use.application
        if self._way == "to":
            return [array_maps.gather(application, self._mapped, arrays, self.results[0].dtype)]
        written = array_maps.scatter(application, self._mapped, arrays, operands[-1])
        return [written[name] for name in self._use.written]

    def batch(
        self, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        """All calls in one: the map has a symbol more."""
        arguments, names = list(arguments), [*self._forms]
        have_it = {name for name, is_batched in zip(names, are_batched, strict=False) if is_batched}
        if self._way == "from":
            for k, name in enumerate(names):
                if name in self._use.written and name not in have_it:
                    arguments[k] = _repeated(arguments[k], size)
                    have_it.add(name)
            if not are_batched[-1]:
                arguments[-1] = _repeated(arguments[-1], size)
        use = self._use._replace(application=batched(self._use.application, size, have_it))
        forms = {name: form_of(array, name) for name, array in zip(names, arguments, strict=False)}
        key = size, frozenset(have_it)
        call = self.part(key, lambda: MapCall(use, self._way, forms, self.tensor.dtype))
        return call(*arguments), [True] * len(call.results)


def _repeated(array: Any, size: int) -> Any:
    return jnp.broadcast_to(array, (size, *array.shape))
