"""What needs neither a filter nor a network: the object is brighter than its background."""

import numpy as np

import hpacml

from .app import BACKGROUND, OBJECT, Track, Video

THRESHOLD = (BACKGROUND + OBJECT) // 2


@hpacml.kernel
def _centroids(video: Video, xs: Track, ys: Track):
    F, H, W = video.shape
    for k in hpacml.prange(F):
        count, across, down = 0, 0, 0
        for y in range(H):
            in_row = 0
            for x in range(W):
                bright = 1 if video[k, y, x] > THRESHOLD else 0
                in_row += bright
                across += bright * x
            count += in_row
            down += in_row * y
        xs[k], ys[k] = across / count, down / count


def centroids(video):
    """The means of the positions of bright pixels in each frame, float32[frames, 2]; NaN where there are none."""
    found = np.zeros((2, len(video)), np.float32)
    _centroids(video, *found)
    return found.T
