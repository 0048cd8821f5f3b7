"""`hpacml db export`: the data of one region as a file of NumPy or of Torch, written piece by piece."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.reader import Region
from hpacml.runtime.databases.tensors import Tensor
from hpacml.tools.console import progress
from hpacml.tools.outputs import new_file


def export(region: Region, out: Path) -> None:
    """Write the tensors of a region by their names, and `maps`, as an .npz or .pt file. Raises DatabaseError."""
    writers = {".npz": _write_npz, ".pt": _write_torch}
    if out.suffix not in writers:
        raise DatabaseError(f"'{out}' is neither .npz (NumPy) nor .pt (Torch): name such a file")
    with new_file(out) as part:
        writers[out.suffix](region, part)


def _write_npz(region: Region, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for tensor in region.tensors:
            with archive.open(f"{tensor.name}.npy", "w", force_zip64=True) as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(tensor.dtype),
                    "fortran_order": False,
                    "shape": tensor.shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
                for block in progress(tensor.blocks, f"writing {tensor.name}", len(tensor.blocks)):
                    file.write(np.ascontiguousarray(tensor[block]).data)
        with archive.open("maps.npy", "w") as file:
            np.lib.format.write_array(file, np.array(region.maps or (), np.str_), allow_pickle=False)


def _write_torch(region: Region, path: Path) -> None:
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        content: dict[str, Any] = {
            tensor.name: torch.as_tensor(_mapped(tensor, Path(folder, tensor.name)), device="cpu")
            for tensor in region.tensors
        }
        torch.save({**content, "maps": list(region.maps or ())}, path)


def _mapped(tensor: Tensor, path: Path) -> Any:
    """Copy a tensor to a file that is mapped into memory."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    mapped = np.memmap(path, tensor.dtype, "w+", shape=tensor.shape)
    for block in progress(tensor.blocks, f"reading {tensor.name}", len(tensor.blocks)):
        mapped[block] = tensor[block]
    return mapped
