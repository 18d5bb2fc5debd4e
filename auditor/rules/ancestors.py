"""Which of a model's ancestors a law counts: the record says how it descends from them, the counter what that means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

from auditor.operations import Operations
from auditor.relations import Relation
from auditor.rules.certainty import Certainty
from auditor.rules.counter import Counter, Decided, Descent, Scope, Treatment

JUDGED = ""  # stands for the model that is judged, as a child


class Link(NamedTuple):
    """One way in which a model is an ancestor: of whom, and as what; None: it is that model itself, in other runs."""

    child: str
    relation: Relation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The part of a generator's recorded operations that made the training data."""

    operations: Operations
    abandoned: Operations
    missing: tuple[str, ...]  # why it may have taken more
    ledgers: tuple[str, ...]  # where it was read, in words
    stated: bool  # somebody says of these runs that they made it; else their purpose does


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A model that the judged one descends from, or its own other runs; each ancestor once, by whatever ways."""

    name: str
    links: frozenset[Link]
    operations: Operations
    abandoned: Operations
    stated_ops: int  # beside what is recorded
    missing: tuple[str, ...]  # why it may have taken more
    ledgers: tuple[str, ...] = ()  # where its training was read, in words
    generated: Generated | None = None  # of these operations, those that made data for the judged model

    @property
    def beside_data(self) -> Ancestor:
        """The same without the operations that made data, about which the law has a note of its own."""
        if self.generated is None:
            return self
        made = self.generated
        left, given_up = self.operations.without(made.operations), self.abandoned.without(made.abandoned)
        return replace(self, operations=left, abandoned=given_up)

    @property
    def itself(self) -> bool:
        """Whether it is the judged model, in other runs than the record."""
        return any(link.relation is None for link in self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A generator with those of its own ancestors that the law counts with it."""

    name: str
    models: tuple[Ancestor, ...]  # it and they; some may count already, as ancestors of the judged model
    floor: bool  # more may belong to its training than these

    @property
    def generated(self) -> Generated | None:
        """What the generator's own records show of making the data."""
        return next((one.generated for one in self.models if one.name == self.name), None)

    @property
    def ledgers(self) -> tuple[str, ...]:
        """Where its training was read."""
        return tuple(dict.fromkeys(ledger for one in self.models for ledger in one.ledgers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """Ancestors by what a counter does with them: ``generators`` count as the note on generated data decides."""

    counted: tuple[Ancestor, ...] = ()
    open: tuple[Ancestor, ...] = ()
    left_out: tuple[Ancestor, ...] = ()
    generators: tuple[Trained, ...] = ()


def select(counter: Counter, ancestors: Sequence[Ancestor], named: Iterable[str] = ()) -> Selected:
    """Each ancestor where the best of its ways leads; a way is as good as the worst link of it.

    A generator is told without what made the data, which stands beside it.

    ``ancestors``: all models there are; those without a way to the judged one are none, and may yet be generators that
    somebody has ``named``.
    """
    family = _Family(counter, ancestors)
    descended = family.reached({JUDGED}, _any)
    if counter.scope is Scope.RUN:
        return Selected(left_out=family.of(descended))
    counted = family.reached({JUDGED}, _counts)
    perhaps = family.reached(counted, lambda descent: _may_count(descent) and descent.decided_by is None)
    names = set(named) if counter.synthetic_data else set()
    generating = {one.name for one in ancestors if family.generates(one, counted) or one.name in names}
    behind = family.reached(generating, _may_count)
    family = _Family(counter, [one.beside_data if one.name in generating else one for one in ancestors])
    return Selected(
        counted=family.of(counted),
        open=family.of(perhaps - counted),
        left_out=family.of(descended - perhaps - behind),
        generators=tuple(family.trained(name) for name in sorted(generating)),
    )


def _any(_: Descent) -> bool:
    return True


def _counts(descent: Descent) -> bool:
    return descent.treatment is Treatment.COUNTED


def _may_count(descent: Descent) -> bool:
    return descent.treatment is not Treatment.LEFT_OUT


@dataclass(frozen=True, slots=True)
class _Family:
    """Ancestors as one counter sees them."""

    counter: Counter
    ancestors: Sequence[Ancestor]

    def of(self, names: AbstractSet[str]) -> tuple[Ancestor, ...]:
        """Those of these names, in their order."""
        return tuple(one for one in self.ancestors if one.name in names)

    def reached(self, start: AbstractSet[str], follows: Callable[[Descent], bool]) -> set[str]:
        """The names from which links that are followed lead to one of ``start``, these included."""
        found = set(start)
        while True:
            new = {one.name for one in self.ancestors if any(self._leads(link, found, follows) for link in one.links)}
            if new <= found:
                return found
            found |= new

    def _leads(self, link: Link, found: AbstractSet[str], follows: Callable[[Descent], bool]) -> bool:
        return link.child in found and follows(self.counter.of(link.relation))

    def generates(self, one: Ancestor, counted: AbstractSet[str]) -> bool:
        """Whether a model that counts was trained on what it made, under a law that has a note on that."""
        made = [link.relation for link in one.links if link.child in counted]
        return any(self.counter.of(relation).decided_by is Decided.GENERATORS for relation in made)

    def trained(self, name: str) -> Trained:
        """The generator of that name, with what its own training took."""
        models = self.of(self.reached({name}, _counts))
        more = self.reached({name}, _may_count) - {one.name for one in models}
        return Trained(name=name, models=models, floor=bool(more) or any(one.missing for one in models))


def descent_words(counter: Counter, selected: Selected) -> Iterator[str]:
    """What became of each ancestor under the law, and why."""
    for several, words, fits in (
        (selected.counted, "counts", _counts),
        (selected.open, "may count", _may_count),
        (selected.left_out, "does not count", _any),
    ):
        for one in several:
            if not one.itself:
                yield f"The training of {one.name} {words}: {_why(counter, one, fits)}"


def _why(counter: Counter, ancestor: Ancestor, fits: Callable[[Descent], bool]) -> str:
    """By the first of its relations that the law so treats; a law of one run has none."""
    if counter.scope is Scope.RUN:
        return "the law looks at one training run."
    relations = sorted({link.relation for link in ancestor.links if link.relation is not None})
    relation = next(relation for relation in relations if fits(counter.of(relation)))
    descent = counter.of(relation)
    sure = "" if descent.certainty is Certainty.PRIMARY else f" ({descent.certainty})"
    return f"{descent.why.rstrip('.')}{sure}."
