"""Inlines calls inside parallel loops, so that a kernel sees, and can place, all memory that it uses."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.passes.common.located import Rewriter
from hpacml.passes.gpu.overlaps import is_question


def inline_calls(module: ModuleOp, places: Iterable[Operation]) -> None:
    """Inline the calls inside operations, and erase functions that nothing calls any more. Recursive calls stay.

    So do questions whether arrays share memory.
    """
    inlined: dict[func.FuncOp, None] = {}
    calls = [(call, ()) for place in places for call in _calls(place)]
    while calls:
        call, callers = calls.pop()
        callee = SymbolTable.lookup_symbol(call, call.callee)
        if is_question(call) or callee in callers:
            continue
        if isinstance(callee, func.FuncOp) and len(callee.body.blocks) == 1:
            calls += [(inner, (*callers, callee)) for inner in _inline(call, callee)]
            inlined[callee] = None
    while unused := next((each for each in inlined if not _is_used(each, module)), None):
        del inlined[unused]
        Rewriter.erase_op(unused)


def _calls(op: Operation) -> list[func.CallOp]:
    return [each for each in op.walk() if isinstance(each, func.CallOp)]


def _inline(call: func.CallOp, callee: func.FuncOp) -> list[func.CallOp]:
    """Inline a call, and return the calls that come with its callee."""
    copy = callee.clone()
    calls = _calls(copy)
    Rewriter.inline_block(copy.body.block, InsertPoint.before(call), call.arguments)
    end = call.prev_op
    assert isinstance(end, func.ReturnOp)
    Rewriter.replace_op(call, [], end.arguments)
    Rewriter.erase_op(end)
    return calls


def _is_used(function: func.FuncOp, module: ModuleOp) -> bool:
    is_private = function.sym_visibility is not None and function.sym_visibility.data == "private"
    return not is_private or any(call.callee.string_value() == function.sym_name.data for call in _calls(module))
