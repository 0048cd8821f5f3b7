"""The functions of a library: what callers pass them, and the code for each layout of their arrays."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from hpacml.backend import caches
from hpacml.dialects.hpacml.control import MlOp
from hpacml.embedding.interface import FunctionInterface
from hpacml.embedding.module_function import entry_of, lowerable, verified
from hpacml.errors import CompileError
from hpacml.frontend.compile import Lowered, lower, lower_by
from hpacml.frontend.kernel import Kernel
from hpacml.frontend.python.annotations import ArrayParameter, Leaf, leaves
from hpacml.frontend.python.compiler import Compiled, compile_kernel
from hpacml.frontend.python.definition import THERE
from hpacml.frontend.python.nesting import shallow_enough
from hpacml.frontend.python.result_types import ArrayResult, ConstantResult, RecordResult, Result
from hpacml.frontend.python.types import NeedsValue, ScalarType
from hpacml.pipelines import run_passes
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.databases.origins import Origin

Lower: TypeAlias = "Callable[[Callable[[], ModuleOp], str, Mapping[str, str]], Lowered]"
"""How the function of a name is lowered, of a module that is made, whose regions have paths by names."""


def for_python(make: Callable[[], ModuleOp], name: str, paths: Mapping[str, str]) -> Lowered:
    """Lower a function whose regions ask Python."""
    return lower(make, name, False, False)


def for_gpus(make: Callable[[], ModuleOp], name: str, paths: Mapping[str, str]) -> Lowered:
    """Lower a function for a GPU, whose regions ask Python."""
    return lower(make, name, False, True)


def for_others(make: Callable[[], ModuleOp], name: str, paths: Mapping[str, str]) -> Lowered:
    """Lower a function for the runtime of somebody else."""
    return lower_by(lambda module: run_passes(module, plain=True, stream=caches.beyond()), make, name)


_log = logging.getLogger("hpacml")

REQUIRED = {Layout.PACKED: "C order without gaps", Layout.ROWS: "a stride of 1 in its last dimension"}
"""What arrays need for code of a layout; others take any."""


@dataclass(frozen=True)
class Version:
    """Code for arrays of these layouts, or of more specific ones."""

    layouts: tuple[Layout, ...]
    lowered: Lowered


@dataclass(frozen=True)
class Exported:
    """A function of a library. Arguments of no array and no number are texts."""

    name: str
    parameters: tuple[Leaf, ...]
    written: frozenset[int]
    """The positions of the arrays that it writes."""
    needed: frozenset[str]
    """The texts that must be there."""
    results: tuple[ScalarType, ...]
    versions: tuple[Version, ...]
    """Its code, for the most specific layouts first."""
    origins: Mapping[str, Origin]
    """The functions whose regions collect, by their labels."""
    constants: Mapping[str, str]
    """The paths that its regions use beside its arguments, by the names that sites have for them."""
    chip: str | None = None
    """The GPU that has its arrays and runs it; None for the host."""
    why_not_others: str = ""
    """Why it has no code for less specific layouts than its versions have; empty if nothing has failed."""

    @property
    def arrays(self) -> list[ArrayParameter]:
        return [parameter for parameter in self.parameters if isinstance(parameter, ArrayParameter)]


def of_kernel(kernel: Kernel[..., object], lower: Lower = for_python) -> Exported:
    """A kernel as a function of a library. Raises `CompileError` for one that C cannot call, and as its calls do.

    What cannot be compiled for some layouts only, as `reshape` is of packed arrays, has code for the others.
    """
    parameters = tuple(leaves(kernel.parameters))
    ranks = [len(each.dims) for each in parameters if isinstance(each, ArrayParameter)]
    layouts = _layouts(ranks)
    made: list[Compiled] = []
    versions: list[Version] = []
    needed: frozenset[str] = frozenset()
    reason = ""
    for layout in layouts:
        try:
            needed, compiled = _compiled(kernel, (layout,) * len(ranks), needed)
            with shallow_enough(kernel.source):
                _require_no_projections(compiled.module)
                paths = _paths(compiled.arguments, kernel.name)
                lowered = lower(lambda compiled=compiled: compiled.module, compiled.entry, paths)
        except CompileError as error:
            if not made:
                raise
            reason = str(error).partition("\n")[0]
            _log.warning("%s() takes arrays with %s alone: %s", kernel.name, REQUIRED[layouts[len(made) - 1]], reason)
            break
        made.append(compiled)
        versions.append(Version((layout,) * len(ranks), lowered))
    return Exported(
        kernel.name,
        parameters,
        made[0].written.union(*(each.written for each in made)),
        needed,
        tuple(_numbers(made[0].result, kernel.name)),
        tuple(versions),
        made[0].origins,
        _paths(made[0].arguments, kernel.name),
        why_not_others=reason,
    )


def _layouts(ranks: Sequence[int]) -> list[Layout]:
    """The layouts for which arrays have code of their own: rows of an array of one dimension are all of it."""
    if not ranks:
        return [Layout.PACKED]
    return [Layout.PACKED, *([Layout.ROWS] if max(ranks) > 1 else []), Layout.STRIDED]


def _compiled(
    kernel: Kernel[..., object], layouts: tuple[Layout, ...], needed: frozenset[str]
) -> tuple[frozenset[str], Compiled]:
    """The IR of a kernel, and the texts that it takes to be there: some ask whether they are None."""
    while True:
        try:
            return needed, compile_kernel(kernel, layouts, dict.fromkeys(needed, THERE))
        except NeedsValue as need:
            if not need.is_none or need.name in needed:
                message = (
                    f"what {kernel.name}() does depends on the value of '{need.name}', which C passes when it runs"
                )
                raise (need.error(message) if need.error is not None else CompileError(message)) from None
            needed |= {need.name}


def _numbers(result: Result | None, name: str) -> Iterator[ScalarType]:
    """The numbers in what a function returns, in order."""
    match result:
        case None | ConstantResult():
            return
        case ScalarType():
            yield result
        case ArrayResult():
            raise CompileError(f"{name}() returns an array, which a C function cannot: pass it one to write")
        case RecordResult(items=items) | (tuple() as items):
            for each in items:
                yield from _numbers(each, name)


def _require_no_projections(module: ModuleOp) -> None:
    """Raise `CompileError` for a region whose outputs a function of Python changes: libraries have none."""
    for op in module.walk():
        if isinstance(op, MlOp) and op.project is not None:
            raise CompileError(
                f"project(...) of the region '{op.label.data}' calls a function of a program in Python, which "
                "libraries have not: leave it out, and project behind the call"
            )


def _paths(arguments: Mapping[str, object], name: str) -> dict[str, str]:
    paths: dict[str, str] = {}
    for key, value in arguments.items():
        if not isinstance(value, str | os.PathLike):
            raise CompileError(
                f"{name}() uses a model that only this process has, a {type(value).__name__}: save it "
                "(hpacml.save_model), and name its file"
            )
        paths[key] = os.fsdecode(value)  # pyright: ignore[reportUnknownArgumentType]
    return paths


def of_module(module: ModuleOp | str, lower: Lower = for_python, file: str = "<module>") -> list[Exported]:
    """The functions of a module with bodies that are not private. Raises `CompileError` as `hpacml.compile` does."""
    checked = verified(module, file)
    _require_no_projections(checked)
    functions = [
        op
        for op in checked.body.block.ops
        if isinstance(op, FuncOp)
        and not op.is_declaration
        and (op.sym_visibility is None or op.sym_visibility.data == "public")
    ]
    if not functions:
        raise CompileError("the module has no function to build: none that has a body and is not private")
    return [_of_function(checked, function.sym_name.data, lower) for function in functions]


def _of_function(module: ModuleOp, name: str, lower: Lower) -> Exported:
    copy = module.clone()
    interface = FunctionInterface(entry_of(copy, name))
    lowered = lower(lambda: lowerable(copy), name, {})
    versions = (Version(interface.layouts, lowered),)
    numbers = tuple(_numbers(interface.result, name))
    return Exported(name, interface.parameters, interface.written, frozenset(), numbers, versions, {}, {})


def require_distinct(functions: Sequence[Exported]) -> None:
    """Raise `CompileError` if two functions have one name."""
    seen: set[str] = set()
    for function in functions:
        if function.name in seen:
            raise CompileError(f"two functions have the name '{function.name}', by which C tells them apart")
        seen.add(function.name)
