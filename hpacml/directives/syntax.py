"""Directives as dataclasses, which `hpacml.directives.parser` makes of text; the language is in `directives.lark`.

Spans count the characters of the text that was parsed, which is also the `text` of the directives and expressions in
it. Directives are equal if they say the same; `canonical` prints one so that it parses back to its equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from hpacml.clauses import Bounds, Engine, Guard, Sampling, Verification
from hpacml.directives.expressions import MAX_DEPTH, Expr, Span
from hpacml.errors import DirectiveError
from hpacml.functors.tensor_functor import Functor, FunctorError, Slice, format_slice


@dataclass(frozen=True)
class FunctorDirective:
    """`tensor functor(name: [lhs] = ([rhs], ...))`.

    `spans[0]` holds the spans of the entries on the left, `spans[1 + k]` those of slice `k` on the right.
    """

    name: str
    lhs: Slice
    rhs: tuple[Slice, ...]
    spans: tuple[tuple[Span, ...], ...] = field(compare=False, repr=False)
    span: Span = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)

    def functor(self, params: frozenset[str] = frozenset()) -> Functor:
        """The functor in which `params` are integers and all other names symbols.

        Raises `DirectiveError` if its sides contradict each other or are not affine in the symbols.
        """
        try:
            return Functor(self.lhs, self.rhs, params)
        except FunctorError as error:
            where = self.spans[error.slice + 1][error.entry]
            raise DirectiveError(error.message, self.text, *where) from None

    @property
    def canonical(self) -> str:
        """`name: [lhs] = ([rhs], ...)`, for `parse_functor`."""
        return f"{self.name}: {format_slice(self.lhs)} = ({', '.join(map(format_slice, self.rhs))})"


@dataclass(frozen=True)
class TargetIndex:
    """A single index in a target."""

    expr: Expr

    @property
    def span(self) -> Span:
        return self.expr.span

    def __str__(self) -> str:
        return str(self.expr)


@dataclass(frozen=True)
class TargetRange:
    """`start:stop:step` in a target; without `stop` it reaches to the end of the array."""

    start: Expr
    stop: Expr | None
    step: Expr | None
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        parts = [str(self.start), "" if self.stop is None else str(self.stop)]
        if self.step is not None:
            parts.append(str(self.step))
        return (" : " if any(" " in part for part in parts) else ":").join(parts).rstrip(" ")


@dataclass(frozen=True)
class Target:
    """`array[entry, ...]`; an entry that is itself a target is an indirection. Without entries it is a number."""

    array: str
    entries: tuple[TargetIndex | TargetRange | Target, ...]
    span: Span = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        level: list[Target] = [self]
        for _ in range(MAX_DEPTH):
            level = [entry for target in level for entry in target.entries if isinstance(entry, Target)]
        if level:
            raise DirectiveError(f"the indirection is nested more than {MAX_DEPTH} levels", self.text, *self.span)

    def __str__(self) -> str:
        return f"{self.array}[{_list(self.entries)}]" if self.entries else self.array


def depth_first(targets: Iterable[Target]) -> Iterator[Target]:
    """Yield targets, each before the targets of its index arrays."""
    for target in targets:
        yield target
        yield from depth_first(entry for entry in target.entries if isinstance(entry, Target))


@dataclass(frozen=True)
class Application:
    """A functor applied to targets: one for all its slices, or one per slice."""

    functor: str
    targets: tuple[Target, ...]
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.functor}({_list(self.targets)})"


@dataclass(frozen=True)
class Name:
    """A name of an array mapped earlier, of a named map, or of an argument (a model, a path)."""

    id: str
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class MapDirective:
    """`tensor map(direction: application)`, or `declare tensor(name: application)`.

    A named map has no direction: each use of the name gives one.
    """

    direction: Literal["to", "from"] | None
    name: str | None
    application: Application
    span: Span = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)

    @property
    def canonical(self) -> str:
        """The text for `parse`."""
        if self.direction is None:
            return f"declare tensor({self.name}: {self.application})"
        return f"tensor map({self.direction}: {self.application})"


@dataclass(frozen=True)
class Batch:
    """The clause `batch`; `rows` is the rows per model call, or None for any number."""

    rows: int | None

    def __str__(self) -> str:
        return "batch" if self.rows is None else f"batch({self.rows})"


@dataclass(frozen=True)
class Unit:
    """The unit of an array, in the clause `units`."""

    array: Name
    unit: str

    def __str__(self) -> str:
        return f"{self.array}: {_quoted(self.unit)}"


@dataclass(frozen=True)
class Metadatum:
    """A number that is stored for each call, in the clause `meta`."""

    name: str
    value: Expr

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"


@dataclass(frozen=True)
class Guarding:
    """The clause `guard`: its settings, and the condition of `where`, in which arrays stand for their elements."""

    guard: Guard
    where: Expr | None = None

    def __str__(self) -> str:
        settings = [str(self.guard)] * (self.guard != Guard())
        return ", ".join([f"where: {self.where}"] * (self.where is not None) + settings)


Mode = Literal["infer", "collect", "predicated"]
Item = Application | Name


@dataclass(frozen=True)
class MlDirective:
    """`ml(mode) clauses...`; `condition` belongs to the mode `predicated`, `if_condition` to the clause `if`.

    `clauses` has the span of each clause that was given, by its keyword.
    """

    mode: Mode
    condition: Expr | None
    _: KW_ONLY
    inputs: tuple[Item, ...] = ()
    outputs: tuple[Item, ...] = ()
    inouts: tuple[Item, ...] = ()
    model: str | Name | None = None
    database: str | Name | None = None
    label: str | None = None
    if_condition: Expr | None = None
    batch: Batch | None = None
    engine: Engine | None = None
    sample: Sampling | None = None
    units: tuple[Unit, ...] = ()
    meta: tuple[Metadatum, ...] = ()
    truth: tuple[Item, ...] = ()
    guarding: Guarding | None = None
    verify: Verification | None = None
    clip: tuple[Bounds, ...] = ()
    project: Name | None = None
    pointwise: bool = False
    clauses: Mapping[str, Span] = field(compare=False, repr=False)
    span: Span = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)

    @property
    def is_mapped(self) -> bool:
        """Whether it has maps. One of a kernel that has none gets those that the region's code tells."""
        return bool(self.inputs or self.outputs or self.inouts or self.truth)

    @property
    def is_guarded(self) -> bool:
        """Whether the original code may run in an inference: for some of its points, or to be compared."""
        return self.guarding is not None or self.verify is not None

    @property
    def collects_rejected(self) -> bool:
        """Whether what the original code makes of points that a guard rejects goes to the database."""
        return self.guarding is not None and self.guarding.guard.collect

    @property
    def may_collect(self) -> bool:
        """Whether something may go to the database: calls, or points that a guard rejects."""
        return self.mode != "infer" or self.collects_rejected

    @property
    def canonical(self) -> str:
        """The text for `parse`."""
        parts = [f"ml({self.mode})" if self.condition is None else f"ml({self.mode}: {self.condition})"]
        mapped = {"in": self.inputs, "out": self.outputs, "inout": self.inouts}
        parts += [f"{keyword}({_list(items)})" for keyword, items in mapped.items() if items]
        files = {"model": self.model, "database": self.database, "label": self.label}
        parts += [f"{keyword}({_quoted(value)})" for keyword, value in files.items() if value is not None]
        if self.if_condition is not None:
            parts.append(f"if({self.if_condition})")
        if self.batch is not None:
            parts.append(str(self.batch))
        if self.engine is not None:
            parts.append(f"engine({self.engine})")
        if self.sample is not None:
            parts.append(f"sample({self.sample})")
        if self.units:
            parts.append(f"units({_list(self.units)})")
        if self.meta:
            parts.append(f"meta({_list(self.meta)})")
        if self.truth:
            parts.append(f"truth({_list(self.truth)})")
        if self.guarding is not None:
            parts.append(f"guard({self.guarding})")
        if self.verify is not None:
            parts.append(f"verify({self.verify})")
        if self.clip:
            parts.append(f"clip({_list(self.clip)})")
        if self.project is not None:
            parts.append(f"project({self.project})")
        if self.pointwise:
            parts.append("pointwise")
        return " ".join(parts)


Directive = FunctorDirective | MapDirective | MlDirective


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _quoted(value: str | Name) -> str:
    if isinstance(value, Name):
        return value.id
    return f"'{value}'" if '"' in value else f'"{value}"'
