"""A nest as IR: a region without `in` and `out` around it."""

from __future__ import annotations

from tests.random_nests.program import RANKS, Assign, Element, If, Loop, Statement, Sum

_TYPES = {name: f"memref<{'?x' * rank}f64>" for name, rank in RANKS.items()}


class Text:
    """The text of a module with a function `f` of the arrays, `n` and `m`."""

    def __init__(self, program: tuple[Statement, ...]):
        self._lines: list[str] = []
        self._count = 0
        for statement in program:
            self._statement(statement)
        arguments = ", ".join(f"%{name}: {type}" for name, type in _TYPES.items() if name != "own")
        body = "\n".join(self._lines)
        self.text = f"""
func.func @f({arguments}, %n: index, %m: index, %flag: i1) {{
  %true = arith.constant true
  %not = arith.xori %flag, %true : i1
  hpacml.ml collect label "r" {{
    %size = arith.constant 64 : index
    %own = memref.alloc(%size) : {_TYPES["own"]}
{body}
  }}
  func.return
}}
"""

    def _new(self, text: str) -> str:
        self._count += 1
        self._lines.append(f"%v{self._count} = {text}")
        return f"%v{self._count}"

    def _constant(self, value: int) -> str:
        return self._new(f"arith.constant {value} : index")

    def _sum(self, sum: Sum) -> str:
        total = self._constant(sum.constant)
        for name, factor in sum.factors:
            part = f"%{name}" if factor == 1 else self._new(f"arith.muli %{name}, {self._constant(factor)} : index")
            total = self._new(f"arith.addi {total}, {part} : index")
        return total

    def _load(self, element: Element) -> str:
        index = ", ".join([self._sum(each) for each in element.index])
        return self._new(f"memref.load %{element.array}[{index}] : {_TYPES[element.array]}")

    def _affine(self, sum: Sum) -> str:
        """A sum as an affine expression of names in brackets."""
        return " + ".join([*(f"%{name} * {factor}" for name, factor in sum.factors), str(sum.constant)])

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Assign(target, reads):
                total = self._new("arith.constant 0.0 : f64")
                for element in reads:
                    total = self._new(f"arith.addf {total}, {self._load(element)} : f64")
                self._store(total, target)
            case Loop():
                self._loop(statement)
            case If():
                self._branch(statement)

    def _store(self, value: str, target: Element) -> None:
        if len(target.index) == 1 and all(factor == 1 for _, factor in target.index[0].factors):
            index = self._affine(target.index[0])
            self._lines.append(f"affine.store {value}, %{target.array}[{index}] : {_TYPES[target.array]}")
            return
        index = ", ".join([self._sum(each) for each in target.index])
        self._lines.append(f"memref.store {value}, %{target.array}[{index}] : {_TYPES[target.array]}")

    def _loop(self, loop: Loop) -> None:
        if loop.kind == "affine" and not loop.lower.factors and len(loop.upper.factors) < 2:
            upper = self._sum(loop.upper)
            self._lines.append(f"affine.for %{loop.name} = {loop.lower.constant} to {upper} step {loop.step} {{")
            self._body(loop.body, "}")
            return
        lower, upper, step = self._sum(loop.lower), self._sum(loop.upper), self._constant(loop.step)
        if loop.kind == "parallel":
            segments = "operandSegmentSizes = array<i32: 1, 1, 1, 0>"
            self._lines.append(f'"scf.parallel"({lower}, {upper}, {step}) <{{{segments}}}> ({{')
            self._lines.append(f"^bb0(%{loop.name}: index):")
            self._body(loop.body, "scf.reduce")
            self._lines.append("}) : (index, index, index) -> ()")
            return
        self._lines.append(f"scf.for %{loop.name} = {lower} to {upper} step {step} {{")
        self._body(loop.body, "}")

    def _body(self, body: tuple[Statement, ...], end: str) -> None:
        for each in body:
            self._statement(each)
        self._lines.append(end)

    def _branch(self, branch: If) -> None:
        if branch.kind == "data":
            assert isinstance(branch.condition, Element)
            zero = self._new("arith.constant 0.0 : f64")
            condition = self._new(f"arith.cmpf ogt, {self._load(branch.condition)}, {zero} : f64")
        elif branch.kind in ("flag", "not flag"):
            condition = "%flag" if branch.kind == "flag" else "%not"
        else:
            value, least = ("%n", 2) if branch.kind == "number" else (f"%{branch.condition}", 1)
            condition = self._new(f"arith.cmpi sgt, {value}, {self._constant(least)} : index")
        self._lines.append(f"scf.if {condition} {{")
        self._body(branch.then, "} else {")
        self._body(branch.other, "}")
