"""Measurements against the alternatives: `python -m benchmarks` prints tables and writes results/."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("hpacml", "torch", "numpy", "h5py", "xdsl", "llvmlite", "numba")


def machine():
    """What ran: processor, caches, load at the start, and versions."""
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next(
            (line.split(": ")[1] for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    found = {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "caches": _caches(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _caches():
    found = []
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return " ".join(found)


def show(seconds):
    return f"{seconds * 1e3:.3f} ms" if abs(seconds) >= 1e-4 else f"{seconds * 1e6:.2f} µs"
