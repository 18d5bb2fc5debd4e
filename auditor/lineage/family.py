"""A record with all that is known of the model it is of: its other runs, and the models that it descends from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import LineageError
from auditor.lineage.data import NOBODY, DataRuns, generated_by, shows_training
from auditor.lineage.declared import NOTHING, Declared
from auditor.lineage.gather import lineage_of, model_of
from auditor.lineage.graph import Part
from auditor.operations import add_up
from auditor.rules.ancestors import JUDGED, Ancestor, Link

if TYPE_CHECKING:
    from auditor.ledger.reading import Reading
    from auditor.lineage.graph import Lineage, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The run that is judged, the others that are known, and how their models are related."""

    reading: Reading
    others: tuple[Reading, ...]
    lineage: Lineage
    model: str  # of the reading
    data: DataRuns = NOBODY

    @classmethod
    def of(
        cls,
        reading: Reading,
        others: Iterable[Reading] = (),
        declared: Declared = NOTHING,
        data: DataRuns = NOBODY,
    ) -> Family:
        """The family of a run. ``data``: what somebody says of the runs of generators.

        Raises: LineageCycle: a model is its own ancestor. LineageError: two ledgers of a run name different models.
        """
        others = tuple(others)
        _refuse_two_names((reading, *others), declared)
        return cls(
            reading=reading,
            others=others,
            lineage=lineage_of([reading, *others], declared),
            model=model_of(reading, declared),
            data=data,
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parents of the model itself of which nothing is known, in words."""
        return _unknown(self.lineage, self.model)

    @property
    def ancestors(self) -> tuple[Ancestor, ...]:
        """What there is beside the record, as the law takes it: the model's other runs, and every other model.

        Those without a way to the model are among them: somebody may name one as a generator of its data.
        """
        models = self.lineage.models
        others = (self._ancestor(models[name]) for name in models if name != self.model)
        return (*self._itself(models[self.model]), *others)

    def _itself(self, model: Model) -> Iterator[Ancestor]:
        """What is recorded of the model elsewhere, another node's part of the same run too, and what is stated."""
        here = {segment.genesis.nonce for segment in self.reading.segments}
        parts = [part for run in model.runs.values() for nonce, part in run.parts.items() if nonce not in here]
        parts += self._longer(model)
        stated_ops = sum(amount.operations for amount in model.spent)
        if parts or stated_ops:
            others = [run for run in model.runs.values() if run.id != self.reading.run_id]
            yield Ancestor(
                name=model.name,
                links=frozenset({Link(JUDGED, None)}),
                operations=add_up([(part.operations, 1) for part in parts]),
                abandoned=add_up([(part.abandoned, 1) for part in parts]),
                stated_ops=stated_ops,
                missing=tuple(sorted({reason for run in others for reason in run.missing})),
            )

    def _ancestor(self, model: Model) -> Ancestor:
        lineage = self.lineage
        parts = [part for run in model.runs.values() for part in run.parts.values()]
        missing = {reason for run in model.runs.values() for reason in run.missing} | set(_unknown(lineage, model.name))
        if not model.known:
            missing.add(f"nothing is known of what {model.name} took")
        edges = [edge for edge in lineage.edges if edge.parent == model.name]
        return Ancestor(
            name=model.name,
            links=frozenset(Link(JUDGED if edge.child == self.model else edge.child, edge.relation) for edge in edges),
            operations=add_up([(part.operations, 1) for part in parts]),
            abandoned=add_up([(part.abandoned, 1) for part in parts]),
            stated_ops=sum(amount.operations for amount in model.spent),
            missing=tuple(sorted(missing)),
            ledgers=self._ledgers(run.id for run in model.runs.values() if shows_training(run)),
            generated=generated_by(model, edges, self.model, self.data, self._ledgers),
        )

    def _ledgers(self, runs: Iterable[str]) -> tuple[str, ...]:
        """Where these runs were read, with what each ledger is worth."""
        wanted = set(runs)
        return tuple(sorted(_ledger_words(one) for one in self.others if one.run_id in wanted))

    def _longer(self, model: Model) -> Iterator[Part]:
        """What a longer copy of one of the record's own segments has beyond it."""
        known = model.runs[self.reading.run_id].parts
        for segment in self.reading.segments:
            part = known[segment.genesis.nonce]
            operations = part.operations.without(segment.operations)
            if part.records > segment.records and all(ops >= 0 for _, amount in operations for ops in amount):
                yield Part(part.records - segment.records, operations, part.abandoned.without(segment.abandoned))


def _ledger_words(reading: Reading) -> str:
    return f"{reading.directory} (run {reading.run_id}, {reading.verdict})"


def _refuse_two_names(readings: Iterable[Reading], declared: Declared) -> None:
    """A run is of one model: what is known of another name's parents would be lost."""
    names: dict[str, str] = {}
    for one in readings:
        name = model_of(one, declared)
        before = names.setdefault(one.run_id, name)
        if before != name:
            raise LineageError(
                f"the ledgers of the run {one.run_id} are of two models, {before!r} and {name!r}",
                remedy="Name the run under `runs` of its model in the lineage file.",
            )


def _unknown(lineage: Lineage, name: str) -> tuple[str, ...]:
    return tuple(sorted(one.what for one in lineage.unknown if one.child == name))
