"""The same simulation in NumPy, and its beginnings."""

import numpy as np


def gray_scott(u, v, steps, feed, kill):
    """What `gray_scott.stencil` says: u and v after `steps` steps, float64[N, M]."""
    u, v = u.copy(), v.copy()
    for _ in range(steps):
        spread_u, spread_v = (
            a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] - 4 * a[1:-1, 1:-1] for a in (u, v)
        )
        inner_u, inner_v = u[1:-1, 1:-1], v[1:-1, 1:-1]
        eaten = inner_u * inner_v * inner_v
        next_u = inner_u + 0.16 * spread_u - eaten + feed * (1 - inner_u)
        next_v = inner_v + 0.08 * spread_v + eaten - (feed + kill) * inner_v
        u[1:-1, 1:-1], v[1:-1, 1:-1] = next_u, next_v
    return u, v


def spots(size, seed):
    """A dish of u with spots of v, float64[size, size] each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    v = np.zeros((size, size))
    for _ in range(6):
        (cy, cx), width = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(2, 5)
        v += 0.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
    v = np.minimum(v, 0.5)
    return 1 - 2 * v + v**2, v
