"""`hpacml db export`: the data of one region as a file of NumPy or of Torch, written piece by piece."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.indexing import LazyArray
from hpacml.runtime.databases.reader import Region
from hpacml.tools.console import progress
from hpacml.tools.outputs import new_file


def export(region: Region, out: Path) -> None:
    """Write the tensors of a region by their names, and `maps`, as an .npz or .pt file. Raises DatabaseError."""
    writers = {".npz": _write_npz, ".pt": _write_torch}
    if out.suffix not in writers:
        raise DatabaseError(f"'{out}' is neither .npz (NumPy) nor .pt (Torch): name such a file")
    with new_file(out) as part:
        writers[out.suffix](region, part)


def _arrays(region: Region) -> tuple[list[LazyArray], dict[str, Array]]:
    """The tensors, of calls that differ their points, and of these the offsets and shapes."""
    arrays: list[LazyArray] = []
    small: dict[str, Array] = {}
    for tensor in region.tensors:
        if not tensor.varies:
            arrays.append(tensor)
            continue
        rows = region.all_points(tensor)
        arrays.append(rows)
        small |= {f"{tensor.name}_offsets": rows.offsets, f"{tensor.name}_shapes": tensor.shapes}
    return arrays, small


def _write_npz(region: Region, path: Path) -> None:
    arrays, small = _arrays(region)
    with zipfile.ZipFile(path, "w") as archive:
        for array in arrays:
            with archive.open(f"{array.name}.npy", "w", force_zip64=True) as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(array.dtype),
                    "fortran_order": False,
                    "shape": array.shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
                for block in progress(array.blocks, f"writing {array.name}", len(array.blocks)):
                    file.write(np.ascontiguousarray(array[block]).data)
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
        with archive.open("maps.npy", "w") as file:
            np.lib.format.write_array(file, np.array(region.maps or (), np.str_), allow_pickle=False)


def _write_torch(region: Region, path: Path) -> None:
    import torch

    arrays, small = _arrays(region)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        content: dict[str, Any] = {
            array.name: torch.as_tensor(_mapped(array, Path(folder, array.name)), device="cpu") for array in arrays
        }
        content |= {name: torch.as_tensor(values, device="cpu") for name, values in small.items()}
        torch.save({**content, "maps": list(region.maps or ())}, path)


def _mapped(tensor: LazyArray, path: Path) -> Any:
    """Copy a tensor to a file that is mapped into memory."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    mapped = np.memmap(path, tensor.dtype, "w+", shape=tensor.shape)
    for block in progress(tensor.blocks, f"reading {tensor.name}", len(tensor.blocks)):
        mapped[block] = tensor[block]
    return mapped
