"""What of generated training data counts: the operations that made it, and those that trained its generator.

source: Technical Note 3 to ECCN 4E091. A generator counts where more than a tenth of the training operations go into
its unpublished data; all checkpoints and variants of one model are one generator. For several closed generators the
note leaves open whether each or all of them together must pass the tenth: both are worked out; what differs is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.rules.counter import Decided
from auditor.rules.ranges import Range, less
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.rules.counting import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A model that made data for the training of this one; None is not known."""

    name: str
    published: bool | None  # its parameters
    trained_on_ops: int | None  # of this model's training, spent on its unpublished data
    generation_ops: int | None  # spent on making that data
    training_ops: int | None  # of its own training
    in_record: bool = False  # it was run under this record: its operations are those of the purpose synthetic-data
    counted_ops: int = 0  # of its training, those that count already, as its models are ancestors of this one too
    floor: bool = False  # its training may have taken more
    generation_floor: bool = False  # making its data may have taken more
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)  # where each amount is from, by its name

    @classmethod
    def unknown(cls, name: str) -> Generator:
        """A generator of which nothing is said but that it is one."""
        return cls(name=name, published=None, trained_on_ops=None, generation_ops=None, training_ops=None)

    def told(self, **origins: str) -> Generator:
        """The same, with where these amounts are from."""
        return replace(self, origins={**self.origins, **origins})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of operations that the record alone leaves undetermined, and what counts from outside of it."""

    counted_ops: int
    left_out_ops: int
    undetermined_ops: int
    unbounded: bool  # more may count, and nobody knows how much
    reasons: tuple[str, ...]
    settled: frozenset[Decided] = frozenset()  # what nothing is left open of


def decide(
    counted: Count, *, training: Range, trigger_percent: int, generators: Sequence[Generator] | None, earlier_ops: int
) -> Decision:
    """What Technical Note 3 makes of a count. ``training``: where all training operations of the model lie.

    ``generators``: all that made unpublished data for it; None where nobody says. ``earlier_ops``: stated training that
    is not in the record, which may have been on rollouts too.
    """
    line = _scaled(training, Fraction(trigger_percent, 100))
    rollouts = _of_rollouts(counted, line, earlier_ops)
    if generators is None:
        undecided = counted.decided_ops(Decided.GENERATORS)
        others = Decision(counted_ops=0, left_out_ops=0, undetermined_ops=undecided, unbounded=False, reasons=())
    else:
        others = _of_generators(counted, line, [with_record(one, counted) for one in generators])
    return Decision(
        counted_ops=rollouts.counted_ops + others.counted_ops,
        left_out_ops=rollouts.left_out_ops + others.left_out_ops,
        undetermined_ops=rollouts.undetermined_ops + others.undetermined_ops,
        unbounded=others.unbounded,
        reasons=(*rollouts.reasons, *others.reasons),
        settled=rollouts.settled | others.settled,
    )


def _scaled(amount: Range, factor: Fraction) -> Range:
    return Range(*(None if end is None else end * factor for end in amount))


def _of_rollouts(counted: Count, line: Range, earlier_ops: int) -> Decision:
    """The model itself as the generator of what reinforcement learning trains it on (inferred)."""
    rollout_ops, trained_ops = counted.decided_ops(Decided.ROLLOUTS), counted.reinforcement_ops
    if not rollout_ops:
        return Decision(counted_ops=0, left_out_ops=0, undetermined_ops=0, unbounded=False, reasons=())
    passes = less(line, Range(Fraction(trained_ops), Fraction(trained_ops + earlier_ops)))
    words = {
        True: "count: more than the share went into reinforcement learning on them",
        False: "are left out: no more than the share went into reinforcement learning on them",
        None: "may count: whether more than the share went into reinforcement learning on them is open",
    }[passes]
    return Decision(
        counted_ops=rollout_ops if passes else 0,
        left_out_ops=rollout_ops if passes is False else 0,
        undetermined_ops=rollout_ops if passes is None else 0,
        unbounded=False,
        reasons=(f"{scientific(rollout_ops)} operations of rollouts {words} (inferred).",),
        settled=frozenset() if passes is None else frozenset({Decided.ROLLOUTS}),
    )


def with_record(generator: Generator, counted: Count) -> Generator:
    """The generator with its operations of this record in their places."""
    if not generator.in_record:
        return generator
    taught = counted.decided_ops(Decided.GENERATORS) - counted.generation_ops
    training_ops = taught or None if generator.training_ops is None else generator.training_ops + taught
    known = replace(generator, generation_ops=counted.generation_ops, training_ops=training_ops)
    return known.told(generation_ops="the record that is judged", **_taught_words(generator, taught))


def _taught_words(generator: Generator, taught_ops: int) -> Mapping[str, str]:
    if not taught_ops:
        return {}
    stated = generator.origins.get("training_ops")
    return {"training_ops": f"the record that is judged{f', beside {stated}' if stated else ''}"}


@dataclass(slots=True)
class _Sum:
    """The least that counts, and the most; None is without end."""

    low: int = 0
    high: int | None = 0

    def add(self, certain: bool | None, ops: int | None, *, floor: bool) -> None:
        """Take operations in: surely, surely not, or perhaps; there may be more of them than a ``floor``."""
        if certain is False:
            return
        self.low += ops or 0 if certain else 0
        self.high = None if self.high is None or ops is None or floor else self.high + ops


def _of_generators(counted: Count, line: Range, generators: Sequence[Generator]) -> Decision:
    total, reasons = _Sum(), []
    for one in generators:
        passes = _passes(one, line)
        total.add(passes, one.generation_ops, floor=one.generation_floor)
        reasons.append(_generation_words(one, passes))
    least, most = _of_training(generators, line)
    total.low += least
    total.high = None if total.high is None or most is None else total.high + most
    if most != least:
        reasons.append("Which closed generator's training counts is open: each must pass the share, or all together.")
    loose = 0
    if generators and not any(one.in_record for one in generators):
        loose = counted.decided_ops(Decided.GENERATORS)
    if loose:
        reasons.append("Whose data this record's operations for synthetic data made was not stated.")
    undetermined_ops = loose + (0 if total.high is None else total.high - total.low)
    return Decision(
        counted_ops=total.low,
        left_out_ops=_left_out(counted, line, generators),
        undetermined_ops=undetermined_ops,
        unbounded=total.high is None,
        settled=frozenset() if undetermined_ops or total.high is None else frozenset({Decided.GENERATORS}),
        reasons=tuple(reasons or ["It was stated that no generator's unpublished data was trained on."]),
    )


def _left_out(counted: Count, line: Range, generators: Sequence[Generator]) -> int:
    """Of the record's operations for synthetic data, those that surely do not count."""
    recorded = counted.decided_ops(Decided.GENERATORS)
    if not generators:
        return recorded
    one = next((one for one in generators if one.in_record), None)
    if one is None:
        return 0
    passes, taught = _passes(one, line), recorded - counted.generation_ops
    left_out = counted.generation_ops if passes is False else 0
    if passes is False or one.published is True or (one.training_ops or 0) < _largest(generators, line):
        left_out += taught
    return left_out


