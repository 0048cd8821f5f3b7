"""The operators `+ - *`, for what is added and multiplied with its like and with integers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, Literal, Self, TypeVar

T = TypeVar("T")
Sign = Literal["+", "-", "*"]


class Summand(ABC, Generic[T]):
    """Something with `+ - *`; operands are of type `T`."""

    @abstractmethod
    def _combine(self, sign: Sign, left: Any, right: Any) -> Self:
        """Return what the operator makes of two operands, one of which is this."""

    def __add__(self, other: T) -> Self:
        return self._combine("+", self, other)

    def __radd__(self, other: T) -> Self:
        return self._combine("+", other, self)

    def __sub__(self, other: T) -> Self:
        return self._combine("-", self, other)

    def __rsub__(self, other: T) -> Self:
        return self._combine("-", other, self)

    def __mul__(self, other: T) -> Self:
        return self._combine("*", self, other)

    def __rmul__(self, other: T) -> Self:
        return self._combine("*", other, self)
