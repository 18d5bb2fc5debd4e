"""Heads of other segments: what is noted, what that costs, and what shows because of it."""

from __future__ import annotations

import dataclasses
import time

import pytest

from auditor.ledger import SegmentBook, SegmentWriter, Verdict, noting
from auditor.ledger.noting import last_head
from auditor.ledger.places import segment_name
from auditor.records import NotedHeads
from tests.ledger.conftest import records_of, rewrite

RANK_0, RANK_1 = "rank-00000.attempt-000.jsonl", "rank-00001.attempt-000.jsonl"


def noted_in(path):
    return [head for record in records_of(path) if isinstance(record.body, NotedHeads) for head in record.body.heads]


def job(run, ranks=3, launcher=False):
    for rank in range(ranks):
        run.segment(rank=rank, expected_ranks=ranks)
    if launcher:
        run.launcher(processes=ranks)


def cut_after(path, checkpoints):
    """The file up to the end of that checkpoint, as whoever has the key could leave it."""
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if b'"checkpoint"' in line]
    path.write_bytes(b"".join(lines[: ends[checkpoints] + 1]))


def test_a_seal_notes_where_the_others_stand(run, good):
    job(run)
    assert noted_in(run.path(RANK_0)) == []
    assert [head[0] for head in noted_in(run.path("rank-00002.attempt-000.jsonl"))] == [RANK_0, RANK_1]
    name, size, signature = noted_in(run.path(RANK_1))[0]
    assert (name, size) == (RANK_0, run.path(RANK_0).stat().st_size)
    assert f'"checkpoint",["{signature}"]]'.encode() in run.path(RANK_0).read_bytes().splitlines()[-1]
    assert run.judge() == good


def test_the_launcher_notes_all_and_a_rank_no_more_than_its_neighbours(run, good):
    job(run, ranks=12, launcher=True)
    assert len(noted_in(run.path("launcher.attempt-000.jsonl"))) == 12
    last = [record.body for record in records_of(run.path("rank-00011.attempt-000.jsonl"))]
    heads = next(body for body in last if isinstance(body, NotedHeads))
    assert [name for name, _, _ in heads.heads] == [f"rank-{rank:05d}.attempt-000.jsonl" for rank in range(8)]
    assert heads.others == 3
    assert run.judge() == good


def test_a_new_attempt_notes_the_earlier_ones_when_it_begins(run):
    run.segment(seal=False)
    run.book(attempt=1).close()
    assert [head[0] for head in noted_in(run.path("rank-00000.attempt-001.jsonl"))] == [RANK_0]
    cut_after(run.path(RANK_0), 1)
    reading = run.read()
    assert reading.verdict is Verdict.INCOMPLETE
    assert any("rank-00000.attempt-000.jsonl is cut short" in reason for reason in reading.reasons)


@pytest.mark.parametrize("checkpoints", [0, 1, 2])
def test_a_rank_that_was_cut_short_is_missed_with_its_counts(run, checkpoints):
    job(run)
    size = run.path(RANK_0).stat().st_size
    cut_after(run.path(RANK_0), checkpoints)
    reading = run.read()
    assert reading.verdict is Verdict.INCOMPLETE
    left = run.path(RANK_0).stat().st_size
    told = next(reason for reason in reading.reasons if "cut short" in reason)
    assert f"{size} bytes, it has {left}. At least {size - left} bytes of records of rank 0 are missing" in told
    assert any("the total is a floor" in reason for reason in reading.reasons)


def test_another_process_that_is_gone_is_missed_though_nobody_expected_it(run):
    run.segment(role="process", host={"pid": "7"}, nonce="f" * 32)
    run.segment()
    name = "rank-00000.attempt-000.pid-7-ffffffff.jsonl"
    assert run.judge() == "UNANCHORED"
    run.path(name).unlink()
    reading = run.read()
    assert reading.verdict is Verdict.INCOMPLETE
    assert any(f"{name} is missing: {RANK_0} had noted it" in reason for reason in reading.reasons)


