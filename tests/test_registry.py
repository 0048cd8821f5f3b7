"""Names, files and documentation of passes and operations belong together."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from xdsl.parser import Parser

from hpacml.dialects import get_all_dialects
from hpacml.dialects.hpacml import Hpacml
from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.dialects.hpacml_rt import HpacmlRt
from hpacml.passes import PASS_NAMES, get_all_passes, get_pass
from hpacml.pipelines import GPU_STAGES, REPORTING, STAGES, make_context
from hpacml.universe import HPACML_UNIVERSE

FILECHECK = Path(__file__).parent / "filecheck"
OPERATIONS = [*Hpacml.operations, *HpacmlRt.operations]


@pytest.mark.parametrize("name", PASS_NAMES)
def test_pass(name: str) -> None:
    factory = get_all_passes()[name]
    assert factory() is get_pass(name)
    assert factory().name == name
    assert "becomes" in (factory().__doc__ or "")
    factory()()  # no option without a default
    assert (FILECHECK / "passes" / f"{name}.mlir").exists()


def test_the_pipelines_have_all_passes_but_those_that_say_otherwise() -> None:
    specs = [*STAGES.values(), *GPU_STAGES.values(), *REPORTING.values()]
    used = {spec.partition("{")[0] for spec in specs}
    alone = {name for name in PASS_NAMES if "It is in no pipeline" in (get_pass(name).__doc__ or "")}
    assert "hpacml-gpu-to-loops" in alone
    assert used | alone == set(PASS_NAMES)
    assert not used & alone


def test_dialects() -> None:
    dialects = {name: factory() for name, factory in get_all_dialects().items()}
    assert list(dialects.values()) == [Hpacml, HpacmlRt]
    assert [dialect.name for dialect in dialects.values()] == list(dialects) == list(HPACML_UNIVERSE.all_dialects)
    assert [f"{name}." for name in dialects] == list(PREFIXES)


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)
def test_operation(op) -> None:
    assert "Example:\n" in op.__doc__
    assert op.name in op.__doc__.split()
    assert f"{op.name} " in (FILECHECK / "dialects" / op.dialect_name() / "ops.mlir").read_text()


FUNCTORS = """
hpacml.functor @ifnctr : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
hpacml.functor @block(m) : [i, 0:m] = ([m * i : m * i + m])
hpacml.functor @rows : [i, 0:3] = ([i, 0:3])
func.func private @step(memref<?x?xf32>)
"""
OPERANDS = {
    **dict.fromkeys(["n", "m", "k", "first", "c0", "c1", "c2"], "index"),
    **dict.fromkeys(["c", "d", "ok"], "i1"),
    "ms": "f64",
    "t": "memref<?x?xf32>",
    "x": "memref<?x?x5xf32>",
    "y": "memref<?x?x1xf32>",
    "idx": "memref<?xi32>",
    "in": "!hpacml.mapping<?x?x5xf32>",
    "out": "!hpacml.mapping<?x?x1xf32>",
    **dict.fromkeys(["view", "north", "south"], "memref<?x?xf32, strided<[?, 1], offset: ?>>"),
    "row": "memref<?x?x3xf32, strided<[?, 1, 1], offset: ?>>",
}
"""The values that the examples speak of."""
OTHERS = {
    "hpacml.network": {
        "w1": "memref<24xf32>",
        "w2": "memref<9xf32>",
        **dict.fromkeys(["west", "east", "centre"], "memref<?xf32>"),
    },
    "hpacml.yield": {"next": "tensor<?x?xf32>"},
    "hpacml.infer_on_views": dict.fromkeys(["west", "east", "centre"], "memref<?xf32>"),
    "hpacml.layer": {"w": "memref<384xf32>", "x": "memref<5x128xf32>", "y": "memref<64x128xf32>"},
    "hpacml.image_layer": {"w": "memref<296xf32>", "x": "memref<4x52x102xf32>", "y": "memref<8x50x100xf32>"},
    "hpacml.verify": {"mask": "memref<?x?xi8>", "truth": "memref<?x?x1xf32>"},
    "hpacml.map": {"x": "memref<?xf64>", "pos": "memref<?x3xf32>"},
    "hpacml_rt.check_indices": {"out": "!hpacml.mapping<?xf32>"},
    "hpacml_rt.check_map": {"d": "index", "e": "index", "inside": "i1", "x": "memref<?xf32>"},
    "hpacml_rt.in_bounds": {"size": "index", "own": "memref<?xi32>"},
    "hpacml_rt.bad_index": {"index": "i64", "size": "i64", "watch": "memref<1xi32>"},
    "hpacml_rt.none_bad": {"watch": "memref<1xi32>"},
    "hpacml_rt.distinct": {
        "a": "!hpacml.indirect<?xi8>",
        "b": "memref<?x2xi8, strided<[2, 1]>>",
        "c": "!hpacml.indirect<?xi8>",
        "marks": "memref<?xi8>",
    },
    "hpacml_rt.flag_down": {"flag": "memref<1xi32>"},
    "hpacml.indirect": {
        "rows": "memref<?x3x?xf32, strided<[0, 1, 3]>>",
        "idx": "memref<?x3xi32, strided<[1, 0]>>",
    },
    "hpacml.pack": {"view": OPERANDS["row"]},
    "hpacml_rt.record": dict.fromkeys(["start", "middle", "end", "bytes", "none"], "i64"),
    "hpacml.count_points": {"mask": "memref<?x?xi8>", "at": "memref<?xi64>"},
    "hpacml.domain": {**dict.fromkeys(["low", "high", "mean"], "memref<?xf64>"), "whitening": "memref<?x?xf64>"},
    "hpacml.check_range": {"mask": "memref<?x?xi8>", "low": "memref<?xf32>", "high": "memref<?xf32>"},
    "hpacml.check_distance": {"mask": "memref<?x?xi8>", "mean": "memref<?xf64>", "w": "memref<?x?xf64>"},
    "hpacml.check_where": {"mask": "memref<?x?xi8>", "limit": "f64"},
    "hpacml.check_below": {"mask": "memref<?x?xi8>"},
    "hpacml.merge": {"mask": "memref<?x?xi8>", "original": "memref<?x?x1xf32>"},
    "hpacml.is_compared": {"mask": "memref<?x?xi8>"},
    "hpacml.take_points": {"at": "memref<?xi64>", "k": "index", "rows": "memref<?x1x5xf32>"},
    "hpacml.compare_points": {"mask": "memref<?x?xi8>", "whole": "memref<?x?x1xf32>"},
    "hpacml.body_where": {"mask": "memref<?x?xi8>"},
    "hpacml.body_aside": {"truth": "memref<?x?x1xf32>"},
    "hpacml.call_python": {"a": "memref<?xf32>", "b": "memref<?xf32>", "n": "index"},
    "hpacml.require_equal": {"points": "index", "wanted": "index"},
    "hpacml.fused_scatter": {"x": "memref<?xf32>", "y": "memref<?xf64>", "t": "memref<?x2xf64>"},
}


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)
def test_example(op) -> None:
    """The examples parse and verify, each statement by itself."""
    found = re.search(r"```mlir\n(.*?)```", textwrap.dedent(op.__doc__), re.DOTALL)
    assert found
    text = re.sub(r"//.*\n", "", found[1])
    for statement in re.split(r"\n(?=[^ }])", text.strip()):
        operands = OPERANDS | OTHERS.get(op.name, {})
        used = dict.fromkeys(re.findall(r"%(\w+)", re.sub(r"^%\w+(, %\w+)* =", "", statement)))
        arguments = ", ".join(f"%{name}: {operands[name]}" for name in used)
        function = f"func.func @example({arguments}) {{\n{statement}\nfunc.return\n}}"
        whole = statement if op.name == "hpacml.functor" else FUNCTORS + function
        module = Parser(make_context(), whole).parse_module()
        module.verify()
        assert any(isinstance(each, op) for each in module.walk())
