"""A module of known layers as it was at a call: its weights as compiled code reads them, and code. It imports Torch."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from hpacml.backend import llvm
from hpacml.dtypes import SIZES
from hpacml.networks.architecture import (
    Activation,
    Features,
    Layer,
    Linear,
    Residual,
    Scaling,
    blocks,
    multiplications,
    outputs,
    total,
)
from hpacml.networks.images import Convolution, Image, Pool
from hpacml.runtime import fastcall
from hpacml.runtime.arrays.views import ArrayView, Words, c_strides, descriptor, tensor_view
from hpacml.runtime.entry import Function
from hpacml.runtime.fast_path import Conditions, Pointers, Signature
from hpacml.runtime.models.described import Described, NotDescribed, Weights
from hpacml.runtime.models.network import InputType
from hpacml.runtime.models.network_code import INTEGERS, Views, ViewType, compiled, packed_type, rows
from hpacml.runtime.models.snapshot import Snapshot

K = TypeVar("K")
T = TypeVar("T")

Sizes: TypeAlias = tuple[int, ...]

MOST_FEATURES = 1024
"""The most features of a layer: a tile of them is 512 KiB."""

MOST_CHANNELS = 64
"""The most channels of a convolution: Torch is as fast for more."""

MOST_COLUMNS = 32
"""The most columns of a window, for each of which there is code."""

MOST_SIZES = 8
"""The most sizes of images for which code is made: each takes as long as thousands of calls."""

MOST_BYTES = 1 << 20
"""The most bytes of weights, all of which each tile reads: a processor's second cache holds them."""

KNOWN_SHAPES = 64
"""How many shapes of tensors a network remembers."""

TILE = 128

FLOATS = {torch.float32: "f32", torch.float64: "f64"}


class Code(NamedTuple):
    """The code of a network for some tensors or views."""

    function: Function
    work: int
    """The number of multiplications for each point."""
    least: int
    """The least points that are worth a thread."""


class CodeOfViews(NamedTuple):
    """The code of a network for some views."""

    code: Code
    enter: Callable[[int], object]
    """Run it for all points; takes the address of pointers to the descriptors of the views."""


class CodeOfTensors(NamedTuple):
    """The code of a network for packed tensors."""

    code: Code
    x: Words
    """The descriptor of the input as the code takes it, without its address; the first dimension is that of points."""
    y: Words
    """That of the result."""


