"""What one run's record, and what is declared, say of the weights that its model was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.lineage.gather import foreign, lineage_of

if TYPE_CHECKING:
    from auditor.ledger.reading import Reading
    from auditor.lineage.declared import Declared
    from auditor.records import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """``unknown``: parents of which nothing is known, in words; ``models``: ancestors that are declared."""

    unknown: tuple[str, ...]
    models: tuple[str, ...]
    stated_ops: int  # of these, and of earlier work on the model itself
    saved: tuple[Weights, ...]
    loaded: tuple[Weights, ...]  # those that the run had not saved itself by then

    @property
    def any(self) -> bool:
        """Whether the model took more than this run."""
        return bool(self.unknown or self.models or self.stated_ops)

    @property
    def missing(self) -> tuple[str, ...]:
        """Why the count of this run alone is a lower bound for the model."""
        return ("the model was made from others, and what they took is not in this record",) if self.any else ()


def ancestry_of(reading: Reading, declared: Declared) -> Ancestry:
    """What is known without other ledgers.

    Raises: LineageCycle: what is declared goes in a circle.
    """
    lineage = lineage_of([reading], declared)
    (name,) = [model.name for model in lineage.models.values() if model.runs]
    total = lineage.total(name)
    concerned = {name, *total.ancestors}
    return Ancestry(
        unknown=tuple(sorted(one.what for one in lineage.unknown if one.child in concerned)),
        models=total.ancestors,
        stated_ops=total.stated_ops,
        saved=tuple(one for one in reading.weights if one.event == "saved"),
        loaded=tuple(one.weights for one in foreign(reading)),
    )
