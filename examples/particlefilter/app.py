"""The application: a particle filter that tracks an object in a video, with directives.

A video is uint8[frames, height, width]. Particles are float32, and each has its own random numbers.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

import hpacml
from hpacml import approx

FRAMES, SIZE = 24, 128
BACKGROUND, OBJECT = 100, 228
PI = np.float32(3.1415926535897932)
AFTER_FIRST_VIDEO = 169082881
"""The random number that a video of 24 frames leaves which began with 1."""

DISK = np.array([(dx, dy) for dx in range(-4, 5) for dy in range(-4, 5) if dx * dx + dy * dy < 25])
"""The pixels of the object, relative to its centre."""

Video = UInt8[np.ndarray, "F H W"]
Track = Float32[np.ndarray, "F"]
Numbers = Float32[np.ndarray, "N"]
Seeds = Int64[np.ndarray, "N"]
Disk = Int64[np.ndarray, "D"]


@hpacml.kernel
def particle_filter(
    video: Video,
    xe: Track,
    ye: Track,
    particles: int,
    seed: int,
    nearest: bool,
    use_model: bool,
    record: bool,
    model: str | None,
    database: str | None,
):
    """The position of the object in each frame. In the first, all particles are in the middle."""
    F, H, W = video.shape
    N = particles
    approx("tensor functor(ipt_functor: [i, j, k, 0:1] = ([i, j, k]))")
    approx("tensor functor(opt_functor: [i, 0:2] = ([i], [i]))")
    with approx("""ml(predicated: use_model) if(use_model or record) label("particlefilter")
                   in(ipt_functor(video[0:F, 0:H, 0:W])) out(opt_functor(xe[0:F], ye[0:F]))
                   model(model) database(database)"""):
        seeds = np.arange(1, N + 1)
        seeds[0] = seed
        x, y = np.full(N, W / 2, np.float32), np.full(N, H / 2, np.float32)
        old_x, old_y = np.empty(N, np.float32), np.empty(N, np.float32)
        weights, disk = np.empty(N, np.float32), DISK[:, 1] * W + DISK[:, 0]
        xe[0], ye[0] = W / 2, H / 2
        for k in range(1, F):
            for i in hpacml.prange(N):
                x[i] += 1.0 + 5.0 * _normal(seeds, i)
                y[i] += -2.0 + 2.0 * _normal(seeds, i)
                weights[i] = np.float32(1.0) / N * np.exp(_likelihood(video, disk, k, x[i], y[i], nearest))
            weights /= _sum(weights)
            xe[k], ye[k] = x @ weights, y @ weights
            old_x[:], old_y[:] = x, y
            _resample(old_x, old_y, weights, _normal(seeds, 0) / N, x, y)


@hpacml.kernel
def _likelihood(video: Video, disk: Disk, k: int, x: np.float32, y: np.float32, nearest: bool):
    """The logarithm of how well the object at a position explains the pixels there."""
    F, H, W = video.shape
    pixels = video.reshape(-1)
    half = np.float32(0.5) if nearest else np.float32(0.0)
    middle = (k * H + int(y + half)) * W + int(x + half)
    total = np.float32(0.0)
    for offset in disk:
        place = abs(middle + int(offset))
        pixel = int(pixels[place if place < F * H * W else 0])
        total += np.float32((pixel - BACKGROUND) ** 2 - (pixel - OBJECT) ** 2) / 50.0
    return total / len(disk) - 300.0


@hpacml.kernel
def _sum(weights: Numbers):
    """The sum in the order of a GPU: trees of 256 numbers, one after the other."""
    total = np.float32(0.0)
    for first in range(0, len(weights), 256):
        tree = np.zeros(256, np.float32)
        for i in range(min(256, len(weights) - first)):
            tree[i] = weights[first + i]
        width = 128
        while width > 0:
            for i in range(width):
                tree[i] += tree[i + width]
            width >>= 1
        total += tree[0]
    return total


@hpacml.kernel
def _resample(x: Numbers, y: Numbers, weights: Numbers, first: np.float32, new_x: Numbers, new_y: Numbers):
    """Choose as many particles again, each about as often as its weight says."""
    N, j = len(x), 0
    upto = weights[0]
    for i in range(N):
        least = first + np.float32(i) / N
        while j < N - 1 and not upto >= least:
            j += 1
            upto += weights[j]
        new_x[i], new_y[i] = x[j], y[j]


def _normal(seeds, i):
    """A normally distributed number, of two uniform ones."""
    u = _uniform(seeds, i)
    return np.sqrt(np.float32(-2.0) * np.log(u)) * np.cos(2.0 * PI * _uniform(seeds, i))


def _uniform(seeds, i):
    """A linear congruential generator: 32 bits that wrap around, and a remainder with their sign."""
    n = ((1103515245 * seeds[i] + 12345 + 2**31) & (2**32 - 1)) - 2**31
    seeds[i] = n % 2147483647 if n >= 0 else -(-n % 2147483647)
    return abs(np.float32(seeds[i]) / np.float32(2147483647))


@hpacml.kernel
def _record(video: Video, x0: int, y0: int, seeds: Seeds):
    F, H, W = video.shape
    for k in range(F):
        cx, cy = (x0, y0) if k == 0 else (abs(x0 + k - 1), abs(y0 - 2 * (k - 1)))
        for y in range(H):
            for x in range(W):
                video[k, y, x] = OBJECT if (x - cx) ** 2 + (y - cy) ** 2 < 25 else BACKGROUND
    for x in range(W):
        for y in range(H):
            for k in range(F):
                video[k, y, x] = (int(video[k, y, x]) + int(5.0 * _normal(seeds, 0))) & 255


def make_video(x0, y0, seed):
    """A video uint8[24, 128, 128] of an object that starts at a position, and the next seed.

    It moves by (1, -2) a frame from the second frame on.
    """
    video, seeds = np.empty((FRAMES, SIZE, SIZE), np.uint8), np.array([seed])
    _record(video, x0, y0, seeds)
    return video, int(seeds[0])


def track(video, particles=512, rounding="truncate", seed=AFTER_FIRST_VIDEO, model=None, database=None):
    """The positions float32[frames - 1, 2] of the object in all frames but the first, x before y.

    The original program looks for the object at the particles' positions without their fractions: `rounding` is
    "truncate". It means the pixels that are "nearest". `seed` is the first particle's, which the video has left; the
    others have 2, 3 and so on. Positions come from the file `model`, or from the filter, whose results go to the file
    `database`.
    """
    if rounding not in ("truncate", "nearest"):
        raise ValueError(f"the rounding is {rounding!r}; there are 'truncate' and 'nearest'")
    if particles < 1:
        raise ValueError(f"there are {particles} particles; it takes one at least")
    x, y = np.zeros((2, len(video)), np.float32)
    files = model is not None, database is not None, model, database
    particle_filter(video, x, y, particles, seed, rounding == "nearest", *files)
    return np.stack([x, y], 1)[1:]
