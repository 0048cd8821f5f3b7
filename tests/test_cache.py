"""The folder of compiled code: what users see of it, how it stays small, and what can be wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hpacml
from hpacml.disk import cache
from tests.command import run_hpacml

DAY = 86400


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_since_last_look", [])
    return tmp_path / "cache"


def gather(offset: int) -> None:
    """Use a map that no other test has, whose code must be made or found."""
    a = np.arange(100.0)
    functor = hpacml.functor(f"f: [i, 0:2] = ([i], [i + {offset}])")
    found = functor.gather("a[0:n]", a=a, n=20).numpy()
    np.testing.assert_array_equal(found, np.stack([a[:20], a[offset : offset + 20]], 1))


def used(folder: Path, days: float) -> None:
    """Make all entries of the folder look as if they had been used last so many days ago."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - days * DAY,) * 2)


def rows(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def test_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    gather(2)
    used(folder, 3)
    gather(3)
    mine = folder / "notes.txt"
    mine.write_text("no entry")
    (folder / ("code-" + "0" * 64)).mkdir()
    status, out, _ = run_hpacml(monkeypatch, capsys, "cache", "ls")
    shown = rows(out)
    assert status == 0
    assert f"compiled code in {folder}: {len(shown)} entries of " in out
    assert "at most 1 GiB" in out
    assert ["lowered", "gather"] in [row[:2] for row in shown]
    assert {"lowered", "code", "llvm"} <= {row[0] for row in shown}
    assert [row[4] for row in shown][-1] == "3 d"
    assert shown[0][4].endswith(" s")

    status, out, _ = run_hpacml(monkeypatch, capsys, "cache", "clear", "--unused-for", "2")
    assert status == 0
    assert out.startswith("removed ")
    assert out.rstrip().endswith(f"from {folder}")
    left = rows(run_hpacml(monkeypatch, capsys, "cache", "ls")[1])
    assert left
    assert "3 d" not in [row[4] for row in left]
    assert len(left) < len(shown)
    run_hpacml(monkeypatch, capsys, "cache", "clear")
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "code-" + "0" * 64}
    assert not rows(run_hpacml(monkeypatch, capsys, "cache", "ls")[1])
    gather(3)


def test_the_commands_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    status, out, _ = run_hpacml(monkeypatch, capsys, "cache", "ls")
    assert status == 0
    assert "0 entries" in out
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    status, _, err = run_hpacml(monkeypatch, capsys, "cache", "clear")
    assert status == 1
    assert "is not used as cache: other users may write it" in err
    monkeypatch.setenv("HPACML_CACHE", "0")
    status, _, err = run_hpacml(monkeypatch, capsys, "cache", "ls")
    assert status == 1
    assert "HPACML_CACHE turns it off" in err


def test_what_is_used_stays(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Entries go in the order of their last use, which loading notes; other files count for nothing."""
    names = [cache.key("code", str(k)) for k in range(10)]
    for name in names:
        cache.store(name, bytes(1000))
    (folder / "large").write_bytes(bytes(100_000))
    abandoned, young = (folder / f".new-1-{digit * 16}" for digit in "01")
    for path in (abandoned, young):
        path.write_bytes(b"part")
    for k, name in enumerate(names):
        os.utime(folder / name, (time.time() - (20 - k) * DAY,) * 2)
    os.utime(abandoned, (time.time() - DAY,) * 2)
    made = (folder / names[0]).stat().st_mtime
    assert cache.load(names[0]) == bytes(1000)
    assert (folder / names[0]).stat().st_mtime == made, "its age remains"
    monkeypatch.setenv("HPACML_CACHE_SIZE", "6 KiB")
    monkeypatch.setattr(cache, "_since_last_look", [])
    cache.store(cache.key("code", "last"), bytes(1000))
    left = [k for k, name in enumerate(names) if cache.load(name) is not None]
    assert left == [0, 7, 8, 9]
    assert cache.load(cache.key("code", "last")) is not None
    assert (folder / "large").exists()
    assert young.exists()
    assert not abandoned.exists()
    assert sum(entry.size for entry in cache.entries()) <= 6 << 10


def test_a_wrong_size_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("HPACML_CACHE_SIZE", "much")
    name = cache.key("code", "x")
    cache.store(name, b"data")
    assert cache.load(name) == b"data"
    assert "HPACML_CACHE_SIZE is 'much': set it to bytes" in caplog.text


BUSY = """
import numpy as np, hpacml, sys
for round in range(2):
    for offset in range(1, 7):
        a = np.arange(100.0)
        functor = hpacml.functor(f"f: [i, 0:2] = ([i], [i + {offset}])")
        found = functor.gather("a[0:n]", a=a, n=20).numpy()
        assert (found == np.stack([a[:20], a[offset : offset + 20]], 1)).all()
    from hpacml.frontend import bound_map as door
    door.compiled.cache_clear()
"""


@pytest.mark.slow
def test_processes_that_fill_a_small_cache_at_once(folder: Path, tmp_path: Path) -> None:
    """Each removes what another is about to load."""
    variables = {**os.environ, "HPACML_CACHE_SIZE": "30K"}
    running = [
        subprocess.Popen([sys.executable, "-c", BUSY], env=variables, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert sum(entry.size for entry in cache.entries()) < 100 << 10


@pytest.mark.slow
def test_a_disk_that_is_full(folder: Path) -> None:
    """Nothing is written, nothing half written is left, and the program runs."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
    ignored = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    done = subprocess.run([sys.executable, "-B", "-c", limited + ignored + BUSY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [path for path in folder.iterdir() if path.stat().st_size >= 512 or path.name.startswith(".new")]
