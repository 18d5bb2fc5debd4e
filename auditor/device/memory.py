"""How fast a device reads its memory, and how much of it the second cache holds.

- *Bandwidth*: the faster of a read and a copy (counted twice) of a buffer several times as large as any second cache.
  Some of it may still come from there, so that the figure can lie a little above the memory's own.
- *Second cache*: latencies of dependent reads at random within working sets of rising size, each read through once
  before. Of a set larger than the cache the last part stays there, so a read misses with the rest's share; the capacity
  whose shares fit the latencies best is the answer. Where the cache lies in two halves, of which one multiprocessor
  sees the nearer one first, it can come out as small as one half.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from decimal import Decimal

import torch

from auditor.device.build import Module
from auditor.device.timing import fastest_s
from auditor.errors import DeviceError

_PIECE_BYTES, _LINE_BYTES = 16, 128
_BLOCK, _BLOCKS_PER_SM = 256, 8
_MIB = 1 << 20
_SIZES_PER_DOUBLING = 3
_STEPS, _CHASES = 2048, 3
_CANDIDATES = 400
_LEAST_PENALTY = 0.2  # of a read past the cache, beside one within


class Buffers:
    """Two buffers on the current device, three quarters of the limit together."""

    def __init__(self, module: Module, limit_bytes: int) -> None:
        device = torch.device("cuda", module.ordinal)
        self._module = module
        self.size_bytes = limit_bytes * 3 // 8 // _MIB * _MIB
        self.first, self.second = (torch.zeros(self.size_bytes, dtype=torch.int8, device=device) for _ in range(2))
        self._grid = _BLOCKS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
        self._results = torch.zeros(self._grid * _BLOCK, dtype=torch.int64, device=device)
        self._stream = torch.cuda.current_stream(device).cuda_stream

    def read(self, size_bytes: int) -> None:
        """Read so much of the first buffer, with the whole device."""
        self._launch("read_all", self._results.data_ptr(), self.first.data_ptr(), size_bytes // _PIECE_BYTES)

    def copy(self) -> None:
        """Copy the first buffer to the second."""
        self._launch("copy_all", self.second.data_ptr(), self.first.data_ptr(), self.size_bytes // _PIECE_BYTES)

    def chase_ticks(self, size_bytes: int) -> float:
        """Ticks for each of many reads that wait for one another, within so much of the first buffer."""
        lines = size_bytes // _LINE_BYTES
        words = (self._results.data_ptr(), self.first.data_ptr(), lines, _STEPS)
        self._module.launch("chase", *words, grid=1, block=1, stream=self._stream)
        return int(self._results[0].item()) / _STEPS

    def _launch(self, kernel: str, *words: int) -> None:
        self._module.launch(kernel, *words, grid=self._grid, block=_BLOCK, stream=self._stream)


def gb_per_s(buffers: Buffers, *, until_s: float) -> Decimal:
    """The bandwidth of the device's memory. Raises: DeviceError: time is up."""
    read_s = fastest_s(lambda: buffers.read(buffers.size_bytes), until_s=until_s)
    copied_s = fastest_s(buffers.copy, until_s=until_s)
    fastest = max(buffers.size_bytes / read_s, 2 * buffers.size_bytes / copied_s)
    return Decimal(fastest / 1e9).quantize(Decimal("0.1"))


def l2_bytes(buffers: Buffers, *, until_s: float) -> int:
    """The size of the second cache. Raises: DeviceError: no step shows, or time is up."""
    sizes = _sizes(buffers.size_bytes)
    latencies = []
    for size_bytes in sizes:
        if time.monotonic() >= until_s:
            raise DeviceError("there was no time left for it")
        taken = []
        for _ in range(_CHASES):
            buffers.read(size_bytes)
            taken.append(buffers.chase_ticks(size_bytes))
        latencies.append(statistics.median(taken))
    return capacity(sizes, latencies)


def _sizes(most_bytes: int) -> list[int]:
    number = int(math.log2(most_bytes / _MIB) * _SIZES_PER_DOUBLING) + 1
    return [round(_MIB * 2 ** (i / _SIZES_PER_DOUBLING)) // _LINE_BYTES * _LINE_BYTES for i in range(number)]


def capacity(sizes: Sequence[int], latencies: Sequence[float]) -> int:
    """The capacity, to a MiB, with which reads of these working sets would take these latencies.

    A read of a set of S bytes misses a cache of C with the share 1 - C / S. Raises: DeviceError: no capacity within
    the sizes fits, or a miss would hardly take longer than a hit.
    """
    fits = []
    for i in range(_CANDIDATES + 1):
        candidate: float = sizes[0] * math.pow(sizes[-1] / sizes[0], i / _CANDIDATES)
        shares = [max(0.0, 1 - candidate / size) for size in sizes]
        fits.append((*_line(shares, latencies), candidate))
    _, hit, penalty, found = min(fits)
    if penalty < _LEAST_PENALTY * hit or not sizes[0] < found < sizes[-2]:
        raise DeviceError(f"reads of up to {sizes[-1] // _MIB} MiB show no step")
    return max(1, round(found / _MIB)) * _MIB


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """The least squares' line: what is left, the value at 0, and the slope."""
    x_mean, y_mean = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
    at_zero = y_mean - slope * x_mean
    left = sum((y - at_zero - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return left, at_zero, slope
