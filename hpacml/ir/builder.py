"""The builder: xDSL's, with functors, maps and regions."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Unpack, cast, overload

from xdsl import builder
from xdsl.builder import _current_builder  # pyright: ignore[reportPrivateUsage]
from xdsl.dialects import memref
from xdsl.dialects.builtin import LocationAttr, MemRefType, ModuleOp, StringAttr, UnknownLoc
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import Direction, MappingType
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.locations import locate
from hpacml.errors import DirectiveError, MapError
from hpacml.functors.tensor_functor import Functor
from hpacml.ir import enclosing, slices
from hpacml.ir.functor_table import FunctorTable
from hpacml.ir.integers import Index, Integer, as_value, known_or_index, require_name
from hpacml.ir.number_arrays import array_of, is_number
from hpacml.ir.places import Place, location, telling
from hpacml.ir.region_clauses import Clauses, region
from hpacml.ir.slices import Offsets, SliceEntry
from hpacml.ir.targets_of_values import Operands, Target, require_array, size, whole
from hpacml.ir.written_maps import text_of

Mode = Literal["infer", "collect", "predicated"]
Applied = Target | SSAValue | float
"""What a functor is applied to: `target(a)[...]`, a whole array, or a number, which is an array of one element."""


class Builder(builder.Builder):
    """xDSL's builder, which also builds functors, maps and regions, where it inserts any other operation.

    Functors become symbols of `module`, by default the one around the insertion point. Operations have the location
    of the innermost `with builder.at(...)`, or else `location`, and errors tell it. Errors are `HpacmlError`s:
    `DirectiveError` for functors and clauses, `MapError` for maps that do not fit their arrays.

    ```python
    build = ir.Builder(InsertPoint.at_end(function.body.block))
    n = build.size(t, 0)
    x = build.map_to([-1, 1], ir.target(t)[1 : n - 1])
    y = build.map_from([0], ir.target(new)[1 : n - 1])
    with build.ml_region("predicated", "smooth", condition=use, inputs=[x], outputs=[y], model="net.pt2"):
        ...  # what is inserted here is the original code
    ```
    """

    def __init__(
        self,
        insertion_point: InsertPoint | Block,
        module: ModuleOp | None = None,
        location: LocationAttr | None = None,
    ):
        point = InsertPoint.at_end(insertion_point) if isinstance(insertion_point, Block) else insertion_point
        super().__init__(point, operation_insertion_handler=[self._locate])
        self.location = UnknownLoc() if location is None else location
        self._module = module
        self._numbers: dict[SSAValue, list[SSAValue]] = {}
        """The memory of the numbers among the targets of a mapping, until a region has used it."""
        self._names: dict[Operation | Block, dict[str, int]] = {}
        """The known integers that have names, of each function."""
        self._used: set[SSAValue] = set()
        """Mappings whose numbers a region has used."""

    @contextmanager
    def at(self, place: Place) -> Generator[None]:
        """Give what is inserted a location: `(file, line, column)`, both counted from 1, or one of MLIR."""
        outer, self.location = self.location, location(place)
        try:
            yield
        finally:
            self.location = outer

    # -- integers --------------------------------------------------------------------------------

    def index(self, value: Integer, name: str | None = None) -> Index:
        """An integer with `+ - *`, for bounds. Values of integer types are cast to `index`.

        Maps are recorded with its `name`, and without one with the number, or the name of the value in the IR. A model
        is refused in regions whose maps have other numbers, but not for other values of names.
        """
        with self._building():
            return self._named(Index(known_or_index(value, self), self, name))

    def size(self, array: SSAValue, dim: int, name: str | None = None) -> Index:
        """The size of an array's dimension, counted from 0, as an integer with that `name` (see `index`)."""
        with self._building():
            return self._named(size(require_array(array), dim, self, name))

    def _named(self, index: Index) -> Index:
        """Note the name of an integer. Raises `MapError` if another number of the function has it."""
        if index.name is not None:
            require_name(index.name)
            if isinstance(index.value, int):
                names = self._names.setdefault(enclosing.outermost(self.insertion_point.block), {})
                if names.setdefault(index.name, index.value) != index.value:
                    raise MapError(
                        f"'{index.name}' is {names[index.name]}, and cannot be the name of {index.value}, too: maps "
                        "are recorded with names"
                    )
        return index

    # -- functors --------------------------------------------------------------------------------

    @overload
    def functor(self, of: str, /, *, params: Iterable[str] = ()) -> FunctorOp: ...
    @overload
    def functor(self, of: Offsets, /, *, name: str | None = None) -> FunctorOp: ...
    @overload
    def functor(
        self,
        of: Sequence[SliceEntry],
        rhs: Sequence[Sequence[SliceEntry]],
        /,
        *,
        name: str | None = None,
        params: Iterable[str] = (),
    ) -> FunctorOp: ...
    def functor(
        self,
        of: str | Offsets | Sequence[SliceEntry],
        rhs: Sequence[Sequence[SliceEntry]] | None = None,
        /,
        *,
        name: str | None = None,
        params: Iterable[str] = (),
    ) -> FunctorOp:
        """A functor, which the module gets unless it has it. There are three forms:

        - text as in a directive, `"near: [i, 0:2] = ([i - 1], [i + 1])"`,
        - offsets, a feature each: `[(-1, 0), (1, 0), (0, 0)]`, or `[-1, 1]` in one dimension,
        - slices, the left side and those of the right: `i, j = symbols("i j")`, then
          `functor([i, j, slice(0, 3)], [[i, slice(j - 1, j + 2)]])`.

        Names in `params` are integers, whose values maps give. Raises `DirectiveError` for a functor that contradicts
        itself, and for a name that is another symbol's.
        """
        with self._building():
            if isinstance(of, str):
                if name is not None or rhs is not None:
                    raise DirectiveError("the text of a functor has its name and its slices: give nothing else")
                return self._table().add(*slices.functor_of_text(of, params))
            return self._table().add(name, self._structured(of, rhs, params))

    def _structured(
        self,
        of: Offsets | Sequence[SliceEntry],
        rhs: Sequence[Sequence[SliceEntry]] | None,
        params: Iterable[str],
    ) -> Functor:
        if rhs is not None:
            return slices.functor_of_slices(of, rhs, params)  # pyright: ignore[reportArgumentType]
        if params:
            raise DirectiveError("offsets are numbers, so that no name is a parameter: leave 'params' out")
        return slices.functor_of_offsets(of)  # pyright: ignore[reportArgumentType]

    def _table(self) -> FunctorTable:
        return FunctorTable.around(self.insertion_point.block, self._module)

    # -- maps ------------------------------------------------------------------------------------

    def map_to(
        self,
        functor: FunctorOp | str | Offsets,
        *targets: Applied,
        params: Mapping[str, Integer] | None = None,
        unchecked: bool = False,
    ) -> SSAValue[MappingType]:
        """The map that reads targets into a tensor: one target for all slices of the functor, or one for each.

        A functor may be given as text or as offsets. `params` has the values of its parameters by name; `unchecked`
        trusts indices to lie inside the arrays. A region frees the memory of numbers, so that a map with numbers is of
        one region. Raises `MapError` for targets that do not fit, as far as types and constants tell.
        """
        return self._map(Direction.To, functor, targets, params, unchecked)

    def map_from(
        self,
        functor: FunctorOp | str | Offsets,
        *targets: Target | SSAValue,
        params: Mapping[str, Integer] | None = None,
        unchecked: bool = False,
    ) -> SSAValue[MappingType]:
        """The map that writes a tensor to targets."""
        return self._map(Direction.From, functor, targets, params, unchecked)

    def map_inout(
        self,
        functor: FunctorOp | str | Offsets,
        *targets: Target | SSAValue,
        params: Mapping[str, Integer] | None = None,
        unchecked: bool = False,
    ) -> SSAValue[MappingType]:
        """The map that reads targets, and writes them."""
        return self._map(Direction.Inout, functor, targets, params, unchecked)

    def _map(
        self,
        direction: Direction,
        functor: FunctorOp | str | Offsets,
        targets: Sequence[Applied],
        params: Mapping[str, Integer] | None,
        unchecked: bool,
    ) -> SSAValue[MappingType]:
        op = functor if isinstance(functor, FunctorOp) else self.functor(functor)
        with self._building():
            given = self._params(op, params or {})
            arrays, owned = self._arrays(direction, op, targets)
            operands = Operands(self)
            trees = [operands.tree(each) for each in arrays]
            made = MapOp.infer(op, direction, trees, operands.arrays, operands.bounds, given, unchecked=unchecked)
            if (text := text_of(op.sym_name.data, arrays, made.array_names, owned)) is not None:
                made.text = StringAttr(text)
            mapping = self.insert(made).mapping
            mapping.name_hint = {Direction.To: "in", Direction.From: "out"}.get(direction, "inout")
            if owned:
                self._numbers[mapping] = owned
            return mapping

    def _params(self, op: FunctorOp, params: Mapping[str, Integer]) -> list[SSAValue]:
        names = [each.data for each in op.parameters]
        for name in (*names, *params):
            if (name in names) != (name in params):
                what = "is no parameter of" if name in params else "has no value, and is a parameter of"
                raise MapError(f"'{name}' {what} the functor '{op.declaration}'")
        return [as_value(known_or_index(params[name], self), self) for name in names]

    def _arrays(
        self, direction: Direction, op: FunctorOp, targets: Sequence[Applied]
    ) -> tuple[list[Target], list[SSAValue]]:
        """The targets, with arrays for numbers, and the memory of these."""
        found: list[Target] = []
        owned: list[SSAValue] = []
        held = [each.array if isinstance(each, Target) else each for each in targets]
        types = [each.type for each in held if isinstance(each, SSAValue)]
        beside = [cast("MemRefType", type).element_type for type in types if isinstance(type, MemRefType)]
        for number, each in enumerate(targets):
            if is_number(each):
                if direction is not Direction.To:
                    raise MapError("a number cannot be written: map an array instead")
                ranks = [len(entries.data) for entries in op.rhs]
                rank = ranks[number] if len(targets) == len(ranks) else ranks[0]
                owned.append(array_of(each, rank, beside, self))
                found.append(whole(require_array(owned[-1])))
            else:
                found.append(each if isinstance(each, Target) else whole(require_array(each)))
        return found, owned

    # -- regions ---------------------------------------------------------------------------------

    @contextmanager
    def ml_region(self, mode: Mode, label: str, **clauses: Unpack[Clauses]) -> Generator[Block]:
        """A region whose original code is what this builder inserts in the context, or what is put into its block.

        Modes and clauses are those of docs/directives.md; `label` names the region in databases and reports. Raises
        `DirectiveError` for clauses that contradict each other or do not exist, and for a region without code.
        """
        with self._building():
            op = self._insert_region(mode, label, clauses)
        where, outer = self.location, self.insertion_point
        self.insertion_point = InsertPoint.at_end(op.body.block)
        try:
            yield op.body.block
        finally:
            self.insertion_point = outer
        with telling(where):
            enclosing.require_code(op)
        self._free_numbers(op)

    def enclose(self, ops: Sequence[Operation], mode: Mode, label: str, **clauses: Unpack[Clauses]) -> MlOp:
        """Make operations that follow each other in a block the original code of a region, which takes their place.

        The insertion point is then behind the region; maps stand before it. Raises `DirectiveError` also for
        operations that do not follow each other, and for those whose results are used outside.
        """
        with self._building():
            enclosing.require_sequence(ops)
            self.insertion_point = InsertPoint.before(ops[0])
            op = self._insert_region(mode, label, clauses)
            enclosing.move(ops, op)
            self.insertion_point = InsertPoint.after(op)
        self._free_numbers(op)
        return op

    def _insert_region(self, mode: str, label: str, clauses: Clauses) -> MlOp:
        op = region(mode, label, clauses, self)
        try:
            self._require_own_numbers(op)
            op.verify_()
        except Exception:
            op.drop_all_references()
            raise
        return self.insert(op)

    def _require_own_numbers(self, op: MlOp) -> None:
        for mapping in (*op.inputs, *op.outputs, *op.inouts, *op.truths):
            if mapping in self._numbers and mapping.owner.parent is not self.insertion_point.block:
                raise DirectiveError(
                    f"the region '{op.label.data}' uses a map with numbers of another block, whose memory it would "
                    "free each time it runs: build the map where the region is"
                )
            if mapping in self._used:
                raise DirectiveError(
                    f"the region '{op.label.data}' uses a map with numbers, whose memory another region has freed: "
                    "make one for each region"
                )

    def _free_numbers(self, op: MlOp) -> None:
        """Free the memory of numbers behind the region that gathers them."""
        for mapping in dict.fromkeys(op.operands):
            for memory in self._numbers.pop(mapping, ()):
                self._used.add(mapping)
                with self.at(op.location):
                    self.insert(memref.DeallocOp.get(memory), InsertPoint.after(op))

    # -- insertion -------------------------------------------------------------------------------

    def _locate(self, op: Operation) -> None:
        locate(op, self.location)

    @contextmanager
    def _building(self) -> Generator[None]:
        """Build with operations that are inserted by this builder alone, also where xDSL's `ImplicitBuilder` is on."""
        implicit, _current_builder.builder = _current_builder.builder, None
        try:
            with telling(self.location):
                yield
        finally:
            _current_builder.builder = implicit
