"""Against values that the original programs gave (`../shared/oracle`, where the checkout has it beside it)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml

ORACLE = Path(__file__).parents[2] / "shared" / "oracle"
pytestmark = pytest.mark.skipif(not ORACLE.is_dir(), reason=f"no reference values in {ORACLE}")


@pytest.fixture(scope="module")
def functors() -> dict[str, np.ndarray]:
    return dict(np.load(ORACLE / "functors.npz"))


def test_stencil(functors) -> None:
    f = hpacml.functor("ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])")
    t = functors["stencil_t"]
    x = f.gather("t[1:N-1, 1:M-1]", t=t, N=t.shape[0], M=t.shape[1])
    np.testing.assert_array_equal(x.numpy(), functors["stencil_to"])


@pytest.mark.parametrize("ni", [1, 4])
def test_minibude(functors, ni: int) -> None:
    pose = "[i*ni:i*ni+ni]"
    f = hpacml.functor(f"declare tensor_functor(ipt_functor: [i, 0:6*ni] = ({', '.join([pose] * 6)}))")
    poses = {f"poses_{k}": row for k, row in enumerate(functors["bude_poses"])}
    targets = ", ".join(f"{name}[0:nval]" for name in poses)
    x = f.gather(targets, **poses, nval=24 // ni, ni=ni)
    np.testing.assert_array_equal(x.numpy(), functors[f"bude_to_ni{ni}"])


def test_minibude_scatter(functors) -> None:
    f = hpacml.functor("declare tensor_functor(opt_functor: [i, 0:ni] = ([i*ni:i*ni+ni]))")
    res = np.zeros(24, np.float32)
    f.scatter(functors["bude_from_ni4_tensor"], "res[0:nval]", res=res, nval=6, ni=4)
    np.testing.assert_array_equal(res, functors["bude_from_ni4_mem"])


def test_minibude_with_the_extent_of_the_original_is_diagnosed(functors) -> None:
    pose = "[i*ni:i*ni+ni]"
    f = hpacml.functor(f"f: [i, 0:2] = ({', '.join([pose] * 6)})")
    p = functors["bude_poses"][0]
    with pytest.raises(hpacml.MapError, match=r"declares 2 features, the right side gives 24 \(6 \* ni\)"):
        f.gather("p[0:6]", p=p, ni=4)


def test_particle_filter(functors) -> None:
    f = hpacml.functor("ipt_functor: [i, j, k, 0:1] = ([i, j, k])")
    frames = functors["pf_frames"]
    x = f.gather("I[0:Nfr, 0:X, 0:Y]", I=frames, Nfr=3, X=4, Y=4)
    np.testing.assert_array_equal(x.numpy(), functors["pf_to"])
    g = hpacml.functor("opt_functor: [i, 0:2] = ([i], [i])")
    xe, ye = np.zeros(3, np.float32), np.zeros(3, np.float32)
    g.scatter(torch.from_numpy(functors["pf_from_tensor"]), "xe[0:n], ye[0:n]", xe=xe, ye=ye, n=3)
    np.testing.assert_array_equal(xe, functors["pf_from_xe"])
    np.testing.assert_array_equal(ye, functors["pf_from_ye"])


def saved(name: str) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """The weights of a network in the order of its layers, an input, what it gives, and the numbers that scale both."""
    known = {
        key: torch.from_numpy(value) for key, value in np.load(ORACLE / f"net_{name}.npz").items() if key != "config"
    }
    weights = {key: value for key, value in known.items() if re.match(r"w:(layers|conv|linear)", key)}
    return [*weights.values()], known["x"], known["y"], known


def load(net: torch.nn.Module, weights: list[torch.Tensor]) -> torch.nn.Module:
    """Give a network weights in the order of its own."""
    net.load_state_dict(dict(zip(net.state_dict(), weights, strict=True)))
    return net.eval().requires_grad_(False)


def require_close(y: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-4 * (expected.max() - expected.min()).item())


def test_the_network_of_binomial_options() -> None:
    weights, x, y, known = saved("binomial_h20_h0")
    net = load(hpacml.networks.mlp({"hidden1": 20, "hidden2": 0}, [(5,)], [(1,)]), weights)
    low, high = known["w:ipt_min"], known["w:ipt_max"]
    least, most = known["w:opt_min"], known["w:opt_max"]
    require_close(net((x - low) / (high - low)).clamp(min=0) * (most - least) + least, y)


def test_the_network_of_miniweather() -> None:
    weights, x, y, known = saved("miniweather_k3_c4_k3_bn0")
    config = {"conv1_kernel": 3, "conv1_channels": 4, "conv2_kernel": 3, "activated_output": True}
    net = load(hpacml.networks.cnn(config, [x.shape[1:]], [y.shape[1:]]), weights)
    low, high = known["w:min"], known["w:max"]
    require_close(net((x - low) / (high - low)) * (high - low) + low, y)


def test_the_network_of_the_particle_filter() -> None:
    weights, x, y, _ = saved("particlefilter_k9_s3_mp4_fc0")
    config = {"conv_kernel": 9, "conv_stride": 3, "pool": 4, "fc2": 0}
    net = load(hpacml.networks.coordinates(config, [x.shape[1:]], [y.shape[1:]]), weights)
    require_close((net(x / 255) * 128).clamp(0, 128), y)
