"""Torch's model files are ZIP archives. `save_model` puts one member of its own, in JSON, beside theirs."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Generator, Mapping
from typing import Any

_MEMBER = "hpacml.json"


@contextlib.contextmanager
def _opened(content: bytes) -> Generator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # a damaged directory has many ways to fail
        raise zipfile.BadZipFile(str(error)) from error


def members(content: bytes) -> set[str]:
    """The names in the archive, without the folder that holds all. Raises BadZipFile for a torn archive."""
    with _opened(content) as archive:
        return {name.partition("/")[2] for name in archive.namelist()}


def check(content: bytes) -> None:
    """Raise BadZipFile unless the checksums of all members agree."""
    with _opened(content) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")


def with_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    """The archive with `metadata`."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        # A fixed date, so that the same model is the same file.
        archive.writestr(zipfile.ZipInfo(f"{folder}/{_MEMBER}"), json.dumps(metadata))
    return buffer.getvalue()


def metadata(content: bytes) -> dict[str, Any]:
    """The metadata of an archive; empty if it has none."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next((name for name in archive.namelist() if name.partition("/")[2] == _MEMBER), None)
        return {} if name is None else json.loads(archive.read(name))
