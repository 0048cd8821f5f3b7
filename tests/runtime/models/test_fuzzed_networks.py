"""A few of the random networks of `make fuzz`, the same ones each time, and one with a known difference."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from tests import fuzz_models, fuzz_networks

NETWORKS = 4


@pytest.mark.slow
def test_random_networks_compute_in_all_ways_what_they_do_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    found = fuzz_models.search(NETWORKS, seed=7)
    assert found == 0, capsys.readouterr().out


def test_a_difference_is_printed_as_a_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(door: str, signature: str, made: dict[str, np.ndarray[Any, Any]], network: Any) -> None:
        made["y"][...] = 0

    monkeypatch.setattr(fuzz_models, "call", wrong)
    monkeypatch.setattr(fuzz_models, "ENOUGH", 1)
    assert fuzz_models.search(3, seed=7) >= 1
    script = capsys.readouterr().out
    assert "def make():" in script
    assert "print(check(make, signature=" in script
    assert "instead of" in script


def test_texts_of_networks_depend_on_their_seed_alone() -> None:
    texts = [fuzz_networks.generate(random.Random("1:5"), 9).text for _ in range(2)]
    assert texts[0] == texts[1]
    names: dict[str, Any] = {}
    exec(texts[0], names)
    assert isinstance(names["make"](), torch.nn.Module)
