"""Maps mean the same under other names, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpacml.directives.meaning import canonical, difference

HEAT = (
    "to: f: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]) | f(t[1 : N - 1, 1 : M - 1])",
    "from: g: [i, j, 0:1] = ([i, j]) | g(new[1 : N - 1, 1 : M - 1])",
)


def renamed(maps: Sequence[str], **names: str) -> tuple[str, ...]:
    """Maps with other names, all at once."""
    return tuple(re.sub(r"[^\W\d]\w*", lambda found: names.get(found[0], found[0]), text) for text in maps)


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


SAME = {
    "names": (HEAT, renamed(HEAT, f="a1", g="b", i="u", j="i", t="temperature", new="t", N="M", M="rows")),
    "symbols of one functor": (HEAT, (changed(HEAT[0], *[("i", "k")] * 4), HEAT[1])),
    "one target for each slice": (HEAT, (HEAT[0][:-1] + ", t[1 : N - 1, 1 : M - 1]" * 2 + ")", HEAT[1])),
    "arithmetic": (HEAT, (changed(HEAT[0], ("t[1 : N - 1", "t[3 - 2 : N + 1 - 2")), HEAT[1])),
    "where features begin": (HEAT, (changed(HEAT[0], ("0:5", "1:6")), HEAT[1])),
    "exchangeable sizes": (
        ("to: f: [i] = ([i]) | f(a[n + m : n + m + k * l])",),
        ("to: f: [i] = ([i]) | f(a[y + z : z + y + w * b])",),
    ),
    "indirection": (
        ("to: f: [i, 0:3] = ([i, 0:3]) | f(pos[idx[0 : n], 0 : 3])",),
        ("to: f: [i, 0:3] = ([i, 0:3]) | f(x.pos[y[0 : x.n], 0 : 3])",),
    ),
    "parameters": (
        ("to: f: [i, 0:m] = ([i*m : i*m + m]) | f(a[0 : n // m])",),
        ("to: f: [k, 0:a] = ([k*a : k*a + a]) | f(m[0 : n // a])",),
    ),
    "no maps": (("whatever it is",), ("whatever it is",)),
}

OTHERS = {
    "a shift": changed(HEAT[0], ("i - 1", "i + 1"), ("i + 1, j], [i, ", "i - 1, j], [i, ")),
    "another place": changed(HEAT[0], ("[i - 1", "[i - 2")),
    "a transposed sweep": changed(HEAT[0], ("[i, j, 0:5]", "[j, i, 0:5]")),
    "channels first": changed(HEAT[0], ("[i, j, 0:5]", "[0:5, i, j]")),
    "other features": changed(HEAT[0], ("0:5", "0:6"), ("j + 2", "j + 3")),
    "a step": changed(HEAT[0], ("t[1 : N - 1", "t[1 : N - 1 : 2")),
    "another start": changed(HEAT[0], ("t[1", "t[2")),
    "another stop": changed(HEAT[0], ("N - 1", "N")),
    "one size for two": changed(HEAT[0], ("M - 1", "N - 1")),
    "two sizes for one": changed(HEAT[0], ("M - 1", "L - 1")),
    "sizes in other places": changed(HEAT[0], ("N", "x"), ("M", "N"), ("x", "M")),
    "another direction": changed(HEAT[0], ("to", "from")),
    "an index": changed(HEAT[0], ("t[1 : N - 1", "t[0")),
    "no stop": changed(HEAT[0], ("1 : N - 1", "1:")),
    "indices": changed(HEAT[0], ("t[1 : N - 1", "t[idx[1 : N - 1]")),
    "the array that is written": changed(HEAT[0], ("t[", "new[")),
    "a length": changed(HEAT[0], ("N - 1", "len(t) - 1")),
    "a number": changed(HEAT[0], (" | f(t[1 : N - 1, 1 : M - 1])", " | f(t)")),
}


@pytest.mark.parametrize("case", SAME)
def test_other_names_change_nothing(case: str) -> None:
    one, other = SAME[case]
    assert canonical(one) == canonical(other)
    assert difference(one, other) is None


@pytest.mark.parametrize("case", OTHERS)
def test_all_else_does(case: str) -> None:
    other = (OTHERS[case], HEAT[1])
    assert canonical(other) != canonical(HEAT)
    assert difference(HEAT, other) == "They differ in more than names"


def test_all_cases_differ_from_each_other() -> None:
    assert len({canonical((text, HEAT[1])) for text in OTHERS.values()}) == len(OTHERS)


def test_the_order_of_maps_and_their_number() -> None:
    assert difference(HEAT, HEAT[::-1]) is not None
    assert difference(HEAT, HEAT[:1]) is not None
    assert difference(HEAT, (*HEAT, HEAT[1])) is not None


def test_arrays_that_were_exchanged() -> None:
    def reads(*arrays: str) -> tuple[str, ...]:
        targets = ", ".join(f"{array}[0 : n]" for array in arrays)
        return f"to: f: [i, 0:2] = ([i], [i + 1]) | f({targets})", "from: g: [i] = ([i]) | g(out[0 : n])"

    assert difference(reads("p", "T"), reads("pressure", "T")) is None
    assert difference(reads("p", "T"), reads("T", "p")) == "'T' stands where 'p' did"
    assert difference(reads("p", "T"), reads("q", "p")) == "'p' stands where 'T' did"
    assert difference(reads("p", "T"), reads("p", "p")) == "They differ in more than names"
    one, other = ((reads("a", "b")[0], f"from: g: [i] = ([i]) | g({out}[0 : n])") for out in "ab")
    assert canonical(one) != canonical(other)
    swapped = renamed(HEAT, t="new", new="t")
    assert difference(HEAT, swapped) is None, "steps that swap two buffers mean the same"


def test_symbols_belong_to_their_map_and_numbers_to_all() -> None:
    def maps(first: str, second: str) -> tuple[str, ...]:
        return tuple(f"to: f: [i, 0:1] = ([i, {k}]) | f(a[0 : n, 0 : m])" for k in (first, second))

    assert canonical(maps("k", "k")) == canonical(maps("l", "l"))
    assert canonical(maps("k", "k")) != canonical(maps("k", "l"))


def test_a_file_with_very_many_names_is_compared_at_once() -> None:
    size = " + ".join(f"n{k}" for k in range(2000))
    assert difference([f"to: f: [i] = ([i]) | f(a[0 : {size}])"] * 100, HEAT) is not None


# -- by chance -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Map:
    """A map of one sweep: slices at `offsets`, of the arrays, over ranges `start : stop + add : step`."""

    offsets: tuple[int, ...]
    arrays: tuple[str, ...]
    start: int
    stop: str
    add: int
    step: int
    direction: str = "to"
    functor: str = "f"
    symbol: str = "i"

    def __str__(self) -> str:
        slices = ", ".join(f"[{self.symbol} + {offset}]" for offset in self.offsets)
        range = f"[{self.start} : {self.stop} + {self.add} : {self.step}]"
        targets = ", ".join(array + range for array in self.arrays)
        return (
            f"{self.direction}: {self.functor}: [{self.symbol}, 0:{len(self.offsets)}] = ({slices}) "
            f"| {self.functor}({targets})"
        )


MAPS = st.lists(
    st.integers(1, 3).flatmap(
        lambda slices: st.builds(
            Map,
            st.lists(st.integers(0, 9), min_size=slices, max_size=slices, unique=True).map(tuple),
            st.lists(st.sampled_from("abc"), min_size=slices, max_size=slices).map(tuple),
            st.integers(0, 2),
            st.sampled_from("nm"),
            st.integers(0, 2),
            st.integers(1, 2),
            st.sampled_from(["to", "from"]),
            st.sampled_from("fg"),
            st.sampled_from("ijn"),
        )
    ),
    min_size=1,
    max_size=3,
)

# Each gives another meaning to whatever map it changes.
CHANGES: dict[str, Callable[[Map], Map]] = {
    "an offset": lambda m: replace(m, offsets=(m.offsets[0] + 10, *m.offsets[1:])),
    "the order": lambda m: replace(m, offsets=(*m.offsets[1:], m.offsets[0] + 10)),
    "a slice more": lambda m: replace(m, offsets=(*m.offsets, 20), arrays=(*m.arrays, m.arrays[0])),
    "the start": lambda m: replace(m, start=m.start + 1),
    "the stop": lambda m: replace(m, add=m.add + 1),
    "the step": lambda m: replace(m, step=m.step + 1),
    "the direction": lambda m: replace(m, direction="from" if m.direction == "to" else "to"),
    "what the size is": lambda m: replace(m, stop="7"),
}


@settings(max_examples=60, deadline=None)
@given(MAPS, st.permutations("abcnm"))
def test_renaming_never_matters(maps: list[Map], names: list[str]) -> None:
    given_names = dict(zip("abcnm", (f"x_{name}" for name in names), strict=True))
    others = [
        replace(
            each,
            arrays=tuple(given_names[array] for array in each.arrays),
            stop=given_names[each.stop],
            functor=f"h{number}",
            symbol="s",
        )
        for number, each in enumerate(maps)
        if each.symbol != each.stop
    ]
    ours = [str(each) for each in maps if each.symbol != each.stop]
    assert canonical(ours) == canonical([*map(str, others)])
    assert difference(ours, [*map(str, others)]) is None


@settings(max_examples=60, deadline=None)
@given(MAPS, st.data())
def test_any_other_change_matters(maps: list[Map], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(maps) - 1))
    name = data.draw(st.sampled_from(sorted(CHANGES)))
    others = [CHANGES[name](each) if k == number else each for k, each in enumerate(maps)]
    ours, theirs = [*map(str, maps)], [*map(str, others)]
    assert canonical(ours) != canonical(theirs)
    assert difference(ours, theirs) is not None
