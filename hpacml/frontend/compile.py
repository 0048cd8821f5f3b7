"""Compiles modules of IR and loads the code, for kernels, regions and functors alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hpacml import version
from hpacml.backend import caches, llvm
from hpacml.backend.stacks import on_large_stack
from hpacml.backend.trampolines import ARRAY
from hpacml.disk import cache
from hpacml.errors import CompileError
from hpacml.pipelines import generic_text, run_passes
from hpacml.runtime import handlers, loading
from hpacml.runtime.entry import Function
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import Attribute

Result = TypeVar("Result")


class Lowered(NamedTuple):
    """A lowered module as text, and what a caller must know of its function."""

    text: str
    entry: str
    arguments: list[str]
    results: list[str]
    texts: dict[str, str]
    """The texts of its call sites by their symbols."""

    def to_bytes(self) -> bytes:
        return json.dumps(self).encode()

    @staticmethod
    def of_bytes(data: bytes) -> Lowered:
        return Lowered(*json.loads(data))


def compile(
    make: Callable[[], ModuleOp],
    name: str,
    made_of: tuple[object, ...] | None = None,
    chosen: instruments.Instruments = instruments.OFF,
    chip: str | None = None,
) -> Function:
    """Load the function `name` of a module, which is made, lowered and compiled where no process has done that before.

    `made_of` has all that decides what `make` returns, as objects that print alike only if they are; without it the
    module itself decides. With a `chip`, maps and parallel loops become kernels for that GPU. `chosen` decides whether
    the code measures itself. Raises `CompileError` and `MapError`.
    """

    options = name, chosen.timing, chip is not None

    def work() -> Function:
        if made_of is None:
            lowered = lower(make, *options)
        else:
            lowered = _kept(repr((made_of, options)), name, lambda: _run(make(), *options))
        return load(lowered, name, chip)

    return _deep(name, work)


def _deep(name: str, work: Callable[[], Result]) -> Result:
    """Do what may recurse deep."""
    try:
        return on_large_stack(work)
    except RecursionError as error:
        raise CompileError(f"'{name}' is nested too deep to be compiled with Python's recursion limit") from error


def load(lowered: Lowered, name: str, chip: str | None) -> Function:
    """Compile and load lowered code, for a chip or for the host. Raises `CompileError`."""
    return _deep(name, lambda: _load(lowered, name, chip))


def _load(lowered: Lowered, name: str, chip: str | None) -> Function:
    handlers.install()
    text, entry, arguments, results, _ = lowered
    texts = {symbol: each.encode() for symbol, each in lowered.texts.items()}
    if chip is None:
        return loading.compile(text, entry, arguments, results, texts, name)
    from hpacml.runtime.gpu import compilation

    return compilation.compile(text, entry, arguments, results, texts, chip)


def _kept(made_of: str, label: str, make: Callable[[], Lowered]) -> Lowered:
    """What `make` makes of what a text tells, from the cache if it is there."""
    if (made_by := version.made_by()) is None:
        return make()
    machine = *llvm.host(), str(caches.beyond())
    name = cache.key("lowered", made_of, made_by, *machine, label=label.partition(".")[0])
    if (found := cache.find(name, Lowered.of_bytes)) is not None:
        return found
    made = make()
    if not version.is_changed():  # else it may be the work of other files than those in the key
        cache.store(name, made.to_bytes())
    return made


def lower(make: Callable[[], ModuleOp], name: str, timing: bool, gpu: bool) -> Lowered:
    """Lower a module, or find what came out when an equal one was lowered. Raises `CompileError` and `MapError`."""

    def work() -> Lowered:
        module, options = make(), (name, timing, gpu)
        made_of = generic_text(module), _places(module), options
        return _kept(repr(made_of), name, lambda: _run(module, *options))

    return _deep(name, work)


def lower_by(passes: Callable[[ModuleOp], ModuleOp], make: Callable[[], ModuleOp], name: str) -> Lowered:
    """Lower a module for the host by other passes. Raises what these raise, and `CompileError` and `MapError`."""
    return _deep(name, lambda: _lowered(passes, make(), name, False))


def _places(module: ModuleOp) -> list[str | None]:
    """Where what may fail at run time is in the source, which messages tell."""
    from hpacml.dialects.hpacml.attributes import PREFIXES
    from hpacml.dialects.hpacml.locations import written_location

    return [written_location(op.location) for op in module.walk() if op.name.startswith(PREFIXES)]


def _run(module: ModuleOp, name: str, timing: bool, gpu: bool) -> Lowered:
    def passes(module: ModuleOp) -> ModuleOp:
        return run_passes(module, report=timing, gpu=gpu, stream=0 if gpu else caches.beyond())

    return _lowered(passes, module, name, gpu)


def _lowered(passes: Callable[[ModuleOp], ModuleOp], module: ModuleOp, name: str, gpu: bool) -> Lowered:
    """Run the passes. Profilers show the names of kernels on GPUs, so these keep them."""
    from xdsl.dialects.func import FuncOp

    from hpacml.backend.anonymous import ENTRY, take_texts, without_names

    function = next(op for op in module.body.block.ops if isinstance(op, FuncOp) and op.sym_name.data == name)
    arguments = [_kind(type) for type in function.function_type.inputs]
    results = [_kind_of_result(type) for type in function.function_type.outputs]
    lowered = passes(module)
    if gpu:
        texts = take_texts(lowered)
        text, entry = generic_text(lowered), name
    else:
        (text, texts), entry = without_names(lowered, name), ENTRY
    return Lowered(text, entry, arguments, results, {symbol: each.decode() for symbol, each in texts.items()})


def _kind(type: Attribute) -> str:
    """The runtime's name for the type of an argument or result."""
    from xdsl.dialects.builtin import MemRefType

    return "memref" if isinstance(type, MemRefType) else str(type)


def _kind_of_result(type: Attribute) -> str:
    from xdsl.dialects.builtin import MemRefType

    return f"{ARRAY}{type.get_num_dims()}" if isinstance(type, MemRefType) else str(type)
