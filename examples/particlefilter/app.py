"""The application: a particle filter that tracks an object in a video, with directives.

A video is uint8[frames, height, width]. Particles are float32, and each has its own random numbers.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

import hpacml
from hpacml import approx

from ..devices import zeros

FRAMES, SIZE = 24, 128
BACKGROUND, OBJECT = 100, 228
BLOCK = 32
"""The particles that are chosen one after the other, by default; blocks of them are independent."""
PI = np.float32(3.1415926535897932)
AFTER_FIRST_VIDEO = 169082881
"""The random number that a video of 24 frames leaves which began with 1."""

DISK = np.array([(dx, dy) for dx in range(-4, 5) for dy in range(-4, 5) if dx * dx + dy * dy < 25])
"""The pixels of the object, relative to its centre."""

Video = UInt8[np.ndarray, "F H W"]
Track = Float32[np.ndarray, "F"]
Numbers = Float32[np.ndarray, "N"]
Seeds = Int64[np.ndarray, "N"]
Positions = Int64[np.ndarray, "F"]
Disk = Int64[np.ndarray, "D"]


@hpacml.kernel
def particle_filter(
    video: Video,
    xe: Track,
    ye: Track,
    true_x: Track,
    true_y: Track,
    particles: int,
    seed: int,
    nearest: bool,
    use_model: bool,
    record: bool,
    model: str | None,
    database: str | None,
    block: int = BLOCK,
):
    """The position of the object in each frame. In the first, all particles are in the middle.

    The true positions are what a model is to learn, and used for nothing else.
    """
    F, H, W = video.shape
    N = particles
    approx("tensor functor(ipt_functor: [i, j, k, 0:1] = ([i, j, k]))")
    approx("tensor functor(opt_functor: [i, 0:2] = ([i], [i]))")
    with approx("""ml(predicated: use_model) if(use_model or record) label("particlefilter")
                   in(ipt_functor(video[0:F, 0:H, 0:W])) out(opt_functor(xe[0:F], ye[0:F]))
                   truth(opt_functor(true_x[0:F], true_y[0:F])) model(model) database(database)"""):
        seeds = np.arange(1, N + 1)
        seeds[:1] = seed
        x, y = np.full(N, W / 2, np.float32), np.full(N, H / 2, np.float32)
        old_x, old_y = np.empty(N, np.float32), np.empty(N, np.float32)
        weights, sums, shift = np.empty(N, np.float32), np.empty(N, np.float32), np.empty(1, np.float32)
        disk = DISK[:, 1] * W + DISK[:, 0]
        xe[:1] = W / 2
        ye[:1] = H / 2
        for k in range(1, F):
            for i in hpacml.prange(N):
                x[i] += 1.0 + 5.0 * _normal(seeds, i)
                y[i] += -2.0 + 2.0 * _normal(seeds, i)
                weights[i] = np.float32(1.0) / N * np.exp(_likelihood(video, disk, k, x[i], y[i], nearest))
            for _ in hpacml.prange(1):  # numbers are added in the order of the particles, also on a GPU
                weights[:] = weights / _sum(weights)
                xe[k], ye[k] = _mean(x, y, weights, sums)
                shift[0] = _normal(seeds, 0) / N
            old_x[:], old_y[:] = x, y
            for first in hpacml.prange(0, N, block):
                _resample(old_x, old_y, sums, shift[0], first, min(first + block, N), x, y)


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
def _mean(x: Numbers, y: Numbers, weights: Numbers, sums: Numbers):
    """The mean position by the weights, and in `sums` those of the weights up to each."""
    mean_x, mean_y, total = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(len(weights)):
        mean_x += x[i] * weights[i]
        mean_y += y[i] * weights[i]
        total += weights[i]
        sums[i] = total
    return mean_x, mean_y


@hpacml.kernel
def _resample(
    x: Numbers, y: Numbers, sums: Numbers, shift: np.float32, first: int, last: int, new_x: Numbers, new_y: Numbers
):
    """Choose the particles from `first` on again, each about as often as its weight says."""
    N = len(x)
    j = _first_with(sums, shift + np.float32(first) / N)
    for i in range(first, last):
        least = shift + np.float32(i) / N
        while j < N - 1 and not sums[j] >= least:
            j += 1
        new_x[i], new_y[i] = x[j], y[j]


def _first_with(sums, least):
    """The first particle up to which the weights have a sum, or the last one."""
    low, high = 0, len(sums) - 1
    while low < high:
        middle = (low + high) // 2
        if sums[middle] >= least:
            high = middle
        else:
            low = middle + 1
    return low


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
def _record(video: Video, xs: Positions, ys: Positions, seeds: Seeds):
    F, H, W = video.shape
    for k in range(F):
        for y in range(H):
            for x in range(W):
                video[k, y, x] = OBJECT if (x - xs[k]) ** 2 + (y - ys[k]) ** 2 < 25 else BACKGROUND
    for x in range(W):
        for y in range(H):
            for k in range(F):
                video[k, y, x] = (int(video[k, y, x]) + int(5.0 * _normal(seeds, 0))) & 255


def path(x0, y0):
    """Where the object is in each frame, int64[24, 2]: it moves by (1, -2) a frame from the second frame on."""
    moves = np.maximum(np.arange(FRAMES) - 1, 0)
    return abs(np.stack([x0 + moves, y0 - 2 * moves], 1))


def make_video(x0, y0, seed):
    """A video uint8[24, 128, 128] of an object that starts at a position, and the next seed."""
    video, seeds = np.empty((FRAMES, SIZE, SIZE), np.uint8), np.array([seed])
    _record(video, *path(x0, y0).T, seeds)
    return video, int(seeds[0])


def make_frames(centres, seed):
    """A frame for each centre of the object, uint8[n, 128, 128] for integers [n, 2], and the next seed."""
    frames, seeds = np.empty((len(centres), SIZE, SIZE), np.uint8), np.array([seed])
    for k, centre in enumerate(np.asarray(centres, np.int64)):
        _record(frames[k : k + 1], centre[:1], centre[1:], seeds)
    return frames, int(seeds[0])


def track(
    video,
    particles=512,
    rounding="truncate",
    seed=AFTER_FIRST_VIDEO,
    model=None,
    database=None,
    truth=None,
    block=BLOCK,
):
    """The positions float32[frames - 1, 2] of the object in all frames but the first, x before y.

    The original program looks for the object at the particles' positions without their fractions: `rounding` is
    "truncate". It means the pixels that are "nearest". `seed` is the first particle's, which the video has left; the
    others have 2, 3 and so on. Positions come from the file `model`, or from the filter; then the file `database`
    gets frames with their true positions `truth`, float32[frames, 2], or without these with those of the filter.
    A video on a GPU is of Torch, and so are then the positions and `truth`. `block` particles are chosen by one thread,
    one after the other.
    """
    if block < 1:
        raise ValueError(f"a block has {block} particles; it takes one at least")
    if rounding not in ("truncate", "nearest"):
        raise ValueError(f"the rounding is {rounding!r}; there are 'truncate' and 'nearest'")
    if particles < 1:
        raise ValueError(f"there are {particles} particles; it takes one at least")
    found = zeros((2, len(video)), np.float32, like=video)
    if truth is not None and tuple(truth.shape) != (len(video), 2):
        raise ValueError(f"the truth has the shape {tuple(truth.shape)}, and {len(video)} frames ({len(video)}, 2)")
    files = model is not None, database is not None, model, database
    true = found if truth is None else truth.T
    particle_filter(video, *found, *true, particles, seed, rounding == "nearest", *files, block)
    return found.T[1:]
