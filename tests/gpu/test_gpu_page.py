"""The examples of docs/gpu.md run as they stand there; on the simulated device, `.cuda()` is what that has for it."""

from __future__ import annotations

import re
from pathlib import Path

import hpacml
from tests.machines import Machine

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


def test_examples(machine: Machine, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    if not machine.real:
        code = re.sub(r"torch\.from_numpy\((\w+)\)\.cuda\(\)", r"on_device(\1)", code).replace(".cuda()", "")
    path = tmp_path / "page.py"
    path.write_text(code)
    exec(compile(code, str(path), "exec"), {"__name__": "page", "on_device": machine.there})
    hpacml.report(reset=True)  # other pages have a region of that name too
