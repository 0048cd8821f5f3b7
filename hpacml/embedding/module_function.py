"""`hpacml.compile`: a function of a module that another compiler has made, to call from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from xdsl.dialects.builtin import IndexType, IntegerType, ModuleOp, StringAttr, UnitAttr, UnregisteredOp
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import DiagnosticException, ParseError

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.locations import place
from hpacml.embedding.affine import name_dimensions
from hpacml.embedding.interface import FunctionInterface
from hpacml.errors import CompileError, HpacmlError
from hpacml.frontend import tracers
from hpacml.frontend.compile import load, lower
from hpacml.frontend.dispatch import Dispatcher
from hpacml.frontend.placement import Machine, require_machine
from hpacml.frontend.remembered import Code
from hpacml.passes.derivation.pasting import Directives, Names, directives_of
from hpacml.passes.hpacml_bufferize import HpacmlBufferizePass
from hpacml.passes.hpacml_fold_subviews import HpacmlFoldSubviewsPass
from hpacml.pipelines import make_context, refusals, run_passes
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.fast_path import Callee
from hpacml.runtime.reports.instruments import Instruments


class Function(Callee):
    """A function of a module, which is called as a kernel is: with arrays and numbers, by position or by name."""

    def __init__(self, module: ModuleOp, name: str, target: Machine | None):
        self._module = module
        self._interface = FunctionInterface(entry_of(module, name))
        self._dispatcher = Dispatcher(self._interface, self._code, target)
        self.name = name

    @tracers.untraced
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._dispatcher(args, kwargs)
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the compiler's frames)

    def ir(self, stage: str | None = None) -> ModuleOp:
        """A copy of the module, or what it is after a stage, as `kernel.ir` has them."""
        module = self._module.clone()
        return module if stage is None else run_passes(module, stage)

    def maps(self) -> str:
        """The directives of the function's regions that their code tells, by the names of its arguments.

        Lines of Python come first where a range needs a number that has no name. Raises `CompileError` for code that
        `hpacml-infer-maps` refuses, and for arrays and numbers that are no arguments.
        """
        function = entry_of(self._module, self.name)
        arguments: dict[SSAValue, str] = dict(zip(function.args, self._interface.names, strict=True))
        integers = {name for value, name in arguments.items() if isinstance(value.type, IndexType | IntegerType)}
        names = Names(arguments, set(arguments.values()).__contains__, integers.__contains__)
        regions = [op for op in function.walk() if isinstance(op, MlOp)]
        with refusals():
            return "\n\n".join("\n".join(_written(each, directives_of(each, names), arguments)) for each in regions)

    def ptx(self, chip: str | None = None) -> str:
        """The PTX code of the module's gathers, scatters and parallel loops, as `kernel.ptx` has it."""
        from hpacml.backend.assembly import ptx

        return ptx(lowerable(self._module), chip)

    def _code(
        self, layouts: tuple[Layout, ...], constants: Mapping[str, object], chosen: Instruments, chip: str | None
    ) -> Code:
        self._interface.require_layouts(layouts)
        _require_callees(self._module)
        result = self._interface.result
        lowered = lower(lambda: lowerable(self._module), self.name, chosen.timing, chip is not None)
        function = load(lowered, self.name, chip)
        infers = any(op.name in ("hpacml.ml", "hpacml.infer") for op in self._module.walk())
        return Code(function, result, self._interface.written, {}, None, {}, infers)

    def __repr__(self) -> str:
        return f"<hpacml function {self.name}>"


def _require_callees(module: ModuleOp) -> None:
    """Raise `CompileError` at a call of a function that neither the module nor the process has."""
    process = ctypes.CDLL(None)
    functions = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, FuncOp)}
    for op in module.walk():
        callee = functions.get(op.callee.string_value()) if isinstance(op, CallOp) else None
        if callee is None or not callee.is_declaration or callee.sym_name.data.startswith("hpacml_"):  # the runtime's
            continue
        prefix = "_mlir_ciface_" if "llvm.emit_c_interface" in callee.attributes else ""
        if not hasattr(process, symbol := prefix + callee.sym_name.data):
            raise CompileError(
                f"{place(op)}nothing defines the function '{callee.sym_name.data}', which is called: give it a body, "
                f"or load the library that has the symbol '{symbol}' before, by "
                "ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)"
            )


