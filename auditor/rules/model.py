"""What a rule pack says, as data: rules, counters, facts, groups of countries and their sources."""

from __future__ import annotations

import difflib
import itertools
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.errors import RuleError
from auditor.rules.expressions import Members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from auditor.rules.certainty import Certainty
    from auditor.rules.counter import Counter
    from auditor.rules.expressions import Expression, Kind, Name, Unit


class Standing(StrEnum):
    """Where a rule stands on a day."""

    PROPOSED = "proposed"
    ENACTED = "enacted_not_yet_effective"
    IN_FORCE = "in_force"
    NOT_ENFORCED = "codified_not_enforced"
    SUPERSEDED = "superseded"
    REPEALED = "repealed"
    LAPSED = "lapsed"
    NEVER_FINAL = "never_final"
    WITHDRAWN = "withdrawn"
    NOT_YET_PUBLISHED = "not_yet_published"


BINDING = frozenset({Standing.IN_FORCE, Standing.NOT_ENFORCED})
HOLDING = BINDING | {Standing.ENACTED}  # what is answered for
ENDED = frozenset({Standing.SUPERSEDED, Standing.REPEALED, Standing.LAPSED, Standing.NEVER_FINAL, Standing.WITHDRAWN})


class Mode(StrEnum):
    """Which of the rules that are printed are taken to bind."""

    AS_CODIFIED = "as_codified"  # every rule that the books print as in effect, enforced or not
    AS_ENFORCED = "as_enforced"  # of these, all but those that their authority does not ask to be met on that day


class RuleKind(StrEnum):
    """What a rule holds against its line."""

    MODEL_THRESHOLD = "model_threshold"
    CHIP_CLASS = "chip_class"  # the class of a circuit
    CHIP_TEST = "chip_test"  # something else asked of a circuit, which may turn on its class
    CHIP_HOLDER = "chip_holder"  # what a computer or board is that holds circuits of these classes
    CASE_TEST = "case_test"  # asked of a transaction, a party or a use, with what somebody answers about it
    STATEMENT = "statement"  # says something and tests nothing: an amendment, a proposal, a voluntary scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where something was read; ``id`` is unique over all packs."""

    id: str
    title: str
    locator: str
    read: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a rule stands from ``since`` on.

    ``enforced``: whether its authority asks for it to be met; no where it has announced that it does not, or where
    compliance is not due yet; None where that is not known. A duty binds without fines too.
    """

    since: date
    standing: Standing
    enforced: bool | None
    fines_held_back: bool
    note: str
    sources: tuple[str, ...]
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A line: reached by an amount that is ``>=`` or ``>`` (the ``comparison``) than ``ops``."""

    ops: int
    comparison: str

    def reached_by(self, amount_ops: int) -> bool:
        """Whether an amount reaches the line."""
        return amount_ops >= self.ops if self.comparison == ">=" else amount_ops > self.ops


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A condition of a rule, or an exclusion from it, with its words."""

    id: str
    words: str
    when: Expression
    sources: tuple[str, ...]
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A paragraph of a chip control: ``outcome`` is what it leads to ("3A090.a"), ``id`` its own ("3A090.a.1")."""

    outcome: str
    id: str
    when: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name that expressions use and somebody has to answer, but for the verdict of a rule on the model."""

    name: str
    stands_for: Name
    words: str
    verdict_of: str  # id of the model threshold that answers it, or ""
    with_source: bool  # an answer says where it is from

    @property
    def kind(self) -> Kind:
        """What its answer is."""
        return self.stands_for.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A country in a group: from the day ``since`` on, up to the day before ``until``, as far as these are known."""

    code: str
    name: str
    since: date | None
    until: date | None
    uncertain: bool  # whether it is in the group at all between these days
    note: str
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Countries that rules speak of together."""

    id: str
    title: str
    members: tuple[Member, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    certainty: Certainty

    def on(self, day: date) -> Members:
        """Who is in it on that day."""
        now = [
            one
            for one in self.members
            if (one.since is None or one.since <= day) and (one.until is None or day < one.until)
        ]
        inside = frozenset(one.code for one in now if not one.uncertain)
        return Members(inside, frozenset(one.code for one in now if one.uncertain) - inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number that a rule prints, and the days for which it prints it."""

    name: str
    amount: Fraction
    unit: Unit
    since: date | None
    until: date | None  # the first day on which it no longer held


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """A day that a rule names beside its dates, and what it is the day of."""

    day: date
    words: str
    certainty: Certainty


