"""The package as it is installed: lazy imports, entry points, generated documentation."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import hpacml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("report", ["", "/dev/null"])
def test_import_is_light(report: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_REPORT", report)
    heavy = ("torch", "h5py", "jax", "mlir", "llvmlite", "xdsl", "rich", "numpy")
    code = f"import hpacml, sys; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", hpacml.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    value = getattr(hpacml, name)
    assert value.__doc__


def test_errors_have_one_base() -> None:
    errors = [getattr(hpacml, name) for name in hpacml.__all__ if name.endswith("Error")]
    assert all(issubclass(error, hpacml.HpacmlError) for error in errors)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'kernels'"):
        _ = hpacml.kernels


def test_xdsl_finds_dialect_and_passes() -> None:
    (found,) = entry_points(group="xdsl.universe", name="hpacml")
    universe = found.load()
    assert "hpacml" in universe.all_dialects
    assert "hpacml-resolve-slices" in universe.all_passes


def test_generated_documentation_is_fresh() -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=True)


def test_package_is_typed() -> None:
    assert (Path(hpacml.__file__).parent / "py.typed").exists()
