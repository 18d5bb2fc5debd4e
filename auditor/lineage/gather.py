"""Nodes and edges from ledgers: a run that loaded weights with a digest that another run saved is its child."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger.findings import Verdict
from auditor.lineage.declared import NOTHING, Declared
from auditor.lineage.graph import Edge, Lineage, Part, Proof, Run, Unknown
from auditor.relations import Relation

if TYPE_CHECKING:
    from auditor.ledger.reading import Reading
    from auditor.records import Weights

_WHOLE = (Verdict.SUMMED, Verdict.UNANCHORED, Verdict.WITNESSED)
_SHOWN = 12  # digits of a digest that are told


class Loaded(NamedTuple):
    """Weights that a run loaded and had not saved before."""

    weights: Weights
    run_id: str

    @property
    def told(self) -> str:
        """Which weights, in words."""
        digest = f"SHA-256 {self.weights.digest[:_SHOWN]}…" if self.weights.digest else self.weights.missed
        return f"{self.weights.name} ({digest})"


def lineage_of(readings: Iterable[Reading], declared: Declared = NOTHING) -> Lineage:
    """The lineage of the models of these ledgers and of what is declared; the order of the ledgers is of no account.

    Raises: LineageCycle: a model is its own ancestor.
    """
    readings = list(readings)
    models = {reading.run_id: model_of(reading, declared) for reading in _sorted(readings)}
    savers = _savers(readings)
    edges: list[Edge] = list(declared.edges)
    unknown: list[Unknown] = []
    for reading in readings:
        child = models[reading.run_id]
        for loaded in foreign(reading):
            found = list(_edges(child, loaded, models, savers, declared))
            edges += found
            if not found and not _is_data(loaded.weights, declared):
                unknown.append(
                    Unknown(child=child, what=f"{child} was made from {loaded.told}, which no known run saved")
                )
        unknown += [Unknown(child=child, what=what) for what in _gaps(reading, child)]
        unknown += [Unknown(child=child, what=what) for what in _states(reading, child, models)]
    return Lineage.of(
        runs=[(models[reading.run_id], _run(reading)) for reading in readings],
        spent=declared.spent,
        edges=edges,
        unknown=unknown,
        names=declared.names,
    )


def model_of(reading: Reading, declared: Declared = NOTHING) -> str:
    """The model's name as somebody declares it, else as the run has it; a run that names none is a model by itself."""
    return declared.runs.get(reading.run_id) or reading.model or f"run {reading.run_id}"


def foreign(reading: Reading) -> list[Loaded]:
    """The weights that a run loaded and had not saved itself by then, each once."""
    saved: dict[int, set[str]] = {}
    for segment in reading.segments:
        known = saved.setdefault(segment.genesis.attempt, set())
        known.update(digest for one in segment.weights if one.event == "saved" for digest in digests_of(one))
    found: dict[tuple[str, ...], Loaded] = {}
    for segment in reading.segments:
        attempt = segment.genesis.attempt
        before = {digest for other, known in saved.items() if other < attempt for digest in known}
        for one in _loaded_foreign(segment.weights, before):
            found.setdefault((one.digest, one.name, one.missed), Loaded(one, reading.run_id))
    return [found[key] for key in sorted(found)]


def _loaded_foreign(weights: Sequence[Weights], before: set[str]) -> Iterator[Weights]:
    """In the order of a segment: what it loaded before it saved the same."""
    own = set(before)
    for one in weights:
        if one.event == "saved":
            own |= digests_of(one)
        elif not _is_known(one, own):
            yield one


def digests_of(weights: Weights) -> frozenset[str]:
    """All by which a checkpoint is known: of the set, of its tensors, of each file."""
    return frozenset(filter(None, (weights.digest, weights.tensors, *(file[0] for file in weights.files))))


def _is_known(loaded: Weights, known: set[str] | Mapping[str, object]) -> bool:
    """Whether the whole of it is among these: as a set, by its tensors, or each of its files."""
    files = [sha256 for sha256, _, _ in loaded.files]
    return loaded.digest in known or loaded.tensors in known or (bool(files) and all(one in known for one in files))


def _savers(readings: Iterable[Reading]) -> dict[str, set[str]]:
    """The runs that saved weights, by digest."""
    savers: dict[str, set[str]] = {}
    for reading in readings:
        for one in reading.weights:
            if one.event == "saved":
                for digest in digests_of(one):
                    savers.setdefault(digest, set()).add(reading.run_id)
    return savers


def _edges(
    child: str, loaded: Loaded, models: Mapping[str, str], savers: Mapping[str, set[str]], declared: Declared
) -> Iterator[Edge]:
    """To the models whose runs saved these weights, or whose weights somebody says that they are."""
    weights = loaded.weights
    if _is_known(weights, savers):
        runs = {run for digest in digests_of(weights) for run in savers.get(digest, ())} - {loaded.run_id}
        for parent in sorted({models[run] for run in runs} or {child}):
            yield _edge(child, parent, Proof.PROVEN, f"it loaded {loaded.told}, which {parent} saved", "")
    if _is_known(weights, declared.weights):
        named = {declared.weights[digest] for digest in digests_of(weights) if digest in declared.weights}
        for parent in sorted(named):
            yield _edge(child, parent, Proof.DECLARED, f"it loaded {loaded.told}, declared to be {parent}'s", "primary")


def _edge(child: str, parent: str, proof: Proof, why: str, certainty: str) -> Edge:
    return Edge(child=child, parent=parent, relation=Relation.BASE_MODEL, proof=proof, why=why, certainty=certainty)


def _is_data(weights: Weights, declared: Declared) -> bool:
    return any(one.covers(digests_of(weights), weights.name) for one in declared.not_weights)


def _gaps(reading: Reading, child: str) -> Iterator[str]:
    """What of its checkpoints the auditor says that it did not see; a load without a digest is told as that."""
    missed = {f"{one.name} was {one.event} and has no digest: {one.missed}" for one in reading.weights if one.missed}
    for gap in reading.gaps:
        if gap.cause == "weights" and gap.message not in missed:
            yield f"{child} may have been made from more than is recorded: {gap.message}"


def _states(reading: Reading, child: str, models: Mapping[str, str]) -> Iterator[str]:
    """Runs that it went on from, by the state in a checkpoint, of which there is no ledger here."""
    for segment in reading.segments:
        for resumed in segment.resumed:
            run = resumed.body.run_id
            if run != reading.run_id and run not in models:
                yield f"{child} went on from a state of the run {run}, whose ledger is not here"


def _run(reading: Reading) -> Run:
    missing = set()
    if reading.verdict not in _WHOLE:
        missing.add(f"the ledger of the run {reading.run_id} is {reading.verdict}")
    if not reading.operations.complete:
        missing.add(f"operators of the run {reading.run_id} have no price")
    return Run(
        id=reading.run_id,
        parts={
            segment.genesis.nonce: Part(segment.records, segment.operations, segment.abandoned)
            for segment in reading.segments
        },
        missing=frozenset(missing),
    )


def _sorted(readings: Iterable[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda reading: (reading.run_id, model_of(reading)))
