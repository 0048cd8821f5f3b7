"""The objects of a file that may be used: those that lie in the file itself, and of which it stores what they claim.

HDF5 follows links to other files, and takes the elements of datasets from any file, of any size. A database comes from
others, so that all of its objects are judged here before one is used. Only the virtual datasets that
`hpacml db merge --virtual` writes take their elements from elsewhere: from the same dataset of other databases.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.descriptors import Descriptor, open_descriptor
from hpacml.runtime.databases.hdf5 import FAILURES, first_line, h5py, require_filters

_MEMBERS = re.compile(r"((input|output)(_\d+)?|runtime)(_offsets|_shapes)?|runs|varying")
"""The names in a region's group that hpacml uses."""

_UNSTORED = 1 << 26
"""The bytes that a dataset may lack of its elements, in place of which HDF5 gives zeros."""

_ATTRIBUTE = 1 << 24
"""The most bytes of an attribute. Ours have some hundreds."""


def region_group(file: Any, label: str, path: str) -> Any:
    """Return what an h5py file that is read has at a label; a region's group is judged with all that is read of it.

    It is None for a soft link that leads nowhere. Raises DatabaseError for what hpacml does not read, KeyError or
    RuntimeError for what HDF5 cannot open.
    """
    if _leads_nowhere(file, label):
        return None
    group = _member(file, label)
    for dataset in _datasets(group):
        if dataset.is_virtual:
            _require_sources(dataset, path, [])
    return group


def growing_group(file: Any, label: str) -> Any:
    """Return the group of a label that calls are appended to, as `region_group` does.

    Raises DatabaseError also where two names are of one object: calls of both would lie in one place.
    """
    group = _member(file, label)
    datasets = [*_datasets(group)]
    for found in (group, *datasets):
        if h5py().h5o.get_info(found.id).rc > 1:
            _refuse(found.name, "has several names in the file", "collect into another file")
    for dataset in datasets:
        if dataset.is_virtual:
            raise DatabaseError(
                f"the dataset '{dataset.name.strip('/')}' cannot grow, as those of `hpacml db merge --virtual`: "
                "collect into another file, or merge without --virtual"
            )
    return group


def own_dataset(file: Any, name: str, path: str) -> Any:
    """Return the dataset of that name in an h5py file that is read, judged as `region_group` does."""
    found = file
    for each in name.split("/"):
        found = _member(found, each)
    if not isinstance(found, h5py().Dataset):
        _refuse(found.name, "is no dataset")
    if found.is_virtual:
        _require_sources(found, path, [])
    return found


def _datasets(group: Any) -> Iterator[Any]:
    """The datasets in a region's group that hpacml uses, each judged by itself. Raises DatabaseError."""
    if not isinstance(group, h5py().Group):
        return
    for name in filter(_MEMBERS.fullmatch, list(group)):
        found = _member(group, name)
        if isinstance(found, h5py().Dataset) and name != "varying":
            yield found
        elif name == "varying":
            if not isinstance(found, h5py().Group):
                _refuse(found.name, "is no group")
            if found.id == group.id:
                _refuse(found.name, "is the group that it lies in")
            inner = (_member(found, each) for each in list(found) if _MEMBERS.fullmatch(each))
            yield from (each for each in inner if isinstance(each, h5py().Dataset))
        elif name == "runs":
            _refuse(found.name, "is no dataset")


def _member(group: Any, name: str) -> Any:
    """Return an object that a group holds itself. Raises DatabaseError for others."""
    key, links, kinds = _key(name), group.id.links, h5py().h5l
    if (kind := links.get_info(key).type) != kinds.TYPE_HARD:
        what = f"is a link of a kind that HDF5 does not know ({kind})"
        if kind == kinds.TYPE_SOFT:
            what = f"is a soft link to '{_text(links.get_val(key))}'"
        elif kind == kinds.TYPE_EXTERNAL:
            file, path = map(_text, links.get_val(key))
            what = f"is a link to '{path}' of the file '{file}'"
        _refuse(f"{group.name}/{name}", what)
    found = group[name]
    if isinstance(found, h5py().Dataset):
        _require_stored(found)
    _require_attributes(found)
    return found


def _leads_nowhere(file: Any, label: str) -> bool:
    """Whether a label is a soft link to nothing, which takes no other link into account."""
    links, kinds = file.id.links, h5py().h5l
    if links.get_info(_key(label)).type != kinds.TYPE_SOFT:
        return False
    found = file
    for each in filter(None, _text(links.get_val(_key(label))).split("/")):
        if not isinstance(found, h5py().Group) or not found.id.links.exists(_key(each)):
            return True
        if found.id.links.get_info(_key(each)).type != kinds.TYPE_HARD:
            return False
        found = found[each]
    return False


