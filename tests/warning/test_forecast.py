"""Days of lines, worked out by hand, on ledgers of made-up courses; and what must hold of any."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from auditor.errors import RuleError
from auditor.rules.cases import Subject
from auditor.rules.facts import read_answers
from auditor.rules.plan import parse_plan
from auditor.tally import Phase, Purpose
from auditor.warning.forecast import Outlook, warn
from tests.warning.conftest import HOUR_US, START, START_US, Course, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.rules.model import RuleSet
    from auditor.warning.forecast import Forecast

EU = "eu_ai_act_art51"
STEADY = [(1, 100, 10**21)] * 48  # two days; 10^25 are reached after 10^4 hours


def outlook(
    write: Any,
    shipped: RuleSet,
    courses: Sequence[Course],
    *,
    plan: Sequence[str] = (),
    asked_h: float = 48,
    answers: dict[str, object] | None = None,
    live: bool = False,
    as_of: date = date(2026, 11, 23),
) -> Outlook:
    reading = read(write.write(courses, live=live))
    subject = Subject(
        ruleset=shipped,
        operations=reading.operations,
        as_of=as_of,
        answers=read_answers(shipped, answers or {}),
        abandoned=reading.abandoned,
    )
    return warn(reading, subject, parse_plan(plan), START + timedelta(hours=asked_h))


def of(found: Outlook, rule: str = EU) -> Forecast:
    return next(one for one in found.forecasts if one.rule.id == rule)


def at(hours: float) -> int:
    return START_US + int(hours * HOUR_US)


def test_a_constant_rate_gives_the_moment_exactly_and_no_band(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=STEADY)], plan=["end=2028-12-31"])
    line = of(found)
    # One operation more than 10^25, at 10^21 an hour: the first microsecond after 10^4 hours.
    expected = at(10_000) + 1
    assert line.reaching == (expected,) * 4
    assert of(found, "us_ear_4e091_2025").reaching == (at(100_000),) * 4  # 10^26 or more
    assert line.rates is not None
    assert line.rates.mean * HOUR_US == 10**21
    assert line.rates.least == line.rates.mean == line.rates.greatest == line.rates.last
    assert line.met is True


def test_ranks_side_by_side_add_up(write: Any, shipped: RuleSet) -> None:
    courses = [Course(hours=STEADY, rank=rank, expected_ranks=4) for rank in range(4)]
    line = of(outlook(write, shipped, courses, plan=["end=2028-12-31"]))
    assert line.reaching is not None
    assert line.reaching.expected_us == at(2_500) + 1
    assert line.reaching.latest_us == line.reaching.earliest_us


def test_an_outage_is_part_of_the_time_and_makes_the_band(write: Any, shipped: RuleSet) -> None:
    """16 hours at 10^21 an hour, 16 without anything, 32 again: windows of 16 hours at 0, a half, and whole."""
    courses = [
        Course(hours=[(1, 10, 10**21)] * 16),
        Course(hours=[(1, 10, 10**21)] * 32, begins_h=32, attempt=1),
    ]
    line = of(outlook(write, shipped, courses, plan=["end=2028-12-31"], asked_h=64))
    assert line.rates is not None
    assert [line.rates.least * HOUR_US, line.rates.mean * HOUR_US, line.rates.greatest * HOUR_US] == [
        0,
        48 * 10**21 // 64,
        10**21,
    ]
    left = 10**25 - 48 * 10**21  # and one more
    assert line.reaching is not None
    assert line.reaching.latest_us is None  # were all of it like those hours, never
    assert line.reaching.earliest_us == at(64) + left * HOUR_US // 10**21 + 1
    assert line.reaching.expected_us == at(64) + left * 64 * HOUR_US // (48 * 10**21) + 1


def test_a_short_pause_halves_no_window_and_bounds_the_latest_day(write: Any, shipped: RuleSet) -> None:
    """Two hours of 64 without anything: the slowest sixteen hours did 14."""
    courses = [
        Course(hours=[(1, 10, 10**21)] * 30),
        Course(hours=[(1, 10, 10**21)] * 32, begins_h=32, attempt=1),
    ]
    line = of(outlook(write, shipped, courses, plan=["end=2028-12-31"], asked_h=64))
    assert line.rates is not None
    assert line.rates.least * HOUR_US == 14 * 10**21 // 16
    assert line.reaching is not None
    assert line.reaching.latest_us is not None
    left = 10**25 - 62 * 10**21 + 1
    assert line.reaching.latest_us == at(64) - (-left * 16 * HOUR_US // (14 * 10**21))


def test_too_short_a_record_gives_no_day(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=[(1, 1, 10**21)] * 7)], plan=["end=2028-12-31"], asked_h=7)
    assert found.fault.startswith("too little was observed: 25200.0 s in intervals of up to 3600.0 s")
    assert of(found).reaching is None
    assert of(found).met is None
    assert found.executed is None


def test_a_killed_attempt_leaves_the_earliest_day_open_and_says_why(write: Any, shipped: RuleSet) -> None:
    courses = [Course(hours=STEADY[:24], sealed=False), Course(hours=STEADY[:24], begins_h=24, attempt=1)]
    line = of(found := outlook(write, shipped, courses, plan=["end=2028-12-31"]))
    assert line.reaching == (None, at(10_000) + 1, at(10_000) + 1, at(10_000) + 1)
    assert "was never closed" in found.open[0]
    assert line.met is True  # by what was counted already


def test_a_rank_that_is_missing_leaves_the_earliest_day_open(write: Any, shipped: RuleSet) -> None:
    line = of(outlook(write, shipped, [Course(hours=STEADY, expected_ranks=2)], plan=["end=2027-11-30"]))
    assert line.reaching is not None
    assert line.reaching.earliest_us is None
    assert line.met is None  # not by what was counted, and nobody knows what the other rank did


def test_a_run_that_is_still_written_is_projected_without_a_plan(write: Any, shipped: RuleSet) -> None:
    """One rank has written an hour less: what the other did in it is after the time that is looked at."""
    courses = [
        Course(hours=STEADY, expected_ranks=2),
        Course(hours=STEADY[:-1], rank=1, expected_ranks=2),
    ]
    found = outlook(write, shipped, courses, live=True)
    assert found.pace.until_us == at(47)
    assert of(found).reaching == (at(5_000) + 1,) * 4
    assert of(found).met is None


def test_a_rank_that_went_silent_is_projected_from_the_moment_of_asking(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=STEADY)], live=True, asked_h=148)
    assert of(found).reaching == (at(10_100) + 1,) * 4


def test_a_run_that_has_ended_is_projected_only_where_a_plan_says_that_it_goes_on(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=STEADY)])
    assert found.fault == "the run has ended, and no plan says that it goes on"
    assert of(found).reaching is None
    assert found.executed is not None


@pytest.mark.parametrize(
    ("plan", "least", "met"),
    [
        (("steps=1e6",), 10**25, False),  # exactly at the line, which is reached above it
        (("steps=1000001",), 10**25 + 10**19, True),
        (("operations=1e25",), 10**25, False),
        (("operations=10000000000000000000000001",), 10**25 + 1, True),
        (("tokens=4e12", "tokens_per_step=4e6"), 10**25, False),
        (("tokens=4000000000001", "tokens_per_step=4e6"), 10**25 + 10**19, True),
        (("end=2026-12-31",), (61 * 24) * 10**21, False),
        (("steps=10",), 48 * 10**21, False),  # is over
    ],
)
def test_what_is_planned_comes_to_an_amount(
    write: Any, shipped: RuleSet, plan: Sequence[str], least: int, met: bool
) -> None:
    line = of(outlook(write, shipped, [Course(hours=STEADY)], plan=plan))
    assert line.at_end == (least, least, least)
    assert line.met is met


def test_the_notification_is_due_two_weeks_after_the_plan_shows_it(write: Any, shipped: RuleSet) -> None:
    known = {"is_general_purpose_model": True}
    line = of(outlook(write, shipped, [Course(hours=STEADY)], plan=["end=2028-12-31"], answers=known))
    notify = line.duties[0]
    assert notify.due is not None
    assert (notify.due.begun, notify.due.day, notify.asked) == (date(2026, 11, 23), date(2026, 12, 7), True)


def test_what_somebody_knew_earlier_counts_from_then(write: Any, shipped: RuleSet) -> None:
    plan = ["end=2028-12-31", "known_since=2026-11-10"]
    notify = of(outlook(write, shipped, [Course(hours=STEADY)], plan=plan)).duties[0]
    assert notify.due is not None
    assert notify.due.day == date(2026, 11, 24)
    assert notify.asked is None  # nobody says whether it is a general-purpose model


def test_a_line_that_was_reached_sets_the_duty_running_on_that_day(write: Any, shipped: RuleSet) -> None:
    """10^24 an hour: the tenth hour does not reach what is above 10^25, the eleventh does."""
    line = of(outlook(write, shipped, [Course(hours=[(5, 100, 5 * 10**24)] * 9)]))
    assert line.standing.reached is True
    assert line.reached_us == at(15)
    assert line.duties[0].due is not None
    assert line.duties[0].due.day == date(2026, 11, 15)


def test_without_a_plan_the_day_lies_two_weeks_after_the_line(write: Any, shipped: RuleSet) -> None:
    notify = of(outlook(write, shipped, [Course(hours=STEADY)], live=True)).duties[0]
    assert notify.due is None
    assert notify.from_day == notify.to_day == date(2027, 12, 22) + timedelta(days=14)
    assert notify.if_known == (date(2026, 11, 23), date(2026, 12, 7))


def test_nobody_to_whom_the_rule_does_not_speak_has_a_duty(write: Any, shipped: RuleSet) -> None:
    plan, answers = ["end=2028-12-31"], {"is_general_purpose_model": False}
    line = of(outlook(write, shipped, [Course(hours=STEADY)], plan=plan, answers=answers))
    assert {duty.asked for duty in line.duties} == {False}


def test_each_law_goes_by_its_own_counter(write: Any, shipped: RuleSet) -> None:
    """Half of the time goes into recomputing, which 4E091 leaves out and California counts."""
    courses = [
        Course(hours=STEADY, expected_ranks=2),
        Course(hours=STEADY, rank=1, expected_ranks=2, phase=Phase.RECOMPUTE),
    ]
    found = outlook(write, shipped, courses, plan=["end=2040-12-31"])
    assert of(found, "us_ear_4e091_2025").reaching == (at(100_000),) * 4
    assert of(found, "us_ca_sb53").reaching == (at(50_000) + 1,) * 4


def test_what_may_count_or_not_makes_a_band(write: Any, shipped: RuleSet) -> None:
    """A second rank explores, of which California's law says nothing: it may count from the beginning on, and go on."""
    courses = [
        Course(hours=STEADY, expected_ranks=2),
        Course(hours=STEADY, rank=1, expected_ranks=2, purpose=Purpose.EXPLORATION),
    ]
    line = of(outlook(write, shipped, courses, plan=["end=2040-12-31"]), "us_ca_sb53")
    assert line.standing.most_ops == 96 * 10**21
    assert line.reaching is not None
    assert line.reaching.earliest_us == at(50_000) + 1
    assert line.reaching.latest_us == line.reaching.expected_us == at(100_000) + 1


