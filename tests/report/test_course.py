from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.operations import Amount, Bucket, Family, Operations
from auditor.report.course import course
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from auditor.report.view import View

Points = Sequence[tuple[int, int, int]]  # (first step, steps, operations)


def segment(points: Points, *, rank: int = 0, attempt: int = 0, role: str = "rank") -> Any:
    """As much of a segment's reading as a course looks at."""
    return SimpleNamespace(
        name=f"{role}-{rank}.{attempt}",
        genesis=SimpleNamespace(role=role, rank=rank, attempt=attempt),
        steps=sum(steps for _, steps, _ in points),
        points=[SimpleNamespace(first_step=first, steps=steps, operations=ops(n)) for first, steps, n in points],
    )


def ops(number: int) -> Operations:
    bucket = Bucket(Phase.FORWARD, Family.MATMUL, "float32", Purpose.PRE_TRAINING)
    return Operations({bucket: Amount(number)}, {})


def test_few_steps_have_a_bin_each() -> None:
    found = course([segment([(1, 1, 10), (2, 1, 30)])], 2)
    assert [(part.first_step, part.steps, part.total_ops) for part in found.bins] == [(1, 1, 10), (2, 1, 30)]
    assert found.reached == ((0, 0), (1, 10), (2, 40))


def test_an_interval_is_spread_over_its_steps_to_the_operation() -> None:
    found = course([segment([(1, 3, 100)])], 3)
    assert [part.total_ops for part in found.bins] == [33, 33, 34]


def test_intervals_in_which_no_step_ended_belong_to_the_step_that_ends_next() -> None:
    found = course([segment([(1, 0, 7), (1, 1, 3), (2, 0, 20), (2, 0, 20), (2, 1, 2)])], 2)
    assert [part.total_ops for part in found.bins] == [10, 42]
    assert found.reached == ((0, 0), (1, 10), (2, 52))
    assert found.outside_ops == 0


def test_what_comes_after_the_last_step_is_in_the_total_and_in_no_bin() -> None:
    found = course([segment([(1, 2, 20), (3, 0, 5)])], 2)
    assert [part.total_ops for part in found.bins] == [10, 10]
    assert found.reached == ((0, 0), (1, 10), (2, 25))
    assert found.outside_ops == 5


def test_attempts_follow_one_another_and_ranks_run_beside_one_another() -> None:
    first = segment([(1, 1, 10)], attempt=0)
    second = segment([(1, 1, 20)], attempt=1)
    other = segment([(1, 2, 2)], rank=1)
    found = course([second, other, first], 2)
    assert [part.total_ops for part in found.bins] == [11, 21]


def test_a_process_without_steps_stands_at_the_end() -> None:
    found = course([segment([(1, 2, 20)]), segment([(1, 0, 9)], role="process")], 2)
    assert found.reached[-1] == (2, 29)
    assert found.outside_ops == 9


def test_a_run_without_steps_is_one_point() -> None:
    found = course([segment([(1, 0, 9)])], 0)
    assert (found.bins, found.reached) == ((), ((0, 9),))


lanes = st.lists(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 10**27)), max_size=8), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(lanes)
def test_nothing_is_lost_and_nothing_is_counted_twice(parts: list[list[tuple[int, int]]]) -> None:
    segments = []
    for rank, intervals in enumerate(parts):
        first, points = 1, []
        for steps, number in intervals:
            points.append((first, steps, number))
            first += steps
        segments.append(segment(points, rank=rank))
    steps = max(part.steps for part in segments)
    found = course(segments, steps)
    total = sum(number for intervals in parts for _, number in intervals)
    assert found.reached[-1] == (steps, total)
    assert sum(part.total_ops for part in found.bins) + found.outside_ops == total
    assert sum(part.steps for part in found.bins) == steps
    amounts = [amount for _, amount in found.reached]
    assert amounts == sorted(amounts)


def test_a_real_ledger_ends_at_its_total(make_view: Callable[..., View]) -> None:
    view = make_view(ranks=2, written_ranks=2)
    assert view.course.reached[-1] == (view.run.steps, view.operations.total)
    assert len(view.course.bins) == 6
