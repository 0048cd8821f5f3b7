"""`hpacml.open_database`: collected data as NumPy arrays and Torch datasets, from one file or from shards."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, Literal

from hpacml.errors import DatabaseError, DirectiveError
from hpacml.runtime.databases.hdf5 import FAILURES, first_line, h5py
from hpacml.runtime.databases.ranks import shards
from hpacml.runtime.databases.runs import Run, read_runs, run_of
from hpacml.runtime.databases.schema import Schema, np_dtype_name, units_text
from hpacml.runtime.databases.tensors import Files, Part, Rows, Tensor
from hpacml.runtime.databases.writer import flush

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.databases.dataset import RegionDataset

Path = str | os.PathLike[str]

_TENSOR = re.compile(r"(input|output)(_\d+)?|runtime")


def open_database(path: Path | Sequence[Path]) -> Database:
    """Open collected data for reading: `open_database("heat.h5")["heat"].inputs[0][10:20]`.

    `path` is a file, a pattern such as "rank-*.h5", or a list of files; several files are read as one, their calls one
    after the other. This flushes what the process has collected. While a database is open, the process cannot collect
    into its files: close it, or use it in a `with` statement.

    Files that HPAC-ML itself wrote open too. Raises DatabaseError where a file is missing, cannot be read, or holds
    data of other maps, dtypes or shapes than the files before it.
    """
    flush()
    files = Files()
    regions: dict[str, list[Shard]] = {}
    paths = _paths(path)
    try:
        for each in paths:
            for shard in _shards(files.file(each), each):
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

    `inputs` and `outputs` are tensors [calls, *shape]; `runtime` is a tensor [calls] in milliseconds, or None if the
    file has none. `maps` are the texts of functors and maps, and `schema` has the dtypes too; both are None for files
    that hpacml did not write. `units` are those of arrays, by name, if the region has the clause `units`. `runs` says
    who collected the calls.
    """

    def __init__(self, files: Files, shards: Sequence[Shard]):
        first = shards[0]
        for other in shards[1:]:
            _require_same(first, other)
        self.label = first.label
        self.schema = first.schema
        self.maps = None if first.schema is None else first.schema.maps
        self.units: dict[str, str] = {} if first.schema is None else dict(first.schema.units)
        self.writer = first.writer
        self.calls = sum(shard.calls for shard in shards)
        self.shards = tuple(shards)
        starts = accumulate((shard.calls for shard in shards), initial=0)
        self.runs: tuple[Run, ...] = tuple(
            run.after(start) for shard, start in zip(shards, starts, strict=False) for run in shard.runs
        )
        tensors = {name: _tensor(files, name, shards) for name in first.items}
        self.inputs = tuple(tensor for name, tensor in tensors.items() if name.startswith("input"))
        self.outputs = tuple(tensor for name, tensor in tensors.items() if name.startswith("output"))
        self.runtime = tensors.get("runtime")

    def __len__(self) -> int:
        return self.calls

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors: inputs, outputs and runtime."""
        return (*self.inputs, *self.outputs, *([] if self.runtime is None else [self.runtime]))

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
    ) -> RegionDataset:
        """Make a map-style Torch dataset of pairs (input, output), each a tensor, or a tuple of several tensors.

        An item is one call, or with `rows="points"` one point of the sweep: the features that the functors give
        for it. Without maps, the sweep is the leading dimensions that all tensors share, without the last dimension of
        the largest. `dtype` converts the tensors. With `split` the dataset has a random part of the rows: `fraction` of
        them for "train", the others for "test", the same ones for the same `seed`. `dataset[:]` is everything at once,
        as tensors.

        The dataset reads when it is indexed, and can be pickled: each worker of a DataLoader opens its own files.
        Raises DatabaseError where tensors differ in their points.
        """
        from hpacml.runtime.databases.dataset import RegionDataset

        if rows not in ("calls", "points"):
            raise DatabaseError(f"rows={rows!r} is neither 'calls' nor 'points'")
        inputs, outputs = (
            [self.points(tensor) if rows == "points" else Rows(tensor) for tensor in tensors]
            for tensors in (self.inputs, self.outputs)
        )
        if len({row.sizes for row in (*inputs, *outputs)}) > 1:
            points = ", ".join(f"{row.tensor.name}: {list(row.sizes)}" for row in (*inputs, *outputs))
            raise DatabaseError(
                f"the tensors of the region '{self.label}' in '{self.shards[0].path}' differ in their points "
                f"({points}): use rows='calls'"
            )
        return RegionDataset(inputs, outputs, dtype, split, fraction, seed)

    def points(self, tensor: Tensor) -> Rows:
        """Return the rows of an input or output, one for each point."""
        return Rows(tensor, self._sweeps[tensor.name])

    @cached_property
    def _sweeps(self) -> dict[str, tuple[int, ...]]:
        """The dimensions that are the sweep, by the name of the tensor."""
        tensors = (*self.inputs, *self.outputs)
        ranks = [len(tensor.shape) - 1 for tensor in tensors]
        maps = self.maps or ()
        sweeps = [_sweep(text, rank) for text, rank in zip(maps, ranks, strict=False)]
        known = [dims for dims in sweeps if dims is not None]
        if len(known) != len(tensors) or len(maps) != len(tensors):
            sizes = [set(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=False)]
            shared = len(list(takewhile(lambda sizes: len(sizes) == 1, sizes)))
            known = [tuple(range(min(shared, max(ranks, default=1) - 1)))] * len(tensors)
        return {tensor.name: dims for tensor, dims in zip(tensors, known, strict=True)}

    def __repr__(self) -> str:
        return f"<region {self.label}: {self.calls} calls of {list(self.inputs)} -> {list(self.outputs)}>"


@dataclass(frozen=True, slots=True)
class Item:
    """One dataset: the number of its entries, their shape and dtype, and whether a dimension of 1 precedes them."""

    entries: int
    shape: tuple[int, ...]
    dtype: str
    leading: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a region in one file. `writer` is a text such as "hpacml 0.1.0" or "HPAC-ML", None if unknown."""

    path: str
    label: str
    schema: Schema | None
    writer: str | None
    runs: tuple[Run, ...]
    items: dict[str, Item]

    @property
    def calls(self) -> int:
        """The number of calls that all datasets have."""
        return min((item.entries for item in self.items.values()), default=0)

    @property
    def signature(self) -> list[str]:
        """What two shards must have in common besides their schemas."""
        return [f"{name}: {item.dtype}{list(item.shape)}" for name, item in self.items.items()]


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


