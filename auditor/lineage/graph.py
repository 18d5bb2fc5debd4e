"""Who descends from whom, and what it took: models with their runs, edges, and totals in which each counts once.

All of it is a set: in whatever order runs, amounts and edges come, and however often, the graph is the same. A parent
that is reached by two paths is counted once; what is not known of an ancestor makes the total a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from auditor.errors import LineageCycle
from auditor.operations import Operations, add_up
from auditor.relations import Relation


class Proof(StrEnum):
    """How an edge is known."""

    PROVEN = "proven"  # a ledger records the loading of weights with a digest that another records as saved
    DECLARED = "declared"  # somebody says so


class Part(NamedTuple):
    """One segment of a run: so many records, and what they come to."""

    records: int
    operations: Operations
    abandoned: Operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recorded run, by its segments' nonces; ``missing``: why it may have done more than is recorded."""

    id: str
    parts: Mapping[str, Part]
    missing: frozenset[str]

    @property
    def operations(self) -> Operations:
        """All that is recorded of it."""
        return add_up([(part.operations, 1) for part in self.parts.values()])

    @property
    def abandoned(self) -> Operations:
        """The part of that which was given up when it went on from an earlier state."""
        return add_up([(part.abandoned, 1) for part in self.parts.values()])

    def joined(self, other: Run) -> Run:
        """The same run from two ledgers: each segment once, as the longer record has it."""
        parts = {
            nonce: max(
                (run.parts[nonce] for run in (self, other) if nonce in run.parts),
                key=lambda part: (part.records, part.operations.total, part.abandoned.total),
            )
            for nonce in self.parts.keys() | other.parts.keys()
        }
        return Run(id=self.id, parts=parts, missing=self.missing | other.missing)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Spent:
    """Operations on a model of which there is no record, as somebody states them."""

    operations: int
    source: str
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Edge:
    """``child`` was made from ``parent``. ``why``: the weights that prove it, or the source of the statement."""

    child: str
    parent: str
    relation: Relation
    proof: Proof
    why: str
    certainty: str  # of a statement; "" where it is proven


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Unknown:
    """A parent of ``child`` of which nothing is known, in words."""

    child: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What was spent on a model itself, without its ancestors."""

    name: str
    runs: Mapping[str, Run]
    spent: frozenset[Spent]

    @property
    def known(self) -> bool:
        """Whether anything is known of what it took."""
        return bool(self.runs or self.spent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Models and what connects them."""

    models: Mapping[str, Model]
    edges: frozenset[Edge]
    unknown: frozenset[Unknown]

    @classmethod
    def of(
        cls,
        *,
        runs: Iterable[tuple[str, Run]] = (),
        spent: Iterable[tuple[str, Spent]] = (),
        edges: Iterable[Edge] = (),
        unknown: Iterable[Unknown] = (),
        names: Iterable[str] = (),
    ) -> Lineage:
        """The lineage of these runs and amounts, each with its model's name. ``names``: further models.

        Raises: LineageCycle: a model is its own ancestor.
        """
        edges = _without_loops(edges)
        unknown = frozenset(unknown)
        by_model: dict[str, dict[str, Run]] = {}
        for name, run in runs:
            known = by_model.setdefault(name, {})
            known[run.id] = known[run.id].joined(run) if run.id in known else run
        amounts: dict[str, set[Spent]] = {}
        for name, amount in spent:
            amounts.setdefault(name, set()).add(amount)
        every = {*by_model, *amounts, *names, *(one.child for one in unknown)}
        every |= {end for edge in edges for end in (edge.child, edge.parent)}
        models = {
            name: Model(name=name, runs=by_model.get(name, {}), spent=frozenset(amounts.get(name, ())))
            for name in sorted(every)
        }
        lineage = cls(models=models, edges=edges, unknown=unknown)
        lineage._refuse_cycles()
        return lineage

    def parents(self, relations: Iterable[Relation] = Relation) -> dict[str, set[str]]:
        """The parents of each model, by these relations."""
        wanted = set(relations)
        found: dict[str, set[str]] = {name: set() for name in self.models}
        for edge in self.edges:
            if edge.relation in wanted:
                found[edge.child].add(edge.parent)
        return found

    def ancestors(self, name: str, relations: Iterable[Relation] = Relation) -> tuple[str, ...]:
        """Every model that this one descends from, once each, by name."""
        parents = self.parents(relations)
        found: set[str] = set()
        waiting = [name]
        while waiting:
            new = parents[waiting.pop()] - found
            found |= new
            waiting += new
        return tuple(sorted(found))

    def total(self, name: str, relations: Iterable[Relation] = Relation) -> Total:
        """What the model and all its ancestors took together, by these relations."""
        relations = tuple(relations)
        ancestors = self.ancestors(name, relations)
        counted = [self.models[one] for one in (name, *ancestors)]
        missing = {one.what for one in self.unknown if one.child in (name, *ancestors)}
        missing |= {f"nothing is known of what {model.name} took" for model in counted if not model.known}
        missing |= {reason for model in counted for run in model.runs.values() for reason in run.missing}
        runs = [run for model in counted for run in model.runs.values()]
        return Total(
            model=name,
            ancestors=ancestors,
            own=add_up([(run.operations, 1) for run in self.models[name].runs.values()]),
            recorded=add_up([(run.operations, 1) for run in runs]),
            abandoned=add_up([(run.abandoned, 1) for run in runs]),
            stated_ops=sum(amount.operations for model in counted for amount in model.spent),
            own_stated_ops=sum(amount.operations for amount in self.models[name].spent),
            missing=tuple(sorted(missing)),
        )

    def _refuse_cycles(self) -> None:
        parents = self.parents()
        done: set[str] = set()
        for start in sorted(parents):
            path: list[str] = []
            waiting = [(start, 0)]
            while waiting:
                name, depth = waiting.pop()
                del path[depth:]
                if name in path:
                    raise LineageCycle(f"the lineage goes in a circle: {_circle(path[path.index(name) :])}")
                path.append(name)
                if name not in done:
                    done.add(name)
                    waiting += [(parent, depth + 1) for parent in sorted(parents[name])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What a model took over its ancestry; a lower bound where anything is missing."""

    model: str
    ancestors: tuple[str, ...]
    own: Operations  # recorded, of the model's own runs
    recorded: Operations  # of its own runs and its ancestors'
    abandoned: Operations  # the part of that which was given up
    stated_ops: int  # beside that, as somebody says, of all of them
    own_stated_ops: int
    missing: tuple[str, ...]

    @property
    def operations(self) -> int:
        """Recorded and stated together."""
        return self.recorded.total + self.stated_ops

    @property
    def own_operations(self) -> int:
        """Without its ancestors."""
        return self.own.total + self.own_stated_ops

    @property
    def lower_bound(self) -> bool:
        """Whether it may be more."""
        return bool(self.missing or not self.recorded.complete)


def _circle(names: Sequence[str]) -> str:
    """The circle from its first name in the alphabet on, so that it is told the same way whoever finds it."""
    first = names.index(min(names))
    turned = [*names[first:], *names[:first]]
    pairs = zip(turned, [*turned[1:], turned[0]], strict=True)
    return ", ".join(f"{child} is made from {parent}" for child, parent in pairs)


def _without_loops(edges: Iterable[Edge]) -> frozenset[Edge]:
    """Each pair once: a proven edge is told as such, and as what somebody declares it to be."""
    pairs: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        if edge.child != edge.parent:
            pairs.setdefault((edge.child, edge.parent), []).append(edge)
    return frozenset(edge for several in pairs.values() for edge in _told(several))


def _told(edges: Sequence[Edge]) -> Iterable[Edge]:
    declared = {edge for edge in edges if edge.proof is Proof.DECLARED}
    proven = sorted(edge for edge in edges if edge.proof is Proof.PROVEN)
    if not proven:
        return declared
    first = proven[0]
    relations = {edge.relation for edge in declared} or {edge.relation for edge in proven}
    return [
        Edge(
            child=first.child,
            parent=first.parent,
            relation=relation,
            proof=Proof.PROVEN,
            why=first.why,
            certainty="",
        )
        for relation in relations
    ]
