"""The front: a line of cells that react, each by itself, and then exchange heat and species with their neighbours.

Cells are of equal mass and move with the gas; heat and species diffuse alike (Lewis numbers of 1) at constant
pressure, so that the enthalpy does what the mass fractions do, and the temperature follows from both.
"""

import time

import numpy as np

import hpacml

CELLS = 200
SIZE = 70e-6
"""Metres of a cell."""
STEP = 5e-6
"""Seconds of a step."""
DIFFUSIVITY = 2e-4
"""Square metres a second."""
PRESSURE = np.full(CELLS, 101325.0)
"""Pascal, of each cell."""
HOT = 1400.0
"""Kelvin from which on a cell has ignited. The network knows nothing of colder ones."""

REACTION = """
    tensor functor(state: [i, 0:10] = ([i], [i, 0:8], [i]))
    tensor functor(species: [i, 0:8] = ([i, 0:8]))
    ml(predicated: use) in(state(t[0:n], y[0:n, 0:8], p[0:n])) out(species(y[0:n, 0:8]))
        model(net) database("ignition.h5") clip(0:1) project(conserve)
"""


def _burn(gas, conserve, t, y, p, n, use, net):
    gas.burn(t, y, p, STEP)


unguarded = hpacml.region(REACTION + 'label("reaction")')(_burn)
guarded = hpacml.region(REACTION + 'label("guarded reaction") guard(range) pointwise')(_burn)


def start(gas, cold, hot, width):
    """Temperatures, float64[CELLS], from `hot` to `cold` over the part `width` of the line, and fresh gas."""
    x = (np.arange(CELLS) + 0.5) / CELLS
    return cold + (hot - cold) * np.exp(-((x / width) ** 2)), np.tile(gas.fresh, (CELLS, 1))


def simulate(gas, t, y, steps, react):
    """Temperatures after 0 to `steps` steps, [steps + 1, CELLS], mass fractions, [steps + 1, CELLS, 8], and seconds.

    `react(t, y)` writes `y`. The seconds are those of processor time after as many steps, [steps + 1].
    """
    h, y = gas.enthalpy(t, y), y.copy()
    states, seconds = [(t, y.copy())], [0.0]
    for _ in range(steps):
        begin = time.process_time()
        react(t, y)
        h, y = diffuse(h), diffuse(y)
        t = gas.temperature(h, y, t)
        seconds.append(seconds[-1] + time.process_time() - begin)
        states.append((t, y.copy()))
    temperatures, fractions = (np.array(each) for each in zip(*states, strict=True))
    return temperatures, fractions, np.array(seconds)


def diffuse(f):
    """A step of diffusion of `f`, float64[CELLS, ...]; nothing leaves at the ends."""
    ends = np.concatenate([f[:1], f, f[-1:]])
    return f + DIFFUSIVITY * STEP / SIZE**2 * (ends[2:] + ends[:-2] - 2.0 * f)


def collect(gas, profiles, steps, seed=0):
    """Simulate from each of the profiles (arguments of `start`), and record the cells that have ignited.

    Their mass fractions are changed a little by chance in each step, so that the network learns what the chemistry does
    to states beside those of the undisturbed front, such as the ones that the network makes itself.
    """
    random = np.random.default_rng(seed)

    def react(t, y):
        size = 0.1 * random.random((CELLS, 1)) ** 2
        y[:] = gas.nearest(y * np.exp(size * random.standard_normal(y.shape)))
        for ignited in (False, True):
            cells = np.flatnonzero((t >= HOT) == ignited)
            some = y[cells]
            if not ignited:
                gas.burn(t[cells], some, PRESSURE[cells], STEP)
            elif len(cells):
                unguarded(gas, gas.conserve, t[cells], some, PRESSURE[cells], len(cells), False, None)
            y[cells] = some

    for profile in profiles:
        simulate(gas, *start(gas, *profile), steps, react)
    hpacml.flush()
