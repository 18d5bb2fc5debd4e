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
from typing import Any, NamedTuple

import torch

from auditor.counting.attribution import accounted
from auditor.counting.graphs import Calls, Masked
from auditor.counting.measured import Measurement, masked_attention, measurement
from auditor.device.quantities import Number
from auditor.device.sums import Sums, open_sums
from auditor.errors import DeviceError
from auditor.tally import Phase, Signature


class Key(NamedTuple):
    """Under which a device adds up what is measured of calls."""

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


def all_sums() -> list[Sums]:
    """The sums of all devices that have any."""
    return [sums for sums in list(_sums.values()) if sums is not None]


def lose(sums: Sums, error: Exception) -> None:
    """A device that has failed is asked no more."""
    _sums[sums.device] = None
    message = f"what {sums.device} had counted, and has not told, is missing: {error}"
    told(f"lost {sums.device}", message, lower_bound=True)


def capturing() -> bool:
    """Whether a CUDA graph is being captured, so that nothing may be asked of any device."""
    return _capturing > 0


def problems() -> Mapping[str, Problem]:
    """What could not be measured, or not as it should be, since the process began."""
    return dict(_problems)


def told(key: str, message: str, *, lower_bound: bool) -> None:
    """The ledger will say so, once for each key."""
    _problems.setdefault(key, Problem(message, lower_bound))


@contextmanager
def unseen() -> Iterator[None]:
    """What torch runs inside is the auditor's own."""
    with ExitStack() as stack:
        stack.enter_context(accounted())
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
        told("device kernels", message, lower_bound=False)

    try:
        return open_sums(device, fell_back)
    except (DeviceError, RuntimeError) as error:
        told(f"device {device}", f"nothing can be measured on {device}: {error}", lower_bound=False)
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
        told(f"measuring {op}", f"a call of {op} was not measured: {error!r}", lower_bound=False)
        return None


def _add(what: Measurement, phase: Phase, owner: Hashable) -> Measured | None:
    with unseen():
        device = what.quantity.device
        sums = _sums_on(device)
        if sums is not None:
            sums.add(what.quantity, [Key(owner, unit, phase) for unit in what.units])
            return Measured(what.units, {})
        return Measured(what.units, _read(what, phase)) if device.type == "cpu" else None


def _read(what: Measurement, phase: Phase) -> Calls:
    with torch.no_grad(), torch._C._DisableTorchDispatch():  # noqa: SLF001 - as if no mode were there
        numbers = [int(value) for value in what.quantity.values()]
    return {(unit, phase): number for unit, number in zip(what.units, numbers, strict=True) if number}


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
        with unseen():
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
        with unseen():
            sums.add(Number(1, device), [replays])
    except Exception as error:  # noqa: BLE001 - replays are counted by who asks for them, then
        told("replays", f"a graph's replays are counted as torch is asked for them: {error!r}", lower_bound=False)
        return None
    return replays
