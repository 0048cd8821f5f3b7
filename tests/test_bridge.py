"""Gathers and scatters of arrays: dtypes, memories and mistakes, by hand. `test_oracle` has maps by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hpacml


def test_mixed_dtypes_become_the_widest_float() -> None:
    f = hpacml.functor("bond: [i, 0:9] = ([i], [4*i:4*i+4], [4*i:4*i+4])")
    rate, start, maturity = np.random.rand(5).astype(np.float32), np.arange(20, dtype=np.int32), np.arange(20, 40)
    x = f.gather("r[0:5], s[0:5], m[0:5]", r=rate, s=start, m=maturity.astype(np.int32))
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x[:, 0].numpy(), rate)
    np.testing.assert_array_equal(x[:, 1:5].numpy(), start.reshape(5, 4))
    np.testing.assert_array_equal(x[:, 5:].numpy(), maturity.reshape(5, 4))


def test_bfloat16_and_torch_memory() -> None:
    t = torch.arange(6, dtype=torch.bfloat16)
    x = hpacml.functor("f: [i, 0:2] = ([i], [i+1])").gather("t[0:5]", t=t)
    assert x.dtype == torch.bfloat16
    assert x.float().tolist() == [[k, k + 1] for k in range(5)]
    out = torch.zeros(5, dtype=torch.bfloat16)
    hpacml.functor("g: [i] = ([i])").scatter(x[:, 1], "o[0:5]", o=out)
    assert out.float().tolist() == [1, 2, 3, 4, 5]


MISTAKES = {
    "rank": ("f: [i, 0:1] = ([i, 0])", "t[0:4]", {}, "has 2 entries, but the target 't' has 1 dimension"),
    "ranges": ("f: [i, 0:1] = ([i])", "t[0:4, 0:2]", {}, "gives 2 ranges, but the array has 1 dimension"),
    "count": ("f: [i, 0:2] = ([i*m:i*m+m])", "t[0:2]", {"m": 3}, r"declares 2 features, the right side gives 3 \(m\)"),
    "bounds": ("f: [i, 0:1] = ([i-1])", "t[0:4]", {}, r"'i - 1' .* reaches index -1 in dimension 0 of 't'"),
    "above": ("f: [i, 0:1] = ([i+1])", "t[0:n]", {"n": 6}, "reaches index 6 in dimension 0 of 't', which has 6"),
    "step": ("f: [i, 0:1] = ([i])", "t[0:4:n]", {"n": 0}, "step of a range is 0"),
    "missing": ("f: [i, 0:1] = ([i])", "u[0:4]", {}, "give it as u="),
    "number": ("f: [i, 0:1] = ([i])", "t[0:k]", {}, "'k' is not a known number"),
    "targets": (
        "f: [i, 0:3] = ([i], [i], [i])",
        "t[0:4], t[0:4]",
        {},
        "3 slices on its right side but is applied to 2",
    ),
    "indirect": ("f: [i, 0:1] = ([i])", "t[t[0:4]]", {}, "used as indices, but has elements of f64"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str) -> None:
    declaration, target, numbers, message = MISTAKES[mistake]
    with pytest.raises(hpacml.HpacmlError, match=message):
        hpacml.functor(declaration).gather(target, t=np.zeros(6), **numbers)


def test_scatter_refuses_what_it_must_not_write() -> None:
    one = hpacml.functor("f: [i, 0:1] = ([i])")
    t = np.zeros(4)
    t.flags.writeable = False
    with pytest.raises(hpacml.MapError, match="read-only"):
        one.scatter(np.ones((4, 1)), "t[0:4]", t=t)
    with pytest.raises(hpacml.MapError, match=r"shape \[3, 1\].*takes the shape \[4, 1\]"):
        one.scatter(np.ones((3, 1)), "t[0:4]", t=np.zeros(4))
    with pytest.raises(hpacml.MapError, match=r"writes t\[1\] 2 times"):
        hpacml.functor("w: [i, 0:2] = ([i:i+2])").scatter(np.ones((3, 2)), "t[0:3]", t=np.zeros(4))
    with pytest.raises(hpacml.MapError, match="complex"):
        one.gather("t[0:4]", t=np.zeros(4, complex))


def test_empty_maps_touch_nothing() -> None:
    a = np.zeros(4, np.float32)
    blocks = hpacml.functor("f: [i, 0:m] = ([i*m : i*m+m])")
    blocks.scatter(np.zeros((1 << 40, 0), np.float32), "a[0:n]", a=a, n=1 << 40, m=0)
    assert not a.any()


def test_steps_beyond_64_bits_of_one_point_do_not_matter() -> None:
    far = hpacml.functor("f: [i, 0:2] = ([m*k*i], [0])")
    with pytest.raises(hpacml.MapError, match=r"writes a\[0\] 2 times"):
        far.scatter(np.zeros((1, 2)), "a[0:1]", a=np.zeros(4), m=1 << 40, k=1 << 40)


def test_a_tensor_that_shares_memory_with_an_array() -> None:
    one = hpacml.functor("f: [i] = ([i])")
    q = np.arange(6.0)
    one.scatter(q[:5], "a[1:6]", a=q)  # of what it was before
    np.testing.assert_array_equal(q, [0, 0, 1, 2, 3, 4])
    with pytest.raises(hpacml.MapError, match="'out' shares memory with 'a'"):
        one.gather("a[0:5]", a=q[1:], out=torch.from_numpy(q[:5]))
    columns = np.arange(8.0).reshape(4, 2)
    one.gather("a[0:4]", a=columns[:, 0], out=torch.from_numpy(columns[:, 1]))  # between the elements
    np.testing.assert_array_equal(columns[:, 1], [0, 2, 4, 6])


def test_out_is_filled_and_converted() -> None:
    one = hpacml.functor("f: [i, 0:1] = ([i])")
    out = torch.zeros(3, 1, dtype=torch.int32)
    assert one.gather("a[0:3]", a=np.array([1.7, 2.2, 3.9]), out=out) is out
    assert out.ravel().tolist() == [1, 2, 3]
    with pytest.raises(hpacml.MapError, match=r"shape \[3, 1\], but the map .* takes the shape \[2, 1\]"):
        one.gather("a[0:2]", a=np.zeros(3), out=out)


def test_open_ranges() -> None:
    one = hpacml.functor("f: [i] = ([i])")
    a = np.arange(5.0)
    np.testing.assert_array_equal(one.gather("a[1:]", a=a), a[1:])
    np.testing.assert_array_equal(one.gather("a[3::-1]", a=a), a[3::-1])
    with pytest.raises(hpacml.DirectiveError, match="needs a stop: where it ends depends on the sign of its step"):
        one.gather("a[3::s]", a=a, s=-1)


def test_names_that_we_use_ourselves() -> None:
    one = hpacml.functor("gather: [i] = ([i])")
    for name in ("n0", "tensor", "targets", "self", "größe"):
        assert one.gather(f"{name}[0:n]", n=2, **{name: np.arange(3.0)}).tolist() == [0, 1]


def test_what_is_no_text() -> None:
    with pytest.raises(hpacml.DirectiveError, match="a functor must be text, and this is of type int"):
        hpacml.functor(3)
    with pytest.raises(hpacml.DirectiveError, match="the targets must be text"):
        hpacml.functor("f: [i] = ([i])").gather(3, a=np.zeros(3))


def test_more_elements_than_there_are_repeat() -> None:
    tensor = torch.zeros(1, dtype=torch.float64).expand(1 << 40)
    same = hpacml.functor("f: [i] = ([p*i])")
    with pytest.raises(hpacml.MapError, match="writes 1099511627776 elements of 'v', which has 5"):
        same.scatter(tensor, "v[x[0:n]]", v=np.zeros(5), x=np.arange(5), n=1 << 40, p=0)


def test_symbols_must_not_cancel() -> None:
    with pytest.raises(hpacml.DirectiveError, match=r"'i' cancels out of '0 \* i'"):
        hpacml.functor("f: [i] = ([0*i])")


def test_protocols_that_fail() -> None:
    class Broken:
        __array_interface__ = {"version": 3}

    with pytest.raises(hpacml.MapError, match="argument 'v' does not give its memory: ValueError"):
        hpacml.functor("f: [i] = ([i])").gather("v[0:3]", v=Broken())


def test_names_that_gather_takes_itself() -> None:
    one = hpacml.functor("f: [i] = ([i])")
    with pytest.raises(hpacml.MapError, match="unchecked takes True or False"):
        one.gather("unchecked[0:3]", unchecked=np.zeros(3))
    with pytest.raises(hpacml.MapError, match="no array can have this name here"):
        one.gather("out[0:3]")


@pytest.mark.parametrize("targets", ["a[2:n]", "a[r[2:n]]"])
def test_a_stop_so_far_away_that_differences_do_not_fit(targets: str) -> None:
    """The range is empty, but what compiled code computes of it would be huge."""
    names = {"a": np.arange(9.0), "r": np.arange(9)}
    f = hpacml.functor("f: [i, 0:1] = ([i])")
    with pytest.raises(
        hpacml.MapError, match="it needs the number -9223372036854775808, but indices and sizes have 64"
    ):
        f.gather(targets, n=-(2**63), **names)
    assert f.gather(targets, n=-(2**40), **names).shape == (0, 1)
