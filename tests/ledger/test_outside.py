"""A ledger held against heads from outside: what they cover, what contradicts them, and in which words."""

from __future__ import annotations

import base64
import dataclasses
import shutil

import pytest

from auditor.errors import NoteError
from auditor.ledger import SegmentBook, SegmentWriter, Verdict, load_or_create
from auditor.ledger.cosigning import Witness
from auditor.ledger.heads import find_heads, heads_file, keep_heads, present_heads
from auditor.ledger.merkle import Frontier, leaf_hashes
from auditor.ledger.notes import head_of
from auditor.ledger.outside import Held, Outside, roots_of
from auditor.ledger.places import witnessed_of
from auditor.ledger.signed import read_head, read_heads
from tests.ledger.conftest import records_of, rewrite


def held(*heads, source="kept.heads"):
    return Outside(held=tuple(Held(source, head) for head in heads))


def read(run, outside, **changes):
    return run.read(outside=outside, **changes)


def job(run):
    run.segment(rank=0, expected_ranks=2)
    run.segment(rank=1, expected_ranks=2)
    run.launcher(processes=2)


def test_heads_of_all_segments_as_they_ended_make_it_witnessed(run):
    job(run)
    heads = present_heads(run.directory)
    assert len(heads) == 3
    reading = read(run, held(*heads))
    assert reading.verdict is Verdict.WITNESSED
    assert reading.reasons[0].startswith(
        "The last head of every segment agrees with heads held elsewhere, on the word of whoever kept kept.heads: "
    )


def test_without_heads_it_is_unanchored_in_plain_words(run):
    job(run)
    reading = run.read()
    assert reading.verdict is Verdict.UNANCHORED
    assert reading.reasons[0].startswith("Whole and self-signed. Nobody outside holds its head")


def test_heads_of_some_segments_say_how_much_they_cover(run):
    job(run)
    heads = present_heads(run.directory)
    reading = read(run, held(heads[0]))
    assert reading.verdict is Verdict.UNANCHORED
    total = sum(head.head.size for head in heads)
    assert f"cover {heads[0].head.size} of {total} lines, and 1 of 3 segments to their end" in reading.reasons[0]
    assert "rests on the key alone" in reading.reasons[0]


def test_a_head_from_earlier_covers_what_stood_then_and_no_more(run):
    book = run.book()
    run.interval(book, 0)
    early = read_head(book.head_note())
    run.interval(book, 1)
    book.seal("finished")
    reading = read(run, held(early))
    assert reading.verdict is Verdict.UNANCHORED
    last = reading.segments[0].head.size
    assert f"cover {early.head.size} of {last} lines, and 0 of 1 segments to their end" in reading.reasons[0]
    assert read(run, held(early, read_head(book.head_note()))).verdict is Verdict.WITNESSED


def test_a_ledger_that_lacks_something_stays_incomplete_whatever_covers_it(run):
    run.segment(expected_ranks=2)
    reading = read(run, held(*present_heads(run.directory)))
    assert reading.verdict is Verdict.INCOMPLETE
    assert any("agrees with heads held elsewhere" in reason for reason in reading.reasons)


def test_a_rewrite_with_the_same_key_diverges(run):
    job(run)
    heads = present_heads(run.directory)
    rewrite(run, lambda body: body if body.kind != "genesis" else dataclasses.replace(body, model="another"))
    reading = read(run, held(*heads))
    assert reading.verdict is Verdict.DIVERGED
    assert any("holds another head of its first" in text and "the ledger's own key" in text for text in reading.reasons)


def test_a_rewrite_that_changes_only_what_came_after_an_early_head_agrees_with_that_head(run):
    book = run.book()
    early = read_head(book.head_note())
    run.interval(book, 0)
    late = read_head(book.head_note())
    book.seal("finished")
    genesis = records_of(run.path())[0].body
    shutil.rmtree(run.directory)
    again = SegmentBook(SegmentWriter.create(run.directory, genesis, run.key))
    again.seal("finished")
    # The first line holds another time, so not even the early head survives a rewrite from scratch.
    assert read(run, held(early)).verdict is Verdict.DIVERGED
    assert read(run, held(late)).verdict is Verdict.DIVERGED


