"""What a search may choose from: parameters, and linear constraints between them."""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from typing import Any

from hpacml.errors import ConfigError
from hpacml.searching.plan import Choice, Fixed, Parameter, Range

Point = dict[str, Any]
"""A value for each parameter that is searched."""

_ENUMERATED = 20_000
"""Points up to which a finite domain is looked at whole."""

_DRAWS = 20_000

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


@dataclass(frozen=True)
class Constraint:
    """`sum(weights[name] * value) <= bound`."""

    text: str
    weights: Mapping[str, float]
    bound: float

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds, but for errors of rounding."""
        found = sum(weight * values[name] for name, weight in self.weights.items())
        return found <= self.bound + 1e-9 * max(1.0, abs(self.bound))


class Domain:
    """Parameters that are searched, values that are fixed, and constraints of both.

    Raises ConfigError for constraints that are not linear or name what is no number, and for a domain without a point.
    """

    def __init__(self, parameters: Mapping[str, Parameter], constraints: Iterable[str] = ()) -> None:
        self.free: dict[str, Range | Choice] = {}
        self.fixed: dict[str, Any] = {}
        for name, parameter in parameters.items():
            if isinstance(parameter, Fixed):
                self.fixed[name] = parameter.value
            elif len(values := _values(parameter, 1)) == 1:
                self.fixed[name] = values[0]
            else:
                self.free[name] = parameter
        self.constraints = [self._constraint(text) for text in constraints]
        self._first = self._any()

    def values(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all parameters at a point."""
        return {**self.fixed, **point}

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether the constraints hold at a point."""
        values = self.values(point)
        return all(constraint.holds(values) for constraint in self.constraints)

    def middle(self) -> Point:
        """The middle of all ranges and choices, or another point where the constraints do not hold there."""
        point = self.at([0.5] * len(self.free))
        return point if self.holds(point) else self._first

    def near(self, values: Mapping[str, Any]) -> Point:
        """The point with these values, as far as the domain has them, and the middle of what else there is."""
        middle = self.at([0.5] * len(self.free))
        point = {
            name: values[name] if name in values and _has(parameter, values[name]) else middle[name]
            for name, parameter in self.free.items()
        }
        return point if self.holds(point) else self.middle()

    def star(self, center: Point) -> Iterator[Point]:
        """Points that differ from one by one parameter, which is at three quarters of its range, and then at one."""
        for part in (0.75, 0.25):
            yield from ({**center, name: _at(parameter, part)} for name, parameter in self.free.items())

    def at(self, parts: Sequence[float]) -> Point:
        """The point at a part, 0 to 1, of each range and choice. Constraints need not hold there."""
        return {name: _at(each, part) for (name, each), part in zip(self.free.items(), parts, strict=True)}

    def draw(self, numbers: random.Random, seen: Iterable[Mapping[str, Any]] = ()) -> Point | None:
        """A random point that is none of `seen`, or None if there is no other."""
        past = {key(point) for point in seen}
        if (points := self._all()) is not None:
            left = [point for point in points if key(point) not in past]
            return numbers.choice(left) if left else None
        for _ in range(_DRAWS):
            point = self.at([numbers.random() for _ in self.free])
            if self.holds(point) and key(point) not in past:
                return point
        return None

    def _all(self) -> list[Point] | None:
        """All points of a small finite domain."""
        choices = [_values(parameter, _ENUMERATED) for parameter in self.free.values()]
        if not all(choices) or math.prod(map(len, choices)) > _ENUMERATED:
            return None
        points = (dict(zip(self.free, values, strict=True)) for values in product(*choices))
        return [point for point in points if self.holds(point)]

    def _any(self) -> Point:
        """A point where the constraints hold. Raises ConfigError if none is found."""
        point = self.draw(random.Random(0))
        point = self._solved() if point is None else point
        if point is None or not self.holds(point):
            texts = ", ".join(f"'{constraint.text}'" for constraint in self.constraints)
            raise ConfigError(f"no point of the space fulfils the constraints {texts}: widen a range or leave one out")
        return point

    def _solved(self) -> Point | None:
        """A point by integer programming, where the constraints leave so little that no random point lies in it."""
        optimize: Any = import_module("scipy.optimize")
        ranges = {name: parameter for name, parameter in self.free.items() if isinstance(parameter, Range)}
        others = {**self.fixed, **{name: _at(p, 0.5) for name, p in self.free.items() if name not in ranges}}
        if not ranges:
            return None
        weights = [[constraint.weights.get(name, 0.0) for name in ranges] for constraint in self.constraints]
        most = [
            c.bound - sum(c.weights[name] * others[name] for name in c.weights.keys() & others)
            for c in self.constraints
        ]
        low, high = zip(*(parameter.range for parameter in ranges.values()), strict=True)
        found = optimize.milp(
            [0.0] * len(ranges),
            integrality=[int(parameter.is_integer) for parameter in ranges.values()],
            bounds=optimize.Bounds(low, high),
            constraints=optimize.LinearConstraint(weights, ub=most),
        )
        if found.x is None:
            return None
        numbers = zip(ranges.items(), found.x, strict=True)
        solved = {name: round(value) if parameter.is_integer else float(value) for (name, parameter), value in numbers}
        return {name: solved.get(name, others.get(name)) for name in self.free}

    def _constraint(self, text: str) -> Constraint:
        try:
            tree = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            raise ConfigError(f"the constraint '{text}' cannot be read: {error.msg}") from None
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or not isinstance(tree.ops[0], ast.LtE | ast.GtE):
            raise ConfigError(f"the constraint '{text}' is no comparison by <= or >=, such as 'hidden2 <= hidden1'")
        left, right = tree.left, tree.comparators[0]
        if isinstance(tree.ops[0], ast.GtE):
            left, right = right, left
        names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
        for name in names:
            self._require_number(name, text)

        def difference(values: Mapping[str, float]) -> float:
            try:
                return _computed(left, values) - _computed(right, values)
            except (KeyError, ZeroDivisionError, OverflowError):
                raise ConfigError(
                    f"the constraint '{text}' is not linear: use sums of numbers times parameters"
                ) from None

        zero = dict.fromkeys(names, 0.0)
        constant = difference(zero)
        weights = {name: difference({**zero, name: 1.0}) - constant for name in names}
        for numbers in (random.Random(1), random.Random(2)):
            values = {name: numbers.uniform(-9, 9) for name in names}
            linear = constant + sum(weight * values[name] for name, weight in weights.items())
            if not math.isclose(difference(values), linear, rel_tol=1e-9, abs_tol=1e-9):
                raise ConfigError(f"the constraint '{text}' is not linear: use sums of numbers times parameters")
        return Constraint(text, weights, -constant)

    def _require_number(self, name: str, text: str) -> None:
        if name not in self.free and name not in self.fixed:
            known = ", ".join([*self.free, *self.fixed]) or "none"
            raise ConfigError(f"the constraint '{text}' names '{name}', which is no parameter: there are {known}")
        parameter = self.free.get(name)
        value = parameter.choice[0] if isinstance(parameter, Choice) else self.fixed.get(name, 0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"the constraint '{text}' names '{name}', whose values are no numbers")


def key(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What points have in common that are the same."""
    return tuple(sorted(point.items()))


