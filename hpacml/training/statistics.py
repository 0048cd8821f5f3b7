"""The digest of the rows of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import torch


class Digest:
    """SHA-256 of rows: of the dtype, the row's shape and all bytes of each tensor, however many are read at once."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._digests = [hashlib.sha256(f"{each.dtype}{list(each.shape[1:])}".encode()) for each in tensors]

    def update(self, tensors: Sequence[torch.Tensor]) -> None:
        """Take further rows."""
        for digest, tensor in zip(self._digests, tensors, strict=True):
            digest.update(cast(Any, tensor.contiguous().flatten().view(torch.uint8).numpy()))

    def hexdigest(self) -> str:
        """The digest so far."""
        return hashlib.sha256(b"".join(each.digest() for each in self._digests)).hexdigest()
