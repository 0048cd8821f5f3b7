"""The pages tell what is true: their examples run as they stand there, and what they name exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

PATH = re.compile(r"`([\w./-]+(?:\.(?:py|ll|lark|md|h|mlir)|/))(?:::([\w.]+))?`")
"""`folder/`, `folder/file.py` or `file.py::name`, from the top of the repository or of the package."""

LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.mark.parametrize(
    "page",
    [
        "composition",
        "databases",
        "directives",
        "embedding",
        "evaluate",
        "gradients",
        "guards",
        "jax",
        "networks",
        "report",
        "training",
    ],
)
def test_examples(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    path = tmp_path / f"{page}.py"  # a file, since kernels need their source
    path.write_text("\n".join(blocks))
    monkeypatch.chdir(tmp_path)
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": page})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_names_exist(page: Path) -> None:
    named = [match for match in PATH.finditer(_prose(page)) if "/" in match[1] or match[2]]
    assert not [match[0] for match in named if not _exists(match[1], match[2])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    missing: list[str] = []
    for link in LINK.finditer(_prose(page)):
        to = (page.parent / link[1]).resolve() if link[1] else page
        if not to.exists() or (link[2] and link[2] not in _anchors(to)):
            missing.append(link[0])
    assert not missing


def _exists(path: str, name: str | None) -> bool:
    files = [top / path for top in (ROOT, ROOT / "hpacml") if (top / path).exists()]
    return any(name is None or name in _names(file) for file in files)


@functools.cache
def _names(file: Path) -> frozenset[str]:
    """What a module defines at its top and in its classes, as `name` and `Class.name`."""
    found: set[str] = set()

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + each.id for each in targets if isinstance(each, ast.Name))
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}.")

    look(ast.parse(file.read_text()).body, "")
    return frozenset(found)


def _anchors(page: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
