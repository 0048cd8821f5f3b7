"""Values that the original programs gave: `../shared/oracle`, where the checkout has it beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(__file__).parents[3] / "shared"


def oracle(name):
    """The arrays of a file, by name. Without the file, the test is skipped."""
    path = SHARED / "oracle" / name
    if not path.exists():
        pytest.skip(f"the reference values {path} are not here")
    with np.load(path) as file:
        return dict(file)


def loaded(network, saved):
    """What a network gives for the input `x` of a file with its weights, `w:` and their names."""
    weights = {name[2:]: torch.from_numpy(each) for name, each in saved.items() if name.startswith("w:")}
    network.load_state_dict(weights)
    with torch.inference_mode():
        return network(torch.from_numpy(saved["x"])).numpy()
