"""What one law's counter makes of a run: what counts, what is left out, what the record cannot decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.rules.counter import Cell, Component, Counter, Decided, Line, Treatment
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from auditor.operations import Amount, Bucket, Operations


GENERATING = (Phase.INFERENCE, Phase.FORWARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The operations to which one line of a counter applied."""

    line: Line
    amount_ops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A run under one counter. ``parts``: the lines that met any operations, in the counter's order."""

    counted_ops: int
    left_out_ops: int
    undetermined_ops: int
    set_aside_ops: int  # the part of the two amounts above that is abandoned, where that is not counted
    parts: tuple[Part, ...]
    earlier_missing: bool  # the run builds on earlier training that is not in the record
    reinforcement_ops: int = 0  # of counted_ops, those of reinforcement learning
    generation_ops: int = 0  # of what generators decide about, inference and forward passes

    @property
    def executed_ops(self) -> int:
        """All operations of the record."""
        return self.counted_ops + self.left_out_ops + self.undetermined_ops

    def decided_ops(self, by: Decided) -> int:
        """Operations that the record alone leaves undetermined, and this decides about."""
        return sum(part.amount_ops for part in self.parts if part.line.decided_by is by)


def count(counter: Counter, operations: Operations, abandoned: Operations | None = None) -> Count:
    """Every executed operation by what the law does with it; the three amounts add up to the total.

    ``abandoned``: the part of them in steps that were given up; the counter says what it does with those.
    """
    set_aside_ops = 0
    if abandoned is not None and counter.abandoned is not Treatment.COUNTED:
        operations, set_aside_ops = operations.without(abandoned), abandoned.total
    sums = [0] * len(counter.lines)
    reinforcement_ops = generation_ops = 0
    for bucket, amount in operations:
        for component, amount_ops in _components(amount):
            number = _deciding(counter, bucket, component)
            line = counter.lines[number]
            sums[number] += amount_ops
            if line.treatment is Treatment.COUNTED and bucket.purpose is Purpose.REINFORCEMENT_LEARNING:
                reinforcement_ops += amount_ops
            if line.decided_by is Decided.GENERATORS and bucket.phase in GENERATING:
                generation_ops += amount_ops
    parts = [Part(line=line, amount_ops=ops) for line, ops in zip(counter.lines, sums, strict=True) if ops]
    by_treatment = {
        treatment: sum(part.amount_ops for part in parts if part.line.treatment is treatment) for treatment in Treatment
    }
    by_treatment[counter.abandoned] += set_aside_ops
    purposes = {bucket.purpose for bucket, amount in operations if any(amount)}
    return Count(
        counted_ops=by_treatment[Treatment.COUNTED],
        left_out_ops=by_treatment[Treatment.LEFT_OUT],
        undetermined_ops=by_treatment[Treatment.UNDETERMINED],
        set_aside_ops=set_aside_ops,
        parts=tuple(parts),
        earlier_missing=bool(purposes & counter.builds_on_earlier) and Purpose.PRE_TRAINING not in purposes,
        reinforcement_ops=reinforcement_ops,
        generation_ops=generation_ops,
    )


def _components(amount: Amount) -> tuple[tuple[Component, int], ...]:
    return (
        (Component.NEEDED, amount.algorithmic_ops - amount.skippable_ops),
        (Component.SKIPPABLE, amount.skippable_ops),
        (Component.REPEATED, amount.repeated_ops),
    )


def _deciding(counter: Counter, bucket: Bucket, component: Component) -> int:
    cell = Cell(bucket.phase, bucket.family, bucket.purpose, component)
    return next(number for number, line in enumerate(counter.lines) if line.covers(cell))
