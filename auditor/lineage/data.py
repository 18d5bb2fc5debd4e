"""Which of a generator's recorded operations made training data for the model that is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.operations import Operations, add_up
from auditor.relations import Relation
from auditor.rules.ancestors import Generated
from auditor.rules.counting import GENERATING
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from auditor.lineage.graph import Edge, Model, Run
    from auditor.operations import Bucket

_MAKES_DATA = (Relation.DATA_GENERATOR, Relation.TEACHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRuns:
    """What somebody says of runs of generators, by their ids."""

    generating: frozenset[str] = frozenset()  # they made data for the judged model
    training: frozenset[str] = frozenset()  # they trained a generator of it

    def __contains__(self, run_id: str) -> bool:
        """Whether anything is said of the run."""
        return run_id in self.generating or run_id in self.training


NOBODY = DataRuns()


def generated_by(
    model: Model,
    edges: Sequence[Edge],
    judged: str,
    data: DataRuns,
    ledgers: Callable[[Iterable[str]], tuple[str, ...]],
) -> Generated | None:
    """What the runs of a model show of making data for the judged one; None where they show nothing, or not for whom.

    Where runs are named for that, they alone made it. Else what all its runs have under the purpose synthetic-data is
    for the judged model, unless the model is known to have made data for others.
    """
    named = [run for run in model.runs.values() if run.id in data.generating]
    if named:
        return _generated(named, ledgers, stated=True)
    children = {edge.child for edge in edges if edge.relation in _MAKES_DATA}
    runs = [run for run in model.runs.values() if run.id not in data.training and _makes_any(run)]
    return _generated(runs, ledgers, stated=False) if runs and children <= {judged} else None


def shows_training(run: Run) -> bool:
    """Whether anything else than inference is recorded of it."""
    return any(bucket.phase is not Phase.INFERENCE for bucket, _ in run.operations)


def _makes_any(run: Run) -> bool:
    return any(_makes(bucket, stated=False) for bucket, _ in run.operations)


def _generated(runs: Sequence[Run], ledgers: Callable[[Iterable[str]], tuple[str, ...]], *, stated: bool) -> Generated:
    return Generated(
        operations=add_up([(_making(run.operations, stated=stated), 1) for run in runs]),
        abandoned=add_up([(_making(run.abandoned, stated=stated), 1) for run in runs]),
        missing=tuple(sorted({reason for run in runs for reason in run.missing})),
        ledgers=ledgers([run.id for run in runs]),
        stated=stated,
    )


def _making(operations: Operations, *, stated: bool) -> Operations:
    return Operations({bucket: amount for bucket, amount in operations if _makes(bucket, stated=stated)}, {})


def _makes(bucket: Bucket, *, stated: bool) -> bool:
    """Whether such operations make data: by their purpose, or as all inference of a run that somebody says made it."""
    if bucket.purpose is Purpose.SYNTHETIC_DATA:
        return bucket.phase in GENERATING
    return stated and bucket.phase is Phase.INFERENCE and bucket.purpose is not Purpose.EVALUATION
