"""What a law adds up of a model: the record under its counter, and what is stated of training outside of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.rules import generators as synthetic
from auditor.rules.counting import count
from auditor.rules.expressions import Result
from auditor.rules.generators import Decision
from auditor.rules.model import Component, Scope, Treatment
from auditor.rules.ranges import Range
from auditor.tally import Phase
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.operations import Operations
    from auditor.rules.counting import Count, Part
    from auditor.rules.expressions import Values
    from auditor.rules.generators import Generator
    from auditor.rules.model import Counter, Line

PARTS_MISSING = "parts of the run are not in the record"
_MOST_PARTS = 3  # kinds of operations that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """``counted_ops``: what counts for certain. ``missing``: why more may count than the record shows."""

    counter: Counter
    record: Count
    earlier_ops: int  # stated, and added
    decision: Decision
    missing: tuple[str, ...]

    @property
    def counted_ops(self) -> int:
        """What counts for certain, of the record and as stated."""
        return self.record.counted_ops + self.earlier_ops + self.decision.counted_ops

    @property
    def record_ops(self) -> int:
        """Of the record alone."""
        return self.record.counted_ops

    @property
    def left_out_ops(self) -> int:
        """Of the record."""
        return self.record.left_out_ops + self.decision.left_out_ops

    @property
    def undetermined_ops(self) -> int:
        """What may count or not."""
        decided = sum(part.amount_ops for part in self.record.parts if part.line.decided_by is not None)
        return self.record.undetermined_ops - decided + self.decision.undetermined_ops

    @property
    def most_ops(self) -> int | None:
        """What counts at most; None without end."""
        unbounded = self.missing or self.decision.unbounded
        return None if unbounded else self.counted_ops + self.undetermined_ops

    @property
    def values(self) -> Mapping[str, Result]:
        """The amounts under the names that expressions have for them."""
        record_most = None if self.missing else self.record_ops + self.record.undetermined_ops
        return {
            "counted_ops": _amount("counted_ops", self.counted_ops, self.most_ops),
            "record_ops": _amount("record_ops", self.record_ops, record_most),
        }

    def words(self) -> str:
        """What was counted of this record and what was left out, in a sentence."""
        executed = self.record.executed_ops
        parts = [f"Of {scientific(executed)} operations in the record {scientific(self.record_ops)} count"]
        for words, kinds in (
            ("are left out", [part for part in self.record.parts if part.line.treatment is Treatment.LEFT_OUT]),
            ("are decided as generated data", [part for part in self.record.parts if self._settled(part)]),
            ("are open", self._open()),
        ):
            if kinds:
                amount = scientific(sum(part.amount_ops for part in kinds))
                parts.append(f"{amount} {words} ({_kinds(kinds)})")
        return f"{'; '.join(parts)}."

    @property
    def reasons(self) -> tuple[str, ...]:
        """What else made the total what it is."""
        said = [
            f"{scientific(part.amount_ops)} operations may or may not count: {part.line.why}" for part in self._open()
        ]
        if self.record.set_aside_ops:
            amount, treatment = scientific(self.record.set_aside_ops), self.counter.abandoned.replace("_", " ")
            said.append(f"{amount} operations of steps that were abandoned are {treatment}.")
        if self.earlier_ops:
            said.append(f"{scientific(self.earlier_ops)} operations of earlier training are added, as stated.")
        return (*said, *self.decision.reasons)

    def _settled(self, part: Part) -> bool:
        return part.line.decided_by in self.decision.settled

    def _open(self) -> list[Part]:
        undetermined = [part for part in self.record.parts if part.line.treatment is Treatment.UNDETERMINED]
        return [part for part in undetermined if not self._settled(part)]


def total(
    counter: Counter,
    operations: Operations,
    *,
    answers: Values,
    lower_bound: bool = False,
    abandoned: Operations | None = None,
    missing: Sequence[str] = (),
    generators: Sequence[Generator] | None = None,
) -> Total:
    """What a law adds up. ``answers``: of which ``prior_ops`` is added where the law counts all training of a model."""
    counter = answered(counter, answers)
    record = count(counter, operations, abandoned)
    earlier = _stated(answers, "prior_ops") if counter.scope is Scope.MODEL else None
    more_may_count = [*_missing(operations, lower_bound), *missing]
    if record.earlier_missing and earlier is None:
        more_may_count.append("earlier training of the same model counts too, and is not in this record")
    earlier_ops = earlier or 0
    low = record.counted_ops + earlier_ops
    training = Range(Fraction(low), None if more_may_count else Fraction(low))
    return Total(
        counter=counter,
        record=record,
        earlier_ops=earlier_ops,
        decision=_decide(counter, record, training, generators, earlier_ops),
        missing=tuple(more_may_count),
    )


def answered(counter: Counter, answers: Values) -> Counter:
    """The counter with each line as answers have it: left out for a yes, undetermined while a counted one is open."""
    return replace(counter, lines=tuple(_line_of(line, answers) for line in counter.lines))


def _line_of(line: Line, answers: Values) -> Line:
    if not line.left_out_if:
        return line
    answer = answers[line.left_out_if].value if line.left_out_if in answers else None
    if answer is True:
        return replace(line, treatment=Treatment.LEFT_OUT)
    return replace(line, treatment=Treatment.UNDETERMINED) if answer is None else line


def _decide(
    counter: Counter, record: Count, training: Range, generators: Sequence[Generator] | None, earlier_ops: int
) -> Decision:
    law = counter.synthetic_data
    if law is None:
        return Decision(counted_ops=0, left_out_ops=0, undetermined_ops=0, unbounded=False, reasons=())
    return synthetic.decide(
        record,
        training=training,
        trigger_percent=law.trigger_percent,
        generators=generators,
        earlier_ops=earlier_ops,
    )


def _missing(operations: Operations, lower_bound: bool) -> list[str]:
    missing = [PARTS_MISSING] if lower_bound else []
    if not operations.complete:
        missing.append(f"{len(operations.unpriced)} operators have no price")
    return missing


def _stated(answers: Values, name: str) -> int | None:
    value = answers[name].value if name in answers else None
    return int(value.low) if isinstance(value, Range) and value.low is not None else None


def _amount(name: str, low: int, high: int | None) -> Result:
    names = frozenset({name}) if high != low else frozenset[str]()
    return Result(Range(Fraction(low), None if high is None else Fraction(high)), names)


def _kinds(parts: Sequence[Part]) -> str:
    """What the lines speak of, the largest first, each with its amount."""
    if len(parts) == 1:
        return _kind(parts[0].line)
    ranked = sorted(parts, key=lambda part: -part.amount_ops)
    named = [f"{_kind(part.line)} {scientific(part.amount_ops)}" for part in ranked[:_MOST_PARTS]]
    rest = len(ranked) - len(named)
    return ", ".join(named) + (f", and {rest} more" if rest else "")


def _kind(line: Line) -> str:
    if line.components == {Component.REPEATED}:
        return "what kernels repeat"
    if line.purposes:
        phases = f" ({', '.join(sorted(line.phases))})" if line.phases else ""
        return f"{', '.join(sorted(line.purposes))}{phases}"
    return ", ".join(_PHASES.get(phase, str(phase)) for phase in sorted(line.phases)) or "everything else"


_PHASES = {Phase.RECOMPUTE: "recomputed activations", Phase.INFERENCE: "other inference"}