def test_a_rollback_diverges(run):
    job(run)
    heads = present_heads(run.directory)
    lines = run.path().read_bytes().splitlines(keepends=True)
    run.path().write_bytes(b"".join(lines[:-2]))
    reading = read(run, held(*heads))
    assert reading.verdict is Verdict.DIVERGED
    size = heads[1].head.size
    assert any(
        f"was cut back: kept.heads holds a head of {size} lines" in text and f"here it has {size - 2}" in text
        for text in reading.reasons
    )


def test_a_segment_that_is_gone_diverges(run):
    job(run)
    heads = present_heads(run.directory)
    run.path("rank-00001.attempt-000.jsonl").unlink()
    reading = read(run, held(*heads))
    assert reading.verdict is Verdict.DIVERGED
    assert any("there is no such segment here" in text for text in reading.reasons)


def test_the_ledger_of_another_run_diverges(run, new_run):
    run.segment()
    other = new_run()
    other.segment()
    reading = read(other, held(*present_heads(run.directory)))
    assert reading.verdict is Verdict.DIVERGED
    assert any("of another run: this is not the ledger" in text for text in reading.reasons)


def test_a_whole_run_under_another_key_and_nonce_diverges(run, tmp_path):
    run.segment()
    heads = present_heads(run.directory)
    shutil.rmtree(run.directory)
    run.key = load_or_create(tmp_path / "other")
    run.segment()
    assert run.judge() == "UNANCHORED"
    assert read(run, held(*heads)).verdict is Verdict.DIVERGED


def test_a_false_ledger_stays_invalid_and_is_not_anchored(run):
    job(run)
    heads = present_heads(run.directory)
    run.path().write_bytes(run.path().read_bytes().replace(b'"tiny"', b'"tine"'))
    assert read(run, held(*heads)).verdict is Verdict.INVALID
    with pytest.raises(Exception, match=r"rank-00000.attempt-000.jsonl: lines 1 to"):
        present_heads(run.directory)


def test_a_head_whose_signature_is_false_is_an_error_and_no_evidence(run):
    run.segment()
    (head,) = present_heads(run.directory)
    part = head.signatures[0]
    forged = dataclasses.replace(head, signatures=(part._replace(data=bytes(64)),))
    with pytest.raises(NoteError, match="false"):
        read(run, held(forged))


def test_a_contradiction_that_the_ledgers_key_did_not_sign_says_so(run):
    run.segment()
    (head,) = present_heads(run.directory)
    text = head.text.replace(head.head.root, "A" * 43 + "=")
    strange = read_head(f"{text}\n\u2014 somebody AAAAAAAA\n")
    reading = read(run, held(strange))
    assert reading.verdict is Verdict.DIVERGED
    assert any("which no key of this ledger signed" in text for text in reading.reasons)


def test_the_file_of_heads_is_signed_notes_and_its_text_stands_for_it(run):
    job(run)
    heads = present_heads(run.directory)
    file = heads_file(heads, "run-1")
    assert read_heads(file.data.decode()) == heads
    path = keep_heads(run.directory, file)
    assert path.read_bytes() == file.data
    assert find_heads(run.directory, file.short) == heads
    path.write_bytes(file.data + b"\n")
    assert find_heads(run.directory, file.short) is None
    path.unlink()
    assert find_heads(run.directory, file.short) is None
    with pytest.raises(NoteError, match="neither a file"):
        find_heads(run.directory, "no such file")


def test_a_text_whose_heads_are_gone_leaves_it_incomplete(run):
    run.segment()
    reading = read(run, Outside(lost=("auditor heads of run-1 ...",)))
    assert reading.verdict is Verdict.INCOMPLETE
    assert any("are not in anchors/ as they were" in text for text in reading.reasons)