class Begins(StrEnum):
    """What sets the time of a duty running."""

    MET = "met"  # the line is reached
    KNOWN = "known_to_be_met"  # it is known that the line will be reached
    STARTED = "training_begins"  # the record of the training begins
    DAY = "day"  # nothing but the day that the rule names


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What whoever trains has to do by a day: ``within_days`` after the first of what ``begins`` it, or by ``day``."""

    id: str
    words: str
    begins: tuple[Begins, ...]
    within_days: int
    day: date | None
    when: Expression | None  # of whom it is asked; None of everybody to whom the rule applies
    sources: tuple[str, ...]
    certainty: Certainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of one authority."""

    id: str
    kind: RuleKind
    title: str
    authority: str
    citation: str
    published: date | None
    effective: date | None
    compliance: date | None
    ended: date | None  # the first day on which it no longer applied
    checked: date  # the last day on which its text was seen
    history: tuple[Status, ...]
    threshold: Threshold | None
    counter: Counter | None
    conditions: tuple[Clause, ...]
    exclusions: tuple[Clause, ...]
    paragraphs: tuple[Paragraph, ...]
    values: tuple[Value, ...]
    milestones: tuple[Milestone, ...]
    duties: tuple[Duty, ...]
    definitions: Mapping[str, str]
    models: tuple[str, ...]  # that it names, as a letter to a maker does
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    certainty: Certainty

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All tests of the rule, its line left aside."""
        clauses = tuple(clause.when for clause in (*self.conditions, *self.exclusions))
        return clauses + tuple(paragraph.when for paragraph in self.paragraphs)

    @property
    def needed_ops(self) -> int:
        """The least whole amount of operations that reaches the line; 0 where it has none."""
        if self.threshold is None:
            return 0
        return self.threshold.ops + (0 if self.threshold.comparison == ">=" else 1)

    def values_on(self, day: date) -> dict[str, Value]:
        """The rule's numbers that hold on a day."""
        return {
            one.name: one
            for one in self.values
            if (one.since is None or one.since <= day) and (one.until is None or day < one.until)
        }

    def binds_on(self, day: date, mode: Mode) -> bool:
        """Whether the rule binds on a day; as enforced, a rule counts unless it is known not to be enforced."""
        status = self.status_on(day)
        return status.standing in BINDING and (mode is Mode.AS_CODIFIED or status.enforced is not False)

    def status_on(self, day: date) -> Status:
        """Where the rule stands on a day."""
        past = [status for status in self.history if status.since <= day]
        if past:
            return past[-1]
        first = self.history[0].since
        return Status(
            since=date.min,
            standing=Standing.NOT_YET_PUBLISHED,
            enforced=False,
            fines_held_back=False,
            note=f"The rule begins on {first}.",
            sources=(),
            certainty=self.certainty,
        )

    def sources_by(self, day: date) -> tuple[str, ...]:
        """Where its text and all that is said of its standing up to a day was read, each once."""
        past = [source for status in self.history if status.since <= day for source in status.sources]
        return tuple(dict.fromkeys((*self.sources, *past)))

    def standing_since(self, day: date) -> date | None:
        """Since when it stands where it does on a day, whatever was noted meanwhile; None before its history."""
        standing, past = self.status_on(day).standing, [one for one in self.history if one.since <= day]
        same = list(itertools.takewhile(lambda one: one.standing is standing, reversed(past)))
        return same[-1].since if same else None

    def note_on(self, day: date) -> str:
        """What is to be said of its standing on a day, and where that is later than its text was last seen."""
        note = self.status_on(day).note
        if day <= self.checked:
            return note
        return f"{note} The text was last checked on {self.checked}; what came later is not known here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A file of rules: its name, its own version, the SHA-256 of its bytes; ``own``: it is none of those shipped."""

    name: str
    version: str
    digest: str
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All packs that were loaded. ``digest``: SHA-256 over the names and bytes of the files."""

    packs: tuple[Pack, ...]
    rules: tuple[Rule, ...]
    counters: Mapping[str, Counter]
    facts: Mapping[str, Fact]
    groups: Mapping[str, Group]
    sources: Mapping[str, Source]
    digest: str

    def find(self, rule_id: str) -> Rule:
        """The rule of that id.

        Raises: RuleError: there is none; names the nearest.
        """
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        ids = [rule.id for rule in self.rules]
        near = difflib.get_close_matches(rule_id, ids, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ids)}"
        raise RuleError(f"there is no rule {rule_id!r}; {hint}", remedy="Name a rule by its id.")

    def cite(self, source_ids: tuple[str, ...]) -> str:
        """The titles and places of sources, in one line."""
        return "; ".join(f"{self.sources[name].title} ({self.sources[name].locator})" for name in source_ids)
