"""The code of kernels that earlier processes have compiled, found without compiling anything.

Two entries of the cache lead to it. The first has the facts that some process took from outside of a kernel's text
(`hpacml.frontend.python.outside`). What they stand for now is a part of the key of the second, which has the code, as
long as that is what they stood for when it was made.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hpacml import environment, version
from hpacml.backend import llvm
from hpacml.disk import cache
from hpacml.errors import CompileError, HpacmlError
from hpacml.frontend.compile import Lowered, load, lower
from hpacml.frontend.python import outside
from hpacml.frontend.python.definition import THERE, Definition
from hpacml.frontend.python.nesting import shallow_enough
from hpacml.frontend.python.outside import Fact, Found, Notes, Unknown
from hpacml.frontend.python.result_types import ArrayResult, ConstantResult, Result
from hpacml.frontend.python.types import SCALARS, ScalarType
from hpacml.frontend.python.unchanged import unchanged
from hpacml.frontend.returning import has_arrays
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.entry import Function
from hpacml.runtime.reports.instruments import Instruments

if TYPE_CHECKING:
    from hpacml.runtime.databases.origins import Origin

_BY_NAME = {(type.name, type.weak): type for type in SCALARS.values()}


class Remembered(NamedTuple):
    """Lowered code of a kernel, and what its calls need to know of it."""

    lowered: Lowered
    entry: str
    result: Result | None
    written: frozenset[int]
    labels: list[tuple[str, bool]]
    """The labels under which it collects, and whether its regions give them."""
    meanings: list[Fact]
    """What calls must find unchanged."""
    infers: bool

    def origins(self, kernel: Definition) -> Mapping[str, Origin]:
        """The function whose regions collect, by their labels."""
        if not self.labels:
            return {}
        from hpacml.frontend.origin import origin_of

        return {label: origin_of(kernel.function, labelled) for label, labelled in self.labels}

    def to_bytes(self) -> bytes:
        """Raises `Unknown` for what cannot be written."""
        result, written = _written(self.result), sorted(self.written)
        return json.dumps([self.lowered, self.entry, result, written, self.labels, self.meanings, self.infers]).encode()

    @staticmethod
    def of_bytes(data: bytes) -> Remembered:
        lowered, entry, result, written, labels, meanings, infers = json.loads(data)
        return Remembered(
            Lowered(*lowered),
            entry,
            _read(result),
            frozenset(written),
            [(label, labelled) for label, labelled in labels],
            [Fact(*each) for each in meanings],
            infers,
        )


class Code(NamedTuple):
    """Loaded code of a kernel, and what its calls need to know of it."""

    function: Function
    result: Result | None
    written: frozenset[int]
    origins: Mapping[str, Origin]
    """The functions whose regions collect, by their labels."""
    unchanged: Callable[[], bool] | None
    """Tells whether the functions that the code contains are still what their names stand for. None: yes."""
    arguments: Mapping[str, object]
    """What regions use beside the arguments of calls, by names: paths and models that the code has as constants."""
    infers: bool
    """Whether it has regions that may run models."""


def code_of(
    kernel: Definition,
    layouts: tuple[Layout, ...],
    constants: Mapping[str, object],
    chosen: Instruments,
    chip: str | None,
) -> Code:
    """The code of a kernel for arrays of these layouts and for constants, as `compile_kernel` takes them, on a chip.

    Raises what `compile_kernel` does, and `CompileError` and `MapError` of what passes and LLVM refuse.
    """
    memory = _Memory(kernel, layouts, constants, chosen.timing, chip is not None)
    if (found := memory.find()) is not None:
        known, same = found
        return _code(known, chip, known.origins(kernel), same, {})
    from hpacml.frontend.python.compiler import compile_kernel

    made = compile_kernel(kernel, layouts, constants)
    if chip is not None and has_arrays(made.result):
        raise CompileError(f"{kernel.name}() returns an array, which a kernel cannot on a GPU: pass it one to write")
    with shallow_enough(kernel.source):
        lowered = lower(lambda: made.module, made.entry, chosen.timing, chip is not None)
        labels = [(label, origin.labelled) for label, origin in made.origins.items()]
        known = Remembered(lowered, made.entry, made.result, made.written, labels, [*made.notes.meanings], made.infers)
        code = _code(known, chip, made.origins, made.unchanged, made.arguments)
    memory.keep(known, made.notes)
    return code


def _code(
    known: Remembered,
    chip: str | None,
    origins: Mapping[str, Origin],
    same: Callable[[], bool] | None,
    arguments: Mapping[str, object],
) -> Code:
    function = load(known.lowered, known.entry, chip)
    return Code(function, known.result, known.written, origins, same, arguments, known.infers)


class _Memory:
    """Where the code of one kernel for some arguments is, in the cache."""

    def __init__(
        self,
        kernel: Definition,
        layouts: tuple[Layout, ...],
        constants: Mapping[str, object],
        timing: bool,
        gpu: bool,
    ) -> None:
        self._kernel = kernel
        self._label = kernel.name
        self._text = self._made_by = None
        try:
            known = sorted((name, _constant(value)) for name, value in constants.items())
            parts = outside.kernel_parts(kernel)
        except (Unknown, HpacmlError):  # compilation will tell what is wrong
            return
        settings = environment.CHECK.text(), environment.SAMPLE.text(), timing, gpu, *llvm.host()
        self._made_by = version.made_by()
        self._text = repr((parts, [*layouts], known, settings))

    def find(self) -> tuple[Remembered, Callable[[], bool] | None] | None:
        """The code that was made of the kernel and what is outside of it now, and what tells whether that changes."""
        if self._text is None or self._made_by is None:
            return None
        facts = cache.find(cache.key("facts", self._text, self._made_by, label=self._label), _read_facts)
        found = None if facts is None else outside.find(self._kernel.function, facts)
        if facts is None or found is None:
            return None
        remembered = cache.find(self._key(facts, found.texts), Remembered.of_bytes)
        return None if remembered is None else (remembered, _watch(remembered.meanings, facts, found))

    def keep(self, remembered: Remembered, notes: Notes) -> None:
        """Store code that was made with these facts, if they are all that it was made with."""
        if self._text is None or self._made_by is None or not notes.is_complete or version.is_changed():
            return
        try:
            content = remembered.to_bytes()
        except Unknown:
            return
        facts = [*notes.known]
        cache.store(self._key(facts, [*notes.known.values()]), content)
        cache.store(cache.key("facts", self._text, self._made_by, label=self._label), json.dumps(facts).encode())

    def _key(self, facts: list[Fact], texts: list[str]) -> str:
        return cache.key("kernel", self._text or "", self._made_by or "", repr((facts, texts)), label=self._label)


def _read_facts(data: bytes) -> list[Fact]:
    return [Fact(*each) for each in json.loads(data)]


def _watch(meanings: list[Fact], facts: list[Fact], found: Found) -> Callable[[], bool] | None:
    """What tells whether expressions still stand for what they stand for now."""
    at = {fact: number for number, fact in enumerate(facts)}
    numbers = [at[each] for each in meanings]
    used = [(found.functions[n], {facts[n].spelled: (_expression(facts[n]), found.objects[n])}) for n in numbers]
    return unchanged(used)


def _expression(fact: Fact) -> ast.expr:
    return ast.parse(fact.spelled, mode="eval").body


def _constant(value: object) -> str:
    return "there" if value is THERE else outside.text_of(value)


def _written(result: Result | None) -> Any:
    """A result for JSON."""
    match result:
        case None:
            return None
        case ScalarType():
            return ["number", result.name, result.weak]
        case ArrayResult(element=element, rank=rank, parameters=parameters, in_order=in_order):
            return ["array", element.name, element.weak, rank, sorted(parameters), in_order]
        case ConstantResult(object=None | str() as found) if found is None or type(found) is str:
            return ["constant", found]
        case tuple():
            return ["tuple", *map(_written, result)]
        case _:  # a class of the program
            raise Unknown


def _read(written: Any) -> Result | None:
    if written is None:
        return None
    kind, *parts = written
    match kind:
        case "number":
            return _BY_NAME[tuple(parts)]
        case "array":
            name, weak, rank, parameters, in_order = parts
            return ArrayResult(_BY_NAME[name, weak], rank, frozenset(parameters), in_order)
        case "constant":
            return ConstantResult(parts[0])
        case _:
            return tuple([_item(each) for each in parts])


def _item(written: Any) -> Result:
    result = _read(written)
    assert result is not None
    return result