def _written(region: MlOp, made: Directives, arguments: Mapping[SSAValue, str]) -> list[str]:
    functors = [f"tensor functor({functor})" for functor in made.functors]
    mode = str(region.mode.data)
    if region.condition is not None:
        mode += f": {arguments.get(region.condition) or region.condition.name_hint or '...'}"
    files = [
        f'{clause}("{source.data}")'
        for clause, source in (("model", region.model), ("database", region.database))
        if isinstance(source, StringAttr)
    ]
    clauses = " ".join([made.mapped, f'label("{region.label.data}")', *files])
    return [*made.statements, *functors, f"ml({mode}) {clauses}"]


def compile(module: ModuleOp | str, name: str, target: Machine | None = None) -> Function:
    """Compile the function `name` of a module, to call it with arrays and numbers.

    The module is xDSL's, or text that xDSL reads. It has operations of hpacml at any stage, and those of func, scf,
    cf, memref, arith, math, affine and linalg on memrefs; it stays as it is. Arguments are memrefs, for which arrays
    of the same elements and sizes are given, and numbers: index, i1 to i64, f32, f64. They have the names of the
    arguments in the IR. Memrefs that are returned become arrays, of new memory or of that of arguments; several
    results are a tuple.

    `target` is where it runs: "cpu", "gpu", or None for where the arrays are. The first call compiles the code, or
    loads it from the cache on disk.

    Raises `CompileError` for a module that does not verify, has no such function, or cannot be lowered, with the place
    in the source where the IR tells it (`loc`). Calls raise `MapError` for arguments that do not fit, and whatever
    regions raise.
    """
    require_machine(target)
    return Function(verified(module), name, target)


_LOWERED = {
    *("affine", "arith", "bufferization", "builtin", "cf", "complex", "func", "gpu", "index", "linalg", "llvm", "math"),
    *("memref", "nvvm", "scf", "tensor", "ub", "vector"),
}
"""The dialects of upstream MLIR that code may have."""


def lowerable(module: ModuleOp) -> ModuleOp:
    """A copy of a module that the pipeline takes. Raises `CompileError` for an operation that nothing lowers."""
    for op in module.walk():
        name = op.op_name.data if isinstance(op, UnregisteredOp) else op.name
        if name.partition(".")[0] not in _LOWERED and not name.startswith(PREFIXES):
            raise CompileError(
                f"{place(op)}nothing here lowers {name}: run the passes of its dialect first, down to func, scf, cf, "
                "memref, arith, math, affine and linalg"
            )
    copy = module.clone()
    name_dimensions(copy)
    HpacmlFoldSubviewsPass().apply(make_context(), copy)
    return copy


def verified(module: ModuleOp | str, file: str = "<module>") -> ModuleOp:
    """A copy of a module, which may be the text of a file, on memory in place of tensors.

    Raises `CompileError` if it is wrong.
    """
    if not isinstance(module, ModuleOp | str):  # pyright: ignore[reportUnnecessaryIsInstance] (programs have no types)
        raise CompileError(f"a module of xDSL is compiled, or its text, and this is of type {type(module).__name__}")
    try:
        if isinstance(module, str):
            from hpacml.dialects.hpacml.locations import PlacingParser

            copy = PlacingParser(make_context(), module, file).parse_module()
        else:
            copy = module.clone()
        copy.verify()
        HpacmlBufferizePass().apply(make_context(), copy)
        copy.verify()
    except HpacmlError:
        raise
    except (DiagnosticException, ParseError) as error:
        raise CompileError(str(error)) from error
    except Exception as error:  # some of xDSL's operations verify themselves by exceptions of no kind
        raise CompileError(f"the module is wrong: {error}") from error
    return copy


def entry_of(module: ModuleOp, name: str) -> FuncOp:
    """The function `name` of a module, which is made one to call from C. Raises `CompileError` if there is none."""
    functions = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, FuncOp)}
    if name not in functions:
        known = ", ".join(functions) or "none"
        raise CompileError(f"the module has no function '{name}': there are {known}")
    function = functions[name]
    if function.is_declaration:
        raise CompileError(f"'{name}' is declared in the module, and has no body to compile")
    function.sym_visibility = None
    function.attributes["llvm.emit_c_interface"] = UnitAttr()
    return function
