"""What a ledger is worth, and in which words."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auditor.errors import ExitCode, LedgerInvalid, NotALedger, SchemaFromFuture
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.ledger.detail import FULL
from auditor.operations import Amount, add_up
from auditor.records import Alert, Exit, Gap, Interval, PurposeChange, Seal, SecondOpinion, TallyRecord, Updates
from tests.ledger.conftest import rewrite

if TYPE_CHECKING:
    from pathlib import Path


def reasons(run) -> str:
    return "\n".join(run.read().reasons)


def test_a_whole_run_reads_as_it_was_written(run, good: str) -> None:
    run.launcher(processes=3)
    for rank in (0, 1):
        run.segment(intervals=2 + rank, rank=rank, expected_ranks=2, size=4 + rank)
    run.segment(intervals=1, role="process", rank=1, expected_ranks=2)
    reading = run.read()
    assert str(reading.verdict) == good
    assert reading.reasons == (reading.reasons[0],)
    assert "nobody outside holds its head" in reading.reasons[0].lower()
    assert (reading.run_id, reading.model, reading.purpose) == ("run-1", "tiny", "pre-training")
    assert reading.command == ("python", "train.py")
    assert (reading.ranks_expected, reading.ranks_seen, reading.steps) == (2, 2, 9)
    # by hand: 96 operations per step and row, of 4 and 5 rows; the other process takes 3 steps of 4
    assert reading.operations.total == 96 * (4 * 6 + 5 * 9 + 4 * 3)
    assert reading.operations.by_phase["backward"] == 2 * reading.operations.by_phase["forward"]
    assert reading.records == sum(segment.records for segment in reading.segments)
    assert reading.exit
    assert reading.exit.code == 0
    assert reading.devices[1][0]["name"] == "a processor"
    assert reading.started <= reading.ended
    assert [point.steps for point in reading.segments[0].points] == [3, 3]


def test_without_a_recount_the_recorded_amounts_are_taken(run, good: str) -> None:
    run.segment()
    reading = read_ledger(run.directory, recount=None)
    assert str(reading.verdict) == good
    assert reading.operations == run.read().operations


def test_a_missing_rank_makes_the_total_a_floor(run) -> None:
    run.segment(rank=1, expected_ranks=9)
    reading = run.read()
    assert reading.verdict == "INCOMPLETE"
    assert "8 of 9 ranks left no segment: 0, 2, 3, 4, 5 and 3 more" in reasons(run)
    assert f"at least {reading.operations.total:,} operations" in reasons(run)


def test_a_missing_attempt_and_a_missing_process_show(run) -> None:
    for _ in range(3):
        run.segment()
    run.launcher(processes=3)
    assert run.judge() == "UNANCHORED"
    run.path("rank-00000.attempt-001.jsonl").unlink()
    assert "Of 3 attempts of rank 0, 1 left no segment" in reasons(run)
    assert "Of 3 segments that the launcher saw begin, 1 are missing here" in reasons(run)
    assert run.judge() == "INCOMPLETE"


def test_an_unsealed_segment_is_told_with_the_time_of_its_last_record(run) -> None:
    run.segment(seal=False)
    segment = run.read().segments[0]
    assert "was never closed: its process was killed, the power was lost, or its disk took no more. " in reasons(run)
    assert f"What it did after {segment.ended} is not counted." in reasons(run)


def test_a_gap_lowers_the_verdict_only_if_operations_may_be_missing(run, good: str) -> None:
    book = run.book()
    book.gap("hardware", "no driver", lower_bound=False)
    run.interval(book, 0)
    book.seal("finished")
    assert run.judge() == good
    book = run.book()
    for _ in range(2):
        book.gap("counter", "a thread was not followed", lower_bound=True)
    book.seal("finished")
    assert run.judge() == "INCOMPLETE"
    assert "Operations may be missing: a thread was not followed (noted 2 times)" in reasons(run)
    assert [(gap.message, gap.times) for gap in run.read().gaps] == [
        ("no driver", 1),
        ("a thread was not followed", 2),
    ]


def test_operators_without_a_formula_are_named(run) -> None:
    from auditor.tally import Entry, Phase, Purpose, Signature, Tally

    tally = Tally({Entry(Signature("mylib::secret", "[]"), Phase.FORWARD, Purpose.PRE_TRAINING): 5})
    book = run.book()
    book.record_interval(
        first_step=1,
        steps=2,
        elapsed_us=1,
        parts=[(tally, 2)],
        price=run.price,
    )
    book.seal("finished")
    assert run.judge() == "INCOMPLETE"
    assert "mylib::secret (10 calls)" in reasons(run)


def test_an_amount_that_its_tallies_do_not_come_to_is_false(run) -> None:
    run.segment(intervals=2)

    def inflate(body):
        if isinstance(body, TallyRecord):
            rows = tuple((*row[:4], str(int(row[4]) + 1), *row[5:]) for row in body.operations)
            return replace(body, operations=rows)
        return body

    rewrite(run, inflate)
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert "rank-00000.attempt-000.jsonl: line 5: tally 0 does not come to what it says" in reading.reasons[0]
    assert "backward/matmul/float32/pre-training" in reading.reasons[0]
    assert reading.steps == 0
    # Without a recount the sum in the seal is what shows it.
    assert "its totals do not come to its intervals" in read_ledger(run.directory, recount=None).reasons[0]


def test_another_formula_table_changes_the_total_and_not_the_verdict(run, good: str) -> None:
    run.segment(intervals=2)
    was = run.read().operations.total

    def twice(tally):
        return add_up([(Pricer().price(tally), 2)])

    reading = run.read(recount=Recount(price=twice, digest="f" * 64))
    assert str(reading.verdict) == good
    assert reading.operations.total == 2 * was
    tables = f"Recorded under formula table {TABLE.digest[:12]}, recounted under ffffffffffff"
    assert f"{tables}: the total was {was}, is {2 * was}." in reading.reasons
    assert sum(point.operations.total for point in reading.segments[0].points) == 2 * was
    assert run.read(recount=Recount(price=Pricer().price, digest="f" * 64)).reasons == run.read().reasons


ALERT = Alert(name="executed@1", level="1", rule="", at="1", counted="many", told="")
OPINION = SecondOpinion(counter="x", model="", inputs="", ours="8", theirs="", unavailable="", explained=(), modules=())
UPDATES = Updates(number=0, optimizer="SGD", step=1, operations="8", parts=())


def _updating(*, copies: int = 2, elements: int = 8) -> Updates:
    return replace(UPDATES, parts=(("DTensor", 2, "a", copies, elements, "b"),))


FALSEHOODS = {
    "a step left out": lambda b: (
        replace(b, first_step=b.first_step + 1) if isinstance(b, Interval) and b.first_step > 1 else b
    ),
    "negative steps": lambda b: replace(b, steps=-3) if isinstance(b, Interval) else b,
    "time runs back": lambda b: replace(b, elapsed_us=-b.elapsed_us) if isinstance(b, Interval) else b,
    "unknown tally": lambda b: replace(b, tallies=((1, 3),)) if isinstance(b, Interval) else b,
    "no times": lambda b: replace(b, tallies=tuple((n, 0) for n, _ in b.tallies)) if isinstance(b, Interval) else b,
    "a tally twice": lambda b: replace(b, tallies=b.tallies * 2) if isinstance(b, Interval) else b,
    "a tally before its operators": lambda b: [] if b.kind == "signatures" else b,
    "a tally of another number": lambda b: replace(b, number=1) if b.kind == "tally" else b,
    "more calls": lambda b: (
        replace(b, entries=tuple((*e[:3], e[3] + 1) for e in b.entries)) if b.kind == "tally" else b
    ),
    "an entry twice": lambda b: replace(b, entries=(*b.entries, b.entries[0])) if b.kind == "tally" else b,
    "unknown signature": lambda b: replace(b, entries=((9, *b.entries[0][1:]),)) if b.kind == "tally" else b,
    "unknown phase": lambda b: replace(b, entries=((0, "sideways", *b.entries[0][2:]),)) if b.kind == "tally" else b,
    "another shape": lambda b: (
        replace(b, items=((b.items[0][0], '["float32[9,8]","float32[8,2]"]'),)) if b.kind == "signatures" else b
    ),
    "signatures not in order": lambda b: replace(b, first=1) if b.kind == "signatures" else b,
    "text of no encoding": lambda b: replace(b, items=((b.items[0][0], "\ud800"),)) if b.kind == "signatures" else b,
    "seal: more steps": lambda b: replace(b, steps=b.steps + 1) if isinstance(b, Seal) else b,
    "seal: no gaps": lambda b: replace(b, gaps=b.gaps + 1) if isinstance(b, Seal) else b,
    "seal: other operations": lambda b: replace(b, operations=b.operations[1:]) if isinstance(b, Seal) else b,
    "seal: unpriced": lambda b: replace(b, unpriced={"a::b": 1}) if isinstance(b, Seal) else b,
    "rows in another form": lambda b: (
        replace(b, operations=tuple((*r[:4], r[4] + ".0", *r[5:]) for r in b.operations))
        if isinstance(b, Seal | TallyRecord)
        else b
    ),
    "rows of no bucket": lambda b: replace(b, operations=(("x",),)) if isinstance(b, Seal | TallyRecord) else b,
    "another role": lambda b: replace(b, role="boss") if b.kind == "genesis" else b,
    "time runs back at the end": lambda b: (
        replace(b, elapsed_us=5) if isinstance(b, Seal) or (isinstance(b, Interval) and b.first_step > 1) else b
    ),
    "steps taken back": lambda b: (
        replace(b, steps=0)
        if isinstance(b, Seal)
        else (replace(b, steps=-3) if isinstance(b, Interval) and b.first_step > 1 else b)
    ),
    "the same tally written twice": lambda b: [b, b] if b.kind == "tally" else b,
    "a record after the seal": lambda b: (
        [b, Gap(cause="ledger", message="", lower_bound=False)] if isinstance(b, Seal) else b
    ),
    "an alert without an amount": lambda b: [b, ALERT] if b.kind == "genesis" else b,
    "an opinion without an amount": lambda b: [b, OPINION] if b.kind == "genesis" else b,
    "an update without an amount": lambda b: [b, replace(UPDATES, operations="many")] if b.kind == "genesis" else b,
    "an update of fewer than none": lambda b: [b, _updating(elements=-1)] if b.kind == "genesis" else b,
    "an update by more ranks than there are": lambda b: [b, _updating(copies=3)] if b.kind == "genesis" else b,
    "a purpose that there is not": lambda b: [b, PurposeChange(purpose="leisure")] if b.kind == "genesis" else b,
    "a negative rank": lambda b: replace(b, rank=-1) if b.kind == "genesis" else b,
}


# What a tally comes to is told by a recount alone.
RECOUNTED_ONLY = {"more calls", "another shape"}


@pytest.mark.parametrize("name", FALSEHOODS)
@pytest.mark.parametrize("recounted", [True, False])
def test_a_falsehood_that_is_well_signed_shows_all_the_same(run, name: str, recounted: bool) -> None:
    run.segment(intervals=2)
    before = run.path().read_bytes()
    rewrite(run, FALSEHOODS[name])
    assert run.path().read_bytes() != before
    recount = Recount(price=Pricer().price, digest=TABLE.digest) if recounted else None
    try:
        told = read_ledger(run.directory, recount=recount)
    except LedgerInvalid as error:
        told = error
    if name in RECOUNTED_ONLY and not recounted:
        assert told.verdict == "UNANCHORED"
        return
    assert getattr(told, "verdict", "INVALID") == "INVALID"
    assert "rank-00000" in str(getattr(told, "reasons", told))


def test_rows_in_another_form_show_without_a_seal_and_a_recount(run) -> None:
    run.segment(seal=False)
    rewrite(run, FALSEHOODS["rows in another form"])
    assert read_ledger(run.directory, recount=None).verdict == "INVALID"


@pytest.mark.parametrize("calls", [-1, -100])
def test_calls_taken_back_are_false_even_if_all_adds_up(run, calls: int) -> None:
    from auditor.tally import Tally

    tally = Tally(dict.fromkeys(run.tally(4), calls))
    book = run.book()
    run.interval(book, 0)
    book.record_interval(first_step=4, steps=1, elapsed_us=5000, parts=[(tally, 1)], price=run.price)
    book.close()
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert reading.operations.total == 96 * 4 * 3


def test_rewriting_nothing_changes_nothing_that_is_said(run, good: str) -> None:
    run.segment(intervals=2)
    before = run.read()
    rewrite(run, lambda body: body)
    assert run.judge() == good
    after = run.read()
    assert (after.operations, after.records, after.steps) == (before.operations, before.records, before.steps)


def test_a_signature_by_another_key_shows(run, tmp_path: Path) -> None:
    from auditor.ledger import load_or_create

    run.segment()
    rewrite(run, lambda body: body, key=load_or_create(tmp_path / "other.pem"))
    assert run.judge() == "LedgerInvalid"


def test_a_ledger_of_the_future_is_not_misread(run) -> None:
    run.segment()
    rewrite(run, lambda b: replace(b, schema="auditor.ledger/4") if b.kind == "genesis" else b)
    with pytest.raises(SchemaFromFuture, match=r"auditor\.ledger/4") as caught:
        run.read()
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_earlier_schema_is_none_that_is_read(run) -> None:
    run.segment()
    rewrite(run, lambda b: replace(b, schema="auditor.ledger/2") if b.kind == "genesis" else b)
    with pytest.raises(LedgerInvalid, match=r"auditor\.ledger/2"):
        run.read()


def test_what_was_seen_of_devices_is_read_in_its_order_and_changes_no_amount(run, good: str) -> None:
    plain = run.segment()
    other = run.book(rank=1, expected_ranks=2)
    run.interval(other, 0)
    other.hardware("observed", "GPU-1", {"energy_mj": "17"})
    run.interval(other, 1)
    other.hardware("lost", "GPU-1", {"because": "GPU is lost"})
    other.seal("finished")
    reading = run.read()
    assert (str(reading.verdict), reading.operations) == (good, add_up([(plain.operations, 2)]))
    assert [(seen.event, seen.device, dict(seen.values)) for seen in reading.hardware] == [
        ("observed", "GPU-1", {"energy_mj": "17"}),
        ("lost", "GPU-1", {"because": "GPU is lost"}),
    ]
    assert [len(segment.hardware) for segment in reading.segments] == [0, 2]


def test_what_is_not_a_ledger_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty" / "segments").mkdir(parents=True)
    (tmp_path / "nothing" / "segments").mkdir(parents=True)
    (tmp_path / "nothing" / "segments" / "rank-00000.attempt-000.jsonl").touch()
    for name in ("nowhere", "file", "empty", "nothing", "."):
        with pytest.raises(NotALedger) as caught:
            read_ledger(tmp_path / name, recount=None)
        assert caught.value.exit_code is ExitCode.USAGE
        assert "segments" in caught.value.remedy


def test_what_lies_in_the_folder_and_is_no_segment_is_named(run) -> None:
    run.segment()
    (run.directory / "segments" / "notes.txt").write_text("x")
    (run.directory / "segments" / ".nfs0001").write_text("x")
    run.path("rank-00001.attempt-000.jsonl").mkdir()
    run.path("rank-00002.attempt-000.jsonl").symlink_to(run.path())
    os.mkfifo(run.path("rank-00003.attempt-000.jsonl"))
    assert run.judge() == "INCOMPLETE"
    for name in ("notes.txt", "rank-00001", "rank-00002", "rank-00003"):
        assert name in reasons(run)
    assert ".nfs" not in reasons(run)


def test_many_alike_findings_are_summed_up(run) -> None:
    for rank in range(25):
        run.segment(intervals=0, seal=False, rank=rank, expected_ranks=25)
    assert "The same holds for 5 more segments." in reasons(run)
    assert len(run.read().reasons) < 30


def test_head_changes_with_any_segment(run) -> None:
    run.segment(rank=0, expected_ranks=2)
    first = run.read().head
    run.segment(rank=1, expected_ranks=2)
    both = run.read().head
    run.path("rank-00000.attempt-000.jsonl").unlink()
    assert len({first, both, run.read().head}) == 3


def test_a_long_run_is_drawn_with_few_points_that_add_up(run, good: str) -> None:
    book = run.book()
    number = 2 * FULL.points + 700
    for i in range(number):
        run.interval(book, i)
    book.seal("finished")
    reading = run.read()
    points = reading.segments[0].points
    assert str(reading.verdict) == good
    assert len(points) <= FULL.points + 1
    assert sum(point.steps for point in points) == reading.steps == 3 * number
    assert add_up([(point.operations, 1) for point in points]) == reading.operations
    starts = [point.first_step for point in points]
    assert starts == [1 + sum(point.steps for point in points[:i]) for i in range(len(points))]


def test_amounts_above_what_a_float_holds_stay_exact(run, good: str) -> None:
    from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

    shapes = encode_arguments([Shape((10**9 + 7, 10**9 + 9)), Shape((10**9 + 9, 10**7 + 19))])
    tally = Tally({Entry(Signature("aten::mm", shapes), Phase.FORWARD, Purpose.PRE_TRAINING): 3})
    book = run.book()
    book.record_interval(first_step=1, steps=7, elapsed_us=1, parts=[(tally, 7)], price=run.price)
    book.seal("finished")
    total = run.read().operations.total
    assert total == 2 * 21 * (10**9 + 7) * (10**9 + 9) * (10**7 + 19) > 10**26
    assert int(float(total)) != total
    assert run.judge() == good
    assert next(iter(run.read().operations.amounts.values())) == Amount(total)


def test_of_very_many_looks_at_a_device_the_last_and_some_before_it_are_kept(run, good: str) -> None:
    book = run.book()
    looks = 3 * FULL.sights
    for number in range(looks):
        book.hardware("observed", f"GPU-{number % 2}", {"energy_mj": str(number)})
    book.hardware("lost", "GPU-1", {})
    book.seal("finished")
    reading = run.read()
    assert str(reading.verdict) == good
    kept = [int(seen.values["energy_mj"]) for seen in reading.hardware if seen.event == "observed"]
    assert kept == sorted(kept)
    assert kept[-2:] == [looks - 2, looks - 1]
    assert FULL.sights // 2 <= len(kept) <= FULL.sights
    assert reading.hardware[-1].event == "lost"


def test_records_that_only_inform_have_a_bound_for_the_reader(run, monkeypatch) -> None:
    """They are signed by whoever writes the ledger: without a bound, what a reader keeps is theirs to say."""
    monkeypatch.setattr("auditor.ledger.contents.MOST_TOLD", 3)
    book = run.book(role="launcher", expected_ranks=0, counter="", devices=())
    for number in range(4):
        assert run.read().verdict == "INCOMPLETE", number
        book.append(Exit(code=0, signal=0, processes=0))
    assert "more than the 3 records allowed that only inform" in reasons(run)
    assert run.read().verdict == "INVALID"
    book.close()
