"""Random numbers of the C library, which the paper's programs draw their inputs with."""

import numpy as np


def rand(count, seed):
    """What glibc's rand() gives after srand(seed), int64[count]."""
    r = [seed]
    for _ in range(30):
        r.append(16807 * r[-1] % 2147483647)
    r += r[:3]
    for i in range(34, 344 + count):
        r.append((r[i - 31] + r[i - 3]) % 2**32)
    return np.array(r[344:]) >> 1
