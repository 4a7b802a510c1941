"""Ring buffer: any pushes, every held window is the same as a slice of everything pushed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.features.ring import RingBuffer


@given(st.integers(1, 12), st.lists(st.integers(0, 30), max_size=20), st.integers(0, 3))
def test_every_window_is_a_slice_of_what_was_pushed(capacity, sizes, width):
    ring = RingBuffer(capacity, width)
    pushed = np.zeros((0, width) if width else 0, dtype=np.float32)
    for size in sizes:
        items = np.arange(pushed.size, pushed.size + size * max(width, 1), dtype=np.float32)
        items = items.reshape(size, width) if width else items
        ring.push(items)
        pushed = np.concatenate([pushed, items])
        assert ring.end == len(pushed)
        assert ring.start == max(0, len(pushed) - capacity)
        for start in range(ring.start, ring.end + 1):
            for length in range(ring.end - start + 1):
                window = ring.window(start, length)
                np.testing.assert_array_equal(window, pushed[start : start + length])


def test_a_window_is_a_read_only_view_without_a_copy():
    ring = RingBuffer(8)
    ring.push(np.arange(13, dtype=np.float32))
    window = ring.window(5, 8)
    assert window.base is not None
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 1.0


@pytest.mark.parametrize("span", [(4, 2), (12, 3), (20, 1), (6, -1)])
def test_spans_that_are_not_held_raise(span):
    ring = RingBuffer(8)
    ring.push(np.arange(14, dtype=np.float32))
    with pytest.raises(IndexError, match="held"):
        ring.window(*span)


def test_reset_forgets_and_renumbers():
    ring = RingBuffer(4)
    ring.push(np.ones(9, dtype=np.float32))
    ring.reset(position=100)
    assert (ring.start, ring.end) == (100, 100)
    ring.push(np.full(2, 7, dtype=np.float32))
    np.testing.assert_array_equal(ring.window(100, 2), [7, 7])
    with pytest.raises(IndexError):
        ring.window(99, 1)


def test_capacity_must_hold_something():
    with pytest.raises(ValueError, match="capacity"):
        RingBuffer(0)
