"""Regions of xDSL's `stencil`, before it is lowered: the same maps as those of the loops that it becomes."""

from __future__ import annotations

import numpy as np
import pytest

import hpacml

# `T` and `NEW` are the memory of what is loaded and stored.
STEP = """
func.func @step(%t: memref<6x10xf64>, %new: memref<6x10xf64>) {
  %a = stencil.external_load %t : memref<6x10xf64> -> !stencil.field<[-1,5]x[-1,9]xf64>
  %b = stencil.external_load %STORED : memref<6x10xf64> -> !stencil.field<[-1,5]x[-1,9]xf64>
  hpacml.ml collect label "s" database "d.h5" {
    %temp = stencil.load %a : !stencil.field<[-1,5]x[-1,9]xf64> -> !stencil.temp<?x?xf64>
    APPLY
    stencil.store %next to %b(<[0, 0], [4, 8]>) : !stencil.temp<?x?xf64> to !stencil.field<[-1,5]x[-1,9]xf64>
  }
  stencil.external_store %b to %STORED : !stencil.field<[-1,5]x[-1,9]xf64> to memref<6x10xf64>
  func.return
}
"""
ONCE = """
    %next = stencil.apply(%x = %temp : !stencil.temp<?x?xf64>) -> (!stencil.temp<?x?xf64>) {
      %west = stencil.access %x[0, -1] : !stencil.temp<?x?xf64>
      %east = stencil.access %x[0, 1] : !stencil.temp<?x?xf64>
      %sum = arith.addf %west, %east : f64
      stencil.return %sum : f64
    }
"""
TWICE = """
    %once = stencil.apply(%x = %temp : !stencil.temp<?x?xf64>) -> (!stencil.temp<?x?xf64>) {
      %here = stencil.access %x[0, 0] : !stencil.temp<?x?xf64>
      %south = stencil.access %x[1, 0] : !stencil.temp<?x?xf64>
      %sum = arith.addf %here, %south : f64
      stencil.return %sum : f64
    }
    %next = stencil.apply(%y = %once : !stencil.temp<?x?xf64>) -> (!stencil.temp<?x?xf64>) {
      %west = stencil.access %y[0, -1] : !stencil.temp<?x?xf64>
      stencil.return %west : f64
    }
"""


def inferred(apply: str, stored: str = "new") -> str:
    text = STEP.replace("APPLY", apply).replace("STORED", stored)
    return str(hpacml.compile(text, "step").ir("maps"))


def test_offsets_are_features_at_the_points_that_are_stored() -> None:
    text = inferred(ONCE)
    assert "hpacml.functor @s_in : [i, j, 0:2] = ([i, j - 1], [i, j + 1])" in text
    assert "map to @s_in(%t[1 : 5, 1 : 9])" in text
    assert "map from @s_out(%new[1 : 5, 1 : 9])" in text


def test_offsets_of_one_apply_after_another_add_up() -> None:
    assert "hpacml.functor @s_in : [i, j, 0:2] = ([i, j - 1], [i + 1, j - 1])" in inferred(TWICE)


def test_what_is_loaded_is_what_was_there_before_the_store() -> None:
    text = inferred(ONCE, "t")
    assert "map to @s_in(%t[1 : 5, 1 : 9])" in text
    assert "map from @s_out(%t[1 : 5, 1 : 9])" in text


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (ONCE.replace("stencil.access %x[0, -1] : !stencil.temp<?x?xf64>", "stencil.dyn_access %x[%i, %i] in <[0, 0]> : <[1, 1]> : !stencil.temp<?x?xf64>").replace("-> (!stencil.temp<?x?xf64>) {", "-> (!stencil.temp<?x?xf64>) {\n      %i = stencil.index 0 <[0, 0]>"), "stencil.dyn_access in a stencil.apply is not followed"),
        ("%next = stencil.load %c : !stencil.field<[-1,5]x[-1,9]xf64> -> !stencil.temp<?x?xf64>", "of a field of which no memref is known"),
    ],
    ids=["dyn_access", "field from elsewhere"],
)  # fmt: skip
def test_what_is_not_followed_is_named(apply: str, message: str) -> None:
    text = STEP.replace("APPLY", apply).replace("STORED", "new")
    text = text.replace("%new: memref<6x10xf64>)", "%new: memref<6x10xf64>, %k: i1)").replace(
        "  hpacml.ml",
        '  %c = "test.op"() : () -> !stencil.field<[-1,5]x[-1,9]xf64>\n  hpacml.ml',
    )
    with pytest.raises(hpacml.CompileError, match=message):
        hpacml.compile(text, "step").ir("maps")


def test_it_collects_when_the_stencil_is_lowered(tmp_path, monkeypatch) -> None:
    from xdsl.passes import PassPipeline
    from xdsl.transforms import get_all_passes

    monkeypatch.chdir(tmp_path)
    module = hpacml.compile(STEP.replace("APPLY", ONCE).replace("STORED", "new"), "step").ir("maps")
    lower = PassPipeline.parse_spec(get_all_passes(), "shape-inference,convert-stencil-to-ll-mlir")
    from hpacml.pipelines import make_context

    lower.apply(make_context(), module)
    step = hpacml.compile(module, "step")
    t, new = np.random.default_rng(1).random((6, 10)), np.zeros((6, 10))
    step(t, new)
    hpacml.flush()
    np.testing.assert_array_equal(new[1:5, 1:9], t[1:5, 0:8] + t[1:5, 2:10])
    with hpacml.open_database("d.h5") as database:
        x, y = database["s"].inputs[0][0], database["s"].outputs[0][0]
    np.testing.assert_array_equal(x, np.stack([t[1:5, 0:8], t[1:5, 2:10]], -1))
    np.testing.assert_array_equal(y[..., 0], new[1:5, 1:9])
