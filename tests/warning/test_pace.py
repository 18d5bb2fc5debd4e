"""What must hold of any pace and any plan: exact where the rate is constant, in order, and monotone."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import RuleError, UnitError
from auditor.ledger.reading import Point
from auditor.levels import Level, parse_levels
from auditor.operations import Operations
from auditor.rules.plan import Plan, Until, parse_plan
from auditor.warning.pace import EXECUTED, STEPS, Pace
from auditor.warning.projection import Done, Standing, at_end, left, met, reaching
from auditor.warning.slices import SLICES, Series, Slices, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_US = 3600 * 10**6
amounts = st.lists(st.integers(0, 10**26), min_size=SLICES, max_size=SLICES)
lines = st.integers(1, 10**28)


def pace(low: Sequence[int], more: Sequence[int] | None = None, steps: Sequence[int] | None = None) -> Pace:
    """A pace of a rank that writes still, with these amounts in its slices of an hour each."""
    high = [a + b for a, b in zip(low, more or [0] * SLICES, strict=True)]
    series = {
        "law": _series(low, high),
        EXECUTED: _series(high, high),
        STEPS: _series(steps or [1] * SLICES, steps or [1] * SLICES),
    }
    return Pace(
        since_us=0,
        until_us=SLICES * HOUR_US,
        later_us=SLICES * HOUR_US,
        longest_us=HOUR_US,
        live=True,
        fault="",
        series=series,
    )


def _series(low: Sequence[int], high: Sequence[int]) -> Series:
    return Series(tuple(map(Fraction, low)), tuple(map(Fraction, high)), Fraction())


def standing(counted: int, needed: int, more: int = 0) -> Standing:
    return Standing(counter="law", counted_ops=counted, most_ops=counted + more, needed_ops=needed)


def later(moment_us: int | None) -> float | int:
    return float("inf") if moment_us is None else moment_us


@given(st.integers(1, 10**24), lines)
def test_a_constant_rate_is_exact_to_the_microsecond(hourly: int, needed: int) -> None:
    run = pace([hourly] * SLICES)
    now = standing(SLICES * hourly, needed)
    found = reaching(run, now, run.until_us)
    if now.reached:
        assert found is None
        return
    assert found is not None
    assert len(set(found)) == 1
    at_us = found.expected_us or 0
    assert (at_us * hourly) // HOUR_US >= needed  # by then it is reached
    assert ((at_us - 1) * hourly) // HOUR_US < needed  # and not a microsecond before


@given(amounts, amounts, lines, st.integers(0, 10**27))
def test_moments_are_in_order_and_a_higher_line_is_never_reached_sooner(
    low: list[int], more: list[int], needed: int, higher: int
) -> None:
    run, counted = pace(low, more), sum(low)
    near = reaching(run, standing(counted, needed + counted, sum(more)), run.until_us)
    far = reaching(run, standing(counted, needed + counted + higher, sum(more)), run.until_us)
    assert near is not None
    assert far is not None
    assert list(map(later, near)) == sorted(map(later, near))
    assert all(later(a) <= later(b) for a, b in zip(near, far, strict=True))


@given(amounts, amounts, lines, st.tuples(lines, st.integers(0, 10**26)), st.sampled_from(["steps", "operations"]))
def test_more_that_is_planned_never_comes_to_less(
    low: list[int], more: list[int], needed: int, planned: tuple[int, int], until: str
) -> None:
    run, now = pace(low, more), standing(sum(low), needed, sum(more))
    done = Done(SLICES, sum(low) + sum(more))
    spans = []
    for amount in (planned[0], sum(planned)):
        plan = Plan(until=Until(until), end=None, amount=amount, tokens_per_step=0, known_since=None, origin="")
        spans.append(at_end(run, now, left(run, plan, done, run.until_us), run.until_us))
    first, second = spans
    if first is None or second is None:
        return
    assert first.least <= second.least
    assert first.middle <= second.middle
    assert second.most is None or (first.most is not None and first.most <= second.most)
    order = {False: 0, None: 1, True: 2}
    if met(now, first) is True:
        assert met(now, second) is True
    if second.most is not None:
        assert order[met(now, first)] <= order[met(now, second)]
    assert first.least <= first.middle
    assert first.most is None or first.middle <= first.most


@given(amounts, lines, st.integers(0, 10**27))
def test_earlier_training_never_makes_it_later(low: list[int], needed: int, earlier: int) -> None:
    run, counted = pace(low), sum(low)
    without = reaching(run, standing(counted, needed + counted), run.until_us)
    with_it = standing(counted + earlier, needed + counted)
    found = reaching(run, with_it, run.until_us)
    assert without is not None
    if found is None:
        assert with_it.reached
    else:
        assert all(later(a) <= later(b) for a, b in zip(found, without, strict=True))


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 500), st.integers(0, 10**25)), min_size=1, max_size=30),
    st.integers(1, 1200),
)
def test_slices_lose_nothing_and_make_up_nothing(parts: list[tuple[int, int, int]], until: int) -> None:
    found = Slices(0, until)
    for start, length, ops in parts:
        point = Point(1, 1, 0, "", Operations.none())
        found.divide(Span(start, start + length, point), {"law": (ops, ops)})
    series = found.series(["law"])["law"]
    assert sum(series.low) + series.later == sum(ops for _, _, ops in parts)
    assert all(part >= 0 for part in series.low)


@given(st.integers(0, 999), st.integers(1, 500), st.integers(17, 1200))
def test_an_interval_is_spread_as_evenly_as_its_microseconds(start: int, length: int, until: int) -> None:
    """Against the same, microsecond by microsecond, in a time of sixteen times that many."""
    found = Slices(0, until * SLICES)
    found.divide(Span(start, start + length, Point(1, 1, 0, "", Operations.none())), {"law": (length, length)})
    expected = [0] * (SLICES + 1)
    for microsecond in range(start, start + length):
        expected[min(microsecond // until, SLICES)] += 1
    series = found.series(["law"])["law"]
    assert [*series.low, series.later] == expected


def test_a_silent_quarter_leaves_the_latest_open_and_no_rate_at_all_everything() -> None:
    run = pace([10**20] * 8 + [0] * 4 + [10**20] * 4)
    found = reaching(run, standing(12 * 10**20, 10**24), run.until_us)
    assert found is not None
    assert found.latest_us is None
    assert found.expected_us is not None
    nothing = reaching(pace([0] * SLICES), standing(0, 10**24), 0)
    assert nothing == (None,) * 4


def test_operations_without_a_step_leave_what_a_plan_of_steps_comes_to_open() -> None:
    run = pace([10**20] * SLICES, steps=[1] * 8 + [0] * 8)
    plan = Plan(until=Until.STEPS, end=None, amount=100, tokens_per_step=0, known_since=None, origin="")
    now = standing(16 * 10**20, 10**30)
    span = at_end(run, now, left(run, plan, Done(8, 16 * 10**20), run.until_us), run.until_us)
    assert span is not None
    assert span.most is None
    assert met(now, span) is None


def test_levels_are_read_exactly() -> None:
    found = parse_levels("50 %, 99.999% us_ca_sb53=2e25 1e26 50%")
    assert [level.text for level in found] == ["50%", "99.999%", "us_ca_sb53=2e25", "1e26"]
    assert [level.at_ops(10**26) for level in found] == [5 * 10**25, 99999 * 10**21, 2 * 10**25, 10**26]
    assert parse_levels("33.3%")[0].at_ops(10) == 4  # the least whole amount that is at it
    assert parse_levels("") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("80", "got '80'; did you mean 80%?"),
        ("50% 33.0", "got '33.0'; did you mean 33.0%?"),
        ("eu_ai_act_art51=80", "did you mean eu_ai_act_art51=80%?"),
        ("999", "an amount of operations from 1,000 on such as 2e25, got '999'"),
        ("0", "got '0'"),
        ("1e25%", "a share above 0 and of at most 1000%, got '1e25%'"),
        ("2,500,000", "got '2,500,000'; thousands separators are not read: write 2500000"),
        ("us_ca_sb53=80,000", "write 80000"),
    ],
)
def test_what_was_meant_as_something_else_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(UnitError, match=re.escape(words)):
        parse_levels(text)


def test_the_least_amount_is_taken_and_shares_may_stand_in_a_list() -> None:
    assert [level.ops for level in parse_levels("1000 1e3")] == [1000, 1000]
    assert [level.text for level in parse_levels("50%,100%,150%")] == ["50%", "100%", "150%"]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("operations=80", "expected the operations of the whole training, 1,000 or more, such as 3e25, got '80'"),
        ("operations=3,000,000", "got '3,000,000'; thousands separators are not read: write 3000000"),
    ],
)
def test_a_plan_that_was_meant_as_something_else_is_refused(word: str, words: str) -> None:
    with pytest.raises(RuleError, match=re.escape(words)):
        parse_plan([word])


@given(st.text(max_size=40))
def test_any_text_is_levels_or_refused(text: str) -> None:
    try:
        found = parse_levels(text)
    except UnitError:
        return
    assert all(isinstance(level, Level) and level.at_ops(10**26) > 0 for level in found)
