"""How the fuel that is left depends on the heat in the beginning: by JAX, through all steps, and by differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .plate import simulate


@partial(jax.jit, static_argnames=("steps", "net"))
def fuel_left(heat, fuel, steps, net):
    """The part of the fuel that is left after `steps` steps."""
    return simulate(heat, fuel, steps, net)[1][-1].sum() / fuel.sum()


gradient = jax.jit(jax.grad(fuel_left), static_argnames=("steps", "net"))
"""Its derivatives by the heat of each point in the beginning, float64[n, m]."""


def direction(heat):
    """A random change of the heat, from 0 to 1 at each point."""
    return np.random.default_rng(0).random(heat.shape)


def along(heat, fuel, steps, net, size=1e-5):
    """The derivative along `direction`: by the gradient, and by a central difference."""
    change = direction(heat)
    ahead, behind = (fuel_left(heat + s * change, fuel, steps, net) for s in (size, -size))
    return float((gradient(heat, fuel, steps, net) * change).sum()), float((ahead - behind) / (2 * size))


def remainders(heat, fuel, steps, net, sizes):
    """What the gradient does not tell of changes along `direction`, of some sizes: it falls with their squares."""
    change = direction(heat)
    begin, slope = fuel_left(heat, fuel, steps, net), (gradient(heat, fuel, steps, net) * change).sum()
    return [float(abs(fuel_left(heat + s * change, fuel, steps, net) - begin - s * slope)) for s in sizes]


def difference(found, wanted):
    """The difference of two fields, relative to the second: of their Euclidean norms."""
    return float(jnp.linalg.norm(found - wanted) / jnp.linalg.norm(wanted))
