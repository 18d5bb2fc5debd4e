"""Exact sums in a device's memory, that work on any stream adds to and that are copied to the host without waiting.

A sum has a key, whatever the user of it chooses. The device adds to it where the work that is measured has run: in the
order of the stream, at every replay of a graph that it was captured into, whoever replays it. A `Reading` asks now and
then for a copy, in the order of the stream that is current, and has the differences once they have arrived.

There are two ways to add. `KernelTable` launches one small kernel for each call (``kernels/counters.cu``), into 128
bits. Where that cannot be had (no cuda-core, no NVRTC, another vendor's device), `PlainTable` works out the same with
torch's own operators, some ten for each call, into 64 bits, of which differences stay exact.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from auditor.device.build import Module, load
from auditor.device.quantities import Number, Quantity
from auditor.errors import DeviceError

CAPACITY = 1 << 14  # sums of one device
_SOURCE = "counters.cu"
_BLOCK, _MOST_BLOCKS = 128, 64
_AMOUNT_BYTES, _WORD_BITS = 16, 64
_POLL_S = 0.0005
_TRIED = 12345


class Table(Protocol):
    """Sums by their place. What is added to one of them while another stream does so, too, is not lost."""

    bits: int

    def add(self, quantity: Quantity, places: Sequence[int]) -> None:
        """Add a quantity's results to as many sums, in the order of the current stream."""

    def copy(self, number: int) -> torch.Tensor:
        """The first sums, as they are when the current stream comes to it: words, the low one of each first."""


