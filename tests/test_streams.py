"""Gathers past the caches: with a cache of 64 bytes, all but the smallest are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml
from hpacml.backend import caches
from hpacml.frontend import bound_map


@pytest.fixture(scope="module", autouse=True)
def small_caches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caches, "beyond", lambda: 64)
        bound_map.compiled.cache_clear()
        yield
    bound_map.compiled.cache_clear()


STENCIL = hpacml.functor("f: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])")
ROWS = hpacml.functor("f: [i, 0:2, 0:3] = ([i, 0:3], [i + 1, 2:5])")
KINDS: dict[str, Any] = {"f4": torch.float32, "f8": torch.float64, "u1": torch.uint8, "f2": torch.float16}


def given_tensor(shape: tuple[int, ...], kind: str, offset: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A tensor some elements behind the begin of memory, and that memory, of which others must stay as they are."""
    size = int(np.prod(shape))
    memory = torch.full((size + offset + 40,), 77, dtype=KINDS[kind])
    return memory[offset : offset + size].view(shape), memory


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0, 1, 2, 3, 17, 255, 256, 257, 700]),
    st.integers(1, 3),
    st.sampled_from(["f4", "f8"]),
    st.sampled_from(["f4", "f8", "u1", "f2"]),
    st.integers(0, 17),
)
def test_stencils(width: int, height: int, kind: str, source: str, offset: int) -> None:
    a = np.arange((height + 2) * (width + 2)).reshape(height + 2, width + 2).astype(source)
    out, memory = given_tensor((height, width, 5), kind, offset)
    STENCIL.gather("a[1:n-1, 1:m-1]", a=a, n=height + 2, m=width + 2, out=out)
    parts = [a[:-2, 1:-1], a[2:, 1:-1], a[1:-1, :-2], a[1:-1, 1:-1], a[1:-1, 2:]]
    np.testing.assert_array_equal(out.numpy(), np.stack(parts, -1).astype(kind))
    assert memory[:offset].eq(77).all()
    assert memory[offset + out.numel() :].eq(77).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 40, 333])
def test_rows_of_several_dimensions(kind: str, rows: int) -> None:
    a = np.random.default_rng(rows).random((rows + 1, 8))[:, ::-1].astype("f4")
    out, memory = given_tensor((rows, 2, 3), kind, 3)
    ROWS.gather("a[0:n, 0:8]", a=a, n=rows, out=out)
    expected = np.stack([a[:-1, 0:3], a[1:, 2:5]], 1)
    np.testing.assert_array_equal(out.numpy(), expected.astype(kind))
    assert memory[:3].eq(77).all()
    assert memory[3 + out.numel() :].eq(77).all()


def test_the_size_of_the_last_cache(tmp_path: Path) -> None:
    assert caches.last(tmp_path) == 0
    for n, (kind, size) in enumerate([("Data", "32K"), ("Instruction", "64K"), ("Unified", "1024K"), ("Unified", "")]):
        (cache := tmp_path / f"index{n}").mkdir()
        (cache / "type").write_text(f"{kind}\n")
        (cache / "size").write_text(f"{size}\n")
    (tmp_path / "index9").mkdir()
    assert caches.last(tmp_path) == 1 << 20
