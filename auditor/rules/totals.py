"""What a law adds up of a model: the record under its counter, and what is stated of training outside of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.operations import Operations
from auditor.rules import generators as synthetic
from auditor.rules.ancestors import Ancestor, Selected, descent_words, select
from auditor.rules.counter import Component, Scope, Treatment
from auditor.rules.counting import count
from auditor.rules.expressions import Result
from auditor.rules.generators import Decision, Generator
from auditor.rules.ranges import Range
from auditor.rules.trained import known_generators, with_ancestors
from auditor.tally import Phase
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditor.rules.counter import Counter, Line
    from auditor.rules.counting import Count, Part
    from auditor.rules.expressions import Values

ORIGINAL = "original_ops"  # asked, where no record of the models shows it that the judged one was made from
PARTS_MISSING = "parts of the run are not in the record"
_MOST_PARTS = 3  # kinds of operations that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """``counted_ops``: what counts for certain. ``missing``: why more may count than the records show."""

    counter: Counter
    record: Count  # of the record that is judged, alone
    whole: Count  # with the ancestors that count
    ancestors: Selected
    open_ops: int  # of ancestors that may count or not, beside what generators may
    stated_ops: int  # of the model and of ancestors that count, beside what is recorded
    prior_ops: int  # stated as earlier training, beyond all that
    original: Range | None  # of these, what the models took that the judged one was made from; None: none is known
    decision: Decision
    generators: tuple[Generator, ...]  # with what their own records show; none where the law has no note on them
    missing: tuple[str, ...]
    record_missing: tuple[str, ...]  # of these, what concerns the record itself

    @property
    def earlier_ops(self) -> int:
        """Stated, and added."""
        return self.stated_ops + self.prior_ops

    @property
    def counted_ops(self) -> int:
        """What counts for certain, of the records and as stated."""
        return self.whole.counted_ops + self.earlier_ops + self.decision.counted_ops

    @property
    def record_ops(self) -> int:
        """Of the record alone."""
        return self.record.counted_ops

    @property
    def left_out_ops(self) -> int:
        """Of the records that count."""
        return self.whole.left_out_ops + self.decision.left_out_ops

    @property
    def undetermined_ops(self) -> int:
        """What may count or not."""
        decided = sum(part.amount_ops for part in self.whole.parts if part.line.decided_by is not None)
        return self.whole.undetermined_ops - decided + self.decision.undetermined_ops + self.open_ops

    @property
    def most_ops(self) -> int | None:
        """What counts at most; None without end."""
        unbounded = self.missing or self.decision.unbounded
        return None if unbounded else self.counted_ops + self.undetermined_ops

    @property
    def values(self) -> Mapping[str, Result]:
        """The amounts under the names that expressions have for them."""
        record_most = None if self.record_missing else self.record_ops + self.record.undetermined_ops
        return {
            "counted_ops": _amount("counted_ops", self.counted_ops, self.most_ops),
            "record_ops": _amount("record_ops", self.record_ops, record_most),
        }

    @property
    def known(self) -> Mapping[str, Result]:
        """What the records answer of what is asked else: the operations of the models that this one was made from."""
        if self.original is None:
            return {}
        exact = self.original.low == self.original.high
        return {ORIGINAL: Result(self.original, frozenset() if exact else frozenset({ORIGINAL}))}

    def words(self) -> str:
        """What was counted of the records and what was left out, in a sentence."""
        executed, counted = self.whole.executed_ops, self.whole.counted_ops
        parts = [f"Of {scientific(executed)} operations in the {self._records()} {scientific(counted)} count"]
        for words, kinds in (
            ("are left out", [part for part in self.whole.parts if part.line.treatment is Treatment.LEFT_OUT]),
            ("are decided as generated data", [part for part in self.whole.parts if self._settled(part)]),
            ("are open", self._open()),
        ):
            if kinds:
                amount = scientific(sum(part.amount_ops for part in kinds))
                parts.append(f"{amount} {words} ({_kinds(kinds)})")
        for ops, words in (
            (self.earlier_ops, "are added as stated"),
            (self._outside_ops, "are added for generated data"),
        ):
            if ops:
                parts.append(f"{scientific(ops)} {words}")
        return f"{'; '.join(parts)}."

    @property
    def _outside_ops(self) -> int:
        """What counts for generated data and is in none of the records; 0 where what is in them is not settled."""
        recorded = [part for part in self.whole.parts if part.line.decided_by is not None]
        if not all(map(self._settled, recorded)):
            return 0
        return self.decision.counted_ops + self.decision.left_out_ops - sum(part.amount_ops for part in recorded)

    def _records(self) -> str:
        others = [one for one in self.ancestors.counted if not one.itself]
        several = len(others) < len(self.ancestors.counted)
        words = "records of this model" if several else "record"
        if not others:
            return words
        return f"{words} and of {len(others)} ancestor{'' if len(others) == 1 else 's'}, each once,"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What else made the total what it is."""
        said = [
            f"{scientific(part.amount_ops)} operations may or may not count: {part.line.why}" for part in self._open()
        ]
        if self.whole.set_aside_ops:
            amount, treatment = scientific(self.whole.set_aside_ops), self.counter.abandoned.replace("_", " ")
            said.append(f"{amount} operations of steps that were abandoned are {treatment}.")
        if self.stated_ops:
            said.append(
                f"{scientific(self.stated_ops)} operations without a record are added, as the lineage states them."
            )
        if self.prior_ops:
            said.append(f"{scientific(self.prior_ops)} operations of earlier training are added, as stated.")
        return (*said, *descent_words(self.counter, self.ancestors), *self.decision.reasons)

    def _settled(self, part: Part) -> bool:
        return part.line.decided_by in self.decision.settled

    def _open(self) -> list[Part]:
        undetermined = [part for part in self.whole.parts if part.line.treatment is Treatment.UNDETERMINED]
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
    ancestors: Sequence[Ancestor] = (),
) -> Total:
    """What a law adds up of a model: of the record, and of ``ancestors`` as the counter has it, no operation twice.

    ``answers``: of which ``prior_ops`` is what was spent before this record; what the ancestors show of that already is
    not added again. ``missing``: why more may count than all of them show, where the law counts all training.
    """
    counter = answered(counter, answers)
    of_model = counter.scope is Scope.MODEL
    selected = select(counter, ancestors, named=[one.name for one in generators or ()])
    record = count(counter, operations, abandoned)
    whole = with_ancestors(counter, operations, abandoned, selected.counted)
    stated = sum(one.stated_ops for one in selected.counted)
    known = whole.counted_ops - record.counted_ops + stated
    prior = _stated(answers, "prior_ops") if of_model else None
    record_missing = _missing(operations, lower_bound)
    more_may_count = [*record_missing, *(missing if of_model else ()), *_of_ancestors(selected)]
    if whole.earlier_missing and prior is None and not stated:
        more_may_count.append("earlier training of the same model counts too, and is not in this record")
    prior_ops = max(0, (prior or 0) - known)
    low = whole.counted_ops + stated + prior_ops
    training = Range(Fraction(low), None if more_may_count else Fraction(low))

    def known_beside(counting: Sequence[Ancestor]) -> Sequence[Generator] | None:
        return known_generators(counter, selected, generators, counting)

    def decided(known: Sequence[Generator] | None) -> Decision:
        return _decide(counter, whole, training, known, stated + prior_ops)

    generating = known_beside(selected.counted)
    decision = decided(generating)
    # A generator that may count by another way too, or shares models with one that may, adds these once at most.
    twice = _most_of(decision) - _most_of(decided(known_beside((*selected.counted, *selected.open))))
    return Total(
        counter=counter,
        record=record,
        whole=whole,
        ancestors=selected,
        open_ops=sum(_at_most(counter, one) for one in selected.open) - twice,
        stated_ops=stated,
        prior_ops=prior_ops,
        original=_original(counter, [one for one in selected.counted if not one.itself]),
        decision=decision,
        generators=_told(counter, generating, whole),
        missing=tuple(dict.fromkeys(more_may_count)),
        record_missing=tuple(record_missing),
    )


