"""Folders with libhpacml of other versions: those that were asked for last stay."""

import os
import threading
import time
from pathlib import Path

import pytest

from hpacml.embedding import old_folders


def made(base: Path, number: int, prefix: str = "v") -> Path:
    """A folder with a library that was asked for so many days ago."""
    folder = base / f"{prefix}{number}"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "libhpacml.so").write_text(str(number))
    ago = time.time() - 24 * 3600 * number
    os.utime(folder, (ago, ago))
    return folder


def names(base: Path) -> set[str]:
    return {each.name for each in base.iterdir()}


def test_those_that_were_asked_for_last_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_folders, "KEPT", 3)
    oldest = [made(tmp_path, number) for number in range(6)][-1]
    old_folders.note_use(oldest)
    old_folders.remove_old(tmp_path)
    assert names(tmp_path) == {"v0", "v1", "v5"}
    assert (oldest / "lib" / "libhpacml.so").read_text() == "5"


def test_what_killed_processes_left_goes_and_what_is_being_made_stays(tmp_path: Path) -> None:
    made(tmp_path, 3, ".new-")
    with old_folders.unfinished(tmp_path) as folder:
        old_folders.remove_old(tmp_path)
        assert names(tmp_path) == {Path(folder).name}
    assert names(tmp_path) == set()


def test_many_may_remove_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_folders, "KEPT", 5)
    for number in range(60):
        made(tmp_path, number)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            old_folders.remove_old(tmp_path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert names(tmp_path) == {f"v{number}" for number in range(5)}


def test_a_folder_that_is_not_there_or_of_others_is_left(tmp_path: Path) -> None:
    old_folders.note_use(tmp_path / "none")
    old_folders.remove_old(tmp_path / "none")
