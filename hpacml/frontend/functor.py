"""`hpacml.functor(...)`: the data bridge alone, without a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hpacml.directives.parser import parse_application_targets, parse_functor, require_text
from hpacml.directives.syntax import FunctorDirective
from hpacml.errors import MapError
from hpacml.frontend import operators, tracers
from hpacml.frontend.bound_map import BoundMap, Sweep, bind, common_dtype, module_of
from hpacml.frontend.forms import Form, Forms, known_array
from hpacml.frontend.maps import AppliedFunctor, integers_of, symbolic_shape
from hpacml.frontend.placement import (
    Machine,
    device_of,
    on_host,
    require_machine,
    require_one_place,
)
from hpacml.frontend.recurring import Recurring
from hpacml.functors.application import Way
from hpacml.runtime import differentiation
from hpacml.runtime.arrays.buffers import empty
from hpacml.runtime.arrays.changes import note_writes
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import ArrayView, c_strides, numpy_array, tensor_view
from hpacml.runtime.fastcall import caller

if TYPE_CHECKING:
    import torch
    from xdsl.dialects.builtin import ModuleOp

    from hpacml.runtime.entry import Function
    from hpacml.runtime.gpu.devices import Device

KNOWN_TARGETS = 1024
"""The number of target texts that a functor caches. It is limited, because programs may build texts at run time."""

NAMES: dict[Way, Sweep] = {"to": "gather", "from": "scatter"}


class TensorFunctor:
    """A tensor functor (paper, section III-A); `hpacml.functor` makes one from its declaration.

    ```python
    f = hpacml.functor("f: [i, 0:2] = ([i - 1], [i + 1])")
    x = f.gather("a[1:n-1]", a=a, n=n)                    # torch.Tensor [n - 2, 2]
    ```
    Names that are given integers are parameters where the functor uses them, and may occur in the bounds of
    targets. All other names in the functor are its symbols.
    """

    def __init__(self, directive: FunctorDirective, target: Machine | None = None):
        self.directive = directive
        self._target: Machine | None = target
        self._applied: dict[tuple[str, frozenset[str], bool], AppliedFunctor] = {}
        self._forms = Forms()
        self._last: dict[tuple[str, ...], Recurring] = {}
        """The last map of the host by its kind (a gather, one that makes its tensor, a scatter), text and names."""
        if tracers.meet() is not None:
            define_operators()

    @property
    def target(self) -> Machine | None:
        """Where it runs also for arrays of the host; None for where they are."""
        return self._target

    def __reduce__(self) -> tuple[Any, ...]:
        make = functor if self._target is None else partial(functor, target=self._target)
        return make, (self.directive.canonical,)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes that pickles had before."""
        TensorFunctor.__init__(self, state["directive"], state.get("_target"))

    @tracers.untraced
    def gather(
        self, targets: str, /, *, out: torch.Tensor | None = None, unchecked: bool = False, **names: object
    ) -> torch.Tensor:
        """Gather elements of arrays into a dense tensor, `out` or a new one, and return it (paper, section IV-A).

        `targets` is text such as `"a[1:n-1]"`, and `names` gives its arrays and integers. The tensor has the shape of
        the functor's left side, where a symbol has the size of its range.
        Arrays are NumPy arrays, Torch tensors, or objects with DLPack or an array interface, all on the host or all
        on one GPU. A new tensor is on the functor's target, else where the arrays are. It has their dtype; if they
        differ, that of the widest float, or of the widest integer if there is no float. Elements are converted to the
        dtype of `out`, which must not share memory with the arrays.
        Indices of indirect targets (`x[idx[0:n]]`) are checked as they are used, so that an error of theirs leaves a
        part of `out` filled, unless `unchecked`: then a wrong index reads memory outside of the array.
        Raises `DirectiveError` if the text cannot be parsed, `MapError` if the map, an array or `out` does not fit,
        and `DeviceError` if the GPU cannot be used.
        """
        kind = "made" if out is None else "gather"
        if unchecked is False and type(targets) is str:
            form = self._forms.open.get((kind, targets, *names))
            if form is not None:
                gathered = form(*names.values()) if out is None else form(*names.values(), out)
                if gathered is not NotImplemented:
                    return gathered
        if operators.records([*names.values(), out], tracers.tracer()):
            define_operators()
            return operators.gather(self, targets, out, unchecked, names)
        if differentiation.wanted(names.values()):
            from hpacml.frontend import autograd

            return autograd.gather(self, targets, out, unchecked, names)
        if (again := self._recurring(kind, targets, unchecked, names)) is not None:
            if (gathered := self._gather_again(*again, out)) is not None:
                return gathered
        bound = self.bind(targets, "to", names, unchecked)
        device = self.device(bound)
        if out is None:
            tensor = empty(bound.shape, bound.dtype) if device is None else device.empty(bound.shape, bound.dtype)
            view = tensor_view(tensor, device and device.index)
            self._note(kind, bound.run(view, device), bound, view, targets, names)
            return tensor
        view = array_view(out, "out", write=True, gpu=True)
        self._require_near(bound, device, view, "out")
        bound.require_shape(view)
        if (name := bound.sharing(view)) is not None:
            raise MapError(f"'out' shares memory with '{name}', which is read: give a tensor of its own memory")
        note_writes([view], [0])
        self._note(kind, bound.run(view, device), bound, view, targets, names)
        return out

    @tracers.untraced
    def scatter(self, tensor: object, targets: str, /, *, unchecked: bool = False, **names: object) -> None:
        """Scatter the elements of a dense tensor into arrays, converted to their dtypes (paper, section IV-A).

        Shape, arrays and names are those of `gather`. Indices of indirect targets are checked, and must differ, unless
        `unchecked`: then a wrong index writes memory outside of the array, and any of the values may remain where
        indices repeat or arrays share memory. Raises `DirectiveError` if the text cannot be parsed, `MapError` if the
        tensor, an array or the map does not fit or the map writes an element twice (then nothing has been written), and
        `DeviceError` if the GPU cannot be used.
        """
        if unchecked is False and type(targets) is str:
            form = self._forms.open.get(("scatter", targets, *names))
            if form is not None and form(*names.values(), tensor) is not NotImplemented:
                return
        if operators.records([*names.values(), tensor], tracers.tracer()):
            define_operators()
            operators.scatter(self, tensor, targets, unchecked, names)
            return
        if differentiation.wanted([*names.values(), tensor]):
            from hpacml.frontend import autograd

            autograd.scatter(self, tensor, targets, unchecked, names)
            return
        if (again := self._recurring("scatter", targets, unchecked, names)) is not None:
            last, views = again
            if (source := last.tensor(tensor, "tensor", views)) is not None:
                note_writes(views, last.written)
                last.run([*views, source])
                return
        bound = self.bind(targets, "from", names, unchecked)
        device = self.device(bound)
        source = array_view(tensor, "tensor", gpu=True)
        self._require_near(bound, device, source, "tensor")
        bound.require_shape(source)
        shared = bound.sharing(source) is not None  # then the tensor is copied before the arrays change
        if shared and source.device is None:
            source = array_view(numpy_array(source).copy(), "tensor")
        note_writes(bound.views, bound.application.heads)
        function = bound.run(source, device, copied=shared and source.device is not None)
        if not shared:
            self._note("scatter", function, bound, source, targets, names)

    def _recurring(
        self, kind: str, targets: str, unchecked: bool, names: Mapping[str, object]
    ) -> tuple[Recurring, list[ArrayView]] | None:
        """The last map with this text, and its arrays, if these are as they were then."""
        if unchecked is not False or type(targets) is not str:
            return None
        last = self._last.get((kind, targets, *names))
        if last is None or (views := last.views(names)) is None:
            return None
        return last, views

    def _gather_again(self, last: Recurring, views: list[ArrayView], out: torch.Tensor | None) -> torch.Tensor | None:
        """Gather as the last time; None if the form of `out` is another one, or it shares memory with an array."""
        if out is None:
            tensor = empty(*last.made)
            view = tensor_view(tensor, None)
        else:
            tensor = out
            if (view := last.tensor(out, "out", views)) is None:
                return None
            note_writes([view], [0])
        last.run([*views, view])
        return tensor

    def _note(
        self,
        kind: str,
        function: Function | None,
        bound: BoundMap,
        tensor: ArrayView,
        targets: str,
        names: Mapping[str, object],
    ) -> None:
        """Have the next call that is as this one was do without what follows from its text, sizes and numbers."""
        application = bound.application
        integers = {name: value for name, value in names.items() if type(value) is int}
        others = [name for name in names if name not in integers]
        if function is None or application.unchecked or application.numbers or {*others} != {*application.arrays}:
            return
        written = application.heads if bound.direction == "from" else [len(bound.views)]
        owners = [names[name] for name in application.arrays]
        known = [known_array(*each, n in written) for n, each in enumerate(zip(owners, bound.views, strict=True))]
        last = None if kind == "made" else known_array(tensor.owner, tensor, len(known) in written)
        arrays = [each for each in known if each is not None]
        if len(arrays) == len(known) and (kind == "made" or last is not None):
            key = kind, targets, *names
            if self._forms.recurs(key, (*known, last, *integers.values())):
                form = Form(list(names), application.arrays, arrays, integers, bound.integers)
                made = form.making(bound.shape, bound.dtype) if last is None else form.given(last, kind == "gather")
                if (call := caller(function, made, tracers.untraced_calls)) is not None:
                    self._forms.open[key] = call
            return
        if len(self._last) >= KNOWN_TARGETS:
            self._last.clear()
        self._last[kind, targets, *names] = Recurring(
            application.arrays, [*bound.views, tensor], written, integers, function, bound.integers
        )

    def device(self, bound: BoundMap) -> Device | None:
        """The device that runs the map, None for the host."""
        if on_host(bound.views, self._target):
            return None
        return device_of(bound.views, bound.application.arrays, self._target)

    def _require_near(self, bound: BoundMap, device: Device | None, tensor: ArrayView, name: str) -> None:
        """Raise `MapError` unless the tensor is where the arrays are, or on the host and the target is "gpu"."""
        if device is None or tensor.device not in (None, device.index) or self._target != "gpu":
            here = [view if device is None else replace(view, device=device.index) for view in bound.views]
            require_one_place([*here, tensor], [*bound.application.arrays, name])

    def ir(self, targets: str, direction: Way = "to", /, *, unchecked: bool = False, **names: object) -> ModuleOp:
        """The IR of a gather ("to") or a scatter ("from") with these arguments, before any pass.

        Raises `DirectiveError` and `MapError` as these do.
        """
        if direction not in NAMES:
            raise MapError(f"the direction is 'to' or 'from', and this is {direction!r}")
        bound = self.bind(targets, direction, names, unchecked)
        tensor = ArrayView(0, bound.dtype, bound.shape, c_strides(bound.shape), False, None)
        return module_of(bound.application, NAMES[direction], bound.types(tensor))

    def ptx(
        self,
        targets: str,
        direction: Way = "to",
        chip: str | None = None,
        /,
        *,
        unchecked: bool = False,
        **names: object,
    ) -> str:
        """The PTX code of a gather ("to") or a scatter ("from") with these arguments, for an NVIDIA GPU.

        The chip, such as "sm_90", is by default that of this machine's GPU, and "sm_80" without a GPU. Neither a GPU
        nor CUDA is needed. Raises the errors of `ir`, `CompileError` if the map copies nothing, and `HpacmlError` if
        the chip is unknown.
        """
        from hpacml.backend.assembly import ptx

        return ptx(self.ir(targets, direction, unchecked=unchecked, **names), chip)

    def amdgcn(
        self,
        targets: str,
        direction: Way = "to",
        chip: str = "gfx90a",
        /,
        *,
        unchecked: bool = False,
        **names: object,
    ) -> str:
        """The assembly code of the same for an AMD GPU. hpacml cannot launch it."""
        from hpacml.backend.assembly import amdgcn

        return amdgcn(self.ir(targets, direction, unchecked=unchecked, **names), chip)

    def bind(self, targets: str, direction: Way, names: Mapping[str, object], unchecked: bool = False) -> BoundMap:
        """Apply the functor to arrays and integers. Raises `DirectiveError` and `MapError` as `gather` does."""
        integers = integers_of(names)
        if not isinstance(unchecked, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MapError("unchecked takes True or False, so an array cannot have this name: write another in the map")
        return bind(self._application(targets, frozenset(integers), unchecked), direction, names)

    def _application(self, targets: str, integers: frozenset[str], unchecked: bool) -> AppliedFunctor:
        key = targets, integers, unchecked
        if key not in self._applied:
            if len(self._applied) >= KNOWN_TARGETS:
                self._applied.clear()
            parsed = parse_application_targets(require_text(targets, "the targets"))
            self._applied[key] = AppliedFunctor(self.directive, parsed, integers, unchecked)
        return self._applied[key]

    def form(
        self, targets: str, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, int]
    ) -> tuple[tuple[int, ...], torch.dtype]:
        """The shape and the dtype of what would be gathered; sizes and numbers may be symbols of Torch."""
        from hpacml.dtypes import torch_dtypes, torch_names

        application = self._application(targets, frozenset(numbers), False)
        arrays = [tensors[name] for name in application.arrays]
        single = application.numbers
        shapes = [
            (1,) * single[name] if name in single else tuple(array.shape)
            for name, array in zip(application.arrays, arrays, strict=True)
        ]
        shape = symbolic_shape(application, shapes, numbers)
        dtype = common_dtype(tuple([torch_names()[arrays[head].dtype] for head in application.heads]))
        return shape, torch_dtypes()[dtype]

    def __repr__(self) -> str:
        return f"hpacml.functor({self.directive.canonical!r})"


def define_operators() -> None:
    """Define Torch's operators of functors, which models may contain. This loads Torch."""
    operators.define(TensorFunctor)


def functor(declaration: str, *, target: Machine | None = None) -> TensorFunctor:
    """Make a tensor functor of its declaration, `"f: [i, 0:2] = ([i - 1], [i + 1])"`, or of a whole directive.

    A functor runs where its arrays are. With the target "gpu" it runs on the current GPU also for arrays of the host,
    of which it transfers what the map touches; with "cpu" arrays on a GPU are an error. Raises `DirectiveError` if
    the declaration is not text or cannot be parsed, and if the target is unknown.
    """
    require_machine(target)
    return TensorFunctor(parse_functor(require_text(declaration, "a functor")), target)


functor.__module__ = "hpacml"  # pickles name this, which stays when files move
