"""Calls kernels: checks the arguments, chooses or compiles the code, and passes memref descriptors to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from ctypes import addressof
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Number, Real
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from hpacml.backend.stacks import on_large_stack
from hpacml.dtypes import BY_LONG_NAME, DTYPES
from hpacml.errors import MapError
from hpacml.frontend import placement, tracers
from hpacml.frontend.python.annotations import ArrayParameter, OpaqueParameter, Parameter, ScalarParameter, leaves
from hpacml.frontend.python.definition import NO_CONSTANTS, THERE, Interface
from hpacml.frontend.python.size_rules import size_rules
from hpacml.frontend.python.types import ScalarType
from hpacml.frontend.remembered import Code
from hpacml.frontend.returning import Read, reader
from hpacml.locks import Order, lock
from hpacml.runtime import differentiation
from hpacml.runtime.arrays.changes import note_writes
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import ArrayView, Layout, descriptor, layout_of
from hpacml.runtime.entry import Function
from hpacml.runtime.fast_frame import FrameForm, Place
from hpacml.runtime.fast_path import RETURNS, Callee, Conditions, Packed, Signature, Taken
from hpacml.runtime.frame import Frame
from hpacml.runtime.models import prerequisites
from hpacml.runtime.reports import instruments
from hpacml.runtime.reports.instruments import Instruments

if TYPE_CHECKING:
    from hpacml.runtime.gpu.offload import Offload


def _define_operators() -> None:
    from hpacml.frontend.functor import define_operators

    define_operators()


prerequisites.add(_define_operators)

_compiling = lock(Order.COMPILING)


CodeOf: TypeAlias = Callable[[tuple[Layout, ...], Mapping[str, object], Instruments, str | None], Code]
"""Gives the code for arrays of these layouts and for constants, with the instruments, on a chip or on the host."""


@dataclass(frozen=True, slots=True, eq=False)  # keys contain it, so it is hashed by identity
class _Code:
    """Compiled code for arrays of given layouts."""

    run: Callable[..., Any]
    written: tuple[int, ...]
    """The positions of the arrays that the code writes."""
    read: Read | None
    """Makes the result, None for a kernel that returns nothing."""
    signature: Signature | None
    """What native code must know to run it, None for code that it cannot run."""
    unchanged: Callable[[], bool] | None
    """Tells whether the functions that the code contains are still what their names stand for. None: yes."""

    @property
    def is_old(self) -> bool:
        """Whether a function that the code contains has been defined anew."""
        return self.unchanged is not None and not self.unchanged()


class Dispatcher:
    """Calls the compiled code of a kernel. The first call with arrays of new layouts compiles it."""

    def __init__(
        self,
        kernel: Interface,
        code_of: CodeOf,
        target: placement.Machine | None,
        constants: Mapping[str, object] = NO_CONSTANTS,
    ):
        self._kernel = kernel
        self._code_of = code_of
        self._target: placement.Machine | None = target
        self._constants = constants
        parameters = list(leaves(kernel.parameters))
        self._parameters: dict[str, int] = {p.name: k for k, p in enumerate(parameters)}
        self._count = kernel.positional
        known = [(k, p) for k, p in enumerate(parameters) if constants.get(p.name, THERE) is THERE]
        self._arrays = [(k, p) for k, p in known if isinstance(p, ArrayParameter)]
        self._positions = [k for k, _ in self._arrays]
        self._array_names = [p.name for _, p in self._arrays]
        self._opaque = [p.name for _, p in known if isinstance(p, OpaqueParameter)]
        self._framed = bool(self._opaque)
        """Whether a call has something that its frame must hold: arguments, or arrays that code of models may meet."""
        self._passed = [
            (k, _converter(p) if isinstance(p, ScalarParameter) else None)
            for k, p in known
            if not isinstance(p, OpaqueParameter)
        ]
        self._expected = [(BY_LONG_NAME[p.element.dtype.name].name, len(p.dims)) for _, p in self._arrays]
        self._expected_here = [(dtype, rank, None) for dtype, rank in self._expected]
        """The types of arrays of the host, with their place."""
        self._size_rules = size_rules(kernel.name, [p for _, p in self._arrays])
        self._codes: defaultdict[tuple[Instruments, str | None], dict[tuple[Layout, ...], _Code]] = defaultdict(dict)
        """The code for the instruments, the chip (None on the host) and the layouts of the arrays."""
        self._no_arguments = Frame()
        self._open_for: tuple[_Code | None, Conditions | None] = None, None
        """What the kernel's fast path runs, and without which tracers."""

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        """Run the kernel. Raises `MapError` if an argument does not fit, `TypeError` if one is missing or unknown."""
        if (tracer := tracers.tracer()) is not None:
            raise tracers.refusal(tracer, f"the kernel {self._kernel.name}")
        return self.run(self._kernel.bind(args, kwargs) if kwargs or len(args) != self._count else args)

    def run(self, args: Sequence[Any]) -> object:
        """Run the kernel with an argument for each parameter, in order, and for each field of a bundle."""
        views = [array_view(args[k], p.name, gpu=True) for k, p in self._arrays]
        found = [(view.dtype, len(view.shape), view.device) for view in views]
        here = found == self._expected_here
        if not here and [(dtype, rank) for dtype, rank, _ in found] != self._expected:
            self._refuse_types(args, views)
        if self._size_rules:
            self._check_sizes(views)
        layouts = tuple([layout_of(view) for view in views])
        chosen = instruments.current
        if here and self._target != "gpu":
            code = self._codes[chosen, None].get(layouts)
            if code is None or (code.unchanged is not None and not code.unchanged()):  # as is_old does, but faster
                code = self._compile(layouts, chosen, None)
            elif code.signature is not None and self._open_for != (code, tracers.untraced_calls):
                self._open_fast_path(code, code.signature, chosen)
            if code.written:
                self._begin_writes(code, args, views)
            with self._frame(args, views) if self._framed else self._no_arguments:
                return self._invoke(code, args, self._numbers(args), views)
        return self._run_on_device(layouts, chosen, args, views)

    def _run_on_device(
        self, layouts: tuple[Layout, ...], chosen: Instruments, args: Sequence[Any], views: Sequence[ArrayView]
    ) -> object:
        from hpacml.runtime.gpu.offload import Work

        device = placement.device_of(views, [p.name for _, p in self._arrays], self._target)
        code = self._codes[chosen, device.chip].get(layouts)
        if code is None or code.is_old:
            code = self._compile(layouts, chosen, device.chip)
        self._begin_writes(code, args, views)
        numbers = self._numbers(args)
        key = code, tuple([number or str(number) for number in numbers])  # 0.0 equals -0.0, but computes differently
        frame = self._frame(args, views) if self._framed else self._no_arguments
        work = Work(device, frame, views, frozenset(code.written), key)
        return self._offload.run(work, lambda views: self._invoke(code, args, numbers, views))

    @cached_property
    def _offload(self) -> Offload:
        from hpacml.runtime.gpu.offload import Offload

        return Offload(self._kernel.name)

    def _numbers(self, args: Sequence[Any]) -> list[object]:
        return [convert(args[k]) for k, convert in self._passed if convert is not None]

    def _invoke(
        self, code: _Code, args: Sequence[Any], numbers: Sequence[object], views: Sequence[ArrayView]
    ) -> object:
        descriptors = [descriptor(view) for view in views]  # must outlive the call
        addresses, others = map(addressof, descriptors), iter(numbers)
        values = [next(addresses) if convert is None else next(others) for _, convert in self._passed]
        words = code.run(*values)
        if code.read is None:
            return None
        return code.read(words, args, views)

    def _begin_writes(self, code: _Code, args: Sequence[Any], views: Sequence[ArrayView]) -> None:
        """Raise `MapError` for arrays that are written and must not be, and tell Torch of those that are its own."""
        for n in code.written:
            view = views[n]
            if view.readonly:
                k, parameter = self._arrays[n]
                array_view(args[k], parameter.name, write=True, gpu=True)  # raises the error
        note_writes(views, code.written)

    def _frame(self, args: Sequence[Any], views: Sequence[ArrayView]) -> Frame:
        given = {name: args[self._parameters[name]] for name in self._opaque}
        arguments = {**given, **self._no_arguments.arguments}
        return Frame(arguments, paths=self._no_arguments.paths, arrays=(self._array_names, views))

    def _compile(self, layouts: tuple[Layout, ...], chosen: Instruments, chip: str | None) -> _Code:
        codes = self._codes[chosen, chip]
        with _compiling:
            if layouts not in codes or codes[layouts].is_old:
                found = on_large_stack(lambda: self._code_of(layouts, self._constants, chosen, chip))
                self._no_arguments.paths.origins.update(found.origins)
                self._framed |= found.infers
                self._no_arguments.arguments = {**self._no_arguments.arguments, **found.arguments}
                run = chosen.around(lambda *_: f"hpacml.kernel {self._kernel.name}", found.function)
                written = tuple(n for n, (k, _) in enumerate(self._arrays) if k in found.written)
                read = None if found.result is None else reader(found.result, self._positions)
                packed = chip is None and all(layout is Layout.PACKED for layout in layouts)
                signature = self._signature(found) if packed else None
                codes[layouts] = _Code(run, written, read, signature, found.unchanged)
            return codes[layouts]

    def _signature(self, code: Code) -> Signature | None:
        if self._count is None or self._constants or self._target == "gpu":
            return None
        taken: list[tuple[Taken, int, int]] = []
        for k, parameter in enumerate(self._kernel.parameters):
            if isinstance(parameter, OpaqueParameter):
                continue
            if (native := _native(parameter, k in code.written)) is None:
                return None
            taken.append((native, k, len(taken)))
        result = code.result
        returns = result.python if isinstance(result, ScalarType) else None
        if not (result is None or returns in RETURNS):
            return None
        slots = {k: slot for _, k, slot in taken}
        of_arrays = [slots[k] for k in self._positions]
        rules = [
            ((of_arrays[array], axis), other and (of_arrays[other[0]], other[1]), size)
            for (array, axis), other, size, _ in self._size_rules
        ]
        frame = self._frame_form(of_arrays) if code.function.needs_frame else None
        return Signature(len(self._kernel.parameters), taken, rules, returns=returns, frame=frame)

    def _frame_form(self, slots: Sequence[int]) -> FrameForm:
        """The form of frames, where the descriptors of the arrays are in these slots."""
        opaque = {name: self._parameters[name] for name in self._opaque}
        places = [
            Place(parameter.name, k, slot, dtype, rank)
            for (k, parameter), slot, (dtype, rank) in zip(self._arrays, slots, self._expected, strict=True)
        ]
        return FrameForm(opaque, self._no_arguments.arguments, self._no_arguments.paths, places)

    def _open_fast_path(self, code: _Code, signature: Signature, chosen: Instruments) -> None:
        """Have calls with packed arrays of the host enter this code natively, as long as it is the code for them."""
        from hpacml.runtime import fastcall

        self._open_for = code, tracers.untraced_calls
        if isinstance(code.run, Function) and isinstance(self._kernel, Callee):
            names = () if code.unchanged is None else ((code.unchanged, True),)
            entries: list[tuple[Mapping[str, Any], str, object]] = [(vars(instruments), "current", chosen)]
            if self._framed:  # it may infer
                entries.append((vars(differentiation), "inside", None))
            same = Conditions(entries, names)
            fastcall.open(self._kernel, code.run, signature, tracers.untraced_calls + same)

    # -- errors ----------------------------------------------------------------------------------

    def _refuse_types(self, args: Sequence[Any], views: Sequence[ArrayView]) -> NoReturn:
        for view, (k, parameter), (dtype, rank) in zip(views, self._arrays, self._expected, strict=True):
            name = parameter.name
            if view.dtype != dtype:
                found = DTYPES[view.dtype].long_name if DTYPES[view.dtype].in_kernels else view.dtype
                wanted = parameter.element.dtype.name
                convert = f"{name}.astype(np.{wanted})" if hasattr(args[k], "astype") else f"{name}.to(torch.{wanted})"
                raise MapError(
                    f"argument '{name}' of {self._kernel.name}() has elements of {found}, but {wanted} is expected: "
                    f"convert it, for example with {convert}"
                )
            if len(view.shape) != rank:
                raise MapError(
                    f"argument '{name}' of {self._kernel.name}() has the shape {list(view.shape)}, "
                    f"but {rank} dimension{'s' * (rank > 1)} ({' '.join(map(_shown, parameter.dims))}) are expected"
                )
        raise AssertionError

    def _check_sizes(self, views: Sequence[ArrayView]) -> None:
        for (array, axis), other, size, text in self._size_rules:
            given = views[array].shape[axis]
            wanted = size if other is None else views[other[0]].shape[other[1]]
            if given != wanted:
                raise MapError(text.format(given=given, wanted=wanted))


