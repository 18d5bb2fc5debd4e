"""Real processes, really killed: what was acknowledged stays, the rest is kept aside, a restart goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditor.ledger import SegmentBook, SegmentWriter, recover, run_id_of
from auditor.ledger.places import cuttings_of


def start(child: Path, run) -> subprocess.Popen[str]:
    key = run.directory.parent / "key.pem"
    return subprocess.Popen(
        [sys.executable, str(child), str(run.directory), str(key), "forever"],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen[str], intervals: int, pause_s: float) -> tuple[str, int]:
    """The segment's name and the number of intervals that were acknowledged before the kill: so many, and some more."""
    assert process.stdout
    name = process.stdout.readline().strip()
    for _ in range(intervals):
        process.stdout.readline()
    time.sleep(pause_s)
    process.send_signal(signal.SIGKILL)
    # Not communicate(): it would leave out what readline has read ahead.
    with process.stdout as pipe:
        rest = pipe.read()
    process.wait(timeout=60)
    # A number without its newline was not told whole.
    told = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    return name, intervals + len(told)


def test_ten_kills_lose_no_acknowledged_record_and_a_resumed_run_adds_up(run, child: Path) -> None:
    chance = random.Random(11)
    acknowledged = {}
    for attempt in range(10):
        name, number = kill_after(start(child, run), chance.randint(0, 30), chance.uniform(0, 0.05))
        assert name == f"rank-00000.attempt-{attempt:03d}.jsonl"
        acknowledged[name] = number
    book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), recover(run.directory))
    run.interval(book, 0)
    book.seal("finished")
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert reading.ranks_seen == 1
    assert not any(segment.broken or segment.torn_bytes or segment.live for segment in reading.segments)
    intervals = 0
    for segment in reading.segments[:-1]:
        written = segment.steps // 3
        # The kill may fall between the write and the telling of it; never the other way round.
        assert acknowledged[segment.name] <= written <= acknowledged[segment.name] + 1
        intervals += written
    assert reading.steps == 3 * (intervals + 1)
    one = run.price(run.tally(4)).total
    assert reading.operations.total == one * reading.steps
    assert sum(acknowledged.values()) > 100, "the writer was killed before it wrote anything worth losing"


def test_kills_at_random_and_at_every_call_lose_nothing_acknowledged(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killing_program.py")
    command = [sys.executable, str(program), str(tmp_path), "40", "1", "7"]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=250).stdout)
    (calls,) = told["calls"]
    assert told["random"]["lost"] == calls["lost"] == []
    assert told["random"]["kills"] == 40
    assert calls["kills"] == calls["moments"] > 50
    assert told["random"]["acknowledged"] + calls["acknowledged"] > 200


def test_a_living_writer_is_told_as_such_and_left_alone(run, child: Path) -> None:
    process = start(child, run)
    assert process.stdout
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        assert recover(run.directory) == []
        reading = run.read()
        assert reading.verdict == "INCOMPLETE"
        assert any("is still being written" in reason for reason in reading.reasons)
        assert reading.ended == ""
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert not any("is still being written" in reason for reason in run.read().reasons)


@pytest.mark.parametrize("keep", [1, 50, -130, -30, -1])
def test_recovery_cuts_the_torn_tail_keeps_it_and_tells(run, keep: int) -> None:
    run.segment(seal=False)
    path = run.path()
    lines = path.read_bytes().splitlines(keepends=True)
    whole, torn = b"".join(lines[:-2]), b"".join(lines[-2:])[:keep]
    path.write_bytes(whole + torn)
    tails = recover(run.directory)
    assert [(tail.segment, tail.cut_bytes) for tail in tails] == [(path.name, len(torn))]
    assert path.read_bytes() == whole
    assert (run.directory / tails[0].kept_as).read_bytes() == torn
    assert recover(run.directory) == []
    book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), tails)
    book.seal("finished")
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert any(f"{len(torn)} bytes" in reason and tails[0].kept_as in reason for reason in reading.reasons)


def test_a_segment_torn_in_its_first_record_becomes_an_empty_one(run) -> None:
    run.segment(seal=False)
    path = run.path()
    path.write_bytes(path.read_bytes()[:100])
    assert run_id_of(run.directory) is None
    (tail,) = recover(run.directory)
    assert (tail.cut_bytes, path.stat().st_size) == (100, 0)
    run.segment()
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert any("no whole first record" in reason for reason in reading.reasons)


def test_damage_before_the_tail_is_never_repaired(run) -> None:
    run.segment(seal=False)
    path = run.path()
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "changed": b"".join([*lines[:-2], lines[-2].replace(b"[4,3,", b"[4,4,"), lines[-1]]),
        "wrong terminator": b"".join(lines)[:-1] + b"}",
    }
    for name, data in damaged.items():
        path.write_bytes(data)
        assert recover(run.directory) == [], name
        assert path.read_bytes() == data
        assert run.judge() == "INVALID", name


def test_bytes_after_a_seal_are_left_for_the_verifier(run) -> None:
    run.segment()
    with run.path().open("ab") as file:
        file.write(b"garbage")
    assert recover(run.directory) == []
    assert run.judge() == "INVALID"


def test_a_zero_filled_tail_is_cut(run) -> None:
    run.segment(seal=False)
    whole = run.path().read_bytes()
    run.path().write_bytes(whole + bytes(200_000))
    (tail,) = recover(run.directory)
    assert tail.cut_bytes == 200_000
    assert run.path().read_bytes() == whole


@pytest.mark.parametrize("kind", ["a folder", "a link", "a pipe"])
def test_an_earlier_segment_that_cannot_be_read_costs_no_later_one_its_count(run, kind: str) -> None:
    run.segment()
    path = run.path()
    path.unlink()
    {"a folder": path.mkdir, "a link": lambda: path.symlink_to("away"), "a pipe": lambda: os.mkfifo(path)}[kind]()
    tails = recover(run.directory)
    book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), tails)
    run.interval(book, 0)
    book.seal("finished")
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert reading.segments[0].name == "rank-00000.attempt-001.jsonl"
    assert reading.operations.total > 0


def test_what_was_cut_is_evidence_too(run) -> None:
    run.segment(seal=False)
    with run.path().open("ab") as file:
        file.write(b'[1795410449807829,"purpose",{"pur')
    book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), recover(run.directory))
    book.seal("finished")
    assert run.judge() == "INCOMPLETE"
    (kept,) = cuttings_of(run.directory).iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"purpose", b"porpose"))
    assert run.judge() == "INVALID"
    kept.unlink()
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert any("cannot be read" in reason for reason in reading.reasons)


def test_every_cut_point_recovers_to_the_last_checkpoint(run) -> None:
    run.segment(seal=False, intervals=1)
    whole = run.path().read_bytes()
    ends, end = [0], 0
    for line in whole.splitlines(keepends=True):
        end += len(line)
        if b',"checkpoint",' in line:
            ends.append(end)
    for length in range(0, len(whole) + 1, 3):
        run.path().write_bytes(whole[:length])
        tails = recover(run.directory)
        kept = max(end for end in ends if end <= length)
        assert run.path().stat().st_size == kept
        assert sum(tail.cut_bytes for tail in tails) == length - kept


def test_a_directory_that_holds_nothing_yet_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path) == []
    assert recover(tmp_path / "nowhere") == []
    assert run_id_of(tmp_path) is None


def test_the_run_id_is_found_for_a_restart(run) -> None:
    run.segment(seal=False)
    assert run_id_of(run.directory) == "run-1"
