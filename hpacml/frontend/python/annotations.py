"""Reads the annotations of a kernel: arrays (jaxtyping), numbers, and arguments that only directives use."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, ForwardRef, TypeAlias, cast, get_args

from jaxtyping import AbstractArray

from hpacml.frontend.python import bundles
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.types import ARRAY_DTYPES, SCALARS, Refusal, ScalarType
from hpacml.runtime.arrays.views import Layout

if TYPE_CHECKING:
    from xdsl.dialects.builtin import MemRefType

Dim: TypeAlias = int | str | None
"""A size, the name of a size, or None for any size."""


@dataclass(frozen=True)
class ArrayParameter:
    """An array, such as `Float32[np.ndarray, "N 3"]`."""

    name: str
    element: ScalarType
    dims: tuple[Dim, ...]
    optional: bool = False
    """Whether None may be given."""

    def memref(self, layout: Layout) -> MemRefType:
        """The type of the array in the IR."""
        from xdsl.dialects.builtin import DYNAMIC_INDEX

        from hpacml.frontend.python.layouts import memref_of_layout

        shape = [dim if isinstance(dim, int) else DYNAMIC_INDEX for dim in self.dims]
        return memref_of_layout(self.element.element, shape, layout)


@dataclass(frozen=True)
class ScalarParameter:
    """A number: `int`, `float`, `bool`, `np.float32`, ..."""

    name: str
    type: ScalarType


@dataclass(frozen=True)
class OpaqueParameter:
    """An argument that compiled code does not see: `str`, `Path`, `torch.nn.Module`, `Any`."""

    name: str


@dataclass(frozen=True)
class BundleParameter:
    """A dataclass or a named tuple, whose fields are parameters of their own, `name.field`."""

    name: str
    type: type[Any]
    fields: tuple[Parameter, ...]


Leaf: TypeAlias = ArrayParameter | ScalarParameter | OpaqueParameter
Parameter: TypeAlias = "Leaf | BundleParameter"


def leaves(parameters: Iterable[Parameter]) -> Iterator[Leaf]:
    """The parameters, with those of the fields of bundles in place of these."""
    for parameter in parameters:
        if isinstance(parameter, BundleParameter):
            yield from leaves(parameter.fields)
        else:
            yield parameter


def parameters_of(function: Callable[..., Any], source: Source, names: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of a kernel. `names` has what its annotations may refer to. Raises `CompileError`."""
    arguments = source.function.args
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            raise source.error(extra, f"'{extra.arg}' takes any number of arguments, and a kernel's are fixed")
    nodes = {node.arg: node for node in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    annotations = inspect.get_annotations(function)
    parameters: list[Parameter] = []
    for name, node in nodes.items():
        if name not in annotations:
            raise source.error(
                node,
                f"'{name}' has no annotation: write for example {name}: float, or "
                f'{name}: Float32[np.ndarray, "N M"] (from jaxtyping) for an array',
            )
        try:
            parameters.append(_parameter(name, _evaluate(annotations[name], names), names))
        except Refusal as refusal:
            raise source.error(node.annotation or node, str(refusal)) from None
    return tuple(parameters)


def _evaluate(annotation: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(annotation, ForwardRef):  # a text, in a NamedTuple
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))  # as typing.get_type_hints does
    except Exception as error:
        raise Refusal(f"this annotation cannot be evaluated: {type(error).__name__}: {error}") from None


def _parameter(name: str, annotation: Any, names: Mapping[str, Any]) -> Parameter:
    alternatives = get_args(annotation) or (annotation,)
    arrays = [a for a in alternatives if a is not NoneType]
    are_arrays = bool(arrays) and all(isinstance(a, type) and issubclass(a, AbstractArray) for a in arrays)
    if are_arrays and len({(a.dtypes, a.dim_str) for a in arrays}) == 1:
        return replace(_array(name, arrays[0]), optional=len(arrays) < len(alternatives))
    if isinstance(annotation, type) and bundles.is_bundle(annotation):
        return _bundle(name, annotation, names)
    if isinstance(annotation, type) and annotation in SCALARS:
        return ScalarParameter(name, SCALARS[annotation])
    if _is_opaque(annotation):
        return OpaqueParameter(name)
    raise Refusal(_advice(name, annotation))


