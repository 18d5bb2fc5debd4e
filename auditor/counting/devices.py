"""What the devices of this process count for its counters, and when it is heard of.

Values on the host are read at once. Values on a GPU are added up there (`auditor.device.sums`), in the order of the
stream, and nobody waits for them: they are in the tally of the interval in which they have arrived. A call that cannot
be measured is noted as it is, and has the price that its sizes give it, or none.

Replays of captured CUDA graphs are counted the same way, by a kernel that is captured with the rest: whoever replays a
graph, it counts.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any, NamedTuple

import torch

from auditor.counting.graphs import Calls, Masked
from auditor.counting.measured import Measurement, masked_attention, measurement
from auditor.device.quantities import Number
from auditor.device.sums import Reading, Sums, open_sums
from auditor.errors import DeviceError
from auditor.tally import Entry, Phase, Purpose, Signature, Tally, merge

_WAIT_S = 60.0  # for a device that does not answer, when the last of it is wanted
_NOTHING = Tally({})


class _Key(NamedTuple):
    owner: Hashable  # whoever measures: each sees all calls, and must not see them twice
    signature: Signature
    phase: Phase


class Measured(NamedTuple):
    """What was measured of a call: its units, and what is known at once; a device tells the rest later."""

    units: tuple[Signature, ...]
    calls: Calls


class Replays:
    """The replays of one captured graph; each executes the calls that were captured."""

    def __init__(self) -> None:
        self.calls: Calls = {}


class Problem(NamedTuple):
    """Something that the ledger should say."""

    message: str
    lower_bound: bool


class Hider(NamedTuple):
    """Whoever notes what torch runs is told that what this thread runs is not to be noted, until it is shown again."""

    hide: Callable[[], object]
    show: Callable[[], object]


HIDERS: list[Hider] = []
_owners: set[Hashable] = set()
_sums: dict[torch.device, Sums | None] = {}
_opening = threading.Lock()
_capturing = 0
_problems: dict[str, Problem] = {}


def problems() -> Mapping[str, Problem]:
    """What could not be measured, or not as it should be, since the process began."""
    return dict(_problems)


def _told(key: str, message: str, *, lower_bound: bool) -> None:
    _problems.setdefault(key, Problem(message, lower_bound))


@contextmanager
def _unseen() -> Iterator[None]:
    """What torch runs inside is the auditor's own."""
    with ExitStack() as stack:
        for hider in HIDERS:
            hider.hide()
            stack.callback(hider.show)
        yield


def _sums_on(device: torch.device) -> Sums | None:
    """The sums of a device, opened at the first need, but not in the middle of a capture; None where there are none."""
    if device not in _sums and not _capturing and device.type != "cpu":
        with _opening:
            if device not in _sums:
                _sums[device] = _opened(device)
    return _sums.get(device)


def _opened(device: torch.device) -> Sums | None:
    def fell_back(error: DeviceError) -> None:
        message = f"torch's own operators count on {device}, where kernels would at less cost: {error}"
        _told("device kernels", message, lower_bound=False)

    try:
        return open_sums(device, fell_back)
    except (DeviceError, RuntimeError) as error:
        _told(f"device {device}", f"nothing can be measured on {device}: {error}", lower_bound=False)
        return None


def new_owner() -> int:
    """A number that nobody has now who measures for himself: given back, it is another's, so that there are few."""
    number = next(number for number in itertools.count() if number not in _owners)
    _owners.add(number)
    return number


def give_back(owner: Hashable) -> None:
    """The number is free."""
    _owners.discard(owner)


def measure(signature: Signature, arguments: Mapping[str, Any], phase: Phase, owner: Hashable) -> Measured | None:
    """Measure a call that has run on the current stream; ``owner``: for whom, since others may measure it, too.

    Returns: None where its sizes say what it is worth, or where it could not be measured.
    """

    def work() -> Measured | None:
        what = measurement(signature, arguments)
        return _add(what, phase, owner) if what is not None else None

    return _guarded(signature.op, work)


def measure_masked(what: Masked, owner: Hashable) -> Measured | None:
    """Measure attention that a block mask keeps from a part of its scores; as `measure`."""
    return _guarded(what.op, lambda: _add(masked_attention(what), what.phase, owner))


