"""What decides which code runs is used only if nobody else can write it: the cache of compiled code, the list of trust."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpacml import private_files
from hpacml.disk import cache
from hpacml.errors import ModelError
from hpacml.runtime.models import trust

OTHER_USER = 65_534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives files away")


def writable_by_all(path: Path) -> None:
    path.chmod(0o777)


def writable_by_the_group(path: Path) -> None:
    path.chmod(0o770)


def of_another_user(path: Path) -> None:
    os.chown(path, OTHER_USER, -1)


SPOILED = [writable_by_all, writable_by_the_group, pytest.param(of_another_user, marks=as_root)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("HPACML_CACHE_DIR", str(path))
    return path


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_folder_of_others_is_no_cache(spoil: Callable[[Path], None], folder: Path, caplog: pytest.LogCaptureFixture):
    cache.store("name", b"planted")
    assert cache.load("name") == b"planted"
    spoil(folder)
    assert cache.load("name") is None
    cache.store("other", b"data")
    assert cache.load("other") is None
    assert [file.name for file in folder.iterdir()] == ["name"]
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"the cache of compiled code, {folder}, is not used" in warning.message
    assert "run chmod go-w on it" in warning.message or f"another user, number {OTHER_USER}" in warning.message


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_file_of_others_is_not_in_the_cache(spoil: Callable[[Path], None], folder: Path):
    cache.store("name", b"planted")
    spoil(folder / "name")
    assert cache.load("name") is None
    assert cache.fetch("name", lambda: b"made", bytes) == b"made"
    assert cache.load("name") == b"made", "it has been replaced"


@pytest.mark.parametrize("kind", ["fifo", "folder", "empty", "link to nothing", "link to a device", "unreadable"])
def test_what_is_no_regular_file_is_not_in_the_cache(kind: str, folder: Path):
    cache.store("other", b"data")
    path = folder / "name"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch(0o600)
        case "link to nothing":
            path.symlink_to("nothing")
        case "link to a device":
            path.symlink_to("/dev/zero")
        case _:
            path.touch(0)
    assert cache.load("name") is None
    assert cache.fetch("name", lambda: b"made", bytes) == b"made"
    assert sorted(file.name for file in folder.iterdir()) == ["name", "other"], "nothing temporary is left"


def test_a_file_under_the_name_of_another_is_damaged(folder: Path):
    cache.store("first", b"data")
    (folder / "first").rename(folder / "second")
    assert cache.load("second") is None


def test_a_file_that_has_grown_beyond_measure_is_not_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache.store("name", b"data")
    os.truncate(folder / "name", 10**13)
    assert cache.load("name") is None
    assert cache.fetch("name", lambda: b"made", bytes) == b"made"
    assert cache.load("name") == b"made"
    (tmp_path / "trusted").touch(0o600)
    os.truncate(tmp_path / "trusted", 10**13)
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    with pytest.raises(ModelError, match=r"cannot read the list of trusted models, .*: it has 10000000000000 bytes"):
        trust.entries()


def test_what_cannot_be_used_is_made_anew(folder: Path):
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"12"

    cache.store("name", b"no number")
    assert [cache.fetch("name", make, int) for _ in range(2)] == [12, 12]
    assert len(made) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        cache.fetch("other", lambda: b"rubbish", int)


PROGRAM = """
import numpy as np
import hpacml
from jaxtyping import Float64

@hpacml.kernel
def twice(x: Float64[np.ndarray, "N"]):
    for i in range(len(x)):
        x[i] *= 2

x = np.ones(3)
twice(x)
print(x)
"""


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\x7fELF\2\1\1" + bytes(2000), None])
def test_a_program_outlives_any_content_of_the_cache(rubbish: bytes | None, folder: Path, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run() -> None:
        result = subprocess.run([sys.executable, program], capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (0, "[2. 2. 2.]\n"), result.stderr

    run()
    names = sorted(file.name for file in folder.iterdir())
    contents = [cache.load(name) for name in names]
    for name, content in zip(names, [*contents[1:], contents[0]], strict=True):
        # Its checksum is right, as that of a file made by a faulty version is; without rubbish, files change places.
        cache.store(name, rubbish if rubbish is not None else content or b"")
    run()
    assert [cache.load(name) for name in names] == contents


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_list_of_trust_that_others_may_write_is_not_used(
    what: str, spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "trust" / "trusted"
    monkeypatch.setenv("HPACML_TRUST_FILE", str(file))
    model = tmp_path / "m.pt2"
    model.write_bytes(b"content")
    trust.trust(model)
    assert trust.is_trusted(model)
    spoil(file if what == "file" else file.parent)
    whose = "" if what == "file" else f" of its folder {file.parent}"
    message = re.escape(f"the list of trusted models, {file}, is not used because{whose} ")
    for use in (trust.is_trusted, trust.trust):
        with pytest.raises(ModelError, match=message + "(it belongs to another user|other users may write it)"):
            use(model)


def test_a_list_of_trust_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "trusted", 0o600)
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    with pytest.raises(ModelError, match=r"cannot read the list of trusted models, .*: it is no regular file"):
        trust.entries()


@as_root
def test_what_the_superuser_owns_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in a container, where another user runs what was installed."""
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr("os.geteuid", lambda: OTHER_USER)
    with private_files.private_folder(tmp_path) as folder:
        assert private_files.read("file", folder, private=True) == b"content"
