"""What a run cost: exact amounts of operations, kept apart by phase, family, precision and purpose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from auditor.errors import UnitError
from auditor.tally import Phase, Purpose
from auditor.units import parse_ops, wire


class Family(StrEnum):
    """The kind of work; the first four are matrix work, which other counters see too."""

    MATMUL = "matmul"
    ATTENTION = "attention"
    CONVOLUTION = "convolution"
    RECURRENT = "recurrent"
    POINTWISE = "pointwise"
    REDUCTION = "reduction"
    NORMALIZATION = "normalization"
    OPTIMIZER = "optimizer"  # every elementwise update of the optimizer phase, however it is implemented
    OTHER = "other"


MATRIX_FAMILIES = frozenset({Family.MATMUL, Family.ATTENTION, Family.CONVOLUTION, Family.RECURRENT})


class Amount(NamedTuple):
    """Operations under the conventions that differ; a multiply-add is two.

    algorithmic_ops: what the mathematics asks for, whatever the implementation.
    repeated_ops: executed beyond that (scores that flash attention's backward computes again).
    skippable_ops: the part of algorithmic_ops whose result is masked away (the upper half of causal scores).
    """

    algorithmic_ops: int = 0
    repeated_ops: int = 0
    skippable_ops: int = 0

    @property
    def executed_ops(self) -> int:
        """What the kernels computed."""
        return self.algorithmic_ops + self.repeated_ops

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """The sum with ``times`` the other, component by component."""
        return Amount(
            self.algorithmic_ops + other.algorithmic_ops * times,
            self.repeated_ops + other.repeated_ops * times,
            self.skippable_ops + other.skippable_ops * times,
        )


class Bucket(NamedTuple):
    """Where an amount belongs. ``precision`` is the element type of the operands, by torch's name."""

    phase: Phase
    family: Family
    precision: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Operations:
    """Amounts by bucket, and the operators that have no price (name to calls): these make the total a lower bound."""

    amounts: Mapping[Bucket, Amount]
    unpriced: Mapping[str, int]

    @classmethod
    def none(cls) -> Operations:
        """Nothing at all."""
        return cls({}, {})

    @property
    def complete(self) -> bool:
        """Whether every operator seen has a price."""
        return not self.unpriced

    @property
    def total(self) -> int:
        """All operations that were executed."""
        return sum(amount.executed_ops for amount in self.amounts.values())

    @property
    def by_phase(self) -> dict[str, int]:
        """Executed operations, each phase named, also with nothing in it."""
        return self._by("phase", Phase)

    @property
    def by_family(self) -> dict[str, int]:
        """Executed operations, each family named, also with nothing in it."""
        return self._by("family", Family)

    @property
    def by_precision(self) -> dict[str, int]:
        """Executed operations by element type, those that occur."""
        return self._by("precision", ())

    @property
    def by_purpose(self) -> dict[str, int]:
        """Executed operations by purpose, those that occur."""
        return self._by("purpose", ())

    def _by(self, field: str, names: Iterable[str]) -> dict[str, int]:
        sums = {str(name): 0 for name in names}
        for bucket, amount in sorted(self.amounts.items()):
            name = str(getattr(bucket, field))
            sums[name] = sums.get(name, 0) + amount.executed_ops
        return sums

    def select(
        self,
        *,
        phases: Iterable[str] | None = None,
        families: Iterable[str] | None = None,
        purposes: Iterable[str] | None = None,
    ) -> Amount:
        """The sum over the buckets that are named; None takes all of that kind."""
        wanted = [None if names is None else frozenset(names) for names in (phases, families, purposes)]
        total = Amount()
        for bucket, amount in self.amounts.items():
            fields = (bucket.phase, bucket.family, bucket.purpose)
            if all(names is None or field in names for names, field in zip(wanted, fields, strict=True)):
                total = total.plus(amount)
        return total

    def __add__(self, other: Operations) -> Operations:
        return add_up([(self, 1), (other, 1)])

    def without(self, part: Operations) -> Operations:
        """What is left where ``part``, which is in it, is taken away; operators without a price stay."""
        amounts = dict(self.amounts)
        for bucket, amount in part.amounts.items():
            amounts[bucket] = amounts.get(bucket, Amount()).plus(amount, -1)
        return Operations(amounts, self.unpriced)

    def __iter__(self) -> Iterator[tuple[Bucket, Amount]]:
        return iter(sorted(self.amounts.items()))

    def to_rows(self) -> list[list[str]]:
        """As written down: ``[phase, family, precision, purpose, algorithmic, repeated, skippable]``, sorted."""
        return [[*map(str, bucket), *map(wire, amount)] for bucket, amount in self]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[str]], unpriced: Mapping[str, int]) -> Operations:
        """What `to_rows` wrote.

        Raises: UnitError: a row is not of that form, or a bucket occurs twice.
        """
        amounts: dict[Bucket, Amount] = {}
        for row in rows:
            bucket, amount = _read_row(row)
            if bucket in amounts:
                raise UnitError(f"the bucket {'/'.join(row[:4])} occurs twice")
            amounts[bucket] = amount
        return cls(amounts, dict(unpriced))


def _read_row(row: Sequence[str]) -> tuple[Bucket, Amount]:
    try:
        phase, family, precision, purpose, *numbers = row
        algorithmic, repeated, skippable = map(parse_ops, numbers)
        bucket = Bucket(Phase(phase), Family(family), precision, Purpose(purpose))
    except (ValueError, TypeError) as error:
        raise UnitError(f"not a row of operations: {row!r}") from error
    return bucket, Amount(algorithmic, repeated, skippable)


def add_up(parts: Iterable[tuple[Operations, int]]) -> Operations:
    """The sum of each part taken as often as its number says: associative, commutative, exact."""
    amounts: dict[Bucket, Amount] = {}
    unpriced: dict[str, int] = {}
    for operations, times in parts:
        for bucket, amount in operations.amounts.items():
            amounts[bucket] = amounts.get(bucket, Amount()).plus(amount, times)
        for op, calls in operations.unpriced.items():
            unpriced[op] = unpriced.get(op, 0) + calls * times
    return Operations(amounts, unpriced)
