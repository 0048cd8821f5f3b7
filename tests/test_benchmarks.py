"""The harness of the benchmarks: what it says of given times, and in which order it takes them."""

from functools import partial

import pytest

from benchmarks import gather, harness, tables
from benchmarks.harness import Aim, Comparison, Spread, Turn, summary


def turns(*walls: float) -> list[Turn]:
    return [Turn(wall, 2 * wall) for wall in walls]


def test_a_summary_has_quartiles_and_what_is_paired_in_rounds() -> None:
    found = summary({"ours": turns(1, 2, 3, 4, 5), "copy": turns(2, 2, 2, 8, 1)}, ["copy"])
    assert found["ours"].wall == Spread(2, 3, 4)
    assert found["ours"].cpu == Spread(4, 6, 8)
    # Ratios of the rounds are 0.5, 1, 1.5, 0.5, 5, whose median is not the ratio of medians, 1.5.
    for clock, factor in (("wall", 1), ("cpu", 2)):
        assert found["ours"].ratios[clock] == {"copy": Spread(0.5, 1, 1.5)}
        assert found["ours"].beyond[clock] == {"copy": Spread(-1 * factor, 0, 1 * factor)}
        assert found["copy"].ratios[clock] == {"copy": Spread(1, 1, 1)}


def test_aims_are_bounds_of_ratios_differences_and_seconds() -> None:
    ways = summary({"a": turns(1, 2, 3), "b": turns(2, 4, 6)}, ["a", "b"])
    for aim, median, reached in (
        (Aim("", "a", to="b", most=0.5), 0.5, True),
        (Aim("", "b", to="a", most=1.9), 2, False),
        (Aim("", "b", to="a", least=2), 2, True),
        (Aim("", "b", to="a", least=2.1), 2, False),
        (Aim("", "b", beyond="a", most=3), 4, False),
        (Aim("", "b", beyond="a", most=3, clock="wall"), 2, True),
        (Aim("", "a", most=4), 4, True),
    ):
        assert (aim.measured(ways).median, aim.reached(ways)) == (median, reached)


def test_calls_take_turns_and_each_begins_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TURN", 0)  # so that none is repeated
    order: list[str] = []
    found = harness.rounds({name: lambda name=name: order.append(name) for name in "abc"}, 6)
    assert {name: len(taken) for name, taken in found.items()} == dict.fromkeys("abc", 6)
    assert all(turn.wall > 0 for taken in found.values() for turn in taken)
    # Each is tried; then it is called twice at its turn, and every second round goes backwards.
    assert "".join(order[::2]) == "abc" + "abc" + "acb" + "cab" + "cba" + "bca" + "bac"
    assert order[::2] == order[1::2]


def test_tables_say_what_was_not_measured() -> None:
    ways = summary({"ours": turns(0.001), "copy": turns(0.002)}, ["ours", "copy"])
    aims = Aim("half", "ours", to="copy", most=0.6), Aim("of numba", "ours", to="numba", most=1.5)
    shown = Comparison("a thing", ways, "ours", "copy", 2, aims, {"numba": "it is not installed"})
    page = tables.page({"cpu": "x86"}, [shown])
    assert "| half | 0.50 | 0.50 to 0.50 | at most 0.60 | yes |" in page
    assert "| of numba |  |  | at most 1.50 | not measured: it is not installed |" in page
    assert "## a thing, 2 threads" in page
    assert "| copy | 2.000 ms | 2.000 ms to 2.000 ms | 4.000 ms | 2.00 | 1.00 |" in page
    assert "| numba | it is not installed |  |  |  |  |" in page


def test_a_picture_is_written(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    ways = summary({"ours": turns(1, 2), "copy": turns(2, 2)}, ["ours", "copy"])
    tables.picture([Comparison("a thing", ways, "ours", "copy")], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_gathers_are_compared_with_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TURN", 0)
    monkeypatch.setattr(gather, "compare", partial(harness.compare, count=1))
    for gathers in (gather.stencil(8), gather.columns(5), gather.blocks(4, 3), gather.indirect(6)):
        given, allocating = gathers
        assert given.what.endswith("into given memory")
        assert allocating.what.endswith("allocating")
        assert list(given.ways) == list(allocating.ways)
