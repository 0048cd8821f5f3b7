"""`@hpacml.region`: a function whose Python body is the original code of a region, and may call anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from hpacml import environment
from hpacml.clauses import OnError, is_policy
from hpacml.directives.expressions import Expr, evaluate
from hpacml.directives.parser import parse_many, require_text
from hpacml.directives.private import class_of
from hpacml.directives.syntax import (
    FunctorDirective,
    MapDirective,
    MlDirective,
    Name,
    Target,
    depth_first,
)
from hpacml.errors import DeviceError, DirectiveError, HpacmlError
from hpacml.frontend import tracers
from hpacml.frontend.attributes import attributes_of
from hpacml.frontend.body import Outputs, require_plain
from hpacml.frontend.decorated import Decorated, inside
from hpacml.frontend.fast_region import FastRegion, InferringCall
from hpacml.frontend.functor import define_operators
from hpacml.frontend.guarding import Where, bounds_of, number_of, where_of
from hpacml.frontend.mangling import symbol_for
from hpacml.frontend.maps import AppliedFunctor, integers_of, numbers_of
from hpacml.frontend.placement import Machine, device_of, on_host, require_machine
from hpacml.frontend.pointwise import require_pointwise
from hpacml.frontend.region_plan import Plan
from hpacml.frontend.scope import READS, Keyword, Scope, check_units
from hpacml.frontend.sources import views_of
from hpacml.frontend.substitute import Substitute
from hpacml.frontend.unfinished import require_finished
from hpacml.runtime import differentiation
from hpacml.runtime.arrays.changes import note_writes, require_in_place
from hpacml.runtime.arrays.views import ArrayView, layout_of
from hpacml.runtime.entry import call
from hpacml.runtime.frame import Frame, Paths
from hpacml.runtime.models import prerequisites
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import SSAValue

    from hpacml.frontend.recorded_call import RecordedCall
    from hpacml.functors.boxes import Box
    from hpacml.runtime.databases.origins import Origin
    from hpacml.runtime.gpu.offload import Offload

P = ParamSpec("P")
R = TypeVar("R")

prerequisites.add(define_operators)


@dataclass(slots=True, eq=False)  # not frozen: that would take several times as long to make
class _Call:
    """The arguments of one call in the form that compiled code takes."""

    plan: Plan
    values: Mapping[str, object]
    views: list[ArrayView]
    numbers: list[int]
    conditions: list[bool]


class Region(Decorated, Generic[P, R]):
    """A region, made by `hpacml.region`: a call runs the function, collects from it, or runs the model instead.

    Arrays are NumPy arrays, Torch tensors, or objects with DLPack or an array interface, all on the host or all on one
    GPU. A call returns the result of the body, or None if the model ran instead. It raises `MapError`, `ModelError`,
    `DatabaseError` or `DeviceError`, and passes on what the body raises.
    """

    door = "region"

    def __init__(
        self,
        function: Callable[P, R],
        directives: str,
        unchecked: bool = False,
        on_error: OnError | None = None,
        target: Machine | None = None,
    ):
        super().__init__(function)
        self.py_func = function
        self._directives = directives
        self._target: Machine | None = target
        self._unchecked = unchecked
        self._on_error = on_error
        self._paths = Paths(cast(FunctionType, function))
        self._symbol = symbol_for(function.__name__, ()) + ".region"  # no C function has a dot
        self._ml, self._maps = self._read(directives)
        conditional = self._ml.if_condition is not None or self._ml.condition is not None
        self._decided = None if conditional else (True, self._ml.mode == "infer")
        """What `_decide` says of each call, where that is the same."""
        self._attributes = attributes_of(
            self._ml, ((functor, targets) for _, functor, targets in self._maps), directives
        )
        written = [target.array for keyword, _, targets in self._maps for target in targets if keyword not in READS]
        self._outputs = Outputs(function.__name__, written, self._attributes)
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._compiled: dict[tuple[object, ...], Callable[..., object]] = {}
        self._fast = FastRegion(self._paths, self._run_body)
        tracers.meet()

    def options(self) -> dict[str, Any]:
        options = {"unchecked": self._unchecked, "on_error": self._on_error, "target": self._target}
        return {"directives": self._directives, **options}

    def _read(self, text: str) -> tuple[MlDirective, list[tuple[Keyword, FunctorDirective, tuple[Target, ...]]]]:
        parameters = inspect.signature(self.py_func).parameters
        name = self.py_func.__name__

        def wrong(used: str) -> str | None:
            if (used := used.partition(".")[0]) in parameters:
                return None
            close = get_close_matches(used, parameters, 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            return f"'{used}' is not a parameter of {name}({', '.join(parameters)}){hint}"

        scope: Scope[tuple[FunctorDirective, tuple[Target, ...]]] = Scope(wrong)
        ml: MlDirective | None = None
        for directive in parse_many(text, class_of(self.__qualname__)):
            match directive:
                case FunctorDirective():
                    scope.declare(directive)
                case MapDirective(application=application):
                    scope.add(directive, (scope.functor(application, text), application.targets))
                case MlDirective() if ml is None:
                    ml = directive
                case MlDirective():
                    raise DirectiveError("the region has a second 'ml' directive", text, *directive.span)
        if ml is None:
            raise DirectiveError(f"the region {name} has no 'ml' directive", text, len(text) - 1, len(text))
        for source in (ml.model, ml.database):
            if isinstance(source, Name) and (message := wrong(source.id)) is not None:
                raise DirectiveError(f"{message}; write a path in quotes, or a parameter", text, *source.span)
        uses = scope.uses(ml, lambda application: (scope.functor(application, text), application.targets))
        self._where = where_of(ml, [use.map for use in uses if use.keyword != "truth"], scope.named)
        for node in [] if ml.guarding is None or ml.guarding.where is None else ml.guarding.where.variables:
            if scope.named(node.id) is None and (message := wrong(node.id)) is not None:
                raise DirectiveError(message, text, node.col_offset, node.end_col_offset or 0)
        written = [[target.array for target in use.map[1]] for use in uses if use.keyword not in READS]
        self._clip = bounds_of(ml, written)
        check_units(ml, (target.array for use in uses for target in depth_first(use.map[1])))
        opened = (number for use in uses for number in AppliedFunctor(*use.map, frozenset()).open_numbers)
        for expr in (*opened, ml.condition, ml.if_condition, *(each.value for each in ml.meta)):
            for node in expr.variables if isinstance(expr, Expr) else ():
                if (message := wrong(node.id)) is not None:
                    raise DirectiveError(message, text, node.col_offset, node.end_col_offset or 0)
        points = [] if self._where is None else [each for each in self._where.points.values() if each is not None]
        require_pointwise(ml, [use.map for use in uses], self._where)
        return ml, [*((use.keyword, *use.map) for use in uses), *(("where", *each) for each in points)]

    @tracers.untraced
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if (tracer := tracers.tracer()) is not None:
            raise tracers.refusal(tracer, f"the region {self.py_func.__name__}")
        if not kwargs and (found := self._fast.call(args)) is not NotImplemented:
            return None if found is None else found[0]
        bound = self._bind(args, kwargs)
        returned: list[R] = []

        def body() -> None:
            (result,) = self._run_body(*args, **kwargs)
            if is_followed:  # else nothing uses the arrays any more
                require_in_place(bound.plan.arrays, bound.views, f"the original code of {self.py_func.__name__}")
            returned.append(result)

        active, infers = self._decided or self._decide(bound)
        is_followed = active and (not infers or self._ml.is_guarded)
        substitute = self._substitute(bound, args, kwargs) if self._ml.is_guarded else None
        recorder = self._recorder(bound) if infers and differentiation.is_recording() else None
        if is_followed and self._outputs.of_interest:
            body = self._outputs.around(body, bound.values)
        bodies = [body] if substitute is None else [body, substitute]
        frame = Frame(bound.values, bodies, self._paths, (bound.plan.arrays, bound.views), recorder=recorder)
        if infers:
            note_writes(bound.views, bound.plan.written)
        scalars: list[float] = [*bound.numbers, *bound.conditions]
        if self._ml.meta:
            collects = self._ml.collects_rejected if infers else active
            scalars += [float(evaluate(each.value, bound.values)) if collects else 0.0 for each in self._ml.meta]
        if self._where is not None:
            names, condition = self._where.numbers, self._where.condition
            scalars += [number_of(name, bound.values, condition) if infers else 0.0 for name in names]
        # The original code uses arrays of the host where they are, so only the model needs the GPU.
        target = self._target if infers or self._target == "cpu" else None
        if on_host(bound.views, target):
            run = self._function(bound, None)
            with frame:
                call(run, bound.views, *scalars)
            if recorder is not None:
                recorder.finish()
            if infers and not kwargs:
                self._note(bound, args, run)
        else:
            device = device_of(bound.views, bound.plan.arrays, target)
            if infers and self._ml.is_guarded and None in [view.device for view in bound.views]:
                raise DeviceError(
                    f"the region {self.py_func.__name__} has guards, or checks, by which its original code runs, too: "
                    "it uses arrays of the host where they are, not the parts of them on the GPU: give it arrays of "
                    "the GPU, or leave target='gpu' out"
                )
            run = self._function(bound, device.chip)
            from hpacml.runtime.gpu.offload import Work

            work = Work(device, frame, bound.views, bound.plan.written, (run, *scalars), self._boxes(bound))
            self._offload.run(work, lambda views: call(run, views, *scalars))
        return returned[0] if returned else None

    def infers(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether a call with these arguments runs the model. Raises `MapError` if they do not fit."""
        return (self._decided or self._decide(self._bind(args, kwargs)))[1]

    def _recorder(self, bound: _Call) -> RecordedCall:
        """What records an inference for derivatives. Raises `MapError` for arrays that cannot take part."""
        from hpacml.frontend.recorded_call import RecordedCall

        for clause in (name for name in ("guard", "verify") if name in self._ml.clauses):
            raise DirectiveError(
                f"what '{clause}' makes of the model's results has no derivative: call the region outside of "
                "hpacml.differentiable(), or leave the clause out",
                self._ml.text,
                *self._ml.clauses[clause],
            )

        def of(*keywords: Keyword) -> list[AppliedFunctor]:
            return [each for wanted in keywords for keyword, each in bound.plan.maps if keyword == wanted]

        return RecordedCall(self.py_func.__name__, of("in", "inout"), of("out", "inout"), bound.values)

    def _substitute(self, bound: _Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Substitute:
        """The body on other arrays and sizes than those of the call."""
        given = partial(self._parameters[0].bind, *args, **kwargs)
        return Substitute(self._run_body, given, self._outputs, bound.plan, bound.values, bound.views)

    def _run_body(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R]:
        result = self.py_func(*args, **kwargs)
        if result is not None:
            require_finished(result, self.py_func.__name__, (*args, *kwargs.values()))
        return (result,)

    def _note(self, bound: _Call, args: tuple[Any, ...], run: Callable[..., object]) -> None:
        """Have calls like this one run natively, if they recur."""
        plan, (_, _, _, counts) = bound.plan, self._parameters
        rare = self._decided is None or self._attributes or plan.single or self._ml.is_guarded
        if rare or len(args) not in counts:
            return
        inferring = InferringCall(
            args, bound.values, plan.arrays, bound.views, plan.written, bound.numbers, plan.used, run
        )
        self._fast.note(inferring)

    @cached_property
    def _offload(self) -> Offload:
        from hpacml.runtime.gpu.offload import Offload

        return Offload(self.py_func.__name__)

    def _function(self, bound: _Call, chip: str | None) -> Callable[..., object]:
        """The compiled code for a call, on a chip, or on the host if it is None."""
        chosen = instruments.current
        types = [(view.dtype, len(view.shape), layout_of(view)) for view in bound.views]
        copied = chip is not None and None in [view.device for view in bound.views]
        key = (chosen, chip, copied, bound.plan, *types)
        if (known := self._compiled.get(key)) is not None:
            return known
        from hpacml.frontend.compile import compile

        self._outputs.require_same(bound.values)
        if self._ml.may_collect:
            self._paths.origins[self._ml.label or self.py_func.__name__] = self._origin
        try:
            run = compile(lambda: self._module(bound, copied), self._symbol, self._made_of(bound, copied), chosen, chip)
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the compiler's frames)
        return self._compiled.setdefault(key, chosen.around(lambda *_: f"hpacml.region {self.py_func.__name__}", run))

    def _made_of(self, bound: _Call, copied: bool) -> tuple[object, ...]:
        """All that `_module` depends on."""
        names = self.py_func.__name__, self.__qualname__  # the latter has the class, to which names are private
        types = [(view.dtype, len(view.shape), layout_of(view), view.device is None) for view in bound.views]
        options = self._unchecked, self._on_error, environment.SAMPLE.text()
        return "region", self._directives, names, bound.plan.integers, types, copied, options

    @cached_property
    def _origin(self) -> Origin:
        from hpacml.frontend.origin import origin_of

        return origin_of(self.py_func, self._ml.label is not None)

    def _decide(self, bound: _Call) -> tuple[bool, bool]:
        """Whether a call does more than run the body, and whether it runs the model."""
        mode, conditions = self._ml.mode, bound.conditions
        active = self._ml.if_condition is None or conditions[-1]
        return active, active and (mode == "infer" or (mode == "predicated" and conditions[0]))

    def _boxes(self, bound: _Call) -> list[Box] | None:
        """The parts of the arrays that a call touches; None if no array is on the host."""
        if None not in [view.device for view in bound.views]:
            return None
        from hpacml.frontend.touched import touched

        return touched(bound.plan.maps, bound.plan.arrays, bound.views, bound.values)

    def ir(self, *args: P.args, **kwargs: P.kwargs) -> ModuleOp:
        """The IR for these arguments, before any pass. Raises `DirectiveError` and `MapError` if they do not fit."""
        return self._module(self._bind(args, kwargs))

    def ptx(self, chip: str | None = None, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """The PTX code of the gathers and scatters for these arguments, for an NVIDIA GPU.

        The chip is such as "sm_90"; None is that of this machine's GPU, and "sm_80" without a GPU. Neither a GPU nor
        CUDA is needed. Raises the errors of `ir`, `CompileError` if the maps copy nothing, and `HpacmlError` if
        the chip is unknown.
        """
        from hpacml.backend.assembly import ptx

        return ptx(self.ir(*args, **kwargs), chip)

    def amdgcn(self, chip: str = "gfx90a", /, *args: P.args, **kwargs: P.kwargs) -> str:
        """The assembly code of the same for an AMD GPU. hpacml cannot launch it."""
        from hpacml.backend.assembly import amdgcn

        return amdgcn(self.ir(*args, **kwargs), chip)

    def _plan(self, integers: tuple[str, ...]) -> Plan:
        if (plan := self._plans.get(integers)) is None:
            names = frozenset(integers)
            maps: tuple[tuple[Keyword, AppliedFunctor], ...] = tuple(
                (keyword, AppliedFunctor(f, targets, names, self._unchecked)) for keyword, f, targets in self._maps
            )
            numbers = tuple(dict.fromkeys(number for _, m in maps for number in m.open_numbers))
            arrays = tuple(dict.fromkeys(name for _, m in maps for name in m.arrays))
            written = {target.array for keyword, m in maps for target in m.targets if keyword not in READS}
            params = tuple(dict.fromkeys(name for _, m in maps for name in m.functor.used_params))
            single = {name: rank for _, m in maps for name, rank in m.numbers.items()}
            elements = frozenset(name for _, m in maps for name in m.elements)
            positions = frozenset(map(arrays.index, written))
            plan = self._plans[integers] = Plan(integers, maps, numbers, arrays, positions, params, single, elements)
        return plan

    @cached_property
    def _parameters(self) -> tuple[inspect.Signature, tuple[str, ...], tuple[Any, ...], range]:
        """The signature, its names and defaults, and the numbers of positional arguments that need no binding.

        They are read at the first call: cloudpickle gives a function that names its region its defaults later.
        """
        signature = inspect.signature(self.py_func)
        parameters = signature.parameters.values()
        positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
        needed = sum(p.default is p.empty for p in parameters)
        counts = range(needed, len(parameters) + 1) if positional else range(0)
        return signature, tuple(signature.parameters), tuple(p.default for p in parameters), counts

    def _values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
        """The arguments by name, in the order of the parameters."""
        signature, names, defaults, counts = self._parameters
        if not kwargs and len(args) in counts:
            return dict(zip(names, args + defaults[len(args) :]))  # noqa: B905 (they are as many)
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        return arguments.arguments

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call:
        values: Mapping[str, object] = self._values(args, kwargs)
        if self._attributes:
            values = {**values, **{each.path: each.value(values) for each in self._attributes}}
        integers = integers_of(values)
        plan = self._plan(tuple(integers))
        views = self._views(plan, values)
        return self._with_numbers(plan, values, integers, views, [] if self._decided else self._conditions(values))

    def _with_numbers(
        self,
        plan: Plan,
        values: Mapping[str, object],
        integers: Mapping[str, int],
        views: list[ArrayView],
        conditions: list[bool],
    ) -> _Call:
        """A call with what its code takes behind the arrays. Raises `MapError` and `DirectiveError`."""
        numbers = numbers_of(plan.numbers, values, plan.arrays, views)
        numbers += [integers[name] for name in plan.params]
        return _Call(plan, values, views, numbers, conditions)

    def _views(self, plan: Plan, values: Mapping[str, object]) -> list[ArrayView]:
        """The memory of the arrays; also of tensors that need gradients where these are recorded."""
        if not differentiation.is_recording():
            return views_of(plan.arrays, values, plan.written, plan.single, plan.elements)
        from hpacml.frontend.recorded_call import plain_values

        plain = plain_values(values, plan.arrays)
        views = views_of(plan.arrays, plain, plan.written, plan.single, plan.elements)
        for name, view in zip(plan.arrays, views, strict=True):
            view.owner = values[name] if view.owner is plain[name] else view.owner
        return views

    def _conditions(self, values: Mapping[str, object]) -> list[bool]:
        """The values of the conditions. If `if` is false the other is not evaluated, because it may be invalid."""
        if_condition, condition = self._ml.if_condition, self._ml.condition
        active = if_condition is None or bool(evaluate(if_condition, values))
        first = [] if condition is None else [active and bool(evaluate(condition, values))]
        return first if if_condition is None else [*first, active]

    def _module(
        self, bound: _Call, copied: bool = False, ml: MlDirective | None = None, rows: bool = False
    ) -> ModuleOp:
        """A module of one function of the arrays, perhaps `copied` to a device, the numbers and the conditions.

        With `ml`, that is the region's. With `rows`, the sizes of all dimensions but the first are constants.
        """
        from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, f64, i1

        from hpacml.frontend.ml import MAP_OF_CLAUSE, ml_op
        from hpacml.frontend.wrapper import ArrayType, Wrapper

        ml, plan = ml or self._ml, bound.plan
        wrapper = Wrapper(self._symbol)
        for name, view in zip(plan.arrays, bound.views, strict=True):
            kind = (ArrayType.on_device if copied else ArrayType.of)(view)
            wrapper.argument(
                name, kind.memref_of([DYNAMIC_INDEX, *view.shape[1:]][: kind.rank]) if rows else kind.memref
            )
        opened = {number: wrapper.hidden(f"n{k}", IndexType()) for k, number in enumerate(plan.numbers)}
        for param in plan.params:
            wrapper.argument(param, IndexType())
        condition = None if ml.condition is None else wrapper.hidden("condition", i1)
        if_condition = None if ml.if_condition is None else wrapper.hidden("if", i1)
        meta = [wrapper.hidden(each.name, f64) for each in ml.meta]
        limits = {} if self._where is None else {name: wrapper.hidden(name, f64) for name in self._where.numbers}
        mappings: list[tuple[Keyword, SSAValue]] = [
            (keyword, wrapper.map(m, MAP_OF_CLAUSE[keyword], [opened[number] for number in m.open_numbers]).mapping)
            for keyword, m in plan.maps
        ]
        name = self.py_func.__name__
        sizes = [opened[number] for number in plan.sizes]
        on = wrapper.call_body_on(plan.arrays, plan.written, sizes) if ml.is_guarded else None
        body = wrapper.call_body() if on is None else on
        where: Where[SSAValue] | None = None
        if self._where is not None:
            points = [mapping for keyword, mapping in mappings if keyword == "where"]
            where = Where(self._where.condition, dict(zip(self._where.points, points, strict=True)), limits)
        region = ml_op(ml, name, mappings, condition, if_condition, meta, body, self._on_error, where, self._clip)
        wrapper.builder.insert(region)
        return wrapper.finish()


def region(
    directives: str, *, unchecked: bool = False, on_error: OnError | None = None, target: Machine | None = None
) -> Callable[[Callable[P, R]], Region[P, R]]:
    """Make a function a region (paper, section III-C). `directives` has functors, maps and one `ml`, one on each line.

    Their names are the function's parameters and attributes of these, such as `self.x`; `hpacml.approx` explains the
    clauses of `ml`. The body may do anything that Python can, such as calling other regions and kernels; it runs unless
    the directives replace it by a model. It has done its work when it returns: it is no coroutine and no generator.
    `unchecked` trusts that indices of indirect targets are valid, and that elements written share no memory.
    `on_error` says what a call does if the model fails, as for `hpacml.approx`.

    A region runs where its arrays are. With the target "gpu" the model runs on the current GPU also for arrays of the
    host, of which the parts that maps touch are transferred; with "cpu" arrays on a GPU are an error. Raises
    `DirectiveError` if the directives cannot be parsed or do not fit the function, or an option is unknown.
    """
    require_text(directives, "what @hpacml.region(...) takes")
    if on_error is not None and not is_policy(on_error):
        raise DirectiveError(f"on_error is 'raise' or 'accurate', and this is {on_error!r}")
    require_machine(target)

    def decorate(function: Any) -> Region[..., Any]:
        if not inspect.isfunction(function):
            raise DirectiveError(f"a region is made of a function written with 'def', and this is {function!r}")
        require_plain(function)
        return Region(function, directives, unchecked, on_error, target)

    def outer(function: Any) -> Any:
        try:
            return inside(function, decorate)
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the parser's frames)

    return outer
