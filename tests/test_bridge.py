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
