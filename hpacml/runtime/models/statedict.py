"""A state dict and the description of its network in one file of the safetensors format: data, which runs no code.

The file is a header length, a header in JSON and the tensors; the header tells dtype, shape and place of each. Its
`__metadata__` has two texts of ours: `hpacml`, JSON with the description, and `sha256`, of all the rest of the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from hpacml.runtime.models import layers

VERSION = 1
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write(module: torch.nn.Module, metadata: Mapping[str, Any]) -> bytes:
    """The file of a module. Raises `layers.UnknownLayer`, or ValueError for a dtype that the format lacks."""
    table: dict[str, Any] = {}
    data = bytearray()
    for name, tensor in module.state_dict().items():
        if tensor.dtype not in _NAMES:
            raise ValueError(f"'{name}' is of {tensor.dtype}, for which the format has no name")
        start = len(data)
        data += tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        table[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, len(data)],
        }
    text = json.dumps({"version": VERSION, "network": layers.describe(module), "metadata": dict(metadata)})
    texts = {"hpacml": text, "sha256": _digest(text, table, data)}
    header = json.dumps({"__metadata__": texts, **table}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def read(content: bytes) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The module in a file, in evaluation mode, and its metadata. Raises ValueError, and what Torch raises."""
    size = int.from_bytes(content[:8], "little")
    if size > len(content) - 8:
        raise ValueError("its header is not complete")
    table = json.loads(content[8 : 8 + size])
    texts = table.pop("__metadata__", {})
    if "hpacml" not in texts:
        raise ValueError("it holds tensors, but no description of a network")
    data = content[8 + size :]
    if texts.get("sha256") != _digest(texts["hpacml"], table, data):
        raise ValueError("its checksum does not agree with its content")
    described = json.loads(texts["hpacml"])
    if described["version"] != VERSION:
        raise ValueError(f"it is of version {described['version']} of this format, and {VERSION} is known")
    module = layers.build(described["network"])
    module.load_state_dict({name: _tensor(entry, data) for name, entry in table.items()}, assign=True)
    return module.eval().requires_grad_(False), described["metadata"]


def _tensor(entry: Mapping[str, Any], data: bytes) -> torch.Tensor:
    dtype, shape, (start, stop) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not 0 <= start <= stop <= len(data) or math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError("the place of a tensor does not agree with its shape")
    if start == stop:
        return torch.empty(shape, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(data[start:stop]), dtype=dtype).reshape(shape)


def _digest(text: str, table: Mapping[str, Any], data: bytes | bytearray) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(json.dumps(table, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()
