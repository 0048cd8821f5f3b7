"""`hpacml.ir`: the builder with which other compilers make functors, maps and regions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from xdsl.builder import ImplicitBuilder
from xdsl.dialects import arith, func, memref, scf
from xdsl.dialects.builtin import FloatAttr, IndexType, MemRefType, ModuleOp, f32, f64, i1, i32
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint

import hpacml
from hpacml import ir
from hpacml.backend import assembly
from hpacml.directives.recorded import read_map
from tests.simulated_gpu import simulated

VECTOR = MemRefType(f64, [-(1 << 63)])
TYPES = {
    "t": VECTOR,
    "new": VECTOR,
    "n": IndexType(),
    "use": i1,
    "k": f64,
    "small": f32,
    "count": i32,
    "idx": MemRefType(i32, [4]),
    "grid": MemRefType(f32, [4, 6]),
}


class Program:
    """A module of one function, whose arguments have the given names, and a builder at its end."""

    def __init__(self, *names: str):
        self.function = func.FuncOp("run", ([TYPES[name] for name in names], []))
        self.module = ModuleOp([self.function])
        for argument, name in zip(self.function.args, names, strict=True):
            argument.name_hint = name
            setattr(self, name, argument)
        self.build = ir.Builder(self.function.body.block)

    def finish(self) -> ModuleOp:
        self.build.insert(func.ReturnOp())
        self.module.verify()
        return self.module

    def smooth(self, first: ir.Index, end: ir.Index) -> None:
        """`new[first:end] = 0.5 * (t[first - 1 : end - 1] + t[first + 1 : end + 1])`"""
        build = self.build
        half = build.insert(arith.ConstantOp(FloatAttr(0.5, 64))).result
        body = Block(arg_types=[IndexType()])
        i = body.args[0]
        inside = ir.Builder(body, module=self.module)
        left, right = (inside.insert(memref.LoadOp.get(self.t, [(inside.index(i) + d).ssa])).res for d in (-1, 1))
        total = inside.insert(arith.AddfOp(left, right)).result
        mean = inside.insert(arith.MulfOp(total, half)).result
        inside.insert(memref.StoreOp.get(mean, self.new, [i]))
        inside.insert(scf.YieldOp())
        build.insert(scf.ForOp(first.ssa, end.ssa, build.index(1).ssa, [], Region(body)))


def lines(op: object) -> list[str]:
    return [line.strip() for line in str(op).splitlines()]


# -- functors and maps -----------------------------------------------------------------------------


def test_three_forms_of_a_functor_are_one() -> None:
    program = Program("t")
    i, j = ir.symbols("i j")
    near = program.build.functor("near: [i, j, 0:3] = ([i-1, j], [i+1, j], [i, j])")
    assert program.build.functor([(-1, 0), (1, 0), (0, 0)], name="near") is near
    assert program.build.functor([i, j, slice(0, 3)], [[i - 1, j], [1 + i, j], [i, j]], name="near") is near
    unnamed = program.build.functor([(-1, 0), (1, 0), (0, 0)])
    assert unnamed is not near
    assert program.build.functor([(-1, 0), (1, 0), (0, 0)]) is unnamed
    assert program.build.functor([-1, 1]).declaration == "functor_1: [i, 0:2] = ([i - 1], [i + 1])"


def test_functors_with_ranges_and_parameters() -> None:
    build = Program("t").build
    i, m = ir.symbols("i m")
    block = build.functor([i, slice(None, m)], [[slice(m * i, m * i + m)]], name="block", params=["m"])
    assert build.functor("block: [i, 0:m] = ([m*i : m*i+m])", params=["m"]) is block
    strided = build.functor([i, slice(0, 3)], [[slice(i, i + 6, 2)]])
    assert strided.declaration == "functor: [i, 0:3] = ([i : i + 6 : 2])"
    assert str(2 - i) == "-i + 2"
    assert str(-(i * i) - 3) == "-i * i - 3"


def test_bounds_are_computed() -> None:
    program = Program("t", "n", "count")
    build = program.build
    n = build.index(program.n)
    mapping = build.map_to([0], ir.target(program.t)[2 * n - 1 : build.index(program.count) + n * n : 1])
    assert mapping.owner.applied == "functor(t[2 * n - 1 : ? + n * n])"
    assert (build.index(3) * 4 - 5).value == 7
    assert (1 - build.index(3)).value == -2
    assert (-build.index(3)).value == -3
    assert (n + 0).value is program.n
    program.finish()


def test_ranges_without_ends_and_whole_arrays() -> None:
    program = Program("t", "grid")
    build = program.build
    assert build.size(program.grid, 1).value == 6
    rows = build.map_to([(0, 0)], ir.target(program.grid)[1:, 2:5])
    assert str(rows.type) == "!hpacml.mapping<3x3x1xf32>"
    assert rows.owner.applied == "functor(grid[1:, 2:5])"
    assert str(build.map_from([(0, 0)], program.grid).type) == "!hpacml.mapping<4x6x1xf32>"
    whole = build.map_inout([0], program.t)
    assert str(whole.type) == "!hpacml.mapping<?x1xf64>"
    assert isinstance(whole.owner.bounds[0].owner, memref.DimOp)
    backwards = build.map_to([(0, 0)], ir.target(program.grid)[3:-1:-1, 0:6])
    assert str(backwards.type) == "!hpacml.mapping<4x6x1xf32>"
    column = build.map_to("column: [i, 0:1] = ([i, 5])", ir.target(program.grid)[0:4, 5])
    assert str(column.type) == "!hpacml.mapping<4x1xf32>"
    program.finish()


def test_numbers_with_names_are_recorded_by_them() -> None:
    program = Program("grid", "k", "idx")
    build = program.build
    n, m = (build.size(program.grid, d, name) for d, name in enumerate("NM"))
    twice = build.map_to(
        [(-1, 0), (1, 0), (0, 0)], *[ir.target(program.grid)[1 : n - 1, m - 2 * (n - 3) :]] * 2, program.k
    )
    assert (
        twice.owner.applied == "functor(grid[1 : N - 1, M - (2 * (N - 3)) :], grid[1 : N - 1, M - (2 * (N - 3)) :], k)"
    )
    assert str(twice.type) == "!hpacml.mapping<2x2x3xf64>"
    picked = build.map_to([(0, 0)], ir.target(program.grid)[ir.target(program.idx)[0 : build.index(3, "few")], 0:6:2])
    assert picked.owner.applied == "functor_1(grid[idx[0:few], 0:6:2])"
    assert read_map(f"to: {build.functor([(0, 0)]).declaration} | {picked.owner.applied}").targets is not None
    program.finish()


def test_indirect_targets() -> None:
    program = Program("grid", "idx")
    picked = ir.target(program.grid)[ir.target(program.idx)[0:4], 0:6]
    mapping = program.build.map_to([(0, 0)], picked, unchecked=True)
    assert mapping.owner.applied == "functor(grid[idx[0 : 4], 0 : 6])"
    assert mapping.owner.unchecked is not None
    program.finish()


def test_parameters_have_values() -> None:
    program = Program("t", "n")
    build = program.build
    block = build.functor("block: [i, 0:m] = ([m*i : m*i+m])", params=["m"])
    mapping = build.map_to(block, ir.target(program.t)[0:8], params={"m": build.index(program.n) + 1})
    assert mapping.owner.applied == "block(t[0 : 8]) params(n + 1)"
    program.finish()


# -- regions ---------------------------------------------------------------------------------------


def smoothing(number: bool = False) -> Program:
    program = Program("t", "new", "use", "k")
    build = program.build
    first, end = build.index(1), build.size(program.t, 0) - 1
    inside = ir.target(program.t)[first:end]
    if number:
        sides = build.map_to([-1, 1, 0], inside, inside, program.k)
    else:
        sides = build.map_to([-1, 1], inside)
    point = build.map_from([0], ir.target(program.new)[first:end])
    files = {"model": Path("net.safetensors"), "database": "smooth.h5"}
    with build.ml_region("predicated", "smooth", condition=program.use, inputs=[sides], outputs=[point], **files):
        program.smooth(first, end)
    program.finish()
    return program


@pytest.mark.parametrize("number", [False, True])
def test_a_region_collects_and_infers(number: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    smooth = hpacml.compile(smoothing(number).module, "run")
    t, new = np.random.default_rng(0).random(10), np.zeros(10)
    smooth(t, new, False, 0.25)
    np.testing.assert_array_equal(new[1:-1], 0.5 * (t[:-2] + t[2:]))
    hpacml.flush()
    with hpacml.open_database("smooth.h5") as database:
        x = np.array(database["smooth"].inputs[0])
    np.testing.assert_array_equal(x[0, :, :2], np.stack([t[:-2], t[2:]], 1))
    assert not number or (x[0, :, 2] == 0.25).all()
    net = torch.nn.Linear(2 + number, 1).double()
    hpacml.save_model(net, "net.safetensors", example=torch.zeros(3, 2 + number, dtype=torch.float64))
    smooth(t, new, True, 0.25)
    np.testing.assert_allclose(new[1:-1], net(torch.tensor(x[0])).detach().numpy()[:, 0], rtol=1e-12)


def test_numbers_are_sources_on_gpus_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program("t", "new", "k")
    point = program.build.map_to([0, 0], program.t, program.k)
    target = program.build.map_from([0], program.new)
    with program.build.ml_region("collect", "r", inputs=[point], outputs=[target], database="d.h5"):
        body = Block(arg_types=[IndexType()])
        body.add_op(memref.StoreOp.get(program.k, program.new, [body.args[0]]))
        body.add_op(scf.ReduceOp())
        zero, one = program.build.index(0).ssa, program.build.index(1).ssa
        end = program.build.size(program.new, 0).ssa
        program.build.insert(scf.ParallelOp([zero], [end], [one], Region(body)))
    module = program.finish()
    assert assembly.ptx(module.clone(), "sm_90").count(".entry") >= 3
    with simulated(monkeypatch) as (device,):
        new = np.zeros(4)
        hpacml.compile(module, "run", target="gpu")(np.arange(4.0), new, 0.25)
        assert device.launched
        assert (new == 0.25).all()
        hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        assert np.array(database["r"].inputs[0])[0].tolist() == [[0, 0.25], [1, 0.25], [2, 0.25], [3, 0.25]]


def test_numbers_take_the_type_of_the_arrays() -> None:
    program = Program("grid", "small", "count", "n")
    build = program.build
    mapping = build.map_to([(0, 0)] * 4, program.grid, 0.5, program.small, 2)
    assert str(mapping.type) == "!hpacml.mapping<4x6x4xf32>"
    assert [str(each.type) for each in mapping.owner.arrays[1:]] == ["memref<1x1xf32>"] * 3
    one = build.map_to([0, 0, 0], program.count, program.n, True)
    assert [str(each.type) for each in one.owner.arrays] == ["memref<1xi32>", "memref<1xi64>", "memref<1xi1>"]
    program.finish()


def test_memory_of_numbers_is_freed_behind_the_region() -> None:
    program = smoothing(number=True)
    kinds = [op.name for op in program.function.body.block.ops]
    assert kinds[-3:] == ["hpacml.ml", "memref.dealloc", "func.return"]
    assert kinds.count("memref.alloc") == 1


def test_all_clauses() -> None:
    program = Program("t", "new", "use", "k", "n", "count")
    build = program.build
    maps = [
        build.map_to([0], program.t),
        build.map_from([0], program.new),
        build.map_inout([0], program.t),
        build.map_to([0], program.new),
    ]
    op = None
    with build.ml_region(
        "predicated",
        "all",
        condition=program.use,
        if_condition=program.use,
        inputs=[maps[0]],
        outputs=[maps[1]],
        inouts=[maps[2]],
        truths=[maps[3], maps[0]],
        model="m.pt2",
        database="d.h5",
        batch=64,
        on_error="accurate",
        engine="torch",
        sample={"every": 10, "most": 5},
        units={"t": "K"},
        meta={"k": program.k, "n": program.n, "count": program.count, "two": 2},
    ) as body:
        op = body.parent_op()
        program.build.insert(memref.StoreOp.get(program.k, program.new, [build.index(0).ssa]))
    program.finish()
    printed = next(line for line in lines(program.module) if line.startswith("hpacml.ml"))
    end = printed[printed.index("numbers(") :]
    assert re.sub(r"%\w+", "%", end) == (
        'numbers(%, %, %, %) label "all" model "m.pt2" batch 64 on_error "accurate" engine "torch" '
        'database "d.h5" sample <every: 10, most: 5> units <t: "K"> meta ["k", "n", "count", "two"] {'
    )
    assert op is not None
    assert len(op.operands) == 2 + 5 + 4


@pytest.mark.parametrize("guard", [ir.Guard(range=True), {"range": True}])
def test_guards(guard: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(10.0)
    hpacml.save_model(net, "m.pt2", example=(torch.rand(3, 1),), domain=(torch.tensor([[0.0], [1.0]]),))
    program = Program("t", "new")
    build = program.build
    maps = build.map_to([0], program.t), build.map_from([0], program.new)
    with build.ml_region(
        "infer",
        "r",
        inputs=maps[:1],
        outputs=maps[1:],
        model="m.pt2",
        guard=guard,
        where="old > limit",
        where_points={"old": maps[0]},
        where_numbers={"limit": 0.25},
        verify={"every": 100, "tolerance": 100.0},
        clip=[(None, 6.0)],
    ):
        build.insert(memref.CopyOp(program.t, program.new))
    run = hpacml.compile(program.finish(), "run")
    t, new = np.linspace(-1.0, 2.0, 13), np.zeros(13)
    run(t, new)
    run(t, new)
    used = (t > 0.25) & (t <= 1)
    np.testing.assert_allclose(new, np.where(used, np.minimum(10 * t, 6.0), t))


@pytest.mark.parametrize("sample", [ir.Sampling(every=2), {"every": 2}])
def test_sampling(sample: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program("t", "new")
    maps = program.build.map_to([0], program.t), program.build.map_from([0], program.new)
    with program.build.ml_region("collect", "r", inputs=maps[:1], outputs=maps[1:], database="d.h5", sample=sample):
        program.build.insert(memref.CopyOp(program.t, program.new))
    copy = hpacml.compile(program.finish(), "run")
    for _ in range(4):
        copy(np.arange(3.0), np.zeros(3))
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        assert len(database["r"]) == 2


def test_existing_operations_become_a_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program("t", "new")
    build = program.build
    first, end = build.index(1), build.size(program.t, 0) - 1
    before = program.function.body.block.last_op
    program.smooth(first, end)
    ops = [op for op in program.function.body.block.ops if before.is_before_in_block(op)]
    build.insertion_point = InsertPoint.before(ops[0])
    inputs = [build.map_to([-1, 1], ir.target(program.t)[1:end])]
    outputs = [build.map_from([0], ir.target(program.new)[1:end])]
    region = build.enclose(ops, "collect", "smooth", inputs=inputs, outputs=outputs, database="d.h5")
    assert [*region.body.block.ops] == ops
    module = program.finish()
    t, new = np.random.default_rng(0).random(10), np.zeros(10)
    hpacml.compile(module, "run")(t, new)
    np.testing.assert_array_equal(new[1:-1], 0.5 * (t[:-2] + t[2:]))
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        assert len(database["smooth"]) == 1


def test_regions_without_maps_get_those_of_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program("t", "new")
    first, end = program.build.index(1), program.build.size(program.t, 0) - 1
    with program.build.ml_region("collect", "smooth", database="d.h5", units={"t": "K"}):
        program.smooth(first, end)
    smooth = hpacml.compile(program.finish(), "run")
    assert "([i - 1], [i + 1])" in str(smooth.ir("maps"))
    assert 'units <t: "K">' in str(smooth.ir("maps"))
    smooth(np.arange(5.0), np.zeros(5))
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        assert np.array(database["smooth"].inputs[0])[0].tolist() == [[0, 2], [1, 3], [2, 4]]


def test_beside_implicit_builders() -> None:
    program = Program("t", "new", "k")
    with ImplicitBuilder(program.build):
        zero = arith.ConstantOp.from_int_and_width(0, IndexType()).result
        maps = program.build.map_to([0], program.t), program.build.map_from([0], program.new)
        with program.build.ml_region("collect", "r", inputs=maps[:1], outputs=maps[1:]):
            memref.StoreOp.get(program.k, program.new, [zero])
    program.finish()
    (region,) = (op for op in program.module.walk() if op.name == "hpacml.ml")
    assert [op.name for op in region.body.block.ops] == ["memref.store"]


# -- places and errors -----------------------------------------------------------------------------


def test_what_is_built_has_the_place_in_the_source() -> None:
    program = Program("t", "new", "k")
    with program.build.at(("heat.dsl", 3, 5)):
        maps = program.build.map_to([0, 0], program.t, program.k), program.build.map_from([0], program.new)
        with program.build.at(("heat.dsl", 4, 1)):
            program.build.size(program.t, 0)
        with program.build.ml_region("collect", "r", inputs=maps[:1], outputs=maps[1:]):
            program.build.insert(memref.CopyOp(program.t, program.new))
    program.finish()
    places = {str(op.location) for op in program.function.body.block.ops if op.name != "func.return"}
    assert places == {'loc("heat.dsl":3:5)', 'loc("heat.dsl":4:1)'}


def test_errors_tell_the_place_and_show_the_line(tmp_path: Path) -> None:
    source = tmp_path / "heat.dsl"
    source.write_text("field t\n  t = t[-1] + t[1]\n")
    program = Program("t")
    with pytest.raises(hpacml.MapError) as error, program.build.at((str(source), 2, 3)):
        program.build.map_to([(0, 0)], ir.target(program.t)[0:4])
    assert str(error.value) == (
        f"{source}:2:3: the slice [i, j] has 2 entries, but the target 't' has 1 dimension\n"
        "    t = t[-1] + t[1]\n"
        "    ^^^^^^^^^^^^^^^^"
    )


def test_errors_in_directive_text_show_it() -> None:
    program = Program("t")
    message = r"^heat\.dsl:2:3: .*\n  f: \[i\] = \(\[i \* i\]\)\n +\^"
    with program.build.at(("heat.dsl", 2, 3)), pytest.raises(hpacml.DirectiveError, match=message):
        program.build.functor("f: [i] = ([i * i])")


def test_a_call_that_does_not_fit_tells_the_place(tmp_path: Path) -> None:
    program = Program("t", "new", "n")
    with program.build.at(("heat.dsl", 7, 1)):
        maps = (
            program.build.map_to([0], ir.target(program.t)[0 : program.n]),
            program.build.map_from([0], ir.target(program.new)[0 : program.n]),
        )
        with program.build.ml_region("collect", "r", inputs=maps[:1], outputs=maps[1:], database=tmp_path / "d.h5"):
            program.build.insert(memref.CopyOp(program.t, program.new))
    run = hpacml.compile(program.finish(), "run")
    with pytest.raises(hpacml.MapError, match=r"t\[0 : n\]|'t'"):
        run(np.zeros(3), np.zeros(3), 5)


def functor_errors(program: Program) -> dict[str, object]:
    build = program.build
    i, j = ir.symbols("i j")
    return {
        "offset 1, 1, is of 1 dimensions and offset 0, (-1, 0), of 2": lambda: build.functor([(-1, 0), (1,)]),
        "there are no offsets": lambda: build.functor([]),
        "offset 0 has 0.5, and offsets are integers": lambda: build.functor([(0.5, 0)]),
        "offset 1 has True": lambda: build.functor([0, True]),
        "does not fit 64 bits": lambda: build.functor([1 << 63]),
        "offset 1, 1, is of 1 dimensions and offset 0, (0, 0), of 2": lambda: build.functor([(0, 0), 1]),
        "the symbol 'i' stands twice": lambda: build.functor([i, i], [[i]]),
        "entry 1 of slice 0 is 'x'": lambda: build.functor([i, j], [[i, "x"]]),
        "entry 1 of the left side is a range without an end": lambda: build.functor([i, slice(0, None)], [[i]]),
        "0.5 is in a sum of symbols": lambda: build.functor([i], [[i + 0.5]]),
        "'1i' cannot be the name of a symbol": lambda: ir.symbols("1i"),
        "expected": lambda: build.functor("f: [i = ([i])"),
        "the name 'run' is taken, by of func.func": lambda: build.functor([0], name="run"),
        "has its name and its slices": lambda: build.functor("f: [i] = ([i])", name="g"),
        "leave 'params' out": lambda: build.functor([0], params=["i"]),
    }


def map_errors(program: Program) -> dict[str, object]:
    build = program.build
    t, grid, n = program.t, program.grid, build.index(program.n)
    block = build.functor("block: [i, 0:m] = ([m*i : m*i+m])", params=["m"])
    return {
        "the target of 'grid' has 1 entry, but the array 2 dimensions": lambda: build.map_to([0], ir.target(grid)[0:4]),
        "the slice [i] has 1 entry, but the target 'grid' has 2 dimensions": lambda: build.map_to([0], grid),
        "the functor has 3 slices on its right side but is applied to 2 targets": lambda: build.map_to([0, 1, 2], t, t),
        "'m' has no value": lambda: build.map_to(block, t),
        "'k' is no parameter of": lambda: build.map_to([0], t, params={"k": 2}),
        "'n' of type index is no array": lambda: ir.target(program.n),
        "'use' of type i1 is given as an integer": lambda: build.map_to([0], ir.target(t)[0 : program.use]),
        "1.5 is given as an integer": lambda: n + 1.5,
        "'n' is 4, and cannot be the name of 6, too": lambda: (build.size(grid, 0, "n"), build.size(grid, 1, "n")),
        "'2n' cannot be the name of an integer": lambda: build.index(3, "2n"),
        "has no dimension 2": lambda: build.size(grid, 2),
        "may run backwards: give it a start and a stop": lambda: build.map_to([0], ir.target(t)[::-1]),
        "a number cannot be written": lambda: build.map_from([0], program.k),
        "reaches index -1 in dimension 0 of 'grid', which has 4 elements": lambda: build.map_to(
            [(-1, 0)], ir.target(grid)[0:4, 0:6]
        ),
        "is given as indices|is used as indices": lambda: build.map_to(
            [(0, 0)], ir.target(grid)[ir.target(t)[0:4], 0:6]
        ),
        "the number 9223372036854775808 does not fit": lambda: build.map_to([0], ir.target(t)[0 : 1 << 63]),
        "applied to 2 targets": lambda: build.map_to([0, 1, 2], program.k, t),
    }


def clause_errors(program: Program) -> dict[str, object]:
    build = program.build
    x, y = build.map_to([0], program.t), build.map_from([0], program.new)

    def region(mode: str = "collect", **clauses: object) -> object:
        def make() -> None:
            with build.ml_region(mode, "r", **{"inputs": [x], "outputs": [y], **clauses}):
                build.insert(memref.CopyOp(program.t, program.new))

        return make

    return {
        "no clause 'modle'; did you mean 'model'": region(modle="m.pt2"),
        "no clause 'in'; did you mean 'inputs'": region(**{"in": [x]}),
        "no mode 'collct'; did you mean 'collect'": region("collct"),
        "a condition belongs to mode 'predicated'": region("predicated"),
        "'condition' is 'k' of type f64, and takes a value of type i1": region("predicated", condition=program.k),
        "'if_condition' is True": region(if_condition=True),
        "'inputs' has 't' of type memref<?xf64>, and takes mappings": region(inputs=[program.t]),
        "'inputs' takes a list of mappings": region(inputs=x),
        "an input is mapped by a 'from' map": region(inputs=[y]),
        "an output is mapped by a 'to' map": region(outputs=[x]),
        "at least one input and one output": region(outputs=[]),
        "'model' is a path, and this is 3": region(model=3),
        "'batch' is a number of rows": region(batch=True),
        "engine is one of auto, torch, compiled": region(engine="jax"),
        "on_error is one of raise, accurate": region(on_error="ignore"),
        "'sample' has no 'evry'; did you mean 'every'": region(sample={"evry": 2}),
        "'every' is an integer, 1 or more": region(sample={"every": 0}),
        "a region that only infers has nothing to sample": region("infer", sample={"every": 2}),
        "'guard' has no 'rnge'": region(guard={"rnge": True}),
        "'margin' widens the ranges": region(guard={"margin": 0.1}),
        "'guard' takes Guard(...) or its settings": region(guard=3),
        "'verify' needs more settings": region(verify={"every": 2}),
        "'where' is the text of a condition": region(where=3),
        "'clip' has 3": region(clip=[3]),
        "the lower bound, 2.0, is above": region(clip=[(2, 1)]),
        "'u' is no array of the region's maps": region(units={"u": "K"}),
        "the unit of 't' is text": region(units={"t": 3}),
        "'step' in 'meta' is 'use' of type i1": region(meta={"step": program.use}),
        "'step' in 'meta' is 'now'": region(meta={"step": "now"}),
        "2 truths stand for 1 outputs": region(truths=[x, x]),
    }


NAMES = ("t", "new", "grid", "n", "use", "k")
CASES = [functor_errors, map_errors, clause_errors]


@pytest.mark.parametrize(
    ("errors", "message"),
    [(errors, message) for errors in CASES for message in errors(Program(*NAMES))],
)
def test_errors(errors: object, message: str) -> None:
    program = Program(*NAMES)
    made = errors(program)
    with pytest.raises(hpacml.HpacmlError) as error:
        made[message]()
    assert any(part in str(error.value) for part in message.split("|")), str(error.value)
    program.finish()  # what failed has left nothing behind that is wrong


def test_regions_without_code_are_refused() -> None:
    program = Program("t", "new")
    maps = program.build.map_to([0], program.t), program.build.map_from([0], program.new)
    clauses = {"inputs": maps[:1], "outputs": maps[1:]}
    empty = program.build.ml_region("collect", "r", **clauses)
    with pytest.raises(hpacml.DirectiveError, match="the region 'r' has no original code"), empty:
        pass
    with program.build.ml_region("infer", "r", on_error="raise", model="m.pt2", **clauses):
        pass


def test_a_map_with_numbers_is_of_one_region() -> None:
    program = Program("t", "new", "k")
    maps = program.build.map_to([0, 0], program.t, program.k), program.build.map_from([0], program.new)

    def region(label: str) -> None:
        with program.build.ml_region("collect", label, inputs=maps[:1], outputs=maps[1:]):
            program.build.insert(memref.CopyOp(program.t, program.new))

    region("one")
    with pytest.raises(hpacml.DirectiveError, match="memory another region has freed"):
        region("other")
    program.finish()


def test_what_cannot_be_enclosed() -> None:
    program = Program("t", "new", "k")
    build = program.build
    maps = build.map_to([0], program.t), build.map_from([0], program.new)
    clauses = {"inputs": maps[:1], "outputs": maps[1:]}
    zero = build.insert(arith.ConstantOp.from_int_and_width(0, IndexType()))
    store = build.insert(memref.StoreOp.get(program.k, program.new, [zero.result]))
    copy = build.insert(memref.CopyOp(program.t, program.new))
    for ops, message in [
        ([], "no operations"),
        ([zero, copy], "memref.copy does not follow arith.constant"),
        ([zero], "memref.store, outside of the region, uses a result of arith.constant"),
        ([memref.CopyOp(program.t, program.new)], "memref.copy is in no block"),
        ([maps[1].owner, zero, store], "hpacml.map, which the region 'r' uses, does not stand before"),
    ]:
        with pytest.raises(hpacml.DirectiveError, match=message):
            build.enclose(ops, "collect", "r", **clauses)


def test_maps_stand_before_what_is_enclosed() -> None:
    program = Program("t", "new")
    copy = program.build.insert(memref.CopyOp(program.t, program.new))
    maps = program.build.map_to([0], program.t), program.build.map_from([0], program.new)
    with pytest.raises(hpacml.DirectiveError, match=r"hpacml\.map, which the region 'r' uses, does not stand before"):
        program.build.enclose([copy], "collect", "r", inputs=maps[:1], outputs=maps[1:])


def test_a_map_with_numbers_is_where_its_region_is() -> None:
    """Else the region would free its memory each time that it runs."""
    program = Program("t", "new", "k")
    build = program.build
    maps = build.map_to([0, 0], program.t, program.k), build.map_from([0], program.new)
    build.insertion_point = InsertPoint.at_end(Block(arg_types=[IndexType()]))
    region = build.ml_region("collect", "r", inputs=maps[:1], outputs=maps[1:])
    with pytest.raises(hpacml.DirectiveError, match="a map with numbers of another block"), region:
        pass


def test_a_builder_outside_of_modules() -> None:
    block = Block(arg_types=[VECTOR])
    with pytest.raises(hpacml.DirectiveError, match="inserts into no module"):
        ir.Builder(block).functor([0])
    module = ModuleOp([])
    ir.Builder(block, module=module).functor([0])
    assert [op.name for op in module.body.block.ops] == ["hpacml.functor"]


def test_it_needs_no_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None
import hpacml
assert "xdsl" not in sys.modules
from xdsl.dialects.builtin import ModuleOp, MemRefType, f64
from xdsl.ir import Block
build = hpacml.ir.Builder(Block(arg_types=[MemRefType(f64, [4])]), module=ModuleOp([]))
build.map_to([0, 0], build.insertion_point.block.args[0], 0.5)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
