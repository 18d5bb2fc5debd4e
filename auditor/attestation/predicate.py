"""What an attestation says of weights: what their run came to, on what, and what the record of it is worth.

The type is documented in docs/attestation.md, its fields are configs/schema/attestation.schema.json. Every number is a
decimal string. A later version has a later type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.errors import NotAnAttestation, UnitError
from auditor.ledger import Head, HeldHead
from auditor.operations import Operations
from auditor.units import parse_ops, wire

TYPE_STEM = "urn:auditor:training-compute:"
PREDICATE_VERSION = 1
PREDICATE_TYPE = f"{TYPE_STEM}{PREDICATE_VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was run, as its ledger names it; ``ended`` is None where it was going on."""

    id: str
    model: str
    purpose: str
    started: str
    ended: str | None
    steps: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAmount:
    """The operations of one bucket; a multiply-add is two."""

    phase: str
    family: str
    precision: str
    purpose: str
    algorithmic: str  # what the mathematics asks for
    repeated: str  # executed beyond that
    skippable: str  # the part of the algorithmic whose result is masked away


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What the run came to; a floor, where it is not ``complete``."""

    total: str  # executed: algorithmic and repeated
    complete: bool
    buckets: tuple[BucketAmount, ...]
    unpriced: Mapping[str, str]  # calls of operators that have no formula


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device, as it named itself; ``chip`` by the catalogue and ``eccn`` by the rules, where they know."""

    kind: str
    name: str
    uuid: str | None
    chip: str | None
    eccn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHead:
    """Where a segment of the ledger stood: lines and root of its Merkle tree, and the key that signs it."""

    name: str
    size: str
    root: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger, verified when this was written; ``head`` is over the names and heads of all segments."""

    verdict: str
    reasons: tuple[str, ...]
    head: str
    expected: str  # ranks
    seen: str
    segments: tuple[SegmentHead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """What a rule says of the run on a day."""

    id: str
    title: str
    standing: str
    enforced: bool | None
    binds_as_codified: bool  # as every rule does that is printed as in effect, enforced or not
    binds_as_enforced: bool  # as those of them do that their authority asks to be met
    day: str
    counted: str
    line: str
    comparison: str
    floor: bool  # more may count
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What counted and judged: versions, and digests of the tables."""

    auditor: str
    formulas: str
    rules: str
    catalogue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """Everything that is said of the weights."""

    made: str
    run: Run
    operations: Amounts
    hardware: tuple[Device, ...]
    ledger: LedgerState
    rules: tuple[RuleFinding, ...]
    versions: Versions

    def amounts(self) -> Operations:
        """The operations, as exact numbers.

        Raises: NotAnAttestation: they are none, are written in another way than ours, or do not come to the total.
        """
        return _amounts(self.operations)

    def heads(self) -> tuple[HeldHead, ...]:
        """The heads of the ledger's segments.

        Raises: NotAnAttestation: a size is not a number.
        """
        return tuple(HeldHead(part.name, Head(_number(part.size), part.root)) for part in self.ledger.segments)


def amounts_of(operations: Operations, *, complete: bool) -> Amounts:
    """The operations as they are written."""
    return Amounts(
        total=wire(operations.total),
        complete=complete,
        buckets=tuple(BucketAmount(**dict(zip(_COLUMNS, row, strict=True))) for row in operations.to_rows()),
        unpriced={op: wire(calls) for op, calls in sorted(operations.unpriced.items())},
    )


_COLUMNS = BucketAmount.__slots__


def _amounts(said: Amounts) -> Operations:
    rows = [[getattr(bucket, name) for name in _COLUMNS] for bucket in said.buckets]
    unpriced = {op: _number(calls) for op, calls in said.unpriced.items()}
    try:
        operations = Operations.from_rows(rows, unpriced)
    except (UnitError, ValueError) as error:
        raise NotAnAttestation(f"operations: {error}") from error
    if amounts_of(operations, complete=said.complete) != said:
        raise NotAnAttestation("operations: the buckets do not come to the total, or are not written as amounts are")
    return operations


def _number(text: str) -> int:
    try:
        number = parse_ops(text)
    except (UnitError, ValueError) as error:
        raise NotAnAttestation(f"expected a whole number, got {text[:40]!r}") from error
    if wire(number) != text:
        raise NotAnAttestation(f"expected a whole number in decimal digits, got {text[:40]!r}")
    return number
