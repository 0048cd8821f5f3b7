"""Compiles a kernel and the kernels that it calls to a module: a function for each kernel and layouts of its arrays."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import MemRefType, ModuleOp, UnitAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.dialects.llvm import GlobalOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from hpacml.backend.stacks import on_large_stack
from hpacml.dialects.hpacml.bridge import FunctorOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.frontend.mangling import symbol_for
from hpacml.frontend.origin import origin_of
from hpacml.frontend.python import jumps
from hpacml.frontend.python.annotations import ArrayParameter, Dim, OpaqueParameter, ScalarParameter
from hpacml.frontend.python.approx import Directives
from hpacml.frontend.python.calls import Calls, Linked
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.emitter import Emitter, name_value
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.nesting import too_deep
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.statements import Statements
from hpacml.frontend.python.types import Refusal, ScalarType
from hpacml.frontend.python.unchanged import Meanings, unchanged
from hpacml.frontend.python.values import Array, Opaque, Unset, Value
from hpacml.functors.tensor_functor import Functor
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.databases.origins import Origin, is_other, told_apart


@dataclass(frozen=True)
class Compiled:
    """A kernel as IR. `entry` is the symbol of its function, `written` has the parameters that it writes."""

    module: ModuleOp
    entry: str
    result: ScalarType | None
    written: frozenset[int]
    origins: Mapping[str, Origin]
    """The functions whose regions collect, by their labels."""
    unchanged: Callable[[], bool] | None
    """Tells whether the functions that the code contains are still what their names stand for. None: yes."""
    infers: bool
    """Whether it has regions that may run models."""


def compile_kernel(kernel: Definition, layouts: tuple[Layout, ...]) -> Compiled:
    """The IR of a kernel whose array arguments have these layouts, in their order. Raises `CompileError`."""
    compiler = _Compiler()
    try:
        return on_large_stack(lambda: compiler.compile(kernel, layouts))
    except RecursionError:
        pass  # and unwind first
    raise too_deep(compiler.open[-1].source if compiler.open else kernel.source)


class _Compiler:
    """Builds one module."""

    def __init__(self) -> None:
        self._functions: list[FuncOp] = []
        self._functors: dict[str, tuple[str, Functor, FunctorOp]] = {}
        self._declarations: dict[str, FuncOp | GlobalOp] = {}
        self._linked: dict[tuple[Definition, tuple[Layout, ...]], Linked] = {}
        self.open: list[Definition] = []
        """The kernels that are being compiled, each called by the one before."""
        self._origins: dict[str, Origin] = {}
        self._meanings: list[tuple[Callable[..., Any], Meanings]] = []

    def compile(self, kernel: Definition, layouts: tuple[Layout, ...]) -> Compiled:
        linked = self.link(kernel, layouts)
        entry = self._functions[-1]
        entry.sym_visibility = None
        entry.attributes["llvm.emit_c_interface"] = UnitAttr()
        functors = (op for _, _, op in self._functors.values())
        operations: list[Operation] = [*functors, *self._functions, *self._declarations.values()]
        module = ModuleOp(operations)
        module.verify()
        infers = any(isinstance(op, MlOp) and op.mode.data != "collect" for op in module.walk())
        known = unchanged(self._meanings)
        return Compiled(module, linked.symbol, linked.result, linked.written, self._origins, known, infers)

    def link(self, callee: Definition, layouts: tuple[Layout, ...]) -> Linked:
        """The function of a kernel for arrays of these layouts, which is compiled if it is new."""
        key = (callee, layouts)
        if key not in self._linked:
            if callee in self.open:
                raise Refusal(f"'{callee.name}' calls itself, which a kernel cannot: write a loop")
            self.open.append(callee)
            self._linked[key] = self._function(callee, layouts)
            self.open.pop()
        return self._linked[key]

    def _function(self, kernel: Definition, layouts: tuple[Layout, ...]) -> Linked:
        node = kernel.source.function
        emitter = Emitter(self._declarations)
        evaluator = Evaluator(kernel, emitter, _own_names(kernel), Calls(self.link))
        statements = Statements(evaluator, Directives(evaluator, self, kernel.name), _names_read(node))
        types = _types(kernel, layouts)
        with emitter.block(types) as block:
            evaluator.variables.update(_parameters(kernel, block))
            evaluator.dims.update(_dims(kernel, evaluator.variables))
            statements.block(jumps.function_body(node.body))
        self._meanings.append((kernel.function, evaluator.meanings))
        result = _result(kernel, evaluator)
        with emitter.at_end(block), evaluator.at(node), emitter.at_place(*kernel.source.place(node)):
            emitter.op(end := ReturnOp(*([] if result is None else [evaluator.numbers.ssa(result)])))
        outputs = [] if result is None else [result.type.ir]
        symbol = self._symbol(kernel.name)
        self._functions.append(FuncOp(symbol, (types, outputs), Region(block), "private"))
        self._functions[-1].location = end.location
        result_type = None if result is None else result.type
        return Linked(symbol, result_type, frozenset(evaluator.written), evaluator.has_regions)

    def collects(self, label: str, labelled: bool) -> None:
        """Note that the open kernel collects under a label, which its region may give.

        Raises `Refusal` if another one does so by its name alone.
        """
        origin = origin_of(self.open[-1].function, labelled)
        found = self._origins.setdefault(label, origin)
        if is_other(found, origin):
            names = told_apart(found, origin)
            raise Refusal(
                f"{names[0]} and {names[1]} collect under one label, '{label}', which would mix data: "
                "add label('...') to one of them, or the same label to both for one group of data"
            )

    def functor(self, name: str, functor: Functor) -> FunctorOp:
        """The operation of a functor. Functors that differ and have the same name get different symbols."""
        for known, same, op in self._functors.values():
            if known == name and same == functor:
                return op
        symbol = self._symbol(name)
        op = FunctorOp(symbol, functor)
        self._functors[symbol] = (name, functor, op)
        return op

    def _symbol(self, name: str) -> str:
        taken = {function.sym_name.data for function in self._functions} | self._functors.keys()
        return symbol_for(name, taken)


def _types(kernel: Definition, layouts: tuple[Layout, ...]) -> list[Attribute]:
    """The types of a kernel's arguments in the IR."""
    types: list[Attribute] = []
    layout = iter(layouts)
    for parameter in kernel.parameters:
        if isinstance(parameter, ArrayParameter):
            types.append(parameter.memref(next(layout)))
        elif isinstance(parameter, ScalarParameter):
            types.append(parameter.type.ir)
    return types


