"""Networks: their layers and sizes as data, and the families of which training takes one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpacml.networks.families import cnn, coordinates, mlp, tapered
    from hpacml.networks.spaces import FAMILIES

__all__ = ["FAMILIES", "cnn", "coordinates", "mlp", "tapered"]

_LAZY = {"FAMILIES": "hpacml.networks.spaces"}
"""Where names stand that do not need Torch, as those of the other file do."""


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(_LAZY.get(name, "hpacml.networks.families")), name)
    raise AttributeError(f"module 'hpacml.networks' has no attribute '{name}'")
