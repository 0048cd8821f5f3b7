"""State dicts in safetensors files: those of hpacml before it used the package, damage, and what the package makes of them.

`fixtures/expected.json` has inputs and outputs of the networks in `fixtures/*.safetensors`. `mlp` has metadata and maps,
`convolution` the integer counter of a batch norm, `bfloat16` two dtypes, and `empty` tensors without elements and
without dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.map_digest import texts_sha256
from hpacml.runtime.models import model, statedict
from tests import faults

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())


@pytest.fixture(params=["mlp", "mlp, written now"])
def content(request: pytest.FixtureRequest) -> bytes:
    """A file from before the package, and the same network written now."""
    old = (FIXTURES / "mlp.safetensors").read_bytes()
    return old if request.param == "mlp" else statedict.encode(*statedict.decode(old))


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], model.Model]:
    """`load(content)` loads a file with this content."""
    path = tmp_path / "m.safetensors"

    def load(content: bytes) -> model.Model:
        path.write_bytes(content)
        model.forget(str(path))
        return model.load(str(path))

    return load


# -- files from before the package -----------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED)
def test_old_files_compute_what_they_did(name: str) -> None:
    expected = EXPECTED[name]
    network = model.load(str(FIXTURES / f"{name}.safetensors")).network
    outputs = network.run(torch.tensor(expected["x"], dtype=network.dtypes[0]))
    torch.testing.assert_close(outputs, torch.tensor(expected["y"], dtype=getattr(torch, expected["dtype"])))
    assert network.metadata == expected.get("metadata", {})
    assert network.maps == tuple(expected.get("maps", ()))
    assert network.maps_sha256 == (texts_sha256(network.maps) if network.maps else None)


@pytest.mark.parametrize("name", EXPECTED)
def test_old_files_written_again_have_the_same_state(name: str) -> None:
    module, metadata = statedict.decode((FIXTURES / f"{name}.safetensors").read_bytes())
    again, same = statedict.decode(statedict.encode(module, metadata))
    assert (str(again), same) == (str(module), metadata)
    assert list(again.state_dict()) == list(module.state_dict())
    for tensor, other in zip(again.state_dict().values(), module.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, other, rtol=0, atol=0)


def test_an_old_file_in_the_region_that_it_was_trained_for() -> None:
    @hpacml.region("""tensor functor(sides: [i, 0:5] = ([i, 0:5]))
                      tensor functor(point: [i, 0:1] = ([i]))
                      ml(infer) in(sides(t[0:n, 0:5])) out(point(new[0:n])) model(net)""")
    def region(t: Any, new: Any, n: int, net: Path) -> None:
        raise AssertionError("the body ran")

    new = np.zeros(4, np.float32)
    region(np.array(EXPECTED["mlp"]["x"], np.float32), new, 4, FIXTURES / "mlp.safetensors")
    np.testing.assert_allclose(new[:, None], EXPECTED["mlp"]["y"], rtol=1e-5)


# -- damage ----------------------------------------------------------------------------------------------


def flips(content: bytes) -> Iterator[bytes]:
    """The content with one bit flipped, in every third byte."""
    for place in range(0, len(content), 3):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def test_every_flipped_bit_is_found(content: bytes, load: Callable[[bytes], model.Model]) -> None:
    load(content)
    for damaged in flips(content):
        with pytest.raises(ModelError):
            load(damaged)


def test_every_truncation_is_found(content: bytes, load: Callable[[bytes], model.Model]) -> None:
    for _, damaged in faults.truncations(content, 100):
        with pytest.raises(ModelError):
            load(damaged)


def test_random_damage_is_found(content: bytes, load: Callable[[bytes], model.Model]) -> None:
    for _, damaged in faults.scribbles(content, 100):
        with pytest.raises(ModelError):
            load(damaged)


def test_damaged_data_is_told_by_the_checksum(content: bytes, load: Callable[[bytes], model.Model]) -> None:
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), content + b"\0"):
        with pytest.raises(ModelError, match="its checksum does not agree with its content"):
            load(damaged)
    with pytest.raises(ModelError, match="its header is not complete"):
        load(content[:100])


def test_more_behind_the_tensors_is_refused_by_the_package(content: bytes, load: Callable[..., Any]) -> None:
    """Even where a checksum covers it."""
    table, data = statedict._parts(content + bytes(8))
    texts = table.pop("__metadata__")
    texts["sha256"] = statedict._digest(texts["hpacml"], table, data)
    header = json.dumps({"__metadata__": texts, **table}).encode()
    with pytest.raises(ModelError, match="the place of a tensor does not agree with its shape"):
        load(len(header).to_bytes(8, "little") + header + data)


# -- what is written -------------------------------------------------------------------------------------


def test_the_package_reads_what_is_written(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    module, metadata = statedict.decode(content)
    with safe_open(path, "pt") as file:
        assert sorted(file.metadata()) == ["hpacml", "sha256"]
        assert json.loads(file.metadata()["hpacml"])["metadata"] == metadata
        for name, tensor in module.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_tensors_that_share_memory_are_written_one_by_one() -> None:
    mean, std = torch.rand(5), torch.rand(5) + 1
    ends = [hpacml.Normalize(mean, std), hpacml.Normalize(mean, std, inverse=True)]
    tied = nn.Sequential(ends[0], nn.Linear(5, 5), ends[1])
    tied[1].weight = nn.Parameter(torch.rand(5, 5).T, requires_grad=False)
    x = torch.rand(3, 5)
    torch.testing.assert_close(statedict.decode(statedict.encode(tied, {}))[0](x), tied(x).detach())


def test_a_network_without_state() -> None:
    module, metadata = statedict.decode(statedict.encode(nn.Sequential(nn.Tanh()), {"a": 1}))
    assert (str(module), metadata) == (str(nn.Sequential(nn.Tanh())), {"a": 1})


def test_one_state_is_one_file_whatever_the_process(content: bytes) -> None:
    """The package alone would write the texts in an order of its own each time."""
    module, metadata = statedict.decode(content)
    assert len({statedict.encode(module, metadata) for _ in range(20)}) == 1
