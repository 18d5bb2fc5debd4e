"""The report as JSON, under the names of configs/schema/report.schema.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from auditor.report.words import NOT_LEGAL_ADVICE, plain_decimal, rounded
from auditor.units import wire

if TYPE_CHECKING:
    from auditor.report.devices import Hardware
    from auditor.report.opinions import Opinion
    from auditor.report.view import View
    from auditor.rules.verdict import Finding

SCHEMA = "auditor.report/1"


def to_json(view: View) -> str:
    """The report as text: the same view gives the same bytes; amounts of operations are decimal strings."""
    return json.dumps(to_plain(view), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def to_plain(view: View) -> dict[str, Any]:
    """The report as lists and mappings, ready to be written."""
    return {
        "schema": SCHEMA,
        "generated": view.generated,
        "run": _run(view),
        "ledger": _ledger(view),
        "operations": _operations(view),
        "unpriced": [{"op": op, "calls": calls} for op, calls in view.unpriced],
        "gaps": [
            {"cause": gap.cause, "message": gap.message, "lower_bound": gap.lower_bound, "times": gap.times}
            for gap in view.gaps
        ],
        "second_opinion": _opinion(view.second_opinion),
        "hardware": [_hardware(device) for device in view.hardware],
        "rules": [_rule(finding) for finding in view.rules],
        "notice": NOT_LEGAL_ADVICE,
    }


def _run(view: View) -> dict[str, Any]:
    run = view.run
    return {
        "id": run.id,
        "model": run.model,
        "purpose": run.purpose,
        "command": list(run.command),
        "counters": list(run.counters),
        "started": run.started,
        "ended": run.ended,
        "steps": run.steps,
    }


def _ledger(view: View) -> dict[str, Any]:
    ledger = view.ledger
    return {
        "verdict": ledger.verdict,
        "verdict_words": ledger.words,
        "reasons": list(ledger.reasons),
        "records": ledger.records,
        "ranks_expected": ledger.ranks_expected,
        "ranks_seen": ledger.ranks_seen,
        "head": ledger.head,
    }


def _operations(view: View) -> dict[str, Any]:
    operations = view.operations
    return {
        "total": wire(operations.total),
        "complete": view.complete,
        "by_phase": _wired(operations.by_phase),
        "by_family": _wired(operations.by_family),
        "by_precision": _wired(operations.by_precision),
        "by_purpose": _wired(operations.by_purpose),
    }


def _wired(amounts: dict[str, int]) -> dict[str, str]:
    return {name: wire(ops) for name, ops in amounts.items()}


def _opinion(opinion: Opinion | None) -> dict[str, Any] | None:
    if opinion is None:
        return None
    return {
        "counter": opinion.counter,
        "total": _wire_or_none(opinion.theirs_ops),
        "ours": _wire_or_none(opinion.ours_ops),
        "difference": _wire_or_none(opinion.difference_ops),
        "explained": [
            {
                "operator": row.operator,
                "module": row.module,
                "ours": row.ours,
                "theirs": row.theirs,
                "note": row.note,
            }
            for row in opinion.explained
        ],
        "unavailable": list(opinion.unavailable),
    }


def _wire_or_none(ops: int | None) -> str | None:
    return None if ops is None else wire(ops)


def _hardware(device: Hardware) -> dict[str, Any]:
    density = device.performance_density
    return {
        "rank": device.rank,
        "kind": device.kind,
        "name": device.name,
        "identity": dict(device.identity),
        "chip": device.chip,
        "tpp": None if device.tpp is None else rounded(device.tpp, 6),
        "performance_density": None if density is None else rounded(density, 6),
        "eccn": device.eccn,
        "basis": device.basis,
    }


def _rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": finding.status,
        "status_note": finding.status_note,
        "enforced": finding.enforced,
        "as_of": finding.as_of.isoformat(),
        "counted": wire(finding.counted_ops),
        "threshold": wire(finding.threshold_ops),
        "fraction": plain_decimal(finding.fraction),
        "verdict": finding.verdict,
        "lower_bound": finding.lower_bound,
        "reasons": list(finding.reasons),
        "counts": finding.counted_words,
        "left_out": finding.left_out_words,
        "source": finding.source,
    }
