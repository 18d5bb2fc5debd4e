"""What bounds a ledger and its reader: shapes that never come to rest, gaps of ever new kinds, devices watched long."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auditor.formulas import Pricer
from auditor.ledger import Recount, SegmentBook, read_ledger
from auditor.ledger import contents as contents_module
from auditor.ledger import known as known_module
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.contents import Contents
from auditor.ledger.detail import FULL
from auditor.ledger.known import size_of
from auditor.ledger.log import Stretch
from auditor.ledger.notices import _MOST_GAPS, Gaps, Sights
from auditor.operations import add_up
from auditor.records import TALLIES_LIMIT_BYTES, Gap, Hardware, HardwareAgain, Signatures, TallyRecord
from tests.ledger.conftest import records_of, rewrite

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOM = 3000


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment may spend little on tallies; its reader holds it to that."""
    for module in ("auditor.ledger.known", "auditor.ledger.contents"):
        monkeypatch.setattr(f"{module}.TALLIES_LIMIT_BYTES", ROOM)


def write(run, book: SegmentBook, sizes: Sequence[int]) -> None:
    for number, size in enumerate(sizes):
        run.interval(book, number, size=size)


@pytest.mark.usefixtures("little_room")
def test_shapes_that_never_rest_fold_and_the_total_stays_exact(run, good: str) -> None:
    book = run.book()
    sizes = [*range(1, 41), 2, 3, 2]
    write(run, book, sizes)
    book.seal("finished")
    records = records_of(run.path())
    kinds = [record.body.kind for record in records]
    spent = sum(size_of(record.body) for record in records if isinstance(record.body, Signatures | TallyRecord))
    assert spent <= ROOM
    assert 0 < kinds.count("folded") < len(sizes)
    assert kinds[-4:] == ["interval", "interval", "interval", "seal"], "what is known is referred to, also later"
    expected = add_up([(run.price(run.tally(size)), 3) for size in sizes])
    for recount in (True, False):
        reading = run.read() if recount else read_ledger(run.directory, recount=None)
        assert reading.operations == expected == book.operations
        assert sum(point.operations.total for point in reading.segments[0].points) == expected.total
        assert reading.segments[0].folded_intervals == kinds.count("folded")
        assert reading.segments[0].folded.total < expected.total
        assert str(reading.verdict) == good
        assert any(
            f"{kinds.count('folded')} intervals hold amounts and no tallies" in reason
            and "cannot be counted again" in reason
            for reason in reading.reasons
        )


@pytest.mark.usefixtures("little_room")
def test_another_formula_table_changes_what_has_tallies_and_no_more(run) -> None:
    book = run.book()
    write(run, book, range(1, 41))
    book.seal("finished")
    before = run.read()
    folded = before.segments[0].folded.total
    twice = Recount(price=lambda tally: add_up([(Pricer().price(tally), 2)]), digest="f" * 64)
    assert run.read(recount=twice).operations.total == 2 * before.operations.total - folded


def test_a_segment_that_spends_more_than_it_may_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:
    book = run.book()
    write(run, book, range(1, 41))
    book.seal("finished")
    monkeypatch.setattr("auditor.ledger.contents.TALLIES_LIMIT_BYTES", ROOM)
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert f"more than the {ROOM} bytes allowed" in reading.reasons[0]


def test_writer_and_reader_share_the_limit() -> None:
    assert known_module.TALLIES_LIMIT_BYTES == contents_module.TALLIES_LIMIT_BYTES == 16 * 2**20


def test_a_folded_interval_that_does_not_follow_is_false(run) -> None:
    for change in (
        {"first_step": 5},
        {"elapsed_us": 5},
        {"steps": -1},
        {"operations": (("x",),)},
        {"unpriced": {"a::b": 0}},
    ):
        book = run.book()
        run.interval(book, 0)
        book._known._size_bytes += TALLIES_LIMIT_BYTES
        run.interval(book, 1, size=9)
        book.seal("finished")
        assert run.judge() == "UNANCHORED"
        rewrite(run, lambda body, change=change: replace(body, **change) if body.kind == "folded" else body)
        assert run.judge() == "INVALID", change
        assert run.read().steps == 3
        run.path().unlink()


def test_gaps_of_ever_new_kinds_are_counted_in_a_bounded_space(run) -> None:
    gaps = Gaps()
    for number in range(3 * _MOST_GAPS):
        gaps.add(Gap(cause="ledger", message=f"gap {number}", lower_bound=number % 2 == 0))
    gaps.add(Gap(cause="ledger", message="gap 7", lower_bound=False))
    told = gaps.all()
    assert len(told) == _MOST_GAPS + 2
    assert gaps.number == sum(gap.times for gap in told) == 3 * _MOST_GAPS + 1
    assert {gap.lower_bound for gap in told[-2:]} == {True, False}, "that something may be missing is never lost"


