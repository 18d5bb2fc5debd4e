"""Several processes on one device: late is only what is late in the best order that the device can choose."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from auditor.hardware.bound import RUN_AHEAD_S
from auditor.hardware.sharing import Work, hold


def work(since: int, until: int, **needed: int) -> Work:
    return Work(Decimal(since), Decimal(until), {unit: Decimal(seconds) for unit, seconds in needed.items()})


def test_what_two_processes_need_at_the_same_time_is_late() -> None:
    shared = hold("GPU-1", {"a": [work(0, 100, matrix=90)], "b": [work(0, 100, matrix=90)]})
    assert (shared.took_s, shared.needed_s, shared.late_s, shared.allowed_s) == (100, 180, 80, 2 * RUN_AHEAD_S)
    assert shared.exceeded
    assert shared.segments == ("a", "b")


def test_one_after_another_each_has_its_own_time() -> None:
    shared = hold("GPU-1", {"a": [work(0, 100, matrix=90)], "b": [work(500, 600, matrix=90)]})
    assert (shared.took_s, shared.late_s, shared.exceeded) == (200, 0, False)


def test_time_in_which_a_process_rests_is_the_others() -> None:
    # The long interval's work may all be done after the short ones; spread evenly, it would be late.
    shared = hold("GPU-1", {"a": [work(0, 100, matrix=40)], "b": [work(0, 60, matrix=60)]})
    assert (shared.late_s, shared.exceeded) == (0, False)


def test_what_was_not_launched_yet_cannot_be_done_before() -> None:
    shared = hold("GPU-1", {"a": [work(0, 50)], "b": [work(0, 50), work(50, 60, matrix=45)]})
    assert (shared.took_s, shared.late_s, shared.exceeded) == (60, 35, True)


def test_units_work_at_the_same_time() -> None:
    shared = hold("GPU-1", {"a": [work(0, 100, matrix=90)], "b": [work(0, 100, vector=90)]})
    assert (shared.needed_s, shared.late_s) == (90, 0)


def test_each_process_may_have_left_a_queue() -> None:
    left = {name: [work(0, 100, matrix=59)] for name in "ab"}
    assert not hold("GPU-1", left).exceeded
    assert hold("GPU-1", left | {"c": [work(0, 100, matrix=13)]}).exceeded
    assert not hold("GPU-1", left | {"c": [work(0, 100, matrix=12)]}).exceeded


def test_a_moment_is_no_time_for_seconds() -> None:
    shared = hold("GPU-1", {"a": [Work(Decimal(0), Decimal("0.001"), {"matrix": Decimal(2)})], "b": []})
    assert shared.exceeded


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 30)), min_size=1, max_size=12))
def test_lateness_is_that_of_the_fullest_window(jobs: list[tuple[int, int, int]]) -> None:
    """The theorem on which it rests: the best order is late by what the fullest span of time has too much."""
    each = [work(since, since + took, matrix=needed) for since, took, needed in jobs]
    windows = [(one.since_s, other.until_s) for one in each for other in each]
    too_much = [
        sum(one.needed_s["matrix"] for one in each if one.since_s >= since and one.until_s <= until) - (until - since)
        for since, until in windows
        if since <= until
    ]
    assert hold("GPU-1", {"a": each}).late_s == max(0, *too_much)