class PackedNetwork:
    """A module as it was at a call, with the inputs that its file declares, if any.

    Code that uses its weights is for processors with these `features`; None stands for those of this one.
    """

    def __init__(
        self, module: torch.nn.Module, declared: Sequence[InputType] | None, features: str | None = None
    ) -> None:
        self._declared = declared
        described = Described(module)
        self.rank, self._reshapes, self.snapshot = described.rank, described.reshapes, Snapshot(module)
        self.digest = self.snapshot.digest()  # before they are read: another thread may change them
        taken = iter(described.weights)
        own = [next(taken)() if layer.parameters else () for layer in described.layers]
        if any(each.device.type != "cpu" for weights in own for each in weights):
            raise NotDescribed("its weights are not on the host")
        self.element = _element(described.layers, own)
        """The type in which it computes."""
        is_single = self.element == "f32"
        self.layers = tuple(_widened(*each, is_single) for each in zip(described.layers, own, strict=True))
        _require_small(self.layers, SIZES[self.element])
        self._images: set[Features] = set()
        self._codes: dict[object, CodeOfTensors] = {}
        """By the shapes and types of tensors."""
        self._codes_of_views: dict[Views, CodeOfViews] = {}
        self._last: tuple[Views, CodeOfViews] | None = None
        at_once = rows(llvm.host().features if features is None else features)
        self.packed = [_packed(layer, each, at_once) for layer, each in zip(self.layers, own, strict=True) if each]
        """The weights of the layers that have some, in the order that the code reads them."""
        self._descriptors = [descriptor(tensor_view(each, None)) for each in self.packed]
        self.addresses = tuple(map(ctypes.addressof, self._descriptors))
        """Where the descriptors of the packed weights are."""

    def code_for(self, x: ArrayView, y: ArrayView) -> CodeOfTensors:
        """The code for packed tensors. Raises NotDescribed for those that the network does not take, or give."""
        key = x.shape, y.shape, x.dtype, y.dtype
        if (found := self._codes.get(key)) is None:
            found = _remember(self._codes, key, self._of_tensors(x, y))
        return found

    def code_for_views(self, views: Views) -> CodeOfViews:
        """The code for views. Raises NotDescribed for those that do not have the features of the network."""
        if (last := self._last) is not None and last[0] is views:
            return last[1]
        if (found := self._codes_of_views.get(views)) is None:
            found = _remember(self._codes_of_views, views, self._of_views(views))
        self._last = views, found
        return found

    def _of_tensors(self, x: ArrayView, y: ArrayView) -> CodeOfTensors:
        self._require_declared(lambda declared: declared.fits(x.shape))
        points, given = self._parted(_reshaped(self._reshapes[0], x.shape))
        layers = (given, *self.layers) if isinstance(given, Image) else self.layers
        made = _outputs(layers, total(given))
        result = _reshaped(self._reshapes[1], points + self._dimensions(made))
        if y.shape != result and not (made == 1 and y.shape == result[:-1]):
            raise NotDescribed(_OTHER_SHAPE)
        self._images.add(given if self.rank else 0)
        if len(self._images) > MOST_SIZES:
            raise NotDescribed(f"its images had more than {MOST_SIZES} sizes")
        types = packed_type(x.dtype, _own(given)), packed_type(y.dtype, _own(made))
        self._require_types(*([type.dtype] for type in types))
        function = compiled(layers, self.element, Views(1, types[:1], types[1:]))
        x_words, y_words = (_packed_words(type, math.prod(points)) for type in types)
        code = Code(function, multiplications(layers, total(given)), 1 if self.rank else TILE)
        return CodeOfTensors(code, x_words, y_words)

    def _parted(self, shape: Sizes) -> tuple[Sizes, Features]:
        """The dimensions of the points of an input, and what the features of a point are."""
        if not self.rank:
            if len(shape) < 2:
                raise NotDescribed("its input has no dimension of features")
            _require_features_second(self.layers, len(shape) - 1)
            return shape[:-1], shape[-1]
        points, image = shape[: -self.rank - 1], shape[-self.rank - 1 :]
        # Other layers than these take dimension 1 for the channels.
        may_be_alone = all(isinstance(layer, Convolution | Pool | Activation | Residual) for layer in self.layers)
        is_known = len(points) == 1 or (may_be_alone and not points)
        if not is_known or len(image) <= self.rank:
            raise NotDescribed(f"its input has {len(shape)} dimensions, and not those of images and their number")
        channels, *others = image
        height, width = [1] * (2 - self.rank) + others
        if 0 in image:
            raise NotDescribed("its images have no pixels")
        return points, Image(channels, height, width)

    def _dimensions(self, features: Features) -> Sizes:
        """The dimensions that tensors have for features; images of one dimension have no rows."""
        return _own(features)[:1] + _own(features)[1:][-self.rank :]

    def _require_types(self, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Raise NotDescribed for elements that compiled code does not have, or would compute otherwise."""
        # Other layers than these may compute otherwise of integers.
        integers = INTEGERS if isinstance(self.layers[0], Linear | Convolution | Scaling) else ()
        floats = FLOATS.values()
        if any(each not in (*floats, *integers) for each in inputs) or any(each not in floats for each in outputs):
            raise NotDescribed("its arrays have other elements than float32 and float64")

    def _require_declared(self, fits: Callable[[InputType], bool]) -> None:
        """Raise NotDescribed for an input that is none which the file declares."""
        if self._declared is not None and not all(map(fits, self._declared)):
            raise NotDescribed(f"its file declares {', '.join(map(str, self._declared))}")

    def _of_views(self, views: Views) -> CodeOfViews:
        self.require_rank(views.sweep + 1)
        given = self.require_features(views)
        function = compiled(self.layers, self.element, views)
        code = Code(function, multiplications(self.layers, given), TILE)
        return CodeOfViews(code, self._entrance(function, len(views.types)))

    def require_rank(self, rank: int) -> None:
        """Raise NotDescribed unless it takes tensors of so many dimensions, the last for features, of any points."""
        any_points = (None,) * (rank - 1)
        self._require_declared(lambda declared: declared.shape[:-1] == any_points)
        _require_features_second(self.layers, rank - 1)

    def require_features(self, views: Views) -> int:
        """The number of features that it takes.

        Raises NotDescribed for views that do not have its features, or elements that compiled code does not have.
        """
        given, wanted = (sum(type.width for type in types) for types in (views.inputs, views.outputs))
        if self.rank or _outputs(self.layers, given) != wanted:
            raise NotDescribed(_OTHER_SHAPE)
        self._require_types(*({type.dtype for type in types} for types in (views.inputs, views.outputs)))
        for modules, features in zip(self._reshapes, (given, wanted), strict=True):
            some = (2,) * views.sweep + (features,)
            if _reshaped(modules, some) != some:
                raise NotDescribed("it changes the dimensions of points")
        return given

    def _entrance(self, function: Function, views: int) -> Callable[[int], object]:
        """What runs code for the weights, and for views to whose descriptors pointers lead."""
        weights, pointers = self.addresses, ctypes.c_size_t * views
        takes = [(Pointers(views), 0, len(weights))]
        natively = fastcall.caller(function, Signature(1, takes, constants=[*enumerate(weights)]), Conditions())

        def enter(address: int) -> None:
            if natively is None or natively(address) is NotImplemented:
                function(*weights, *pointers.from_address(address))

        return enter


def _remember(known: dict[K, T], key: K, code: T) -> T:
    if len(known) >= KNOWN_SHAPES:
        known.clear()
    known[key] = code
    return code


def _packed_words(type: ViewType, points: int) -> Words:
    sizes = (points, *type.features)
    return descriptor(ArrayView(0, type.dtype, sizes, c_strides(sizes), False, None))


def _own(features: Features) -> Sizes:
    return (features,) if isinstance(features, int) else (features.channels, features.height, features.width)


def _reshaped(modules: Sequence[torch.nn.Module], shape: Sizes) -> Sizes:
    """The shape that modules which do nothing else give a tensor of another shape."""
    if not modules:
        return shape
    x: Any = torch.empty(shape, device="meta")
    try:
        for module in modules:
            x = module(x)
    except (RuntimeError, IndexError, ValueError) as error:
        raise NotDescribed(str(error)) from None
    return tuple(x.shape)


def _element(layers: Sequence[Layer], weights: Sequence[Weights]) -> str:
    """The type in which a network computes: that of its linear layers. Raises NotDescribed if there are several."""
    pairs = zip(layers, weights, strict=True)
    found = {each.dtype for layer, own in pairs if not _normalizes(layer) for each in own}
    if len(found) != 1 or (dtype := found.pop()) not in FLOATS:
        raise NotDescribed("its weights are not all float32, or all float64")
    return FLOATS[dtype]


def _normalizes(layer: Layer) -> bool:
    return isinstance(layer, Scaling) and layer.kind.endswith("normalize")


def _widened(layer: Layer, weights: Weights, is_single: bool) -> Layer:
    """The layer itself, or one that computes in float64, as a Normalize of such numbers in a float32 network does."""
    if isinstance(layer, Scaling) and _normalizes(layer):
        dtypes = {each.dtype for each in weights}
        if not dtypes <= FLOATS.keys():
            raise NotDescribed("a Normalize has other numbers than float32 and float64")
        if is_single and torch.float64 in dtypes:
            return Scaling(f"{layer.kind}64", layer.features)
    return layer


def _require_small(layers: Sequence[Layer], size: int) -> None:
    for layer in layers:
        if isinstance(layer, Linear) and max(layer.inputs, layer.outputs) > MOST_FEATURES:
            raise NotDescribed(f"{layer} has more than {MOST_FEATURES} features")
        if isinstance(layer, Convolution) and max(layer.inputs, layer.outputs) > MOST_CHANNELS:
            raise NotDescribed(f"{layer} has more than {MOST_CHANNELS} channels")
        if isinstance(layer, Convolution | Pool) and layer.window.size[1] > MOST_COLUMNS:
            raise NotDescribed(f"{layer} has more than {MOST_COLUMNS} columns in a window")
    if sum(layer.parameters for layer in layers) * size > MOST_BYTES:
        raise NotDescribed(f"its weights take more than {MOST_BYTES >> 20} MiB")
    if any(isinstance(layer, Scaling) and layer.kind == "denormalize64" for layer in layers[:-1]):
        raise NotDescribed("layers follow a Normalize that gives float64")


def _packed(layer: Layer, weights: Weights, at_once: int) -> torch.Tensor:
    """The weights of a layer in one array, in the order of code that computes so many outputs at once."""
    if isinstance(layer, Linear | Convolution):
        matrix, bias = weights
        groups = layer.groups if isinstance(layer, Convolution) else 1
        each_group = blocks(len(matrix) // groups, at_once)
        parts = [
            own[first : first + count].T.reshape(-1) for own in matrix.chunk(groups) for first, count in each_group
        ]
        return torch.cat([bias, *parts])
    dtype = torch.float64 if isinstance(layer, Scaling) and layer.kind.endswith("64") else weights[0].dtype
    return torch.cat([each.reshape(-1).to(dtype) for each in weights])


_OTHER_SHAPE = "its results do not have the shape of the output"


def _outputs(layers: Sequence[Layer], inputs: int) -> Features:
    """What layers make of so many features. Raises NotDescribed if these are not what they take."""
    try:
        return outputs(layers, inputs)
    except ValueError as error:
        raise NotDescribed(str(error)) from None


def _require_features_second(layers: Sequence[Layer], sweep: int) -> None:
    """Raise NotDescribed for layers that take dimension 1 for their features where the sweep has it."""
    if sweep > 1 and any(_is_by_channel(layer) for layer in layers):
        raise NotDescribed("the features of a layer are dimension 1 of more than 2")


def _is_by_channel(layer: Layer) -> bool:
    return isinstance(layer, Scaling) and layer.kind in ("batch_norm", "prelu") and layer.features > 1
