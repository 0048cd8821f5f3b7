"""Which memory a function writes, and which it returns."""

from __future__ import annotations

from xdsl.dialects import func, memref
from xdsl.ir import SSAValue

from hpacml.passes.common.origins import origins
from hpacml.passes.common.written_memory import written_arguments


class Memory:
    """The memory of a function: `written` has the positions of the arguments that it may write."""

    def __init__(self, function: func.FuncOp):
        self._function = function
        self._arguments: dict[SSAValue, int] = {argument: k for k, argument in enumerate(function.args)}
        self.written = written_arguments(function)

    def sources(self, result: int) -> frozenset[int] | None:
        """The positions of the arguments whose memory a result is, none if it is new, None where that is not known."""
        found: set[int] = set()
        kinds: set[bool] = set()
        for op in self._function.walk():
            if isinstance(op, func.ReturnOp):
                for origin in origins(op.operands[result]):
                    argument = self._arguments.get(origin)
                    if argument is not None:
                        found.add(argument)
                    elif not isinstance(origin.owner, memref.AllocOp):
                        return None
                    kinds.add(argument is None)
        return frozenset(found) if len(kinds) == 1 else None
