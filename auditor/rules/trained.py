"""Ancestors under a counter: what they come to together, and what generators' own records show of their training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.operations import Operations, add_up
from auditor.rules.counting import count
from auditor.rules.generators import Generator
from auditor.tally import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.rules.ancestors import Ancestor, Generated, Selected, Trained
    from auditor.rules.counter import Counter
    from auditor.rules.counting import Count


def with_ancestors(
    counter: Counter, operations: Operations, abandoned: Operations | None, ancestors: Sequence[Ancestor]
) -> Count:
    """The record and these ancestors under the counter, together."""
    every = add_up([(operations, 1), *((one.operations, 1) for one in ancestors)])
    given_up = add_up([(abandoned or Operations.none(), 1), *((one.abandoned, 1) for one in ancestors)])
    return count(counter, every, given_up)


def known_generators(
    counter: Counter, selected: Selected, generators: Sequence[Generator] | None, counting: Sequence[Ancestor]
) -> Sequence[Generator] | None:
    """The generators that somebody names, with what their own records show, and those that the lineage has beside.

    ``counting``: the ancestors that count already.
    """
    trained = {one.name: one for one in selected.generators}
    if generators is None and not trained:
        return None
    stated = {one.name: one for one in generators or ()}
    unsaid = {name: Generator.unknown(name) for name in trained if name not in stated}
    return [
        _recorded(counter, counting, one, trained[one.name]) if one.name in trained else one
        for one in (*stated.values(), *unsaid.values())
    ]


def _recorded(counter: Counter, counting: Sequence[Ancestor], generator: Generator, trained: Trained) -> Generator:
    """The generator with what its records show of its training, and of making the data.

    More that is stated stands: others may not be given. A generator was trained: records without training are a floor.
    """
    already = [one for one in trained.models if one in counting]
    whole, shared = (with_ancestors(counter, Operations.none(), None, models) for models in (trained.models, already))
    training_ops = whole.counted_ops + sum(one.stated_ops for one in trained.models)
    floor = trained.floor or whole.earlier_missing or bool(whole.undetermined_ops) or not training_ops
    enough = (generator.training_ops or 0) > training_ops
    known = replace(
        generator,
        training_ops=generator.training_ops if enough else training_ops,
        counted_ops=shared.counted_ops + sum(one.stated_ops for one in already),
        floor=floor and not enough,
    )
    if trained.ledgers and not enough:
        known = known.told(training_ops=_words(trained.ledgers, floor=floor))
    return known if trained.generated is None else _with_generated(counter, known, trained.generated)


def _with_generated(counter: Counter, generator: Generator, generated: Generated) -> Generator:
    """The generator with what its records show of making the data; more that is stated stands."""
    operations, abandoned = map(_as_data, (generated.operations, generated.abandoned))
    generation_ops, floor = count(counter, operations, abandoned).generation_ops, bool(generated.missing)
    if (generator.generation_ops or 0) > generation_ops:
        return generator
    words = _words(generated.ledgers, floor=floor)
    if not generated.stated:
        words += "; what they have under the purpose synthetic-data, taken to be for this model (inferred)"
    return replace(generator, generation_ops=generation_ops, generation_floor=floor).told(generation_ops=words)


def _as_data(operations: Operations) -> Operations:
    """The same operations under the purpose synthetic-data."""
    moved = ((bucket._replace(purpose=Purpose.SYNTHETIC_DATA), amount) for bucket, amount in operations)
    return add_up([(Operations({bucket: amount}, {}), 1) for bucket, amount in moved])


def _words(ledgers: Sequence[str], *, floor: bool) -> str:
    several = "ledger" if len(ledgers) == 1 else "ledgers"
    return f"the {several} {', '.join(ledgers)}" + ("; a floor, as more may have been spent" if floor else "")