def _told(counter: Counter, generators: Sequence[Generator] | None, whole: Count) -> tuple[Generator, ...]:
    """The generators, where the law has a note on them."""
    return tuple(synthetic.with_record(one, whole) for one in generators or ()) if counter.synthetic_data else ()


def _original(counter: Counter, ancestors: Sequence[Ancestor]) -> Range | None:
    """What these took under the counter, as far as it is known."""
    if not ancestors:
        return None
    found = with_ancestors(counter, Operations.none(), None, ancestors)
    low = found.counted_ops + sum(one.stated_ops for one in ancestors)
    floor = any(one.missing for one in ancestors)
    return Range(Fraction(low), None if floor else Fraction(low + found.undetermined_ops))


def _at_most(counter: Counter, ancestor: Ancestor) -> int:
    counted = count(counter, ancestor.operations, ancestor.abandoned)
    return counted.counted_ops + counted.undetermined_ops + ancestor.stated_ops


def _most_of(decision: Decision) -> int:
    return 0 if decision.unbounded else decision.counted_ops + decision.undetermined_ops


def _of_ancestors(selected: Selected) -> Iterator[str]:
    for one in selected.counted:
        yield from one.missing
    for one in selected.open:
        if one.missing:
            yield f"the training of {one.name} may count, and is not known whole"


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
