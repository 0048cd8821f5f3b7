"""A functor applied to the arrays and integers of a call: what `hpacml.functor` gathers and scatters by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from hpacml.dtypes import DTYPES, common
from hpacml.errors import MapError
from hpacml.frontend.maps import AppliedFunctor, integers_of, numbers_of
from hpacml.frontend.sources import views_of
from hpacml.functors.application import Way
from hpacml.functors.boxes import Box, boxes
from hpacml.runtime.arrays.overlap import overlap
from hpacml.runtime.arrays.views import ArrayView, c_strides, tensor_view
from hpacml.runtime.entry import call
from hpacml.runtime.frame import Frame

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from hpacml.frontend.wrapper import ArrayType
    from hpacml.runtime.entry import Function
    from hpacml.runtime.gpu.devices import Device

Sweep: TypeAlias = Literal["gather", "scatter", "add"]
"""What is done at each point of a map: read elements, write them, or add to them, which is the adjoint of reading."""

WAYS: dict[Sweep, Way] = {"gather": "to", "scatter": "from", "add": "to"}
"""The direction in which a map is checked for it."""


class BoundMap(NamedTuple):
    """A functor applied to arrays and integers that fit it."""

    application: AppliedFunctor
    direction: Way
    views: list[ArrayView]
    numbers: list[int]
    """The open numbers of the targets."""
    params: Mapping[str, int]
    """The functor's parameters."""
    integers: list[int]
    """What the code takes: the distinct open numbers, then the parameters."""
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """The dtype of a gathered tensor."""
        return common_dtype(tuple([self.views[head].dtype for head in self.application.heads]))

    def types(self, tensor: ArrayView) -> tuple[ArrayType, ...]:
        from hpacml.frontend.wrapper import ArrayType

        return tuple(map(ArrayType.of, [*self.views, tensor]))

    def sharing(self, tensor: ArrayView) -> str | None:
        """The name of an array that may share memory with the tensor, None if no array does."""
        named = zip(self.views, self.application.arrays, strict=True)
        return next((name for view, name in named if overlap(tensor, view)), None)

    def require_shape(self, tensor: ArrayView) -> None:
        """Raise `MapError` unless the tensor has the shape of the map."""
        if tensor.shape != self.shape:
            raise MapError(
                f"the tensor has the shape {list(tensor.shape)}, but the map '{self.application.text}' "
                f"takes the shape {list(self.shape)}"
            )

    def run(
        self, tensor: ArrayView, device: Device | None, copied: bool = False, sweep: Sweep | None = None
    ) -> Function | None:
        """Do a sweep, by default that of the map's direction, and return the code that did so on the host.

        If `copied`, the device scatters a copy of the tensor. Nothing is added on a device.
        """
        from hpacml.frontend.wrapper import ArrayType

        sweep = sweep or ("gather" if self.direction == "to" else "scatter")
        views = [*self.views, tensor]
        if device is None:
            function = compiled(self.application, sweep, self.types(tensor), None)
            call(function, views, *self.integers)
            return function
        from hpacml.runtime.gpu import offload
        from hpacml.runtime.gpu.transfers import copy

        dense = replace(tensor, strides=c_strides(tensor.shape)) if copied else tensor
        types = tuple(map(ArrayType.on_device, [*self.views, dense]))
        function = compiled(self.application, sweep, types, device.chip)
        tensor_number = len(self.views)
        written = frozenset(self.application.heads if self.direction == "from" else [tensor_number])
        work = offload.Work(device, Frame(), views, written, function, self._boxes(tensor))

        def invoke(views: Sequence[ArrayView]) -> None:
            if copied:
                *views, tensor = views
                views = [*views, tensor_view(copy(device, tensor), device.index)]
            call(function, views, *self.integers)

        offload.run(work, invoke)
        return None

    def _boxes(self, tensor: ArrayView) -> list[Box] | None:
        """The parts of the arrays and the tensor that the map touches; None if no array is transferred."""
        if None not in [view.device for view in (*self.views, tensor)]:
            return None
        shapes = [view.shape for view in self.views]
        mapped = self.application.resolve(self.direction, shapes, self.numbers, self.params)
        return [*boxes(mapped, self.application.trees, shapes), tuple((0, size) for size in tensor.shape)]


