"""Devices observed during the run, as blocks of text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.report import observation_words as say
from auditor.report.layout import Bullets, Heading, Pairs, Paragraph
from auditor.report.words import plain_decimal, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from auditor.hardware.bound import Bound, Stretch
    from auditor.hardware.sharing import Shared
    from auditor.hardware.tensor_activity import Reconciliation
    from auditor.report.layout import Block
    from auditor.report.observations import Observed, Process

_MOST_PROCESSES = 8
_MOST_ALARMS = 5


def alarm_blocks(processes: Sequence[Process]) -> Iterator[Block]:
    """What contradicts the count or an identity, to stand at the top."""
    said = [text for process in processes for text in say.alarms(process)]
    yield from (Paragraph(text, "bad") for text in said[:_MOST_ALARMS])
    if len(said) > _MOST_ALARMS:
        yield Paragraph(
            f"And {len(said) - _MOST_ALARMS:,} more alarms of this kind; all are in the JSON report.", "bad"
        )


def observed_blocks(processes: Sequence[Process]) -> Iterator[Block]:
    """The section on devices; nothing where no process had any."""
    if not processes:
        return
    yield Heading("Devices during the run")
    for process in processes[:_MOST_PROCESSES]:
        yield Paragraph(say.process_title(process), "strong")
        for device in process.devices:
            yield Pairs(tuple(device_rows(device)))
        yield Pairs(tuple(process_rows(process)))
        if process.happenings:
            yield Bullets(say.happened(process))
    if len(processes) > _MOST_PROCESSES:
        yield Paragraph(f"And {len(processes) - _MOST_PROCESSES:,} more processes; all are in the JSON report.")


def device_rows(device: Observed) -> Iterator[tuple[str, str]]:
    """What is said of one device."""
    yield "device", say.device_title(device)
    yield "three views", say.verdict_words(device)
    for number, remark in enumerate(device.views.remarks):
        yield ("" if number else "remarks"), remark
    if device.activity is not None:
        yield "tensor cores", say.activity_words(device.activity)


def process_rows(process: Process) -> Iterator[tuple[str, str]]:
    """What is said of all devices of a process together."""
    yield "bound", say.bound_words(process.bound)
    if not process.bound.unknown:
        yield "utilisation", say.utilisation_words(process.bound)
    if process.shared is not None:
        yield "shared device", say.shared_words(process.shared)
    yield "energy", say.energy_words(process)


def process_plain(process: Process) -> dict[str, Any]:
    """A process and its devices as lists and mappings."""
    return {
        "rank": process.rank,
        "segment": process.segment,
        "in_use_seen": process.in_use,
        "alarms": list(say.alarms(process)),
        "devices": [_device(device) for device in process.devices],
        "bound": _bound(process.bound),
        "shared": None if process.shared is None else _shared(process.shared),
        "energy_mj": process.energy_mj,
        "operations_per_joule": _decimal(process.ops_per_joule),
        "events": [
            {"event": one.event, "device": one.device, "values": dict(one.values)} for one in process.happenings
        ],
        "suspects": list(process.suspects),
    }


def _device(device: Observed) -> dict[str, Any]:
    views = device.views
    return {
        "uuid": device.uuid,
        "name": device.name,
        "share_of_circuit": plain_decimal(device.share),
        "verdict": str(views.verdict),
        "against": list(views.against),
        "remarks": list(views.remarks),
        "declared": dict(views.declared),
        "catalogued": dict(views.catalogued),
        "measured": dict(views.measured),
        "energy_mj": device.energy_mj,
        "tensor_activity": None if device.activity is None else _activity(device.activity),
    }


def _activity(activity: Reconciliation) -> dict[str, Any]:
    return {
        "observed_s": rounded(activity.observed_s, 6),
        "covered_s": rounded(activity.covered_s, 6),
        "counted_least_s": rounded(activity.least_s, 6),
        "counted_most_s": rounded(activity.most_s, 6),
        "gap": rounded(activity.gap, 6),
        "agrees": activity.agrees,
    }


def _bound(bound: Bound) -> dict[str, Any]:
    return {
        "unknown": bound.unknown or None,
        "basis": bound.ceiling.basis or None,
        "exceeded": [_stretch(one) for one in bound.exceeded],
        "highest": _stretch(bound.highest) if bound.highest else None,
        "behind_s": rounded(bound.behind_s, 6),
        "utilisation": _decimal(bound.utilisation),
    }


def _shared(shared: Shared) -> dict[str, Any]:
    return {
        "device": shared.device,
        "segments": list(shared.segments),
        "took_s": rounded(shared.took_s, 6),
        "needed_s": rounded(shared.needed_s, 6),
        "late_s": rounded(shared.late_s, 6),
        "allowed_s": rounded(shared.allowed_s, 6),
        "exceeded": shared.exceeded,
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {
        "first_step": stretch.first_step,
        "steps": stretch.steps,
        "took_s": rounded(stretch.took_s, 6),
        "needed_s": rounded(stretch.needed_s, 6),
    }


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else rounded(value, 6)


# What the page's template may say of processes and devices.
OBSERVED: Mapping[str, Callable[[Any], Any]] = {
    "alarms": say.alarms,
    "process_title": say.process_title,
    "process_rows": process_rows,
    "device_rows": device_rows,
    "happened": say.happened,
    "figures": say.figures,
}
