"""What was seen of devices during the run, held against what was counted on them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.errors import HardwareError
from auditor.hardware.answers import whole
from auditor.hardware.bound import Bound, ceiling, judge, share_of, together
from auditor.hardware.identity import GPU, places
from auditor.hardware.measured import Measurement
from auditor.hardware.tensor_activity import Reconciliation, reconcile
from auditor.hardware.views import Views, compare
from auditor.operations import Operations
from auditor.report.same_device import hold_together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditor.hardware.catalogue import Catalogue
    from auditor.hardware.sharing import Shared
    from auditor.ledger.inspection import SegmentReading
    from auditor.ledger.reading import Reading
    from auditor.records import Hardware

# Events that say that a process computed on the device.
_IN_USE = frozenset({"observed", "declared"})
_HAPPENED = frozenset({"lost", "found", "changed", "error"})
_UNEXPLAINED = "unexplained_ns."
_MOST_SUSPECTS = 10
_LEAST, _MOST = Decimal("1e-6"), Decimal("1e9")  # of a measured rate, in tera-operations or 10**9 bytes per second


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that a device did: the event, and the values as they were written."""

    event: str
    device: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A device as one process used it; what is None was not seen. ``identity`` is as written down."""

    uuid: str
    name: str
    identity: Mapping[str, str]
    share: Decimal  # of the circuit, where the process was given a slice
    views: Views
    energy_mj: int | None
    activity: Reconciliation | None

    @property
    def own_name(self) -> str:
        """What no other device, and no other slice of it, is called; "" where it does not say."""
        return self.identity.get("mig_uuid") or self.identity.get("uuid", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process with GPUs: its devices, and the bound on what it can have done with them.

    ``in_use``: whether it was seen which of the visible devices it used; otherwise they all stand here.
    ``shared``: its device, where other processes of the ledger used the same one and it had no other.
    ``suspects``: what may explain that tensor cores were busier than counted.
    """

    rank: int
    segment: str
    in_use: bool
    devices: tuple[Observed, ...]
    bound: Bound
    operations_total: int
    happenings: tuple[Happening, ...]
    suspects: tuple[str, ...]
    shared: Shared | None = None

    @property
    def repeated(self) -> Mapping[str, int]:
        """How many of its devices give the same UUID, where several do."""
        again = places(device.identity for device in self.devices)
        return {device.uuid: place + 1 for device, place in zip(self.devices, again, strict=True) if place}

    @property
    def energy_mj(self) -> int | None:
        """What its devices took together, where all of them told."""
        told = [device.energy_mj for device in self.devices]
        return None if not told or None in told else sum(filter(None, told))

    @property
    def ops_per_joule(self) -> Decimal | None:
        """Counted operations over the energy of the devices, whoever else used them."""
        return Decimal(self.operations_total) * 1000 / self.energy_mj if self.energy_mj else None


def observe(reading: Reading, catalogue: Catalogue) -> tuple[Process, ...]:
    """Every rank that had GPUs, and every other process that was seen to use one, in the order of the ranks."""
    measured = _measurements(reading.hardware)
    found = [
        (segment, _process(segment, catalogue, measured))
        for segment in reading.segments
        if any(device.get("kind") == GPU for device in segment.genesis.devices)
        and (segment.genesis.role == "rank" or _used(segment))
    ]
    # Of several devices nothing says how much was done on each.
    alone = [(segment, one.devices[0].own_name, one.bound.ceiling) for segment, one in found if len(one.devices) == 1]
    shared = hold_together(entry for entry in alone if entry[1])
    return tuple(replace(process, shared=shared.get(process.segment)) for _, process in found)


def _used(segment: SegmentReading) -> set[str]:
    return {note.device for note in segment.hardware if note.event in _IN_USE}


def _measurements(notes: Iterable[Hardware]) -> dict[str, Measurement]:
    """The latest measurement of each device; one that cannot be read is none."""
    found: dict[str, Measurement] = {}
    for note in notes:
        if note.event == "measured":
            with contextlib.suppress(HardwareError, ValueError):
                measurement = Measurement.from_mapping(note.values)
                if _possible(measurement):
                    found[note.device] = measurement
    return found


