from __future__ import annotations

import base64
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from auditor.errors import LedgerUnwritable
from auditor.ledger import SegmentWriter, next_attempt, segment_paths
from auditor.ledger.log import Scanner
from auditor.ledger.merkle import leaf_hashes
from auditor.lines import read_record
from auditor.records import Gap
from tests.ledger.conftest import records_of, root_of

if TYPE_CHECKING:
    from pathlib import Path


def scan(path: Path):
    scanner = Scanner()
    lines = [line for stretch in scanner.feed(path.read_bytes()) for line in stretch.lines]
    return lines, scanner.finish()


def test_what_is_appended_is_in_the_file_and_signed_at_once(run) -> None:
    book = run.book()
    heads = [run.interval(book, 0), book.purpose("evaluation"), book.gap("counter", "x", lower_bound=True)]
    lines, ending = scan(run.path())
    kinds = ["genesis", "checkpoint", "signatures", "tally", "interval", "checkpoint"]
    kinds += ["purpose", "checkpoint", "gap", "checkpoint"]
    assert [read_record(line).body.kind for line in lines] == kinds
    assert [head.size for head in heads] == [5, 7, 9]
    for head in heads:
        assert base64.b64decode(head.root) == root_of(leaf_hashes(lines[: head.size]))
    assert ending.head == heads[-1]
    assert not ending.sealed


def test_signatures_and_tallies_are_written_once(run) -> None:
    book = run.segment(intervals=5)
    kinds = [record.body.kind for record in records_of(book.writer.path)]
    assert (kinds.count("signatures"), kinds.count("tally"), kinds.count("interval")) == (1, 1, 5)


def test_reading_in_pieces_of_any_size_finds_the_same(run) -> None:
    path = run.segment().writer.path
    whole, ending = scan(path)
    for size in (1, 2, 7, 100, 4096):
        data, scanner = path.read_bytes(), Scanner()
        pieces = (data[i : i + size] for i in range(0, len(data), size))
        lines = [line for piece in pieces for stretch in scanner.feed(piece) for line in stretch.lines]
        assert (lines, scanner.finish()) == (whole, ending)


def test_many_shapes_in_one_interval_fold_and_add_up(run, good) -> None:
    from auditor.operations import add_up

    book = run.book()
    parts = [(run.tally(size), 1 + size % 3) for size in range(1, 31)]
    operations = add_up([(run.price(tally), times) for tally, times in parts])
    book.record_interval(first_step=1, steps=1, elapsed_us=1, parts=parts, price=run.price)
    book.seal("finished")
    intervals = [record.body for record in records_of(run.path()) if record.body.kind == "interval"]
    assert len(intervals[0].tallies) == 8
    assert run.judge() == good
    assert run.read().operations == operations


def test_equal_tallies_of_one_interval_are_one(run) -> None:
    book = run.book()
    tally = run.tally(3)
    book.record_interval(first_step=1, steps=3, elapsed_us=1, parts=[(tally, 1), (run.tally(3), 2)], price=run.price)
    assert records_of(run.path())[-1].body.tallies == ((0, 3),)


def test_a_taken_name_leads_to_the_next_attempt(run) -> None:
    first, second = run.book(), run.book()
    assert first.writer.path != second.writer.path
    assert second.writer.genesis.attempt == 1
    assert next_attempt(run.directory, 0) == 2
    assert next_attempt(run.directory, 1) == 0
    assert next_attempt(run.directory, 0, "launcher") == 0
    assert next_attempt(run.directory, 0, "process") == 1


