"""A sum over segments, in lines of text and as JSON; both say that it was added up and not recounted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from auditor.ledger.ends import SEAL, TOTALS, WHOLE
from auditor.report.words import joined, plural
from auditor.units import in_full, wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from auditor.ledger.merging import Merged, RunSum
    from auditor.operations import Operations

SCHEMA = "auditor.merge/1"
_RESTS_ON = {
    SEAL: "by their seals",
    TOTALS: "by their last totals and the intervals after them",
    WHOLE: "read whole",
}
_LEFT_TO_VERIFY = "that the lines between come to these sums, and are those that were signed, `auditor verify` checks"
_NOT_RECOUNTED = "summed from signed seals, not recounted"
_WHAT_IS_SHOWN = (
    "Each end is signed by its segment's key. That the lines before it come to it, and are those that were signed,"
    " `auditor verify` checks."
)


def lines(merged: Merged, directories: Sequence[Path]) -> Iterator[str]:
    """The sum in lines of text."""
    verdict = f" {merged.verdict}," if merged.verdict else ""
    yield f"{', '.join(map(str, directories))}:{verdict} {_NOT_RECOUNTED}"
    yield from (f"  - {finding.text}" for finding in merged.findings)
    for run in merged.runs:
        yield from _run(run)
    if len(merged.runs) > 1:
        yield f"  together    {in_full(merged.operations.total)} operations in {len(merged.runs)} runs"
    yield from (f"  signed by   {key}" for key in merged.keys)
    yield f"  {_WHAT_IS_SHOWN}"


def not_recounted(sources: Mapping[str, int]) -> str:
    """What a page says first that is made of the ends of segments; ``sources``: of how many, by what they rest on."""
    return joined(f"summed from the signed ends of segments alone ({rests_on(sources)})", _LEFT_TO_VERIFY)


def rests_on(sources: Mapping[str, int]) -> str:
    """What the sums of so many segments rest on."""
    return ", ".join(f"{number:,} {_RESTS_ON[source]}" for source, number in sources.items() if number)


def _run(run: RunSum) -> Iterator[str]:
    yield f"  run         {run.run_id} ({run.model or 'model not named'}, {run.purpose})"
    yield f"  ranks       {run.ranks_seen} of {run.ranks_expected}, in {plural(run.attempts, 'attempt')}"
    yield f"  segments    {run.segments}: {rests_on(run.sources)}"
    yield f"  time        {run.started} to {run.ended or 'now: it is being written'}"
    yield f"  steps       {run.steps}"
    yield f"  operations  {in_full(run.operations.total)}"
    for phase, amount in run.operations.by_phase.items():
        if amount:
            yield f"              {in_full(amount)} {phase}"


def to_json(merged: Merged, directories: Sequence[Path]) -> str:
    """The sum as text: the same ledgers give the same bytes; amounts of operations are decimal strings."""
    plain = {
        "schema": SCHEMA,
        "directories": [str(directory) for directory in directories],
        "recounted": False,
        "verdict": merged.verdict and str(merged.verdict),
        "findings": [{"verdict": str(finding.verdict), "text": finding.text} for finding in merged.findings],
        "operations": _operations(merged.operations),
        "runs": [_run_plain(run) for run in merged.runs],
        "keys": list(merged.keys),
        "notice": _WHAT_IS_SHOWN,
    }
    return json.dumps(plain, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _run_plain(run: RunSum) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "model": run.model,
        "purpose": run.purpose,
        "started": run.started,
        "ended": run.ended or None,
        "ranks": {"expected": run.ranks_expected, "seen": run.ranks_seen, "attempts": run.attempts},
        "segments": {"all": run.segments, "lines": run.lines, **run.sources},
        "steps": run.steps,
        "operations": _operations(run.operations),
    }


def _operations(operations: Operations) -> dict[str, Any]:
    return {
        "total": wire(operations.total),
        "by_phase": {name: wire(amount) for name, amount in operations.by_phase.items()},
        "by_family": {name: wire(amount) for name, amount in operations.by_family.items()},
        "by_precision": {name: wire(amount) for name, amount in operations.by_precision.items()},
        "by_purpose": {name: wire(amount) for name, amount in operations.by_purpose.items()},
        "unpriced": dict(sorted(operations.unpriced.items())),
    }
