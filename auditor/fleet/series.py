"""Shipments that belong to one sum, added up over the days, so that the sum of any day is looked up and not worked out.

Around a shipment of some day a sum is what came before that day, for sure, and what may have come before it or not: the
others of its day, and those without a day. The first changes from one day to the next by what comes and goes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from auditor.fleet.inventory import Shipment

_NOTHING = Fraction(0)
MOST_NAMES = 12  # that are told
_GOES, _COMES = 0, 1  # what goes on a day was not there on it


@dataclass(frozen=True, slots=True)
class Names:
    """The first names of a set, in their order, one more than is told, and how many there are."""

    first: tuple[str, ...] = ()
    number: int = 0

    def joined(self, other: Names) -> Names:
        """Those of two sets that share none."""
        return Names(tuple(sorted((*self.first, *other.first))[: MOST_NAMES + 1]), self.number + other.number)

    def without(self, name: str) -> Names:
        """All but one that is among them."""
        return Names(tuple(one for one in self.first if one != name), self.number - 1)

    @property
    def words(self) -> str:
        """Those that are told, and how many more there are."""
        more = self.number - len(self.first[:MOST_NAMES])
        return ", ".join(self.first[:MOST_NAMES]) + (f" and {more:,} more" if more else "")


@dataclass(frozen=True, slots=True)
class Tally:
    """Shipments added up. ``endless``: of how many there may be any amount."""

    low: Fraction = _NOTHING
    high: Fraction = _NOTHING
    endless: int = 0
    open_ids: Names = field(default_factory=Names)  # of those that may count or not
    open_chips: Names = field(default_factory=Names)  # of those that count, as far as their chips do

    @property
    def tpp(self) -> Range:
        """Where the sum lies."""
        return Range(self.low, None if self.endless else self.high)

    def plus(self, other: Tally) -> Tally:
        """With those of another, none of which is among these."""
        return Tally(
            low=self.low + other.low,
            high=self.high + other.high,
            endless=self.endless + other.endless,
            open_ids=self.open_ids.joined(other.open_ids),
            open_chips=self.open_chips.joined(other.open_chips),
        )

    def without(self, name: str, part: Range) -> Tally:
        """The same without one that may count or not."""
        return replace(
            self,
            high=self.high - (part.high or _NOTHING),
            endless=self.endless - (part.high is None),
            open_ids=self.open_ids.without(name),
        )


NONE = Tally()


@dataclass(slots=True)
class Running:
    """A tally to which shipments are added, and from which they are taken."""

    low: Fraction = _NOTHING
    high: Fraction = _NOTHING
    endless: int = 0
    open_ids: list[str] = field(default_factory=list)
    open_chips: list[str] = field(default_factory=list)

    def add(self, name: str, part: Range, counts: bool | None, sign: int = 1) -> None:
        """Take a shipment in, surely or perhaps; or out again, with the sign -1."""
        self.low += sign * (part.low or _NOTHING)
        self.high += sign * (part.high or _NOTHING)
        self.endless += sign * (part.high is None)
        if part.low != part.high:
            names = self.open_ids if counts is None else self.open_chips
            insort(names, name) if sign > 0 else names.pop(bisect_left(names, name))

    @property
    def tally(self) -> Tally:
        """What it comes to now."""
        ids, chips = (Names(tuple(names[: MOST_NAMES + 1]), len(names)) for names in (self.open_ids, self.open_chips))
        return Tally(self.low, self.high, self.endless, ids, chips)


def tally_of(parts: Iterable[tuple[str, Range, bool | None]]) -> Tally:
    """These added up: by name, with how much, and whether surely."""
    found = Running()
    for name, part, counts in parts:
        found.add(name, part, counts)
    return found.tally


class Series:
    """The shipments that belong to a sum, or may. ``leaving``: chips that are gone do not count any more."""

    def __init__(
        self,
        members: Iterable[tuple[Shipment, bool | None]],
        part_of: Callable[[Shipment, bool | None], Range],
        *,
        leaving: bool,
    ) -> None:
        self._part_of, self._leaving = part_of, leaving
        self._by_day: dict[date | None, list[Shipment]] = {}
        belongs: dict[str, bool | None] = {}
        for one, counts in members:
            belongs[one.id] = counts
            self._by_day.setdefault(one.day, []).append(one)
        self.belongs: Mapping[str, bool | None] = belongs
        self._keys, self._tallies = self._course()
        self._undated = self._perhaps(None, date.max) if None in self._by_day else NONE
        self._around: dict[tuple[date, bool | None], Tally] = {}

    def at_end_of(self, day: date) -> Tally:
        """Of what was made by a day."""
        return self._tallies[bisect_right(self._keys, (day, _COMES))]

    def around(self, day: date, *, undated: bool) -> Tally:
        """Around the shipments of a day: what came before, and may have: those of the day, those without one."""
        key: tuple[date, bool | None] = (day, undated)
        if key not in self._around:
            before = self._tallies[bisect_right(self._keys, (day, _GOES))]
            of_day = before.plus(self._perhaps(day, day))
            self._around[key] = of_day.plus(self._undated) if undated else of_day
        return self._around[key]

    def around_undated(self, as_of: date) -> Tally:
        """Around those without a day: what was made by the day that is looked at; all others may have come before."""
        key: tuple[date, bool | None] = (as_of, None)
        if key not in self._around:
            later = (day for day in self._by_day if day is None or day > as_of)
            found = tally_of(
                (one.id, self._part_of(one, None), None) for each in later for one in self._there(each, as_of)
            )
            self._around[key] = self.at_end_of(as_of).plus(found)
        return self._around[key]

    def _perhaps(self, of: date | None, day: date) -> Tally:
        return tally_of((one.id, self._part_of(one, None), None) for one in self._there(of, day))

    def _there(self, of: date | None, day: date) -> Iterator[Shipment]:
        return (one for one in self._by_day.get(of, ()) if not self._is_gone(one, day))

    def _is_gone(self, one: Shipment, day: date) -> bool:
        return self._leaving and one.gone is not None and one.gone <= day

    def _course(self) -> tuple[list[tuple[date, int]], list[Tally]]:
        """When the sum of what is dated changes, and what it is from then on; before all of that, nothing."""
        events: dict[tuple[date, int], list[Shipment]] = {}
        for day, shipments in self._by_day.items():
            for one in shipments:
                if day is None or self._is_gone(one, day):
                    continue
                events.setdefault((day, _COMES), []).append(one)
                if self._leaving and one.gone is not None:
                    events.setdefault((one.gone, _GOES), []).append(one)
        running, keys, tallies = Running(), sorted(events), [NONE]
        for key in keys:
            for one in events[key]:
                counts = self.belongs[one.id]
                running.add(one.id, self._part_of(one, counts), counts, 1 if key[1] == _COMES else -1)
            tallies.append(running.tally)
        return keys, tallies