def test_processes_that_race_for_a_name_share_no_file(run, child: Path, good: str) -> None:
    key = run.directory.parent / "key.pem"
    racers = [
        subprocess.Popen(
            [sys.executable, str(child), str(run.directory), str(key), "race"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=120)
    reading = run.read()
    assert str(reading.verdict) == good
    assert [segment.genesis.attempt for segment in reading.segments] == list(range(60))
    assert reading.steps == 60 * 3


def test_after_the_end_nothing_can_be_written(run) -> None:
    book = run.segment()
    book.close()
    for _ in range(2):
        with pytest.raises(LedgerUnwritable, match="nothing more is written"):
            book.gap("ledger", "late", lower_bound=False)


def test_a_forked_child_cannot_write_into_its_parents_segment(run, good: str) -> None:
    book = run.book()
    run.interval(book, 0)
    child = os.fork()
    if child == 0:
        try:
            book.gap("ledger", "from the child", lower_bound=True)
        except LedgerUnwritable:
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert run.read().segments[0].live
    run.interval(book, 1)
    book.seal("finished")
    assert run.judge() == good


def test_a_file_size_limit_ends_the_writer_and_leaves_the_part_that_was_taken(run) -> None:
    book = run.book()
    run.interval(book, 0)
    acknowledged = run.path().stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (acknowledged + 100, before[1]))
    try:
        with pytest.raises(LedgerUnwritable, match="took 100 of") as caught:
            run.interval(book, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--out" in caught.value.remedy
    with pytest.raises(LedgerUnwritable, match="nothing more is written"):
        run.interval(book, 1)
    assert run.path().stat().st_size == acknowledged + 100
    book.close()
    reading = run.read()
    assert (reading.verdict, reading.steps) == ("INCOMPLETE", 3)
    assert reading.segments[0].torn_bytes == 100


def test_a_failed_sync_ends_the_writer_and_is_not_tried_again(run) -> None:
    # A pipe takes what is written and cannot be synced: a real file descriptor whose fdatasync fails.
    read_end, write_end = os.pipe()
    writer = SegmentWriter(run.path(), write_end, run.genesis(), run.key)
    writer.append(Gap(cause="ledger", message="", lower_bound=False))
    with pytest.raises(LedgerUnwritable, match="cannot be written"):
        writer.sync()
    for act in (writer.sync, lambda: writer.append(Gap(cause="ledger", message="", lower_bound=False))):
        with pytest.raises(LedgerUnwritable, match="nothing more is written"):
            act()
    os.close(read_end)
    writer.close()


def test_a_full_device_ends_the_writer(run) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = SegmentWriter(run.path(), descriptor, run.genesis(), run.key)
    with pytest.raises(LedgerUnwritable, match="No space left"):
        writer.append(run.genesis())
    assert not writer.alive
    writer.close()


def test_an_interrupt_in_the_middle_of_an_interval_ends_the_book(run) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    book = run.book()
    run.interval(book, 0)
    with pytest.raises(KeyboardInterrupt):
        book.record_interval(first_step=4, steps=1, elapsed_us=9000, parts=[(run.tally(9), 1)], price=interrupted)
    with pytest.raises(LedgerUnwritable):
        book.seal("finished")
    book.close()
    assert run.judge() == "INCOMPLETE"


def in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where it may mount file systems of its own; skip where that is not allowed."""
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this user may not mount file systems")
    return subprocess.run(
        ["unshare", "-m", "sh", "-euc", script, "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_small_disk_that_fills_up_keeps_what_was_acknowledged(run, child: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1/disk"; "$2" "$3" "$1/disk/ledger" "$1/key.pem" forever'
    script += '; cp -r "$1/disk/ledger" "$1/ledger"'
    done = in_namespace(script, str(tmp_path), sys.executable, str(child))
    assert done.returncode == 0, done.stderr
    *_, last, end = done.stdout.splitlines()
    assert end.startswith("LedgerUnwritable False")
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert reading.steps == 3 * (int(last) + 1)


def test_a_read_only_directory_is_named(tmp_path: Path, run, child: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o ro none "$1/disk"; "$2" "$3" "$1/disk/ledger" "$1/key.pem" once'
    done = in_namespace(script, str(tmp_path), sys.executable, str(child))
    assert "LedgerUnwritable" in done.stderr
    assert "Read-only file system" in done.stderr
    assert str(tmp_path / "disk") in done.stderr


def test_a_file_where_the_directory_should_be_is_named(run) -> None:
    run.directory.write_text("")
    with pytest.raises(LedgerUnwritable, match=str(run.directory)):
        run.book()
    assert segment_paths(run.directory) == []


def test_what_no_reader_would_take_is_not_written(run, good: str) -> None:
    from auditor.errors import LedgerInvalid, UnitError
    from auditor.records import SecondOpinion

    book = run.book()
    run.interval(book, 0)
    size = run.path().stat().st_size
    opinion = SecondOpinion(
        counter="x",
        model="",
        inputs="",
        ours="8",
        theirs="eight",
        unavailable="",
        explained=(),
        modules=(),
    )
    with pytest.raises(LedgerInvalid, match=r"gap\.message"):
        book.gap("ledger", 5, lower_bound=False)  # type: ignore[arg-type]
    with pytest.raises(LedgerInvalid, match=r"hardware\.values\.energy_mj"):
        run.book().hardware("observed", "GPU-1", {"energy_mj": 5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="leisure"):
        run.book().purpose("leisure")
    assert run.path().stat().st_size == size
    book = run.book()
    with pytest.raises(UnitError):
        book.second_opinion(opinion)
    with pytest.raises(LedgerInvalid, match="does not follow"):
        run.interval(book, 1)
    run.interval(book, 0)
    book.seal("finished")
    assert run.read().segments[-1].sealed


def test_a_genesis_that_no_reader_would_take_is_not_written(run) -> None:
    from auditor.errors import LedgerInvalid

    with pytest.raises(LedgerInvalid, match=r"genesis\.host\.pid"):
        run.book(host={"pid": 12})
    assert segment_paths(run.directory) == []