def _guarded(op: str, work: Callable[[], Measured | None]) -> Measured | None:
    """Whatever goes wrong, the call is noted as it is, and the training goes on."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        _told(f"measuring {op}", f"a call of {op} was not measured: {error!r}", lower_bound=False)
        return None


def _add(what: Measurement, phase: Phase, owner: Hashable) -> Measured | None:
    with _unseen():
        device = what.quantity.device
        sums = _sums_on(device)
        if sums is not None:
            sums.add(what.quantity, [_Key(owner, unit, phase) for unit in what.units])
            return Measured(what.units, {})
        return Measured(what.units, _read(what, phase)) if device.type == "cpu" else None


def _read(what: Measurement, phase: Phase) -> Calls:
    with torch.no_grad(), torch._C._DisableTorchDispatch():  # noqa: SLF001 - as if no mode were there
        numbers = [int(value) for value in what.quantity.values()]
    return {(unit, phase): number for unit, number in zip(what.units, numbers, strict=True) if number}


def both(tally: Tally, other: Tally) -> Tally:
    """The two together."""
    return merge([(tally, 1), (other, 1)]) if tally and other else tally or other


def forget() -> None:
    """In a forked child, which has no device."""
    global _opening, _capturing
    _sums.clear()
    _opening, _capturing = threading.Lock(), 0


# Captured graphs.


def _capturing_device() -> torch.device | None:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None


def open_for_capture() -> None:
    """What a capture may need is there before it begins: nothing can be compiled, loaded or allocated inside."""
    device = _capturing_device()
    if device is not None:
        with _unseen():
            _sums_on(device)


@contextmanager
def capture_begun() -> Iterator[None]:
    """Nothing is asked of any device from now on, until `capture_ended`; unless what is inside raises."""
    global _capturing  # noqa: PLW0603 - devices are the process's
    _capturing += 1
    try:
        yield
    except BaseException:
        capture_ended()
        raise


def capture_ended() -> None:
    """Devices may be asked again."""
    global _capturing  # noqa: PLW0603 - devices are the process's
    _capturing = max(_capturing - 1, 0)


def count_replays() -> Replays | None:
    """Capture what counts the replays of the graph that is being captured; None where it cannot be."""
    device = _capturing_device()
    sums = _sums.get(device) if device is not None else None
    if device is None or sums is None:
        return None
    replays = Replays()
    try:
        with _unseen():
            sums.add(Number(1, device), [replays])
    except Exception as error:  # noqa: BLE001 - replays are counted by who asks for them, then
        _told("replays", f"a graph's replays are counted as torch is asked for them: {error!r}", lower_bound=False)
        return None
    return replays


# What a counter hears of all this.


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
        if self._state is _State.BEGINNING and not _capturing:
            with _unseen():
                self._readings = {sums: Reading(sums) for sums in _sums.values() if sums is not None}
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
        if _capturing or not (_sums or self._readings):
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
        if self._state is _State.DETACHED or _capturing:
            return
        self._begin()
        for sums in filter(None, list(_sums.values())):
            reading = self._readings.get(sums)
            if reading is None:
                reading = self._readings[sums] = Reading(sums, from_zero=True)
            with self._losing(sums), _unseen():
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
            _sums[sums.device] = None
            self._readings.pop(sums, None)
            message = f"what {sums.device} had counted, and has not told, is missing: {error}"
            _told(f"lost {sums.device}", message, lower_bound=True)

    def _add(self, calls: dict[Entry, int], key: Hashable, number: int, purpose: Purpose) -> None:
        if isinstance(key, Replays):
            replayed = self._replays.setdefault(key, _Replayed())
            replayed.seen += number
            self._add_replays(calls, key, replayed.seen, purpose)
        elif isinstance(key, _Key) and key.owner == self.owner:
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
                _told("missing replays", message, lower_bound=False)
                self._add_replays(calls, replays, replayed.asked, purpose)

    def forget(self) -> None:
        """In a forked child: what was counted is the parent's."""
        self._readings, self._replays, self._lock = {}, {}, threading.Lock()


class _Replayed:
    """Replays of one graph: those that torch was asked for, those that a device has seen, those that were counted."""

    __slots__ = ("asked", "counted", "seen")

    def __init__(self) -> None:
        self.asked = self.seen = self.counted = 0
