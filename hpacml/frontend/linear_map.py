"""A map as a linear function of some of its arrays, and its adjoint. It imports Torch.

A gather is linear, its derivative is itself, and its adjoint adds through the same map. What a scatter writes is the
adjoint of a gather, too, of one that meets no element twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch

from hpacml.dtypes import torch_dtypes
from hpacml.frontend.bound_map import BoundMap
from hpacml.runtime.arrays.protocols import array_view, is_tensor
from hpacml.runtime.arrays.views import ArrayView, numpy_array

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Device

Tensors = Sequence[torch.Tensor | None]
"""None stands for zeros."""

_functorch: Any = cast(Any, torch)._C._functorch


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A map whose other arrays of elements are zeros. It holds no array of elements, so that none is kept by it."""

    bound: BoundMap
    """Of its views, those of elements tell only dtypes and shapes."""
    device: Device | None
    tensors: tuple[tuple[int, ...], ...]
    """The positions among the arrays of each tensor."""
    shapes: tuple[tuple[int, ...], ...]
    """The shape of each tensor. A number lacks dimensions that its views have."""
    indices: tuple[int, ...]
    """The positions of the arrays of indices that are tensors; others are copies."""

    @staticmethod
    def of(bound: BoundMap, device: Device | None, names: Mapping[str, Any], parts: Sequence[str]) -> LinearMap:
        """The map as a function of the tensors named `parts`."""
        arrays, heads = bound.application.arrays, bound.application.heads
        views: list[ArrayView] = []
        indices: list[int] = []
        for position, view in enumerate(bound.views):
            if position in heads:
                view = replace(view, address=0, owner=None)
            elif is_tensor(names[arrays[position]]):
                indices.append(position)
                view = replace(view, address=0, owner=None)
            else:
                view = array_view(numpy_array(view).copy(), arrays[position])
            views.append(view)
        places = tuple(tuple(n for n in heads if arrays[n] == name) for name in parts)
        shapes = tuple(tuple(names[name].shape) for name in parts)
        return LinearMap(bound._replace(views=views), device, places, shapes, tuple(indices))

    def dtype(self, number: int) -> torch.dtype:
        """The dtype of a tensor."""
        return torch_dtypes()[self.bound.views[self.tensors[number][0]].dtype]

    def gather(self, tensors: Tensors, indices: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gather the tensors."""
        with ordinary():
            views = self._views([None if t is None else plain(t) for t in tensors], indices, _zero)
            bound = self.bound._replace(direction="to", views=views)
            dense = self._empty(bound.shape, bound.dtype)
            bound.run(self._view(dense), self.device, sweep="gather")
            return dense

    def add(self, dense: torch.Tensor, indices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Add a dense tensor up in zeros of the form of each tensor, at least in single precision: the adjoint.

        An element's sum is always of the same numbers in the same order.
        """
        with ordinary():
            dense = plain(dense)
            dtypes = [self.dtype(number) for number in range(len(self.tensors))]
            sums = [self.zeros(number, _wide(dense.dtype, dtype)) for number, dtype in enumerate(dtypes)]
            if self.device is None and dense.is_cpu:
                views = self._views(sums, indices, lambda view: _zero(replace(view, dtype="f64")))
                self.bound._replace(direction="to", views=views).run(self._view(dense), None, sweep="add")
            else:
                self.add_by_places(dense, sums, indices)
            return [each.to(dtype) for each, dtype in zip(sums, dtypes, strict=True)]

    def scatter(self, dense: torch.Tensor, number: int, target: torch.Tensor, indices: Sequence[torch.Tensor]) -> None:
        """Scatter what belongs to a tensor into `target`, which has its form."""
        with ordinary():
            targets: list[torch.Tensor | None] = [self.zeros(k) for k in range(len(self.tensors))]
            targets[number] = plain(target)
            torch.autograd.graph.increment_version(plain(target))
            bound = self.bound._replace(direction="from", views=self._views(targets, indices, _spare))
            bound.run(array_view(plain(dense), "tensor", gpu=True), self.device, sweep="scatter")

    def _views(
        self,
        tensors: Tensors,
        indices: Sequence[torch.Tensor],
        others: Callable[[ArrayView], torch.Tensor],
    ) -> list[ArrayView]:
        """The views of the arrays: `others` makes those of elements that are no tensors."""
        views = list(self.bound.views)
        given = {
            place: tensor
            for places, tensor in zip(self.tensors, tensors, strict=True)
            for place in (places if tensor is not None else ())
        }
        for head in self.bound.application.heads:
            tensor = given.get(head)
            views[head] = self._view(others(views[head]) if tensor is None else tensor.view(views[head].shape))
        for position, index in zip(self.indices, indices, strict=True):
            views[position] = self._view(plain(index))
        return views

    def _view(self, tensor: torch.Tensor) -> ArrayView:
        return array_view(tensor, self.bound.application.text, gpu=True)

    def zeros(self, number: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Zeros of the form of a tensor."""
        view = self.bound.views[self.tensors[number][0]]
        return torch.zeros(self.shapes[number], dtype=dtype or self.dtype(number), device=_where(view))

    def _empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        where = "cpu" if self.device is None else self.device.name
        return torch.empty(shape, dtype=torch_dtypes()[dtype], device=where)

    def add_by_places(self, dense: torch.Tensor, sums: Sequence[torch.Tensor], indices: Sequence[torch.Tensor]) -> None:
        """Add on a GPU, whose threads would do so in any order: by the places of the elements, which are gathered."""
        for number, total in enumerate(sums):
            places = torch.arange(1, total.numel() + 1, dtype=torch.int64, device=total.device).reshape(total.shape)
            of_number = replace_dtypes(self.bound, "i64")
            only: list[torch.Tensor | None] = [None] * len(sums)
            only[number] = places
            found = replace(self, bound=of_number).gather(only, indices).to(total.device)
            at = found > 0
            values = dense.to(total.device, total.dtype)[at]
            total.view(-1).index_put_((found[at] - 1,), values, accumulate=True)


def replace_dtypes(bound: BoundMap, dtype: str) -> BoundMap:
    """The map over arrays of elements of another dtype."""
    heads = bound.application.heads
    views = [replace(view, dtype=dtype) if n in heads else view for n, view in enumerate(bound.views)]
    return bound._replace(views=views)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a tensor without what derivatives need: gradients, tangents, levels of torch.func."""
    with cast(Any, torch)._C._DisableFuncTorch():
        while _functorch.is_gradtrackingtensor(tensor):
            tensor = _functorch.get_unwrapped(tensor)
        tensor = tensor.detach()
        return tensor.clone() if tensor._is_zerotensor() else tensor  # which has no memory


@contextmanager
def ordinary() -> Generator[None]:
    """Compute with plain tensors, also inside of the transforms of torch.func, and without gradients."""
    with torch.no_grad(), cast(Any, torch)._C._DisableFuncTorch():
        yield


def _wide(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    return torch.promote_types(torch.promote_types(one, other), torch.float32)


def _zero(view: ArrayView) -> torch.Tensor:
    """Zeros of the form of a view, which are one in memory."""
    return torch.zeros((), dtype=torch_dtypes()[view.dtype], device=_where(view)).expand(view.shape)


def _spare(view: ArrayView) -> torch.Tensor:
    """Memory of the form of a view."""
    return torch.empty(view.shape, dtype=torch_dtypes()[view.dtype], device=_where(view))


def _where(view: ArrayView) -> str:
    return "cpu" if view.device is None else f"cuda:{view.device}"
