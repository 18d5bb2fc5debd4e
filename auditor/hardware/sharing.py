"""What several processes counted on one device, held against what it can do in the time that they had together.

Each may fit by itself while all of them do not. Nothing is assumed of the order in which a device does their work:
it is given the best one. So what is late in that order is late in every one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from auditor.hardware.bound import RUN_AHEAD_S, is_absurd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Work(NamedTuple):
    """What was counted between two points of time, and the seconds that each unit of the device needs for it."""

    since_s: Decimal
    until_s: Decimal
    needed_s: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A device and its processes, named by their segments.

    ``took_s``: the time in which any of them ran; ``needed_s``: the least for what all of them counted; ``late_s``: by
    how much the device would have been behind them at least; ``allowed_s``: as much as they can have queued.
    """

    device: str
    segments: tuple[str, ...]
    took_s: Decimal
    needed_s: Decimal
    late_s: Decimal
    allowed_s: Decimal

    @property
    def exceeded(self) -> bool:
        """Whether the device cannot have done it."""
        return self.late_s > self.allowed_s or is_absurd(self.needed_s, self.took_s)


def hold(device: str, processes: Mapping[str, Sequence[Work]]) -> Shared:
    """The work of all processes (by segment) on one clock, held against the time of one device."""
    work = [one for each in processes.values() for one in each]
    units = {unit for one in work for unit in one.needed_s}
    return Shared(
        device=device,
        segments=tuple(processes),
        took_s=_union_s(work),
        needed_s=max(
            (sum((one.needed_s.get(unit, Decimal(0)) for one in work), Decimal(0)) for unit in units),
            default=Decimal(0),
        ),
        late_s=max((_late_s(work, unit) for unit in units), default=Decimal(0)),
        # Each process may leave a queue behind, done late or, where it was ended, never.
        allowed_s=RUN_AHEAD_S * len(processes),
    )


def _union_s(work: Iterable[Work]) -> Decimal:
    total = until = Decimal(0)
    for number, one in enumerate(sorted(work, key=lambda one: one.since_s)):
        since = max(one.since_s, until) if number else one.since_s
        total += max(one.until_s - since, Decimal(0))
        until = max(one.until_s, until) if number else one.until_s
    return total


def _late_s(work: Iterable[Work], unit: str) -> Decimal:
    """The most by which any of it is late where what is due first is always done first, the best order there is."""
    now = late = Decimal(0)
    waiting: list[tuple[Decimal, Decimal]] = []  # until when, and how much is left of it
    for one in sorted(work, key=lambda one: one.since_s):
        while waiting and now < one.since_s:
            until, left = heappop(waiting)
            done = min(left, one.since_s - now)
            now += done
            if done < left:
                heappush(waiting, (until, left - done))
            else:
                late = max(late, now - until)
        now = max(now, one.since_s)
        if unit in one.needed_s:
            heappush(waiting, (one.until_s, one.needed_s[unit]))
    for until, left in sorted(waiting):
        now += left
        late = max(late, now - until)
    return late
