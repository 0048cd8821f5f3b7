"""Writes expressions of scalars."""

from __future__ import annotations

import random

from tests.random_programs.scope import EXACT, FLOATS, FREE, INTEGERS, LAST, Helper, Scope

COMPARISONS = ["<", "<=", ">", ">=", "==", "!="]
INTEGER_LITERALS = [0, 1, 2, 3, 7, 255, 256, 300, -1, -2, -128, 2**31, 2**31 - 1, -(2**31), 2**53 + 1]
FLOAT_LITERALS = ["0.0", "(-0.0)", "0.1", "1.5", "(-3.0)", "1e300", "5e-324", "math.pi", "2.0", "1e16"]
CONSTANTS = {
    "int": ["(Case.BOX + 1)", "int(Case.RING)", "SETTINGS.order", "COUNTS[{} % 3]", "PAIRS[{} % 2][0]"],
    "float": ["SETTINGS.rate", "WEIGHTS[{} % 3]", "PAIRS[{} % 2][1]", "WEIGHTS[-1]", "(SETTINGS.rate * Case.BOX)"],
}
"""Texts with the constants of `values.CONSTANTS`; an index goes where the braces are."""


class Writer:
    """Writes the expressions of one function."""

    def __init__(self, rng: random.Random, scope: Scope):
        self.rng, self.scope = rng, scope
        self.serial = 0
        self.lines: list[str] = []

    def line(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def new(self, letter: str) -> str:
        """A new name."""
        self.serial += 1
        return f"{letter}{self.serial}"

    # -- integers ----------------------------------------------------------------------------------

    def integer(self, depth: int) -> tuple[str, int]:
        """An `int` and a bound of its absolute value."""
        if depth <= 0 or self.rng.random() < 0.2:
            return self.simple_integer()
        left, right = self.integer(depth - 1), self.integer(depth - 1)
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.chosen_integer(left, right, depth)
        return self.divided(left, right) if kind == 1 else self.computed(left, right)

    def simple_integer(self) -> tuple[str, int]:
        rng, scope = self.rng, self.scope
        match rng.randrange(5):
            case 0:
                value = rng.choice(INTEGER_LITERALS)
                return f"({value})" if value < 0 else str(value), abs(value)
            case 1 if scope.arrays:
                name = rng.choice(list(scope.arrays))
                return rng.choice([f"len({name})", f"{name}.shape[-1]", f"{name}.size", f"{name}.ndim"]), 2**10
            case 2 if rng.random() < 0.5:
                return rng.choice(CONSTANTS["int"]).format(self.name_of_integer()), 100
            case _:
                name = self.name_of_integer()
                return name, scope.integers[name]

    def name_of_integer(self) -> str:
        return self.rng.choice(list(self.scope.integers))

    def computed(self, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
        (a, most_a), (b, most_b) = left, right
        rng = self.rng
        match rng.randrange(8):
            case 0 | 1 if most_a + most_b <= FREE:
                return f"({a} {rng.choice('+-')} {b})", most_a + most_b
            case 2 | 3 if most_a * most_b <= FREE:
                return f"({a} * {b})", most_a * most_b
            case 4 if max(most_a, most_b) <= FREE:
                return f"({a} {rng.choice('&|^')} {b})", 2 * max(most_a, most_b) + 1
            case 5 if most_a <= FREE:
                return rng.choice([(f"(~{a})", most_a + 1), (f"abs({a})", most_a), (f"(-{a})", most_a)])
            case 6:
                return rng.choice([(f"(({a} % 1000) << ({b} % 40))", 1000 << 40), (f"({a} >> ({b} % 70))", most_a)])
            case _:
                power = rng.choice([f"({a} % 100) ** {rng.choice('0123')}", f"(-2) ** ({b} % 20)"])
                return rng.choice([f"({power})", f"pow({a} % 50, {b} % 4)"]), 10**6

    def divided(self, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
        (a, most_a), (b, _) = left, right
        rng = self.rng
        match rng.randrange(3):
            case 0:
                divisors = ["3", "(-7)", "10", "(2 ** 33)", f"({b} % 9 + 1)"]
                divisor = rng.choice(divisors + [f"(-1 - {b} % 5)"] * (most_a <= FREE))
                quotient = rng.choice([f"({a} // {divisor})", f"divmod({a}, {divisor})[0]"])
                return quotient, most_a + 1 if most_a <= FREE else LAST + 1
            case _:
                most, divisor = rng.choice([(3, "3"), (7, "(-7)"), (10, f"({b} % 9 + 1)"), (2**40, "(2 ** 40)")])
                return rng.choice([f"({a} % {divisor})", f"divmod({a}, {divisor})[1]"]), most

    def chosen_integer(self, left: tuple[str, int], right: tuple[str, int], depth: int) -> tuple[str, int]:
        (a, most_a), (b, most_b) = left, right
        rng, most = self.rng, max(most_a, most_b)
        match rng.randrange(4):
            case 0:
                return f"{rng.choice(['min', 'max'])}({a}, {b})", most
            case 1:
                return f"({a} if {self.truth(depth - 1)} else {b})", most
            case 2 if helper := self.helper("int"):
                return self.call(helper, depth), 2**31
            case _:
                x = self.float(depth - 1)
                inside = f"({x} if math.isfinite({x}) and abs({x}) < 1e6 else 0.5)"
                return f"{rng.choice(['int', 'round', 'math.floor', 'math.ceil', 'math.trunc'])}({inside})", 2 * 10**6

    def small(self, depth: int, most: int) -> str:
        """An `int` of at most this absolute value."""
        text, bound = self.integer(depth)
        return text if bound <= most else f"({text} % {most})"

    # -- floats --------------------------------------------------------------------------------------

    def float(self, depth: int) -> str:
        """A Python float, or a number of float64."""
        if depth <= 0 or self.rng.random() < 0.2:
            return self.simple_float(depth)
        a, b = self.float(depth - 1), self.float(depth - 1)
        return self.function_of_floats(a, b, depth) if self.rng.random() < 0.5 else self.computed_float(a, b, depth)

    def simple_float(self, depth: int) -> str:
        rng, scope = self.rng, self.scope
        match rng.randrange(4):
            case 0:
                return rng.choice(FLOAT_LITERALS)
            case 1 if scope.with_elements("float64"):
                return self.element("float64", depth)
            case 2 if rng.random() < 0.5:
                return rng.choice(CONSTANTS["float"]).format(self.name_of_integer())
            case 2 if scope.optionals:
                name = rng.choice(list(scope.optionals))
                return f"(float({name}.size) if {name} is not None else {rng.choice(scope.floats)})"
            case _:
                return rng.choice(scope.floats)

    def computed_float(self, a: str, b: str, depth: int) -> str:
        rng = self.rng
        match rng.randrange(6):
            case 0 | 1 | 2:
                return f"({a} {rng.choice('+-*')} {b})"
            case 3:
                return f"({a} {rng.choice(['/', '//', '%'])} {rng.choice(['(abs(' + b + ') + 0.5)', '(-0.3)', '2.0'])})"
            case 4:
                return f"({a} {rng.choice('+-*')} {self.small(depth - 1, EXACT)})"
            case _:
                return rng.choice(
                    [f"(abs({a}) ** {rng.choice(['0.5', '2', '3', '(-1)', '1.7'])})", f"pow(abs({a}), 0.5)"]
                )

    def function_of_floats(self, a: str, b: str, depth: int) -> str:
        rng = self.rng
        match rng.randrange(8):
            case 0:
                return f"{rng.choice(['abs', 'math.fabs', '-', 'np.trunc', 'np.rint', 'np.floor', 'np.ceil', 'np.sign'])}({a})"
            case 1:
                return f"math.sqrt(abs({a}))"
            case 2:
                two = ["min", "max", "np.minimum", "np.maximum", "math.copysign", "np.hypot"]
                return f"{rng.choice(two)}({a}, {b})"
            case 3:
                return f"({a} if {self.truth(depth - 1)} else {b})"
            case 4 if helper := self.helper("float"):
                return self.call(helper, depth)
            case 5:
                return f"{rng.choice(['math.sin', 'math.cos', 'math.atan', 'math.tanh', 'math.erf'])}({a})"
            case 6:
                bounds = rng.choice(["-1.5, 2.5", f"-1.0, abs({b})", f"{b}, 3"])
                return rng.choice([f"np.clip({a}, {bounds})", f"float(np.where({self.truth(depth - 1)}, {a}, {b}))"])
            case _:
                return f"float({self.integer(depth - 1)[0]})"

    # -- numbers of NumPy's types --------------------------------------------------------------------

    def strong(self, dtype: str, depth: int) -> str:
        """A number of one of NumPy's types."""
        rng = self.rng
        if depth <= 0 or rng.random() < 0.3:
            return self.simple_strong(dtype, depth)
        if dtype == "bool":
            return f"np.bool_({self.truth(depth - 1)})"
        a, b = self.strong(dtype, depth - 1), self.strong(dtype, depth - 1)
        literal = rng.choice(["1", "3", "100", "0.1", "(-2)"] if dtype in FLOATS else ["1", "3", "100", "127"])
        match rng.randrange(6):
            case 0 | 1:
                return f"({a} {rng.choice('+-*')} {rng.choice([b, literal])})"
            case 2:
                return f"({a} {rng.choice(['//', '%'])} {literal})"
            case 3 if dtype not in FLOATS:
                return f"({a} {rng.choice(['&', '|', '^', '<<', '>>', '//', '%'])} {rng.choice([b, literal])})"
            case 4:
                return f"({a} if {self.truth(depth - 1)} else {b})"
            case 5:
                return f"np.{dtype}({self.strong(rng.choice(INTEGERS), depth - 1)})"
            case _:
                return f"{rng.choice(['np.minimum', 'np.maximum'])}({a}, {b})"

    def simple_strong(self, dtype: str, depth: int) -> str:
        rng = self.rng
        named = [name for name, each in self.scope.numbers.items() if each == dtype]
        if named and rng.random() < 0.4:
            return rng.choice(named)
        if self.scope.with_elements(dtype) and rng.random() < 0.8:
            return self.element(dtype, depth)
        if dtype == "bool":
            return f"np.bool_({self.truth(0)})"
        return f"np.{dtype}({self.small(1, 100) if dtype in FLOATS else f'({self.small(1, 2**40)} % 100)'})"

    def element(self, dtype: str, depth: int) -> str:
        return self.place(self.rng.choice(self.scope.with_elements(dtype)), depth)

    def place(self, name: str, depth: int) -> str:
        """An element of an array, whose indices may count from the end."""
        indices: list[str] = []
        for axis in range(len(self.scope.arrays[name].shape)):
            index = self.integer(min(depth, 1))[0]
            inside = f"{index} % {name}.shape[{axis}]"
            indices.append(inside if self.rng.random() < 0.7 else f"-({inside}) - 1")
        return f"{name}[{', '.join(indices)}]" if self.rng.random() < 0.8 else f"{name}[{']['.join(indices)}]"

    # -- truth -----------------------------------------------------------------------------------------

    def truth(self, depth: int) -> str:
        """A Python bool."""
        rng, scope = self.rng, self.scope
        if depth <= 0:
            return rng.choice([*scope.bools, *scope.bools, "True", "False"])
        match rng.randrange(8):
            case 0 | 1:
                a, b, c = (self.integer(depth - 1)[0] for _ in range(3))
                chain = f" {rng.choice(COMPARISONS)} {c}" if rng.random() < 0.3 else ""
                return rng.choice([f"({a} {rng.choice(COMPARISONS)} {b}{chain})", f"({a} in (1, {b}))"])
            case 2 | 3:
                return f"({self.float(depth - 1)} {rng.choice(COMPARISONS)} {self.float(depth - 1)})"
            case 4 if scope.arrays:
                return self.comparison_of_strong(depth)
            case 5:
                return f"(not {self.truth(depth - 1)})"
            case 6:
                return f"math.{rng.choice(['isnan', 'isinf', 'isfinite'])}({self.float(depth - 1)})"
            case _:
                count = rng.choice([2, 2, 3])
                return "(" + f" {rng.choice(['and', 'or'])} ".join(self.truth(depth - 1) for _ in range(count)) + ")"

    def comparison_of_strong(self, depth: int) -> str:
        rng = self.rng
        dtype = rng.choice(sorted({array.dtype for array in self.scope.arrays.values()}))
        other = [self.strong(dtype, depth - 1), "3"]
        if dtype in INTEGERS:
            other += ["300", "(-1)", str(2**63), str(2**65)]
        return f"bool({self.strong(dtype, depth - 1)} {rng.choice(COMPARISONS)} {rng.choice(other)})"

    # -- calls -----------------------------------------------------------------------------------------

    def helper(self, result: str) -> Helper | None:
        """A helper that returns this, and that can be called."""
        found = [h for h in self.scope.helpers if h.result == result and self.can_call(h)]
        return self.rng.choice(found) if found else None

    def can_call(self, helper: Helper) -> bool:
        raise NotImplementedError

    def call(self, helper: Helper, depth: int) -> str:
        raise NotImplementedError
