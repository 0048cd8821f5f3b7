"""Regions that another front end builds: their maps have no text, and models and databases know them by their structure."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from xdsl.builder import Builder
from xdsl.dialects import arith, func, memref
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, MemRefType, ModuleOp, UnitAttr, f64
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint

import hpacml
from hpacml.dialects.hpacml.attributes import Direction, Mode
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.frontend.compile import compile
from hpacml.functors.polynomials import Poly
from hpacml.functors.targets import Bounds
from hpacml.functors.tensor_functor import Functor, Point
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor

Run = Callable[[np.ndarray, np.ndarray], None]
ARRAY = MemRefType(f64, [16])


def region(mode: Mode, start: int, step: int = 1, named: bool = True) -> Run:
    """A function of `t` and `u`, 16 numbers each: a region over 8 of them, which writes 5.0 at the first."""
    i = Point(Poly.name("i"))
    functor = FunctorOp("f", Functor((i,), ((i,),)))
    function = func.FuncOp("main", ([ARRAY, ARRAY], []))
    function.attributes["llvm.emit_c_interface"] = UnitAttr()
    block = function.body.block
    if named:
        block.args[0].name_hint, block.args[1].name_hint = "t", "u"
    builder = Builder(InsertPoint.at_end(block))
    part = (Bounds(start, start + 8 * step, step),)
    source = builder.insert(MapOp.infer(functor, Direction.To, [part], [block.args[0]], [], []))
    target = builder.insert(MapOp.infer(functor, Direction.From, [part], [block.args[1]], [], []))
    place = arith.ConstantOp(IntegerAttr(start, IndexType()))
    five = arith.ConstantOp(FloatAttr(5.0, f64))
    body = Region(Block([place, five, memref.StoreOp.get(five, block.args[1], [place])]))
    maps = {"inputs": [source.mapping], "outputs": [target.mapping]}
    files = {"model": str(Path("m.pt").absolute()), "database": str(Path("d.h5").absolute())}
    builder.insert(MlOp(mode, "r", body, **maps, **files, on_error="raise"))
    builder.insert(func.ReturnOp())
    call = compile(lambda: ModuleOp([functor, function]), "main")

    def run(t: np.ndarray, u: np.ndarray) -> None:
        arrays = [descriptor(array_view(each, "a")) for each in (t, u)]
        call(*map(ctypes.addressof, arrays))

    return run


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Those of a region over `[0:8]`, as its database tells them. A model trained on it is in `m.pt`."""
    monkeypatch.chdir(tmp_path)
    t, u = np.arange(16.0), np.zeros(16)
    region(Mode.Collect, 0)(t, u)
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        group = database["r"]
        np.testing.assert_array_equal(group.inputs[0][:], [t[:8]])
        np.testing.assert_array_equal(group.outputs[0][:], [[5, 0, 0, 0, 0, 0, 0, 0]])
        told = group.maps
    assert told is not None
    hpacml.save_model(torch.nn.ReLU().double(), "m.pt", example=torch.zeros(8, dtype=torch.float64), maps=told)
    return told


def test_a_model_of_the_same_maps_is_taken(maps: tuple[str, ...]) -> None:
    t, u = np.linspace(-1.0, 1.0, 16), np.zeros(16)
    region(Mode.Infer, 0)(t, u)
    np.testing.assert_array_equal(u, np.concatenate([t[:8].clip(0), np.zeros(8)]))


@pytest.mark.parametrize(("start", "step", "target"), [(8, 1, "8 : 16"), (0, 2, "0 : 16 : 2"), (1, 1, "1 : 9")])
def test_a_model_of_other_maps_is_refused(maps: tuple[str, ...], start: int, step: int, target: str) -> None:
    t, u = np.linspace(-1.0, 1.0, 16), np.zeros(16)
    with pytest.raises(hpacml.ModelError) as raised:
        region(Mode.Infer, start, step)(t, u)
    for each in "t[0 : 8]", f"t[{target}]":
        assert each in str(raised.value), (each, str(raised.value))
    np.testing.assert_array_equal(u, 0)


def test_a_database_of_other_maps_is_refused(maps: tuple[str, ...]) -> None:
    t, u = np.zeros(16), np.zeros(16)
    with pytest.raises(hpacml.DatabaseError, match=re.escape("t[8 : 16]")):
        region(Mode.Collect, 8)(t, u)
        hpacml.flush()


def test_arrays_without_names_have_numbers(maps: tuple[str, ...]) -> None:
    t, u = np.zeros(16), np.zeros(16)
    with pytest.raises(hpacml.ModelError, match=re.escape("array 0[8 : 16]")):
        region(Mode.Infer, 8, named=False)(t, u)
