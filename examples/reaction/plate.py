"""The plate, by py-pde: all three species diffuse, `a` is fed at some spots, and what they react to is a function's."""

import time

import numpy as np

from .robertson import STEP

try:
    import pde
except ModuleNotFoundError:
    raise SystemExit("This example needs py-pde: pip install 'hpacml[pde]'") from None

DIFFUSIVITY = 0.05
FEED = 0.02
"""What the strongest spots are fed in a unit of time."""
SPOTS = 1.5e-3
"""As many for each point."""


class Plate(pde.PDEBase):
    """Diffusion, and behind each step the reaction: `react(a, b, c)` writes its arrays, float64[points]."""

    def __init__(self, feed, react):
        super().__init__()
        self._feed, self._react = feed, react
        self.seconds = 0.0
        """Processor time of the reaction."""

    def evolution_rate(self, state, t=0):
        rate = pde.FieldCollection([DIFFUSIVITY * each.laplace("periodic") for each in state])
        rate[0].data += self._feed
        return rate

    def make_post_step_hook(self, state, backend="numpy"):
        def hook(data, t, unused):
            begin = time.process_time()
            species = [each.flatten() for each in data]
            self._react(*species)
            for each, values in zip(data, species, strict=True):
                each[...] = values.reshape(each.shape)
            self.seconds += time.process_time() - begin
            return data, unused

        return hook, 0.0


def simulate(size, steps, seed, react, amounts=(0.2, 0.0, 0.0)):
    """The fields after 0 to `steps` steps, float64[steps + 1, 3, size, size], and the seconds that reacting took.

    Spots are those of the seed, and all points have the same `amounts` to begin with.
    """
    grid = pde.CartesianGrid([[0, size]] * 2, size, periodic=True)
    state = pde.FieldCollection([pde.ScalarField(grid, amount) for amount in amounts])
    fields = []
    keep = pde.CallbackTracker(lambda state, t: fields.append(state.data.copy()), interrupts=STEP)
    plate = Plate(_spots(size, seed), react)
    plate.solve(state, t_range=STEP * steps, dt=STEP, solver="euler", backend="numpy", tracker=[keep])
    return np.array(fields), plate.seconds


def _spots(size, seed):
    random = np.random.default_rng(seed)
    place = np.arange(size)
    feed = np.zeros((size, size))
    for _ in range(max(1, round(SPOTS * size**2))):
        (y, x), width = size * random.random(2), random.uniform(3.0, 6.0)
        dy, dx = ((place - centre + size / 2) % size - size / 2 for centre in (y, x))
        feed += random.uniform(0.3, 1.0) * np.exp(-(dy[:, None] ** 2 + dx**2) / (2.0 * width**2))
    return FEED * feed