def _shards(file: Any, path: str) -> list[Shard]:
    # Not file.items(): as long as that is not exhausted, h5py serves no other thread, and the error below keeps it.
    try:
        items = [(label, _linked(file, label)) for label in list(file)]
        return [_shard(path, label, item) for label, item in items if isinstance(item, h5py().Group)]
    except (*FAILURES, KeyError, TypeError) as error:  # the last for datasets and attributes of other kinds
        raise DatabaseError(
            f"cannot read '{path}' as a database of regions: {first_line(error)}; hpacml did not write it so"
        ) from error


def _linked(file: Any, label: str) -> Any:
    """Return the object of a label, None for a link that leads nowhere."""
    hard = isinstance(file.get(label, getlink=True), h5py().HardLink)
    return file[label] if hard else file.get(label)


def _shard(path: str, label: str, group: Any) -> Shard:
    names: list[str] = sorted((name for name in group if _TENSOR.fullmatch(name)), key=_order)
    datasets: dict[str, Any] = {name: group[name] for name in names if isinstance(group[name], h5py().Dataset)}
    schema = Schema.read(group)
    for item in datasets.values():
        _require_sources(path, item)
    calls = datasets["runtime"].shape[0] if "runtime" in datasets else None
    items = {name: _item(label, name, datasets[name], schema, calls) for name in datasets}
    return Shard(path, label, schema, _writer(group, datasets.values()), read_runs(group), items)


def _item(label: str, name: str, dataset: Any, schema: Schema | None, calls: int | None) -> Item:
    shape = dataset.shape
    if not shape:
        raise ValueError(f"'{label}/{name}' has no dimension of calls")
    if dataset.dtype.kind not in "biuf":
        raise ValueError(f"'{label}/{name}' holds {dataset.dtype}, no numbers")
    # HPAC-ML may put a dimension of 1 before that of the calls, whose number the runtimes tell.
    leading = schema is None and len(shape) > 1 and shape[0] == 1 and calls == shape[1] != 1
    return Item(shape[leading], shape[1 + leading :], np_dtype_name(dataset.dtype), leading)


def _order(name: str) -> tuple[str, int]:
    kind, _, number = name.partition("_")
    return kind, int(number or 0)


def _writer(group: Any, datasets: Any) -> str | None:
    if version := group.attrs.get("hpacml_version"):
        return f"hpacml {version}"
    return "HPAC-ML" if any("type" in item.attrs for item in (group, *datasets)) else None


def _require_sources(path: str, dataset: Any) -> None:
    # HDF5 would give zeros for those that are not there.
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if not os.path.exists(os.path.join(os.path.dirname(path), source.file_name)):
            raise ValueError(
                f"'{dataset.name}' is virtual, and its source '{source.file_name}' is missing: put it back where it "
                "was, seen from here"
            )


def _tensor(files: Files, name: str, shards: Sequence[Shard]) -> Tensor:
    item = shards[0].items[name]
    parts = [Part(s.path, f"{s.label}/{name}", s.calls, s.items[name].leading) for s in shards]
    return Tensor(files, name, parts, item.shape, item.dtype)


def _require_same(first: Shard, other: Shard) -> None:
    def refuse(what: str, a: Sequence[str] | str, b: Sequence[str] | str) -> None:
        a, b = (text if isinstance(text, str) else "\n    ".join(text) for text in (a, b))
        raise DatabaseError(
            f"the region '{first.label}' has other {what} in '{other.path}' than in '{first.path}':\n    {b}\nand not\n"
            f"    {a}\nOpen the files one by one"
        )

    none = "none told"
    maps = [none if shard.schema is None else shard.schema.maps for shard in (first, other)]
    if maps[0] != maps[1]:
        refuse("maps", *maps)
    if first.schema and other.schema and first.schema.units != other.schema.units:
        refuse("units", units_text(first.schema), units_text(other.schema))
    if first.schema != other.schema:
        refuse("dtypes", str(first.schema), str(other.schema))
    if first.signature != other.signature:
        refuse("tensors", first.signature, other.signature)


def _sweep(text: str, rank: int) -> tuple[int, ...] | None:
    """The dimensions of a map's tensor that are its sweep; None unless the text is like `to: FUNCTOR | TARGETS`."""
    from hpacml.directives.parser import parse_functor
    from hpacml.functors.tensor_functor import Point, names_of

    functor = re.fullmatch(r"\w+: (.*?) \| .*", text, re.DOTALL)
    try:
        directive = parse_functor(functor[1] if functor else "")
    except DirectiveError:
        return None
    moving = names_of(entry for entries in directive.rhs for entry in entries)
    dims = [isinstance(entry, Point) and entry.index.as_name in moving for entry in directive.lhs]
    return tuple(d for d, sweeps in enumerate(dims) if sweeps) if len(dims) == rank else None
