"""What is told of looks at devices: totals that grow, and each thing that changed, once.

Totals count from the beginning of the record, or from the first look where nothing was known then, so that a
reader who skips some of them loses nothing but detail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditor.hardware.sensing import Look, Sample

# Reasons that are told as a gap; the others say only that a device has no such part.
_MISSED = {"tensor": "how busy its tensor cores are", "energy_mj": "the energy that it takes"}


class Told(NamedTuple):
    """A hardware record to be written; of the event "gap" the values hold a message instead."""

    event: str
    device: str
    values: Mapping[str, str]


@dataclass(slots=True)
class _Course:
    """What is known of one device so far."""

    energy_mj: int = 0
    counter_mj: int | None = None
    restarts: int = 0  # times that the energy counter fell back
    busy_s: dict[str, Decimal] = field(default_factory=dict)
    covered_s: Decimal = Decimal(0)
    first_cycles: dict[str, int] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    told: set[str] = field(default_factory=set)


class Observer:
    """Turns looks into what is to be recorded of them."""

    def __init__(self) -> None:
        self._courses: dict[str, _Course] = {}
        self._present: tuple[str, ...] | None = None
        self._closed = False

    def begin(self, counters_mj: Mapping[str, int | None]) -> None:
        """Energy is counted from these counters on, by UUID; those of devices seen before change nothing."""
        for uuid, counter in counters_mj.items():
            self._courses.setdefault(uuid, _Course(counter_mj=counter))

    def take(self, look: Look, elapsed_us: int) -> list[Told]:
        """What this look adds to those before it, each with the time."""
        return [
            one if one.event == "gap" else one._replace(values={"elapsed_us": str(elapsed_us), **one.values})
            for one in self._take(look)
        ]

    def _take(self, look: Look) -> Iterator[Told]:
        yield from self._errors(look)
        if look.closed:
            if not self._closed:
                yield _gap("", f"the devices cannot be looked at: {look.closed}")
        else:
            yield from self._presence(look)
            for sample in look.samples:
                yield from self._of(sample)
        self._closed = bool(look.closed)

    def _errors(self, look: Look) -> Iterator[Told]:
        for uuid, xid in look.errors:
            yield Told("error", uuid, {"xid": str(xid)})

    def _presence(self, look: Look) -> Iterator[Told]:
        """Devices that came, went, or have another number than before."""
        before, self._present = self._present, look.present
        if before is None or before == look.present:
            return
        watched = {"", *(sample.uuid for sample in look.samples)}
        for uuid in look.present:
            if uuid not in before and uuid not in watched:
                yield Told("found", uuid, {"number": str(look.present.index(uuid))})
        for uuid in before:
            if uuid not in look.present and uuid not in watched:
                yield Told("lost", uuid, {"because": "the driver does not list it any more"})
        for uuid in look.present:
            if uuid and uuid in before and before.index(uuid) != look.present.index(uuid):
                numbers = {"number": str(look.present.index(uuid)), "was": str(before.index(uuid))}
                yield Told("changed", uuid, numbers)

    def _of(self, sample: Sample) -> Iterator[Told]:
        course = self._courses.setdefault(sample.uuid, _Course())
        if sample.lost:
            if not course.lost:
                yield Told("lost", sample.uuid, {"because": sample.lost})
                yield _gap(sample.uuid, f"the device was lost: {sample.lost}")
            course.lost = sample.lost
            return
        if course.lost:
            yield Told("found", sample.uuid, {"was": course.lost})
            course.lost = ""
        yield from _changes(course, sample)
        yield from _missed(course, sample)
        _add(course, sample)
        yield Told("observed", sample.uuid, _totals(course, sample))


def _add(course: _Course, sample: Sample) -> None:
    if sample.energy_mj is not None:
        before = sample.energy_mj if course.counter_mj is None else course.counter_mj
        fell = sample.energy_mj < before  # the driver was loaded anew, and its counter began at zero
        course.restarts += fell
        course.energy_mj += sample.energy_mj - (0 if fell else before)
        course.counter_mj = sample.energy_mj
    if sample.activity is not None:
        course.covered_s += sample.activity.covered_s
        for unit, seconds in sample.activity.busy_s.items():
            course.busy_s[unit] = course.busy_s.get(unit, Decimal(0)) + seconds
    for counter, cycles in sample.cycles.items():
        course.first_cycles.setdefault(counter, cycles)


def _totals(course: _Course, sample: Sample) -> dict[str, str]:
    values: dict[str, str] = {}
    if course.counter_mj is not None:
        values["energy_mj"] = str(course.energy_mj)
    if course.restarts:
        values["energy_restarts"] = str(course.restarts)
    if course.covered_s:
        values["covered_us"] = _microseconds(course.covered_s)
        values |= {f"{unit}_us": _microseconds(seconds) for unit, seconds in course.busy_s.items()}
    for counter, cycles in sample.cycles.items():
        values[f"cycles.{counter}"] = str(cycles - course.first_cycles[counter])
    if sample.sm_clock_mhz is not None:
        values["sm_clock_mhz"] = str(sample.sm_clock_mhz)
    if sample.slowed_by:
        values["slowed_by"] = sample.slowed_by
    return values


def _changes(course: _Course, sample: Sample) -> Iterator[Told]:
    """The partition and the uncorrected errors, where they are others than before."""
    errors = None if sample.ecc_uncorrected is None else str(sample.ecc_uncorrected)
    for name, now in (("mig_mode", sample.mig_mode), ("ecc_uncorrected", errors)):
        if now is None:
            continue
        before = course.state.get(name)
        course.state[name] = now
        if before is not None and before != now:
            yield Told("changed", sample.uuid, {name: now, "was": before})


def _missed(course: _Course, sample: Sample) -> Iterator[Told]:
    for name, words in _MISSED.items():
        reason = sample.not_given.get(name)
        if reason and name not in course.told:
            course.told.add(name)
            yield _gap(sample.uuid, f"{words} cannot be seen: {reason}")


def _gap(uuid: str, message: str) -> Told:
    return Told("gap", uuid, {"message": f"{uuid}: {message}" if uuid else message})


def _microseconds(seconds: Decimal) -> str:
    return str(int(seconds * 1_000_000))