def test_a_rank_that_was_written_anew_with_the_key_contradicts_what_others_noted(run):
    job(run)
    assert run.path().name == RANK_0
    rewrite(run, lambda body: body if body.kind != "genesis" else dataclasses.replace(body, model="another"))
    reading = run.read()
    assert reading.verdict is Verdict.DIVERGED
    told = next(reason for reason in reading.reasons if "is not what it was" in reason)
    assert RANK_0 in told
    assert RANK_1 in told


def test_a_rank_that_was_cut_back_and_went_on_contradicts_what_others_noted(run):
    """Truncate and continue: sealed and signed in the end, as if the part between had never been."""
    run.segment(intervals=6, rank=0, expected_ranks=2)
    run.segment(rank=1, expected_ranks=2)
    genesis = records_of(run.path(RANK_0))[0].body
    run.path(RANK_0).rename(run.directory / "before")
    shorter = SegmentBook(SegmentWriter.create(run.directory, genesis, run.key))
    for number in range(9):
        run.interval(shorter, number, size=1)
    shorter.seal("finished")
    assert run.path(RANK_0).stat().st_size > (run.directory / "before").stat().st_size
    assert run.read().verdict is Verdict.DIVERGED


def test_a_rank_that_grew_while_the_ledger_was_read_is_not_taken_for_shorter(run):
    job(run)
    reading = run.read()
    short = [dataclasses.replace(segment, sound_bytes=100) for segment in reading.segments]
    assert [finding.verdict for finding in noting.check_noted(run.directory, short, [])] == []


def test_a_damaged_rank_stays_invalid(run):
    job(run)
    data = run.path(RANK_0).read_bytes()
    run.path(RANK_0).write_bytes(data.replace(b'"tiny"', b'"tine"'))
    assert run.judge() == "INVALID"


def test_noting_reads_the_ends_of_files_alone(run, monkeypatch):
    job(run, ranks=2)
    assert last_head(run.path(RANK_0)) == (run.path(RANK_0).stat().st_size, noted_in(run.path(RANK_1))[0][2])
    whole = run.path(RANK_0).read_bytes()
    run.path("long").write_bytes(whole + b"x" * 20_000)
    assert last_head(run.path("long")) == last_head(run.path(RANK_0)), "what nobody vouches for is not noted"
    run.path("torn").write_bytes(whole + b'[1,"interval",[')
    assert last_head(run.path("torn")) == last_head(run.path(RANK_0))
    run.path("zeros").write_bytes(bytes(5000))
    assert last_head(run.path("zeros")) is None
    run.path("empty").write_bytes(b"")
    assert last_head(run.path("empty")) is None
    assert last_head(run.path("nowhere")) is None


def test_where_time_runs_out_what_is_left_is_counted(run, monkeypatch):
    job(run, ranks=3)
    monkeypatch.setattr(noting, "_NEIGHBOURS_WITHIN_S", 0.2)
    slow = noting.last_head
    monkeypatch.setattr(noting, "last_head", lambda path: (time.sleep(0.25), slow(path))[1])
    (heads,) = noting.note_others(run.path("rank-00003.attempt-000.jsonl"), everything=False)
    assert (len(heads.heads), heads.others) == (1, 2)


def test_of_a_thousand_ranks_each_reads_a_few(run):
    template = run.segment()
    data = run.path(RANK_0).read_bytes()
    for rank in range(1, 1000):
        name = segment_name(dataclasses.replace(template.writer.genesis, rank=rank))
        run.path(name).write_bytes(data)
    (heads,) = noting.note_others(run.path("rank-00500.attempt-000.jsonl"), everything=False)
    assert (len(heads.heads), heads.others) == (8, 991)
    (heads,) = noting.note_others(run.path("launcher.attempt-000.jsonl"), everything=True)
    assert len(heads.heads) == 1000
