"""The application: a plate on which fuel burns, in JAX. Heat flows from point to point, and the fire sets it free.

    heat' = FLOW laplace(heat) + YIELD rate(heat) fuel,    fuel' = -rate(heat) fuel

Each step of the flow takes many of the fire, as where a fire is one of many substances: these are the region `burn`.
Numbers are of float64, for which the command turns on `jax_enable_x64`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import hpacml.jax

FLOW = 0.2
"""Of the heat, in squared points of the grid a step."""
YIELD = 0.8
BARRIER = 3.0
"""Of the fire: it is a thousand times as slow where the heat is 0.3, as the plate is at first, as where it is 1."""
PACE = 0.1
"""The part of the fuel that would burn in a step where the heat is 1."""
SUBSTEPS = 64


@hpacml.jax.region("""
    tensor functor(point: [i, j, 0:2] = ([i, j], [i, j]))
    ml(predicated: use) inout(point(heat[0:n, 0:m], fuel[0:n, 0:m])) model(net) database("plate.h5") if(use or record)
""")
def burn(heat, fuel, n, m, use, net, record):
    """The heat and the fuel of each point, float64[n, m], after the fire of a step."""
    heat, fuel = _burnt(heat, fuel)
    return {"heat": heat, "fuel": fuel}


@jax.checkpoint  # a gradient computes the substeps anew, of one step at a time, and keeps none
def _burnt(heat, fuel):
    def substep(_, state):
        middle = _burn(*state, *state, 0.5 / SUBSTEPS)
        return _burn(*state, *middle, 1 / SUBSTEPS)

    return jax.lax.fori_loop(0, SUBSTEPS, substep, (heat, fuel))


def _burn(heat, fuel, heat_there, fuel_there, time):
    burnt = time * PACE * jnp.exp(BARRIER * (1 - 1 / heat_there)) * fuel_there
    return heat + YIELD * burnt, fuel - burnt


@partial(jax.jit, static_argnames=("steps", "net", "record"))
def simulate(heat, fuel, steps, net=None, record=False):
    """The states after 0 to `steps` steps from `heat` and `fuel`, float64[n, m]: heats and fuels, [steps + 1, n, m].

    The fire is that of the model `net`, a path or a function of JAX, if there is one; else it is recorded on `record`.
    """
    n, m = heat.shape

    def step(state, _):
        heat, fuel = state
        around = jnp.pad(heat, 1, mode="edge")  # no heat leaves the plate
        neighbours = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
        made = burn(heat + FLOW * (neighbours - 4 * heat), fuel, n, m, net is not None, net, record)
        return (made["heat"], made["fuel"]), state

    last, states = jax.lax.scan(step, (heat, fuel), length=steps)
    return tuple(jnp.concatenate([each, end[None]]) for each, end in zip(states, last, strict=True))


def random_plate(size, seed):
    """The heat and the fuel of a cold plate with three hot spots and uneven fuel, float64[size, size] each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]

    def spot(width):
        cy, cx = rng.random(2)
        return np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))

    heat = 0.3 + np.clip(sum(spot(rng.uniform(0.04, 0.1)) for _ in range(3)), 0, 1) * rng.uniform(0.7, 0.9)
    fuel = 0.6 + 0.4 * np.clip(sum(spot(0.3) for _ in range(3)), 0, 1)
    return jnp.asarray(heat), jnp.asarray(fuel)