def test_devices_watched_long_keep_the_last_and_all_that_happened() -> None:
    sights = Sights(FULL.sights)
    number = 3 * FULL.sights
    sights.add(Hardware(event="observed", device="GPU-1", values={"energy_mj": "0", "elapsed_us": "0"}))
    for each in range(1, number):
        if each % 1000 == 0:
            sights.add(Hardware(event="changed", device="GPU-1", values={"number": str(each)}))
        sights.add(HardwareAgain(earlier=0, values=(str(each), str(each))))
    seen = sights.all()
    assert len(seen) <= FULL.sights
    assert [int(one.values["number"]) for one in seen if one.event == "changed"] == list(range(1000, number, 1000))
    observed = [int(one.values["energy_mj"]) for one in seen if one.event == "observed"]
    assert observed == sorted(observed)
    assert observed[-1] == number - 1


def test_what_is_observed_again_is_written_short_and_read_whole(run) -> None:
    book = run.book()
    for number in range(3):
        book.hardware("observed", "GPU-1", {"energy_mj": str(number), "tensor_us": "5"})
        run.interval(book, number)
    book.hardware("observed", "GPU-2", {"energy_mj": "9", "tensor_us": "9"})
    book.hardware("observed", "GPU-1", {"energy_mj": "3"})
    book.hardware("lost", "GPU-1", {"because": "x"})
    book.hardware("observed", "GPU-1", {"tensor_us": "7", "energy_mj": "4"})
    book.seal("finished")
    kinds = [record.body.kind for record in records_of(run.path()) if record.body.kind in SIGHTS]
    assert kinds == ["hardware", "again", "again", "hardware", "hardware", "hardware", "again"]
    seen = [(one.event, one.device, dict(one.values)) for one in run.read().hardware]
    assert seen == [
        ("observed", "GPU-1", {"energy_mj": "0", "tensor_us": "5"}),
        ("observed", "GPU-1", {"energy_mj": "1", "tensor_us": "5"}),
        ("observed", "GPU-1", {"energy_mj": "2", "tensor_us": "5"}),
        ("observed", "GPU-2", {"energy_mj": "9", "tensor_us": "9"}),
        ("observed", "GPU-1", {"energy_mj": "3"}),
        ("lost", "GPU-1", {"because": "x"}),
        ("observed", "GPU-1", {"energy_mj": "4", "tensor_us": "7"}),
    ]


SIGHTS = {"hardware", "again"}


@pytest.mark.parametrize(("earlier", "values"), [(1, ("1",)), (-1, ("1",)), (0, ()), (0, ("1", "2"))])
def test_a_sight_that_refers_to_nothing_is_false(run, earlier: int, values: tuple[str, ...]) -> None:
    book = run.book()
    book.hardware("lost", "GPU-1", {"because": "x"})
    book.append(HardwareAgain(earlier=earlier, values=values))
    book.seal("finished")
    assert run.judge() == "INVALID"


def test_a_month_of_steady_training_fits_the_figure(run) -> None:
    """43,200 intervals of a minute with one device watched, as written in the steady state: at most 15 MB.

    Totals, which stand there now and then, take their part.
    """
    book = run.book()
    watched = {
        "covered_us": "2592000000000",
        "elapsed_us": "2592000000000",
        "energy_mj": "1814400000000",
        "sm_clock_mhz": "1980",
        "sm_us": "2592000000000",
        "tensor_us": "2592000000000",
    }

    def interval(number: int) -> None:
        book.record_interval(
            first_step=1 + number * 50_000,
            steps=50_000,
            elapsed_us=2_592_000_000_000 + number,
            parts=[(run.tally(4), 50_000), (run.tally(5), 5000)],
            price=run.price,
        )
        book.hardware("observed", "GPU-1", watched)

    interval(0)
    interval(1)
    before = run.path().stat().st_size
    for number in range(2, 2 + TOTALS_EVERY):
        interval(number)
    each = (run.path().stat().st_size - before) / TOTALS_EVERY
    assert each * 43_200 <= 15e6
    assert each <= 347


def test_what_a_reader_keeps_does_not_grow_with_the_intervals(run) -> None:
    book = run.book()
    run.interval(book, 0)
    head = run.path().read_bytes().splitlines()
    contents = Contents(None)
    contents.take(Stretch(0, head))

    def kept_after(start: int, stop: int) -> int:
        for first in range(start, stop, 1000):
            steps = range(first, first + 1000)
            form = b'[1795410449807829,"interval",[%d,3,%d,[[0,3]]]]'
            contents.take(Stretch(len(head) + first, [form % (1 + 3 * i, 1000 * (i + 1)) for i in steps]))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert kept_after(1, 60_001) < 2_000_000, "the lines alone have 3 MB"
    finally:
        tracemalloc.stop()
    assert contents.intervals.steps == 3 * 60_001
    assert len(contents.points()) <= FULL.points
