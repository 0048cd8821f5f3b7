"""The elements that the maps of a region touch, for given arguments: by the mathematics of functors, in integers."""

from __future__ import annotations

from itertools import product
from typing import Literal

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.functors.application import resolve
from hpacml.functors.arithmetic import EXACT
from hpacml.functors.targets import bind

Place = tuple[str, tuple[int, ...]]

_COMPUTE = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.minsi": min,
    "arith.maxsi": max,
    "arith.divui": lambda a, b: a // b,
    "arith.divsi": lambda a, b: int(a / b),
    "arith.floordivsi": lambda a, b: a // b,
    "arith.andi": lambda a, b: a & b,
    "arith.ori": lambda a, b: a | b,
    "arith.shrsi": lambda a, b: a >> b,
    "arith.select": lambda condition, a, b: a if condition else b,
    "arith.index_cast": lambda a: a,
}
_COMPARE = {0: int.__eq__, 1: int.__ne__, 2: int.__lt__, 3: int.__le__, 4: int.__gt__, 5: int.__ge__}


class Touched:
    """What the maps of the one region of a function touch; `numbers` and `sizes` are those of its arguments by name."""

    def __init__(self, module: ModuleOp, numbers: dict[str, int], sizes: dict[str, tuple[int, ...]]):
        self._numbers, self._sizes = numbers, sizes
        self._region = next(op for op in module.walk() if isinstance(op, MlOp))
        assert isinstance(self._region.parent_op(), FuncOp)

    @property
    def read(self) -> set[Place]:
        return {place for mapping in self._region.all_inputs for place in self._of(mapping, "to")}

    @property
    def written(self) -> list[Place]:
        """In a list, since no map and no two maps write an element twice."""
        return [place for mapping in self._region.all_outputs for place in self._of(mapping, "from")]

    def _of(self, mapping: SSAValue, way: Literal["to", "from"]) -> list[Place]:
        op = mapping.owner
        assert isinstance(op, MapOp)
        functor = SymbolTable.lookup_symbol(op, op.functor)
        assert isinstance(functor, FunctorOp)
        names, shapes = list(op.array_names), [self._shape(array) for array in op.arrays]
        bounds = [self._number(bound) for bound in op.bounds]
        targets = bind(op.trees, names, shapes, bounds, EXACT)
        params = dict(zip((p.data for p in functor.parameters), map(self._number, op.params), strict=True))
        mapped = resolve(functor.functor, targets, params, way, EXACT)
        used = names if len(names) > 1 else names * len(mapped.views)
        found: list[Place] = []
        for name, array, view in zip(
            used, [*op.arrays, *[op.arrays[0]] * len(mapped.views)], mapped.views, strict=False
        ):
            if not _is_number(array):
                for k in product(*map(range, view.sizes)):
                    place = tuple(
                        b + sum(s * i for s, i in zip(row, k, strict=True))
                        for b, row in zip(view.base, view.steps, strict=True)
                    )
                    found.append((name, place))
        return found

    def _shape(self, array: SSAValue) -> tuple[int, ...]:
        return (1,) if _is_number(array) else self._sizes[array.name_hint or ""]

    def _number(self, value: SSAValue) -> int:
        match op := value.owner:
            case arith.ConstantOp(value=IntegerAttr() as constant):
                return constant.value.data
            case memref.DimOp():
                return self._shape(op.source)[self._number(op.index)]
            case arith.CmpiOp():
                return int(_COMPARE[op.predicate.value.data](*map(self._number, op.operands)))
            case arith.Operation() if op.name in _COMPUTE:
                return _COMPUTE[op.name](*map(self._number, op.operands))
            case _:
                return self._numbers[value.name_hint or ""]


def _is_number(array: SSAValue) -> bool:
    """Whether an array is one that the pass has made of a number."""
    return isinstance(array.owner, memref.AllocOp)
