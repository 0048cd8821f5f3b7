"""The layout shows the architecture: imports run downwards, without circles, and names tell files apart.

Lazy imports count, and those for types alone: what a reader of a file must know does not depend on when it is loaded.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

FLOORS = [
    ["hpacml.errors", "hpacml.version", "hpacml.dtypes", "hpacml.clauses", "hpacml.locks"],
    ["hpacml.environment", "hpacml.private_files"],
    ["hpacml.disk", "hpacml.functors", "hpacml.networks"],
    ["hpacml.dialects"],
    ["hpacml.abi"],
    ["hpacml.directives"],
    ["hpacml.passes"],
    ["hpacml.pipelines"],
    ["hpacml.backend"],
    ["hpacml.runtime"],
    ["hpacml.frontend"],
    ["hpacml.embedding", "hpacml.ir", "hpacml.jax"],
    ["hpacml.training"],
    ["hpacml.evaluation"],
    ["hpacml.searching"],
    ["hpacml"],
    ["hpacml.tools"],
    ["hpacml.universe"],
]
"""From the ground up. Rooms on one floor do not import each other; inside of a folder there are no circles of files."""

DIALECTS = "hpacml.dialects."
"""Operations name their canonicalization patterns, which name the operations: xDSL's own idiom."""


@functools.cache
def modules() -> dict[str, Path]:
    """The files of the package by the names of their modules."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / "hpacml").rglob("*.py")):
        found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@functools.cache
def imports(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, anywhere in it."""
    return frozenset(filter(None, map(known, imported(modules()[module])))) - {module}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def known(name: str) -> str | None:
    """The module that a dotted name is or lies in, if it is one of the package."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def room(module: str) -> tuple[int, str]:
    """The floor that a module stands on, and the name under which it stands there."""
    rooms = [(number, name) for number, names in enumerate(FLOORS) for name in names]
    return max((r for r in rooms if f"{module}.".startswith(f"{r[1]}.")), key=lambda r: len(r[1]))


@functools.cache
def reached(module: str) -> frozenset[str]:
    """All that a module imports, directly or not."""
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = imports(ahead.pop()) - found
        found |= new
        ahead.extend(new)
    return frozenset(found)


def test_imports_run_downwards() -> None:
    upward = [
        f"{module} imports {other}"
        for module in modules()
        for other in imports(module)
        if room(other) != room(module) and room(other)[0] >= room(module)[0]
    ]
    assert not upward


def test_imports_are_absolute() -> None:
    """Others would escape these tests."""
    trees = {module: ast.walk(ast.parse(path.read_text())) for module, path in modules().items()}
    assert not [m for m, nodes in trees.items() if any(isinstance(n, ast.ImportFrom) and n.level for n in nodes)]


def test_no_file_imports_two_of_one_name() -> None:
    for module in modules():
        names = [other.rpartition(".")[2] for other in imports(module)]
        assert len(names) == len(set(names)), (module, sorted(names))


def test_there_are_no_circles() -> None:
    circles = {frozenset({module, *(m for m in reached(module) if module in reached(m))}) for module in modules()}
    found = [sorted(circle) for circle in circles if len(circle) > 1]
    assert all(all(module.startswith(DIALECTS) for module in circle) for circle in found), found


def test_no_two_files_in_a_chain_of_imports_share_a_name() -> None:
    shared = [
        f"{module} and {other}"
        for module in modules()
        for other in reached(module)
        if module.rpartition(".")[2] == other.rpartition(".")[2] and module != other
        if "__init__" not in (modules()[module].stem, modules()[other].stem)
    ]
    assert not shared


def test_files_are_small() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in modules().values()}
    assert not {name: lines for name, lines in lengths.items() if lines > 500}
