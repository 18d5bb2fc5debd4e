"""What the records, and what is declared, say of the weights that a run's model was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.lineage.gather import foreign

if TYPE_CHECKING:
    from auditor.lineage.family import Family
    from auditor.records import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A ledger that was read beside the one that is judged."""

    run: str
    model: str
    verdict: str
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """``unknown``: parents of which nothing is known, in words; ``models``: ancestors that are known."""

    unknown: tuple[str, ...]
    models: tuple[str, ...]
    recorded_ops: int  # of these, and of other runs of the model
    stated_ops: int  # of these, and of earlier work on the model itself, beside what is recorded
    ledgers: tuple[Ledger, ...]
    saved: tuple[Weights, ...]
    loaded: tuple[Weights, ...]  # those that the run had not saved itself by then

    @property
    def any(self) -> bool:
        """Whether the model took more than this run."""
        return bool(self.unknown or self.models or self.recorded_ops or self.stated_ops)


def ancestry_of(family: Family) -> Ancestry:
    """What is known of what the model was made from."""
    lineage, reading = family.lineage, family.reading
    total = lineage.total(family.model)
    concerned = {family.model, *total.ancestors}
    return Ancestry(
        unknown=tuple(sorted(one.what for one in lineage.unknown if one.child in concerned)),
        models=total.ancestors,
        recorded_ops=total.recorded.total - reading.operations.total,
        stated_ops=total.stated_ops,
        ledgers=tuple(
            Ledger(run=one.run_id, model=one.model, verdict=str(one.verdict), operations=one.operations.total)
            for one in family.others
        ),
        saved=tuple(one for one in reading.weights if one.event == "saved"),
        loaded=tuple(one.weights for one in foreign(reading)),
    )
