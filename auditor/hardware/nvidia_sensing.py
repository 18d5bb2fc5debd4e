"""Looking at NVIDIA's devices during a run: energy, presence, errors, partition, clocks and the tensor cores.

Between two looks the library stays open, so that the performance monitor covers that time; at each look it is
closed and opened again, because a driver lists its devices when it is opened: only so do those show that were
plugged in, renumbered, or cut into slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.hardware import nvml
from auditor.hardware.answers import answers, attempt, said, text, whole
from auditor.hardware.gpm import Monitor
from auditor.hardware.nvidia_visible import Lost, handles_of
from auditor.hardware.sensing import Look, Sample, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GONE = (15, 28)  # nvml.h: the device is lost (fell off the bus), or is not found
_XID = 8  # nvml.h: the event of a critical error
_MOST_ERRORS = 32  # taken at one look
_CLOCK_SM = 1
_UNCORRECTED, _SINCE_LOADED = 1, 0
# nvml.h: why clocks are lower than they could be; idleness and settings are no slowdown.
_SLOWED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}


class NvidiaStation:
    """NVML, looked through again and again by one thread."""

    def __init__(self) -> None:
        self._library: Any = None
        self._handles: dict[str, Any] = {}
        self._monitors: dict[str, Monitor] = {}
        self._events: Any = None

    def look(self, wanted: Mapping[str, Wanted]) -> Look:
        """What NVML says now of those devices."""
        try:
            return self._look(wanted)
        except Exception as error:  # noqa: BLE001 - a driver may break in any way
            self.close()
            return Look(closed=said(error))

    def close(self) -> None:
        """NVML is closed, its samples and events given back."""
        library, self._library, self._handles = self._library, None, {}
        if library is None:
            return
        for monitor in self._monitors.values():
            monitor.abandon(library)
        if self._events is not None:
            attempt(library.nvmlEventSetFree, self._events)
            self._events = None
        nvml.LIBRARY.close(library)

    def _look(self, wanted: Mapping[str, Wanted]) -> Look:
        measured = {uuid: self._measured(uuid) for uuid in wanted}
        errors = self._errors()
        self.close()
        self._library, reason = nvml.LIBRARY.open()
        if self._library is None:
            return Look(closed=reason, errors=errors)
        present = self._list()
        samples = tuple(self._sample(one, *measured[uuid]) for uuid, one in wanted.items())
        self._begin(wanted)
        return Look(present=present, samples=samples, errors=errors)

    def _measured(self, uuid: str) -> tuple[Any, Mapping[str, int]]:
        monitor, handle = self._monitors.get(uuid), self._handles.get(uuid)
        if monitor is None or handle is None or self._library is None:
            return None, {}
        return monitor.finish(self._library, handle)

    def _list(self) -> tuple[str, ...]:
        """All devices by UUID, in the driver's order; "" in the place of one that does not say its own."""
        present = []
        for handle in handles_of(self._library):
            uuid = "" if isinstance(handle, Lost) else self._uuid(handle)
            present.append(uuid)
            if uuid:
                self._handles[uuid] = handle
        return tuple(present)

    def _uuid(self, handle: Any) -> str:
        return text(attempt(self._library.nvmlDeviceGetUUID, handle)[0] or "")

    def _sample(self, one: Wanted, activity: Any, cycles: Mapping[str, int]) -> Sample:
        if one.uuid not in self._handles:
            return Sample(uuid=one.uuid, lost="the driver does not list it any more")
        given, not_given, lost = _asked(_questions(self._library, self._handles[one.uuid]))
        monitor = self._monitors.get(one.uuid)
        if monitor is not None and monitor.refused:
            not_given["tensor"] = monitor.refused
        return Sample(
            uuid=one.uuid,
            lost=lost,
            energy_mj=whole(given.get("energy_mj")),
            sm_clock_mhz=whole(given.get("sm_clock_mhz")),
            mig_mode=given.get("mig_mode"),
            ecc_uncorrected=whole(given.get("ecc_uncorrected")),
            slowed_by=None if "slowed_by" in not_given else given["slowed_by"].removeprefix("nothing"),
            activity=activity,
            cycles=cycles,
            not_given=not_given,
        )

    def _begin(self, wanted: Mapping[str, Wanted]) -> None:
        """The monitors measure, and critical errors are kept for the next look."""
        self._events, _ = attempt(lambda: self._library.nvmlEventSetCreate())  # noqa: PLW0108 - may be lacking
        for uuid, one in wanted.items():
            if uuid not in self._handles:
                continue
            monitor = self._monitors.setdefault(uuid, Monitor(one))
            monitor.begin(self._library, self._handles[uuid])
            if self._events is not None:
                attempt(self._library.nvmlDeviceRegisterEvents, self._handles[uuid], _XID, self._events)

    def _errors(self) -> tuple[tuple[str, int], ...]:
        """Critical errors that the driver reported since the look before: UUID and XID."""
        found: list[tuple[str, int]] = []
        while self._events is not None and len(found) < _MOST_ERRORS:
            event, _ = attempt(self._library.nvmlEventSetWait_v2, self._events, 0)
            if event is None:
                break
            found.append((self._uuid(event.device), int(event.eventData)))
        return tuple(found)


def _questions(library: Any, handle: Any) -> dict[str, Callable[[], object]]:
    return {
        "energy_mj": lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle),
        "sm_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, _CLOCK_SM),
        "mig_mode": lambda: "enabled" if library.nvmlDeviceGetMigMode(handle)[0] else "disabled",
        "ecc_uncorrected": lambda: library.nvmlDeviceGetTotalEccErrors(handle, _UNCORRECTED, _SINCE_LOADED),
        "slowed_by": lambda: _slowed(library.nvmlDeviceGetCurrentClocksEventReasons(handle)),
    }


def _asked(questions: Mapping[str, Callable[[], object]]) -> tuple[dict[str, str], dict[str, str], str]:
    """Answers and reasons, as `answers` gives them, and why the device is lost, if that is what it said."""
    lost: list[str] = []

    def watched(question: Callable[[], object]) -> Callable[[], object]:
        def ask() -> object:
            try:
                return question()
            except Exception as error:
                if getattr(error, "value", None) in _GONE:
                    lost.append(said(error))
                raise

        return ask

    given, not_given = answers({name: watched(question) for name, question in questions.items()})
    return given, not_given, lost[0] if lost else ""


def _slowed(reasons: int) -> str:
    return ", ".join(words for bit, words in _SLOWED.items() if reasons & bit) or "nothing"
