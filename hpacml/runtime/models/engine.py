"""Modules of known layers run by compiled code, whose weights are theirs. It imports Torch."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from hpacml.dtypes import SIZES
from hpacml.networks.architecture import Layer, Linear, Scaling, blocks, stages
from hpacml.runtime.arrays.views import Words, descriptor, tensor_view, words_at
from hpacml.runtime.entry import Function
from hpacml.runtime.models import threads
from hpacml.runtime.models.described import Described, NotDescribed, Weights
from hpacml.runtime.models.network_code import Views, compiled, packed_type, rows
from hpacml.runtime.models.snapshot import Snapshot

MOST_FEATURES = 1024
"""The most features of a layer: a tile of them is 512 KiB."""

MOST_BYTES = 1 << 20
"""The most bytes of weights, all of which each tile reads: a processor's second cache holds them."""

LEAST_WORK = 1 << 20
"""The least multiplications for which a thread is started: some ten microseconds."""

TILE = 128

KNOWN_SHAPES = 64
"""How many shapes of tensors a network remembers."""

_FLOATS = {torch.float32: "f32", torch.float64: "f64"}


class Engine:
    """Runs what `find` gives by compiled code. A module that is `fixed` is looked at once, others at each call."""

    def __init__(self, find: Callable[[], torch.nn.Module], fixed: bool) -> None:
        self._find, self._fixed = find, fixed
        self._known: _Known | None = None

    def run(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Fill a dense tensor with what the module makes of another.

        The first layer takes the features of `x`, its last dimension, or, if it flattens, all but the first.
        Raises NotDescribed, and has written nothing then, for what compiled code does not compute.
        """
        if x.dtype not in _FLOATS or y.dtype not in _FLOATS:
            raise NotDescribed("its arrays have other elements than float32 and float64")
        if x.dim() < 2 or not x.is_contiguous() or not y.is_contiguous():
            raise NotDescribed("its input has no dimension of features")
        known = self._look()
        points, inputs, outputs, function = known.code_for(x, y)
        views = [descriptor(tensor_view(each, None)) for each in (x.view(points, inputs), y.view(points, outputs))]
        self._compute(known, function, views, points)

    def run_on_views(self, views: Views, memory: Sequence[int]) -> None:
        """Do the same from views to views, whose descriptors are at the addresses `memory`; no two share an element.

        Raises NotDescribed, and has written nothing then.
        """
        known = self._look()
        function = known.code_for_views(views)
        words = [words_at(at, len(type.strides)) for at, type in zip(memory, views.types, strict=True)]
        self._compute(known, function, words, math.prod(words[0][3 : 3 + views.sweep]))

    def _compute(self, known: _Known, function: Function, views: Sequence[Words], points: int) -> None:
        """Enter the code with descriptors of views, which threads share along their first dimension."""
        shares = _shares(views[0][3], points, known.work)
        if len(shares) == 1:
            function(*known.addresses, *map(ctypes.addressof, views))
            return
        parts = [[_part(view, a, b) for view in views] for a, b in shares]
        threads.run([partial(function, *known.addresses, *map(ctypes.addressof, part)) for part in parts])

    def _look(self) -> _Known:
        """What the module is now. Its weights are packed anew if it is another, or they are."""
        if self._fixed and self._known is not None:
            return self._known
        module, known = self._find(), self._known
        if known is None or not known.snapshot.holds(module) or known.snapshot.digest() != known.digest:
            known = self._known = _Known(module)
        return known


def _part(view: Words, start: int, stop: int) -> Words:
    """The descriptor of a part of the first dimension of a view."""
    part = type(view).from_buffer_copy(view)
    rank = (len(part) - 3) // 2
    part[2] += start * part[3 + rank]
    part[3] = stop - start
    return part


def _shares(rows: int, points: int, work: int) -> list[tuple[int, int]]:
    """Part the rows of points, each of which is so many multiplications, among as many threads as Torch has."""
    most = points * work // LEAST_WORK
    count = max(1, min(torch.get_num_threads(), most))
    least = TILE if rows == points else 1
    size = max(least, -(-rows // count // least) * least)
    return [(start, min(rows, start + size)) for start in range(0, rows, size)] or [(0, 0)]


class _Known:
    """A module as it was at a call: its layers, and its weights as compiled code reads them."""

    def __init__(self, module: torch.nn.Module) -> None:
        described = Described(module)
        self.flattens, self.snapshot = described.flattens, Snapshot(module)
        self.digest = self.snapshot.digest()  # before they are read: another thread may change them
        taken = iter(described.weights)
        own = [next(taken)() if layer.parameters else () for layer in described.layers]
        if any(each.device.type != "cpu" for weights in own for each in weights):
            raise NotDescribed("its weights are not on the host")
        self.element = _element(described.layers, own)
        self.layers = tuple(
            _widened(*each, is_single=self.element == "f32") for each in zip(described.layers, own, strict=True)
        )
        _require_small(self.layers, SIZES[self.element])
        self._codes: dict[tuple[object, ...], tuple[int, int, int, Function]] = {}
        """By the shapes and types of tensors, what `code_for` gives."""
        self._codes_for_views: dict[Views, Function] = {}
        self.work = sum(layer.parameters for layer in self.layers)
        self._packed = [_packed(layer, each) for layer, each in zip(self.layers, own, strict=True) if each]
        self._descriptors = [descriptor(tensor_view(each, None)) for each in self._packed]
        self.addresses = tuple(map(ctypes.addressof, self._descriptors))
        """Where the descriptors of the packed weights are."""

    def code_for(self, x: torch.Tensor, y: torch.Tensor) -> tuple[int, int, int, Function]:
        """The number of points, and of the features of both tensors, and the code for them."""
        key = x.shape, y.shape, x.dtype, y.dtype
        if (found := self._codes.get(key)) is None:
            points, inputs, outputs = _shape(self, x, y)
            x_type, y_type = packed_type(_FLOATS[x.dtype], inputs), packed_type(_FLOATS[y.dtype], outputs)
            function = compiled(self.layers, self.element, Views(1, (x_type,), (y_type,)))
            if len(self._codes) >= KNOWN_SHAPES:
                self._codes.clear()
            found = self._codes[key] = points, inputs, outputs, function
        return found

    def code_for_views(self, views: Views) -> Function:
        """The code for views. Raises NotDescribed for those that do not have the features of the network."""
        if (function := self._codes_for_views.get(views)) is None:
            if self.flattens and views.sweep > 1:
                raise NotDescribed("it flattens points")
            _require_features_second(self.layers, views.sweep)
            inputs, outputs = (sum(type.width for type in types) for types in (views.inputs, views.outputs))
            if _outputs(self.layers, inputs) != outputs:
                raise NotDescribed(_OTHER_SHAPE)
            function = compiled(self.layers, self.element, views)
            if len(self._codes_for_views) >= KNOWN_SHAPES:
                self._codes_for_views.clear()
            self._codes_for_views[views] = function
        return function


def _element(layers: Sequence[Layer], weights: Sequence[Weights]) -> str:
    """The type in which a network computes: that of its linear layers. Raises NotDescribed if there are several."""
    pairs = zip(layers, weights, strict=True)
    found = {each.dtype for layer, own in pairs if not _normalizes(layer) for each in own}
    if len(found) != 1 or (dtype := found.pop()) not in _FLOATS:
        raise NotDescribed("its weights are not all float32, or all float64")
    return _FLOATS[dtype]


def _normalizes(layer: Layer) -> bool:
    return isinstance(layer, Scaling) and layer.kind.endswith("normalize")


def _widened(layer: Layer, weights: Weights, is_single: bool) -> Layer:
    """The layer itself, or one that computes in float64, as a Normalize of such numbers in a float32 network does."""
    if isinstance(layer, Scaling) and _normalizes(layer):
        dtypes = {each.dtype for each in weights}
        if not dtypes <= _FLOATS.keys():
            raise NotDescribed("a Normalize has other numbers than float32 and float64")
        if is_single and torch.float64 in dtypes:
            return Scaling(f"{layer.kind}64", layer.features)
    return layer


def _require_small(layers: Sequence[Layer], size: int) -> None:
    for layer in layers:
        if isinstance(layer, Linear) and max(layer.inputs, layer.outputs) > MOST_FEATURES:
            raise NotDescribed(f"{layer} has more than {MOST_FEATURES} features")
    if sum(layer.parameters for layer in layers) * size > MOST_BYTES:
        raise NotDescribed(f"its weights take more than {MOST_BYTES >> 20} MiB")
    if any(isinstance(layer, Scaling) and layer.kind == "denormalize64" for layer in layers[:-1]):
        raise NotDescribed("layers follow a Normalize that gives float64")


def _packed(layer: Layer, weights: Weights) -> torch.Tensor:
    """The weights of a layer in one array, in the order that compiled code reads them."""
    if isinstance(layer, Linear):
        matrix, bias = weights
        parts = [matrix[first : first + count].T.reshape(-1) for first, count in blocks(layer.outputs, rows())]
        return torch.cat([bias, *parts])
    dtype = torch.float64 if isinstance(layer, Scaling) and layer.kind.endswith("64") else weights[0].dtype
    return torch.cat([each.reshape(-1).to(dtype) for each in weights])


def _shape(known: _Known, x: torch.Tensor, y: torch.Tensor) -> tuple[int, int, int]:
    """The number of points, and of the features of both tensors."""
    kept = 1 if known.flattens else x.dim() - 1
    _require_features_second(known.layers, kept)
    inputs = x.shape[kept:].numel()
    outputs = _outputs(known.layers, inputs)
    sweep = x.shape[:kept]
    if y.shape != (*sweep, outputs) and not (outputs == 1 and y.shape == sweep):
        raise NotDescribed(_OTHER_SHAPE)
    return sweep.numel(), inputs, outputs


_OTHER_SHAPE = "its results do not have the shape of the output"


def _outputs(layers: Sequence[Layer], inputs: int) -> int:
    """How many features layers make of so many. Raises NotDescribed if these are not what they take."""
    try:
        found = stages(layers, inputs)
    except ValueError as error:
        raise NotDescribed(str(error)) from None
    return found[-1].outputs if found else inputs


def _require_features_second(layers: Sequence[Layer], sweep: int) -> None:
    """Raise NotDescribed for layers that take dimension 1 for their features where the sweep has it."""
    if sweep > 1 and any(_is_by_channel(layer) for layer in layers):
        raise NotDescribed("the features of a layer are dimension 1 of more than 2")


def _is_by_channel(layer: Layer) -> bool:
    return isinstance(layer, Scaling) and layer.kind in ("batch_norm", "prelu") and layer.features > 1
