"""A lineage as text for people, and as JSON under the names of configs/schema/lineage.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from auditor.units import in_full, scientific, wire

if TYPE_CHECKING:
    from auditor.lineage.graph import Edge, Lineage, Model, Total
    from auditor.relations import Relation

SCHEMA = "auditor.lineage-report/1"


def told(lineage: Lineage, names: Sequence[str], relations: Sequence[Relation]) -> Iterator[str]:
    """Each of these models: its total, what it is made of, and why it is a lower bound where it is."""
    for name in names:
        yield from _model(lineage, lineage.total(name, relations))


def headline(total: Total) -> str:
    """What the model took over its ancestry, in one sentence."""
    amount = f"{'at least ' if total.lower_bound else ''}{scientific(total.operations)} operations"
    if not total.ancestors:
        return f"{total.model}: {amount}"
    number = len(total.ancestors)
    return f"{total.model}: {amount} with its {number} known ancestor{'' if number == 1 else 's'}, each counted once"


def _model(lineage: Lineage, total: Total) -> Iterator[str]:
    model = lineage.models[total.model]
    yield headline(total)
    yield f"  its own      {in_full(total.own_operations)} operations: {_runs(model)}"
    if total.ancestors:
        theirs = in_full(total.operations - total.own_operations)
        yield f"  ancestors    {theirs} operations: {', '.join(total.ancestors)}"
    if total.abandoned.total:
        yield f"  abandoned    {in_full(total.abandoned.total)} of all these, as runs went on from earlier checkpoints"
    for amount in sorted(model.spent):
        yield f"  stated       {in_full(amount.operations)} of its own ({amount.source}; {amount.certainty})"
    for edge in _from(lineage, total.model):
        sure = f", {edge.certainty}" if edge.certainty else ""
        yield f"  made from    {edge.parent} ({_words(edge.relation)}, {edge.proof}{sure}): {edge.why}"
    for reason in total.missing:
        yield f"  may be more  {reason}"


def _runs(model: Model) -> str:
    number = len(model.runs)
    return f"{number} recorded run{'' if number == 1 else 's'}" if number else "no recorded run"


def _words(relation: str) -> str:
    return relation.replace("_", " ")


def _from(lineage: Lineage, name: str) -> list[Edge]:
    return sorted(edge for edge in lineage.edges if edge.child == name)


def to_json(lineage: Lineage, names: Sequence[str], relations: Sequence[Relation]) -> str:
    """The same as text; the same lineage gives the same bytes, amounts are decimal strings."""
    document = {
        "schema": SCHEMA,
        "relations": sorted(map(str, relations)),
        "models": [_plain(lineage, lineage.total(name, relations)) for name in names],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _plain(lineage: Lineage, total: Total) -> dict[str, Any]:
    model = lineage.models[total.model]
    return {
        "model": total.model,
        "runs": sorted(model.runs),
        "total": wire(total.operations),
        "lower_bound": total.lower_bound,
        "recorded": wire(total.recorded.total),
        "stated": wire(total.stated_ops),
        "own": wire(total.own_operations),
        "abandoned": wire(total.abandoned.total),
        "by_phase": _wired(total.recorded.by_phase),
        "by_purpose": _wired(total.recorded.by_purpose),
        "ancestors": list(total.ancestors),
        "parents": [
            {
                "model": edge.parent,
                "relation": str(edge.relation),
                "proof": str(edge.proof),
                "why": edge.why,
                "certainty": edge.certainty or None,
            }
            for edge in _from(lineage, total.model)
        ],
        "spent": [
            {"operations": wire(amount.operations), "source": amount.source, "certainty": amount.certainty}
            for amount in sorted(model.spent)
        ],
        "missing": list(total.missing),
    }


def _wired(amounts: dict[str, int]) -> dict[str, str]:
    return {name: wire(ops) for name, ops in amounts.items()}
