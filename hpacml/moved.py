"""Modules under the names that they had before they moved, which pickles from then still name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "hpacml.affine": "hpacml.functors.polynomials",
    "hpacml.frontend.bridge": "hpacml.frontend.functor",
    "hpacml.frontend.directives": "hpacml.directives.syntax",
    "hpacml.frontend.expressions": "hpacml.directives.expressions",
    "hpacml.functors.functor": "hpacml.functors.tensor_functor",
    "hpacml.runtime.dataset": "hpacml.runtime.databases.dataset",
    "hpacml.runtime.layers": "hpacml.runtime.models.layers",
    "hpacml.runtime.reader": "hpacml.runtime.databases.reader",
    "hpacml.runtime.runs": "hpacml.runtime.databases.runs",
    "hpacml.runtime.schema": "hpacml.runtime.databases.schema",
    "hpacml.runtime.tensors": "hpacml.runtime.databases.tensors",
}
"""Where the modules are that have classes of objects that users can pickle, by their names from before."""


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        now = vars(import_module(MOVED[module.__name__]))
        vars(module).update((name, value) for name, value in now.items() if not name.startswith("__"))


def find_moved() -> None:
    """Have Python find these modules, after those that it finds by itself."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
