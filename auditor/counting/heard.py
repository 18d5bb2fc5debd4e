"""What one counter hears of what devices count, under the purpose that it was for."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from enum import Enum

from auditor.counting import devices
from auditor.counting.devices import Key, Replays
from auditor.device.sums import Reading, Sums
from auditor.errors import DeviceError
from auditor.tally import Entry, Purpose, Tally, merge

_WAIT_S = 60.0  # for a device that does not answer, when the last of it is wanted
_NOTHING = Tally({})


def both(tally: Tally, other: Tally) -> Tally:
    """The two together."""
    return merge([(tally, 1), (other, 1)]) if tally and other else tally or other


class _State(Enum):
    DETACHED = 0
    BEGINNING = 1
    ATTACHED = 2
    ENDING = 3


class DeviceCalls:
    """What devices count for one counter: asked for in the order of the current stream, there once it has arrived.

    owner: whose measurements are heard of; all hear of replays.
    """

    def __init__(self) -> None:
        self.owner: Hashable = None
        self._readings: dict[Sums, Reading] = {}
        self._replays: dict[Replays, _Replayed] = {}
        self._lock = threading.Lock()
        self._state = _State.DETACHED

    def begin(self, owner: Hashable) -> None:
        """What devices count from now on is heard of, for whom it is measured."""
        with self._lock:
            self.owner = owner
            self._readings = {}
            self._state = _State.BEGINNING
            self._begin()

    def _begin(self) -> None:
        """Readings begin here; during a capture, after it."""
        if self._state is _State.BEGINNING and not devices.capturing():
            with devices.unseen():
                self._readings = {sums: Reading(sums) for sums in devices.all_sums()}
            self._state = _State.ATTACHED

    def end(self, purpose: Purpose) -> None:
        """What devices count from now on is not heard of; during a capture, after it."""
        with self._lock:
            if self._state is not _State.DETACHED:
                self._state = _State.ENDING
                self._copy(purpose)

    def replayed(self, replays: Replays) -> None:
        """Torch was asked for a replay; the device counts it."""
        with self._lock:
            self._replays.setdefault(replays, _Replayed()).asked += 1

    def take(self, purpose: Purpose, *, wait: bool) -> Tally:
        """What has arrived; where it is waited for, all that was launched until now on the current stream.

        Nothing is asked of a device while a graph is captured: what was counted comes later.
        """
        if devices.capturing() and wait and self._state is _State.ENDING:
            devices.told(
                "captured", "counting ended while a CUDA graph was captured: no device was asked", lower_bound=True
            )
        if devices.capturing() or not (devices.all_sums() or self._readings):
            return _NOTHING
        calls: dict[Entry, int] = {}
        with self._lock:
            self._copy(purpose)
            for label, key, number in self._arrived(wait):
                self._add(calls, key, number, label)
            if wait:
                self._add_missing(calls, purpose)
        return Tally(calls)

    def _copy(self, purpose: Purpose) -> None:
        """What has been counted since the last copy is for this purpose."""
        if self._state is _State.DETACHED or devices.capturing():
            return
        self._begin()
        for sums in devices.all_sums():
            reading = self._readings.get(sums)
            if reading is None:
                reading = self._readings[sums] = Reading(sums, from_zero=True)
            with self._losing(sums), devices.unseen():
                reading.copy(purpose)
        if self._state is _State.ENDING:
            self._state = _State.DETACHED

    def _arrived(self, wait: bool) -> Iterator[tuple[Purpose, Hashable, int]]:
        for sums, reading in list(self._readings.items()):
            with self._losing(sums):
                yield from reading.collect(_WAIT_S if wait else 0.0)

    @contextmanager
    def _losing(self, sums: Sums) -> Iterator[None]:
        """A device that fails is asked no more."""
        try:
            yield
        except (DeviceError, RuntimeError) as error:
            self._readings.pop(sums, None)
            devices.lose(sums, error)

    def _add(self, calls: dict[Entry, int], key: Hashable, number: int, purpose: Purpose) -> None:
        if isinstance(key, Replays):
            replayed = self._replays.setdefault(key, _Replayed())
            replayed.seen += number
            self._add_replays(calls, key, replayed.seen, purpose)
        elif isinstance(key, Key) and key.owner == self.owner:
            entry = Entry(key.signature, key.phase, purpose)
            calls[entry] = calls.get(entry, 0) + number

    def _add_replays(self, calls: dict[Entry, int], replays: Replays, number: int, purpose: Purpose) -> None:
        """So many replays of a graph are counted in all."""
        replayed = self._replays[replays]
        new, replayed.counted = max(number - replayed.counted, 0), max(number, replayed.counted)
        for (signature, phase), each in replays.calls.items():
            entry = Entry(signature, phase, purpose)
            calls[entry] = calls.get(entry, 0) + each * new

    def _add_missing(self, calls: dict[Entry, int], purpose: Purpose) -> None:
        """A replay that torch was asked for counts, though no device has seen it: the device may be lost."""
        for replays, replayed in self._replays.items():
            if replayed.asked > replayed.seen:
                message = (
                    "a device has counted fewer replays of a graph than torch was asked for; all of these are counted"
                )
                devices.told("missing replays", message, lower_bound=False)
                self._add_replays(calls, replays, replayed.asked, purpose)

    def forget(self) -> None:
        """In a forked child: what was counted is the parent's."""
        self._readings, self._replays, self._lock = {}, {}, threading.Lock()


class _Replayed:
    """Replays of one graph: those that torch was asked for, those that a device has seen, those that were counted."""

    __slots__ = ("asked", "counted", "seen")

    def __init__(self) -> None:
        self.asked = self.seen = self.counted = 0
