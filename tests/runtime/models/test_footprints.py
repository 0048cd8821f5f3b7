"""Files of data may name layers of any size: what no memory holds is an error before it is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import hpacml
from hpacml.runtime.models import footprint, layers, statedict
from hpacml.runtime.models.footprint import Footprint
from hpacml.tools.cli import app

HUGE = {
    "pool": (nn.AdaptiveAvgPool1d(10**13), [1, 1, 4]),
    "pool in two dimensions": (nn.Sequential(nn.ReLU(), nn.Sequential(nn.AdaptiveAvgPool2d(10**5))), [1, 1, 4, 4]),
    "padding": (nn.Sequential(nn.Conv2d(1, 1, 3, padding=10**6), nn.AdaptiveAvgPool2d(1)), [1, 1, 4, 4]),
    "padding by reflection": (nn.Conv1d(1, 1, 3, padding=10**12, padding_mode="replicate"), [1, 1, 4]),
    "then a layer that fails": (nn.Sequential(nn.AdaptiveAvgPool1d(10**13), nn.Linear(3, 1)), [1, 1, 4]),
}


@hpacml.region(
    "tensor functor(rows: [i, 0:1, 0:4] = ([i, 0:1, 0:4])) ml(infer) in(rows(x[0:n, 0:1, 0:4])) "
    "out(rows(y[0:n, 0:1, 0:4])) model(net)"
)
def through(x, y, n, net):
    raise AssertionError


def write(module: nn.Module, shape: list[int], path: Path) -> str:
    example = [{"dtype": "float32", "shape": shape}]
    path.write_bytes(statedict.encode(module.eval(), {"example": example}))
    return str(path)


@pytest.mark.parametrize("name", HUGE)
def test_verify_does_not_run_what_takes_too_much(name: str, tmp_path: Path) -> None:
    file = write(*HUGE[name], tmp_path / "m.safetensors")
    result = CliRunner().invoke(app, ["model", "verify", file])
    assert result.exit_code == 1
    assert "WRONG: one of its layers takes" in result.output
    assert CliRunner().invoke(app, ["model", "info", file]).exit_code == 0


@pytest.mark.parametrize("number", [(1 << 63) - 1, 1 << 62, -(1 << 62), [1 << 40], 1 << 70])
@pytest.mark.parametrize("argument", ["kernel_size", "dilation"])
def test_layers_with_numbers_that_overflow_are_refused(argument: str, number: object) -> None:
    described = layers.describe(nn.MaxPool1d(2))
    with pytest.raises(ValueError, match=rf"the layer MaxPool1d has {argument}=.*, which is beyond 2147483648"):
        layers.build({**described, argument: number})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", ["pool", "padding by reflection", "then a layer that fails"])
def test_a_region_does_not_run_it_either(name: str, dtype: type, tmp_path: Path) -> None:
    file = write(*HUGE[name], tmp_path / "m.safetensors")
    y = np.zeros((2, 1, 4))
    for _ in range(2):
        with pytest.raises(hpacml.ModelError, match=r"in the region 'through' .*it would take .* GiB at once"):
            through(np.ones((2, 1, 4), dtype), y, 2, file)
    assert not y.any()


def test_more_rows_than_there_is_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "memory", lambda: 4096)
    file = write(
        nn.Sequential(nn.AdaptiveAvgPool1d(64), nn.AdaptiveAvgPool1d(4)), [1, 1, 4], tmp_path / "m.safetensors"
    )
    x, y = np.ones((20, 1, 4), np.float32), np.zeros((20, 1, 4))
    for rows in (1, 10, 2):
        through(x, y, rows, file)
    assert y[:10].all()
    with pytest.raises(hpacml.ModelError, match="it would take"):
        through(x, y, 20, file)
    assert not y[10:].any()


def test_what_is_measured_is_not_seen_by_hooks_of_all_modules() -> None:
    seen: list[object] = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, given, result: seen.append(result))
    try:
        assert Footprint(nn.Sequential(nn.Linear(4, 100))).largest([torch.zeros(8, 4)]) >= 8 * 100 * 4
    finally:
        hook.remove()
    assert not seen
