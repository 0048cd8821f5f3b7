"""Regions inside of `jax.shard_map`: what they make varies over the devices as what plain JAX makes does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, torch, hpacml, hpacml.jax
from jax.sharding import PartitionSpec as P

@hpacml.jax.region('''tensor functor(f: [i, 0:1] = ([i]))
                      ml(predicated: use) in(f(x[0:4])) out(f(y[0:4])) model(net) database("d.h5")''')
def region(x, y, use, net):
    return {"y": 10 * x}

class Square(torch.nn.Module):
    def forward(self, x):
        return x * x

def plain(x, y, use, net):
    return {"y": jax.lax.cond(use, lambda x: x * x, lambda x: 10 * x, x)}

mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
x = jnp.arange(8.0)

def over(f, ins=P("d"), outs=P("d")):
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=ins, out_specs=outs))

def loop(f, net, use):
    return lambda x: jax.lax.scan(lambda x, _: (f(x / 8, x, use, net)["y"], None), x, length=2)[0]

PROGRAMS = {
    "traced condition": lambda f, net: over(lambda x: f(x, x, x.sum() > 10, net)["y"])(x),
    "new memory": lambda f, net: over(lambda x: f(x, jnp.zeros(4), True, net)["y"])(x),
    "collected into new memory": lambda f, net: over(lambda x: f(x, jnp.zeros(4), False, net)["y"])(x),
    "loop": lambda f, net: over(loop(f, net, True))(x),
    "loop that collects": lambda f, net: over(loop(f, net, False))(x),
    "sum": lambda f, net: over(lambda x: jax.lax.psum(f(x, x, True, net)["y"], "d"), outs=P())(x),
    "gradient": lambda f, net: jax.grad(lambda x: over(lambda x: f(x, x, True, net)["y"])(x).sum())(x),
    "gradient of a sum": lambda f, net: jax.grad(
        lambda x: over(lambda x: jax.lax.psum(f(x, x, True, net)["y"].sum(), "d"), outs=P())(x))(x),
    "gradient of what is the same for all": lambda f, net: jax.grad(
        lambda w: over(lambda x, w: f(x * w, x, True, net)["y"], (P("d"), P()))(x, w).sum())(2.0),
    "tangent": lambda f, net: jax.jvp(over(lambda x: f(x, x, True, net)["y"]), (x,), (x,))[1],
}
for name, program in PROGRAMS.items():
    wanted = program(plain, None)
    for net in Square(), lambda x: x * x:
        np.testing.assert_allclose(program(region, net), wanted, rtol=1e-6, err_msg=name)
for f in plain, region:  # one shard is not the whole
    try:
        over(lambda x: f(x, x, True, Square())["y"], outs=P())(x)
    except ValueError as error:
        print("require replication" in str(error))
hpacml.flush()
print(len(hpacml.open_database("d.h5")["region"]))
"""


def test_shards_vary(tmp_path: Path) -> None:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240
    )
    assert done.stdout.split() == ["True", "True", str(2 * (1 + 2 + 2 * 2))], done.stderr
