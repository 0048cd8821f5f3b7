"""Write what is generated in docs/: the IR of docs/smooth.py after every stage (architecture.md), operations.md and
environment.md.

`python docs/generate.py` writes; `python docs/generate.py --check` fails if something is stale.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parent
PART = re.compile(r"(<!-- ir: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

OPERATIONS = """# Operations

Written by `python docs/generate.py` from the operations' docstrings. Types:
`!hpacml.mapping<?x?x5xf32>` is a map as a value, with shape and element type of its dense tensor, and
`!hpacml.indirect<?x3xf32>` a view whose elements are found by indices.
Element types are `i8` (unsigned), `i32`, `i64`, `f16`, `bf16`, `f32`, `f64`.
"""

ENVIRONMENT = """# Environment variables

Written by `python docs/generate.py` from the table in `hpacml/environment.py`. `hpacml env` prints it with what the
variables are set to (`--json` for programs), and warns of names that are misspelt. A variable is read whenever it is
needed, so that a program can set it at any time, unless its meaning says when it is read. An empty one counts as not
set.

| variable | takes | default | meaning |
|---|---|---|---|
"""


def ir(stage: str) -> str:
    """The IR of the kernel after a stage (`kernel`: before any)."""
    sys.path.insert(0, str(DOCS))
    from smooth import smooth

    return str(smooth.ir() if stage == "kernel" else smooth.ir(stage=stage))


def architecture(text: str) -> str:
    """The page with its generated parts, between `<!-- ir: STAGE -->` and `<!-- end -->`, made anew."""
    return PART.sub(lambda part: f"{part[1]}```mlir\n{ir(part[2])}\n```\n{part[3]}", text)


def operations() -> str:
    """The page of operations: what the package of each dialect says, and what each operation says."""
    from hpacml.dialects import get_all_dialects

    page = OPERATIONS
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
    pages = {
        DOCS / "architecture.md": architecture((DOCS / "architecture.md").read_text()),
        DOCS / "operations.md": operations(),
        DOCS / "environment.md": variables(),
    }
    for page, text in pages.items():
        if "--check" not in sys.argv[1:]:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            sys.exit(f"{page} is stale: run python docs/generate.py")


if __name__ == "__main__":
    main()
