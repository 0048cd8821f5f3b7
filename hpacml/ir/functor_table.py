"""The functors of a module, each of which it has once."""

from __future__ import annotations

from itertools import count

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation
from xdsl.rewriter import InsertPoint, Rewriter

from hpacml.dialects.hpacml.bridge import FunctorOp
from hpacml.errors import DirectiveError
from hpacml.functors.tensor_functor import Functor

_UNNAMED = "functor"


class FunctorTable:
    """The functors of a module, which are its symbols."""

    def __init__(self, module: ModuleOp):
        self._module = module
        symbols = ((each.get_attr_or_prop("sym_name"), each) for each in module.body.block.ops)
        self._symbols = {name.data: op for name, op in symbols if isinstance(name, StringAttr)}

    @staticmethod
    def around(block: Block, module: ModuleOp | None) -> FunctorTable:
        """The functors of a module, or that around a block. Raises `DirectiveError` if there is none."""
        around: Operation | None = module if module is not None else block.parent_op()
        while around is not None and not isinstance(around, ModuleOp):
            around = around.parent_op()
        if around is None:
            raise DirectiveError("the builder inserts into no module, which has the functors: give it `module`")
        return FunctorTable(around)

    def add(self, name: str | None, functor: Functor) -> FunctorOp:
        """The operation of a functor, which may have any name if None is given.

        Raises `DirectiveError` if the name is that of another symbol.
        """
        if name is None:
            names = (f"{_UNNAMED}_{n}" if n else _UNNAMED for n in count())
            name = next(each for each in names if each not in self._symbols or self._is(each, functor))
        if name not in self._symbols:
            op = FunctorOp(name, functor)
            last = next((each for each in reversed(self._symbols.values()) if isinstance(each, FunctorOp)), None)
            start = InsertPoint.at_start(self._module.body.block)
            Rewriter.insert_op(op, start if last is None else InsertPoint.after(last))
            return op
        found = self._symbols[name]
        if isinstance(found, FunctorOp) and self._is(name, functor):
            return found
        what = f"the functor '{found.declaration}'" if isinstance(found, FunctorOp) else f"of {found.name}"
        raise DirectiveError(f"the name '{name}' is taken, by {what}: give this functor, '{functor}', another")

    def _is(self, name: str, functor: Functor) -> bool:
        found = self._symbols[name]
        return isinstance(found, FunctorOp) and found.functor == functor
