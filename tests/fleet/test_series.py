"""Sums around a day, looked up, are those that come of going through all shipments, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.fleet.series import MOST_NAMES, Names, Series, Tally, tally_of
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = date(2026, 11, 20)
AS_OF = FIRST + timedelta(days=2)
days = st.integers(0, 5).map(lambda number: FIRST + timedelta(days=number))


@dataclass(frozen=True, slots=True)
class Sent:
    """What a series asks of a shipment."""

    id: str
    day: date | None
    gone: date | None
    counts: bool | None
    low: int
    high: int | None


@st.composite
def sent(draw: st.DrawFn) -> list[Sent]:
    found = []
    for number in range(draw(st.integers(0, 2 * MOST_NAMES))):
        day = draw(st.one_of(st.none(), days))
        gone = draw(st.one_of(st.none(), st.integers(1, 4))) if day else None
        low = draw(st.integers(0, 3))
        high = draw(st.sampled_from([low, low + 2, None]))
        gone_on = day + timedelta(days=gone) if day and gone else None
        found.append(Sent(f"s{number}", day, gone_on, draw(st.sampled_from([True, None])), low, high))
    return found


def part_of(one: Any, counts: bool | None) -> Range:
    high = None if one.high is None else Fraction(one.high)
    return Range(Fraction(one.low), high) if counts else Range(Fraction(0), high)


def series(shipments: list[Sent], *, leaving: bool) -> Series:
    return Series(((one, one.counts) for one in shipments), part_of, leaving=leaving)  # type: ignore[misc]


def gone_through(shipments: list[Sent], came: Callable[[Sent], bool | None], day: date, *, leaving: bool) -> Tally:
    parts = []
    for one in shipments:
        before = False if leaving and one.gone and one.gone <= day else came(one)
        if before is not False:
            counts = True if before and one.counts else None
            parts.append((one.id, part_of(one, counts), counts))
    return tally_of(parts)


@pytest.mark.parametrize("leaving", [True, False])
@given(shipments=sent(), day=days)
def test_the_sum_of_a_day_is_that_of_all_that_came_before(shipments: list[Sent], day: date, leaving: bool) -> None:
    found = series(shipments, leaving=leaving)

    def made(one: Sent) -> bool:
        return one.day is not None and one.day <= day

    def around(one: Sent) -> bool | None:
        if one.day is None:
            return None if day >= AS_OF else False
        return None if one.day == day else one.day < day

    def around_undated(one: Sent) -> bool | None:
        return True if one.day is not None and one.day <= AS_OF else None

    assert found.at_end_of(day) == gone_through(shipments, made, day, leaving=leaving)
    assert found.around(day, undated=day >= AS_OF) == gone_through(shipments, around, day, leaving=leaving)
    assert found.around_undated(AS_OF) == gone_through(shipments, around_undated, AS_OF, leaving=leaving)


@given(names=st.sets(st.text("abc", min_size=1, max_size=3), min_size=1), data=st.data())
def test_one_that_is_left_out_is_not_named_and_not_counted(names: set[str], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(sorted(names)))
    part = Range(Fraction(0), Fraction(1))
    whole = tally_of((name, part, None) for name in names)
    rest = tally_of((name, part, None) for name in names - {one})
    assert (whole.without(one, part).open_ids.words, whole.without(one, part).tpp) == (rest.open_ids.words, rest.tpp)
    assert rest.plus(tally_of([(one, part, None)])).open_ids.words == whole.open_ids.words


def test_many_names_are_told_by_the_first_and_how_many_more() -> None:
    assert Names(("a", "b"), 2).words == "a, b"
    many = tally_of((f"s{number:04}", Range(Fraction(0), None), None) for number in range(1012)).open_ids
    assert many.words == ", ".join(f"s{number:04}" for number in range(12)) + " and 1,000 more"
