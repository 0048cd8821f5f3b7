"""What pointwise original code makes of some points alone is compared with what it makes of them among all points."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import count

import torch

from hpacml.abi.guard_records import ComparisonSite
from hpacml.abi.records import TensorType
from hpacml.errors import MapError
from hpacml.runtime.arrays.views import tensor_over, view_of_descriptor
from hpacml.runtime.gpu.device_call import innermost

EVERY = 1000
"""The first call is compared, and each of which this divides the number, or the next one that tells more."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Comparison:
    """The comparisons of one call site."""

    def __init__(self, site: ComparisonSite) -> None:
        self._site = site
        self._calls = count()
        self._open = self._open_for_first_points = False
        """Whether a comparison is wanted, and whether one of points that are the first ones is, too."""

    def is_due(self, tensors: int) -> bool:
        """Count a call, and tell whether it is to be compared.

        Code that is not pointwise, as one of sums, may make the right numbers of all points and of the first ones.
        So calls for all points are not compared, and where one was for the first ones, one of others is to follow.
        `tensors` points to a pointer to the descriptor of the mask.
        """
        number = next(self._calls)
        if number == 0 or (number + 1) % EVERY == 0:
            self._open = self._open_for_first_points = True
        if not self._open:
            return False
        (mask,) = self._tensors(tensors, (self._site.mask,))
        rejected = mask.flatten() != 0
        count = int(rejected.sum())
        if count == rejected.numel():
            return False
        if not rejected[:count].all():
            self._open = False
            return True
        due, self._open_for_first_points = self._open_for_first_points, False
        return due

    def compare(self, tensors: int) -> None:
        """Compare outputs to the last bit at the points where the mask is not 0.

        `tensors` points to pointers to the descriptors of the outputs of these points, of those of all points, and of
        the mask. Raises MapError where they differ.
        """
        site = self._site
        *found, mask = self._tensors(tensors, (*site.outputs, *site.outputs, site.mask))
        alone, whole = found[: len(site.outputs)], found[len(site.outputs) :]
        for name, made, other, features in zip(site.maps, alone, whole, site.features, strict=True):
            rejected = mask != 0
            for d in features:
                rejected = rejected.unsqueeze(d)
            differ = rejected & ~_same(made, other)
            if bool(differ.any()):
                place = tuple(int(index) for index in differ.nonzero()[0])
                point = [index for d, index in enumerate(place) if d not in features]
                raise self._error(name, point, (made[place].item(), other[place].item()), int(differ.sum()))

    @staticmethod
    def _tensors(tensors: int, types: Sequence[TensorType]) -> list[torch.Tensor]:
        addresses = (ctypes.c_size_t * len(types)).from_address(tensors)
        call = innermost()
        over = tensor_over if call is None else call.device.tensor
        pairs = zip(addresses, types, strict=True)
        return [over(view_of_descriptor(address, type.dtype, type.rank)) for address, type in pairs]

    def _error(self, name: str, point: list[int], numbers: tuple[object, object], count: int) -> MapError:
        alone, whole = numbers
        return MapError(
            f"the original code of the region '{self._site.label}' is not pointwise: of '{name}' at the point {point} "
            f"it makes {alone!r} where it is given the rejected points alone, and {whole!r} where it is given all "
            f"({count} numbers differ). Leave the clause 'pointwise' out, or have the code make each point of its own "
            "elements alone, as many as the sizes say that the ranges name, and the same in each call to the last bit"
        )


def _same(made: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Where two tensors have the same bits, or no numbers at all."""
    bits = _BITS[made.element_size()]
    same = made.view(bits) == other.view(bits)
    return same | (made.isnan() & other.isnan()) if made.is_floating_point() else same
