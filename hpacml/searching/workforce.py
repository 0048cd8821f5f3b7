"""The processes that train and measure: those of Parsl, on this machine or wherever a configuration says."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import parsl
from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD, DEFAULT_LAUNCH_CMD
from parsl.providers import LocalProvider

from hpacml.errors import ConfigError
from hpacml.searching.places import imported


class Workforce:
    """Workers that live as long as it does. Each does one task at a time, with one thread."""

    def __init__(self, place: str | None, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = folder / f"{os.getpid()}.alive"
        self._held = open(self._lock, "w")  # noqa: SIM115
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self._kernel = DataFlowKernel(_local(folder, self._lock) if place is None else _imported(place))
        self._apps: dict[Callable[..., Any], Any] = {}

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker call a function of a module."""
        if task not in self._apps:
            self._apps[task] = cast(Any, parsl).python_app(task, data_flow_kernel=self._kernel)
        return self._apps[task](*arguments)

    def close(self) -> None:
        """End the workers."""
        cast(Any, self._kernel).cleanup()
        self._held.close()
        self._lock.unlink(missing_ok=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _local(folder: Path, lock: Path) -> Config:
    scripts = Path(sys.executable).parent
    begin = [sys.executable, "-m", "hpacml.searching.attached", str(lock)]
    pool, _, arguments = DEFAULT_LAUNCH_CMD.partition(" ")
    return Config(
        executors=[
            HighThroughputExecutor(
                label="local",
                address="127.0.0.1",
                cores_per_worker=1e-6,  # those of the machine are what this process may use, which Parsl does not ask
                max_workers_per_node=cores(),
                launch_cmd=f"{shlex.join([*begin, str(scripts / pool)])} {arguments}",
                interchange_launch_cmd=[*begin, str(scripts / DEFAULT_INTERCHANGE_LAUNCH_CMD[0])],
                provider=LocalProvider(min_blocks=1, max_blocks=1, worker_init=_exported()),
            )
        ],
        strategy="none",
        run_dir=str(folder),
        initialize_logging=False,
    )


def _exported() -> str:
    """What workers must have of the environment before they begin: the modules of this process, and one thread each."""
    modules = os.pathsep.join(dict.fromkeys(each or os.getcwd() for each in sys.path))
    return f"export OMP_NUM_THREADS=1 PYTHONPATH={shlex.quote(modules)}"


def _imported(place: str) -> Config:
    """A configuration of Parsl, or what a function without arguments gives. Raises ConfigError."""
    found = imported(place)
    config = found() if callable(found) else found
    if not isinstance(config, Config):
        raise ConfigError(f"parsl: '{place}' is a {type(config).__name__}, not a parsl.Config")
    return config
