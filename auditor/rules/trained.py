"""Ancestors under a counter: what they come to together, and what generators' own records show of their training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.operations import Operations, add_up
from auditor.rules.counting import count
from auditor.rules.generators import Generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.rules.ancestors import Ancestor, Selected, Trained
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
    """The generator with what its records show of its training; more that is stated stands where they are a floor."""
    already = [one for one in trained.models if one in counting]
    whole, shared = (with_ancestors(counter, Operations.none(), None, models) for models in (trained.models, already))
    training_ops = whole.counted_ops + sum(one.stated_ops for one in trained.models)
    floor = trained.floor or whole.earlier_missing or bool(whole.undetermined_ops)
    enough = floor and (generator.training_ops or 0) > training_ops
    return replace(
        generator,
        training_ops=generator.training_ops if enough else training_ops,
        counted_ops=shared.counted_ops + sum(one.stated_ops for one in already),
        floor=floor and not enough,
    )
