"""`hpacml.jax.region`: a region whose original code is a pure function of JAX."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any, ParamSpec, TypeVar, cast

from hpacml import environment
from hpacml.clauses import OnError, is_policy
from hpacml.directives.parser import require_text
from hpacml.directives.syntax import Name
from hpacml.errors import CompileError, DirectiveError, HpacmlError, MapError, ModelError
from hpacml.frontend.body import require_plain
from hpacml.frontend.maps import integers_of, numbers_of
from hpacml.frontend.region import Region
from hpacml.frontend.scope import GUARDING, READS, Keyword
from hpacml.functors.application import Way
from hpacml.jax import jax_models
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.collecting_call import Beginning, Collecting, Collection
from hpacml.jax.decomposition import Decomposition
from hpacml.jax.eager import settled
from hpacml.jax.inference_call import RegionInference
from hpacml.jax.inferring import Inferring
from hpacml.jax.jax_models import JaxModel
from hpacml.jax.libraries import is_traced, jnp, lax
from hpacml.jax.map_call import Use
from hpacml.jax.operands import as_operand, form_of
from hpacml.jax.region_arguments import (
    READ,
    WRITTEN,
    PureCall,
    as_metadatum,
    as_number,
    integers_in,
    known_integer,
    spread,
)
from hpacml.jax.shards import either
from hpacml.jax.traced_expressions import truth_of, value_of
from hpacml.runtime.arrays.views import ArrayView, c_strides
from hpacml.runtime.entry import Function
from hpacml.runtime.frame import is_path
from hpacml.runtime.models import fallback
from hpacml.runtime.reports import instruments

P = ParamSpec("P")
R = TypeVar("R")

KNOWN_FORMS = 256
"""How many forms of calls a region remembers."""


class PureRegion(Region[P, R]):
    """A region of a pure function, made by `hpacml.jax.region`: it returns new values of the arrays that are outputs.

    It is called inside and outside of functions that JAX transforms.
    """

    door = "pure region"

    def __init__(
        self, function: Callable[P, R], directives: str, unchecked: bool = False, on_error: OnError | None = None
    ):
        super().__init__(function, directives, unchecked, on_error, None)
        self._require_no_guards()
        self.what = f"the region {function.__name__}"
        self._known: dict[object, Any] = {}

    def _require_no_guards(self) -> None:
        """Raise `DirectiveError` for clauses that decide which points of a call the model computes."""
        ml = self._ml
        for keyword in GUARDING:
            if keyword in ml.clauses:
                raise DirectiveError(
                    f"regions of JAX have no '{keyword}': let the model do that, or the program, by jax.numpy.where "
                    "around the call",
                    ml.text,
                    *ml.clauses[keyword],
                )

    def options(self) -> dict[str, Any]:
        return {"directives": self._directives, "unchecked": self._unchecked, "on_error": self._on_error}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            values = dict(self._values(args, kwargs))
            values |= {each.path: each.value(values) for each in self._attributes}
            call = self._pure(values)
            results = settled(lambda: self._results(call))
            return dict(zip(call.written, results, strict=True))
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the frames of tracing)

    @cached_property
    def _integers(self) -> frozenset[str]:
        return integers_in(self._maps)

    def _pure(self, values: dict[str, object]) -> PureCall:
        """A call with these arguments. Raises MapError and DirectiveError for those that do not fit."""
        for name in self._integers & values.keys():
            values[name] = known_integer(name, values[name], self.what)
        integers = integers_of(values)
        plan = self._plan(tuple(integers))
        written = tuple(name for k, name in enumerate(plan.arrays) if k in plan.written)
        operands = {name: as_operand(values[name], name) for name in plan.arrays if name not in plan.single}
        beside = [form_of(operands[name], name).dtype for name in plan.elements if name in operands]
        for name, rank in plan.single.items():
            if name in written:
                raise MapError(f"argument '{name}' is a number, which cannot be written: map an array")
            operands[name] = as_number(values[name], name, rank, beside)
        operands = {name: operands[name] for name in plan.arrays}
        forms = {name: form_of(array, name) for name, array in operands.items()}
        views = {name: ArrayView(0, *form, c_strides(form.shape), False, None) for name, form in forms.items()}
        known = {**values, **operands}
        bound = self._with_numbers(plan, known, integers, [*views.values()], [])
        uses: list[tuple[Keyword, Use]] = []
        for keyword, each in plan.maps:
            numbers = numbers_of(each.distinct_numbers, known, each.arrays, [views[name] for name in each.arrays])
            uses.append((keyword, Use(each, tuple(numbers), tuple(integers[p] for p in each.functor.used_params))))
        bound = replace(bound, values={})  # what is kept may have nothing that is traced
        values |= {name: array for name, array in operands.items() if name not in plan.single}
        call = PureCall(values, operands, forms, tuple(uses), written, bound)
        self._remembered(("fits", call.key), lambda: [self._check(keyword, use, forms) for keyword, use in uses])
        return call

    @staticmethod
    def _check(keyword: Keyword, use: Use, forms: Mapping[str, ArrayForm]) -> None:
        """Raise `MapError` for a map that does not fit its arrays."""
        ways: dict[Keyword, tuple[Way, ...]] = {
            "in": ("to",),
            "truth": ("to",),
            "out": ("from",),
            "inout": ("to", "from"),
        }
        for way in ways[keyword]:
            use.resolve(way, forms)

    # -- what a call does ------------------------------------------------------------------------

    def _results(self, call: PureCall) -> Sequence[Any]:
        """The new values of the arrays that maps write."""
        ml = self._ml
        active = True if ml.if_condition is None else truth_of(ml.if_condition, call.values)
        if active is False:
            return self._body(call)
        infers = ml.mode == "infer" if ml.condition is None else truth_of(ml.condition, call.values)
        if infers is True:
            return self._either(call, active, self._infer, self._body)
        if infers is False:
            return self._collect(call, False, active)
        return self._collect(call, jnp.logical_and(active, infers), jnp.logical_and(active, jnp.logical_not(infers)))

    @staticmethod
    def _either(
        call: PureCall,
        condition: Any,
        then: Callable[[PureCall], Sequence[Any]],
        otherwise: Callable[[PureCall], Sequence[Any]],
    ) -> Sequence[Any]:
        return either(condition, lambda: then(call), lambda: otherwise(call), call.operands.values())

    def _body(self, call: PureCall) -> Sequence[Any]:
        """What the original code makes of the arrays. Raises MapError for anything but a dict of these."""
        positional, named = spread(self._parameters[0], call.values)
        returned: Any = cast(Any, self.py_func)(*positional, **named)
        if not isinstance(returned, Mapping) or set(cast("Mapping[str, Any]", returned)) != set(call.written):
            found = (
                [repr(name) for name in cast("Mapping[str, Any]", returned)] if isinstance(returned, Mapping) else []
            )
            shown = f"a dict of {', '.join(found) or 'nothing'}" if isinstance(returned, Mapping) else repr(returned)
            wanted = ", ".join(f"{name!r}: ..." for name in call.written)
            raise MapError(
                f"{self.py_func.__name__}() returns {shown}: the original code of a region in JAX returns the new "
                f"values of its outputs by name, {{{wanted}}}"
            )
        return tuple(self._output(cast("Mapping[str, Any]", returned)[name], name, call) for name in call.written)

    def _output(self, value: Any, name: str, call: PureCall) -> Any:
        array, given = jnp.asarray(value), call.operands[name]
        if array.shape != given.shape or array.dtype != given.dtype:
            raise MapError(
                f"{self.py_func.__name__}() returns {array.dtype}{list(array.shape)} for '{name}', which was given as "
                f"{given.dtype}{list(given.shape)}"
            )
        return array

    def _collect(self, call: PureCall, infers: Any, collects: Any) -> Sequence[Any]:
        """Run the model where `infers` holds, else the original code, and record the call where `collects` does."""
        arrays = [lax.stop_gradient(x) for x in call.operands.values()]
        keeps = infers is False
        beginning = self._remembered(("begin", len(arrays)), lambda: Beginning(self.what, 1 + len(arrays)))
        flag, begun = beginning(jnp.asarray(True if keeps else infers), *arrays)
        # The original code stands under a condition that comes with the time stamp, so that it runs behind that.
        if keeps:
            kept = tuple(call.operands[name] for name in call.written)
            results = self._either(call, flag, self._body, lambda _: kept)
        else:
            results = self._either(call, flag, self._infer, self._body)
        made = [lax.stop_gradient(x) for x in results]
        if not any(map(is_traced, made)):
            jnp.asarray(made[0]).block_until_ready()
        meta = [as_metadatum(value_of(each.value, call.values), each.name) for each in self._ml.meta]
        key = (
            "collect",
            call.key,
            environment.SAMPLE.text(),
            instruments.current,
            self._known_by(self._database(call)),
        )
        collection = self._remembered(key, lambda: self._collection(call))
        collection(jnp.asarray(collects), begun, *arrays, *meta, *made)
        return results

    def _collection(self, call: PureCall) -> Collection:
        plan, name = call.bound.plan, self.py_func.__name__
        self._paths.origins[self._ml.label or name] = self._origin
        texts: tuple[tuple[Keyword, str], ...] = tuple((keyword, _text(use)) for keyword, use in call.uses)
        given = self._database(call)
        common = Collecting(self._ml, name, self.what, plan.maps, texts, call.written, given, self._paths)
        split = len(plan.numbers)
        numbers = dict(zip(plan.numbers, call.bound.numbers[:split], strict=True))
        params = dict(zip(plan.params, call.bound.numbers[split:], strict=True))
        return Collection(common, call.forms, numbers, params)

    # -- inference -------------------------------------------------------------------------------

    def _infer(self, call: PureCall) -> Sequence[Any]:
        if (model := self._model(call)) is not None:
            return self._infer_in_jax(call, model)
        given = self._static(call)
        key = call.key, self._known_by(given), environment.ENGINE.text(), instruments.current
        parts = self._remembered(("parts", *key), lambda: Decomposition(call, self._common(call, given)))
        accurate = (self._on_error or environment.ON_ERROR.text()) == "accurate"
        inference = self._remembered(("infer", accurate, *key), lambda: self._inference(call, accurate, parts))
        results = inference(*(call.operands[name] for name in inference.operands))
        if not accurate:
            return tuple(results)
        *results, failed = results
        return self._either(call, failed, self._body, lambda _: results)

    def _infer_in_jax(self, call: PureCall, model: JaxModel) -> Sequence[Any]:
        """Run a model that becomes a part of the program."""
        label, engine = self._ml.label or self.py_func.__name__, self._ml.engine or environment.ENGINE.text()
        if engine == "compiled":
            raise CompileError(
                f"the region '{label}' wants its network compiled by hpacml, and {model.name} is a function of JAX, "
                "which XLA compiles: leave out engine(compiled)"
            )
        common = self._common(call, {})  # what is kept has no part of the model, in which something may be traced
        maps = self._remembered(("maps", call.key), lambda: Decomposition(call, common))
        run = jax_models.Run(model, common, self._on_error or environment.ON_ERROR.text(), maps.remembered)
        try:
            results = maps.run(call.operands, run)
        except ModelError as error:
            if not fallback.takes_over(label, self._on_error, error):
                raise
            return self._body(call)
        return results if run.failed is None else self._either(call, run.failed, self._body, lambda _: results)

    def _model(self, call: PureCall) -> JaxModel | None:
        """The model if it is a function of JAX, which becomes a part of the program."""
        source = self._ml.model
        given = call.values[source.id] if isinstance(source, Name) else source
        given = environment.SURROGATE_MODEL.text() or None if given is None else given
        if is_path(given):
            return jax_models.load(self._paths.absolute(given))
        return jax_models.passed(cast("Callable[..., Any]", given)) if jax_models.is_of_jax(given) else None

    def _static(self, call: PureCall) -> dict[str, object]:
        """The arguments that compiled code asks for: paths and models."""
        sources = (self._ml.model, self._ml.database)
        return {each.id: call.values[each.id] for each in sources if isinstance(each, Name)}

    def _database(self, call: PureCall) -> dict[str, object]:
        """The same of what collects."""
        database = self._ml.database
        return {database.id: call.values[database.id]} if isinstance(database, Name) else {}

    def _known_by(self, given: Mapping[str, object]) -> object:
        found = [os.fspath(each) if is_path(each) else id(each) for each in given.values()]
        return *found, environment.SURROGATE_MODEL.text()

    def _common(self, call: PureCall, given: Mapping[str, object]) -> Inferring:
        texts = [f"to: {_text(use)}" for use in call.of(READ)] + [f"from: {_text(use)}" for use in call.of(WRITTEN)]
        return Inferring(self._ml, self.py_func.__name__, self.what, given, self._paths, self._on_error, tuple(texts))

    def _inference(self, call: PureCall, accurate: bool, parts: Decomposition) -> RegionInference:
        operands = [name for name in call.forms if name not in _covered(call)]
        numbers, bound = call.bound.numbers, call.bound
        return RegionInference(
            self._common(call, self._static(call)),
            call.forms,
            operands,
            call.written,
            numbers,
            accurate,
            lambda chip: self._inference_code(bound, chip),
            parts,
        )

    def _inference_code(self, bound: Any, chip: str | None) -> Function:
        from hpacml.frontend.compile import compile

        ml = replace(self._ml, mode="infer", condition=None, if_condition=None, sample=None, meta=(), truth=())
        plan = replace(bound.plan, maps=tuple(each for each in bound.plan.maps if each[0] != "truth"))
        chosen, alone = instruments.current, replace(bound, plan=plan)
        made_of = "jax region", self._made_of(bound, False), [view.shape[1:] for view in bound.views]
        return compile(lambda: self._module(alone, ml=ml, rows=True), self._symbol, made_of, chosen, chip)

    def _remembered(self, key: object, make: Callable[[], Any]) -> Any:
        if (found := self._known.get(key)) is None:
            if len(self._known) >= KNOWN_FORMS:
                self._known.clear()
            found = self._known[key] = make()
        return found


def _covered(call: PureCall) -> list[str]:
    """The arrays of which one map writes each element, and none reads any: their values do not matter."""
    read = {name for keyword, use in call.uses for name in use.names if keyword in (*READS, "inout")}
    indices = {name for _, use in call.uses for name in {*use.application.arrays} - use.application.elements}
    found: list[str] = []
    for use in call.of(("out",)):
        if len(use.names) != 1 or use.names[0] in read | indices:
            continue
        (name,) = use.names
        count = sum(prod(view.sizes) for view in use.resolve("from", call.forms).views)
        others = sum(name in other.written for other in call.of(WRITTEN))
        if count == prod(call.forms[name].shape) and others == 1:
            found.append(name)
    return found


def _text(use: Use) -> str:
    application = use.application
    return f"{application.directive.name}: {application.functor} | {application.text}"


def region(
    directives: str, *, unchecked: bool = False, on_error: OnError | None = None
) -> Callable[[Callable[P, R]], PureRegion[P, R]]:
    """Make a pure function of JAX a region: one that runs, records, or is replaced by a model, inside and outside of
    `jax.jit`.

    `directives` has functors, maps and one `ml`, as for `hpacml.region`. Maps of `in` read arguments. Those of `out`
    and `inout` name arguments of which the function returns new values, as a dict by their names; so does a call. What
    maps do not touch keeps the value of the argument where the model runs.

    The original code stays JAX's. Gathers, models of Torch and files, scatters and collection are foreign calls of XLA
    on the CPU and on GPUs of NVIDIA, without copies; a model that is a function of JAX becomes a part of the program.
    Conditions of `predicated` and `if` and numbers of `meta` may be traced; integers of maps must be known.

    `jax.vmap` makes one call of the model for all rows where the clause `batch` says that rows are independent, else
    one after the other; `jax.grad` and `jax.jvp` go through the model, or the original code.

    Raises `DirectiveError` as `hpacml.region` does. Calls raise `MapError`, `ModelError` and `DatabaseError`; inside of
    programs that JAX compiles these arrive as errors of JAX with the same text.
    """
    require_text(directives, "what @hpacml.jax.region(...) takes")
    if on_error is not None and not is_policy(on_error):
        raise DirectiveError(f"on_error is 'raise' or 'accurate', and this is {on_error!r}")

    def decorate(function: Any) -> Any:
        if not inspect.isfunction(function):
            raise DirectiveError(f"a region is made of a function written with 'def', and this is {function!r}")
        require_plain(function)
        try:
            return PureRegion(function, directives, unchecked, on_error)
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the parser's frames)

    return decorate
