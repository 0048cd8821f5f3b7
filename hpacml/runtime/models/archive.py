"""Torch's model files, which are ZIP archives. `save_model` puts one member of its own, in JSON, beside theirs."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hpacml.runtime.models.network import Network

if TYPE_CHECKING:
    import torch

_SIGNATURE = b"PK\x03\x04"
_MEMBER = "hpacml.json"
_LARGEST_METADATA = 64 << 20


def reader(read: Callable[[io.BytesIO, str], Network]) -> Callable[[bytes, str], Network]:
    """Let `read`, of what Torch wrote, check the archive first, and give its network what `save_model` added.

    The reader raises BadZipFile for a damaged archive.
    """

    def read_archive(content: bytes, device: str) -> Network:
        check(content)
        return read(io.BytesIO(content), device).with_metadata(read_metadata(content))

    return read_archive


def writer(
    write: Callable[[torch.nn.Module, Sequence[torch.Tensor]], bytes],
) -> Callable[[torch.nn.Module, Sequence[torch.Tensor], Mapping[str, Any]], bytes]:
    """Let `write`, which has Torch write an archive, add metadata to it."""

    def write_archive(module: torch.nn.Module, example: Sequence[torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
        return with_metadata(write(module, example), metadata)

    return write_archive


def members(content: bytes) -> frozenset[str]:
    """List the names in an archive, without the folder that holds all; none for what is no archive.

    Raises BadZipFile for a torn archive.
    """
    if not content.startswith(_SIGNATURE):
        return frozenset()
    with _opened(content) as archive:
        return frozenset(name.partition("/")[2] for name in archive.namelist())


def check(content: bytes) -> None:
    """Raise BadZipFile unless the checksums of all members agree."""
    with _opened(content) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")


def read_metadata(content: bytes) -> dict[str, Any]:
    """Read what `save_model` added to an archive; empty if it has not written it. Raises ValueError."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next((name for name in archive.namelist() if name.partition("/")[2] == _MEMBER), None)
        if name is None:
            return {}
        if archive.getinfo(name).file_size > _LARGEST_METADATA:
            raise ValueError(f"what stands beside the network takes more than {_LARGEST_METADATA >> 20} MiB")
        found = json.loads(archive.read(name))
    if not isinstance(found, dict):
        raise ValueError("what stands beside the network is not what save_model writes")
    return cast("dict[str, Any]", found)


def with_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Add metadata to an archive."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        # A fixed date, so that the same model is the same file.
        archive.writestr(zipfile.ZipInfo(f"{folder}/{_MEMBER}"), json.dumps(metadata))
    return buffer.getvalue()


@contextlib.contextmanager
def _opened(content: bytes) -> Generator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # a damaged directory has many ways to fail
        raise zipfile.BadZipFile(str(error)) from error