def _passes(generator: Generator, line: Range) -> bool | None:
    if generator.trained_on_ops is None:
        return None
    return less(line, Range.exactly(generator.trained_on_ops))


def _of_training(generators: Sequence[Generator], line: Range) -> tuple[int, int | None]:
    """The least and the most that the training of closed generators adds, over both readings of the note.

    Of those that pass, the one with the most training counts, without what counts already as an ancestor's.
    """
    surely, largest = _surely(generators, line), _largest(generators, line)
    may = [
        one
        for one in _perhaps(generators, line)
        if _may_exceed(one, largest) or (one in surely and one.training_ops == largest)
    ]
    least = [max(one.training_ops or 0, largest) - one.counted_ops for one in may] + ([] if surely else [0])
    most = [None if one.floor or one.training_ops is None else one.training_ops - one.counted_ops for one in may]
    return max(min(least), 0), None if None in most else max((ops for ops in most if ops is not None), default=0)


def _surely(generators: Sequence[Generator], line: Range) -> list[Generator]:
    """The closed generators that pass the share by themselves."""
    return [one for one in generators if one.published is False and _passes(one, line)]


def _largest(generators: Sequence[Generator], line: Range) -> int:
    """The training of the one of these that took most."""
    return max((one.training_ops or 0 for one in _surely(generators, line)), default=0)


def _perhaps(generators: Sequence[Generator], line: Range) -> list[Generator]:
    """The closed generators that pass the share by themselves or all together, as far as that is known."""
    closed = [one for one in generators if one.published is not True]
    known = [one.trained_on_ops for one in closed if one.trained_on_ops is not None]
    together = less(line, Range.exactly(sum(known))) if len(known) == len(closed) else None
    return closed if together is not False else [one for one in closed if _passes(one, line) is not False]


def _may_exceed(one: Generator, ops: int) -> bool:
    return one.floor or one.training_ops is None or one.training_ops > ops


def _generation_words(one: Generator, passes: bool | None) -> str:
    words = {
        True: "takes more than the share of the training, so that making its data counts",
        False: "takes no more than the share of the training, so that making its data does not count",
        None: "takes a share of the training that is not known well enough",
    }[passes]
    open_words = "; its parameters may be published or not" if one.published is None else ""
    if one.generation_floor and passes is not False:
        open_words += "; its ledgers show the making of it in part only"
    closed = ", as does its own training" if passes and one.published is False else ""
    return f"The unpublished data of {one.name} {words}{closed}{open_words}."
