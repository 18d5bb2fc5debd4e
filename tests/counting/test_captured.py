"""A captured CUDA graph counts at each of its replays."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.cuda import graphs

import auditor
from auditor.counting.counter import open_counter
from auditor.tally import CounterKind

PRODUCT = 2 * 4**3


@pytest.fixture(params=list(CounterKind)[1:])
def count(request):
    return partial(auditor.count, counter=request.param)


@pytest.fixture
def graph(monkeypatch):
    """Torch's own class; without a device, the driver's part beneath it does nothing."""
    if torch.cuda.is_available():
        pytest.skip("with a GPU, graphs are captured for real")
    driver = graphs._CUDAGraph
    monkeypatch.setattr(driver, "__new__", lambda kind, *_: object.__new__(kind))
    monkeypatch.setattr(driver, "__init__", lambda *_, **__: None)
    for name in ("capture_begin", "capture_end", "replay", "reset"):
        monkeypatch.setattr(driver, name, lambda *_, **__: None, raising=False)

    def make():
        made = graphs.CUDAGraph()
        made._tracker = None
        return made

    return make


def test_a_capture_counts_at_its_replays(count, graph):
    x = torch.randn(4, 4)
    with count() as counted:
        x @ x
        captured = graph()
        captured.capture_begin()
        x @ x
        x @ x
        assert counted.operations.total == PRODUCT  # asked in the middle: what came before
        captured.capture_end()
        assert counted.operations.total == PRODUCT
        captured.replay()
        captured.replay()
        x @ x
    assert counted.operations.total == (1 + 2 * 2 + 1) * PRODUCT


def test_two_counters_count_a_replay_once_each(count, graph):
    x, captured = torch.randn(4, 4), graph()
    with count() as outer:
        captured.capture_begin()
        x @ x
        captured.capture_end()
        with count() as inner:
            captured.replay()
        captured.replay()
    assert (outer.operations.total, inner.operations.total) == (2 * PRODUCT, PRODUCT)


def test_a_capture_that_nobody_counted_is_named_at_its_replays(count, graph):
    captured = graph()
    captured.capture_begin()
    captured.capture_end()
    with count() as counted:
        captured.replay()
    assert counted.unpriced == {"cuda_graph::captured_before": 1}


@pytest.mark.parametrize("kind", list(CounterKind)[1:])
def test_what_is_cut_during_a_capture_is_what_came_before_it(kind):
    counter, x = open_counter(kind), torch.randn(4, 4)
    counter.attach()
    x @ x
    counter.set_aside()
    x @ x
    cut = counter.cut()
    assert cut is not None
    assert sum(cut().values()) == 1
    assert counter.cut() is None
    assert sum(counter.taken_aside().values()) == 1
    x @ x
    counter.detach()
    assert sum(counter.take().values()) == 1


@pytest.mark.gpu
def test_a_real_capture_counts_at_its_replays(count):
    x = torch.randn(4, 4, device="cuda")
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with count() as counted:
        with torch.cuda.graph(captured):
            x @ x
        assert counted.operations.total == 0
        captured.replay()
        captured.replay()
    assert counted.operations.total == 2 * PRODUCT
