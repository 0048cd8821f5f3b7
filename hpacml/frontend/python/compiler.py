"""Compiles a kernel and the kernels that it calls to a module: a function for each kernel and layouts of its arrays."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from xdsl.dialects.builtin import MemRefType, ModuleOp, UnitAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from hpacml.backend.stacks import on_large_stack
from hpacml.dialects.hpacml.bridge import FunctorOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.frontend.mangling import symbol_for
from hpacml.frontend.origin import origin_of
from hpacml.frontend.python import forms, jumps
from hpacml.frontend.python.annotations import (
    ArrayParameter,
    BundleParameter,
    Dim,
    OpaqueParameter,
    Parameter,
    ScalarParameter,
    leaves,
)
from hpacml.frontend.python.approx import Directives
from hpacml.frontend.python.calls import Calls, Constants, Linked
from hpacml.frontend.python.constants import constant_of
from hpacml.frontend.python.context import Function
from hpacml.frontend.python.definition import NO_CONSTANTS, THERE, Definition
from hpacml.frontend.python.deriving import Region as Derivable
from hpacml.frontend.python.emitter import Declaration, Emitter, name_value
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.inlining import Inlining
from hpacml.frontend.python.layouts import is_in_order
from hpacml.frontend.python.nesting import too_deep
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.outside import Notes
from hpacml.frontend.python.result_types import Result
from hpacml.frontend.python.results import returned
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.statements import Statements
from hpacml.frontend.python.types import Refusal
from hpacml.frontend.python.unchanged import Meanings, unchanged
from hpacml.frontend.python.values import Array, Inner, Opaque, Record, Static, Unset, Value
from hpacml.frontend.python.variables import own_names
from hpacml.functors.tensor_functor import Functor
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.databases.origins import Origin, is_other, told_apart


@dataclass(frozen=True)
class Compiled:
    """A kernel as IR. `entry` is the symbol of its function, `written` has the parameters that it writes."""

    module: ModuleOp
    entry: str
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
    notes: Notes
    """What it takes from outside."""
    regions: Sequence[Derivable]
    """Its regions, and those of the kernels that it calls."""


def compile_kernel(
    kernel: Definition, layouts: tuple[Layout, ...], constants: Mapping[str, object] = NO_CONSTANTS
) -> Compiled:
    """The IR of a kernel whose array arguments have these layouts, in their order.

    `constants` has arguments by the names of their parameters for which alone the code is valid: texts, None in the
    place of an array, and `THERE` for anything but None. Raises `CompileError`, and `NeedsValue` if there must be more
    constants.
    """
    compiler = _Compiler(kernel)
    known = {name: Opaque(name, True) if value is THERE else Static(value) for name, value in constants.items()}
    try:
        return on_large_stack(lambda: compiler.compile(kernel, layouts, known))
    except RecursionError:
        pass  # and unwind first
    raise too_deep(compiler.open[-1].source if compiler.open else kernel.source)


class _Compiler:
    """Builds one module."""

    def __init__(self, kernel: Definition) -> None:
        self._functions: list[FuncOp] = []
        self._functors: dict[str, tuple[str, Functor, FunctorOp]] = {}
        self.regions: list[Derivable] = []
        self._declarations: dict[str, Declaration] = {}
        self._linked: dict[object, Linked] = {}
        self.open: list[Definition] = []
        """The kernels that are being compiled, each called by the one before."""
        self._arguments: dict[str, object] = {}
        self._kept: list[Constants] = []
        """Keeps alive what is told apart by its identity."""
        self._inlining = Inlining(self._begin)
        self._origins: dict[str, Origin] = {}
        self._meanings: list[tuple[Callable[..., Any], Meanings]] = []
        self._notes = Notes(kernel.function)

    def compile(self, kernel: Definition, layouts: tuple[Layout, ...], constants: Constants) -> Compiled:
        opaque = {p.name: Opaque(p.name) for p in leaves(kernel.parameters) if isinstance(p, OpaqueParameter)}
        linked = self.link(kernel, layouts, {**opaque, **constants})
        entry = self._functions[-1]
        entry.sym_visibility = None
        entry.attributes["llvm.emit_c_interface"] = UnitAttr()
        functors = (op for _, _, op in self._functors.values())
        operations: list[Operation] = [*functors, *self._functions, *self._declarations.values()]
        module = ModuleOp(operations)
        infers = any(isinstance(op, MlOp) and op.mode.data != "collect" for op in module.walk())
        return Compiled(
            module,
            linked.symbol,
            linked.result,
            linked.written,
            self._origins,
            unchanged(self._meanings),
            self._arguments,
            infers,
            self._notes,
            self.regions,
        )

    def link(self, callee: Definition, layouts: tuple[Layout, ...], constants: Constants) -> Linked:
        """The function of a kernel for arrays of these layouts and constants, which is compiled if it is new."""
        key = callee, layouts, tuple((name, _identity(value)) for name, value in constants.items())
        self._kept.append(constants)
        if key not in self._linked:
            if callee in self.open:
                raise Refusal(f"'{callee.name}' calls itself, which a kernel cannot: write a loop")
            self.open.append(callee)
            self._linked[key] = self._function(callee, layouts, constants)
            self.open.pop()
        return self._linked[key]

    def _function(self, kernel: Definition, layouts: tuple[Layout, ...], constants: Constants) -> Linked:
        node = kernel.source.function
        emitter = Emitter(self._declarations, kernel.fastmath)
        calls = Calls(self.link, self._inlining)
        notes = self._notes.of(kernel.function)
        function = Function(kernel.source, kernel.surroundings, own_names(node), notes, kernel.parameters)
        evaluator = Evaluator(function, emitter, calls)
        statements = Statements(evaluator, Directives(evaluator, self, kernel.name), _names_read(node))
        parameters = _Parameters(kernel, layouts, constants, emitter)
        types = parameters.types
        with emitter.block(types) as block:
            for name, value in parameters.values(block).items():
                for part, each in forms.write(evaluator.variables, name, value):
                    evaluator.variables[part] = each
            evaluator.identities.dims.update(parameters.dims)
            body = jumps.function_body(node.body if isinstance(node, ast.FunctionDef) else [])
            raises = statements.function(body)
            result, values = (None, []) if raises else _returned(kernel, evaluator)
        self._meanings.append((kernel.function, evaluator.meanings))
        with emitter.at_end(block), emitter.at_place(*kernel.source.place(node)):
            emitter.op(end := ReturnOp(*values))
        symbol = self._symbol(kernel.name)
        outputs = [value.type for value in values]
        self._functions.append(FuncOp(symbol, (types, outputs), Region(block), "private"))
        self._functions[-1].location = end.location
        for region in self.regions:
            if not region.directive.is_mapped and self._functions[-1].is_ancestor(region.op):
                region.tell_dims(block.args)
        return Linked(symbol, result, outputs, frozenset(evaluator.written), evaluator.has_regions, raises)

    def _begin(
        self, source: Source, caller: Evaluator, function: Inner | Definition
    ) -> tuple[Evaluator, Callable[[list[ast.stmt]], bool]]:
        """The evaluator of a function whose code takes the place of a call, and what compiles its statements."""
        calls, names = Calls(self.link, self._inlining), own_names(source.function)
        if isinstance(function, Inner):
            outer = function.outer
            evaluator = Evaluator(Function(source, outer.surroundings, names, outer.notes), caller.emit, calls, outer)
            evaluator.meanings = outer.meanings
        else:
            notes = self._notes.of(function.function)
            evaluator = Evaluator(Function(source, function.surroundings, names, notes), caller.emit, calls)
            self._meanings.append((function.function, evaluator.meanings))
        evaluator.share(caller)
        return evaluator, Statements(evaluator, Directives(evaluator, self, ""), _names_read(source.function)).function

    def argument(self, found: object) -> str:
        """The name of an argument that the kernel's code gives a region: a path or a model that is known."""
        name = next((name for name, known in self._arguments.items() if known is found), None)
        if name is None:
            self._notes.is_complete = False  # which process has which object is not known
            name = f".{len(self._arguments)}"
            self._arguments[name] = found
        return name

    def collects(self, label: str, labelled: bool) -> None:
        """Note that the open kernel collects under a label, which its region may give.

        Raises `Refusal` if another one does so by its name alone.
        """
        if len(self.open) > 1:
            self._notes.is_complete = False  # what else this function is, the text of the kernel does not tell
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