@pytest.mark.parametrize("step", [1, 7, 40, 10_000])
def test_roots_at_any_size_however_the_bytes_come(step):
    lines = [number.to_bytes(2).hex().encode() for number in range(60)]
    data = b"".join(line + b"\n" for line in lines)
    blocks = [data[at : at + step] for at in range(0, len(data), step)]
    expected = {}
    for size in (1, 2, 31, 32, 33, 59, 60):
        tree = Frontier()
        tree.extend(leaf_hashes(lines[:size]))
        expected[size] = head_of(tree).root
    assert dict(roots_of(blocks, expected)) == expected
    assert dict(roots_of(blocks, [61])) == {}


class Cosigned:
    """Witnesses that co-sign what is asked of them, into the run's directory."""

    def __init__(self, run, tmp_path, *names):
        self.run = run
        self.keys = {name: load_or_create(tmp_path / f"witness-{name}") for name in names}
        self.witnesses = tuple(Witness(name, key.public_hex) for name, key in self.keys.items())

    def cosign(self, *names, time_s=1_800_000_000):
        witnessed_of(self.run.directory).mkdir(exist_ok=True)
        for index, head in enumerate(present_heads(self.run.directory)):
            marks = [w.cosign(head.text, time_s, self.keys[w.name]) for w in self.witnesses if w.name in names]
            path = witnessed_of(self.run.directory) / f"{index}.{head.head.size}.note"
            path.write_text(head.signed_also(marks).note)

    def outside(self, quorum=None, **changes):
        return Outside(witnesses=self.witnesses, quorum=quorum or len(self.witnesses), **changes)


def test_cosignatures_of_trusted_witnesses_in_the_directory_count(run, tmp_path):
    job(run)
    cosigned = Cosigned(run, tmp_path, "w1", "w2")
    cosigned.cosign("w1")
    assert run.read().verdict is Verdict.UNANCHORED, "the ledger's own list of witnesses is nobody's trust"
    assert read(run, cosigned.outside()).verdict is Verdict.UNANCHORED, "one of two"
    assert read(run, cosigned.outside(quorum=1)).verdict is Verdict.WITNESSED
    cosigned.cosign("w1", "w2")
    reading = read(run, cosigned.outside())
    assert reading.verdict is Verdict.WITNESSED
    assert "co-signed no later than 2027-01-15T08:00:00Z" in reading.reasons[0]


def test_a_witness_of_the_same_name_and_another_key_does_not_count(run, tmp_path):
    job(run)
    cosigned = Cosigned(run, tmp_path, "w1")
    cosigned.cosign("w1")
    stranger = Witness("w1", load_or_create(tmp_path / "stranger").public_hex)
    assert read(run, Outside(witnesses=(stranger,), quorum=1)).verdict is Verdict.UNANCHORED


def test_a_false_cosignature_in_the_directory_is_told_and_does_not_count(run, tmp_path):
    run.segment()
    cosigned = Cosigned(run, tmp_path, "w1")
    cosigned.cosign("w1")
    (path,) = witnessed_of(run.directory).iterdir()
    head = read_head(path.read_text())
    last = head.signatures[-1]
    false = base64.b64encode(last.key_id + last.data[:-1] + bytes([last.data[-1] ^ 1])).decode()
    path.write_text(head.note.replace(last.line, f"\u2014 w1 {false}\n"))
    reading = read(run, cosigned.outside())
    assert reading.verdict is Verdict.UNANCHORED
    assert any("bears a cosignature of w1 that is false" in text for text in reading.reasons)
    path.write_text("noise")
    assert any("does not count" in text for text in read(run, cosigned.outside()).reasons)


def test_a_rollback_behind_a_witness_diverges(run, tmp_path):
    run.segment()
    cosigned = Cosigned(run, tmp_path, "w1")
    cosigned.cosign("w1")
    lines = run.path().read_bytes().splitlines(keepends=True)
    run.path().write_bytes(b"".join(lines[:-2]))
    assert read(run, cosigned.outside()).verdict is Verdict.DIVERGED
