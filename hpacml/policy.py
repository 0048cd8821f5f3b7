"""What a region does where its model fails."""

from __future__ import annotations

from typing import Literal, get_args

OnError = Literal["raise", "accurate"]
"""Raise the error, or run the original code instead."""

POLICIES: tuple[OnError, ...] = get_args(OnError)


def is_policy(value: object) -> bool:
    return isinstance(value, str) and value in POLICIES
