"""The layers of networks on images, whose pixels are computed from windows of others.

An image has channels of rows of columns; one of one dimension has one row. A window is written as in
`3x3 stride 2x2 padding 1x1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]
"""A number of rows, and one of columns."""


@dataclass(frozen=True)
class Image:
    """The features of a point as channels of rows of columns."""

    channels: int
    height: int
    width: int

    parameters = 0

    @property
    def features(self) -> int:
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"image({self.channels}, {self.height}, {self.width})"


@dataclass(frozen=True)
class Window:
    """The pixels that one is made of: `size` of them, `dilation` apart; for its neighbour they are `stride` further on.

    Around the image there are `before` and `after` of padding.
    """

    size: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)

    @property
    def count(self) -> int:
        """The number of pixels."""
        return self.size[0] * self.size[1]

    @property
    def is_padded(self) -> bool:
        return self.before + self.after != (0, 0, 0, 0)

    @property
    def unpadded(self) -> Window:
        """The window on an image that has the padding already."""
        return replace(self, before=(0, 0), after=(0, 0))

    def around(self, image: Image) -> Image:
        """An image with its padding."""
        height, width = (sum(each) for each in zip((image.height, image.width), self.before, self.after, strict=True))
        return Image(image.channels, height, width)

    def over(self, image: Image) -> Pair:
        """The rows and columns that windows make of an image. Raises ValueError if it has not one window."""
        found: list[int] = []
        padded = self.around(image)
        for axis, length in enumerate((padded.height, padded.width)):
            left = length - self.dilation[axis] * (self.size[axis] - 1) - 1
            if left < 0:
                raise ValueError(f"a window of {self} is larger than {image}")
            found.append(left // self.stride[axis] + 1)
        return found[0], found[1]

    def __str__(self) -> str:
        parts = [_pair(self.size)]
        parts += [f"{name} {_pair(own)}" for name in ("stride", "dilation") if (own := getattr(self, name)) != (1, 1)]
        if self.is_padded:
            both = [self.before] if self.before == self.after else [self.before, self.after]
            parts.append(f"padding {'+'.join(map(_pair, both))}")
        return " ".join(parts)


@dataclass(frozen=True)
class Convolution:
    """`y[o, p] = bias[o] + sum of weight[o, i, k] * x[i, p + k]`, where `i` is of the same one of `groups` as `o`."""

    inputs: int
    outputs: int
    window: Window
    groups: int = 1

    @property
    def taps(self) -> int:
        """The number of products in each sum."""
        return self.inputs // self.groups * self.window.count

    @property
    def parameters(self) -> int:
        """The number of weights: the biases, then for each group the weights in the order that `blocks` tells."""
        return self.outputs * (self.taps + 1)

    def of(self, image: Image) -> Image:
        """What it makes of an image. Raises ValueError for one that it does not take."""
        if image.channels != self.inputs:
            raise ValueError(f"{self} takes {self.inputs} channels, and there are {image.channels}")
        return Image(self.outputs, *self.window.over(image))

    def __str__(self) -> str:
        groups = f" groups {self.groups}" if self.groups > 1 else ""
        return f"conv({self.inputs}, {self.outputs}, {self.window}{groups})"


@dataclass(frozen=True)
class Pool:
    """The maximum or the average of each window of a channel; `max_pool` pads with what is less than all numbers."""

    kind: str
    window: Window

    parameters = 0

    def of(self, image: Image) -> Image:
        """What it makes of an image. Raises ValueError for one that is smaller than a window."""
        return Image(image.channels, *self.window.over(image))

    def __str__(self) -> str:
        return f"{self.kind}({self.window})"


POOLS = ("max_pool", "avg_pool")


@dataclass(frozen=True)
class Flatten:
    """The pixels of an image become features, in the order of channels, rows and columns."""

    parameters = 0

    def __str__(self) -> str:
        return "flatten"


ImageLayer: TypeAlias = "Image | Convolution | Pool | Flatten"


def parse(name: str, given: list[str]) -> ImageLayer | None:
    """Read a layer from its name and what is in its brackets; None if it is no layer of images. Raises ValueError."""
    match name, given:
        case "image", [_, _, _]:
            return Image(*map(positive, given))
        case "flatten", []:
            return Flatten()
        case (kind, [text]) if kind in POOLS:
            window, groups = _window(text)
            if groups == 1:
                return Pool(kind, window)
        case "conv", [inputs, outputs, text]:
            window, groups = _window(text)
            layer = Convolution(positive(inputs), positive(outputs), window, groups)
            if layer.inputs % groups or layer.outputs % groups:
                raise ValueError(f"{layer} has channels that are no multiple of its groups")
            return layer
        case _:
            pass
    return None


_WINDOW = re.compile(
    r"(?P<size>\d+x\d+)(?: stride (?P<stride>\d+x\d+))?(?: dilation (?P<dilation>\d+x\d+))?"
    r"(?: padding (?P<before>\d+x\d+)(?:\+(?P<after>\d+x\d+))?)?(?: groups (?P<groups>\d+))?"
)


def _window(text: str) -> tuple[Window, int]:
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no window, such as 3x3 stride 2x2 dilation 1x1 padding 1x1+0x0")
    size, stride, dilation = (_numbers(found[name] or "1x1", 1) for name in ("size", "stride", "dilation"))
    before = _numbers(found["before"] or "0x0", 0)
    after = _numbers(found["after"], 0) if found["after"] else before
    return Window(size, stride, dilation, before, after), positive(found["groups"] or "1")


def _numbers(text: str, least: int) -> Pair:
    rows, columns = map(int, text.split("x"))
    if min(rows, columns) < least:
        raise ValueError(f"a window has at least {least} of each, not {text}")
    return rows, columns


def positive(text: str) -> int:
    """Read a number of features. Raises ValueError for what is none."""
    if (size := int(text)) < 1:
        raise ValueError(f"a layer has at least one feature, not {size}")
    return size


def _pair(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"
