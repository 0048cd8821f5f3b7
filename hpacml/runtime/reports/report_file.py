"""The file that HPACML_REPORT names, which is written when a process ends. Each process writes a file of its own."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import stat
import sys
import time
from pathlib import Path

from hpacml import environment
from hpacml.runtime.reports.report import report

_log = logging.getLogger("hpacml")


_written: list[_ReportFile] = []


def write_at_exit() -> None:
    """Write the report to the file that HPACML_REPORT names when this process, or one that it forks, ends.

    Only the first call counts. In a parallel run, rank 0 writes this file and rank 3 `NAME.rank3.json`. A process that
    was started by one with a report, or that finds the file written since it began, writes `NAME.pid1234.json`.
    """
    name = environment.REPORT.text()
    if _written or not name:
        return
    # Processes that this one starts see this, and write files of other names.
    os.environ.setdefault(environment.REPORT_PROCESS.name, str(os.getpid()))
    file = _ReportFile(Path(name).absolute())
    _written.append(file)
    atexit.register(file.write)
    os.register_at_fork(before=file.follow_multiprocessing)
    file.follow_multiprocessing()


class _ReportFile:
    def __init__(self, path: Path):
        self._path, self._began = path, time.time_ns()
        self._writer: int | None = None
        self._follows = False

    def follow_multiprocessing(self) -> None:
        """Make the children of multiprocessing write, too: some end without atexit."""
        if not self._follows and (util := sys.modules.get("multiprocessing.util")):
            # `Finalize` must wait till the child runs, which begins by forgetting what its parent does at the end.
            util.register_after_fork(self, _ReportFile._finalize)
            self._follows = True

    def _finalize(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self.write, exitpriority=0)

    def write(self) -> None:
        """Write the report of this process, once, and log errors."""
        if self._writer == os.getpid():
            return
        self._writer = os.getpid()
        from hpacml.runtime.databases.runs import this_run

        result, path, process = report(), self._path, f".pid{os.getpid()}"
        try:
            if rank := this_run().rank:
                path = _marked(path, f".rank{rank}")
            if environment.REPORT_PROCESS.text() != str(os.getpid()):
                path = _marked(path, process)
            if not _replace(path, result.to_json(), self._began):
                _log.warning("another process has written '%s': this one's report has %s in its name", path, process)
                _replace(_marked(path, process), result.to_json(), 0)
        except (OSError, ValueError) as error:  # ValueError: the name is invalid
            _log.error(
                "cannot write the report to '%s' (%s): set HPACML_REPORT to a file that can be written. It is\n%s",
                path,
                error,
                result,
            )


def _marked(path: Path, mark: str) -> Path:
    return path.with_name(f"{path.stem}{mark}{path.suffix}")


def _replace(path: Path, text: str, began: int) -> bool:
    """Write `text` to a file and return True, unless another process has written it since `began`."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "w", encoding="utf-8") as file:
        with contextlib.suppress(OSError):  # not every file can be locked
            fcntl.flock(file, fcntl.LOCK_EX)
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if began and status.st_size and status.st_mtime_ns > began:
                return False
            file.truncate(0)
        file.write(text)
        return True
