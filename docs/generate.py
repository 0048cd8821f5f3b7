"""Write what is generated in docs/: whole files, parts of pages, between `<!-- KIND: WHAT -->` and `<!-- end -->`, and
what errors say, behind the examples that raise them.

`python docs/generate.py` writes; `python docs/generate.py --check` fails if something is stale.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import linecache
import re
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PART = re.compile(r"(<!-- (\w+): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

MESSAGE = re.compile(r"(```python\n(.*?)```\n)(?:\n```text\n.*?```\n)?", re.DOTALL)
"""A block of Python, and the error that it raises."""

DIGEST = re.compile(r"\b[0-9a-f]{64}\b")

OPERATIONS = """# Operations

Written by `python docs/generate.py` from the operations' docstrings. Types:
`!hpacml.mapping<?x?x5xf32>` is a map as a value, with shape and element type of its dense tensor, and
`!hpacml.indirect<?x3xf32>` a view whose elements are found by indices.
Element types are {element_types}.
"""

ENVIRONMENT = """# Environment variables

Written by `python docs/generate.py` from the table in `hpacml/environment.py`. `hpacml env` prints it with what the
variables are set to (`--json` for programs), and warns of names that are misspelt. A variable is read whenever it is
needed, so that a program can set it at any time, unless its meaning says when it is read. An empty one counts as not
set.

