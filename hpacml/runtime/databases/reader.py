"""`hpacml.open_database`: collected data as NumPy arrays and Torch datasets, from one file or from shards."""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpacml.clauses import rejected_label
from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.ranks import shards
from hpacml.runtime.databases.reading import Files
from hpacml.runtime.databases.runs import Run, run_of
from hpacml.runtime.databases.schema import META, REASON
from hpacml.runtime.databases.selection import calls_where
from hpacml.runtime.databases.shards import Shard, require_same, shards_of, tensor_of, without_reasons
from hpacml.runtime.databases.sweeps import Sweep, common, misfit, sweeps_of
from hpacml.runtime.databases.tensors import Rows, Tensor
from hpacml.runtime.databases.writer import flush

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.databases.dataset import RegionDataset

Path = str | os.PathLike[str]


def open_database(path: Path | Sequence[Path]) -> Database:
    """Open collected data for reading: `open_database("heat.h5")["heat"].inputs[0][10:20]`.

    `path` is a file, a pattern such as "rank-*.h5", or a list of files; several files are read as one, their calls one
    after the other. This flushes what the process has collected. Of a file that a process collects into, the calls are
    read that are committed by now; collecting goes on meanwhile, and to see more calls open it again.

    Files that HPAC-ML itself wrote open too. Raises DatabaseError where a file is missing, cannot be read, or holds
    data of other maps, dtypes or shapes than the files before it.
    """
    flush()
    files = Files()
    regions: dict[str, list[Shard]] = {}
    paths = _paths(path)
    try:
        for each in paths:
            for shard in files.read_file(each, functools.partial(shards_of, path=each)):
                regions.setdefault(shard.label, []).append(shard)
        return Database(paths, files, {label: Region(files, shards) for label, shards in regions.items()})
    except BaseException:
        files.close()
        raise


class Database(Mapping[str, "Region"]):
    """The regions of a database by their labels. It is a context manager, which closes the files."""

    def __init__(self, paths: Sequence[str], files: Files, regions: dict[str, Region]):
        self.paths = tuple(paths)
        self._files = files
        self._regions = regions

    def __getitem__(self, label: str) -> Region:
        if label not in self._regions:
            labels = ", ".join(f"'{label}'" for label in self._regions) or "none"
            raise DatabaseError(f"the database '{self.paths[0]}' has no region '{label}': it has {labels}")
        return self._regions[label]

    def __contains__(self, label: object) -> bool:
        return label in self._regions

    def __iter__(self) -> Iterator[str]:
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)

    @property
    def labels(self) -> list[str]:
        """The regions, without the groups of rejected points beside others."""
        beside = {rejected_label(label) for label in self._regions}
        return [label for label in self._regions if label not in beside]

    def with_rejected(self, label: str) -> Region:
        """The region of a label, behind whose calls those of the points come that its guards have rejected.

        Raises DatabaseError if there are no such points, or if their maps mean something else.
        """
        whole, points = self[label], self[rejected_label(label)]
        return Region(self._files, [*whole.shards, *(without_reasons(each, whole.schema) for each in points.shards)])

    def group(self, label: str) -> Any:
        """Return the h5py group of a region, in the first file that has it."""
        return self._files.file(self[label].shards[0].path)[label]

    def close(self) -> None:
        """Close the files. To read from tensors and Torch datasets of them is an error after that."""
        self._files.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<database {', '.join(self.paths)}: {', '.join(map(repr, self._regions.values()))}>"


