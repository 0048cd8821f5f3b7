"""The parameters of C functions: their names and their types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from hpacml.embedding.exported import Exported
from hpacml.frontend.python.annotations import ArrayParameter, OpaqueParameter, ScalarParameter
from hpacml.frontend.python.types import ScalarType

_WORDS = """
auto bool break case char const continue default do double else enum extern false float for goto if inline int
long nullptr register restrict return short signed sizeof static struct switch true typedef union unsigned void
volatile while alignas alignof asm catch class delete explicit export friend mutable namespace new operator
private protected public template this throw try typeid typename using virtual and or not xor bitand bitor compl
and_eq or_eq xor_eq not_eq concept requires constexpr decltype noexcept thread_local typeof
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t intptr_t uintptr_t
"""
KEYWORDS = frozenset(_WORDS.split())
"""Words that name no parameter in C or C++, with the types that a header uses."""


@dataclass(frozen=True)
class CArray:
    """A pointer to the first element, with pointers to the sizes and to the strides, in elements."""

    parameter: ArrayParameter
    name: str
    sizes: str
    strides: str
    written: bool

    @property
    def rank(self) -> int:
        return len(self.parameter.dims)

    @property
    def c_type(self) -> str:
        return c_type(self.parameter.element)


@dataclass(frozen=True)
class CNumber:
    """A number that is passed or, as a result, written through a pointer."""

    type: ScalarType
    name: str

    @property
    def c_type(self) -> str:
        return c_type(self.type)


@dataclass(frozen=True)
class CText:
    """A path, which may be NULL unless it is needed."""

    name: str
    source: str
    needed: bool


CParameter = CArray | CNumber | CText


class Prototype:
    """The parameters of a C function, those of `exported` and then its results, with names that differ.

    Where upper and lower case do not count, `fold` makes equal what is equal.
    """

    def __init__(
        self, exported: Exported, allowed: Callable[[str], bool], fold: Callable[[str], str] = lambda name: name
    ) -> None:
        self.exported = exported
        self._allowed, self._fold = allowed, fold
        self._taken: set[str] = {fold(exported.name)}
        plain = [each.name.replace(".", "_") for each in exported.parameters]
        names = [self.unique(name) for name in plain]
        self.parameters = [self._parameter(k, name) for k, name in enumerate(names)]
        several = len(exported.results) > 1
        self.results = [
            CNumber(type, self.unique(f"result{k}" if several else "result")) for k, type in enumerate(exported.results)
        ]
        self.stream = None if exported.chip is None else self.unique("stream")
        """The name of the last parameter of a function for a GPU: the stream that it runs on."""

    @cached_property
    def arrays(self) -> list[CArray]:
        return [each for each in self.parameters if isinstance(each, CArray)]

    @cached_property
    def texts(self) -> list[CText]:
        return [each for each in self.parameters if isinstance(each, CText)]

    def _parameter(self, position: int, name: str) -> CParameter:
        exported = self.exported
        match exported.parameters[position]:
            case ArrayParameter() as array:
                written = position in exported.written
                sizes, strides = (
                    self.unique(f"{array.name.replace('.', '_')}_{each}") for each in ("sizes", "strides")
                )
                return CArray(array, name, sizes, strides, written)
            case ScalarParameter(type=type):
                return CNumber(type, name)
            case OpaqueParameter(name=source):
                return CText(name, source, source in exported.needed)

    def unique(self, name: str) -> str:
        """A name that is allowed and that no other parameter has, as near as possible to `name`."""
        for candidate in _candidates(name):
            if self._allowed(candidate) and self._fold(candidate) not in self._taken:
                self._taken.add(self._fold(candidate))
                return candidate
        raise AssertionError


def _candidates(name: str) -> Iterator[str]:
    """The name itself, then others like it, some of which any language takes."""
    yield name
    plain = name if name.isascii() else name.encode().hex()
    yield f"{plain}_"
    for number in count(2):
        yield f"{plain}_{number}"
        yield f"x{plain[:40]}_{number}"


def c_prototype(exported: Exported) -> Prototype:
    """The parameters with names that C and C++ allow."""
    return Prototype(exported, lambda name: name.isascii() and name not in KEYWORDS)


def c_type(type: ScalarType) -> str:
    """The C type of a number; in arrays it has the same size."""
    match type.kind:
        case "b":
            return "bool"
        case "f":
            return {32: "float", 64: "double"}[type.bits]
        case kind:
            return f"{'u' if kind == 'u' else ''}int{type.bits}_t"