def test_earlier_training_counts(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=STEADY)], plan=["end=2028-12-31"], answers={"prior_ops": "5e24"})
    assert of(found).reaching == (at(5_000) + 1,) * 4


def test_fine_tuning_without_a_word_on_what_came_before_leaves_the_earliest_day_open(
    write: Any, shipped: RuleSet
) -> None:
    courses = [Course(hours=STEADY, purpose=Purpose.FINE_TUNING)]
    line = of(outlook(write, shipped, courses, plan=["end=2028-12-31"]))
    assert line.reaching == (None, *(at(10_000) + 1,) * 3)


def test_a_clock_that_was_set_back_gives_no_day(write: Any, shipped: RuleSet) -> None:
    write._segment = _set_back(write, write._segment)
    found = outlook(write, shipped, [Course(hours=STEADY)], plan=["end=2028-12-31"])
    assert "a clock was set back" in found.fault
    assert of(found).reaching is None


def _set_back(write: Any, segment: Any) -> Any:
    def written(course: Course, *, live: bool) -> None:
        def now() -> int:
            return write.now_us - (10 * HOUR_US if write.now_us > at(40) else 0)

        write.monkeypatch.setattr("auditor.ledger.segment.now_us", now)
        segment(course, live=live)

    return written


def test_a_day_after_the_last_of_the_calendar_is_said_to_be(write: Any, shipped: RuleSet) -> None:
    from auditor.report.warning import day_words

    found = outlook(write, shipped, [Course(hours=[(1, 1, 7)] * 48)], plan=["end=2028-12-31"])
    line = of(found)
    assert line.reaching is not None
    assert day_words(line.reaching.expected_us) == "in over 5,000 years"
    assert line.met is False