| variable | takes | default | meaning |
|---|---|---|---|
"""


# -- parts of pages ----------------------------------------------------------------------------------


def ir(stage: str) -> str:
    """The IR of the kernel in docs/smooth.py after a stage (`kernel`: before any)."""
    sys.path.insert(0, str(DOCS))
    from smooth import smooth
    from xdsl.dialects.builtin import UnknownLoc

    from hpacml.pipelines import run_passes

    module = smooth.ir()
    for op in module.walk():
        op.location = UnknownLoc()  # call sites would have the path of this checkout
    return _code("mlir", str(module if stage == "kernel" else run_passes(module, stage)))


def c(what: str) -> str:
    """The prototypes of the runtime ABI that `host` or `device` code calls, the `descriptor` of an array, or a file."""
    from hpacml.abi import header, symbols

    if (file := DOCS / f"{what}.c").exists():
        return _code("c", file.read_text().rstrip())
    if what == "descriptor":
        return _code("c", header.DESCRIPTOR)
    return _code("c", header.declarations({"host": symbols.HOST_SYMBOLS, "device": symbols.DEVICE_SYMBOLS}[what]))


def table(of: str) -> str:
    """The table of the `folders`, of the `passes`, or of the `families` of networks."""
    return "\n".join({"folders": folders, "passes": passes, "families": families}[of]())


def folders() -> Iterator[str]:
    """Every folder of the package and every file at its top, by floors from the top, as their docstrings tell."""
    layers = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))
    found: dict[int, list[Path]] = {}
    for path in sorted((ROOT / "hpacml").iterdir()):
        if path.suffix == ".py" or (path / "__init__.py").exists():
            module = f"hpacml.{path.stem}" if path.stem != "__init__" else "hpacml"
            found.setdefault(layers["room"](module)[0], []).append(path)
    yield "| floor | | |\n|---|---|---|"
    for floor in sorted(found, reverse=True):
        for number, path in enumerate(found[floor]):
            for each in _with_folders(path):
                first = number == 0 and each == path
                name = f"{each.relative_to(ROOT)}{'/' if each.is_dir() else ''}"
                yield f"| {floor + 1 if first else ''} | `{name}` | {_summary(each)} |"


def _with_folders(path: Path) -> list[Path]:
    return [path, *sorted(init.parent for init in path.glob("*/**/__init__.py"))]


def _summary(path: Path) -> str:
    """What the first paragraph of a docstring says, of a folder that of its `__init__.py`."""
    module = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(module.read_text()))
    if not text:
        sys.exit(f"{module} has no docstring")
    return " ".join(text.split("\n\n")[0].split())


def passes() -> Iterator[str]:
    """Every pass in the order of the pipelines, with the stage that it leads to and what it is for."""
    from hpacml.passes import PASS_NAMES
    from hpacml.pipelines import GPU_STAGES, STAGES

    stages = {spec.partition("{")[0]: stage for stage, spec in {**GPU_STAGES, **STAGES}.items()}
    yield "| pass | stage | host | GPU | |\n|---|---|---|---|---|"
    for name in [*stages, *(name for name in PASS_NAMES if name not in stages)]:
        stage = stages.get(name)
        runs = ("x" if stage in pipeline else "" for pipeline in (STAGES, GPU_STAGES))
        says = _summary(ROOT / "hpacml" / "passes" / f"{name.replace('-', '_')}.py").removeprefix(f"`{name}`: ")
        yield f"| `{name}` | {f'`{stage}`' if stage else ''} | {' | '.join(runs)} | {says} |"


def families() -> Iterator[str]:
    """The hyper-parameters of each family of networks, by a table for each."""
    from hpacml.networks import FAMILIES

    for name, family in FAMILIES.items():
        must = f", where {' and '.join(f'`{each}`' for each in family.constraints)}" if family.constraints else ""
        yield f"\n### {name}\n\n| `{name}` | takes{must} | default | is | searched |\n|---|---|---|---|---|"
        for each in family.hyperparameters:
            default = json.dumps(each.default).strip('"')
            searched = " to ".join(f"{end:g}" for end in each.searched)
            yield f"| `{each.name}` | {each.allowed} | `{default}` | {each.meaning} | {searched} |"
    yield ""


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


PARTS: dict[str, Callable[[str], str]] = {"ir": ir, "c": c, "table": table}


def with_parts(page: str) -> str:
    """A page with its generated parts made anew."""
    text = (DOCS / page).read_text()
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]](part[3])}\n{part[4]}", text)


# -- messages ----------------------------------------------------------------------------------------


def with_messages(page: str) -> str:
    """A page whose blocks of Python run one after the other, as files of their own, and show the errors they raise."""
    import hpacml

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        namespace: dict[str, object] = {"__name__": Path(page).stem}

        def run(block: re.Match[str]) -> str:
            file = Path(folder, "example.py")  # kernels need their source
            file.write_text(block[2])
            linecache.clearcache()
            try:
                exec(compile(block[2], str(file), "exec"), namespace)
            except hpacml.HpacmlError as error:
                text = f"{type(error).__name__}: {error}".replace(str(Path(folder).resolve()), "/home/you")
                return f"{block[1]}\n{_code('text', DIGEST.sub('9f86d081...', text))}\n"
            return block[1]

        return MESSAGE.sub(run, (DOCS / page).read_text())


# -- whole files -------------------------------------------------------------------------------------


def operations() -> str:
    """The page of operations: what the package of each dialect says, and what each operation says."""
    from hpacml.dialects import get_all_dialects
    from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES
    from hpacml.dtypes import DTYPES

    types = (f"`{type}`{' (unsigned)' * (DTYPES[name].kind == 'u')}" for name, type in ELEMENT_TYPES.items())
    page = OPERATIONS.format(element_types=", ".join(types))
    for name, dialect in get_all_dialects().items():
        page += f"\n## The dialect `{name}`\n\n{_docstring(import_module(f'hpacml.dialects.{name}'))}\n"
        page += "".join(f"\n### `{op.name}`\n\n{_docstring(op)}\n" for op in dialect().operations)
    return page


def _docstring(documented: object) -> str:
    return inspect.cleandoc(documented.__doc__ or "")


def variables() -> str:
    """The page of environment variables."""
    from hpacml.environment import VARIABLES

    rows = ((f"`{row.name}`", row.takes, f"`{row.default}`" if row.default else "", row.meaning) for row in VARIABLES)
    return ENVIRONMENT + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    from hpacml.abi.header import header

    pages = {page: with_parts(page) for page in ("architecture.md", "networks.md", "stages.md", "runtime-abi.md")}
    pages["troubleshooting.md"] = with_messages("troubleshooting.md")
    whole = {"operations.md": operations(), "environment.md": variables(), "hpacml_abi.h": header()}
    for name, text in {**pages, **whole}.items():
        file = DOCS / name
        if "--check" not in sys.argv[1:]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            sys.exit(f"{file} is stale: run python docs/generate.py")


if __name__ == "__main__":
    main()
