"""Memory of large tensors that is used again."""

from __future__ import annotations

import gc

import pytest

from hpacml.errors import MapError
from hpacml.runtime.arrays import buffers

LARGE = (1 << 19,)


def test_memory_is_used_again_once_the_tensor_is_gone():
    first = buffers.empty(LARGE, "f32")
    address = first.data_ptr()
    part = first[10:20]
    del first
    other = buffers.empty(LARGE, "f32")
    assert other.data_ptr() != address  # a view keeps it
    del part
    assert buffers.empty(LARGE, "f32").data_ptr() == address


def test_a_tensor_in_a_cycle_is_freed_at_any_time():
    class Cycle:
        def __init__(self):
            self.itself = self
            self.tensor = buffers.empty(LARGE, "f32")

    threshold = gc.get_threshold()
    gc.freeze()  # what other tests have left would take long to collect
    try:
        for count in range(1, 60):  # the collector runs at another place of `empty` each time
            gc.disable()
            gc.collect()
            Cycle()
            gc.set_threshold(gc.get_count()[0] + count)
            gc.enable()
            assert buffers.empty(LARGE, "f32").shape == LARGE
            gc.set_threshold(*threshold)
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
        gc.unfreeze()


def test_no_more_is_kept_than_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buffers, "KEPT", 3 << 21)
    kept = buffers.Buffers()
    for _ in range(6):
        blocks = [kept.take(1 << 21) for _ in range(3)]
        for block in blocks:
            kept.give(block)
    kept.take(1)
    assert sum(block.nbytes for block in kept._free) <= 3 << 21


def test_no_memory():
    with pytest.raises(MapError, match=r"no memory for a tensor of shape \[4611686018427387904\]"):
        buffers.empty((1 << 62,), "f64")
