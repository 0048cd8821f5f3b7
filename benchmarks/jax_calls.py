"""What a call of a region costs inside of `jax.jit`: `python -m benchmarks.jax_calls`.

The same network of a file is called by a region, whose gather and scatter are in it, and by `jax.pure_callback` around
the gather and the module by hand: in one process, in turns, each time waiting for the result. Beside them stand a
program that adds 1, the region outside of JAX, and the module alone.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import hpacml
import hpacml.jax

ROUNDS, CALLS = 20, 20
MAPS = """tensor functor(sides: [i, 0:2] = ([i-1], [i+1]))
          tensor functor(point: [i, 0:1] = ([i]))
          ml(infer) in(sides(t[1:n-1])) out(point(new[1:n-1])) model(net)"""


@hpacml.jax.region(MAPS)
def in_program(t, new, n, net): ...


@hpacml.region(MAPS)
def in_numpy(t, new, n, net): ...


def contestants(points, folder):
    """The calls by their names; each takes an array and waits for its result."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)).eval()
    path = str(hpacml.save_model(net, folder / "net.safetensors", example=torch.zeros(3, 2)))
    n = points + 2

    def by_hand(t):
        x = torch.from_numpy(np.stack([t[:-2], t[2:]], -1))
        with torch.no_grad():
            return net(x).numpy()[:, 0]

    def callback(t):
        made = jax.pure_callback(by_hand, jax.ShapeDtypeStruct((points,), np.float32), t)
        return t.at[1:-1].set(made)

    region = jax.jit(lambda t: in_program(t, t, n, path)["new"])
    outside = jax.jit(callback)
    empty = jax.jit(lambda t: t + 1)
    t = jnp.asarray(np.random.default_rng(0).random(n), jnp.float32)
    on_host, new = np.array(t), np.array(t)
    stacked = torch.from_numpy(np.stack([on_host[:-2], on_host[2:]], -1))
    np.testing.assert_allclose(region(t), outside(t), atol=1e-5)

    def module():
        with torch.no_grad():
            net(stacked)

    return {
        "jit alone": lambda: empty(t).block_until_ready(),
        "region in jit": lambda: region(t).block_until_ready(),
        "pure_callback in jit": lambda: outside(t).block_until_ready(),
        "region of NumPy": lambda: in_numpy(on_host, new, n, path),
        "module alone": module,
    }


def measure(points):
    """Median microseconds of a call, by names."""
    with tempfile.TemporaryDirectory() as folder:
        calls = contestants(points, Path(folder))
        times = {name: [] for name in calls}
        for call in calls.values():
            for _ in range(10):
                call()
        for _ in range(ROUNDS):
            for name, call in calls.items():
                start = time.perf_counter()
                for _ in range(CALLS):
                    call()
                times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: median(each) for name, each in times.items()}


def main():
    torch.set_num_threads(1)
    for points in (64, 1024):
        found = measure(points)
        print(f"{points} points: " + ", ".join(f"{name} {us:.1f} us" for name, us in found.items()))


if __name__ == "__main__":
    main()
