"""Subscripts: `a[i, j]` is an element, `a[i]` and `a[1:-1]` are views, and `t[i]` is an item of a tuple."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from xdsl.dialects.arith import CmpiOp
from xdsl.ir import SSAValue

from hpacml.frontend.python import constants, elementwise, extents, slicing
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Kind, Number
from hpacml.frontend.python.types import INT, NP_BOOL, Refusal
from hpacml.frontend.python.values import (
    Array,
    Elements,
    Part,
    Tuple,
    Value,
    as_tuple,
    constants_of,
    describe,
    dimensions,
)


@dataclass(frozen=True, eq=False)
class Place:
    """One element of an array."""

    array: Array
    indices: list[SSAValue]


def place(context: Context, node: ast.Subscript, is_target: bool = False) -> Place | Value:
    """What a subscript stands for: an element, a view, or an item of a tuple. Raises `CompileError`.

    `is_target`: it is assigned to, which an item of a tuple cannot be.
    """
    taken: list[ast.Subscript] = []
    base: ast.expr = node
    while isinstance(base, ast.Subscript):
        taken.insert(0, base)
        base = base.value
    groups = [_entries(context, each.slice) for each in taken]
    found: Place | Value = context.value(base)
    while groups:
        owner = taken[-len(groups)].value
        group = groups.pop(0)
        if isinstance(found, Elements):
            found = elementwise.array_of(context, found)
        if not isinstance(found, Place):
            found = as_tuple(found)
        match found:
            case Array():
                while groups and len(group) < len(found.sizes) and not any(map(_is_part, group)):
                    group = [*group, *groups.pop(0)]
                found = _of_array(context, node, _named(found, owner), group)
            case Tuple():
                if is_target and not groups:
                    raise context.error(node, f"{UNCHANGED}: write {ast.unparse(owner)} = np.array(...) before")
                found = _of_tuple(context, found, group)
            case Place():
                raise context.error(node, f"'{found.array.name}' has only {dimensions(len(found.indices))}")
            case _:
                raise context.error(owner, f"this is {describe(found)}, which has no elements")
    return found


UNCHANGED = "tuples do not change, and lists are tuples in a kernel"


def _named(array: Array, node: ast.expr) -> Array:
    """An array with the name by which errors call it: its own, or the expression that gives it."""
    return array if array.name else replace(array, name=ast.unparse(node))


def _entries(context: Context, index: ast.expr) -> list[ast.expr]:
    """The entries of a subscript. Those of `a[t]` with a tuple are `t[0]`, `t[1]`, ..."""
    if isinstance(index, ast.Tuple):
        return [_spelled_out(context, entry) for entry in index.elts]
    index = _spelled_out(context, index)
    if not isinstance(index, ast.Name) or not isinstance(found := context.value(index), Tuple):
        return [index]
    items = [ast.Subscript(index, ast.Constant(position), ast.Load()) for position in range(len(found.items))]
    return [ast.fix_missing_locations(ast.copy_location(item, index)) for item in items]


def _spelled_out(context: Context, entry: ast.expr) -> ast.expr:
    """`None` and `...` for names of them, such as `np.newaxis`."""
    found = context.static(entry)
    return ast.copy_location(ast.Constant(found), entry) if found is None or found is ... else entry


def _is_part(node: ast.expr) -> bool:
    """Whether an entry of a subscript is no index."""
    return isinstance(node, ast.Slice) or _is_constant(node, ...) or _is_constant(node, None)


def _is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


# -- tuples --------------------------------------------------------------------------------------


def _of_tuple(context: Context, owner: Tuple, group: Sequence[ast.expr]) -> Value:
    if len(group) != 1:
        raise context.error(group[1], "a tuple has one index")
    if isinstance(group[0], ast.Slice):
        return _slice_of_tuple(context, owner, group[0])
    index, size = context.index(group[0], "an index"), len(owner.items)
    if index.constant is not None:
        if not -size <= index.constant < size:
            raise context.error(group[0], f"index {index.constant} is outside of a tuple of {size}")
        return owner.items[int(index.constant)]
    with context.at(group[0]):
        return pick(context, owner.items, lambda table: position(context, table, 0, group[0]))


def _slice_of_tuple(context: Context, owner: Tuple, node: ast.Slice) -> Tuple:
    start, stop, step = (_constant(context, each) for each in (node.lower, node.upper, node.step))
    if step == 0:
        raise context.error(node, "the step of a slice is 0")
    return Tuple(owner.items[start:stop:step])


def _constant(context: Context, node: ast.expr | None) -> int | None:
    if node is None:
        return None
    bound = context.index(node, "a bound").constant
    if bound is None:
        raise context.error(node, "the bounds of a slice of a tuple are constants")
    return int(bound)


def pick(context: Context, items: Sequence[Value], index: Callable[[Array], SSAValue]) -> Value:
    """One of some constant items, which `index` computes for a table of them. Raises `Refusal`."""
    if (columns := _columns(items)) is not None:
        return Tuple(tuple(pick(context, column, index) for column in columns))
    numbers = constants_of(items)
    kind = _common(context, numbers or [])
    if numbers is None or kind is None:
        raise Refusal(
            "which item of the tuple this is must be known when the kernel is compiled, unless all are constant "
            "numbers of one type: write t[0] if i == 0 else t[1], or a loop over the tuple, of at most 16 items"
        )
    converted = [context.numbers.convert(number, kind.type).constant for number in numbers]
    table = constants.table(np.array(converted, kind.type.dtype), context.emit)
    return context.numbers.convert(context.load(table, [index(table)]), kind.type)


def _common(context: Context, numbers: Sequence[Number]) -> Kind | None:
    kinds = [number.kind for number in numbers]
    return reduce(lambda a, b: a and context.numbers.common(a, b), kinds[1:], kinds[0]) if kinds else None


def _columns(items: Sequence[Value]) -> list[tuple[Value, ...]] | None:
    """The items of tuples of one length by their positions, None if these are no such tuples."""
    rows = [item.items for item in items if isinstance(item, Tuple)]
    if not rows or len(rows) < len(items) or len({len(row) for row in rows}) > 1:
        return None
    return list(zip(*rows, strict=True))


# -- arrays --------------------------------------------------------------------------------------


def _of_array(context: Context, node: ast.Subscript, array: Array, group: Sequence[ast.expr]) -> Place | Array:
    entries = _without_ellipsis(context, array, group)
    indices = [entry for entry in entries if not _is_constant(entry, None)]
    if len(indices) > len(array.sizes):
        rank, given = len(array.sizes), len(indices)
        raise context.error(
            node,
            f"'{array.name}' has {dimensions(rank)}, and {given} {'index is' if given == 1 else 'indices are'} given",
        )
    if len(entries) == len(array.sizes) and not any(map(_is_part, entries)):
        return Place(array, [position(context, array, axis, index) for axis, index in enumerate(entries)])
    parts = [_part(context, array, axis, index) for axis, index in enumerate(indices)]
    parts += [whole(context, array, axis) for axis in range(len(parts), len(array.sizes))]
    view = slicing.view(context, array, parts)
    if len(indices) == len(entries):
        return view
    kept = iter(range(len(view.sizes)))
    axes = [None if _is_constant(e, None) else next(kept) for e in entries if _is_part(e)]
    return slicing.rearranged(context, view, [*axes, *kept])


def _without_ellipsis(context: Context, array: Array, group: Sequence[ast.expr]) -> list[ast.expr]:
    """The entries of a subscript, with a slice for each dimension that `...` stands for."""
    entries: list[ast.expr] = []
    for entry in group:
        if not _is_constant(entry, ...):
            entries.append(entry)
            continue
        given = sum(not _is_constant(e, None) and not _is_constant(e, ...) for e in group)
        if sum(_is_constant(e, ...) for e in group) > 1:
            raise context.error(entry, "a subscript has one '...'")
        entries += [ast.copy_location(ast.Slice(), entry) for _ in range(len(array.sizes) - given)]
    return entries


def position(context: Context, array: Array, axis: int, node: ast.expr) -> SSAValue:
    """The index of an element in a dimension, from the start."""
    return context.numbers.ssa(_position(context, array, axis, node))


def _position(context: Context, array: Array, axis: int, node: ast.expr) -> Number:
    value = context.value(node)
    if isinstance(value, Array | Elements | Tuple):
        raise context.error(node, _no_index(array.name, value, ast.unparse(node)))
    number = context.as_number(value, node)
    with context.at(node):
        index = context.numbers.integer(number, "an index")
    size = array.sizes[axis]
    if index.constant is not None:
        if size is not None and not -size <= index.constant < size:
            raise context.error(
                node,
                f"index {index.constant} is outside dimension {axis} of '{array.name}', which has size {size}",
            )
    counted = index
    if index.least is None or index.least < 0:
        counted = _from_end(context, context.size(array, axis), index)
    if context.checks_bounds:
        _check_bounds(context, array, axis, node, index, counted)
    return counted


def _no_index(name: str, index: Value, spelled: str) -> str:
    """What to write instead of an index that takes several elements."""
    if isinstance(index, Array | Elements) and index.element is NP_BOOL:
        return f"an array of truth values as an index: write {name}[:] = np.where({spelled}, ..., {name}), or a loop"
    return f"{describe(index)} as an index: write a loop over the indices, as in for i in {spelled}: ... {name}[i]"


def _check_bounds(context: Context, array: Array, axis: int, node: ast.expr, index: Number, counted: Number) -> None:
    """Have the code check an index, which is `counted` from the start."""
    size = context.size(array, axis)
    if size.constant is not None and counted.constant is not None:
        return  # it is inside
    ssa = context.numbers.ssa
    outside = context.emit.value(CmpiOp(ssa(counted), ssa(size), "uge"))  # or negative
    name = array.name.replace("{", "{{").replace("}", "}}")
    text = f"index {{given}} is outside dimension {axis} of '{name}', which has size {{wanted}}"
    context.refuse_if(node, outside, text, [ssa(index), ssa(size)])


def _from_end(context: Context, size: Number, index: Number) -> Number:
    """The index from the start for one that counts from the end if it is negative."""
    numbers = context.numbers
    if index.least is not None and index.least >= 0:
        return index
    shifted = numbers.binary(ast.Add, size, index)
    if index.constant is not None:
        return shifted
    return numbers.select(numbers.compare(ast.Lt, index, Number(INT, 0)), shifted, index)


def whole(context: Context, array: Array, axis: int) -> Part:
    return Part(Number(INT, 0), context.size(array, axis), 1, is_whole=True)


def _part(context: Context, array: Array, axis: int, node: ast.expr) -> Part:
    if not isinstance(node, ast.Slice):
        return Part(_position(context, array, axis, node), Number(INT, 1), 1, is_index=True)
    if node.lower is None and node.upper is None and node.step is None:
        return whole(context, array, axis)
    step = Number(INT, 1) if node.step is None else context.index(node.step, "the step of a slice")
    if not step.constant:
        loop = "not known when the kernel is compiled: write a loop over range(start, stop, step)"
        raise context.error(node.step or node, f"the step of this slice is {'0' if step.constant == 0 else loop}")
    lower, upper = (bound and context.index(bound, "the bound of a slice") for bound in (node.lower, node.upper))
    size = context.size(array, axis)
    if step.constant == 1 and size.constant is None and lower is not None and _takes_one(lower, upper):
        return _single(context, size, node, lower)
    return _slice(context, size, lower, upper, int(step.constant))


def _takes_one(lower: Number, upper: Number | None) -> bool:
    """Whether bounds are such as those of `a[2:3]`, `a[-3:-2]` and `a[-1:]`."""
    if lower.constant is None:
        return False
    after = lower.constant + 1
    return upper is None if after == 0 else upper is not None and upper.constant == after


def _single(context: Context, size: Number, node: ast.AST, lower: Number) -> Part:
    """What `a[2:3]` takes of a dimension: one element, which can be repeated, as the code checks."""
    start = _from_end(context, size, lower)
    needed = Number(INT, max(int(lower.constant or 0) + 1, -int(lower.constant or 0)))
    given, wanted = context.numbers.ssa(size), context.numbers.ssa(needed)
    text = "this slice takes no element of {given}: it needs an array of {wanted}"
    context.refuse_if(node, context.emit.value(CmpiOp(given, wanted, "slt")), text, [given, wanted])
    return Part(start, Number(INT, 1), 1)


def _slice(context: Context, size: Number, lower: Number | None, upper: Number | None, step: int) -> Part:
    """What a slice takes of a dimension, by the rules of Python's `slice.indices`."""
    numbers, zero = context.numbers, Number(INT, 0)
    minus = numbers.binary(ast.Sub, size, Number(INT, 1))
    first, last = (zero, size) if step > 0 else (Number(INT, -1), minus)

    def clipped(bound: Number | None, default: Number) -> Number:
        if bound is None:
            return default
        index = _from_end(context, size, bound)
        return extents.least(numbers, extents.greatest(numbers, index, first), last)

    start = clipped(lower, first if step > 0 else last)
    if (step > 0 or lower is upper is None) and (margins := _margins(lower, upper)) is not None:
        length = numbers.binary(ast.Sub, size, Number(INT, margins)) if margins else size
    else:
        stop = clipped(upper, last if step > 0 else first)
        length = numbers.binary(ast.Sub, *((stop, start) if step > 0 else (start, stop)))
    count = extents.greatest(numbers, length, zero)
    if abs(step) > 1:
        count = numbers.binary(ast.Add, count, Number(INT, abs(step) - 1))
        count = numbers.binary(ast.FloorDiv, replace(count, bound=0), Number(INT, abs(step)))
    if step < 0:  # of no elements, it may begin before the array
        start = extents.greatest(numbers, start, zero)
    return Part(start, replace(count, bound=0), step)


def _margins(lower: Number | None, upper: Number | None) -> int | None:
    """How many elements a slice such as `a[1:-1]`, `a[2:]` and `a[:-2]` leaves out, None for others.

    Those that leave out as many are known to have as many.
    """
    before = 0 if lower is None else lower.constant
    behind = 0 if upper is None else -(upper.constant or 0) or None
    return int(before + behind) if before is not None and before >= 0 and behind is not None and behind >= 0 else None
