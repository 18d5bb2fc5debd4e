"""How busy the tensor cores were between two looks, where the device counts it (Hopper and later).

The performance monitor gives shares of the time between two samples of a device, and says nothing of 8-bit
floating point by itself: that shows under ``tensor`` only. Samples are asked for until one is refused; why it
was is kept, and it is not asked again.
"""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from auditor.hardware.answers import attempt
from auditor.hardware.sensing import Activity, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

# Numbers of nvml.h: shares in percent, then running totals of cycles (from driver 595 on).
_SHARES = {2: "sm", 5: "tensor", 6: "dfma", 7: "hmma", 9: "imma", 11: "fp64"}
_CYCLES = {248: "elapsed", 249: "sm", 250: "mma", 251: "dmma", 252: "hmma", 253: "imma", 254: "dfma"}
_SHORTEST_S = 0.1  # nvml.h: samples must be further apart


class Monitor:
    """The performance monitor of one device: the sample before, and what it refused."""

    def __init__(self, wanted: Wanted) -> None:
        self.refused = ""
        self._wanted = wanted
        self._asked = {**_SHARES, **_CYCLES}
        self._before: Any = None
        self._before_s = 0.0

    def begin(self, library: Any, handle: Any) -> None:
        """The time until the next `finish` is measured, unless it was refused before."""
        if self.refused:
            return
        self._before, self.refused = attempt(self._sample, library, handle)
        self._before_s = time.monotonic()

    def finish(self, library: Any, handle: Any) -> tuple[Activity | None, Mapping[str, int]]:
        """What was measured since `begin`, and the totals of cycles; nothing where there is nothing."""
        before, self._before = self._before, None
        covered_s = time.monotonic() - self._before_s
        if before is None:
            return None, {}
        try:
            if covered_s <= _SHORTEST_S:
                return None, {}
            values, reason = attempt(self._measure, library, handle, before)
        finally:
            attempt(library.nvmlGpmSampleFree, before)
        self.refused = reason
        return (None, {}) if values is None else _read(values, covered_s)

    def abandon(self, library: Any) -> None:
        """The time since `begin` is not measured; the sample is given back."""
        before, self._before = self._before, None
        if before is not None:
            attempt(library.nvmlGpmSampleFree, before)

    def _sample(self, library: Any, handle: Any) -> Any:
        if not library.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            raise LookupError("the device has no performance monitor that can be read")
        sample = library.nvmlGpmSampleAlloc()
        try:
            if self._wanted.gpu_instance is None:
                library.nvmlGpmSampleGet(handle, sample)
            else:
                library.nvmlGpmMigSampleGet(handle, self._wanted.gpu_instance, sample)
        except BaseException:
            attempt(library.nvmlGpmSampleFree, sample)
            raise
        return sample

    def _measure(self, library: Any, handle: Any, before: Any) -> dict[str, float]:
        now = self._sample(library, handle)
        try:
            asked = library.c_nvmlGpmMetricsGet_t()
            asked.version = library.NVML_GPM_METRICS_GET_VERSION
            asked.numMetrics = len(self._asked)
            asked.sample1, asked.sample2 = before, now
            for place, number in enumerate(self._asked):
                asked.metrics[place].metricId = number
            answered = library.nvmlGpmMetricsGet(asked) or asked
            return self._answered(answered)
        finally:
            attempt(library.nvmlGpmSampleFree, now)

    def _answered(self, answer: Any) -> dict[str, float]:
        """The metrics that the driver knows; the others are not asked for again."""
        metrics = [answer.metrics[place] for place in range(len(self._asked))]
        known = {one.metricId: one.value for one in metrics if one.nvmlReturn == 0 and one.metricId in self._asked}
        self._asked = {number: name for number, name in self._asked.items() if number in known}
        if not known:
            raise LookupError("the driver knows none of the counters that are asked for")
        finite = {number: value for number, value in known.items() if math.isfinite(value)}
        return {f"{_kind(number)}{self._asked[number]}": value for number, value in finite.items()}


def _kind(number: int) -> str:
    return "cycles " if number in _CYCLES else "share "


def _read(values: Mapping[str, float], covered_s: float) -> tuple[Activity | None, Mapping[str, int]]:
    """Shares are percent; more than all of the time, as seen of slices, is all. None without the tensor cores'."""
    covered = Decimal(f"{covered_s:.3f}")
    shares = {name[6:]: value for name, value in values.items() if name.startswith("share ")}
    busy = {
        name: min(max(Decimal(repr(float(share))), Decimal(0)), Decimal(100)) / 100 for name, share in shares.items()
    }
    cycles = {name[7:]: int(value) for name, value in values.items() if name.startswith("cycles ")}
    activity = Activity(busy_s={name: share * covered for name, share in busy.items()}, covered_s=covered)
    return activity if "tensor" in busy else None, cycles
