"""Amounts of intervals, summed by slices of equal length of the time that is observed, to the operation."""

from __future__ import annotations

from collections import Counter as Sums
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from auditor.ledger.reading import Point

SLICES = 16


class Series(NamedTuple):
    """What came in each slice for certain, and at most; and after the last slice."""

    low: tuple[Fraction, ...]
    high: tuple[Fraction, ...]
    later: Fraction


class Span(NamedTuple):
    """An interval: after ``start_us``, up to ``end_us``."""

    start_us: int
    end_us: int
    point: Point


class Slices:
    """Sums by slice, whole ones apart from the parts of intervals that an edge divides."""

    def __init__(self, since_us: int, until_us: int) -> None:
        self._since_us = since_us
        self._length_us = max(until_us - since_us, 1)
        self._whole: Sums[tuple[str, int, int]] = Sums()  # by name, end of the range (0 is the lower), slice
        self._parts: dict[tuple[str, int, int], Fraction] = {}

    def holding(self, span: Span) -> int | None:
        """The slice in which all of the interval lies, `SLICES` for what came after the last; None where none does."""
        last = min(self._last(span.end_us), SLICES)
        first = last if span.start_us >= span.end_us else min(self._number(span.start_us), SLICES)
        return max(last, 0) if first == last else None

    def add(self, number: int, amounts: Mapping[str, tuple[int, int]], times: int = 1) -> None:
        """So many intervals in this slice counted these amounts each."""
        for name, (low, high) in amounts.items():
            self._whole[name, 0, number] += low * times
            self._whole[name, 1, number] += high * times

    def divide(self, span: Span, amounts: Mapping[str, tuple[int, int]]) -> None:
        """The interval counted these amounts, evenly."""
        only = self.holding(span)
        if only is not None:
            self.add(only, amounts)
            return
        for number, share in self._shares(span):
            for name, ends in amounts.items():
                for end, amount in enumerate(ends):
                    if amount:
                        key = (name, end, number)
                        self._parts[key] = self._parts.get(key, Fraction()) + share * amount

    def _shares(self, span: Span) -> Iterator[tuple[int, Fraction]]:
        """Which part of the interval lies in which slice."""
        length_us = span.end_us - span.start_us
        for number in range(self._number(span.start_us), min(self._last(span.end_us), SLICES) + 1):
            first_us = max(self._edge_us(number), Fraction(span.start_us))
            last_us = Fraction(span.end_us)
            if number < SLICES:
                last_us = min(self._edge_us(number + 1), last_us)
            yield number, (last_us - first_us) / length_us

    def _edge_us(self, number: int) -> Fraction:
        return self._since_us + Fraction(self._length_us * number, SLICES)

    def _number(self, at_us: int) -> int:
        """The slice in which what follows a moment begins."""
        return (at_us - self._since_us) * SLICES // self._length_us

    def _last(self, at_us: int) -> int:
        """The slice in which what leads up to a moment ends."""
        return ((at_us - self._since_us) * SLICES - 1) // self._length_us

    def series(self, names: Iterable[str]) -> dict[str, Series]:
        """The sums by name."""
        return {
            name: Series(
                low=tuple(self._sum(name, 0, number) for number in range(SLICES)),
                high=tuple(self._sum(name, 1, number) for number in range(SLICES)),
                later=self._sum(name, 0, SLICES),
            )
            for name in names
        }

    def _sum(self, name: str, end: int, number: int) -> Fraction:
        return self._whole[name, end, number] + self._parts.get((name, end, number), Fraction())
