"""The report as JSON, under the names of configs/schema/report.schema.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from auditor.report import cases, coverage, replication, warning
from auditor.report.observation_page import process_plain
from auditor.report.words import NOT_LEGAL_ADVICE, plain_decimal, rounded
from auditor.units import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from auditor.hardware.chips import Source
    from auditor.hardware.spans import Span
    from auditor.records import Weights
    from auditor.report.ancestry import Ancestry
    from auditor.report.devices import Hardware, Machine
    from auditor.report.judgement import Judgement
    from auditor.report.opinions import Opinion
    from auditor.report.view import View
    from auditor.rules.classification import Answer
    from auditor.rules.verdict import Finding

SCHEMA = "auditor.report/1"


def to_json(view: View) -> str:
    """The report as text: the same view gives the same bytes; amounts of operations are decimal strings."""
    return json.dumps(to_plain(view), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def to_plain(view: View) -> dict[str, Any]:
    """The report as lists and mappings, ready to be written."""
    hardware = devices_plain(view.hardware)
    return {
        "schema": SCHEMA,
        "generated": view.generated,
        "run": _run(view),
        "ledger": _ledger(view),
        "operations": _operations(view),
        "ancestry": _ancestry(view),
        "unpriced": [{"op": op, "calls": calls} for op, calls in view.unpriced],
        "gaps": [
            {"cause": gap.cause, "message": gap.message, "lower_bound": gap.lower_bound, "times": gap.times}
            for gap in view.gaps
        ],
        "replication": replication.to_plain(view.replications),
        "second_opinion": _opinion(view.second_opinion),
        "coverage": [coverage.to_plain(found) for found in view.coverage] if view.recounted else None,
        "hardware": hardware["devices"],
        "judgements": hardware["judgements"],
        "machines": [machine_plain(machine) for machine in view.machines],
        "chip_sources": sources_plain(view.chip_sources),
        "observed": [process_plain(process) for process in view.observed] if view.recounted else None,
        "rules": [_rule(finding) for finding in view.rules],
        "cases": cases.to_plain(view.cases),
        "warning": warning.to_plain(view.outlook, view.marks),
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
        "recounted": view.recounted,
        "ends": None if ledger.ends is None else dict(ledger.ends),
        "records": ledger.records,
        "ranks_expected": ledger.ranks_expected,
        "ranks_seen": ledger.ranks_seen,
        "head": ledger.head,
        "keys": list(ledger.keys),
    }


def _operations(view: View) -> dict[str, Any]:
    operations = view.operations
    return {
        "total": wire(operations.total),
        "complete": view.complete,
        "abandoned": wire(view.abandoned.total) if view.recounted else None,
        "abandoned_steps": view.abandoned_steps if view.recounted else None,
        "by_phase": _wired(operations.by_phase),
        "by_family": _wired(operations.by_family),
        "by_precision": _wired(operations.by_precision),
        "by_purpose": _wired(operations.by_purpose),
    }


def _ancestry(view: View) -> dict[str, Any]:
    known = view.ancestry
    return {
        "unknown": list(known.unknown),
        "models": list(known.models),
        "recorded": wire(known.recorded_ops),
        "stated": wire(known.stated_ops),
        "ledgers": ledgers_plain(known),
        "saved": [_weights(one) for one in known.saved] if view.recounted else None,
        "loaded": [_weights(one) for one in known.loaded] if view.recounted else None,
    }


def ledgers_plain(known: Ancestry) -> list[dict[str, str]]:
    """The ledgers that were read beside the one that is judged."""
    return [
        {"run": one.run, "model": one.model, "verdict": one.verdict, "operations": wire(one.operations)}
        for one in known.ledgers
    ]


def _weights(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.name,
        "form": weights.form,
        "step": weights.step,
        "sha256": weights.digest or None,
        "tensors": weights.tensors or None,
        "bytes": weights.size_bytes,
        "files": len(weights.files),
        "missed": weights.missed or None,
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


def devices_plain(devices: Sequence[Hardware]) -> dict[str, Any]:
    """Devices, each with the number of its judgement, and the judgements, which like devices share."""
    numbers: dict[int, int] = {}
    for device in devices:
        numbers.setdefault(id(device.judgement), len(numbers))
    judgements = {id(device.judgement): device.judgement for device in devices}
    return {
        "devices": [_device(device, numbers[id(device.judgement)]) for device in devices],
        "judgements": [judgement_plain(judgements[name]) for name in numbers],
    }


def _device(device: Hardware, judgement: int) -> dict[str, Any]:
    return {
        "rank": device.rank,
        "kind": device.kind,
        "name": device.name,
        "identity": dict(device.identity),
        "chip": device.chip,
        "candidates": list(device.candidates),
        "candidates_tpp": _span(device.candidates_tpp),
        "basis": device.basis,
        "tpp": _decimal(device.tpp),
        "performance_density": _decimal(device.performance_density),
        "eccn": device.eccn,
        "judgement": judgement,
    }


def judgement_plain(judgement: Judgement) -> dict[str, Any]:
    """What the figures of a circuit put it in."""
    tpp, density = judgement.tpp, judgement.density
    return {
        "tpp": _decimal(tpp.exact if tpp else None),
        "tpp_range": _span(tpp),
        "performance_density": _decimal(density.exact if density else None),
        "performance_density_range": _span(density),
        "eccn": judgement.eccn,
        "paragraph": judgement.klass.paragraph,
        "possible": list(judgement.klass.possible),
        "rests_on": list(judgement.rests_on),
        "confidence": None if judgement.confidence is None else str(judgement.confidence),
        "working": list(judgement.working),
        "doubts": list(judgement.doubts),
        "reasons": list(judgement.klass.reasons),
        "chip_rules": [_answer(answer) for answer in judgement.answers],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.rule,
        "title": answer.title,
        "status": answer.standing,
        "status_note": answer.note,
        "enforced": answer.enforced,
        "as_of": answer.as_of.isoformat(),
        "outcome": answer.outcome,
        "paragraph": answer.paragraph,
        "possible": list(answer.possible),
        "reasons": list(answer.reasons),
        "certainty": answer.certainty,
    }


def machine_plain(machine: Machine) -> dict[str, Any]:
    """A node, or all of them together."""
    return {
        "name": machine.name,
        "devices": machine.devices,
        "circuits": plain_decimal(machine.circuits.normalize()),
        "tpp_range": _span(machine.tpp),
        "of_unknown_tpp": machine.unknown,
        "of_repeated_uuid": machine.repeated,
        "class": None if machine.holder is None else _answer(machine.holder),
    }


def sources_plain(sources: Iterable[Source]) -> list[dict[str, str]]:
    """Sources of chips' figures, by the names that the working gives them."""
    return [{"id": source.id, "title": source.title, "read": source.read.isoformat()} for source in sources]


def _span(span: Span | None) -> dict[str, str | None] | None:
    return None if span is None else {"lowest": _decimal(span.low), "highest": _decimal(span.high)}


def _decimal(number: Decimal | None) -> str | None:
    return None if number is None else rounded(number, 6)


def _rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": finding.status,
        "status_note": finding.status_note,
        "enforced": finding.enforced,
        "fines_held_back": finding.fines_held_back,
        "as_of": finding.as_of.isoformat(),
        "mode": finding.mode,
        "binds": finding.binds,
        "counted": wire(finding.counted_ops),
        "threshold": wire(finding.threshold_ops),
        "fraction": plain_decimal(finding.fraction),
        "verdict": finding.verdict,
        "applies": finding.applies,
        "lower_bound": finding.lower_bound,
        "reasons": list(finding.reasons),
        "in_words": finding.in_words,
        "counts": finding.counted_words,
        "left_out": finding.left_out_words,
        "certainty": finding.certainty,
        "status_certainty": finding.status_certainty,
        "source": finding.source,
    }
