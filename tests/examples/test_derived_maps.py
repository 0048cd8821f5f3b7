"""The maps that the code of the examples' regions tells, beside those that their authors wrote: equal, or why not.

What is compared are the elements that maps touch, for some sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import PassFailedException

from examples.binomial_options.app import lattice
from examples.bonds.app import value32
from examples.heat2d.heat import heat
from examples.minibude.app import dock
from examples.miniweather.app import FIELDS, ROWS, step
from examples.particlefilter.app import particle_filter
from hpacml.dialects.hpacml.control import MlOp
from hpacml.passes import get_pass
from hpacml.pipelines import make_context
from tests.random_nests.touched import Place, Touched
from tests.test_readme import BLOCKS, run

Sizes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """A kernel for some arguments, and how the maps of its code differ from those that are written."""

    kernel: Any
    numbers: dict[str, int]
    sizes: Sizes
    only_read: set[Place] = field(default_factory=set[Place])
    """What the code's maps read, and the written ones do not; and so on."""
    not_read: set[Place] = field(default_factory=set[Place])
    only_written: set[Place] = field(default_factory=set[Place])
    not_written: set[Place] = field(default_factory=set[Place])
    constants: dict[str, object] = field(default_factory=dict[str, object])
    why: str = ""


def lines(*names: str, n: int) -> Sizes:
    return dict.fromkeys(names, (n,))


def all_of(name: str, *ranges: range) -> set[Place]:
    places: list[tuple[int, ...]] = [()]
    for each in ranges:
        places = [(*place, i) for place in places for i in each]
    return {(name, place) for place in places}


OPTIONS = lines("S", "X", "vDt", "puByDf", "pdByDf", "prices", n=7)
BONDS: Sizes = {
    **lines("rates", "accrued", "dirty", "clean", "yields", n=6),
    **dict.fromkeys(("issues", "maturities"), (6, 4)),
}
EQUAL = {
    "heat2d": Case(heat, {}, {"t": (6, 7), "tnew": (6, 7)}),
    "heat2d, without points": Case(heat, {}, {"t": (2, 7), "tnew": (2, 7)}),
    "binomial options": Case(lattice, {"multiplier": 1, "steps": 16}, OPTIONS),
}
DIFFERENT = {
    "binomial options, three at once": Case(
        lattice,
        {"multiplier": 3, "steps": 16},
        OPTIONS,
        only_read={(name, (6,)) for name in OPTIONS if name != "prices"},
        only_written={("prices", (6,))},
        why="the code computes the option that is left over of 7 // 3 * 3; a model that takes three at once does not",
    ),
    "bonds": Case(
        value32,
        {"multiplier": 1},
        BONDS,
        not_read=all_of("issues", range(6), range(3, 4)) | all_of("maturities", range(6), range(3, 4)),
        only_written={(name, (i,)) for name in ("dirty", "clean", "yields") for i in range(6)},
        why="the network of the paper is given serial numbers of dates, which the code does not read, and gives accrued "
        "interest alone: its program leaves the other results at 0",
    ),
}
REFUSED: dict[str, tuple[Any, dict[str, object], str, str]] = {
    "minibude": (
        dock,
        {},
        "the call of @_dock_block is given 'deck_ligand_x'",
        "a pose meets all atoms, whose places in the force field are data: what is read there is no range",
    ),
    "miniweather, by rows": (
        step,
        {"sweep": ROWS, "model": None},
        "the call of @_along_x is given 'state'",
        "air is injected in the rows of which the array `inflow` says so: these are written under a condition",
    ),
    "miniweather, by fields": (
        step,
        {"sweep": FIELDS, "model": None},
        "the call of @_all_along_x is given 'state'",
        "the state is copied, changed and read again in ten kernels; the model is given the state alone, not the grid",
    ),
    "particlefilter": (
        particle_filter,
        {},
        "the call of @_likelihood is given 'video'",
        "the pixels that are read are those around particles, whose places are random numbers",
    ),
}


def derived(module: ModuleOp) -> ModuleOp:
    """The module with the maps of its code. Raises `PassFailedException`."""
    (region,) = [op for op in module.walk() if isinstance(op, MlOp)]
    bare = region.but(region.detach_region(region.body), inputs=[], outputs=[], inouts=[], truths=[], written=[])
    block = region.parent_block()
    assert block is not None
    block.insert_op_before(bare, region)
    block.erase_op(region)
    get_pass("hpacml-infer-maps")().apply(make_context(), module)
    module.verify()
    return module


def both(case: Case) -> tuple[Touched, Touched]:
    """What the code's maps touch, and what those touch that are written."""
    ours, written = (case.kernel.ir(layout="packed", constants=case.constants) for _ in range(2))
    return Touched(derived(ours), case.numbers, case.sizes), Touched(written, case.numbers, case.sizes)


@pytest.mark.parametrize("case", [*EQUAL.values(), *DIFFERENT.values()], ids=[*EQUAL, *DIFFERENT])
def test_derived_maps_are_those_that_are_written(case: Case) -> None:
    ours, theirs = both(case)
    assert ours.read == theirs.read - case.not_read | case.only_read
    assert set(ours.written) == set(theirs.written) - case.not_written | case.only_written
    assert bool(case.why) == any((case.only_read, case.not_read, case.only_written, case.not_written))


@pytest.mark.parametrize(("kernel", "constants", "message", "why"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_ranges_is_refused(kernel: Any, constants: dict[str, object], message: str, why: str) -> None:
    assert why
    with pytest.raises(PassFailedException) as error:
        derived(kernel.ir(layout="packed", constants=constants))
    assert message in str(error.value)


def test_the_kernel_of_the_readme(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = [each for each in BLOCKS if "@hpacml.kernel" in each]
    kernel = run(block, "readme_kernel", tmp_path)["heat"]
    ours, theirs = both(Case(kernel, {}, {"t": (5, 8), "tnew": (5, 8)}))
    assert ours.read == theirs.read
    assert set(ours.written) == set(theirs.written)
    text = kernel.maps()  # pyright: ignore[reportAttributeAccessIssue]
    assert "[i, j, 0:5] = ([i - 1, j], [i, j - 1], [i, j], [i, j + 1], [i + 1, j])" in text
    assert "in(heat_in(t[1 : N - 1, 1 : M - 1])) out(heat_out(tnew[1 : N - 1, 1 : M - 1]))" in text


def test_numbers_on_which_prices_depend_are_features() -> None:
    """What is written leaves out the steps of the lattice, of which all calls have as many."""
    text = lattice.maps()
    assert "binomial_in(S[0:n], X[0:n], vDt[0:n], puByDf[0:n], pdByDf[0:n], steps)" in text
