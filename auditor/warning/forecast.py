"""What is to be expected of a run, rule by rule: when its line is reached, whether within the plan, what falls due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from auditor.errors import RuleError
from auditor.rules.duties import due
from auditor.rules.model import HOLDING, Begins, RuleKind
from auditor.rules.totals import PARTS_MISSING, answered
from auditor.warning import projection
from auditor.warning.pace import crossed_us, observe
from auditor.warning.passing import marks
from auditor.warning.projection import Done, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditor.ledger.reading import Reading
    from auditor.levels import Level
    from auditor.rules.cases import Subject
    from auditor.rules.duties import Due
    from auditor.rules.model import Duty, Rule
    from auditor.rules.plan import Plan
    from auditor.rules.verdict import Judged
    from auditor.warning.pace import Pace, Rates
    from auditor.warning.passing import Mark
    from auditor.warning.projection import Reaching, Span

_LAST_DAY = date.max
_UNTRUSTED = ("INVALID", "DIVERGED")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Falling:
    """A duty and its day. ``due`` is None while nothing has begun it.

    ``from_day`` to ``to_day``: where the day lies on which it is due if training goes on; None is open, or no such day.
    ``if_known``: a day on which it may be known that the line will be reached, and the day on which it is due then.
    ``asked``: whether it is asked of this model at all; None while that is open.
    """

    duty: Duty
    due: Due | None
    from_day: date | None
    to_day: date | None
    if_known: tuple[date, date] | None
    asked: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One rule. ``reached_us``: the end of the interval in which it was reached, where the record shows that.

    ``rates``: of what its counter counts, in operations for each microsecond. ``met``: whether the line is reached by
    the end of the plan, None where that depends or nothing is planned. ``binds_then``: on the day that is expected.
    """

    rule: Rule
    judged: Judged
    standing: Standing
    rates: Rates | None
    reached_us: int | None
    reaching: Reaching | None
    at_end: Span | None
    met: bool | None
    binds_then: bool | None
    duties: tuple[Falling, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """All rules with a line that hold on the day of the answer.

    ``fault``: why nothing is projected, or "". ``ending``: when the plan will be done. ``open``: why the count may be
    higher than the record says, which leaves the earliest moments open.
    """

    asked_us: int
    pace: Pace
    executed: Rates | None
    plan: Plan | None
    done: Done
    ending: Reaching | None
    fault: str
    open: tuple[str, ...]
    forecasts: tuple[Forecast, ...]


def warn(reading: Reading, subject: Subject, plan: Plan | None, asked: datetime) -> Outlook:
    """What is to be expected from the moment of asking on, under what ``subject`` has been told.

    The count is taken as the record stands: that a run is still being written makes nothing uncertain by itself.
    Raises: RuleError: the plan is known only since a day that is still to come.
    """
    _refuse_unknown_yet(plan, max(asked.date(), subject.as_of))
    subject = as_it_stands(subject, reading)
    rules = [rule for rule in subject.ruleset.rules if _has_line(rule, subject)]
    counters = {rule.counter.id: answered(rule.counter, subject.answers) for rule in rules if rule.counter}
    pace = observe(reading, counters.values())
    asked_us = (asked - _EPOCH) // timedelta(microseconds=1)
    run = _Run(reading, subject, pace, plan, asked_us)
    forecasts = tuple(run.forecast(rule) for rule in rules)
    return Outlook(
        asked_us=asked_us,
        pace=run.pace,
        executed=run.executed,
        plan=plan,
        done=run.done,
        ending=run.ending,
        fault=run.fault,
        open=_open(reading, forecasts),
        forecasts=forecasts,
    )


def _refuse_unknown_yet(plan: Plan | None, day: date) -> None:
    """A plan that stands was known by that day: a time that it sets running must not begin later."""
    if plan is not None and plan.known_since is not None and plan.known_since > day:
        raise RuleError(
            f"{plan.origin}: known_since: expected a day up to {day}, got {plan.known_since}",
            remedy="Name the day since which the plan stands, or leave it out.",
        )


def _open(reading: Reading, forecasts: Iterable[Forecast]) -> tuple[str, ...]:
    """Why more may count than the record says, the record's own reasons first."""
    of_rules = (words for one in forecasts for words in one.judged.total.missing if words != PARTS_MISSING)
    return tuple(dict.fromkeys([*reading.missing, *of_rules]))


def as_it_stands(subject: Subject, reading: Reading) -> Subject:
    """The same, with operations missing only where some are from what has been written so far."""
    return replace(subject, lower_bound=bool(reading.missing))


def marks_of(reading: Reading, subject: Subject, levels: Sequence[Level]) -> list[Mark]:
    """The levels, held against what has been written so far."""
    if not levels:
        return []
    subject = as_it_stands(subject, reading)
    judged = [subject.judge(rule) for rule in subject.ruleset.rules if rule.kind is RuleKind.MODEL_THRESHOLD]
    floor = bool(reading.missing) or not reading.operations.complete
    return marks(levels, judged, reading.operations.total, floor=floor)


def _has_line(rule: Rule, subject: Subject) -> bool:
    return rule.kind is RuleKind.MODEL_THRESHOLD and rule.status_on(subject.as_of).standing in HOLDING


def day_of(moment_us: int | None) -> date | None:
    """The day (UTC) of a moment; None where there is none, or after the last day that a calendar here has."""
    if moment_us is None:
        return None
    days = moment_us // (86_400 * 10**6)
    first = _EPOCH.date()
    return first + timedelta(days=days) if days <= (_LAST_DAY - first).days else None


class _Run:
    """What all rules of a run have in common."""

    def __init__(self, reading: Reading, subject: Subject, pace: Pace, plan: Plan | None, asked_us: int) -> None:
        self._reading = reading
        self._subject = subject
        self._plan = plan
        self._asked_us = asked_us
        self.pace = replace(pace, fault=_distrust(reading) or pace.fault)
        self.fault = self.pace.fault or _over(reading, plan)
        self.done = Done(reading.steps, reading.operations.total)
        self._left = projection.left(self.pace, plan, self.done, asked_us) if plan else None
        self.ending = projection.ending(self.pace, self._left, asked_us) if self._left else None
        self.executed = self.pace.rates("executed operations") if self.pace.series else None

    def forecast(self, rule: Rule) -> Forecast:
        """What is to be expected of one rule."""
        judged = self._subject.judge(rule)
        total = judged.total
        standing = Standing(
            counter=total.counter.id,
            counted_ops=total.counted_ops,
            most_ops=total.most_ops,
            needed_ops=rule.needed_ops,
        )
        at_end = projection.at_end(self.pace, standing, self._left, self._asked_us) if self._left else None
        reaching = None if self.fault else projection.reaching(self.pace, standing, self._asked_us)
        expected = day_of(reaching.expected_us) if reaching else None
        found = Forecast(
            rule=rule,
            judged=judged,
            standing=standing,
            rates=self.pace.rates(standing.counter),
            reached_us=self._crossed_us(judged) if standing.reached else None,
            reaching=reaching,
            at_end=at_end,
            met=projection.met(standing, at_end),
            binds_then=None if expected is None else rule.binds_on(expected, self._subject.mode),
            duties=(),
        )
        return replace(found, duties=tuple(self._falling(duty, found) for duty in rule.duties))

    def _crossed_us(self, judged: Judged) -> int | None:
        total = judged.total
        needed_ops = judged.rule.needed_ops - (total.counted_ops - total.record_ops)
        return crossed_us(self._reading, total.counter, needed_ops) if needed_ops > 0 else None

    def _falling(self, duty: Duty, found: Forecast) -> Falling:
        due_then = due(duty, self._begun(found))
        ahead = found.reaching if due_then is None and Begins.MET in duty.begins else None
        return Falling(
            duty=duty,
            due=due_then,
            from_day=_due_after(duty, ahead.earliest_us) if ahead else None,
            to_day=_due_after(duty, ahead.latest_us) if ahead else None,
            if_known=self._if_known(duty) if due_then is None else None,
            asked=_asked(duty, found.judged),
        )

    def _if_known(self, duty: Duty) -> tuple[date, date] | None:
        found = due(duty, {Begins.KNOWN: self._subject.as_of})
        return (found.begun, found.day) if found else None

    def _begun(self, found: Forecast) -> dict[Begins, date]:
        """What has set times running, and on which day; that a line will be reached is known when the plan is."""
        begun = {Begins.STARTED: datetime.fromisoformat(self._reading.started).date()}
        reached = day_of(found.reached_us)
        if reached is not None:
            begun[Begins.MET] = reached
        known = self._plan.known_since if self._plan else None
        if found.met and (known is not None or not found.standing.reached):
            begun[Begins.KNOWN] = known or self._subject.as_of
        return begun


def _due_after(duty: Duty, moment_us: int | None) -> date | None:
    day = day_of(moment_us)
    if day is None or (_LAST_DAY - day).days < duty.within_days:
        return None
    return day + timedelta(days=duty.within_days)


def _asked(duty: Duty, judged: Judged) -> bool | None:
    """Whether the rule speaks of the model, its line left aside, and of whom the duty is asked."""
    parts: Sequence[bool | None] = (
        False if judged.finding.excluded_by else None if judged.finding.open_clauses else True,
        True if duty.when is None else _truth(duty, judged),
    )
    if False in parts:
        return False
    return None if None in parts else True


def _truth(duty: Duty, judged: Judged) -> bool | None:
    value = duty.when.evaluate(judged.values).value if duty.when else True
    return value if isinstance(value, bool) else None


def _distrust(reading: Reading) -> str:
    """Why the record gives no rate at all; "" where it does."""
    verdict = str(reading.verdict)
    if reading.ends is not None:
        return "only the ends of the segments were read, and they show no pace"
    return f"the record is {verdict}, so that no rate can be drawn from it" if verdict in _UNTRUSTED else ""


def _over(reading: Reading, plan: Plan | None) -> str:
    """Why nothing is projected although there is a rate; "" where something is."""
    return "the run has ended, and no plan says that it goes on" if reading.ended and plan is None else ""
