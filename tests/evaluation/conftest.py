"""A program, and a network for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.evaluation.programs import Program


@pytest.fixture
def program():
    return Program()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double().eval()