class Region:
    """The data of one region.

    `inputs` and `outputs` are tensors [calls, *shape], of which a size is None if it differs from call to call;
    `runtime` is a tensor [calls] in milliseconds, or None if the file has none. `maps` are the texts of functors and
    maps, which know the element types of the region's tensors, and `schema` has more; both are None for files that
    hpacml did not write. `units` are those of arrays, by name, if the region has the clause `units`. `meta` has the
    numbers of calls: an array [calls] for each name in the clause `meta`. `reason` is a tensor of why guards have
    rejected each point, if the group has such points, else None. `truth` has the texts of the maps of the
    outputs' data, if the region has the clause `truth`; then `maps` tell which outputs these stand for. `runs` says who
    collected the calls.
    """

    def __init__(self, files: Files, shards: Sequence[Shard]):
        first = shards[0]
        for other in shards[1:]:
            require_same(first, other)
        self.label = first.label
        self.schema = first.schema
        self.maps = None if first.schema is None else first.schema.typed_maps
        self.units: dict[str, str] = {} if first.schema is None else dict(first.schema.units)
        self.writer = first.writer
        self.calls = sum(shard.calls for shard in shards)
        self.shards = tuple(shards)
        starts = accumulate((shard.calls for shard in shards), initial=0)
        self.runs: tuple[Run, ...] = tuple(
            run.after(start) for shard, start in zip(shards, starts, strict=False) for run in shard.runs
        )
        tensors = {name: tensor_of(files, name, shards) for name in first.items}
        self._inputs = tuple(tensor for name, tensor in tensors.items() if name.startswith("input"))
        self._outputs = tuple(tensor for name, tensor in tensors.items() if name.startswith("output"))
        self.meta = {name.removeprefix(META): each for name, each in tensors.items() if name.startswith(META)}
        self.reason = tensors.get(REASON)
        self.truth = () if first.schema is None else first.schema.truth
        self._oddity = next((oddity for shard in shards if (oddity := shard.oddity) is not None), None)
        self.runtime = tensors.get("runtime")

    def __len__(self) -> int:
        return self.calls

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors of the inputs. Raises DatabaseError if the group has other datasets than its attributes tell."""
        self._require_whole()
        return self._inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors of the outputs. Raises DatabaseError if the group has other datasets than its attributes tell."""
        self._require_whole()
        return self._outputs

    def _require_whole(self) -> None:
        if self._oddity is not None:
            raise DatabaseError(self._oddity)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that are there: inputs, outputs, reasons, numbers of calls, and runtime."""
        return (*self.data, *([] if self.runtime is None else [self.runtime]))

    @property
    def data(self) -> tuple[Tensor, ...]:
        """The tensors of the schema's columns that are there: all but the runtime."""
        reason = [] if self.reason is None else [self.reason]
        return (*self._inputs, *self._outputs, *reason, *self.meta.values())

    def calls_where(self, condition: str) -> Array:
        """Tell for each call whether its numbers meet a condition, such as `step >= 100 and t < 0.5`.

        Raises DatabaseError for names that are no numbers of the calls, and DirectiveError for what is no condition.
        """
        return calls_where(condition, self.meta, self.label)

    def run_of(self, call: int) -> Run | None:
        """Return the run that collected the call of this number, None if the file does not say."""
        return run_of(self.runs, range(self.calls)[call])

    def dataset(
        self,
        rows: Literal["calls", "points"] = "calls",
        dtype: torch.dtype | None = None,
        split: Literal["train", "test"] | None = None,
        fraction: float = 0.8,
        seed: int = 42,
        where: str | None = None,
    ) -> RegionDataset:
        """Make a map-style Torch dataset of pairs (input, output), each a tensor, or a tuple of several tensors.

        An item is one call, or with `rows="points"` one point of the sweep: the features that the functors give
        for it. Where a functor sweeps more dimensions than another, the points are those of the first symbols that all
        have, and the further ones count as features. Without maps, the sweep is the leading dimensions that all tensors
        share, without the last dimension of the largest. Calls may differ in their points: `dataset[a:b]` of
        `rows="calls"` is of calls that agree. `dtype` converts the tensors. With `split` the dataset has a random part
        of the rows: `fraction` of them for "train", the others for "test", the same ones for the same `seed`.
        `dataset[:]` is everything at once, as tensors. With `where`, a condition on the numbers of calls as for
        `calls_where`, the dataset has the calls that meet it, of which `split` takes a part.

        The dataset reads when it is indexed, and can be pickled: each worker of a DataLoader opens its own files.
        Raises DatabaseError where tensors differ in their points.
        """
        from hpacml.runtime.databases.dataset import RegionDataset

        if rows not in ("calls", "points"):
            raise DatabaseError(f"rows={rows!r} is neither 'calls' nor 'points'")
        chosen = None if where is None else self.calls_where(where)
        if rows == "calls":
            return RegionDataset(self.inputs, self.outputs, dtype, split, fraction, seed, chosen)
        self.require_points()
        inputs, outputs = ([self.points(tensor) for tensor in tensors] for tensors in (self.inputs, self.outputs))
        if chosen is not None:
            chosen = np.repeat(chosen, inputs[0].counts)
        return RegionDataset(inputs, outputs, dtype, split, fraction, seed, chosen)

    def points(self, tensor: Tensor) -> Rows:
        """Return the rows of an input or output, or of the reasons, one for each point: an array [points, *features].

        It is read when indexed. Its `counts` are the numbers of points of the calls, its `offsets` those of their first
        points. Raises DatabaseError where calls differ in more than the number of points.
        """
        return Rows(tensor, self._swept(tensor)[: common(list(self._sweeps.values()))])

    def all_points(self, tensor: Tensor) -> Rows:
        """Return the rows of a tensor, one for each point of its own sweep, whatever those of other tensors are."""
        return Rows(tensor, self._swept(tensor))

    def _swept(self, tensor: Tensor) -> tuple[int, ...]:
        """The dimensions of a call's tensor that are points."""
        return tuple(range(tensor.ndim - 1)) if tensor is self.reason else self._sweeps[tensor.name].dims

    def require_points(self) -> None:
        """Raise DatabaseError if tensors differ in their points."""
        tensors = (*self.inputs, *self.outputs)
        shapes = [tensor.shape[1:] for tensor in tensors]
        points = misfit(list(self._sweeps.values()), shapes, [tensor.name for tensor in tensors])
        if points is None and any(tensor.varies for tensor in tensors):
            points = self._first_misfit([self.points(tensor) for tensor in tensors])
        if points is not None:
            raise DatabaseError(
                f"the tensors of the region '{self.label}' in '{self.shards[0].path}' differ in their points "
                f"({points}): use rows='calls'"
            )

    def _first_misfit(self, rows: Sequence[Rows]) -> str | None:
        differ = np.zeros(self.calls, bool)
        for each in rows[1:]:
            differ |= each.counts != rows[0].counts
        if not differ.any():
            return None
        call = int(differ.argmax())
        return f"in call {call}: " + ", ".join(f"{each.name}: {each.counts[call]}" for each in rows)

    @cached_property
    def _sweeps(self) -> dict[str, Sweep]:
        """The sweep of each tensor, by its name."""
        tensors = (*self.inputs, *self.outputs)
        ranks = [tensor.ndim - 1 for tensor in tensors]
        found = sweeps_of(() if self.schema is None else self.schema.maps_of_columns[: len(ranks)], ranks)
        if found is None:
            sizes = [set(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=False)]
            shared = len(list(takewhile(lambda sizes: len(sizes) == 1, sizes)))
            dims = tuple(range(min(shared, max(ranks, default=1) - 1)))
            found = [Sweep(dims, tuple(map(str, dims)))] * len(tensors)
        return {tensor.name: sweep for tensor, sweep in zip(tensors, found, strict=True)}

    def __repr__(self) -> str:
        return f"<region {self.label}: {self.calls} calls of {list(self._inputs)} -> {list(self._outputs)}>"


def _paths(path: Path | Sequence[Path]) -> list[str]:
    if not isinstance(path, (str, os.PathLike)):
        given = [os.path.realpath(each) for each in path]
        if not given:
            raise DatabaseError("the list of files of a database is empty: name one at least")
    else:
        text = os.fspath(path)
        pattern = glob.has_magic(text) and not os.path.exists(text)
        given = sorted(map(os.path.realpath, glob.glob(text))) if pattern else [os.path.realpath(text)]
        if not given:
            raise DatabaseError(f"no file matches '{os.path.abspath(text)}': name a database")
    for each in given:
        if not os.path.exists(each):
            pattern = shards(each)
            found = f"; there are shards of ranks, open '{pattern}'" if glob.glob(pattern) else ""
            raise DatabaseError(f"the database '{each}' does not exist{found}")
    return given
