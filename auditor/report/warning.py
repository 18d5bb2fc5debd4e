"""What is to be expected, drawn: the pace, the day of each line with its band, what falls due, and the levels."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from auditor.records import time_text
from auditor.report.layout import Block, Heading, Pairs, Paragraph, Table
from auditor.report.words import listing, percent, plural, sentence
from auditor.rules.model import Begins
from auditor.units import scientific, threshold, wire
from auditor.warning.forecast import day_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from auditor.rules.model import Rule
    from auditor.warning.forecast import Falling, Forecast, Outlook
    from auditor.warning.pace import Rates
    from auditor.warning.passing import Mark
    from auditor.warning.projection import Reaching, Span

METHOD = (
    "The band: the observed time is cut into 16 slices; the fastest and the slowest of all windows of four slices that "
    "follow one another, pauses and restarts included, give the earliest and the latest day, the whole time the "
    "expected one. What may count or not, and what is missing from the record, widen it."
)
_MET = {True: "yes", False: "no", None: "open"}
_BEGUN = {
    Begins.MET: "the line was reached",
    Begins.KNOWN: "it is known that the line will be reached",
    Begins.STARTED: "the training began",
}
_MOST_YEARS = 5000  # as whoever asks now, nobody has a calendar for the days after


def blocks(found: Outlook, marks: Sequence[Mark]) -> Iterator[Block]:
    """The section of a page."""
    yield Heading("Early warning")
    yield Pairs(tuple(pace_rows(found)))
    if found.fault:
        yield Paragraph(sentence([f"Nothing is projected: {found.fault}"]), "open")
    else:
        yield from _lines(found)
    yield from _duties(found)
    yield from level_blocks(marks)


def pace_rows(found: Outlook) -> Iterator[tuple[str, str]]:
    """What was observed, the pace, the plan, and what is missing."""
    pace = found.pace
    if pace.until_us:
        yield (
            "observed",
            f"{moment(pace.since_us)} to {moment(pace.until_us)}{', still being written' if pace.live else ''}",
        )
    if found.executed is not None:
        yield "pace", rate_words(found.executed)
    yield "plan", _plan_words(found)
    if found.open:
        yield "missing", f"more may count, which leaves earliest days open: {listing(found.open, 2)}"


def rate_words(rates: Rates) -> str:
    """The pace in operations per second: over the whole time, over the last quarter, and where it lay."""
    least, mean, last = (per_second(rate) for rate in (rates.least, rates.mean, rates.last))
    greatest = "open" if rates.greatest is None else per_second(rates.greatest)
    return (
        f"{mean} operations per second over the whole time; {last} in the last quarter of it; between {least} and "
        f"{greatest} in any quarter"
    )


def _plan_words(found: Outlook) -> str:
    if found.plan is None:
        return "none was given (--plan, or plan in --answers): dates hold if training goes on as it did"
    words = f"{found.plan.words}; {found.plan.origin}"
    if found.ending is not None and found.plan.end is None:
        words += f"; done {_between(found.ending)}"
    return words


def _lines(found: Outlook) -> Iterator[Block]:
    rows = tuple(
        (
            one.rule.id,
            f"{percent(one.judged.finding.fraction)} of {threshold(one.judged.finding.threshold_ops)}",
            *days(one),
            met_words(found, one),
        )
        for one in ranked(found)
    )
    columns = ("rule", "now", "earliest", "expected", "latest", "in the plan")
    yield Table(columns, rows, right=frozenset({1}))
    yield Paragraph(METHOD, "quiet")


def ranked(found: Outlook) -> list[Forecast]:
    """The rules, those whose lines are reached first, then the nearest."""
    return sorted(found.forecasts, key=_nearness)


def lines_ahead(found: Outlook) -> list[Forecast]:
    """The rules whose lines have a day ahead of them, the nearest first; none where nothing is projected."""
    return [] if found.fault else [one for one in ranked(found) if one.reaching is not None]


def met_words(found: Outlook, one: Forecast) -> str:
    """Whether the line is reached by the end of the plan, in words."""
    return _MET[one.met] if found.plan is not None or one.standing.reached else "no plan"


def _nearness(one: Forecast) -> tuple[bool, Fraction]:
    """Lines that are reached first, then the one that the count is nearest to."""
    return not one.standing.reached, -Fraction(one.standing.counted_ops, one.standing.needed_ops)


def days(one: Forecast) -> tuple[str, str, str]:
    """The earliest, the expected and the latest day; where it is reached, since when."""
    if one.standing.reached:
        since = "before this record" if one.reached_us is None else f"reached {day_words(one.reached_us)}"
        return ("-", since, "-")
    reaching = one.reaching
    if reaching is None:
        return ("open", "open", "open")
    soonest = day_words(reaching.soonest_us)
    earliest = day_words(reaching.earliest_us) if reaching.earliest_us is not None else f"open ({soonest} as counted)"
    expected = "never, at no pace" if reaching.expected_us is None else day_words(reaching.expected_us)
    return (earliest, expected, "open" if reaching.latest_us is None else day_words(reaching.latest_us))


def day_words(moment_us: int | None) -> str:
    """The day of a moment; of one after the last day of a calendar, how far off it is at least."""
    if moment_us is None:
        return "open"
    day = day_of(moment_us)
    return f"in over {_MOST_YEARS:,} years" if day is None else day.isoformat()


def moment(moment_us: int) -> str:
    """A moment to the minute, in UTC."""
    return f"{time_text(moment_us)[:16].replace('T', ' ')} UTC"


def per_second(rate: Fraction) -> str:
    """A rate in operations per second, from operations per microsecond."""
    return scientific(int(rate * 10**6))


def expected_words(found: Outlook, rule: Rule) -> str:
    """When the line of a rule is reached, in sentences; "" where no line of it is looked ahead to."""
    one = next((one for one in found.forecasts if one.rule.id == rule.id), None)
    if one is None:
        return ""
    earliest, expected, latest = days(one)
    if one.standing.reached:
        return f"Its line was reached {_on(expected.removeprefix('reached '))}."
    if found.fault or one.reaching is None:
        return f"When its line is reached is not projected: {found.fault or 'the count is open'}."
    plan = "no plan was given" if found.plan is None else _IN_THE_PLAN[one.met].format(found.plan.words)
    band = f"{_on(expected)} (earliest {earliest}, latest {latest})"
    return f"If training goes on as it did, its line is reached {band}; {plan}."


_IN_THE_PLAN = {
    True: "that is within the plan ({})",
    False: "the plan ({}) ends before that",
    None: "whether the plan ({}) reaches it is open",
}


def _on(day: str) -> str:
    return f"on {day}" if day[:1].isdigit() else day


def _between(reaching: Reaching) -> str:
    first, last = day_words(reaching.soonest_us), day_words(reaching.latest_us)
    return _on(first) if first == last else f"between {first} and {last}, expected {day_words(reaching.expected_us)}"


def _duties(found: Outlook) -> Iterator[Block]:
    told = [(one.rule.id, duty_words(one, duty)) for one, duty in duties_in_sight(found)]
    if told:
        yield Heading("What falls due")
        yield Pairs(tuple(told))


def duties_in_sight(found: Outlook) -> Iterator[tuple[Forecast, Falling]]:
    """The duties of rules whose line is reached, or may be, but for those that are not asked of this model."""
    for one in found.forecasts:
        if one.standing.reached is not False or (one.met is not False and not found.fault):
            yield from ((one, falling) for falling in one.duties if falling.asked is not False)


def duty_words(one: Forecast, falling: Falling) -> str:
    """A duty, its day and why, and whether it is asked at all."""
    duty = falling.duty
    asked = f" If the rule applies, which is open ({listing(_open(one, falling), 3)})." if falling.asked is None else ""
    return f"{_due_words(one, falling)} {duty.words}{asked} [{duty.certainty}]"


def _open(one: Forecast, falling: Falling) -> list[str]:
    clauses = one.judged.finding.open_clauses
    when = falling.duty.when
    return [*clauses, *(sorted(when.names) if when is not None and not clauses else ())]


def _due_words(one: Forecast, falling: Falling) -> str:
    duty, due = falling.duty, falling.due
    days = plural(duty.within_days, "day")
    if due is not None and due.begins is Begins.DAY:
        return f"Due on {due.day}."
    if due is not None:
        given = f", and {days} are given" if duty.within_days else ""
        return f"Due on {due.day}: {_BEGUN[due.begins]} on {due.begun}{given}."
    if one.met is False:
        return "Not due: what is planned ends before the line."
    if falling.to_day is None and falling.from_day is None:
        begins = " or ".join(_BEGUN[one] for one in duty.begins)
        return f"No day can be told: due {days} after {begins}.{_if_known(falling)}"
    span = f"between {falling.from_day or 'now'} and {falling.to_day or 'an open day'}"
    return f"If training goes on as it did, due {span}.{_if_known(falling)}"


def _if_known(falling: Falling) -> str:
    if falling.if_known is None:
        return ""
    first, last = falling.if_known
    return f" If it is known on {first} that the line will be reached, due on {last}."


def level_blocks(marks: Sequence[Mark]) -> Iterator[Block]:
    """The levels that were set, and which of them are passed."""
    if not marks:
        return
    yield Heading("Levels")
    rows = tuple(
        (
            mark.rule or "all executed",
            mark.level.text,
            scientific(mark.at_ops),
            scientific(mark.counted_ops),
            passed_words(mark),
        )
        for mark in marks
    )
    yield Table(("of", "level", "at", "counted", "passed"), rows, right=frozenset({2, 3}))


def passed_words(mark: Mark) -> str:
    """Whether the level is passed, in a word."""
    return _MET[mark.passed]


def to_plain(found: Outlook, marks: Sequence[Mark]) -> dict[str, Any]:
    """The same as lists and mappings: amounts and rates are exact, moments in microseconds since 1970."""
    pace = found.pace
    return {
        "asked": time_text(found.asked_us),
        "observed": None
        if not pace.until_us
        else {"since": time_text(pace.since_us), "until": time_text(pace.until_us), "live": pace.live},
        "executed": _rates(found.executed),
        "plan": None
        if found.plan is None
        else {
            "until": str(found.plan.until),
            "amount": found.plan.end.isoformat() if found.plan.end else wire(found.plan.amount),
            "origin": found.plan.origin,
            "known_since": _day(found.plan.known_since),
            "done": _reaching(found.ending),
        },
        "fault": found.fault,
        "open": list(found.open),
        "lines": [_line(one) for one in found.forecasts],
        "levels": [level_plain(mark) for mark in marks],
    }


def _line(one: Forecast) -> dict[str, Any]:
    return {
        "rule": one.rule.id,
        "counter": one.standing.counter,
        "counted": wire(one.standing.counted_ops),
        "most": None if one.standing.most_ops is None else wire(one.standing.most_ops),
        "needed": wire(one.standing.needed_ops),
        "rates": _rates(one.rates),
        "reached": one.standing.reached,
        "reached_on": _day(day_of(one.reached_us)),
        "reaching": _reaching(one.reaching),
        "at_end": _span(one.at_end),
        "met": one.met,
        "binds_then": one.binds_then,
        "duties": [_duty(one, falling) for falling in one.duties],
    }


def _rates(rates: Rates | None) -> dict[str, str | None] | None:
    """In operations for each second, as exact fractions."""
    return (
        None
        if rates is None
        else {name: None if rate is None else str(rate * 10**6) for name, rate in rates._asdict().items()}
    )


def _reaching(found: Reaching | None) -> dict[str, Any] | None:
    if found is None:
        return None
    each = {
        "earliest": found.earliest_us,
        "soonest": found.soonest_us,
        "expected": found.expected_us,
        "latest": found.latest_us,
    }
    return {name: None if us is None else {"us": wire(us), "day": _day(day_of(us))} for name, us in each.items()}


def _span(span: Span | None) -> dict[str, str | None] | None:
    return (
        None
        if span is None
        else {
            "least": wire(span.least),
            "middle": wire(span.middle),
            "most": None if span.most is None else wire(span.most),
        }
    )


def _duty(one: Forecast, falling: Falling) -> dict[str, Any]:
    due = falling.due
    return {
        "id": falling.duty.id,
        "words": falling.duty.words,
        "told": duty_words(one, falling),
        "asked": falling.asked,
        "due": _day(due.day) if due else None,
        "begins": str(due.begins) if due else None,
        "begun": _day(due.begun) if due else None,
        "if_known": None if falling.if_known is None else _day(falling.if_known[1]),
        "from": _day(falling.from_day),
        "to": _day(falling.to_day),
        "certainty": str(falling.duty.certainty),
    }


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def level_plain(mark: Mark) -> dict[str, Any]:
    """A level under the names of the schema."""
    return {
        "level": mark.level.text,
        "rule": mark.rule or None,
        "at": wire(mark.at_ops),
        "counted": wire(mark.counted_ops),
        "passed": mark.passed,
    }
