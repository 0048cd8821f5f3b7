"""The compiler: a program becomes operations of xDSL's `stencil` in a loop over time, and then a Python function."""

import ast
from functools import cache

from xdsl.dialects import arith, func, scf, stencil
from xdsl.dialects.builtin import FloatAttr, IndexType, MemRefType, ModuleOp, f64, i1
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint
from xdsl.transforms.experimental.convert_stencil_to_ll_mlir import ConvertStencilToLLMLIRPass

import hpacml
from hpacml import ir
from hpacml.pipelines import make_context

from . import surrogate
from .language import Program, offset

OPERATIONS = {ast.Add: arith.AddfOp, ast.Sub: arith.SubfOp, ast.Mult: arith.MulfOp, ast.Div: arith.DivfOp}


class Simulation:
    """A program to run on arrays float64[N, M], one for each field, in the order of the program."""

    def __init__(self, path, target=None):
        self.program = Program(path)
        self.compiled = cache(lambda shape: hpacml.compile(module(self.program, shape), self.program.name, target))

    def __call__(self, *fields, steps, mode="accurate", **params):
        """The updated fields after `steps` steps. The mode is "accurate", "collect" or "infer"."""
        program = self.program
        right = len(fields) == len(program.fields) and params.keys() == {*program.params} and fields[0].ndim == 2
        if not right or mode not in ("accurate", "collect", "infer"):
            raise TypeError(f"{program.name} takes arrays with 2 dimensions, {program.fields}, and {program.params}")
        now = {name: array.copy() for name, array in zip(program.fields, fields, strict=True)}
        new = {name: now[name].copy() for name in program.updated}
        given = *now.values(), *new.values(), *(params[name] for name in program.params)
        self.compiled(fields[0].shape)(*given, steps, mode != "accurate", mode == "infer")
        found = tuple((new if steps % 2 else now)[name] for name in program.updated)
        return found if len(found) > 1 else found[0]


def module(program, shape):
    """A module in which `stencil` is lowered, for arrays of a shape: the last values are next ones if steps are odd."""
    array, several, count = MemRefType(f64, shape), len(program.fields), len(program.updated)
    nexts = [f"next_{name}" for name in program.updated]
    names = [*program.fields, *nexts, *program.params, "steps", "active", "infer"]
    types = [*[array] * (several + count), *[f64] * len(program.params), IndexType(), i1, i1]
    function = func.FuncOp(program.name, (types, []))
    made, build = ModuleOp([function]), ir.Builder(function.body.block)
    *arrays, steps, active, infer = function.args
    values = dict(zip([*program.fields, *program.params], arrays[:several] + arrays[several + count :], strict=True))
    before = [values[name] for name in program.updated] + arrays[several : several + count]
    body = Block(arg_types=[IndexType(), *[array] * 2 * count])
    build.insert(scf.ForOp(build.index(0).ssa, steps, build.index(1).ssa, before, Region(body)))
    build.insert(func.ReturnOp())
    build.insertion_point = InsertPoint.at_end(body)
    for value, name in zip([*function.args, *body.args[1:]], [*names, *program.updated, *nexts], strict=True):
        value.name_hint = name
    now, new = body.args[1 : count + 1], body.args[count + 1 :]
    values.update(zip(program.updated, now, strict=True))
    step(build, program, shape, values, new, active, infer)
    build.insert(scf.YieldOp(*new, *now))
    ConvertStencilToLLMLIRPass().apply(make_context(), made)
    return made


def step(build, program, shape, values, new, active, infer):
    """One step: a region that a model may replace, with a `stencil.apply` as its original code."""
    reach = [max(abs(offset[d]) for _, offset in program.accesses) for d in (0, 1)]
    bounds = [(reach[d], shape[d] - reach[d]) for d in (0, 1)]
    if any(first >= end for first, end in bounds):
        line, node = max(program.accesses.items(), key=lambda access: max(map(abs, access[0][1])))[1]
        raise line.error(f"no point of {shape[0]} x {shape[1]} has such a neighbour on all sides", node)
    params = [values[name] for name in program.params]
    with surrogate.region(build, program, values, new, params, reach, active, infer):
        whole = stencil.StencilBoundsAttr.from_bounds([(0, size) for size in shape])
        inner = stencil.StencilBoundsAttr.from_bounds(bounds)
        field = stencil.FieldType(whole, f64)
        sources = [build.insert(stencil.ExternalLoadOp(values[name], field)).result for name in program.fields]
        targets = [build.insert(stencil.ExternalLoadOp(array, field)).result for array in new]
        temps = [build.insert(stencil.LoadOp(source, whole.lb, whole.ub)).res for source in sources]
        point = Block(arg_types=[*(temp.type for temp in temps), *[f64] * len(params)])
        at_point(ir.Builder(point), program, dict(zip([*program.fields, *program.params], point.args, strict=True)))
        apply = build.insert(stencil.ApplyOp([*temps, *params], point, [stencil.TempType(inner, f64)] * len(new)))
        for result, target, array in zip(apply.res, targets, new, strict=True):
            build.insert(stencil.StoreOp(result, target, inner))
            build.insert(stencil.ExternalStoreOp.build(operands=[target, array]))


def at_point(build, program, values):
    """The statements of a program at a point, whose next values are returned."""

    def value(node, line):
        match node:
            case ast.Name(id=name) if name not in program.fields:
                return values[name]
            case ast.Constant(value=number):
                op = arith.ConstantOp(FloatAttr(float(number), 64))
            case ast.BinOp():
                op = OPERATIONS[type(node.op)](value(node.left, line), value(node.right, line))
            case ast.UnaryOp():
                op = arith.NegfOp(value(node.operand, line))
            case _:
                op = stencil.AccessOp(values[getattr(node, "value", node).id], offset(node, line))
        with build.at(line.place(node)):
            return build.insert(op).results[0]

    for each in program.statements:
        values[("next", each.name) if each.is_next else each.name] = value(each.value, each.line)
    build.insert(stencil.ReturnOp([values["next", name] for name in program.updated]))
