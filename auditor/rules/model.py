"""What a rule pack says, as data: rules, counters, facts and their sources."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.operations import Family
    from auditor.rules.expressions import Expression, Kind
    from auditor.tally import Phase, Purpose


class Certainty(StrEnum):
    """How sure a statement is."""

    PRIMARY = "primary"  # seen in the primary text or a machine copy of it
    SECONDARY = "secondary"  # seen in a secondary source only
    RECALLED = "recalled"  # from memory, not looked up
    INFERRED = "inferred"  # concluded from the text, which does not say it
    SILENT = "silent"  # the text says nothing; the choice is the auditor's


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
    NOT_YET_PUBLISHED = "not_yet_published"


BINDING = frozenset({Standing.IN_FORCE, Standing.NOT_ENFORCED})
ENDED = frozenset({Standing.SUPERSEDED, Standing.REPEALED, Standing.LAPSED, Standing.NEVER_FINAL})


class RuleKind(StrEnum):
    """What a rule holds against its line."""

    MODEL_THRESHOLD = "model_threshold"
    CHIP_CLASS = "chip_class"  # the class of a circuit
    CHIP_TEST = "chip_test"  # something else asked of a circuit, which may turn on its class
    CHIP_HOLDER = "chip_holder"  # what a computer or board is that holds circuits of these classes


class Treatment(StrEnum):
    """What a counter does with operations."""

    COUNTED = "counted"
    LEFT_OUT = "left_out"
    UNDETERMINED = "undetermined"


class Component(StrEnum):
    """The parts of an `Amount` that laws may treat differently."""

    NEEDED = "needed"  # algorithmic, and its result is used
    SKIPPABLE = "skippable"  # algorithmic, and its result is masked away
    REPEATED = "repeated"  # computed once more by the implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where something was read; ``id`` is unique over all packs."""

    id: str
    title: str
    locator: str
    read: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a rule stands from ``since`` on; ``enforced`` is None where that is not known."""

    since: date
    standing: Standing
    enforced: bool | None
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


class Cell(NamedTuple):
    """The smallest thing a counter decides about."""

    phase: Phase
    family: Family
    purpose: Purpose
    component: Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a counter does with the cells that the axes name; an empty axis names all of it."""

    phases: frozenset[Phase]
    families: frozenset[Family]
    purposes: frozenset[Purpose]
    components: frozenset[Component]
    treatment: Treatment
    why: str
    certainty: Certainty

    def covers(self, cell: Cell) -> bool:
        """Whether the line speaks of this cell."""
        axes = (self.phases, self.families, self.purposes, self.components)
        return all(not axis or part in axis for axis, part in zip(axes, cell, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Which operations a law adds up: the first line that covers a cell decides; every cell is covered."""

    id: str
    title: str
    counts: str
    leaves_out: str
    lines: tuple[Line, ...]
    # Purposes that build on earlier training of the same model, which the law counts too.
    builds_on_earlier: frozenset[Purpose]
    unseen: tuple[str, ...]  # what the law counts and no record of a training run can show
    abandoned: Treatment  # of steps that were given up when a run went on from an earlier checkpoint
    tolerance: str  # in words, or ""
    tolerance_percent: int
    reported_digits: int  # significant digits of a reported amount; 0 where the law names none
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name that expressions use and somebody has to answer."""

    name: str
    kind: Kind
    words: str


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
    definitions: Mapping[str, str]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    certainty: Certainty

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
            note=f"The rule begins on {first}.",
            sources=(),
            certainty=self.certainty,
        )

    def note_on(self, day: date) -> str:
        """What is to be said of its standing on a day, and where that is later than its text was last seen."""
        note = self.status_on(day).note
        if day <= self.checked:
            return note
        return f"{note} The text was last checked on {self.checked}; what came later is not known here."


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All packs that were loaded. ``digest``: SHA-256 over the names and bytes of the files."""

    rules: tuple[Rule, ...]
    counters: Mapping[str, Counter]
    facts: Mapping[str, Fact]
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
