"""Processes of one ledger that computed on the same device, held against it together."""

from __future__ import annotations

import contextlib
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.bound import needed_by_unit_s, once_for_each
from auditor.hardware.sharing import Shared, Work, hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditor.hardware.bound import Ceiling
    from auditor.ledger.inspection import SegmentReading
    from auditor.ledger.reading import Point


def hold_together(users: Iterable[tuple[SegmentReading, str, Ceiling]]) -> dict[str, Shared]:
    """By segment: what its device did for all that used it. ``users``: processes, each with its one device.

    A device is in one host, so the times of its processes are of one clock. A process whose own bound or time is not
    known is left out, which leans to the device's side.
    """
    devices: dict[tuple[str, str], dict[str, list[Work]]] = {}
    for segment, device, most in users:
        work = [] if most.unknown else list(_work(segment.points, most))
        if work:
            host = segment.genesis.host
            name = (host.get("boot_id") or host.get("hostname", ""), device)
            devices.setdefault(name, {})[segment.name] = work
    held = [hold(device, processes) for (_, device), processes in devices.items() if len(processes) > 1]
    return {segment: shared for shared in held for segment in shared.segments}


def _work(points: Sequence[Point], most: Ceiling) -> Iterator[Work]:
    """Each interval on the clock of the host."""
    needed_of = once_for_each(lambda operations: needed_by_unit_s(operations, most))
    until = _attached_s(points)
    if until is None:
        return
    began = until
    for point in points:
        since, until = until, began + Decimal(point.elapsed_us) / 10**6
        yield Work(since, until, needed_of(point.operations))


def _attached_s(points: Iterable[Point]) -> Decimal | None:
    """When the process was attached: no record is written before its interval ends, and some soon after it."""
    with contextlib.suppress(ValueError, OverflowError):
        return min(
            (Decimal(str(datetime.fromisoformat(point.time).timestamp())) - Decimal(point.elapsed_us) / 10**6)
            for point in points
        )
    return None
