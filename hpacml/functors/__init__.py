"""The mathematics of tensor functors and tensor maps, without text or IR."""

from __future__ import annotations

from importlib import import_module


def __getattr__(name: str) -> object:
    """A class that stood in this file once, which pickles from then still name."""
    if name in ("Functor", "Point", "Range"):
        return getattr(import_module("hpacml.functors.tensor_functor"), name)
    raise AttributeError(f"module 'hpacml.functors' has no attribute '{name}'")