class _Parameters:
    """The parameters of a kernel as arguments of its function, and as its first variables."""

    def __init__(self, kernel: Definition, layouts: tuple[Layout, ...], constants: Constants, emit: Emitter):
        self._emit = emit
        self._tree = kernel.parameters
        self._constants = constants
        self.types: list[Attribute] = []
        """The types of the arguments in the IR."""
        self.dims: dict[SSAValue, tuple[Dim, ...]] = {}
        """The dimensions of the arrays by their annotations."""
        layout = iter(layouts)
        for parameter in leaves(self._tree):
            if parameter.name in constants:
                continue
            if isinstance(parameter, ArrayParameter):
                self.types.append(parameter.memref(next(layout)))
            elif isinstance(parameter, ScalarParameter):
                self.types.append(parameter.type.ir)

    def values(self, block: Block) -> dict[str, Value]:
        """The variables, for a block with the arguments."""
        arguments, positions = iter(block.args), count()
        return {each.name: self._value(each, arguments, positions) for each in self._tree}

    def _value(self, parameter: Parameter, arguments: Iterator[SSAValue], positions: Iterator[int]) -> Value:
        if isinstance(parameter, BundleParameter):
            fields = {field.name.split(".")[-1]: field for field in parameter.fields}
            values = {name: self._value(field, arguments, positions) for name, field in fields.items()}
            return Record(parameter.type, values)
        position = next(positions)
        if (known := self._constants.get(parameter.name)) is not None:
            return known if isinstance(known, Opaque) else constant_of(known.object, self._emit)
        if isinstance(parameter, OpaqueParameter):
            return Opaque(parameter.name)
        argument = next(arguments)
        name_value(argument, parameter.name.replace(".", "_"))
        if isinstance(parameter, ScalarParameter):
            return Number(parameter.type, argument)
        memory = SSAValue.get(argument, type=MemRefType)
        self.dims[memory] = parameter.dims
        in_order = is_in_order(memory.type)
        return Array(parameter.name, parameter.element, memory, frozenset([position]), in_order=in_order)


def _identity(value: Static | Opaque) -> object:
    """What tells constants apart."""
    if isinstance(value, Opaque):
        return "argument", value.name, value.is_there
    return ("text", value.object) if type(value.object) is str else ("object", id(value.object))


def _returned(kernel: Definition, evaluator: Evaluator) -> tuple[Result | None, list[SSAValue]]:
    """What a kernel returns, None if it returns nothing. Raises `CompileError` for what it cannot return."""
    value = forms.read(evaluator.variables, jumps.RESULT)
    if value is None:
        return None, []
    last = [node for node in ast.walk(kernel.source.function) if isinstance(node, ast.Return)][-1]
    if isinstance(value, Unset):
        raise kernel.source.error(last, value.reason)
    with evaluator.at(last.value or last):
        return returned(evaluator, last, value)


def _names_read(function: ast.FunctionDef | ast.Lambda) -> frozenset[str]:
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
