"""The accurate paths against the same programs in C, so that no speed-up comes from a slow original."""

from typing import Any

from benchmarks import kernels


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The seconds of the kernel of an application and of its equivalent in C, on one core, and their ratio.

    Both ways of `benchmarks.kernels`: "strict", of equal bits, and "fastmath". Where there is no C compiler,
    `skipped` has the reason in place of the numbers.
    """
    comparison = kernels.program(name, rounds)
    return {"what": comparison.what, **{way: _way(comparison, way) for way in kernels.FLAGS}}


def _way(comparison: Any, way: str) -> dict[str, Any]:
    ours, c = kernels.OURS[way], kernels.C[way]
    if c in comparison.skipped:
        return {"skipped": comparison.skipped[c]}
    ratio = comparison.ways[ours].ratios["cpu"][c]
    return {
        "seconds": comparison.ways[ours].cpu.median,
        "seconds_c": comparison.ways[c].cpu.median,
        "ratio": ratio.median,
        "quartiles": [ratio.low, ratio.high],
        "compiler": c,
    }