def _advice(name: str, annotation: Any) -> str:
    """What to write instead of an annotation that no parameter can have."""
    spelled = _spelled(annotation)
    if spelled in ("ndarray", "Tensor"):
        return f"'{name}' needs element type and dimensions: write {_example('Float32')} (from jaxtyping)"
    alternatives = get_args(annotation)
    kinds: list[Any] = [kind for kind in alternatives if kind is not NoneType]
    known = all(isinstance(kind, type) and (kind in SCALARS or bundles.is_bundle(kind)) for kind in kinds)
    if len(kinds) == 1 and NoneType in alternatives and known:
        return (
            f"'{name}' may be None, which arrays may, and what model(...) and database(...) use, but no "
            f"{_spelled(kinds[0])}: write {name}: {_spelled(kinds[0])}, and beside it has_{name}: bool"
        )
    if len(kinds) > 1 and all(kind in (bool, int, float) for kind in kinds):
        return f"'{name}' has one type: write {name}: {'float' if float in kinds else 'int'}, which takes the others"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        number = f", or {name}: int, which takes its numbers" if issubclass(annotation, int) else ""
        return (
            f"'{name}' is an enumeration: write {name}: Any (from typing), for each member of which the kernel is "
            f"compiled where it matters{number}"
        )
    if isinstance(annotation, type) and (obstacle := bundles.obstacle(annotation)) is not None:
        return (
            f"'{name}' has the type {spelled}, which has {obstacle}, and a kernel does not heed that: write a class "
            "without it, or a parameter for each field"
        )
    return (
        f"'{name}' has the type {spelled}, which no kernel argument can have: arrays are {_example('Float32')} "
        "(from jaxtyping), numbers int, float, bool or NumPy's, and model or path arguments str, "
        "torch.nn.Module or typing.Any; a dataclass or NamedTuple of those is one, too"
    )


def _spelled(annotation: Any) -> str:
    is_type = isinstance(annotation, type) and not get_args(annotation)
    return annotation.__name__ if is_type else str(annotation)


def _bundle(name: str, annotation: type[Any], names: Mapping[str, Any]) -> BundleParameter:
    module = sys.modules.get(str(annotation.__module__))
    names = {**names, **({} if module is None else vars(module))}
    fields: list[Parameter] = []
    for field, type in bundles.fields_of(annotation).items():
        try:
            fields.append(_parameter(f"{name}.{field}", _evaluate(type, names), names))
        except Refusal as refusal:
            raise Refusal(f"the field '{field}' of {annotation.__name__}: {refusal}") from None
    return BundleParameter(name, annotation, tuple(fields))


def _array(name: str, annotation: Any) -> ArrayParameter:
    dtypes: Any = annotation.dtypes  # an object of jaxtyping, not a tuple, if any dtype is allowed
    names = cast("tuple[str, ...]", dtypes) if isinstance(dtypes, tuple) else ()
    found = {ARRAY_DTYPES.get(name.removesuffix("_")) for name in names}  # Bool has "bool" and "bool_"
    element = found.pop() if len(found) == 1 else None
    if element is None:
        classes = ", ".join(_jaxtyping_name(dtype) for dtype in ARRAY_DTYPES)
        raise Refusal(f"the elements of '{name}' must have one type, of {classes}")
    return ArrayParameter(name, element, _dims(name, annotation.dim_str))


def _dims(name: str, text: str) -> tuple[Dim, ...]:
    dims: list[Dim] = []
    for token in text.split():
        if token.isdecimal():
            dims.append(int(token))
        elif token == "_":
            dims.append(None)
        elif token.isidentifier():
            dims.append(None if token.startswith("_") else token)
        else:
            raise Refusal(
                f"the dimension '{token}' of '{name}' is none that a kernel knows: "
                "write a name, an integer, or _ for any size"
            )
    if not dims:
        raise Refusal(f"'{name}' has no dimensions: write {_example('Float32')}, or use a number")
    return tuple(dims)


def _is_opaque(annotation: Any) -> bool:
    if annotation is Any or annotation is object:
        return True
    torch = sys.modules.get("torch")
    opaque: tuple[Any, ...] = (str, os.PathLike) if torch is None else (str, os.PathLike, torch.nn.Module)
    kinds = [a for a in get_args(annotation) or (annotation,) if a is not type(None)]
    return all(isinstance(kind, type) and issubclass(kind, opaque) for kind in kinds)


def _example(kind: str) -> str:
    return f'{kind}[np.ndarray, "N M"]'


def _jaxtyping_name(dtype: str) -> str:
    return dtype.capitalize().replace("Uint", "UInt")