def test_a_rule_that_is_not_in_force_yet_may_be_on_the_day(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=[(1, 1, 10**23)] * 48)], plan=["end=2028-12-31"])
    new_york = of(found, "us_ny_raise_2026")
    assert not new_york.judged.finding.binds
    assert new_york.binds_then is False  # reached in December 2026
    slow = of(found := outlook_again(write, shipped), "us_ny_raise_2026")
    assert slow.binds_then is True


def outlook_again(write: Any, shipped: RuleSet) -> Outlook:
    write.directory = write.directory.parent / "another"
    return outlook(write, shipped, [Course(hours=[(1, 1, 10**22)] * 48)], plan=["end=2028-12-31"])


def test_an_invalid_record_is_projected_by_nobody(write: Any, shipped: RuleSet) -> None:
    write.write([Course(hours=STEADY)])
    path = next((write.directory / "segments").glob("rank-*"))
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"steps":4800', b'"steps":4801'))
    reading = read(write.directory)
    assert str(reading.verdict) == "INVALID"
    subject = Subject(ruleset=shipped, operations=reading.operations, as_of=date(2026, 11, 23), answers={})
    found = warn(reading, subject, parse_plan(["end=2028-12-31"]), datetime(2026, 11, 3, tzinfo=UTC))
    assert "INVALID" in found.fault
    assert of(found).rates is None
    assert of(found).reaching is None


def test_a_plan_is_not_known_only_since_a_day_to_come(write: Any, shipped: RuleSet) -> None:
    """A slip in the year would move the day on which a duty falls due by a year."""
    courses = [Course(hours=STEADY)]
    plan = ["end=2028-12-31", "known_since=2026-11-24"]
    with pytest.raises(RuleError, match="known_since: expected a day up to 2026-11-23, got 2026-11-24"):
        outlook(write, shipped, courses, plan=plan)
    reading = read(write.directory)
    subject = Subject(ruleset=shipped, operations=reading.operations, as_of=date(2026, 11, 24), answers={})
    found = warn(reading, subject, parse_plan(plan), START)
    assert date(2026, 12, 8) in [one.due.day for one in of(found).duties if one.due]


def test_the_last_days_of_the_calendar_have_no_day_on_which_a_duty_is_due(write: Any, shipped: RuleSet) -> None:
    found = outlook(write, shipped, [Course(hours=STEADY)], as_of=date.max)
    assert all(one.if_known is None for line in found.forecasts for one in line.duties)
