"""Ranks that disagree in what they should agree in: it is said, with cause and remedy, and all of it adds up."""

from __future__ import annotations

import itertools

import pytest

from auditor.cli.main import main
from auditor.ledger import segment
from auditor.records import CLOCK_AHEAD

SEGMENT_OPS = 2 * 3 * 96 * 4  # intervals, steps, by hand: operations of a step


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by half a minute whenever it is looked at."""
    times = itertools.count(1_800_000_000_000_000, 30_000_000)
    monkeypatch.setattr(segment, "now_us", lambda: next(times))


def reasons(run, good: str, ranks: int) -> str:
    reading = run.read()
    assert str(reading.verdict) == good
    assert reading.operations.total == ranks * SEGMENT_OPS
    return "\n".join(reading.reasons)


def test_versions_of_the_auditor_and_of_the_formulas(run, good, capsys):
    run.segment(rank=0, expected_ranks=3)
    run.segment(rank=1, expected_ranks=3)
    run.segment(rank=2, expected_ranks=3, versions={"auditor": "0.0.9"}, digests={"formulas": "f" * 64})
    said = reasons(run, good, 3)
    assert "different versions of the auditor: 0.1.0 (ranks 0, 1); 0.0.9 (rank 2)" in said
    assert "different tables of formulas" in said
    assert "ffffffffffff (rank 2)" in said
    assert "Install one version for all ranks" in said
    for verb in ("verify", "report"):
        assert main([verb, str(run.directory)]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "different versions of the auditor: 0.1.0 (ranks 0, 1); 0.0.9 (rank 2)" in shown


def test_ranks_that_agree_are_not_spoken_of(run, good, ticking):
    for _ in range(2):
        for rank in range(3):
            run.segment(rank=rank, expected_ranks=3)
    said = reasons(run, good, 6)
    assert not any(word in said for word in ("versions", "clock", "at one time"))


def test_clocks_that_are_hours_apart(run, good):
    run.segment(rank=0, expected_ranks=3)
    run.segment(rank=1, expected_ranks=3, host={CLOCK_AHEAD: "7265"})
    run.segment(rank=2, expected_ranks=3, host={CLOCK_AHEAD: "-10800"})
    said = reasons(run, good, 3)
    assert "2:01:05 h ahead (rank 1); 3:00:00 h behind (rank 2)" in said
    assert "amounts and durations do not depend on it" in said
    run.segment(rank=2, expected_ranks=3, host={CLOCK_AHEAD: "about an hour"})  # whoever wrote that
    assert "(rank 2)" in reasons(run, good, 4)


@pytest.mark.parametrize(
    ("hosts", "cause"),
    [
        (({"job": "slurm-1-aa", "boot_id": "b"}, {"job": "slurm-2-bb", "boot_id": "b"}), "or one was started twice: "),
        (({"boot_id": "a"}, {"boot_id": "b"}), "or one was started twice, or their clocks are apart: "),
    ],
)
def test_two_processes_that_are_one_rank(run, good, ticking, hosts, cause):
    books = [run.book(host=host | {"pid": str(7 + at)}) for at, host in enumerate(hosts)]
    for number in range(2):
        for book in books:
            run.interval(book, number)
    for book in books:
        book.seal("finished")
    said = reasons(run, good, 2)
    assert "Two processes were rank 0 at one time: rank-00000.attempt-000.jsonl" in said
    assert "(process 7 on ?) wrote until" in said
    assert "(process 8 on ?) from" in said
    assert all(host.get("job", "") in said for host in hosts)
    assert f"{cause}--out names a directory for each" in said


def test_a_clock_that_is_behind_makes_no_twins(run, good, ticking):
    """By its own clock the second attempt began before the first had ended; by the disk's it did not."""
    run.segment(host={"boot_id": "a", CLOCK_AHEAD: "10000"})
    run.segment(host={"boot_id": "b"})
    assert "at one time" not in reasons(run, good, 2)


def test_of_very_many_twins_some_are_named(run, good, ticking):
    books = [run.book(rank=rank, expected_ranks=30) for _ in range(2) for rank in range(30)]
    for book in books:
        run.interval(book, 0)
        run.interval(book, 1)
    for book in books:
        book.seal("finished")
    said = reasons(run, good, 60)
    assert said.count("at one time") == 20
    assert "The same holds for 10 more segments." in said
