"""`hpacml.jax.call`: a compiled kernel as a pure function of JAX."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, cast

import numpy as np

from hpacml.abi.symbols import VALUES
from hpacml.dtypes import DTYPES
from hpacml.errors import CompileError, HpacmlError, MapError
from hpacml.frontend.kernel import Kernel
from hpacml.frontend.python.annotations import (
    ArrayParameter,
    BundleParameter,
    Leaf,
    OpaqueParameter,
    ScalarParameter,
)
from hpacml.frontend.python.definition import NO_CONSTANTS
from hpacml.frontend.python.result_types import ConstantResult, Result
from hpacml.frontend.python.size_rules import size_rules
from hpacml.frontend.python.types import NeedsValue, ScalarType
from hpacml.frontend.remembered import Code, code_of
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.compiled_call import CompiledCall
from hpacml.jax.libraries import is_traced, jax, jnp
from hpacml.jax.operands import as_operand, form_of, result_of
from hpacml.jax.templates import Template
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.entry import Function
from hpacml.runtime.frame import Frame, Paths, is_path
from hpacml.runtime.reports import instruments

KNOWN_FORMS = 256
"""How many forms of arguments a function remembers."""


def call(kernel: Kernel[..., Any]) -> Callable[..., Any]:
    """Make a pure function of a kernel, which programs of JAX call inside and outside of `jax.jit`, on the CPU and on
    GPUs of NVIDIA.

    It takes the kernel's arguments, arrays as those of JAX (or NumPy), and returns the arrays that the kernel writes
    as a dict by the names of their parameters; where the kernel returns numbers, a tuple of these and that dict.
    Arguments stay what they are; the memory of those that are donated, or used nowhere else, becomes that of results.
    Numbers may be traced. Texts, paths and models are arguments that `jax.jit` must not trace.

    Under `jax.vmap` calls run one after the other. Kernels have no gradient.

    Raises `CompileError` for a kernel that returns arrays or takes bundles. Calls raise `MapError` where an argument
    does not fit, and what the kernel raises; inside of `jax.jit` that arrives as an error of JAX with the same text.
    """
    if not isinstance(kernel, Kernel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CompileError(f"hpacml.jax.call takes a kernel, made by hpacml.kernel, and this is {kernel!r}")
    if kernel.target == "gpu":
        raise CompileError(
            f"{kernel.name}() runs on a GPU alone, by its target, and hpacml.jax calls kernels where the program runs: "
            "leave out the target"
        )
    for parameter in kernel.parameters:
        if isinstance(parameter, BundleParameter):
            raise CompileError(
                f"'{parameter.name}' of {kernel.name}() is a bundle: give hpacml.jax.call a kernel that takes fields"
            )
    return PureKernel(kernel)


class PureKernel:
    """A kernel as a pure function of JAX."""

    def __init__(self, kernel: Kernel[..., Any]) -> None:
        self._kernel = kernel
        self._parameters = cast("tuple[Leaf, ...]", kernel.parameters)
        self._arrays = [each for each in self._parameters if isinstance(each, ArrayParameter)]
        self._rules = size_rules(kernel.name, self._arrays)
        self._known: dict[object, _KernelCall] = {}
        self._paths = Paths()
        self.__name__ = kernel.name
        self.__doc__ = kernel.function.__doc__
        self.__signature__ = inspect.signature(kernel.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return PureKernel, (self._kernel,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip((each.name for each in self._parameters), self._kernel.bind(args, kwargs), strict=True))
        operands: dict[str, Any] = {}
        static: dict[str, object] = {}
        for parameter in self._parameters:
            value = given[parameter.name]
            if isinstance(parameter, ArrayParameter) and not (value is None and parameter.optional):
                operands[parameter.name] = self._array(parameter, value)
            elif isinstance(parameter, ScalarParameter) and is_traced(value):
                operands[parameter.name] = self._number(parameter, value)
            elif isinstance(parameter, OpaqueParameter) and is_traced(value):
                raise MapError(
                    f"argument '{parameter.name}' of {self._kernel.name}() is traced, and must be known: name it in "
                    "static_argnames of jax.jit"
                )
            else:
                static[parameter.name] = _constant(parameter, value)
        forms = {name: form_of(array, name) for name, array in operands.items()}
        self._check_sizes(forms)
        call = self._call_for(forms, static)
        return call.unflatten(call(*operands.values()))

    def _array(self, parameter: ArrayParameter, value: object) -> Any:
        array = as_operand(value, parameter.name)
        form, name = form_of(array, parameter.name), parameter.name
        if form.dtype != parameter.element.stored:
            raise MapError(
                f"argument '{name}' of {self._kernel.name}() has elements of {array.dtype}, but "
                f"{parameter.element.dtype.name} is expected: convert it with {name}.astype"
                + (" under jax_enable_x64" if parameter.element.bits == 64 else "")
            )
        if len(form.shape) != len(parameter.dims):
            raise MapError(
                f"argument '{name}' of {self._kernel.name}() has the shape {list(form.shape)}, but "
                f"{len(parameter.dims)} dimensions are expected"
            )
        return array

    def _number(self, parameter: ScalarParameter, value: Any) -> Any:
        """A traced number in the type of the parameter, or in one of 32 bits, which the handler widens."""
        type, found = parameter.type, np.dtype(value.dtype)
        accepted = {"b": "b", "i": "bi", "u": "bu", "f": "biuf"}[type.kind]
        letter = "f" if value.dtype == jnp.bfloat16 else found.kind
        if value.ndim or letter not in accepted:
            raise MapError(
                f"argument '{parameter.name}' of {self._kernel.name}() takes {type.spelling}, and the value given is "
                f"traced as {value.dtype}{list(value.shape)}"
            )
        if type.bits < 64 or jax.config.jax_enable_x64:
            return value.astype(type.dtype)
        if type.kind == "u":
            raise MapError(f"argument '{parameter.name}' takes {type.spelling}: turn on jax_enable_x64 to trace it")
        return value.astype(np.float32 if type.kind == "f" else np.int32)

    def _check_sizes(self, forms: Mapping[str, ArrayForm]) -> None:
        shapes = [forms[each.name].shape if each.name in forms else None for each in self._arrays]
        for (array, axis), other, size, text in self._rules:
            shape, other_shape = shapes[array], None if other is None else shapes[other[0]]
            if shape is None or (other is not None and other_shape is None):
                continue
            wanted = size if other is None or other_shape is None else other_shape[other[1]]
            if shape[axis] != wanted:
                raise MapError(text.format(given=shape[axis], wanted=wanted))

    def _call_for(self, forms: Mapping[str, ArrayForm], static: Mapping[str, object]) -> _KernelCall:
        chosen = instruments.current
        shown = {name: (type(value), repr(value)) for name, value in static.items()}  # 0.0 is not -0.0
        key = tuple(forms.items()), tuple(shown.items()), chosen
        found = self._known.get(key)
        if found is None or found.is_old or not all(_is_same(found.static[n], static[n]) for n in found.opaque):
            if len(self._known) >= KNOWN_FORMS:
                self._known.clear()
            found = self._known[key] = _KernelCall(self._kernel, self._parameters, forms, static, self._paths)
        return found

    def __repr__(self) -> str:
        return f"hpacml.jax.call({self._kernel!r})"


def _is_same(one: object, other: object) -> bool:
    """Whether a call may stand for another argument: models are those that they are, and paths what they say."""
    return one is other or (is_path(one) and one == other)


def _constant(parameter: Leaf, value: Any) -> object:
    """A number that is known, as compiled code takes it; anything else as it is."""
    if not isinstance(parameter, ScalarParameter):
        return value
    type = parameter.type
    number: Any = np.asarray(value)
    if number.ndim or number.dtype.kind not in {"b": "b", "i": "biu", "u": "biu", "f": "biuf"}[type.kind]:
        raise MapError(f"argument '{parameter.name}' takes {type.spelling}, and the value given is {value!r}")
    if type.is_float:
        return float(type.python(number.item()))
    low, high = type.limits
    if type.kind in "iu" and not low <= int(number.item()) <= high:
        raise MapError(f"argument '{parameter.name}' takes {type.spelling}, and the value given is {value!r}")
    found = int(number.item())
    return bool(found) if type.kind == "b" else found - (high + 1) * (type.kind == "u" and 2 * found > high)


class _KernelCall(CompiledCall):
    """A kernel in programs of XLA, for arguments of given forms; `static` are those that are known."""

    def __init__(
        self,
        kernel: Kernel[..., Any],
        parameters: Sequence[Leaf],
        forms: Mapping[str, ArrayForm],
        static: Mapping[str, object],
        paths: Paths,
    ) -> None:
        self.what = f"the kernel {kernel.name}"
        self.static = dict(static)
        self.opaque = [each.name for each in parameters if isinstance(each, OpaqueParameter)]
        self._kernel, self._parameters, self._forms, self._paths = kernel, parameters, dict(forms), paths
        self._code = self._compile(None)
        names = list(forms)
        self._written = [p.name for k, p in enumerate(parameters) if k in self._code.written]
        self._numbers = _numbers(self._code.result, kernel.name)
        results = [*(result_of(forms[name]) for name in self._written), *map(self._result, self._numbers)]
        aliases = {names.index(name): k for k, name in enumerate(self._written)}
        key = kernel.__module__, kernel.__qualname__, forms, sorted(static.items(), key=str)
        super().__init__(results, aliases, key, len(forms))

    @cached_property
    def has_effect(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether it collects, prints or raises, which must happen as often as it is called."""
        return self._code.function.needs_frame or not self._code.function.is_leaf

    @property
    def is_old(self) -> bool:
        unchanged = self._code.unchanged
        return unchanged is not None and not unchanged()

    def _compile(self, chip: str | None) -> Code:
        constants: dict[str, object] = {
            each.name: None
            for each in self._parameters
            if isinstance(each, ArrayParameter) and each.name not in self._forms
        }
        layouts = (Layout.PACKED,) * sum(isinstance(each, ArrayParameter) for each in self._parameters)
        layouts = layouts[: len(layouts) - len(constants)]
        while True:
            try:
                return code_of(self._kernel, layouts, constants or NO_CONSTANTS, instruments.current, chip)
            except NeedsValue as need:
                value = self.static.get(need.name)
                if need.name in constants or not isinstance(value, str | Enum | None):
                    raise CompileError(
                        f"what {self._kernel.name}() does depends on '{need.name}', which must be a text, an "
                        "enumeration or None that is known when JAX traces the call"
                    ) from None
                constants[need.name] = value

    def _result(self, type: ScalarType) -> Any:
        if type.bits == 64 and not jax.config.jax_enable_x64:
            raise MapError(f"{self._kernel.name}() returns a {type.spelling} of 64 bits: turn on jax_enable_x64")
        return result_of(ArrayForm(type.stored, ()))

    def compile(self, chip: str | None) -> Function:
        if chip is None:
            return self._code.function
        if self._kernel.target == "cpu":
            raise CompileError(f"{self._kernel.name}() runs on the CPU alone, by its target: leave that out")
        return self._compile(chip).function

    def fill(self, template: Template) -> None:
        buffers = {name: k for k, name in enumerate(self._forms)}
        buffers |= {name: len(self._forms) + k for k, name in enumerate(self._written)}
        slot = 0
        for parameter in self._parameters:
            if isinstance(parameter, OpaqueParameter) or (
                isinstance(parameter, ArrayParameter) and parameter.name not in self._forms
            ):
                continue
            form = self._forms.get(parameter.name)
            if isinstance(parameter, ArrayParameter):
                assert form is not None
                template.array(slot, buffers[parameter.name], *form)
            elif form is not None:
                template.take(slot, buffers[parameter.name], form.dtype, kind_of(parameter.type))
            else:
                template.put(slot, kind_of(parameter.type), cast(float, self.static[parameter.name]))
            slot += 1
        first = len(self._forms) + len(self._written)
        for k, (type, offset) in enumerate(zip(self._numbers, _offsets(self._numbers), strict=True)):
            template.give(slot, first + k, DTYPES[type.stored].size, offset)

    @property
    def _result_words(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 + len(self._numbers)

    def frame(self, slots: int) -> Frame:
        arguments = {**{name: self.static[name] for name in self.opaque}, **self._code.arguments}
        self._paths.origins.update(self._code.origins)
        return Frame(arguments, paths=self._paths)

    def unflatten(self, results: Sequence[Any]) -> Any:
        """What the function returns."""
        arrays = dict(zip(self._written, results, strict=False))
        if self._code.result is None:
            return arrays
        numbers = iter(results[len(self._written) :])
        return _built(self._code.result, numbers), arrays

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        raise HpacmlError(
            f"{self.what} has no gradient: compiled code is not differentiated. Give it one by jax.custom_vjp around "
            "hpacml.jax.call, or use jax.lax.stop_gradient"
        )


def kind_of(type: ScalarType) -> str:
    """The MLIR type of a number."""
    if type.weak and type.kind == "i":
        return "index"
    return "i1" if type.kind == "b" else f"{'f' if type.is_float else 'i'}{type.bits}"


def _numbers(result: Result | None, kernel: str) -> list[ScalarType]:
    """The numbers that a kernel returns, in order. Raises CompileError for arrays and records."""
    match result:
        case None | ConstantResult():
            return []
        case ScalarType():
            return [result]
        case tuple():
            return [number for each in result for number in _numbers(each, kernel)]
        case _:
            raise CompileError(
                f"{kernel}() returns an array or a record: give hpacml.jax.call a kernel that writes into an argument"
            )


def _offsets(numbers: Sequence[ScalarType]) -> list[int]:
    """Where each of the numbers that code returns lies, as in a structure of C."""
    kinds = [VALUES[kind_of(type)].slot[0] for type in numbers]
    return [struct.calcsize("@" + "".join(kinds[: k + 1])) - struct.calcsize(f"@{kinds[k]}") for k in range(len(kinds))]


def _built(result: Result, numbers: Any) -> Any:
    match result:
        case ConstantResult(object=found):
            return found
        case tuple():
            return tuple(_built(each, numbers) for each in result)
        case _:
            return next(numbers)