class KernelTable:
    """Sums of 128 bits, added to by kernels of the project's own."""

    bits = 2 * _WORD_BITS

    def __init__(self, ordinal: int, capacity: int = CAPACITY) -> None:
        """Raises: DeviceError: the kernels cannot be compiled, loaded or run here, or add wrongly."""
        self._module: Module = load(_SOURCE, ordinal)
        self._device = torch.device("cuda", ordinal)
        with torch.cuda.device(self._device), torch.cuda.stream(torch.cuda.Stream(self._device)):
            self._words = torch.zeros(2 * capacity, dtype=torch.int64, device=self._device)
            self._try()

    def _try(self) -> None:
        """Nothing else is on the stream, so that nobody waits; and what is to be launched in a capture is loaded."""
        self.add(Number(_TRIED, self._device), [0])
        found = self.copy(1).tolist()
        if found != [_TRIED, 0]:
            raise DeviceError(f"kernels/{_SOURCE} added {found}, not {_TRIED}")
        self._words.zero_()
        torch.cuda.current_stream().synchronize()

    def add(self, quantity: Quantity, places: Sequence[int]) -> None:
        """Launch the quantity's kernel."""
        addresses = [self._words.data_ptr() + _AMOUNT_BYTES * place for place in places]
        self._launch(quantity.kernel, quantity.num_items, *addresses, *quantity.words())

    def copy(self, number: int) -> torch.Tensor:
        """Launch the kernel that copies."""
        copies = torch.empty(2 * number, dtype=torch.int64, device=self._device)
        self._launch("copy_amounts", number, self._words.data_ptr(), copies.data_ptr(), number)
        return copies

    def _launch(self, kernel: str, num_items: int, *arguments: int) -> None:
        grid = min(-(-num_items // _BLOCK), _MOST_BLOCKS) or 1
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream().cuda_stream
            self._module.launch(kernel, *arguments, grid=grid, block=_BLOCK, stream=stream)


class PlainTable:
    """Sums of 64 bits, added to by torch's own operators."""

    bits = _WORD_BITS

    def __init__(self, device: torch.device, capacity: int = CAPACITY) -> None:
        self._device = device
        with _as_if_alone(device), _on_another_stream(device):
            self._words = torch.zeros(capacity, dtype=torch.int64, device=device)
            self._places = torch.arange(capacity, device=device)

    def add(self, quantity: Quantity, places: Sequence[int]) -> None:
        """Work out the results, and add them; adding by index is atomic."""
        with _as_if_alone(self._device):
            for place, value in zip(places, quantity.values(), strict=True):
                number = value if isinstance(value, torch.Tensor) else self._words.new_full((), value)
                self._words.index_add_(0, self._places[place : place + 1], number.reshape(1))

    def copy(self, number: int) -> torch.Tensor:
        """A copy on the device."""
        return self._words[:number].clone()


@dataclass(slots=True)
class _Copy:
    """Sums on their way to the host, or arrived."""

    label: Any
    words: torch.Tensor
    arrived: Callable[[], bool]
    kept: torch.Tensor  # what is copied from must stay until it has been


class Sums:
    """The sums of one device, by key; they only grow. Everything may be called from any thread."""

    def __init__(self, device: torch.device, table: Table) -> None:
        self.device = device
        self.keys: list[Hashable] = []
        self.bits = table.bits
        self._table = table
        self._places: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def add(self, quantity: Quantity, keys: Sequence[Hashable]) -> None:
        """Add each result of a quantity under its key, once the current stream has come to it.

        Raises: DeviceError: there are too many keys, or the kernel cannot be launched.
        """
        self._table.add(quantity, [self._place(key) for key in keys])

    def _place(self, key: Hashable) -> int:
        place = self._places.get(key)
        if place is None:
            with self._lock:
                if len(self.keys) == CAPACITY:
                    raise DeviceError(f"more than {CAPACITY} kinds of calls were measured on {self.device}")
                place = self._places.setdefault(key, len(self.keys))
                if place == len(self.keys):
                    self.keys.append(key)
        return place

    def begin_copy(self, label: Any) -> _Copy:
        """A copy of all sums, begun in the order of the current stream."""
        number = len(self.keys)
        with _as_if_alone(self.device):
            there = self._table.copy(number)
            if self.device.type != "cuda":
                return _Copy(label, there, lambda: True, there)
            with torch.cuda.device(self.device):
                here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
                here.copy_(there, non_blocking=True)
                event = torch.cuda.Event()
                event.record()
        return _Copy(label, here, event.query, there)

    def read(self, copy: _Copy) -> list[int]:
        """The sums of a copy that has arrived."""
        words = [word % (1 << _WORD_BITS) for word in copy.words.tolist()]
        if self.bits == _WORD_BITS:
            return words
        return [low + (high << _WORD_BITS) for low, high in zip(words[::2], words[1::2], strict=True)]


class Reading:
    """What a device adds from now on, as far as copies have arrived at the host."""

    def __init__(self, sums: Sums, *, from_zero: bool = False) -> None:
        """``from_zero``: what has been added so far is part of it."""
        self.sums = sums
        self._before: dict[int, int] = {}
        self._copies: deque[_Copy] = deque()
        for _ in range(0 if from_zero else 2):  # twice: should one come in the middle of a carry, the other does not
            self.copy(_BASE)

    def copy(self, label: Any) -> None:
        """What has been added since the last copy goes by this label, once it has arrived."""
        if self.sums.keys:
            self._copies.append(self.sums.begin_copy(label))

    def collect(self, wait_s: float = 0.0) -> Iterator[tuple[Any, Hashable, int]]:
        """What has arrived: (label, key, number added); Raises: DeviceError: it was waited for, and does not come."""
        deadline_s = time.monotonic() + wait_s
        while self._copies:
            while not self._arrived(self._copies[0]):
                if not wait_s:
                    return
                if time.monotonic() > deadline_s:
                    raise DeviceError(f"{self.sums.device} has not answered for {wait_s:g} s")
                time.sleep(_POLL_S)
            copy = self._copies.popleft()
            for key, added in self._differences(copy):
                if copy.label is not _BASE:
                    yield copy.label, key, added

    def _arrived(self, copy: _Copy) -> bool:
        try:
            return copy.arrived()
        except RuntimeError as error:
            raise DeviceError(f"{self.sums.device} is lost: {error}") from error

    def _differences(self, copy: _Copy) -> Iterator[tuple[Hashable, int]]:
        """What was added, round the end of the sum's bits where it came to it.

        A sum of two words that was copied in the middle of a carry is too small by it, which shows, since nothing adds
        half of what it can hold: the next copy has all.
        """
        modulus = 1 << self.sums.bits
        most = modulus if self.sums.bits == _WORD_BITS else modulus // 2
        for place, amount in enumerate(self.sums.read(copy)):
            added = (amount - self._before.get(place, 0)) % modulus
            if 0 < added < most:
                self._before[place] = amount
                yield self.sums.keys[place], added


_BASE = object()


def open_sums(device: torch.device, on_fallback: Callable[[DeviceError], None]) -> Sums:
    """Sums on a device; ``on_fallback`` is told where torch's own operators stand in for the kernels.

    It must not be called while a CUDA graph is captured. Raises: DeviceError: no sums are kept on such a device.
    """
    if device.type != "cuda":
        raise DeviceError(f"no sums are kept on {device.type} devices")
    device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    if torch.version.hip is None:
        try:
            with _as_if_alone(device):
                return Sums(device, KernelTable(device.index))
        except DeviceError as error:
            on_fallback(error)
    return Sums(device, PlainTable(device))


@contextmanager
def _as_if_alone(device: torch.device) -> Iterator[None]:
    """Torch's operators run as they are: no gradients, no modes, no tensors that inference mode alone can use."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch._C._DisableTorchDispatch())  # noqa: SLF001 - there is no public name
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
        yield


def _on_another_stream(device: torch.device) -> AbstractContextManager[None]:
    """A stream that is waited for when it ends: nothing else is on it, so that the training's are not held up."""
    return _other_stream() if device.type == "cuda" else _nothing()


@contextmanager
def _other_stream() -> Iterator[None]:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