def _values(parameter: Range | Choice, most: int) -> list[Any]:
    """The values of a choice, or of a range if these are not more than `most`; else none."""
    if isinstance(parameter, Choice):
        return list(parameter.choice)
    low, high = parameter.range
    if parameter.is_integer:
        return list(range(int(low), int(high) + 1)) if high - low < most else []
    return [float(low)] if low == high else []


def _has(parameter: Range | Choice, value: object) -> bool:
    if isinstance(parameter, Choice):
        return any(type(value) is type(each) and value == each for each in parameter.choice)
    numbers = int if parameter.is_integer else (int, float)
    low, high = parameter.range
    return isinstance(value, numbers) and not isinstance(value, bool) and low <= value <= high


def _at(parameter: Range | Choice, part: float) -> Any:
    """The value at a part, 0 to 1, of a range or choice."""
    if isinstance(parameter, Choice):
        return parameter.choice[min(int(part * len(parameter.choice)), len(parameter.choice) - 1)]
    low, high = parameter.range
    if parameter.is_integer and not parameter.log:
        return min(math.floor(low + part * (high - low + 1)), int(high))
    value = math.exp(math.log(low) + part * math.log(high / low)) if parameter.log else low + part * (high - low)
    value = min(max(value, low), high)
    return round(value) if parameter.is_integer else float(value)


def _computed(node: ast.AST, values: Mapping[str, float]) -> float:
    """The value of an expression of sums and products. Raises KeyError for anything else."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_computed(operand, values)
        case ast.BinOp(left=left, op=operator, right=right):
            return _BINARY[type(operator)](_computed(left, values), _computed(right, values))
        case _:
            raise KeyError(type(node).__name__)
