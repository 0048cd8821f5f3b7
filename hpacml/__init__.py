"""hpacml: directives that turn regions of scientific codes into data, and then into ML surrogates.

It re-creates the programming model of HPAC-ML (Fink et al., SC'24) for Python, on an MLIR dialect in xDSL.
Importing it loads neither Torch nor h5py nor the compiler. The functions that need them load them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hpacml import environment, networks, version
from hpacml.errors import (
    CompileError,
    ConfigError,
    DatabaseError,
    DeviceError,
    DirectiveError,
    HpacmlError,
    MapError,
    ModelError,
)
from hpacml.frontend.plain import approx, prange
from hpacml.moved import find_moved

if TYPE_CHECKING:
    from hpacml import ir
    from hpacml.embedding.ahead_of_time import build
    from hpacml.embedding.module_function import compile
    from hpacml.evaluation.evaluate import evaluate
    from hpacml.frontend.functor import functor
    from hpacml.frontend.kernel import kernel
    from hpacml.frontend.region import region
    from hpacml.runtime.databases.reader import open_database
    from hpacml.runtime.databases.writer import flush
    from hpacml.runtime.differentiation import differentiable
    from hpacml.runtime.gpu.transfers import unchanged
    from hpacml.runtime.models.ensemble import Ensemble
    from hpacml.runtime.models.fallback import fallbacks
    from hpacml.runtime.models.layers import Normalize, Residual
    from hpacml.runtime.models.saving import save_model
    from hpacml.runtime.reports.instruments import ranges, timing
    from hpacml.runtime.reports.report import report
    from hpacml.searching.running import search
    from hpacml.training.train import train

__all__ = [
    "CompileError",
    "ConfigError",
    "DatabaseError",
    "DeviceError",
    "DirectiveError",
    "Ensemble",
    "HpacmlError",
    "MapError",
    "ModelError",
    "Normalize",
    "Residual",
    "approx",
    "build",
    "compile",
    "differentiable",
    "evaluate",
    "fallbacks",
    "flush",
    "functor",
    "ir",
    "kernel",
    "networks",
    "open_database",
    "prange",
    "ranges",
    "region",
    "report",
    "save_model",
    "search",
    "timing",
    "train",
    "unchanged",
]

_LAZY = {
    "build": "hpacml.embedding.ahead_of_time",
    "compile": "hpacml.embedding.module_function",
    "functor": "hpacml.frontend.functor",
    "kernel": "hpacml.frontend.kernel",
    "region": "hpacml.frontend.region",
    "differentiable": "hpacml.runtime.differentiation",
    "flush": "hpacml.runtime.databases.writer",
    "open_database": "hpacml.runtime.databases.reader",
    "fallbacks": "hpacml.runtime.models.fallback",
    "unchanged": "hpacml.runtime.gpu.transfers",
    "ranges": "hpacml.runtime.reports.instruments",
    "timing": "hpacml.runtime.reports.instruments",
    "report": "hpacml.runtime.reports.report",
    "Ensemble": "hpacml.runtime.models.ensemble",
    "Normalize": "hpacml.runtime.models.layers",
    "Residual": "hpacml.runtime.models.layers",
    "save_model": "hpacml.runtime.models.saving",
    "train": "hpacml.training.train",
    "evaluate": "hpacml.evaluation.evaluate",
    "search": "hpacml.searching.running",
    "_unpickled": "hpacml.frontend.decorated",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version.version()
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in ("ir", "jax"):
        return import_module(f"hpacml.{name}")
    raise AttributeError(f"module 'hpacml' has no attribute '{name}'")


find_moved()
if environment.REPORT.text():  # else it may be set before the first region
    import_module("hpacml.runtime.reports.report_file").write_at_exit()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
