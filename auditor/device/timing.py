"""How long work takes on a device, by the device's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from auditor.errors import DeviceError

_WARM_UP_S = 0.05  # clocks rise with the first work
_SPAN_S = 0.01  # of one timing: long beside what a launch takes
_TIMINGS = 12
_MOST_CALLS = 1000


def fastest_s(run: Callable[[], object], *, until_s: float) -> float:
    """The shortest time of one call among several timings, on the current stream.

    until_s: by `time.monotonic`, when no further timing is begun. Raises: DeviceError: there is no time for any.
    """
    if time.monotonic() >= until_s:
        raise DeviceError("there was no time left for it")
    warm_until_s = min(time.monotonic() + _WARM_UP_S, until_s)
    one_s = _timed_s(run, 1)
    while time.monotonic() < warm_until_s:
        one_s = min(one_s, _timed_s(run, 1))
    calls = max(1, min(_MOST_CALLS, round(_SPAN_S / one_s)))
    best_s = one_s
    for _ in range(_TIMINGS):
        if time.monotonic() >= until_s:
            break
        best_s = min(best_s, _timed_s(run, calls) / calls)
    return best_s


def _timed_s(run: Callable[[], object], calls: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    elapsed_s: float = begin.elapsed_time(end) / 1e3
    if not elapsed_s > 0:
        raise DeviceError("the device's clock did not go on")
    return elapsed_s
