"""What a counter is: which operations a law adds up, of a record and of what the model descends from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from auditor.rules.certainty import Certainty

if TYPE_CHECKING:
    from auditor.operations import Family
    from auditor.relations import Relation
    from auditor.tally import Phase, Purpose


class Treatment(StrEnum):
    """What a counter does with operations."""

    COUNTED = "counted"
    LEFT_OUT = "left_out"
    UNDETERMINED = "undetermined"


class Scope(StrEnum):
    """What a law adds up."""

    MODEL = "model"  # all training of a model, earlier runs included
    RUN = "run"  # one training run


class Decided(StrEnum):
    """What decides about operations that the record alone leaves undetermined."""

    GENERATORS = "generators"  # what is stated about the models that generated training data
    ROLLOUTS = "rollouts"  # the model itself, seen as the generator of what it is trained on


class Component(StrEnum):
    """The parts of an `Amount` that laws may treat differently."""

    NEEDED = "needed"  # algorithmic, and its result is used
    SKIPPABLE = "skippable"  # algorithmic, and its result is masked away
    REPEATED = "repeated"  # computed once more by the implementation


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
    decided_by: Decided | None = None
    left_out_if: str = (
        ""  # a flag: yes leaves the operations out, no leaves the treatment; open makes them undetermined
    )

    def covers(self, cell: Cell) -> bool:
        """Whether the line speaks of this cell."""
        axes = (self.phases, self.families, self.purposes, self.components)
        return all(not axis or part in axis for axis, part in zip(axes, cell, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """What a counter does with the training of an ancestor that was one of these for its child."""

    relations: frozenset[Relation]
    treatment: Treatment
    why: str
    certainty: Certainty
    decided_by: Decided | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticData:
    """From which share of the training on a generator's unpublished data on the generator's operations count too."""

    trigger_percent: int  # counted above it, not at it
    words: str
    certainty: Certainty


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
    scope: Scope = Scope.MODEL
    synthetic_data: SyntheticData | None = None
    ancestry: tuple[Descent, ...] = ()

    def of(self, relation: Relation | None) -> Descent:
        """What becomes of an ancestor's training; None is the model itself, in its other runs."""
        for one in self.ancestry:
            if relation in one.relations:
                return one
        return _ITSELF if relation is None else _NOT_SAID


_ITSELF = Descent(
    relations=frozenset(),
    treatment=Treatment.COUNTED,
    why="other training of the same model",
    certainty=Certainty.PRIMARY,
)
_NOT_SAID = Descent(
    relations=frozenset(),
    treatment=Treatment.UNDETERMINED,
    why="what was read of the law does not say whether the training of such an ancestor counts",
    certainty=Certainty.SILENT,
)
