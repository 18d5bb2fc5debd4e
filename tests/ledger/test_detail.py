"""What is kept of segments stays bounded, however many there are and however long, and adds up all the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from auditor.ledger.detail import FULL, detail_for
from auditor.ledger.notices import Sights
from auditor.operations import add_up
from auditor.records import Hardware
from auditor.report.course import course
from auditor.warning.pace import EXECUTED, observe


def test_few_segments_are_kept_in_full_and_of_very_many_a_little_of_each() -> None:
    assert detail_for(0) == detail_for(1) == detail_for(32) == FULL
    several = [detail_for(number) for number in (100, 1024, 16384)]
    assert all(one.points * number >= 1024 * 16 for one, number in zip(several, (100, 1024, 16384), strict=True))
    assert sorted(several, reverse=True) == several
    assert all(number % 2 == 0 for one in map(detail_for, range(1, 5000, 7)) for number in one)


@pytest.fixture
def thinned(run, monkeypatch):
    """A run of three ranks that is read so that eight points are left of each."""
    monkeypatch.setattr("auditor.ledger.detail._POINTS_IN_ALL", 24)
    monkeypatch.setattr("auditor.ledger.detail._FEWEST_POINTS", 8)
    for rank in range(3):
        run.segment(50 + rank, rank=rank, expected_ranks=3, size=4 + rank)
    return run


def test_what_is_left_of_a_curve_adds_up_exactly(thinned) -> None:
    reading = thinned.read()
    for segment in reading.segments:
        assert 4 < len(segment.points) <= 9
        assert add_up([(point.operations, 1) for point in segment.points]) == segment.operations
        assert sum(point.steps for point in segment.points) == segment.steps
        assert segment.points[-1].elapsed_us == segment.elapsed_us


def test_the_course_that_is_drawn_ends_at_the_whole_count(thinned, monkeypatch) -> None:
    coarse = thinned.read()
    drawn = course(coarse.segments, coarse.steps)
    monkeypatch.undo()
    fine = thinned.read()
    assert [segment.points for segment in fine.segments] != [segment.points for segment in coarse.segments]
    assert drawn.reached[-1] == course(fine.segments, fine.steps).reached[-1] == (156, fine.operations.total)
    assert coarse.operations == fine.operations
    assert coarse.verdict == fine.verdict


def test_the_pace_counts_all_of_it(thinned) -> None:
    pace = observe(thinned.read(), [])
    assert sum(pace.series[EXECUTED].low) + pace.series[EXECUTED].later == thinned.read().operations.total
    assert pace.until_us <= datetime.now(UTC).timestamp() * 1e6


def test_what_is_said_once_of_a_device_outlives_what_comes_often() -> None:
    sights = Sights(32)
    for event in ("declared", "attested", "measured"):
        for device in ("GPU-1", "GPU-2"):
            sights.add(Hardware(event=event, device=device, values={}))
    for number in range(500):
        sights.add(Hardware(event="coverage", device="GPU-1", values={"step": str(number)}))
        sights.add(Hardware(event="observed", device="GPU-2", values={"energy_mj": str(number)}))
    kept = sights.all()
    assert len(kept) <= 32
    assert [one.event for one in kept[:6]] == ["declared"] * 2 + ["attested"] * 2 + ["measured"] * 2
    assert [one.values for one in kept[-2:]] == [{"step": "499"}, {"energy_mj": "499"}]


def test_of_many_looks_few_are_kept_and_the_last_is() -> None:
    sights = Sights(32)
    sights.add(Hardware(event="declared", device="GPU-1", values={"name": "a"}))
    for number in range(1000):
        sights.add(Hardware(event="observed", device="GPU-1", values={"energy_mj": str(number)}))
    kept = sights.all()
    assert 8 <= len(kept) <= 32
    assert kept[0].event == "declared"
    assert kept[-1].values == {"energy_mj": "999"}