def _parameters(kernel: Definition, block: Block) -> dict[str, Value]:
    """The parameters of a kernel, which are its first variables."""
    variables: dict[str, Value] = {}
    arguments = iter(block.args)
    for position, parameter in enumerate(kernel.parameters):
        if isinstance(parameter, OpaqueParameter):
            variables[parameter.name] = Opaque(parameter.name)
            continue
        argument = next(arguments)
        name_value(argument, parameter.name)
        if isinstance(parameter, ArrayParameter):
            memory = SSAValue.get(argument, type=MemRefType)
            variables[parameter.name] = Array(parameter.name, parameter.element, memory, position)
        else:
            variables[parameter.name] = Number(parameter.type, argument)
    return variables


def _dims(kernel: Definition, variables: Mapping[str, Value]) -> Iterator[tuple[SSAValue, tuple[Dim, ...]]]:
    """The dimensions of a kernel's arrays by their annotations."""
    for parameter in kernel.parameters:
        array = variables[parameter.name]
        if isinstance(parameter, ArrayParameter) and isinstance(array, Array):
            yield array.value, parameter.dims


def _result(kernel: Definition, evaluator: Evaluator) -> Number | None:
    """The number that a kernel returns, None if it returns nothing. Raises `CompileError` for other results."""
    result = evaluator.variables.get(jumps.RESULT)
    if result is None or isinstance(result, Number):
        return result
    returns = [node for node in ast.walk(kernel.source.function) if isinstance(node, ast.Return)]
    if isinstance(result, Unset):
        raise kernel.source.error(returns[-1], result.reason)
    raise kernel.source.error(returns[-1], "a kernel returns one number: write other results into an array argument")


def _own_names(kernel: Definition) -> frozenset[str]:
    """The local names of a function: its parameters, and the names that it assigns."""
    nodes = ast.walk(kernel.source.function)
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return frozenset(assigned.union(parameter.name for parameter in kernel.parameters))


def _names_read(function: ast.FunctionDef) -> frozenset[str]:
    """The names that a function may read, including the names in its directives."""
    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.update(re.findall(r"[^\W\d]\w*", node.value))
    return frozenset(names)