def _require_stored(dataset: Any) -> None:
    """Raise DatabaseError unless a dataset's elements are in its file, or it is virtual."""
    options = dataset.id.get_create_plist()
    if options.get_layout() == h5py().h5d.VIRTUAL:
        return
    if options.get_external_count():
        file = _text(options.get_external(0)[0])
        _refuse(dataset.name, f"has its elements in the file '{file}', which is no part of the database")
    shape, itemsize = dataset.id.shape or (), dataset.id.get_type().get_size()
    nbytes = max(itemsize * math.prod(shape), *shape[:1], 0)
    if nbytes <= _UNSTORED:
        return
    if dataset.chunks is None:
        stored = itemsize * math.prod(shape) if dataset.id.get_offset() is not None else 0
    else:
        stored = dataset.id.get_num_chunks() * math.prod(dataset.chunks) * itemsize
    if nbytes - stored > _UNSTORED:
        _refuse(
            dataset.name,
            f"is said to be of {list(shape)} elements, {nbytes} bytes, of which the file has {stored}",
        )


def _require_attributes(found: Any) -> None:
    attributes = h5py().h5a
    for number in range(attributes.get_num_attrs(found.id)):
        attribute = attributes.open(found.id, index=number)
        nbytes = attribute.get_type().get_size() * math.prod(attribute.shape or ())
        if nbytes > _ATTRIBUTE:
            _refuse(
                found.name,
                f"has an attribute '{_text(attribute.name)}' of {nbytes} bytes, and {_ATTRIBUTE} is the most",
            )


def _require_sources(dataset: Any, path: str, seen: Iterable[tuple[int, int]]) -> None:
    """Raise DatabaseError unless the sources of a virtual dataset in the file at `path` are the same one of databases.

    `seen` are the files that lead here. HDF5 gives zeros for sources that are missing, and crashes on circles.
    """
    options = dataset.id.get_create_plist()
    status = os.stat(path)
    seen = [*seen, (status.st_dev, status.st_ino)]
    covered = 0
    for number in range(options.get_virtual_count()):
        file, name = options.get_virtual_filename(number), options.get_virtual_dsetname(number)
        if name.strip("/") != dataset.name.strip("/"):
            _refuse(dataset.name, f"is virtual, and its source is another dataset, '{name}' in '{file}'")
        if file == "." or os.path.isabs(file):
            _refuse(
                dataset.name,
                f"is virtual, and its source '{file}' is no path from its own folder to another file, as "
                "`hpacml db merge --virtual` writes them",
            )
        source = os.path.join(os.path.dirname(path), file)
        if not os.path.exists(source):
            raise DatabaseError(
                f"'{dataset.name}' is virtual, and its source '{file}' is missing: put it back where it was, seen "
                "from here"
            )
        try:
            points = options.get_virtual_vspace(number).get_select_npoints()
            region = options.get_virtual_srcspace(number)
            # HDF5 does not tell of how many elements all of a source are.
            whole = region.get_select_type() == h5py().h5s.SEL_ALL
            stop = None if whole else [last + 1 for last in region.get_select_bounds()[1]]
        except FAILURES:
            _refuse(dataset.name, f"is virtual, and takes elements without end from its source '{file}'")
        _require_source(dataset, source, points, stop, seen)
        covered += points
    if covered < math.prod(dataset.shape):
        _refuse(dataset.name, f"is virtual, of {math.prod(dataset.shape)} elements, and its sources have {covered}")


def _require_source(
    dataset: Any, path: str, points: int, stop: list[int] | None, seen: Iterable[tuple[int, int]]
) -> None:
    """Raise DatabaseError unless the same dataset of the file at `path` may be read, and has what is taken of it.

    These are so many elements, and no index is `stop` or more; None for all of the source.
    """
    descriptor = open_descriptor(path)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in seen:
            _refuse(dataset.name, f"is virtual, and its source '{path}' leads back to it")
        with h5py().File(Descriptor(descriptor), "r", rdcc_nbytes=0) as file:
            source = file
            for each in dataset.name.strip("/").split("/"):
                source = _member(source, each)
            if not isinstance(source, h5py().Dataset):
                _refuse(dataset.name, f"is virtual, and its source '{path}' has no dataset in its place")
            sizes = source.shape or ()
            beyond = stop is not None and (len(stop) != len(sizes) or any(map(operator.lt, sizes, stop)))
            if beyond or math.prod(sizes) < points:
                _refuse(
                    dataset.name,
                    f"is virtual, and takes {points} elements from its source '{path}', which has {list(sizes)}: they "
                    "are not there",
                )
            require_filters(source)
            if source.is_virtual:
                _require_sources(source, os.path.realpath(path), seen)
    except DatabaseError as error:
        raise DatabaseError(f"in the source '{path}': {error}") from error
    except FAILURES as error:
        raise DatabaseError(
            f"'{dataset.name}' is virtual, and its source '{path}' cannot be read: {first_line(error)}"
        ) from error
    finally:
        os.close(descriptor)


def _refuse(name: str, why: str, advice: str = "a database holds all of its data itself: use the original") -> NoReturn:
    raise DatabaseError(f"'{name.strip('/')}' {why}; {advice}")


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
