"""PTX text to functions of instructions, with the names of each scope resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.ptx.errors import PtxError

SIZES = {
    "pred": 1,
    **{f"{letter}{bits}": bits // 8 for letter in "bus" for bits in (8, 16, 32, 64)},
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "f16x2": 4,
    "bf16x2": 4,
}
"""The types, and their bytes."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | 0[fFdD][0-9a-fA-F]+ | 0x[0-9a-fA-F]+U? | \d+U? | "[^"]*"
      | [%$_.A-Za-z](?:[\w$.]|::)* | .""",
    re.VERBOSE | re.DOTALL,
)

_LINKAGES = {".visible", ".weak", ".extern", ".internal", ".common"}
_SPACES = {".global", ".const", ".shared", ".local", ".param"}


class Token(NamedTuple):
    text: str
    line: int


@dataclass(frozen=True)
class Register:
    index: int
    type: str


@dataclass(frozen=True)
class Special:
    """What the hardware tells a thread, such as its number."""

    name: str


@dataclass(frozen=True)
class Immediate:
    text: str


@dataclass
class Variable:
    """Memory with a name; `address` in its space, once it has one."""

    name: str
    space: str
    size: int
    align: int
    values: bytes = b""
    address: int = 0


@dataclass(frozen=True)
class Symbol:
    """The name of a function or of a label."""

    name: str


@dataclass(frozen=True)
class Not:
    of: Operand


@dataclass(frozen=True)
class Address:
    base: Operand
    offset: int


@dataclass(frozen=True)
class Group:
    """A vector `{a, b}`, the lists `(a, b)` of a call, or the two results `p|q`."""

    items: tuple[Operand, ...]


Operand = Register | Special | Immediate | Variable | Symbol | Not | Address | Group


@dataclass
class Instruction:
    opcode: str
    operands: tuple[Operand, ...]
    guard: Operand | None
    line: int


@dataclass
class Function:
    name: str
    kernel: bool
    parameters: list[Variable] = field(default_factory=list)
    results: list[Variable] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    memory: list[Variable] = field(default_factory=list)
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    limits: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Module:
    functions: dict[str, Function] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)


def parse(text: str) -> Module:
    """Raises `PtxError`, with the line, for what is not known."""
    return _Parser(text).module()


def _tokens(text: str) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["space"] is None:
            yield Token(match[0], line)
        line += match[0].count("\n")
    yield Token("", line)


class _Parser:
    def __init__(self, text: str):
        self.tokens = list(_tokens(text))
        self.at = 0
        self.scopes: list[dict[str, Operand]] = [{}]
        self.result = Module()

    # -- tokens --

    @property
    def next(self) -> str:
        return self.tokens[self.at].text

    def take(self, expected: str | None = None) -> str:
        text = self.next
        if text == "" or (expected is not None and text != expected):
            raise self.unknown(expected)
        self.at += 1
        return text

    def skip(self, text: str) -> bool:
        if self.next != text:
            return False
        self.at += 1
        return True

    def unknown(self, expected: str | None = None) -> PtxError:
        wanted = f", not '{expected}'" if expected else ""
        return PtxError(f"line {self.tokens[self.at].line}: '{self.next}'{wanted}")

    def integer(self) -> int:
        sign = -1 if self.skip("-") else 1
        try:
            return sign * int(self.take().removesuffix("U"), 0)
        except ValueError:
            self.at -= 1
            raise self.unknown("a number") from None

    def listed(self, end: str) -> Iterator[None]:
        """For each item of a list with commas, up to its end."""
        while not self.skip(end):
            yield
            if self.next != end:
                self.take(",")

    # -- declarations --

    def module(self) -> Module:
        while self.next:
            match self.next:
                case ".version":
                    self.at += 1
                    while self.next != ".target":  # 7.8 is more than one token
                        self.take()
                case ".target":
                    self.at += 1
                    self.take()
                    while self.skip(","):
                        self.take()
                case ".address_size":
                    self.at += 1
                    if self.integer() != 64:
                        raise self.unknown("64")
                case word if word in _LINKAGES:
                    self.at += 1
                case ".entry" | ".func":
                    self.function()
                case word if word in _SPACES:
                    variable = self.variable()
                    self.take(";")
                    self.result.variables.append(variable)
                case _:
                    raise self.unknown()
        return self.result

    def variable(self) -> Variable:
        """`.shared .align 16 .b8 tile[5120]`, `.param .u64 .ptr .global .align 1 p`, with initial values or none."""
        space, align, kind = self.take().lstrip("."), 0, ""
        while self.next.startswith("."):
            word = self.take()
            if word == ".align":
                align = self.integer()
            elif word == ".ptr":
                while self.next in _SPACES or self.next == ".align":
                    if self.take() == ".align":
                        self.integer()
            elif word[1:] in SIZES:
                kind = word[1:]
            elif word != ".attribute":
                self.at -= 1
                raise self.unknown()
        name, size = self.take(), SIZES[kind] if kind else 0
        while self.skip("["):
            size *= 0 if self.next == "]" else self.integer()
            self.take("]")
        values = b"".join(self.initial(SIZES[kind])) if self.skip("=") else b""
        variable = Variable(name, space, size, align or SIZES.get(kind, 1), values)
        self.scopes[-1][name] = variable
        return variable

    def initial(self, size: int) -> Iterator[bytes]:
        if self.skip("{"):
            for _ in self.listed("}"):
                yield from self.initial(size)
        elif re.match("0[fFdD]", self.next):
            yield int(self.take()[2:], 16).to_bytes(size, "little")
        else:
            yield (self.integer() % (1 << 8 * size)).to_bytes(size, "little")

    def function(self) -> None:
        kernel = self.take() == ".entry"
        function = Function("", kernel)
        self.scopes.append({})
        if self.skip("("):
            function.results = [self.variable() for _ in self.listed(")")]
        function.name = self.take()
        self.scopes[0][function.name] = Symbol(function.name)
        if self.skip("("):
            function.parameters = [self.variable() for _ in self.listed(")")]
        while self.next.startswith("."):
            limit = self.take()
            if limit not in (".maxntid", ".reqntid", ".minnctapersm", ".maxnreg", ".noreturn"):
                self.at -= 1
                raise self.unknown()
            if limit != ".noreturn":
                function.limits[limit] = [self.integer()]
                while self.skip(","):
                    function.limits[limit].append(self.integer())
        if not self.skip(";"):
            self.take("{")
            self.body(function)
            self.result.functions[function.name] = function
        self.scopes.pop()

    # -- code --

    def body(self, function: Function) -> None:
        depth = 1
        while depth:
            match self.next:
                case "{":
                    self.at += 1
                    self.scopes.append({})
                    depth += 1
                case "}":
                    self.at += 1
                    depth -= 1
                    if depth:
                        self.scopes.pop()
                case ".reg":
                    self.registers(function)
                case ".pragma" | ".loc":
                    line = self.tokens[self.at].line
                    while self.tokens[self.at].line == line:
                        self.at += 1
                case word if word in _SPACES:
                    function.memory.append(self.variable())
                    self.take(";")
                case _ if self.tokens[self.at + 1].text == ":":
                    function.labels[self.take()] = len(function.code)
                    self.take(":")
                case _:
                    function.code.append(self.instruction())

    def registers(self, function: Function) -> None:
        self.take(".reg")
        kind = self.take()[1:]
        if kind not in SIZES:
            self.at -= 1
            raise self.unknown("a type")
        for _ in self.listed(";"):
            name = self.take()
            names = [name]
            if self.skip("<"):
                names = [f"{name}{k}" for k in range(self.integer())]
                self.take(">")
            for each in names:
                self.scopes[-1][each] = Register(len(function.registers), kind)
                function.registers.append(kind)

    def instruction(self) -> Instruction:
        line, guard = self.tokens[self.at].line, None
        if self.skip("@"):
            guard = self.operand()
        opcode = self.take()
        if not opcode[0].isalpha():
            self.at -= 1
            raise self.unknown("an instruction")
        operands = tuple(self.operand() for _ in self.listed(";"))
        return Instruction(opcode, operands, guard, line)

    def operand(self) -> Operand:
        if self.skip("!"):
            return Not(self.operand())
        if self.skip("["):
            base = self.operand()
            offset = self.integer() if self.skip("+") or self.next == "-" else 0
            self.take("]")
            return Address(base, offset)
        for start, end in ("{}", "()"):
            if self.skip(start):
                return Group(tuple(self.operand() for _ in self.listed(end)))
        if self.next == "-" or self.next[0].isdigit():
            sign = "-" if self.skip("-") else ""
            return Immediate(sign + self.take())
        operand = self.name()
        if self.skip("|"):
            return Group((operand, self.name()))
        return operand

    def name(self) -> Operand:
        name = self.take()
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name == "_":
            return Immediate("_")
        if name.startswith("%"):
            return Special(name)
        return Symbol(name)
