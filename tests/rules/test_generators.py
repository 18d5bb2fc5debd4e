"""Technical Note 3: what of generated data counts, at and around a tenth of the training, in both readings."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.operations import Amount, Bucket, Family, Operations
from auditor.rules import pack
from auditor.rules.generators import Generator
from auditor.rules.totals import Total, total
from auditor.rules.verdict import evaluate
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable

    RunOf = Callable[..., Operations]

SHIPPED = pack.load()
COUNTER = SHIPPED.counters["us_4e091"]
TRAINING = 1000


def made_by(name: str = "g", **fields: object) -> Generator:
    plain = {"published": False, "trained_on_ops": 101, "generation_ops": 20, "training_ops": 5000}
    return Generator(name=name, **{**plain, **fields})  # type: ignore[arg-type]


def told(run_of: RunOf, *generators: Generator, **more: object) -> Total:
    run = run_of({("backward", "pre-training"): TRAINING, **more.pop("run", {})}, more.pop("unpriced", None))  # type: ignore[dict-item]
    return total(COUNTER, run, answers={}, generators=generators, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("generator", "low", "most"),
    [
        (made_by(trained_on_ops=100), 1000, 1000),  # exactly a tenth is not more
        (made_by(), 6020, 6020),
        (made_by(published=True), 1020, 1020),
        (made_by(published=None), 1020, 6020),
        (made_by(training_ops=None), 1020, None),
        (made_by(generation_ops=None), 6000, None),
        (made_by(trained_on_ops=None), 1000, 6020),
        (made_by(trained_on_ops=None, training_ops=None), 1000, None),
        (made_by(trained_on_ops=100, training_ops=None), 1000, 1000),
    ],
)
def test_one_generator(run_of: RunOf, generator: Generator, low: int, most: int | None) -> None:
    found = told(run_of, generator)
    assert (found.counted_ops, found.most_ops) == (low, most)


def test_of_several_closed_generators_the_one_with_most_training_counts(run_of: RunOf) -> None:
    found = told(run_of, made_by("a", training_ops=700), made_by("b", training_ops=900))
    assert (found.counted_ops, found.most_ops) == (1000 + 20 + 20 + 900, 1940)


def test_where_only_all_together_pass_the_share_both_readings_are_told(run_of: RunOf) -> None:
    found = told(
        run_of,
        made_by("a", trained_on_ops=60, training_ops=700),
        made_by("b", trained_on_ops=60, training_ops=900),
    )
    assert (found.counted_ops, found.most_ops) == (1000, 1900)
    assert any("each must pass the share, or all together" in reason for reason in found.reasons)


def test_one_passes_and_together_a_larger_one_would_count(run_of: RunOf) -> None:
    found = told(
        run_of,
        made_by("a", trained_on_ops=101, training_ops=700),
        made_by("b", trained_on_ops=60, training_ops=900),
    )
    assert (found.counted_ops, found.most_ops) == (1000 + 20 + 700, 1000 + 20 + 900)


RECORDED = {("inference", "synthetic-data"): 30, ("backward", "synthetic-data"): 400}


@pytest.mark.parametrize(
    ("generators", "counted", "left_out", "undetermined"),
    [
        (None, 1000, 0, 430),
        ((), 1000, 430, 0),
        ((made_by(in_record=True, generation_ops=None, training_ops=None),), 1430, 0, 0),
        ((made_by(in_record=True, generation_ops=None, training_ops=600),), 1000 + 30 + 1000, 0, 0),
        ((made_by(in_record=True, generation_ops=None, training_ops=None, published=True),), 1030, 400, 0),
        ((made_by(in_record=True, generation_ops=None, training_ops=None, trained_on_ops=100),), 1000, 430, 0),
        ((made_by(published=True),), 1020, 0, 430),  # nobody says whose data the record made
    ],
)
def test_what_the_record_itself_generated(
    run_of: RunOf, generators: tuple[Generator, ...] | None, counted: int, left_out: int, undetermined: int
) -> None:
    run = run_of({("backward", "pre-training"): TRAINING, **RECORDED})
    found = total(COUNTER, run, answers={}, generators=generators)
    assert (found.counted_ops, found.left_out_ops, found.undetermined_ops) == (counted, left_out, undetermined)


@pytest.mark.parametrize(("updates", "passes"), [(111, False), (112, True)])
def test_rollouts_count_where_the_updates_on_them_pass_the_share(run_of: RunOf, updates: int, passes: bool) -> None:
    """111 of 1111 is less than a tenth, 112 of 1112 more: the model itself is the generator."""
    run = run_of(
        {
            ("backward", "pre-training"): TRAINING,
            ("backward", "reinforcement-learning"): updates,
            ("inference", "reinforcement-learning"): 7,
        }
    )
    found = total(COUNTER, run, answers={})
    rollouts = (7, 0) if passes else (0, 7)
    assert (found.counted_ops - TRAINING - updates, found.left_out_ops) == rollouts
    assert found.undetermined_ops == 0
    assert any("rollouts" in reason and "inferred" in reason for reason in found.reasons)


def test_a_floor_keeps_a_passing_share_open(run_of: RunOf) -> None:
    found = told(run_of, made_by(), lower_bound=True)
    assert found.most_ops is None
    assert found.counted_ops == 1000  # with more training the share might not pass
    small = told(run_of, made_by(trained_on_ops=100), lower_bound=True)
    assert small.undetermined_ops == 0  # with more training it passes even less


def test_the_verdict_takes_a_closed_generators_training_in(run_of: RunOf) -> None:
    run = run_of(5 * 10**25)
    generator = made_by(trained_on_ops=6 * 10**24, generation_ops=10**24, training_ops=5 * 10**25)

    def verdict(*generators: Generator) -> str:
        found = evaluate(SHIPPED, run, as_of=date(2026, 11, 22), generators=generators)
        return next(one.verdict for one in found if one.id == "us_ear_4e091_2025")

    assert verdict() == "not reached"
    assert verdict(generator) == "reached"
    open_share = made_by(trained_on_ops=None, generation_ops=10**24, training_ops=5 * 10**25)
    assert verdict(open_share) == "undetermined"


amounts = st.one_of(st.none(), st.integers(0, 300))
generators = st.lists(
    st.builds(
        Generator,
        name=st.uuids().map(str),
        published=st.sampled_from([True, False, None]),
        trained_on_ops=amounts,
        generation_ops=amounts,
        training_ops=amounts,
    ),
    max_size=3,
)


@given(given=generators, data=st.data())
def test_learning_about_a_generator_never_leaves_the_range(given: list[Generator], data: st.DataObject) -> None:
    """What is certain only grows, and what is possible only shrinks, when something open is answered."""
    run = Operations({Bucket(Phase.BACKWARD, Family.MATMUL, "bfloat16", Purpose.PRE_TRAINING): Amount(TRAINING)}, {})
    learned = [
        Generator(
            name=one.name,
            published=one.published if one.published is not None else data.draw(st.booleans()),
            trained_on_ops=_learn(data, one.trained_on_ops),
            generation_ops=_learn(data, one.generation_ops),
            training_ops=_learn(data, one.training_ops),
        )
        for one in given
    ]
    before = total(COUNTER, run, answers={}, generators=given)
    after = total(COUNTER, run, answers={}, generators=learned)
    assert before.counted_ops <= after.counted_ops
    assert after.most_ops is not None
    assert before.most_ops is None or after.most_ops <= before.most_ops


def _learn(data: st.DataObject, known: int | None) -> int:
    return data.draw(st.integers(0, 300)) if known is None else known
