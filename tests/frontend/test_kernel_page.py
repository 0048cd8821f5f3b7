"""What docs/python.md says about kernels: its examples, and its table of what is refused and what to write instead."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from kernels import kernel_of

import hpacml
from hpacml.frontend.python.functions import FUNCTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
TABLE = PAGE[PAGE.index("| refused | instead |") :]
ROWS = re.findall(r"^\| `(.*?)` \| `(.*?)`.* \|$", TABLE, re.MULTILINE)
HEAD = '@hpacml.kernel\ndef f(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], n: int, x: float):\n    '


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "page.py"  # kernels need their source in a file
    file.write_text("".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)  # where dataclasses look their module up
    exec(compile(file.read_text(), str(file), "exec"), vars(page))


@pytest.mark.parametrize(("refused", "instead"), ROWS)
def test_what_to_write_instead(refused: str, instead: str) -> None:
    with pytest.raises(hpacml.CompileError):
        kernel_of(f"{HEAD}{refused}\n").ir()
    kernel_of(f"{HEAD}{instead}\n").ir()


def test_lists_all_functions() -> None:
    listed = {getattr(math, name) for name in re.findall(r"- `math`: `([\w\s]+)`", PAGE)[0].split()}
    lines = re.findall(r"- `np`, of numbers and of the elements of arrays, [^`]*`([\w\s]+)`", PAGE)
    listed |= {getattr(np, name) for line in lines for name in line.split()}
    known = {function for function in FUNCTIONS if not isinstance(function, type)}
    assert listed == known - {abs, min, max, round}


def test_rows_are_read() -> None:
    assert len(ROWS) == TABLE.count("\n| `")
