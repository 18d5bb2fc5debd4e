"""A loss of power costs what was not synced and no more, and what it leaves never reads as a forgery."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from auditor.ledger import recover
from tests.ledger.conftest import Run
from tests.ledger.model_disk import SECTOR_BYTES
from tests.ledger.power import power_loss_case

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.ledger import SegmentBook

CASES = 60


def test_a_loss_of_power_at_any_call_costs_only_what_was_not_synced(run, tmp_path: Path) -> None:
    verdicts: Counter[str] = Counter()
    for case in range(CASES):
        alone = Run(tmp_path / f"disk-{case}" / "ledger", run.key)
        verdicts[power_loss_case(alone, random.Random(case))] += 1
    assert verdicts["INCOMPLETE"] > CASES / 2
    assert {"INCOMPLETE", "UNANCHORED", "NotALedger"} >= set(verdicts), verdicts


def book_with_tail(run: Run, synced: int, unsynced: int) -> tuple[bytes, bytes]:
    """A segment's bytes that were synced, and those after them."""
    book = run.book()
    for number in range(synced):
        run.interval(book, number)
        book.sync()
    before = run.path().stat().st_size
    for number in range(synced, synced + unsynced):
        run.interval(book, number)
    book.close()
    data = run.path().read_bytes()
    return data[:before], data[before:]


def test_every_choice_of_sectors_of_an_unsynced_tail(run) -> None:
    kept, tail = book_with_tail(run, synced=20, unsynced=18)
    starts = [0, *range(SECTOR_BYTES - len(kept) % SECTOR_BYTES, len(tail), SECTOR_BYTES), len(tail)]
    sectors = list(itertools.pairwise(starts))
    assert len(sectors) > 6
    for choice in itertools.product([True, False], repeat=len(sectors)):
        left = b"".join(
            tail[start:end] if there else bytes(end - start)
            for (start, end), there in zip(sectors, choice, strict=True)
        )
        assert_only_the_tail_is_lost(run, kept, left, whole=all(choice))


def test_every_sector_of_an_unsynced_tail_torn_at_any_place(run) -> None:
    kept, tail = book_with_tail(run, synced=18, unsynced=5)
    for start in range(0, len(tail), 7):
        for end in (start + 1, start + 90, start + SECTOR_BYTES):
            left = tail[:start] + bytes(min(end, len(tail)) - start) + tail[end:]
            assert_only_the_tail_is_lost(run, kept, left, whole=False)


def assert_only_the_tail_is_lost(run: Run, kept: bytes, left: bytes, *, whole: bool) -> None:
    run.path().write_bytes(kept + left)
    reading = run.read()
    assert reading.verdict == "INCOMPLETE", reading.reasons
    (segment,) = reading.segments
    assert segment.broken == ""
    sound = len(kept) + len(left) - segment.torn_bytes
    assert sound >= len(kept)
    assert (segment.torn_bytes == 0) == whole
    cut = recover(run.directory)
    assert sum(tail.cut_bytes for tail in cut) == segment.torn_bytes
    assert run.path().read_bytes() == (kept + left)[:sound]


@pytest.mark.parametrize("num_bytes", [1, SECTOR_BYTES, 4096])
def test_zeros_in_what_the_segment_says_was_synced_are_damage_and_never_cut(run, num_bytes: int) -> None:
    kept, tail = book_with_tail(run, synced=60, unsynced=20)
    said = kept.rindex(b'"synced"')
    for start in range(0, kept[:said].rindex(b'"checkpoint"') - 2000, 1013):
        damaged = kept[:start] + bytes(num_bytes) + kept[start + num_bytes :] + tail
        run.path().write_bytes(damaged)
        assert run.judge() in {"INVALID", "LedgerInvalid"}, start
        assert recover(run.directory) == []
        assert run.path().read_bytes() == damaged


def test_how_much_was_synced_is_said_now_and_then_and_at_the_end(run, good: str) -> None:
    def told(book: SegmentBook) -> int:
        return book.writer.path.read_bytes().count(b'"synced"')

    book = run.book()
    for number in range(15):
        run.interval(book, number)
        book.sync()
    assert told(book) == 0
    run.interval(book, 15)
    run.interval(book, 16)
    assert told(book) == 1
    run.interval(book, 17)
    book.sync()
    book.seal("finished")
    assert told(book) == 2
    assert run.judge() == good


def test_a_forger_gains_nothing_by_zeros_that_a_cut_would_not_gain(run) -> None:
    """Zeros before the last records of a segment lower the verdict as leaving those records out does."""
    kept, tail = book_with_tail(run, synced=2, unsynced=6)
    run.path().write_bytes(kept + tail[:300] + bytes(200) + tail[500:])
    holed = run.read()
    run.path().write_bytes(kept + tail[:300])
    short = run.read()
    assert (holed.verdict, holed.steps, holed.operations) == (short.verdict, short.steps, short.operations)
    run.path().write_bytes(kept + tail.replace(b",3,", b",4,", 1))
    assert run.judge() == "INVALID", "an edit is none of what a loss of power leaves"
