"""The domain of the model of a call, for compiled code that looks which points lie in it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpacml.abi.guard_records import DomainSite
from hpacml.errors import HpacmlError, ModelError, at_place
from hpacml.runtime.arrays.views import descriptor_bytes, view_of_descriptor, words_at
from hpacml.runtime.fastcall import contents
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.models import fallback
from hpacml.runtime.models.domain import MOST_WHITENED, listed
from hpacml.runtime.models.finding import ModelFinder
from hpacml.runtime.models.model import Model

if TYPE_CHECKING:
    from hpacml.runtime.gpu.device_call import Call

KNOWN_MEMORIES = 64
"""How many places of memory a call site remembers for a model."""

_TYPES = {"f32": np.float32, "f64": np.float64}

memmove = ctypes.memmove

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = Sequence[tuple[int, ...]]


class _Known(NamedTuple):
    """What memory is filled with for a model, and for memory of the host how: addresses to, from and bytes."""

    model: Model
    arrays: list[Array]
    moves: dict[bytes, list[tuple[int, int, int]]]


class DomainOfSite:
    """Fills memory with the domains of the models of one call site."""

    def __init__(self, site: DomainSite) -> None:
        self._site = site
        self._finder = ModelFinder(site.label, site.model)
        self._ranks = [1, 1] * len(site.inputs) + [1, 2] * site.distance
        self._pointers = ctypes.c_size_t * len(self._ranks)
        self._memory = contents(list(map(descriptor_bytes, self._ranks)))
        self._known: _Known | None = None

    def fill(self, tensors: int) -> bool:
        """Fill dense memory: `low` and `high` of each input, then `mean` and `whitening` if the site has them.

        `tensors` points to pointers to the descriptors. Returns False if there is no domain and the original code is to
        run; then no point lies in what is filled. Raises ModelError where that is not wanted.
        """
        call = innermost()
        try:
            if call is None:
                self._fill_on_host(tensors)
            else:
                call.leave_to_host("the domain of a model")
                memory = self._pointers.from_address(tensors)[:]
                _write(self._fitting(self._finder.find(call.device.name), memory).arrays, memory, call)
        except HpacmlError as error:
            at_place(error, self._site.place)
            capturing = call is not None and call.capturing
            if capturing or not fallback.takes_over(self._site.label, self._site.on_error, error):
                raise
            memory = self._pointers.from_address(tensors)[:]
            _write(self._nowhere(self._shapes(memory)), memory, call)
            return False
        return True

    def _fill_on_host(self, tensors: int) -> None:
        """Do as `fill`; memory that comes again is filled without a look at it. Raises ModelError."""
        model, known, memory = self._finder.find("cpu"), self._known, self._memory(tensors)
        moves = None if known is None or known.model is not model else known.moves.get(memory)
        if moves is None:
            addresses = self._pointers.from_address(tensors)[:]
            known = self._fitting(model, addresses)
            if len(known.moves) >= KNOWN_MEMORIES:
                known.moves.clear()
            moves = known.moves[memory] = _moves(known.arrays, addresses)
        for move in moves:
            memmove(*move)

    def _fitting(self, model: Model, memory: Sequence[int]) -> _Known:
        """What to fill in for a model. Raises ModelError for one whose domain has not the shapes of the memory."""
        shapes, known = self._shapes(memory), self._known
        if known is None or known.model is not model:
            known = self._known = _Known(model, self._arrays(model), {})
        if [each.shape for each in known.arrays] != shapes:
            raise self._misfit(model, shapes)
        return known

    def _shapes(self, memory: Sequence[int]) -> list[tuple[int, ...]]:
        return [tuple(words_at(at, rank)[3 : 3 + rank]) for at, rank in zip(memory, self._ranks, strict=True)]

    def _arrays(self, model: Model) -> list[Array]:
        """The numbers of a model's domain. Raises ModelError for one that has none."""
        domain = model.network.domain
        if domain is None:
            raise ModelError(
                f"guard(range) and guard(distance: ...) of the region '{self._site.label}' need to know where the "
                f"inputs of its training lie, and the model {model.name} has no domain: train it by hpacml train, or "
                "write its file by hpacml.save_model(..., domain=inputs)"
            )
        ends = zip(*domain.with_margin(self._site.margin), self._site.inputs, strict=True)
        ranges = [each for low, high, dtype in ends for each in _inside(low, high, dtype)]
        if not self._site.distance:
            return ranges
        if domain.mean is None or domain.whitening is None:
            raise ModelError(
                f"guard(distance: ...) of the region '{self._site.label}': the domain of the model {model.name} tells "
                f"no distances, since its inputs have {listed(domain.features)} features, of up to {MOST_WHITENED}, or "
                "have not the same points: use guard(range)"
            )
        return [*ranges, domain.mean, np.ascontiguousarray(domain.whitening)]

    def _misfit(self, model: Model, shapes: Shapes) -> ModelError:
        domain = model.network.domain
        features = () if domain is None else domain.features
        wanted = [shape[0] for shape in shapes[: 2 * len(self._site.inputs) : 2]]
        return ModelError(
            f"a point of the region '{self._site.label}' has {listed(wanted)} features in its inputs, and one of the "
            f"domain of the model {model.name} has {listed(features)}: train it by hpacml train with data of this "
            "region, or give hpacml.save_model such inputs as domain=..., with maps=... if features do not come last"
        )

    def _nowhere(self, shapes: Shapes) -> list[Array]:
        """Numbers by which no point is in a range, and each distance is NaN."""
        inputs = self._site.inputs
        numbers = [np.inf, -np.inf] * len(inputs) + [np.nan] * (2 * self._site.distance)
        dtypes = [each for dtype in inputs for each in (dtype, dtype)] + ["f64"] * (2 * self._site.distance)
        filled = zip(shapes, numbers, dtypes, strict=True)
        return [np.full(shape, number, _TYPES[dtype]) for shape, number, dtype in filled]


def _inside(low: Array, high: Array, dtype: str) -> tuple[Array, Array]:
    """The least and the largest number of a type in each range: by these an element of the type is compared exactly."""
    with np.errstate(over="ignore", under="ignore"):
        least, most = (each.astype(_TYPES[dtype]) for each in (low, high))
        up, down = (np.nextafter(each, least.dtype.type(end)) for each, end in ((least, np.inf), (most, -np.inf)))
    return np.where(least < low, up, least), np.where(most > high, down, most)


def _write(arrays: Sequence[Array], memory: Sequence[int], call: Call | None) -> None:
    """Copy arrays to where descriptors say, on the host or on the device of a call."""
    if call is None:
        for move in _moves(arrays, memory):
            memmove(*move)
        return
    import torch

    for array, at in zip(arrays, memory, strict=True):
        dtype = next(name for name, each in _TYPES.items() if array.dtype == each)
        call.device.tensor(view_of_descriptor(at, dtype, array.ndim)).copy_(torch.as_tensor(array))


def _moves(arrays: Sequence[Array], memory: Sequence[int]) -> list[tuple[int, int, int]]:
    """The addresses where descriptors say, those of arrays, and the bytes."""
    words = [words_at(at, array.ndim) for array, at in zip(arrays, memory, strict=True)]
    return [
        (to[1] + array.itemsize * to[2], array.ctypes.data, array.nbytes)
        for to, array in zip(words, arrays, strict=True)
    ]
