"""The passes of hpacml, by name, imported when asked for. Pass `a-b-c` is class `ABCPass` in `a_b_c.py`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.passes import ModulePass

PASS_NAMES = (
    "convert-hpacml-image-layers-to-vector",
    "convert-hpacml-layers-to-vector",
    "convert-hpacml-points-to-loops",
    "convert-hpacml-to-gpu",
    "convert-hpacml-to-loops",
    "convert-hpacml-to-runtime",
    "hpacml-bufferize",
    "hpacml-call-networks",
    "hpacml-compact-points",
    "hpacml-copy-for-points",
    "hpacml-drop-collection",
    "hpacml-expand-functions",
    "hpacml-expand-ml",
    "hpacml-fold-subviews",
    "hpacml-fuse-gather-concat",
    "hpacml-gpu-to-loops",
    "hpacml-hoist-exchanges",
    "hpacml-infer-maps",
    "hpacml-keep-branches",
    "hpacml-mask-divisions",
    "hpacml-mask-nests",
    "hpacml-offer-views",
    "hpacml-outline-parallel-loops",
    "hpacml-refuse-host-accesses",
    "hpacml-resolve-slices",
    "hpacml-roll-remainders",
    "hpacml-split-networks",
    "hpacml-tile-images",
    "hpacml-tile-networks",
    "hpacml-version-in-place",
)


def get_pass(name: str) -> type[ModulePass]:
    """The class of the pass with this name."""
    module = import_module(f"hpacml.passes.{name.replace('-', '_')}")
    return getattr(module, "".join(part.capitalize() for part in name.split("-")) + "Pass")


def get_all_passes() -> dict[str, Callable[[], type[ModulePass]]]:
    return {name: (lambda name=name: get_pass(name)) for name in PASS_NAMES}
