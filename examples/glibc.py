"""Random numbers of the C library, which the paper's programs draw their inputs with."""

import numpy as np
from jaxtyping import Int64

import hpacml

FIRST, DROPPED = 34, 310


def rand(count, seed):
    """What glibc's rand() gives after srand(seed), int64[count]."""
    first = [seed]
    for _ in range(30):
        first.append(16807 * first[-1] % 2147483647)
    numbers = np.empty(FIRST + DROPPED + count, np.int64)
    numbers[:FIRST] = first + first[:3]
    _go_on(numbers)
    return numbers[FIRST + DROPPED :] >> 1


def rows(width, count, first, seed):
    """The numbers of rows `first` to `first + count`, int64[count, width]. Raises ValueError for negative ones."""
    if count < 0 or first < 0:
        raise ValueError(f"there are no rows {first} to {first + count}: give a number and a first one of at least 0")
    return rand(width * (first + count), seed)[width * first :].reshape(count, width)


@hpacml.kernel
def _go_on(numbers: Int64[np.ndarray, "N"]):
    for i in range(34, len(numbers)):
        numbers[i] = (numbers[i - 31] + numbers[i - 3]) & 4294967295
