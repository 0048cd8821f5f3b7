"""Instructions to closures over the registers of a frame, made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tests.ptx import text
from tests.ptx.arithmetic import bits_of, numpy_type, operation
from tests.ptx.errors import PtxError
from tests.ptx.floats import Array
from tests.ptx.machine import WARP, Block, Code, Frame, Step
from tests.ptx.memory import ATOMIC, CACHED, READ, WRITE, place_of, process_memory
from tests.ptx.text import Address, Group, Immediate, Instruction, Not, Operand, Register, Special, Symbol, Variable

WINDOWS = {"shared": 1 << 56, "local": 1 << 57}
"""Where the generic addresses of these spaces begin."""

Reader = Callable[[Frame], Array]


class _Decoder:
    """Turns the instructions of one function into steps."""

    def __init__(self, code: Code, codes: dict[str, Code]):
        self.code, self.codes = code, codes
        self.at = Instruction("", (), None, 0)

    def error(self, why: str = "not known") -> PtxError:
        return PtxError(f"{self.code.function.name}, line {self.at.line}: {self.at.opcode}: {why}")

    # -- operands --

    def reader(self, operand: Operand, kind: str) -> Reader:
        """What reads an operand as an array of a type."""
        dtype = numpy_type(kind)
        match operand:
            case Register(index, declared):
                if numpy_type(bits_of(declared)) == dtype:
                    return lambda frame: frame.registers[index]
                if (declared == "pred") != (kind == "pred"):
                    raise self.error(f"an operand of type {declared}, not {kind}")
                if text.SIZES[declared] == text.SIZES[kind]:
                    return lambda frame: frame.registers[index].view(dtype)
                narrow = numpy_type(bits_of(kind))
                return lambda frame: frame.registers[index].astype(narrow).view(dtype)
            case Not(of):
                inner = self.reader(of, "pred")
                return lambda frame: ~inner(frame)
            case Immediate(literal):
                value = self.literal(literal, kind)
                return lambda frame: value
            case Special(name):
                special = self.special(name)
                return lambda frame: special(frame).astype(dtype)
            case Variable(space=space):
                if space in ("shared", "local", "global", "const"):
                    value = np.array([operand.address], np.uint64).astype(dtype)
                    return lambda frame: value
        raise self.error(f"an operand {operand}")

    def literal(self, literal: str, kind: str) -> Array:
        size = text.SIZES[kind]
        prefix = literal[:2].lower()
        try:
            if kind == "pred":
                return np.array([bool(int(literal, 0))])
            if prefix in ("0f", "0d"):
                wide = np.array([int(literal[2:], 16)], np.uint32 if prefix == "0f" else np.uint64)
                values = wide.view(np.float32 if prefix == "0f" else np.float64)
                return wide.view(numpy_type(kind)) if len(wide.tobytes()) == size else values.astype(numpy_type(kind))
            number = int(literal.removesuffix("U"), 0)
        except ValueError:
            raise self.error(f"an operand {literal}") from None
        return np.frombuffer((number % (1 << 8 * size)).to_bytes(size, "little"), numpy_type(kind))

    def special(self, name: str) -> Reader:
        base, _, axis = name.lstrip("%").partition(".")
        if base in ("tid", "ctaid", "ntid", "nctaid") and axis in ("x", "y", "z"):
            n = "xyz".index(axis)
            match base:
                case "ntid":
                    return lambda frame: np.array([frame.batch.launch.block[n]], np.uint32)
                case "nctaid":
                    return lambda frame: np.array([frame.batch.launch.grid[n]], np.uint32)
                case "tid":
                    return lambda frame: _axis(frame.batch.within, frame.batch.launch.block, n)
                case "ctaid":
                    return lambda frame: _axis(
                        frame.batch.threads // frame.batch.launch.threads, frame.batch.launch.grid, n
                    )
        if base == "laneid":
            return lambda frame: frame.batch.within % WARP
        if base == "warpid":
            return lambda frame: frame.batch.within // WARP
        raise self.error(f"an operand {name}")

    def writer(self, operand: Operand, kind: str) -> Callable[[Frame, Array], None]:
        """What sets a register, in the threads that run, to values of a type."""
        if operand == Immediate("_"):
            return lambda frame, values: None
        if not isinstance(operand, Register):
            raise self.error(f"a result {operand}")
        index, dtype = operand.index, numpy_type(bits_of(operand.type))
        if (operand.type == "pred") != (kind == "pred"):
            raise self.error(f"a result of type {operand.type}, not {kind}")
        if kind == "pred" or text.SIZES[operand.type] == text.SIZES[kind]:

            def write(frame: Frame, values: Array) -> None:
                frame.registers[index] = frame.merged(values.view(dtype), frame.registers[index])
        else:
            wide = np.dtype(f"{numpy_type(kind)().dtype.kind.replace('f', 'u')}{text.SIZES[operand.type]}")
            own = np.dtype(f"{wide.kind}{text.SIZES[kind]}")

            def write(frame: Frame, values: Array) -> None:
                values = values.view(own).astype(wide).view(dtype)
                frame.registers[index] = frame.merged(values, frame.registers[index])

        return write

    # -- instructions --

    def step(self, instruction: Instruction) -> Step:
        self.at = instruction
        head, *modifiers = instruction.opcode.split(".")
        match head:
            case "ld" | "ldu":
                step = self.load(modifiers)
            case "st":
                step = self.store(modifiers)
            case "atom" | "red":
                step = self.atomic(head, modifiers)
            case "cvta":
                step = self.to_address(modifiers)
            case "call":
                step = self.call()
            case "membar" | "fence" | "prefetch" | "prefetchu" | "nanosleep" | "griddepcontrol":
                step = lambda frame: None  # noqa: E731
            case "mov" if any(isinstance(operand, Group) for operand in instruction.operands):
                step = self.move_vector(modifiers)
            case "trap":
                step = self.trap()
            case _:
                step = self.arithmetic()
        return step if instruction.guard is None else self.guarded(step, instruction.guard)

    def guarded(self, step: Step, guard: Operand) -> Step:
        condition = self.reader(guard, "pred")

        def run(frame: Frame) -> None:
            before = frame.mask
            mask = np.broadcast_to(condition(frame), frame.batch.size)
            frame.select(mask if before is None else mask & before)
            if frame.count:
                step(frame)
            frame.select(before)

        return run

    def trap(self) -> Step:
        error = self.error("a trap")

        def run(frame: Frame) -> None:
            raise error

        return run

    def arithmetic(self) -> Step:
        known, operands = operation(self.at.opcode), self.at.operands
        if known is None or len(operands) != 1 + len(known.sources):
            raise self.error()
        compute, kinds, kind, reads, writes = known
        target, second = operands[0], None
        if isinstance(target, Group) and kind == "pred" and len(target.items) == 2 and len(kinds) == 2:
            target, other = target.items
            second = self.writer(other, "pred")
        write = self.writer(target, kind)
        sources = [self.reader(operand, each) for operand, each in zip(operands[1:], kinds, strict=True)]
        if reads or writes:
            return _carrying(compute, sources, write, reads, writes, numpy_type(kind))
        if second is not None:
            first, last = sources

            def compare(frame: Frame) -> None:
                result = compute(first(frame), last(frame))
                write(frame, result)
                second(frame, ~result)

            return compare
        match sources:
            case [only]:
                return lambda frame: write(frame, compute(only(frame)))
            case [first, last]:
                return lambda frame: write(frame, compute(first(frame), last(frame)))
            case _:
                return lambda frame: write(frame, compute(*[source(frame) for source in sources]))

    def move_vector(self, modifiers: list[str]) -> Step:
        """`mov.b64 {%r1, %r2}, %rd1` and the other way."""
        kind = modifiers[-1]
        target, source = self.at.operands
        parts = target if isinstance(target, Group) else source
        assert isinstance(parts, Group)
        if kind not in text.SIZES or text.SIZES[kind] % len(parts.items):
            raise self.error()
        part = f"b{8 * text.SIZES[kind] // len(parts.items)}"
        dtype, count = numpy_type(part), len(parts.items)
        if parts is target:
            read = self.reader(source, kind)
            writers = [self.writer(item, part) for item in parts.items]

            def unpack(frame: Frame) -> None:
                values = read(frame).view(dtype).reshape(-1, count)
                for k, write in enumerate(writers):
                    write(frame, values[:, k])

            return unpack
        readers = [self.reader(item, part) for item in parts.items]
        write_all, whole = self.writer(target, kind), numpy_type(kind)

        def pack(frame: Frame) -> None:
            values = np.stack(np.broadcast_arrays(*(read(frame) for read in readers)), axis=-1)
            write_all(frame, np.ascontiguousarray(values).view(whole).reshape(-1))

        return pack

    def to_address(self, modifiers: list[str]) -> Step:
        """Between the addresses of a space and generic ones; they differ for shared and local memory."""
        to, space = "to" in modifiers, next((flag for flag in modifiers if flag in _ALL_SPACES), None)
        if space is None or set(modifiers) - {"to", space, "u64"}:
            raise self.error()
        write, read = self.writer(self.at.operands[0], "u64"), self.reader(self.at.operands[1], "u64")
        shift = np.uint64(WINDOWS.get(space.split("::")[0], 0))
        return lambda frame: write(frame, read(frame) - shift if to else read(frame) + shift)

    # -- memory --

    def load(self, modifiers: list[str]) -> Step:
        space, kind, count, flags = self.access(modifiers)
        target, source = self.at.operands
        targets = target.items if isinstance(target, Group) else (target,)
        if len(targets) != count:
            raise self.error(f"{len(targets)} results")
        writers = [self.writer(each, kind) for each in targets]
        assert isinstance(source, Address)
        if space == "param":
            return self.load_parameter(source, writers, kind)
        address = self.address(source)
        size, dtype = text.SIZES[kind], numpy_type(bits_of(kind))
        seen = CACHED if "nc" in flags else ATOMIC if flags & _STRONG else READ
        locate = self.locator(space, size * count, seen)

        def run(frame: Frame) -> None:
            store, places = locate(frame, frame.active(address(frame)))
            memory, places = _as(store, dtype), places // size
            for k, write in enumerate(writers):
                write(frame, frame.spread(memory[places + k] if k else memory[places]))

        return run

    def store(self, modifiers: list[str]) -> Step:
        space, kind, count, flags = self.access(modifiers)
        target, source = self.at.operands
        sources = source.items if isinstance(source, Group) else (source,)
        if len(sources) != count:
            raise self.error(f"{len(sources)} values")
        assert isinstance(target, Address)
        readers = [self.reader(each, bits_of(kind)) for each in sources]
        if space == "param":
            return self.store_parameter(target, readers, kind)
        address = self.address(target)
        size, dtype = text.SIZES[kind], numpy_type(bits_of(kind))
        locate = self.locator(space, size * count, ATOMIC if flags & _STRONG else WRITE)

        def run(frame: Frame) -> None:
            store, places = locate(frame, frame.active(address(frame)))
            memory, places = _as(store, dtype), places // size
            for k, read in enumerate(readers):
                memory[places + k if k else places] = frame.active(read(frame))

        return run

    def atomic(self, head: str, modifiers: list[str]) -> Step:
        *flags, kind = modifiers
        space = next((flag for flag in flags if flag in _SPACES), "")
        name = next((flag for flag in flags if flag in _ATOMICS), None)
        known = {space, name, "noftz", "relaxed", "acquire", "release", "acq_rel", "sc", "cta", "gpu", "sys", "cluster"}
        if name is None or kind not in text.SIZES or set(flags) - known:
            raise self.error()
        operands = list(self.at.operands)
        write = self.writer(operands.pop(0), kind) if head == "atom" else lambda frame, values: None
        target = operands.pop(0)
        assert isinstance(target, Address)
        readers = [self.reader(each, kind) for each in operands]
        address, locate = self.address(target), self.locator(space, text.SIZES[kind], ATOMIC)
        change, size, dtype = _ATOMICS[name], text.SIZES[kind], numpy_type(kind)

        def run(frame: Frame) -> None:
            store, places = locate(frame, frame.active(address(frame)))
            memory, places = _as(store, dtype), places // size
            values = [frame.active(read(frame)) for read in readers]
            before = np.empty(frame.count, dtype)
            left = np.arange(frame.count)
            while len(left):  # as many times as threads meet at one address: each time, one of them
                _, first = np.unique(places[left], return_index=True)
                now = left[first]
                before[now] = memory[places[now]]
                memory[places[now]] = change(before[now], *(value[now] for value in values))
                left = np.delete(left, first)
            write(frame, frame.spread(before))

        return run

    def access(self, modifiers: list[str]) -> tuple[str, str, int, set[str]]:
        """The space of a load or store, the type of its elements, how many there are, and other modifiers."""
        *flags, kind = modifiers
        space = next((flag.split("::")[0] for flag in flags if flag in _ALL_SPACES), "")
        count = next((int(flag[1:]) for flag in flags if flag in ("v2", "v4", "v8")), 1)
        rest = {flag for flag in flags if flag not in _ALL_SPACES and flag not in ("v2", "v4", "v8")}
        if kind not in text.SIZES or rest - _STRONG - _HINTS or count * text.SIZES[kind] > 32:
            raise self.error()
        return space, kind, count, rest

    def address(self, operand: Address) -> Reader:
        base = self.reader(operand.base, "u64")
        if not operand.offset:
            return base
        offset = np.uint64(operand.offset % (1 << 64))
        return lambda frame: base(frame) + offset

    def locator(self, space: str, size: int, kind: str) -> Callable[[Frame, Array], tuple[Array | None, Array]]:
        """What turns addresses, once they are found good, into a store (None: global memory) and places in it."""
        instruction = self.at

        def misaligned(frame: Frame, addresses: Array) -> None:
            wrong = addresses & np.uint64(size - 1) != 0
            if wrong.any():
                raise fault(frame, addresses, wrong, f"not aligned to {size} bytes")

        def fault(frame: Frame, addresses: Array, wrong: Array, why: str) -> PtxError:
            at = int(np.flatnonzero(wrong)[0])
            launch, thread = frame.batch.launch, int(frame.batch.threads[frame.lanes[at]])
            return PtxError(
                f"{launch.kernel.name}, line {instruction.line}: {instruction.opcode}: {launch.describe(thread)} at "
                f"{int(addresses[at]):#x}: {why}"
            )

        def within(frame: Frame, addresses: Array, total: int, why: str) -> None:
            wrong = addresses > np.uint64(total - size) if total >= size else np.ones(len(addresses), np.bool_)
            if wrong.any():
                raise fault(frame, addresses, wrong, why)

        def in_global(frame: Frame, addresses: Array) -> tuple[None, Array]:
            misaligned(frame, addresses)
            for memory in (frame.batch.launch.memory, frame.batch.launch.kernel.program.globals):
                regions = memory.regions_of(addresses, size)
                if isinstance(regions, int) and regions:
                    frame.batch.record(instruction, kind, regions, addresses, frame.lanes, size)
                    break
            else:
                regions = frame.batch.launch.memory.regions_of(addresses, size)
                if isinstance(regions, int) or not regions.all():
                    wrong = np.broadcast_to(np.asarray(regions) == 0, len(addresses))
                    raise fault(frame, addresses, wrong, f"{size} bytes that are not in allocated memory")
                for region in np.unique(regions):
                    here = regions == region
                    frame.batch.record(instruction, kind, int(region), addresses[here], frame.lanes[here], size)
            return None, place_of(addresses)

        def in_shared(frame: Frame, addresses: Array) -> tuple[Array, Array]:
            misaligned(frame, addresses)
            within(frame, addresses, frame.batch.launch.shared_bytes, "outside shared memory")
            places = addresses.astype(np.int64) + frame.batch.shared_base[frame.lanes]
            frame.batch.record(instruction, kind, None, places, frame.lanes, size)
            return frame.batch.shared, places

        def in_local(frame: Frame, addresses: Array) -> tuple[Array, Array]:
            misaligned(frame, addresses)
            within(frame, addresses, frame.batch.launch.kernel.code.local_bytes, "outside local memory")
            return frame.batch.local, addresses.astype(np.int64) + frame.lanes * frame.batch.local_stride

        def generic(frame: Frame, addresses: Array) -> tuple[Array | None, Array]:
            windows = addresses >> np.uint64(56)
            if windows.min() != windows.max():
                raise fault(frame, addresses, windows != windows[0], "another memory than that of other threads")
            match int(windows[0]):
                case 1:
                    return in_shared(frame, addresses - np.uint64(WINDOWS["shared"]))
                case 2:
                    return in_local(frame, addresses - np.uint64(WINDOWS["local"]))
                case _:
                    return in_global(frame, addresses)

        return {"global": in_global, "const": in_global, "shared": in_shared, "local": in_local}.get(space, generic)

    # -- parameters and calls --

    def load_parameter(self, source: Address, writers: list[Callable[..., None]], kind: str) -> Step:
        dtype, size = numpy_type(bits_of(kind)), text.SIZES[kind]
        name = self.parameter(source, len(writers) * size)

        def run(frame: Frame) -> None:
            memory = frame.parameters[name]
            for k, write in enumerate(writers):
                start = source.offset + k * size
                write(frame, memory[:, start : start + size].copy().view(dtype).reshape(-1))

        return run

    def store_parameter(self, target: Address, readers: list[Reader], kind: str) -> Step:
        size = text.SIZES[kind]
        name = self.parameter(target, len(readers) * size)
        assert isinstance(target.base, Variable)
        total = target.base.size

        def run(frame: Frame) -> None:
            old = frame.parameters.get(name, np.zeros((1, total), np.uint8))
            values = [read(frame) for read in readers]
            memory = np.empty((max(len(old), *map(len, values), 1), total), np.uint8)
            memory[:] = old
            for k, value in enumerate(values):
                start = target.offset + k * size
                memory[:, start : start + size] = np.ascontiguousarray(value).view(np.uint8).reshape(-1, size)
            frame.parameters[name] = memory if frame.mask is None else np.where(frame.mask[:, None], memory, old)

        return run

    def parameter(self, address: Address, size: int) -> str:
        variable = address.base
        if not isinstance(variable, Variable) or variable.space != "param":
            raise self.error("a parameter without a name")
        if not 0 <= address.offset <= variable.size - size:
            raise self.error(f"outside the parameter {variable.name}")
        return variable.name

    def call(self) -> Step:
        operands = list(self.at.operands)
        results = operands.pop(0) if isinstance(operands[0], Group) else Group(())
        callee, *rest = operands
        arguments = rest[0] if rest else Group(())
        if not isinstance(callee, Symbol) or callee.name not in self.codes or not isinstance(arguments, Group):
            raise self.error(f"no function {callee}")
        code = self.codes[callee.name]
        given = [variable.name for variable in arguments.items if isinstance(variable, Variable)]
        wanted = [variable.name for variable in results.items if isinstance(variable, Variable)]
        parameters = [variable.name for variable in code.function.parameters]
        returned = [variable.name for variable in code.function.results]
        if len(given) != len(parameters) or len(wanted) != len(returned):
            raise self.error("other parameters than the function's")

        def run(frame: Frame) -> None:
            values = {name: frame.parameters[each] for name, each in zip(parameters, given, strict=True)}
            inner = Frame(frame.batch, code, values)
            frame.batch.run_code(inner, {0: frame.mask})
            for each, name in zip(wanted, returned, strict=True):
                frame.parameters[each] = inner.parameters[name]

        return run

    # -- control --

    def ending(self, instruction: Instruction, following: int, blocks: dict[int, int]) -> Callable[..., Any] | None:
        """How a basic block ends with this instruction, if it does."""
        self.at = instruction
        head, *modifiers = instruction.opcode.split(".")
        guard = self.reader(instruction.guard, "pred") if instruction.guard is not None else None
        following = blocks.get(following, -1)
        if head in ("ret", "exit"):
            return _branch(guard, None, following)
        if head == "bra":
            (label,) = instruction.operands
            name = label.name if isinstance(label, Symbol) else ""
            if name not in self.code.function.labels:
                raise self.error(f"no label {name}")
            return _branch(guard, blocks[self.code.function.labels[name]], following)
        if head in ("bar", "barrier"):
            waits = [flag for flag in modifiers if flag not in ("cta", "aligned")] == ["sync"]
            if not waits or len(instruction.operands) != 1 or guard is not None or not self.code.function.kernel:
                raise self.error()

            def wait(frame: Frame) -> Sequence[tuple[int, Array | None]]:
                frame.batch.waiting.append((following, instruction, frame.mask))
                return ()

            return wait
        return None


_STRONG = {"volatile", "relaxed", "acquire", "release"}
_SPACES = ("global", "shared", "local", "const", "param")
_ALL_SPACES = {*_SPACES, "shared::cta", "param::entry", "param::func"}
_HINTS = {
    *("nc", "weak", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "cta", "gpu", "sys", "cluster"),
    *("L1::no_allocate", "L1::evict_first", "L1::evict_last", "L1::evict_normal", "L1::evict_unchanged"),
    *("L2::64B", "L2::128B", "L2::256B"),
}
_ATOMICS: dict[str, Callable[..., Array]] = {
    "add": lambda old, value: old + value,
    "and": lambda old, value: old & value,
    "or": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "min": np.fmin,
    "max": np.fmax,
    "exch": lambda old, value: value,
    "cas": lambda old, expected, value: np.where(old == expected, value, old),
    "inc": lambda old, limit: np.where(old >= limit, 0, old + 1),
    "dec": lambda old, limit: np.where((old == 0) | (old > limit), limit, old - 1),
}


def _as(store: Array | None, dtype: Any) -> Array:
    return process_memory(dtype) if store is None else store.view(dtype)


def _axis(numbers: Array, sizes: tuple[int, int, int], axis: int) -> Array:
    return (numbers // prod(sizes[:axis]) % sizes[axis]).astype(np.uint32)


def _carrying(
    compute: Callable[..., Any],
    sources: list[Reader],
    write: Callable[..., None],
    reads: bool,
    writes: bool,
    dtype: Any,
) -> Step:
    def run(frame: Frame) -> None:
        carry = frame.carry.astype(dtype) if reads else np.zeros(1, dtype)
        values, flag = compute(*[source(frame) for source in sources], carry)
        write(frame, values)
        if writes:
            frame.carry = frame.merged(flag, frame.carry)

    return run


def _branch(guard: Reader | None, target: int | None, following: int) -> Callable[..., Any]:
    """To a block (None: to the end) where the guard holds, else on to the one that follows."""

    def ways(*taken: tuple[int | None, Array | None]) -> list[tuple[int, Array | None]]:
        return [(block, mask) for block, mask in taken if block is not None]

    if guard is None:
        return lambda frame: ways((target, frame.mask))

    def run(frame: Frame) -> list[tuple[int, Array | None]]:
        condition, mask = guard(frame), frame.mask
        if len(condition) == 1:
            return ways((target if condition[0] else following, mask))
        taken = condition if mask is None else condition & mask
        count = np.count_nonzero(taken)
        if count in (0, frame.count):
            return ways((target if count else following, mask))
        return ways((target, taken), (following, ~condition if mask is None else mask & ~condition))

    return run


def decode(code: Code, codes: dict[str, Code]) -> None:
    """Cut a function into basic blocks, and decode them."""
    decoder, instructions = _Decoder(code, codes), code.function.code
    starts = {0, *code.function.labels.values()}
    for n, instruction in enumerate(instructions):
        if instruction.opcode.split(".")[0] in ("bra", "ret", "exit", "bar", "barrier"):
            starts.add(n + 1)
    ordered = sorted(starts)
    blocks = {start: n for n, start in enumerate(ordered)}
    for start, stop in zip(ordered, [*ordered[1:], len(instructions)], strict=True):
        block = Block(end=_branch(None, blocks.get(stop) if stop < len(instructions) else None, -1))
        for n in range(start, stop):
            end = decoder.ending(instructions[n], n + 1, blocks)
            block.opcodes[instructions[n].opcode] += 1
            if end is not None:
                block.end = end
            else:
                block.steps.append(decoder.step(instructions[n]))
        code.blocks.append(block)