def _measured(uuid: str, identity: Mapping[str, str], measured: Mapping[str, Measurement]) -> Measurement | None:
    """What was measured of the process's slice, whose UUID is written as a device's there; else of the device."""
    part = identity.get("mig_uuid", uuid).removeprefix("MIG-")
    return measured.get(f"GPU-{part}") or measured.get(uuid)


def _possible(measured: Measurement) -> bool:
    """Whether its figures are of any device at all: numbers of another size cannot be worked with."""
    rates = [*measured.rates_tera.values(), measured.dram_gb_per_s or Decimal(1)]
    sizes = [measured.l2_bytes or 0, measured.sm_count or 0]
    return all(_LEAST <= rate <= _MOST for rate in rates) and max(sizes) < 2**63


def _process(segment: SegmentReading, catalogue: Catalogue, measured: Mapping[str, Measurement]) -> Process:
    gpus = [device for device in segment.genesis.devices if device.get("kind") == GPU]
    visible = [(device.get("uuid") or f"device {number}", device) for number, device in enumerate(gpus)]
    used = _used(segment)
    chosen = [(uuid, device) for uuid, device in visible if uuid in used] or visible
    alone = len(chosen) == 1
    devices = tuple(_device(uuid, device, segment, catalogue, measured, alone=alone) for uuid, device in chosen)
    limits = [
        ceiling(one.views.chip, _measured(one.uuid, one.identity, measured), share=one.share, why=_why(one.views))
        for one in devices
    ]
    return Process(
        rank=segment.genesis.rank,
        segment=segment.name,
        in_use=any(uuid in used for uuid, _ in visible),
        devices=devices,
        bound=judge(_course(segment), together(limits)),
        operations_total=segment.operations.total,
        happenings=tuple(
            Happening(event=note.event, device=note.device, values=note.values)
            for note in segment.hardware
            if note.event in _HAPPENED
        ),
        suspects=_suspects(segment),
    )


def _course(segment: SegmentReading) -> Iterable[tuple[int, int, int, Operations]]:
    return ((point.first_step, point.steps, point.elapsed_us, point.operations) for point in segment.points)


def _why(views: Views) -> str:
    return f"the device is not identified, so what it can do is not known ({'; '.join(views.remarks[-1:])})"


def _device(
    uuid: str,
    identity: Mapping[str, str],
    segment: SegmentReading,
    catalogue: Catalogue,
    measured: Mapping[str, Measurement],
    *,
    alone: bool,
) -> Observed:
    notes = [note for note in segment.hardware if note.device == uuid]
    cuda = next((note.values for note in notes if note.event == "declared"), None)
    views = compare(identity, catalogue, _measured(uuid, identity, measured), cuda)
    seen = [note.values for note in notes if note.event == "observed"]
    energy = next((values["energy_mj"] for values in reversed(seen) if "energy_mj" in values), None)
    share = share_of(identity, views.chip)
    return Observed(
        uuid=uuid,
        name=identity.get("name", "unknown"),
        identity=dict(sorted(identity.items())),
        share=share,
        views=views,
        energy_mj=whole(energy),
        # Of several devices no count says how much each of them did.
        activity=reconcile(segment.operations, views.chip, seen, segment.elapsed_us, share)
        if views.chip and alone
        else None,
    )


def _suspects(segment: SegmentReading) -> tuple[str, ...]:
    """Operators without a price, what could not be seen, and kernels that no counted operator accounts for."""
    unexplained: dict[str, int] = {}
    for note in segment.hardware:
        if note.event == "coverage":
            for name, time_ns in note.values.items():
                if name.startswith(_UNEXPLAINED):
                    kernel = name.removeprefix(_UNEXPLAINED)
                    unexplained[kernel] = unexplained.get(kernel, 0) + (whole(time_ns) or 0)
    return _first(
        [
            *(f"kernel {name}" for name, _ in sorted(unexplained.items(), key=lambda item: (-item[1], item[0]))),
            *(f"{op}, without a formula" for op in sorted(segment.operations.unpriced)),
            *sorted({gap.message for gap in segment.gaps if gap.lower_bound}),
        ]
    )


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:_MOST_SUSPECTS])
