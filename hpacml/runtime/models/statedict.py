"""State dicts with a description of their network, in one safetensors file: data, which runs no code.

The `__metadata__` in the header of the file has two texts: `hpacml`, JSON with the description, and `sha256`, of all
the rest of the file. The package safetensors encodes and decodes the tensors. It would write these texts in random
order, so that one state would be many files, and reads none from memory; so they are put in and taken out here.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpacml.runtime.models.network import Network, first_floating

if TYPE_CHECKING:
    import torch

VERSION = 1

Header = dict[str, Any]
"""The dtype, the shape and the place of each tensor by its name, and texts under `__metadata__`."""


def recognises(content: bytes, members: Collection[str]) -> bool:
    """Tell whether a file is of the safetensors format; whether it describes a network, `decode` finds out."""
    return content[8:10] == b'{"'  # behind the length of its header


def read(content: bytes, device: str) -> Network:
    """Build the network of a file, on `device`. Raises ValueError, and what Torch raises."""
    from hpacml.runtime.models.footprint import Footprint

    module, metadata = decode(content)
    module.to(device)
    anchor = first_floating(module)
    footprint = Footprint(module)
    return Network(
        footprint.checked(module),
        lambda: anchor,
        trial=lambda: footprint.checked(copy.deepcopy(module)),
        module=lambda: module,
        fixed=True,
        largest=footprint.largest,
    ).with_metadata(metadata)


def write(module: torch.nn.Module, example: Sequence[torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Write the state and the description of a module.

    Raises `layers.UnknownLayer`, or ValueError for a dtype that the format lacks.
    """
    return encode(module, metadata)


def encode(module: torch.nn.Module, metadata: Mapping[str, Any]) -> bytes:
    """Write the file of a module. Raises `layers.UnknownLayer`, or ValueError for a dtype that the format lacks."""
    from safetensors.torch import save

    from hpacml.runtime.models import layers

    table, data = _parts(save(_tensors(module)))
    text = json.dumps({"version": VERSION, "network": layers.describe(module), "metadata": dict(metadata)})
    texts = {"hpacml": text, "sha256": _digest(text, table, data)}
    header = json.dumps({"__metadata__": texts, **table}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def decode(content: bytes) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Build the module of a file, in evaluation mode, and give its metadata.

    Raises ValueError, and what Torch raises.
    """
    from hpacml.runtime.models import layers

    table, data = _parts(content)
    texts = table.pop("__metadata__", {})
    if "hpacml" not in texts:
        raise ValueError("it holds tensors, but no description of a network")
    if texts.get("sha256") != _digest(texts["hpacml"], table, data):
        raise ValueError("its checksum does not agree with its content")
    described = json.loads(texts["hpacml"])
    if described["version"] != VERSION:
        raise ValueError(f"it is of version {described['version']} of this format, and {VERSION} is known")
    module = layers.build(described["network"])
    module.load_state_dict(_decoded(content), assign=True)
    return module.eval().requires_grad_(False), described["metadata"]


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy the state of a module. The package refuses tensors that share memory, as weights may; copies do not."""
    import torch

    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)
    tensors: dict[str, torch.Tensor] = module.state_dict()
    for name, tensor in tensors.items():
        if tensor.dtype not in dtypes:
            raise ValueError(f"'{name}' is of {tensor.dtype}, for which the format has no name")
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _decoded(content: bytes) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        with torch.device("cpu"):  # where it would put empty tensors on the default device
            return load(content)
    except SafetensorError as error:
        raise ValueError("the place of a tensor does not agree with its shape") from error


def _parts(content: bytes) -> tuple[Header, bytes]:
    """Split a file into its header and the bytes of its tensors. Raises ValueError."""
    size = int.from_bytes(content[:8], "little")
    if size > len(content) - 8:
        raise ValueError("its header is not complete")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _digest(text: str, table: Header, data: bytes) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(json.dumps(table, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()
