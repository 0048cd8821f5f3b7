"""The environment variables that hpacml reads, a row each; docs/environment.md and `hpacml env` come from this table.

A variable is read at each use, so that a program can set it at any time, unless its meaning says when it is read.
The texts of the rows are Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from os import environ, fsdecode, fsencode
from typing import Any, cast

from hpacml.errors import HpacmlError

_values: Mapping[bytes, bytes] = cast(Any, environ)._data
"""What is behind `environ`. Regions ask at every call, and a name that is not set costs two exceptions there."""


class Variable:
    """A variable that holds text, of which the code that reads it makes sense. An empty one counts as not set."""

    __slots__ = ("_key", "default", "meaning", "name", "takes")

    def __init__(self, name: str, takes: str, default: str, meaning: str) -> None:
        self.name, self.takes, self.default, self.meaning = name, takes, default, meaning
        self._key = fsencode(name)

    def text(self) -> str:
        """What the variable is set to, else its default, which is empty if it has none."""
        value = _values.get(self._key)
        return fsdecode(value) if value else self.default

    def set(self, text: str) -> None:
        """Set the variable, for this process and those that it starts."""
        environ[self.name] = text

    @contextmanager
    def during(self, text: str) -> Generator[None]:
        """Set the variable meanwhile."""
        before = environ.get(self.name)
        environ[self.name] = text
        try:
            yield
        finally:
            if before is None:
                environ.pop(self.name, None)
            else:
                environ[self.name] = before

    def wrong(self, text: str, advice: str, kind: type[HpacmlError] = HpacmlError) -> HpacmlError:
        """The error for a `text` that the variable does not take."""
        return kind(f"the environment variable {self.name} is '{text}': {advice}")


def inherited() -> dict[str, str]:
    """What a process gets that this one starts."""
    return dict(environ)


class Switch(Variable):
    """A variable that is on or off. The text `other` changes its default: "0" turns it off, another text on."""

    __slots__ = ("_turns_on", "other")

    def __init__(self, name: str, default: str, other: str, meaning: str) -> None:
        super().__init__(name, " or ".join(f"`{text}`" for text in sorted({default, other} - {""})), default, meaning)
        self.other = other
        self._turns_on = other != "0"

    def is_on(self) -> bool:
        """Whether the switch is on now."""
        value = _values.get(self._key)
        return (value is not None and fsdecode(value) == self.other) is self._turns_on

    def understands(self, text: str) -> bool:
        """Whether `text` is one that the switch takes; others leave it at its default."""
        return text in ("", self.default, self.other)


class Bytes(Variable):
    """A variable that is a number of bytes."""

    __slots__ = ()

    def __init__(self, name: str, default: str, meaning: str) -> None:
        super().__init__(name, "bytes, such as `64M` or `1 GiB`", default, meaning)

    def number(self, kind: type[HpacmlError] = HpacmlError) -> int:
        """The number of bytes. Raises an error of this kind for another text."""
        text = self.text()
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMG]?)(?:i?B)?\s*", text, re.IGNORECASE)
        if found is None:
            raise self.wrong(text, "set it to bytes, such as 268435456, 256M or '1 GiB'", kind)
        return int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " "))


# -- models ------------------------------------------------------------------------------------------

SURROGATE_MODEL = Variable(
    "SURROGATE_MODEL",
    "a file",
    "",
    "The model of regions that have no clause `model`, or None as its argument.",
)
ON_ERROR = Variable(
    "HPACML_ON_ERROR",
    "`raise` or `accurate`",
    "raise",
    "What regions without `on_error` do where their model fails: raise the error, or run the original code.",
)
ENGINE = Variable(
    "HPACML_ENGINE",
    "`auto`, `torch` or `compiled`",
    "auto",
    "What computes the networks of regions without `engine`: code that is compiled for each architecture of known "
    "layers, where others are an error, Torch, or with `auto` the first where it can.",
)
CHECK = Variable(
    "HPACML_CHECK",
    "`bounds`, `finite`, `sync`, or several with commas",
    "",
    "Checks that cost time: `bounds` refuses indices in kernels that lie outside of arrays, and is read when a kernel "
    "is compiled; `finite` refuses NaN and infinity from a model; `sync` waits on a GPU for the check of indices.",
)
MODEL_RELOAD = Switch(
    "HPACML_MODEL_RELOAD",
    "0",
    "1",
    "With `1` each call looks whether its model file has changed, and loads it anew then.",
)
TRUST_MODELS = Switch(
    "HPACML_TRUST_MODELS",
    "",
    "all",
    "With `all`, model files that can run code load without being on the list of trust.",
)
TRUST_FILE = Variable(
    "HPACML_TRUST_FILE",
    "a file",
    "",
    "The list of trusted models, in place of `hpacml/trusted` in the folder of configurations.",
)

# -- databases ---------------------------------------------------------------------------------------

HPAC_DB_FILE = Variable(
    "HPAC_DB_FILE",
    "a file",
    "",
    "The database of regions that have no clause `database`, or None as its argument.",
)
SAMPLE = Variable(
    "HPACML_SAMPLE",
    "such as `every: 10, most: 1000`",
    "",
    "Which calls are collected of regions without the clause `sample`; it is read when a region is compiled.",
)
DB_FLUSH = Variable(
    "HPACML_DB_FLUSH",
    "seconds, such as `0.5`, or calls, such as `100 calls`",
    "5",
    "How much collected data a kill may lose at most.",
)
DB_BUFFER = Bytes(
    "HPACML_DB_BUFFER",
    "256M",
    "How much memory holds calls that are still to be written.",
)
DB_DTYPE = Variable(
    "HPACML_DB_DTYPE",
    "`float32` or `float64`",
    "float64",
    "`float32` stores the float64 tensors of new groups as float32; else tensors are stored as they are.",
)
DB_COMPRESS = Variable(
    "HPACML_DB_COMPRESS",
    "`none`, `lzf`, `gzip` to `gzip:9`, or `zstd` to `zstd:22`",
    "none",
    "The filter of new groups, and its level.",
)
JPY_SESSION_NAME = Variable(
    "JPY_SESSION_NAME",
    "a path",
    "",
    "A variable of Jupyter: the notebook, by whose name the databases know the functions that it defines.",
)
HDF5_USE_FILE_LOCKING = Variable(
    "HDF5_USE_FILE_LOCKING",
    "`TRUE`, `FALSE` or `BEST_EFFORT`",
    "",
    "A variable of HDF5: whether an open database is locked. `BEST_EFFORT` goes on where files cannot be locked.",
)

# -- reports and GPUs --------------------------------------------------------------------------------

REPORT = Variable(
    "HPACML_REPORT",
    "a file",
    "",
    "Measures the calls of regions, and writes the report as JSON when the program ends; read once, by "
    "`import hpacml`.",
)
REPORT_PROCESS = Variable(
    "HPACML_REPORT_PROCESS",
    "the id of a process",
    "",
    "The process that writes the file of `HPACML_REPORT`. hpacml sets it for those that this one starts, which write "
    "files of their own.",
)
RANGES = Variable(
    "HPACML_RANGES",
    "`nvtx` or `torch`",
    "",
    "The profiler in whose timeline calls are marked; read once, by the first region or kernel. `nvtx` takes the "
    "package nvtx, or a Torch with CUDA.",
)
CUDA_GRAPHS = Variable("HPACML_CUDA_GRAPHS", "`0` or `1`", "1", "`0` replays no calls as CUDA graphs.")
CUDA_HOME = Variable("CUDA_HOME", "a folder", "", "Where CUDA is, of which hpacml reads libdevice; looked at first.")
CUDA_PATH = Variable("CUDA_PATH", "a folder", "", "The same; looked at next.")
CONDA_PREFIX = Variable("CONDA_PREFIX", "a folder", "", "The same, in Conda's environment; looked at last.")

# -- compiled code and folders -----------------------------------------------------------------------

CC = Variable("CC", "a command", "cc", "The C compiler that makes shared libraries (`hpacml build`, `hpacml config`).")
CACHE = Switch("HPACML_CACHE", "1", "0", "`0` keeps no compiled code on disk.")
CACHE_DIR = Variable(
    "HPACML_CACHE_DIR",
    "a folder",
    "",
    "Where compiled code is kept, in place of `hpacml` in the folder of caches. It is not used if others may write it.",
)
CACHE_SIZE = Bytes(
    "HPACML_CACHE_SIZE",
    "1 GiB",
    "How much compiled code is kept, about; what has not been used for longest goes first.",
)
XDG_CACHE_HOME = Variable(
    "XDG_CACHE_HOME", "an absolute path", "", "The user's folder of caches, in place of `~/.cache`."
)
XDG_CONFIG_HOME = Variable(
    "XDG_CONFIG_HOME", "an absolute path", "", "The user's folder of configurations, in place of `~/.config`."
)

# -- ranks of parallel runs --------------------------------------------------------------------------


def _rank(name: str, launcher: str) -> Variable:
    return Variable(name, "a number", "", f"The rank of this process, as {launcher} sets it.")


def _size(name: str, launcher: str) -> Variable:
    return Variable(name, "a number", "1", f"The number of processes, as {launcher} sets it; `1` is no parallel run.")


RANK = Variable(
    "HPACML_RANK",
    "a number or a name",
    "",
    "The rank of this process, after which its databases and reports are named. mpi4py, if it is in use, comes first, "
    "then this, then what launchers set.",
)
WORLD_RANK = _rank("RANK", "`torchrun`")
WORLD_SIZE = Variable(
    "WORLD_SIZE",
    "a number",
    "",
    "The number of processes, as `torchrun` sets it; without it, `RANK` is not read, and `1` is no parallel run.",
)
OMPI_COMM_WORLD_RANK = _rank("OMPI_COMM_WORLD_RANK", "Open MPI")
OMPI_COMM_WORLD_SIZE = _size("OMPI_COMM_WORLD_SIZE", "Open MPI")
MV2_COMM_WORLD_RANK = _rank("MV2_COMM_WORLD_RANK", "MVAPICH")
MV2_COMM_WORLD_SIZE = _size("MV2_COMM_WORLD_SIZE", "MVAPICH")
FLUX_TASK_RANK = _rank("FLUX_TASK_RANK", "Flux")
FLUX_JOB_SIZE = _size("FLUX_JOB_SIZE", "Flux")
PMI_RANK = _rank("PMI_RANK", "a launcher with PMI, such as that of MPICH,")
PMI_SIZE = _size("PMI_SIZE", "a launcher with PMI, such as that of MPICH,")
PMIX_RANK = _rank("PMIX_RANK", "a launcher with PMIx, such as `prterun`,")
PMIX_NAMESPACE = Variable(
    "PMIX_NAMESPACE",
    "a name",
    "",
    "The job of `PMIX_RANK`. If it is one of Slurm, whose own variables tell more, these are read.",
)
SLURM_PROCID = _rank("SLURM_PROCID", "Slurm")
SLURM_STEP_NUM_TASKS = _size("SLURM_STEP_NUM_TASKS", "Slurm's `srun`")

VARIABLES = tuple(row for row in globals().values() if isinstance(row, Variable))
"""The table, in the order in which it stands here."""
