"""Measurements against the alternatives: `python -m benchmarks` prints tables and writes results/."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("hpacml", "torch", "numpy", "h5py", "xdsl", "llvmlite", "numba")


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


def machine():
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next(
            (line.split(": ")[1] for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    found = {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def show(seconds):
    return f"{seconds * 1e3:.3f} ms" if abs(seconds) >= 1e-4 else f"{seconds * 1e6:.1f} µs"
