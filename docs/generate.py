"""Write the generated parts of docs/: the IR of docs/smooth.py after every stage, into docs/architecture.md.

A generated part stands between `<!-- ir: STAGE -->` and `<!-- end -->`. `python docs/generate.py` rewrites
them all; `python docs/generate.py --check` fails if one is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
PART = re.compile(r"(<!-- ir: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def ir(stage: str) -> str:
    """The IR of the kernel after a stage (`kernel`: before any), with long lines as they are."""
    sys.path.insert(0, str(DOCS))
    from smooth import smooth

    return str(smooth.ir() if stage == "kernel" else smooth.ir(stage=stage))


def generated(text: str) -> str:
    """`text` with its generated parts made anew."""
    return PART.sub(lambda part: f"{part[1]}```mlir\n{ir(part[2])}\n```\n{part[3]}", text)


def main() -> None:
    page = DOCS / "architecture.md"
    text = page.read_text()
    fresh = generated(text)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if fresh == text else f"{page} is stale: run python docs/generate.py")
    page.write_text(fresh)


if __name__ == "__main__":
    main()
