"""Conditions under which code loads and stores: on what they depend, and stores that happen on both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects import affine, arith, func, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerType, MemRefType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.facts import ONE
from hpacml.passes.derivation.integers import Integers
from hpacml.passes.derivation.nests import ADVICE, Access, Condition


def condition_of(value: SSAValue, holds: bool) -> Condition:
    """A condition without the negations around it."""
    while isinstance(owner := value.owner, arith.XOrIOp) and const_evaluate_operand(owner.rhs) in (1, -1):
        value, holds = owner.lhs, not holds
    return Condition(value, holds)


def is_of_overlaps(condition: SSAValue) -> bool:
    """Whether a condition asks whether arrays overlap in memory, as an assignment of whole arrays does."""
    owner = condition.owner
    if isinstance(owner, arith.OrIOp):
        return any(map(is_of_overlaps, owner.operands))
    return isinstance(owner, func.CallOp) and owner.callee.string_value().startswith("hpacml_meet_")


def refuted(condition: SSAValue, integers: Integers) -> Iterator[list[Poly]]:
    """What is known where a condition does not hold: of each list, one polynomial is not negative."""
    owner = condition.owner
    if isinstance(owner, arith.OrIOp):
        for operand in owner.operands:
            yield from refuted(operand, integers)
        return
    ways: list[Poly] = []
    waiting = [condition]
    while waiting:
        owner = waiting.pop().owner
        if isinstance(owner, arith.AndIOp):
            waiting += owner.operands
        elif isinstance(owner, arith.CmpiOp) and (way := _not_less(owner, integers)) is not None:
            ways.append(way)
        else:
            return
    yield ways


def _not_less(compare: arith.CmpiOp, integers: Integers) -> Poly | None:
    """What is not negative where one integer is not less than another, or not at most that."""
    a, b = integers.of(compare.lhs), integers.of(compare.rhs)
    predicate = compare.predicate.value.data
    if not isinstance(a, Poly) or not isinstance(b, Poly) or predicate not in (2, 3):
        return None
    return a - b if predicate == 2 else a - b - ONE


def index_in(of: SSAValue | Operation, integers: Integers, seen: set[object]) -> str | None:
    """The index of a loop on which a condition depends other than through what is loaded."""
    if of in seen:
        return None
    seen.add(of)
    if isinstance(of, Operation):
        if isinstance(of, affine.IfOp):
            return _first(of.operands, integers, seen)
        return None
    owner = of.owner
    if not integers.is_inside(owner):
        return None
    if isinstance(owner, Block):
        return _changing(of, owner, integers)
    if isinstance(owner, memref.LoadOp | affine.LoadOp):
        return None
    for region in owner.regions:
        for op in region.walk():
            if (why := _first(op.operands, integers, seen)) is not None:
                return why
    return _first(owner.operands, integers, seen)


def _first(values: Sequence[SSAValue], integers: Integers, seen: set[object]) -> str | None:
    found = (index_in(each, integers, seen) for each in values if not isinstance(each.type, MemRefType))
    return next((why for why in found if why is not None), None)


def _changing(argument: SSAValue, block: Block, integers: Integers) -> str | None:
    """What is known of an argument of a block, if that is the index of a loop or counted by one."""
    if not isinstance(argument.type, IndexType | IntegerType) or isinstance(block.parent_op(), scf.WhileOp):
        return None
    name = f" '{argument.name_hint}'" if argument.name_hint else ""
    if isinstance(integers.of(argument), Poly):
        return f"the index{name} of a loop"
    is_index = argument is block.args[0] and isinstance(block.parent_op(), scf.ForOp | affine.ForOp)
    return None if is_index else f"what is counted from one iteration to the next{name}"


def alternatives(stores: Sequence[Access]) -> dict[Access, frozenset[Access]]:
    """For each store, those of which one happens in any case: itself, and the others on the other ways of conditions.

    Raises `PassFailedException` for a store that happens on one way only.
    """
    open: dict[Access, tuple[Condition, ...]] = {each: each.conditions for each in stores}
    found = {each: frozenset([each]) for each in stores}
    for depth in range(max((len(each.conditions) for each in stores), default=0), 0, -1):
        for store in stores:
            if len(open[store]) == depth:
                last = open[store][-1]
                rest, opposite = open[store][:-1], Condition(last.of, not last.holds)
                partners = [other for other in stores if other.key == store.key and open[other] == (*rest, opposite)]
                if not partners or not _same_loops(store, partners):
                    raise refusal(store.op, _one_way(store, last))
                together = frozenset[Access]().union(*(found[each] for each in (store, *partners)))
                for each in together:
                    open[each], found[each] = rest, together
    return found


def _same_loops(store: Access, partners: Sequence[Access]) -> bool:
    """Whether a store and its partner happen equally often: no loop that chooses nothing is around one alone."""
    return any(
        [(loop.lower, loop.upper) for loop in store.others] == [(loop.lower, loop.upper) for loop in partner.others]
        for partner in partners
    )


def _one_way(store: Access, condition: Condition) -> str:
    if isinstance(condition.of, SSAValue | affine.IfOp):
        reason = "it happens under a condition, so that the elements which are written differ from call to call"
    elif isinstance(condition.of, scf.WhileOp):
        reason = "it happens in a loop of which only the data tell how often it runs"
    else:
        reason = "it happens in a loop whose bounds are no affine function of what stays the same in the region"
    return f"no map is inferred for {store.what}: {reason}. {ADVICE}"