def bind(application: AppliedFunctor, direction: Way, names: Mapping[str, object]) -> BoundMap:
    """Bind a functor that is applied to targets to what their names stand for. Raises `MapError` if it does not fit."""
    integers = integers_of(names)
    for name in application.arrays:
        if name not in names:
            fix = "no array can have this name here" if name in ("out", "unchecked") else f"give it as {name}=..."
            raise MapError(f"the map '{application.text}' uses '{name}': {fix}")
    written = application.heads if direction == "from" else ()
    views = views_of(application.arrays, names, written, application.numbers, application.elements)
    shapes = [view.shape for view in views]
    distinct = numbers_of(application.distinct_numbers, names, application.arrays, views)
    numbers = [distinct[place] for place in application.places]
    params = {param: integers[param] for param in application.functor.used_params}
    shape = _shape(application, direction, tuple(shapes), tuple(numbers), tuple(params.items()))
    return BoundMap(application, direction, views, numbers, params, [*distinct, *params.values()], shape)


@lru_cache(4096)
def common_dtype(dtypes: tuple[str, ...]) -> str:
    """The dtype of a tensor gathered from arrays of these dtypes. Raises `MapError` if there is none."""
    if (found := common(dtypes)) is None:
        shown = " and ".join(sorted({DTYPES[dtype].long_name for dtype in dtypes}))
        raise MapError(f"no integer type has the numbers of both {shown}: convert one of the arrays, or give 'out'")
    return found


@lru_cache(4096)
def _shape(
    application: AppliedFunctor,
    direction: Way,
    shapes: tuple[tuple[int, ...], ...],
    numbers: tuple[int, ...],
    params: tuple[tuple[str, int], ...],
) -> tuple[int, ...]:
    """The shape of the dense tensor. Raises `MapError` if the map does not fit."""
    return application.resolve(direction, shapes, numbers, dict(params)).shape


@lru_cache(512)
def compiled(application: AppliedFunctor, sweep: Sweep, types: tuple[ArrayType, ...], chip: str | None) -> Function:
    """The code of a sweep over arrays, and a tensor behind them, of some types."""
    from hpacml.frontend.compile import compile

    directive, names = application.directive.canonical, sorted(application.params)
    made_of = "functor", directive, application.text, names, application.unchecked, sweep, types
    return compile(lambda: module_of(application, sweep, types), sweep, made_of, chip=chip)


def module_of(application: AppliedFunctor, sweep: Sweep, types: tuple[ArrayType, ...]) -> ModuleOp:
    """A module of one function of the arrays, the dense tensor, the map's open numbers and the functor's parameters."""
    from xdsl.dialects.builtin import IndexType

    from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, Direction
    from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp
    from hpacml.frontend.wrapper import Wrapper

    *array_types, tensor_type = types
    wrapper = Wrapper(sweep)
    for name, array_type in zip(application.arrays, array_types, strict=True):
        wrapper.argument(name, array_type.memref)
    distinct = [wrapper.hidden(f"n{k}", IndexType()) for k in range(len(application.distinct_numbers))]
    numbers = [distinct[place] for place in application.places]
    for param in application.functor.used_params:
        wrapper.argument(param, IndexType())
    element_type = ELEMENT_TYPES[tensor_type.dtype]
    mapping = wrapper.map(application, Direction(WAYS[sweep]), numbers, element_type).mapping
    # The type has the sizes that the map fixes, because the loop is fast if the number of features is known.
    tensor = wrapper.hidden("tensor", tensor_type.memref_of(mapping.type.get_shape()), len(array_types))
    op = GatherOp(mapping, tensor) if sweep == "gather" else ScatterOp(tensor, mapping, sweep == "add")
    wrapper.builder.insert(op)
    return wrapper.finish()
