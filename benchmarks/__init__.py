"""Measurements against the alternatives: `python -m benchmarks` prints tables and writes results/cpu.json."""

import time
from statistics import median


def medians(calls, budget=1.5, most=2001):
    """The median seconds of each named call.

    They take turns for `budget` seconds, so that all meet the same noise. At each turn an untimed call goes before,
    which brings the memory back into the caches.
    """
    times = {name: [] for name in calls}
    end = time.perf_counter() + budget
    for repeat in range(most):
        if repeat >= 5 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: median(measured) for name, measured in times.items()}
