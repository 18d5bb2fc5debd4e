"""What is to be attested, taken from a ledger that was verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import auditor
from auditor.attestation.predicate import (
    Device,
    LedgerState,
    Predicate,
    RuleFinding,
    Run,
    SegmentHead,
    Versions,
    amounts_of,
)
from auditor.errors import LedgerInvalid
from auditor.ledger import Verdict
from auditor.lineage.family import Family
from auditor.report.devices import describe_all
from auditor.rules import evaluate
from auditor.rules.model import Mode
from auditor.units import wire

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from auditor.hardware.chips import Catalogue
    from auditor.ledger import Reading
    from auditor.rules.model import Rule, RuleSet
    from auditor.rules.verdict import Finding

_FALSE = (Verdict.INVALID, Verdict.DIVERGED)
_WHOLE = (Verdict.UNANCHORED, Verdict.WITNESSED)


def draw(
    reading: Reading, ruleset: RuleSet, catalogue: Catalogue, *, as_of: date, made: str, formulas: str
) -> Predicate:
    """What is said of the weights of this run, under the rules of that day.

    ``formulas``: digest of the table by which the ledger was recounted.
    Raises: LedgerInvalid: the ledger is false, so nothing is attested by it.
    """
    if reading.verdict in _FALSE:
        raise LedgerInvalid(
            f"{reading.directory}: it is {reading.verdict}, so nothing is attested: {reading.reasons[0]}"
        )
    complete = reading.operations.complete and reading.verdict in _WHOLE
    findings = evaluate(
        ruleset,
        reading.operations,
        as_of=as_of,
        lower_bound=not complete,
        abandoned=reading.abandoned,
        missing=Family.of(reading).unknown,
    )
    return Predicate(
        made=made,
        run=_run(reading),
        operations=amounts_of(reading.operations, complete=complete),
        hardware=tuple(_devices(reading, ruleset, catalogue, as_of)),
        ledger=_ledger(reading),
        rules=tuple(_rule(finding, ruleset.find(finding.id)) for finding in findings),
        versions=Versions(
            auditor=auditor.__version__, formulas=formulas, rules=ruleset.digest, catalogue=catalogue.digest
        ),
    )


def _run(reading: Reading) -> Run:
    return Run(
        id=reading.run_id,
        model=reading.model,
        purpose=reading.purpose,
        started=reading.started,
        ended=reading.ended or None,
        steps=wire(reading.steps),
    )


def _ledger(reading: Reading) -> LedgerState:
    return LedgerState(
        verdict=str(reading.verdict),
        reasons=reading.reasons,
        head=reading.head,
        expected=wire(reading.ranks_expected),
        seen=wire(reading.ranks_seen),
        segments=tuple(
            SegmentHead(
                name=segment.name, size=wire(segment.head.size), root=segment.head.root, key=segment.genesis.public_key
            )
            for segment in reading.segments
        ),
    )


def _devices(reading: Reading, ruleset: RuleSet, catalogue: Catalogue, as_of: date) -> Iterable[Device]:
    """Every device that any attempt of any process saw, each once; those without a UUID once for all alike."""
    seen = dict(enumerate(segment.genesis.devices for segment in reading.segments))
    described = describe_all(seen, catalogue=catalogue, ruleset=ruleset, as_of=as_of)
    return dict.fromkeys(
        Device(kind=one.kind, name=one.name, uuid=one.identity.get("uuid"), chip=one.chip, eccn=one.eccn)
        for one in described
    )


def _rule(finding: Finding, rule: Rule) -> RuleFinding:
    return RuleFinding(
        id=finding.id,
        title=finding.title,
        standing=finding.status,
        enforced=finding.enforced,
        binds_as_codified=rule.binds_on(finding.as_of, Mode.AS_CODIFIED),
        binds_as_enforced=rule.binds_on(finding.as_of, Mode.AS_ENFORCED),
        day=finding.as_of.isoformat(),
        counted=wire(finding.counted_ops),
        line=wire(finding.threshold_ops),
        comparison=finding.comparison,
        floor=finding.lower_bound,
        verdict=finding.verdict,
    )
