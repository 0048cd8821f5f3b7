"""Names, files and documentation of passes and operations belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpacml.dialects.hpacml import Hpacml
from hpacml.passes import PASS_NAMES, get_all_passes, get_pass
from hpacml.pipelines import CPU_PASSES

FILECHECK = Path(__file__).parent / "filecheck"
OPERATIONS = (FILECHECK / "dialects" / "ops.mlir").read_text()


@pytest.mark.parametrize("name", PASS_NAMES)
def test_pass(name: str) -> None:
    factory = get_all_passes()[name]
    assert factory() is get_pass(name)
    assert factory().name == name
    assert "becomes" in (factory().__doc__ or "")
    factory()()  # no option without a default
    assert (FILECHECK / "passes" / f"{name}.mlir").exists()


def test_the_pipeline_has_all_passes() -> None:
    assert sorted(CPU_PASSES) == sorted(PASS_NAMES)


@pytest.mark.parametrize("op", list(Hpacml.operations), ids=lambda op: op.name)
def test_operation(op) -> None:
    assert "Example:\n" in op.__doc__
    assert f"{op.name} " in op.__doc__
    assert f"{op.name} " in OPERATIONS