def _native(parameter: Parameter, written: bool) -> Packed | type[Any] | None:
    """What native code takes for a parameter, None if there is nothing of the kind."""
    if isinstance(parameter, ArrayParameter):
        dtype = parameter.element.dtype
        return Packed(dtype, len(parameter.dims), written) if dtype.isbuiltin == 1 else None
    if isinstance(parameter, ScalarParameter) and (parameter.type.weak or parameter.type.bits == 64):
        return {"b": bool, "i": int, "f": float}.get(parameter.type.kind)
    return None


def _converter(parameter: ScalarParameter) -> Callable[[Any], object]:
    """A function that checks an argument and converts it for compiled code. It raises `MapError`."""
    type = parameter.type
    bits = 64 if type.weak else type.bits
    low, high = (0, 1 << bits) if type.kind == "u" else (-(1 << bits - 1), 1 << bits - 1)

    def refuse(value: Any) -> MapError:
        shown = repr(value) if isinstance(value, Number) else f"of type {value.__class__.__name__}"
        if getattr(value, "requires_grad", False):
            shown = "a tensor that needs gradients, which compiled code does not compute: pass .item() of it"
        return MapError(f"argument '{parameter.name}' takes {type.spelling}, and the value given is {shown}")

    def item(value: Any) -> Any:
        """The number in an array of no dimensions."""
        if getattr(value, "ndim", None) != 0 or isinstance(value, np.generic) or getattr(value, "requires_grad", False):
            raise refuse(value)
        return value.item()

    def to_bool(value: Any) -> bool:
        if value.__class__ is not bool and value.__class__ is not np.bool_:
            return to_bool(item(value))
        return bool(value)

    def to_int(value: Any) -> int:
        if not isinstance(value, Integral) and value.__class__ is not np.bool_:
            return to_int(item(value))
        number = int(value)
        if not low <= number < high:
            raise refuse(value)
        return number - high if type.kind == "u" and 2 * number >= high else number

    def to_float(value: Any) -> float:
        if value.__class__ is float and bits == 64:
            return value
        if not isinstance(value, Real) and value.__class__ is not np.bool_:
            return to_float(item(value))
        try:
            return float(type.python(value))
        except OverflowError:
            raise refuse(value) from None

    return to_bool if type.kind == "b" else to_float if type.is_float else to_int


def _shown(dim: int | str | None) -> str:
    return "_" if dim is None else str(dim)
