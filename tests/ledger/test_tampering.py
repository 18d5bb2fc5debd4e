"""Whatever is done to the bytes of a whole ledger, it is never as good as before, and never a traceback."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil

import pytest

from auditor.errors import LedgerInvalid
from auditor.records import TALLIES_LIMIT_BYTES, Alert, SecondOpinion
from auditor.session.state import State
from tests.ledger.conftest import WEIGHTS

FALSE = {"INVALID", "LedgerInvalid"}  # the latter where nothing stands before what is false
WORSE = FALSE | {"INCOMPLETE", "NotALedger"}


def fold(run, book) -> None:
    """One interval more, of a shape for which there is no room among the tallies."""
    book._known._size_bytes += TALLIES_LIMIT_BYTES
    run.interval(book, 2, size=9)


@pytest.fixture
def golden(run):
    """One rank with every kind of record that a counting process writes, and its bytes."""
    book = run.book()
    run.interval(book, 0)
    book.purpose("evaluation")
    book.gap("hardware", "no driver", lower_bound=False)
    book.second_opinion(
        SecondOpinion(
            counter="fvcore",
            model="Tiny",
            inputs="[]",
            ours="8",
            theirs="8",
            unavailable="",
            explained=({"operator": "aten::mm", "module": "", "ours": "8", "theirs": "8", "note": ""},),
            modules=(("", "Tiny", "8"),),
        )
    )
    book.hardware("observed", "GPU-1", {"energy_mj": "5"})
    run.interval(book, 1)
    state = State.of(book)
    book.weights(dataclasses.replace(WEIGHTS, step=6))
    book.append(state.resumed())
    book.append(Alert(name="executed@1", level="1", rule="", at="1", counted="8", told="webhook"))
    book.hardware("observed", "GPU-1", {"energy_mj": "6"})
    fold(run, book)
    book.seal("finished")
    assert run.judge() == "UNANCHORED"
    return run.path().read_bytes()


def judge(run, data: bytes) -> str:
    run.path().write_bytes(data)
    return run.judge()


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_byte_changed_in_turn_shows(run, golden: bytes, mask: int) -> None:
    changed = bytearray(golden)
    for place in range(len(golden)):
        changed[place] ^= mask
        assert judge(run, bytes(changed)) in FALSE, place
        changed[place] ^= mask


def test_any_bit_flipped_in_the_last_record_and_around_line_ends_shows(run, golden: bytes) -> None:
    last = golden.rstrip(b"\n").rfind(b"\n")
    places = {match.start() + offset for match in re.finditer(b"\n", golden) for offset in (-1, 0, 1)}
    for place in sorted({*range(last, len(golden), 7), *places} & set(range(len(golden)))):
        for bit in range(8):
            changed = bytearray(golden)
            changed[place] ^= 1 << bit
            assert judge(run, bytes(changed)) in WORSE, (place, bit)


def test_every_truncation_shows_and_keeps_what_is_vouched_for(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    checkpoints = [index for index, line in enumerate(lines) if b',"checkpoint",' in line]
    ends = [sum(map(len, lines[: index + 1])) for index in checkpoints]
    for length in range(len(golden)):
        verdict = judge(run, golden[:length])
        whole = sum(end <= length for end in ends)
        if whole == 0:
            assert verdict == "NotALedger"
            continue
        assert verdict == "INCOMPLETE", length
        if length % 50 == 0:
            reading = run.read()
            assert reading.records == checkpoints[whole - 1] + 1 - whole
            assert reading.segments[0].torn_bytes == length - ends[whole - 1]


def test_a_tail_of_zeros_is_torn_and_not_more(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    for data in (b"".join(lines[:-1]) + bytes(600), golden[:-40] + bytes(40), golden + bytes(512)):
        assert judge(run, data) == "INCOMPLETE"
        assert run.read().segments[0].torn_bytes > 0
    assert judge(run, golden + bytes(512) + b"\n") == "INVALID"
    assert judge(run, golden[:-1] + b"\0") == "INCOMPLETE"


@pytest.mark.parametrize("terminator", [b"\r\n", b"\r", b" ", b"}", b"\x0b", b"{"])
def test_a_whole_record_that_ends_otherwise_is_false_not_torn(run, golden: bytes, terminator: bytes) -> None:
    assert judge(run, golden[:-1] + terminator) == "INVALID"


def test_records_removed_moved_doubled_and_put_in_show(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    for i in range(len(lines) - 1):
        assert judge(run, b"".join(lines[:i] + lines[i + 1 :])) in FALSE, f"without {i}"
        swapped = [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]
        assert judge(run, b"".join(swapped)) in FALSE, f"swapped {i}"
    for i in range(len(lines)):
        assert judge(run, b"".join([*lines[: i + 1], *lines[i:]])) in FALSE, f"doubled {i}"
        assert judge(run, b"".join([*lines[:i], b"\n", *lines[i:]])) in FALSE
    assert judge(run, b"".join(lines[:-1])) == "INCOMPLETE"


def test_records_of_another_segment_put_in_show(run, new_run, golden: bytes) -> None:
    other = new_run()
    other.segment()
    lines, foreign = golden.splitlines(keepends=True), other.path().read_bytes().splitlines(keepends=True)
    for i in range(1, len(lines)):
        for line in foreign:
            assert judge(run, b"".join([*lines[:i], line, *lines[i:]])) in FALSE


def test_nothing_can_stand_after_the_seal(run, golden: bytes) -> None:
    for extra in (b"x", b"{", b"\n", golden.splitlines(keepends=True)[1]):
        assert judge(run, golden + extra) == "INVALID"


def test_the_good_records_before_damage_are_still_told(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if b',"gap",' in line)
    judge(
        run,
        b"".join(lines[:place]) + lines[place].replace(b"no driver", b"no drover") + b"".join(lines[place + 1 :]),
    )
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert reading.steps == 3
    assert reading.operations == run.price(run.tally(4)) + run.price(run.tally(4)) + run.price(run.tally(4))
    assert f"lines {place + 1} to {place + 2}: the checkpoint in line {place + 2} is not signed" in reading.reasons[0]
    assert "rank-00000.attempt-000.jsonl" in reading.reasons[0]


def test_a_foreign_segment_is_named_and_not_counted(run, new_run, good: str) -> None:
    run.segment(expected_ranks=2)
    run.segment(rank=1, expected_ranks=2)
    other = new_run()
    other.segment(rank=2, expected_ranks=2)
    assert run.judge() == good
    total = run.read().operations.total
    name = "rank-00002.attempt-000.jsonl"
    shutil.copy(other.path(name), run.path(name))
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert any(name in reason and "another run, run-2" in reason for reason in reading.reasons)
    assert reading.operations.total == total


def test_a_copied_segment_is_counted_once(run) -> None:
    run.segment()
    total = run.read().operations.total
    shutil.copy(run.path(), run.path("rank-00000.attempt-001.jsonl"))
    reading = run.read()
    assert reading.verdict == "INVALID"
    assert any("attempt-001" in reason and "counted once" in reason for reason in reading.reasons)
    assert reading.operations.total == total


def test_a_copy_that_was_cut_short_does_not_replace_the_whole_one(run) -> None:
    run.segment()
    total = run.read().operations.total
    lines = run.path().read_bytes().splitlines(keepends=True)
    run.path("launcher.attempt-000.jsonl").write_bytes(b"".join(lines[:2]))
    reading = run.read()
    assert (reading.verdict, reading.operations.total) == ("INVALID", total)


def test_a_segment_under_another_name_is_false(run) -> None:
    run.segment()
    run.path().rename(run.path("rank-00001.attempt-000.jsonl"))
    assert any("renamed" in reason for reason in run.read().reasons)
    assert run.judge() == "INVALID"


def test_a_rewrite_with_another_key_shows_only_to_who_knows_the_key(run, new_run, key, good: str) -> None:
    from auditor.ledger import load_or_create

    forger = load_or_create(run.directory.parent / "forger.pem")
    run.key = forger
    run.segment()
    assert run.judge() == good
    assert "rewrite with the same key would not show" in run.read().reasons[0]
    reading = run.read(trusted_key=key.public_hex)
    assert reading.verdict == "INVALID"
    assert forger.public_hex in reading.reasons[0]
    assert str(run.read(trusted_key=forger.public_hex).verdict) == good


def test_random_edits_of_several_bytes_never_pass(run, golden: bytes) -> None:
    chance = random.Random(7)
    for _ in range(300):
        changed = bytearray(golden)
        for _ in range(chance.randint(1, 5)):
            start = chance.randrange(len(changed))
            changed[start : start + chance.randint(0, 40)] = chance.randbytes(chance.randint(0, 40))
        if changed != golden:
            assert judge(run, bytes(changed)) in WORSE


def test_a_changed_line_shows_wherever_it_stands_and_its_place_is_told(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    for i, line in enumerate(lines):
        changed = b"[2" + line[2:]  # another time, which nothing else tells
        assert changed != line
        assert judge(run, b"".join([*lines[:i], changed, *lines[i + 1 :]])) in FALSE, i
        told = re.search(r"lines (\d+) to (\d+)", reason(run))
        assert told, i
        # A checkpoint that says another time is missed by the one after it.
        assert int(told[1]) <= i + 1 + (b',"checkpoint",' in line)
        assert i + 1 <= int(told[2])


def reason(run) -> str:
    try:
        return run.read().reasons[0]
    except LedgerInvalid as error:
        return str(error)


def test_a_signature_left_out_or_exchanged_shows_wherever_it_stands(run, golden: bytes) -> None:
    lines = golden.splitlines(keepends=True)
    signed = [i for i, line in enumerate(lines) if b',"checkpoint",' in line]
    assert {1, len(lines) - 1} < set(signed)
    for i in signed:
        exchanged = lines[1 if i > 1 else 3]
        for changed in (re.sub(rb'"[A-Za-z0-9+/]{86}=="', b'"' + b"A" * 86 + b'=="', lines[i]), exchanged):
            assert changed != lines[i]
            told = judge(run, b"".join([*lines[:i], changed, *lines[i + 1 :]]))
            assert told in FALSE, i
        told = judge(run, b"".join([*lines[:i], *lines[i + 1 :]]))
        assert told in WORSE, i
        assert (told == "INCOMPLETE") == (i == len(lines) - 1)


def test_what_is_added_without_the_key_is_not_counted(run) -> None:
    """Whole records after the last checkpoint are those of a write that was stopped, or of a forger."""
    run.segment(seal=False)
    whole, before = run.path().read_bytes(), run.read()
    forged = whole + whole.splitlines(keepends=True)[-2].replace(b"[4,3,", b"[7,3,")
    assert judge(run, forged) == "INCOMPLETE"
    after = run.read()
    assert (after.steps, after.operations, after.head) == (before.steps, before.operations, before.head)
    assert after.segments[0].torn_bytes == len(forged) - len(whole)


def test_damage_far_into_a_long_segment_is_found_at_its_place(run) -> None:
    book = run.book()
    for number in range(3000):
        run.interval(book, number)
    book.seal("finished")
    lines = run.path().read_bytes().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if b",[6001,3," in line)
    lines[place] = lines[place].replace(b",[6001,3,", b",[6001,4,")
    assert judge(run, b"".join(lines)) == "INVALID"
    reading = run.read()
    assert f"lines {place + 1} to {place + 2}" in reading.reasons[0]
    assert reading.steps == 6000
    assert reading.operations.total == run.price(run.tally(4)).total * 6000
