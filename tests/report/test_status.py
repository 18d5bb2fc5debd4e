"""`auditor status`: where a job stands, from its ledger alone."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys

import pytest

from auditor.cli.main import main
from auditor.ledger import read_ledger
from auditor.report import status
from auditor.units import scientific
from tests.report.conftest import Writing, write

STEP_OPS = 7 * 2 * 64 * 32 * 16
RANK_OPS = 6 * STEP_OPS + 3 * 2 * 64 * 32 * 16


@pytest.fixture
def reading(tmp_path):
    return read_ledger(write(tmp_path / "run", Writing(ranks=4, written_ranks=3)), recount=None)


def told(reading, seconds=0.0):
    ended = max(datetime.datetime.fromisoformat(segment.ended) for segment in reading.segments)
    return list(status.lines(reading, ended + datetime.timedelta(seconds=seconds)))


def altered(reading, **by_rank):
    """The reading with segments of ranks changed: ``rank_1={"live": True}``."""
    segments = []
    for segment in reading.segments:
        changes = by_rank.get(f"rank_{segment.genesis.rank}") if segment.genesis.role == "rank" else None
        segments.append(dataclasses.replace(segment, **changes) if changes else segment)
    return dataclasses.replace(reading, segments=tuple(segments))


def test_all_that_ended(reading):
    lines = told(reading)
    assert "ranks       3 of 4 seen: 3 ended" in lines
    assert "never began 3" in lines
    assert f"operations  {scientific(3 * RANK_OPS)} so far, as recorded" in lines
    rows = [line.split() for line in lines[-3:]]
    assert [row[:3] for row in rows] == [["0", "0", "ended"], ["1", "0", "ended"], ["2", "0", "ended"]]
    assert {row[-1] for row in rows} == {"1.000"}


def test_a_job_that_ended_has_a_total(tmp_path):
    reading = read_ledger(write(tmp_path / "whole", Writing(ranks=2, written_ranks=2)), recount=None)
    assert f"operations  {scientific(2 * RANK_OPS)} in total, as recorded" in told(reading)
    lines = told(altered(reading, rank_1={"sealed": False, "live": True}))
    assert f"operations  {scientific(2 * RANK_OPS)} so far, as recorded" in lines


@pytest.mark.parametrize(
    ("changes", "seconds", "state"),
    [
        ({"sealed": False, "live": True}, 5, "counting"),
        ({"sealed": False, "live": True}, 3600, "silent"),
        ({"sealed": False}, 5, "killed"),
        ({"sealed": False, "broken": "line 3: of course"}, 5, "damaged"),
    ],
)
def test_states(reading, changes, seconds, state):
    lines = told(altered(reading, rank_1=changes), seconds)
    assert f"ranks       3 of 4 seen: 2 ended, 1 {state}" in lines
    first = lines[-3].split()
    assert first[:3] == ["1", "0", state]  # what needs looking at stands first


def test_a_straggler_stands_out_in_operations(reading):
    (slow,) = (s for s in reading.segments if s.genesis.role == "rank" and s.genesis.rank == 2)
    half = dataclasses.replace(
        slow.operations,
        amounts={
            bucket: amount._replace(algorithmic_ops=amount.algorithmic_ops // 2)
            for bucket, amount in slow.operations.amounts.items()
        },
    )
    lines = told(altered(reading, rank_2={"operations": half}))
    assert lines[-3].split()[0] == "2"
    assert lines[-3].split()[-1] == "0.500"
    (of_each,) = (status_ for status_ in status.of_ranks(reading, datetime.datetime.now(datetime.UTC))[:1])
    assert of_each.total_ops == RANK_OPS


def test_attempts_of_a_rank_are_added_up(reading):
    """The latest says how the rank is; what all of them did is what it did."""
    (zero, one, two) = (s for s in reading.segments if s.genesis.role == "rank")
    later = dataclasses.replace(one, genesis=dataclasses.replace(one.genesis, rank=0, attempt=1), sealed=False)
    joined = dataclasses.replace(reading, segments=(zero, later, two))
    ranks = {each.rank: each for each in status.of_ranks(joined, datetime.datetime.now(datetime.UTC))}
    assert (ranks[0].attempt, ranks[0].state, ranks[0].total_ops) == (1, "killed", 2 * RANK_OPS)
    assert ranks[0].steps == 2 * one.steps
    assert ranks[2].total_ops == RANK_OPS


def test_no_rank_yet_and_very_many(reading):
    none = dataclasses.replace(reading, segments=())
    assert any(line.startswith("ranks       0 of 4 seen: none") for line in told_at(none))
    ranks = [s for s in reading.segments if s.genesis.role == "rank"]
    many = tuple(
        dataclasses.replace(ranks[0], genesis=dataclasses.replace(ranks[0].genesis, rank=rank)) for rank in range(100)
    )
    lines = told_at(dataclasses.replace(reading, segments=many, ranks_expected=200))
    assert lines[-1].strip() == "and 84 more"
    assert any(line.startswith("never began 100, 101") and line.endswith("and 84 more") for line in lines)


def told_at(reading):
    return list(status.lines(reading, datetime.datetime.now(datetime.UTC)))


def test_the_verb(tmp_path):
    directory = write(tmp_path / "run", Writing())
    done = subprocess.run([sys.executable, "-m", "auditor", "status", directory], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"1 of 1 seen: 1 ended" in done.stdout
    nothing = subprocess.run([sys.executable, "-m", "auditor", "status", tmp_path], capture_output=True, timeout=60)
    assert nothing.returncode == 2


def test_what_cannot_be_read_is_not_said_to_have_never_begun(tmp_path, capsys):
    directory = write(tmp_path / "run", Writing(ranks=3, written_ranks=3))
    path = directory / "segments" / "rank-00002.attempt-000.jsonl"
    path.unlink()
    path.mkdir()
    assert main(["status", str(directory)]) == 0
    shown = capsys.readouterr().out
    assert "never began" not in shown
    assert "not seen    2" in shown
    assert f"not counted {path.name}: it cannot be read: Is a directory" in shown
