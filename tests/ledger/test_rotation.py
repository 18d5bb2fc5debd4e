"""Keys that follow each other: inside a segment, between segments, in the key's file; and keys that are revoked.

Four defects of systemd's sealed journals have a test each here, by their numbers there.
"""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

from auditor.cli.main import main
from auditor.errors import KeyFileError, LedgerInvalid, NoteError
from auditor.ledger import SegmentBook, SegmentWriter, Verdict, keyfile, load_or_create
from auditor.ledger.cosigning import Witness
from auditor.ledger.effort import SLIM
from auditor.ledger.heads import present_heads
from auditor.ledger.keyfile import follower_of, rotate, rotations_to
from auditor.ledger.log import Draft
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer
from auditor.ledger.outside import Held, Outside
from auditor.ledger.places import witnessed_of
from auditor.ledger.revocation import read_revocation, revoke
from auditor.ledger.rotation import Succession, check_rotation, make_rotation, signed
from auditor.ledger.signed import read_head
from auditor.lines import write_record
from auditor.records import Rotation
from tests.ledger.conftest import add_placed, records_of

NOW_S = 1_800_000_000


@pytest.fixture
def keys(tmp_path):
    """The run's key and three more."""
    return [load_or_create(tmp_path / f"key-{number}") for number in range(4)]


@pytest.fixture
def run(run, keys):
    return dataclasses.replace(run, key=keys[0])


def step(old, new, number=1):
    return make_rotation(old, new.public_hex, number=number, made_us=NOW_S * 10**6)


def rotated(run, keys, *, seal=True, **changes):
    """A segment that begins with the first key and ends with the third."""
    book = run.book(**changes)
    run.interval(book, 0)
    for number in (1, 2):
        book.rotate(step(keys[number - 1], keys[number], number), keys[number])
        run.interval(book, number)
    if seal:
        book.seal("finished")
    else:
        book.close()
    return book


def told(reading):
    return "\n".join(reading.reasons)


def test_what_follows_a_rotation_is_signed_by_the_new_key(run, keys, good):
    book = rotated(run, keys)
    assert run.judge() == good
    reading = run.read()
    assert reading.segments[0].keys == tuple(key.public_hex for key in keys[:3])
    note = read_head(book.head_note())
    assert Signer(note.origin, keys[2].public_hex).vouches_for(note)
    assert not Signer(note.origin, keys[0].public_hex).vouches_for(note)


def test_the_first_key_is_trusted_with_what_follows_it_and_a_later_one_alone_is_not(run, keys):
    rotated(run, keys)
    assert run.read(trusted_key=keys[0].public_hex).verdict is Verdict.UNANCHORED
    for key in keys[1:]:
        assert run.read(trusted_key=key.public_hex).verdict is Verdict.INVALID


def test_a_rotation_that_the_signing_key_did_not_make_is_not_written(run, keys):
    book = run.book()
    with pytest.raises(LedgerInvalid, match="not from the key that signs"):
        book.rotate(step(keys[1], keys[2]), keys[2])
    book = run.book(attempt=1)
    with pytest.raises(LedgerInvalid, match="not signed by the key"):
        book.rotate(dataclasses.replace(step(keys[0], keys[1]), made_us=1), keys[1])


@pytest.mark.parametrize("block", [1, 97, 4096])
def test_a_rotation_is_followed_however_the_bytes_come(run, keys, good, monkeypatch, block):
    from auditor.ledger import inspection

    rotated(run, keys)
    monkeypatch.setattr(inspection, "_CHUNK_BYTES", block)
    assert run.judge() == good


def lines_of(path):
    return path.read_bytes().splitlines()


def resigned(run, records, keys_by_record):
    """The segment as somebody would write it who has these keys, a checkpoint after each record."""
    tree, data = Frontier(), b""
    for record, key in zip(records, keys_by_record, strict=True):
        draft = Draft(tree, Signer(Signer.of(records[0].body).origin, key.public_hex), key)
        add_placed(draft, write_record(record))
        draft.sign()
        tree, data = draft.tree, data + bytes(draft.data)
    run.path().write_bytes(data)


def signers(records, keys):
    """Who signs each record's checkpoint in a sound segment."""
    present, found = 0, []
    for record in records:
        found.append(keys[present])
        present += isinstance(record.body, Rotation)
    return found


def test_the_harness_writes_a_sound_segment(run, keys, good):
    rotated(run, keys)
    records = records_of(run.path())
    resigned(run, records, signers(records, keys))
    assert run.judge() == good


def test_an_old_record_signed_by_a_newer_key_is_refused(run, keys):
    """CVE-2023-31439: systemd took entries of an earlier epoch that were sealed with a later key."""
    rotated(run, keys)
    records = records_of(run.path())
    sound = signers(records, keys)
    for place, key in enumerate(sound):
        of_its_time = [at for at in range(place, len(sound)) if sound[at] is key]
        for other in keys[:3]:
            if other is not key:
                # From there to the end of the key's time: its last checkpoint vouches for all before it.
                resigned(run, records, [other if at in of_its_time else sound[at] for at in range(len(sound))])
                assert run.judge() in ("INVALID", "LedgerInvalid"), (place, other)


def test_a_record_that_is_slipped_in_before_a_rotation_with_the_newer_key_is_refused(run, keys):
    rotated(run, keys)
    records = records_of(run.path())
    at = next(index for index, record in enumerate(records) if isinstance(record.body, Rotation))
    slipped = [*records[:at], dataclasses.replace(records[at - 1], time_us=1), *records[at:]]
    sound = signers(records, keys)
    resigned(run, slipped, [*sound[:at], keys[1], *sound[at:]])
    assert run.judge() == "INVALID"


def test_truncated_and_continued_with_a_later_key_it_is_refused(run, keys):
    """CVE-2023-31438: systemd did not miss an epoch that was cut out, because an empty one was not sealed."""
    rotated(run, keys)
    records = records_of(run.path())
    sound = signers(records, keys)
    steps = [index for index, record in enumerate(records) if isinstance(record.body, Rotation)]
    without_first = [record for index, record in enumerate(records) if index != steps[0]]
    resigned(run, without_first, [key for index, key in enumerate(sound) if index != steps[0]])
    assert run.judge() == "INVALID", "the later key signs and nobody said that it may"
    between = [index for index in range(len(records)) if not steps[0] <= index < steps[1]]
    resigned(run, [records[index] for index in between], [sound[index] for index in between])
    assert run.judge() == "INVALID", "the second key's whole time is cut out"
    resigned(run, records[: steps[0]], sound[: steps[0]])
    assert run.judge() == "INCOMPLETE", "cut before the rotation, it has no seal"


def test_an_unsealed_segment_never_passes_for_whole_whichever_key_is_given(run, keys):
    """systemd#15425: a journal without a seal passed verification with a key."""
    rotated(run, keys, seal=False)
    for trusted in (None, keys[0].public_hex):
        assert run.read(trusted_key=trusted).verdict is Verdict.INCOMPLETE
    run.path().write_bytes(b"")
    run.launcher(processes=0)
    assert run.read(trusted_key=keys[0].public_hex).verdict is not Verdict.UNANCHORED


def test_a_segment_that_is_being_written_is_never_taken_for_false(run, keys):
    """systemd#27532: verification of a journal that was written at the time failed now and then."""
    book = run.book()
    for number in range(60):
        if number in (20, 40):
            index = number // 20
            book.rotate(step(keys[index - 1], keys[index], index), keys[index])
        run.interval(book, number)
        if number % 4 == 0:
            reading = run.read(trusted_key=keys[0].public_hex)
            assert reading.verdict is Verdict.INCOMPLETE
            assert "is still being written" in told(reading)
    book.close()


def test_a_rotation_to_what_is_no_key_is_refused_and_held_against_heads_without_a_crash(run, keys):
    book = run.book()
    run.interval(book, 0)
    head = read_head(book.head_note())
    book.close()
    records = records_of(run.path())
    nowhere = signed(dataclasses.replace(step(*keys[:2]), following="zz"), keys[0])
    resigned(run, [*records, dataclasses.replace(records[0], body=nowhere)], [keys[0]] * (len(records) + 1))
    reading = run.read(outside=Outside(held=(Held("kept", head),)))
    assert reading.verdict is Verdict.INVALID


def test_a_rotation_that_stands_elsewhere_than_before_its_checkpoint_is_refused(run, keys):
    run.segment(seal=False)
    records = records_of(run.path())
    tree, signer = Frontier(), Signer.of(records[0].body)
    draft = Draft(tree, signer, keys[0])
    for line in (write_record(records[0]), write_record(dataclasses.replace(records[0], body=step(*keys[:2])))):
        draft.add(line)
    draft.add(write_record(records[1]))
    draft.sign()
    run.path().write_bytes(bytes(draft.data))
    assert run.judge() in ("INVALID", "LedgerInvalid")


# Between segments, and in the key's file.


def begin(run, key, line=(), **changes):
    genesis = run.genesis(**changes)
    return SegmentBook(SegmentWriter.create(run.directory, genesis, key), (), line)


def test_a_later_attempt_with_a_key_that_follows_is_trusted_by_its_rotations(run, keys):
    run.segment()
    book = begin(run, keys[1], [step(keys[0], keys[1])], attempt=1)
    book.seal("finished")
    assert run.read(trusted_key=keys[0].public_hex).verdict is Verdict.UNANCHORED
    assert "different keys" not in told(run.read())


def test_a_later_attempt_with_a_key_of_its_own_is_not(run, keys):
    run.segment()
    begin(run, keys[1], attempt=1).seal("finished")
    assert run.read(trusted_key=keys[0].public_hex).verdict is Verdict.INVALID
    assert "signed by 2 different keys" in told(run.read())


def test_a_later_attempt_never_goes_back_to_an_earlier_key(run, keys):
    begin(run, keys[1], [step(keys[0], keys[1])]).seal("finished")
    begin(run, keys[0], attempt=1).seal("finished")
    for trusted in (None, keys[0].public_hex):
        reading = run.read(trusted_key=trusted)
        assert reading.verdict is Verdict.INVALID
        assert "which follows that key" in told(reading)


def test_a_key_that_is_followed_by_two_is_refused(run, keys):
    run.segment()
    begin(run, keys[1], [step(keys[0], keys[1])], attempt=1).seal("finished")
    begin(run, keys[2], [step(keys[0], keys[2])], attempt=2).seal("finished")
    reading = run.read(trusted_key=keys[0].public_hex)
    assert reading.verdict is Verdict.INVALID
    assert "is followed by two" in told(reading)


def test_a_statement_that_was_changed_or_misses_a_number_is_refused(run, keys):
    said = step(keys[0], keys[1])
    check_rotation(said)
    for changes in ({"number": 2}, {"following": keys[2].public_hex}, {"made_us": 1}, {"signature": "AAAA"}):
        with pytest.raises(LedgerInvalid, match="not signed"):
            check_rotation(dataclasses.replace(said, **changes))
    with pytest.raises(LedgerInvalid, match="one key twice"):
        check_rotation(signed(dataclasses.replace(said, following=said.previous), keys[0]))
    for text in ("zz", said.following.upper(), ""):
        with pytest.raises(LedgerInvalid, match="64 hex digits"):
            check_rotation(signed(dataclasses.replace(said, following=text), keys[0]))
    assert Succession([said, step(keys[1], keys[2], 2)]).faults == []
    assert "one is missing" in Succession([said, step(keys[1], keys[2], 3)]).faults[0]


def test_keys_that_follow_each_other_in_a_circle_end(keys):
    circle = Succession([step(keys[0], keys[1]), step(keys[1], keys[0], 2)])
    assert circle.line_from(keys[0].public_hex) == [keys[0].public_hex, keys[1].public_hex]
    assert len(circle.line_through(keys[1].public_hex)) == 2


def test_the_keys_file_is_rotated_and_tells_how_it_came_to_be(tmp_path, capsys):
    path = tmp_path / "key.pem"
    first = load_or_create(path).public_hex
    assert main(["key", "rotate", "--key", str(path)]) == 0
    second = load_or_create(path).public_hex
    assert second != first
    assert f"{first} is gone" in capsys.readouterr().out
    rotate(path)
    third = load_or_create(path).public_hex
    assert [(s.number, s.previous, s.following) for s in rotations_to(path, third)] == [
        (1, first, second),
        (2, second, third),
    ]
    assert main(["key", "show", "--key", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"key      {third}" in shown
    assert f"follows  {first} since 20" in shown
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "key.pem.next").exists()


@pytest.mark.parametrize("stopped_in", ["write_synced", "sync_directory"])
def test_a_rotation_that_was_stopped_is_carried_on(tmp_path, monkeypatch, stopped_in):
    path = tmp_path / "key.pem"
    first = load_or_create(path).public_hex

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keyfile, stopped_in, stop)
        with pytest.raises(KeyboardInterrupt):
            rotate(path)
    if load_or_create(path).public_hex == first:
        rotate(path)
    present = load_or_create(path).public_hex
    assert [step.previous for step in rotations_to(path, present)] == [first]


def test_a_rotation_whose_new_key_is_lost_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "key.pem"
    load_or_create(path)
    original = keyfile.write_synced

    def write_and_stop(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(keyfile, "write_synced", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        rotate(path)
    (tmp_path / "key.pem.next").unlink()
    monkeypatch.undo()
    with pytest.raises(KeyFileError, match="has named a follower") as caught:
        rotate(path)
    assert "Put that file back" in caught.value.remedy


def test_what_stands_beside_the_key_is_checked(tmp_path):
    path = tmp_path / "key.pem"
    load_or_create(path)
    with pytest.raises(KeyFileError, match="there is no key to rotate"):
        rotate(tmp_path / "nowhere")
    rotate(path)
    beside = tmp_path / "key.pem.rotations"
    whole = beside.read_bytes()
    for data in (
        b"noise\n",
        whole[:-5],
        whole.replace(b'"number":1', b'"number":2'),
        b'[0,"purpose",{"purpose":"x"}]\n',
    ):
        beside.write_bytes(data)
        with pytest.raises(KeyFileError, match="rotations"):
            rotations_to(path, load_or_create(path).public_hex)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="0644") as caught:
        rotate(path)
    assert "chmod 600" in caught.value.remedy


def test_a_run_that_goes_on_takes_the_new_key(tmp_path, run, good):
    from auditor.session.genesis import KeyWatch

    path = tmp_path / "signing"
    first = load_or_create(path)
    run.key = first
    watch = KeyWatch(path)
    book = run.book()
    run.interval(book, 0)
    watch.check(book)
    assert book.writer.public_hex == first.public_hex
    rotate(path)
    watch.check(book)
    assert book.writer.public_hex == load_or_create(path).public_hex != first.public_hex
    run.interval(book, 1)
    book.seal("finished")
    assert run.judge() == good
    assert run.read(trusted_key=first.public_hex).verdict is Verdict.UNANCHORED
    assert follower_of(path, first.public_hex)


def test_a_key_that_was_merely_replaced_is_not_followed(tmp_path, run):
    from auditor.session.genesis import KeyWatch

    path = tmp_path / "signing"
    run.key = load_or_create(path)
    watch, book = KeyWatch(path), run.book()
    path.unlink()
    load_or_create(path)
    watch.check(book)
    assert book.writer.public_hex == run.key.public_hex
    path.unlink()
    watch_missing = KeyWatch(path)
    watch_missing.check(book)
    path.write_text("noise")
    os.utime(path, (time.time(), 1))
    with pytest.raises(KeyFileError):
        watch_missing.check(book)


# Revocation.


def revocation(key, signer=None, since_s=NOW_S):
    return read_revocation(revoke(key.public_hex, signer or key, since_s=since_s, reason="the disk was stolen"))


def test_a_revocation_is_a_note_that_its_author_signed(keys, tmp_path, capsys):
    note = revoke(keys[0].public_hex, keys[1], since_s=NOW_S, reason="lost")
    said = read_revocation(note)
    assert (said.key, said.by, said.since_s, said.reason) == (keys[0].public_hex, keys[1].public_hex, NOW_S, "lost")
    for old, new in (("lost", "last"), (str(NOW_S), "1"), (said.key, "0" * 64), (said.by, "0" * 64), ("key-rev", "x")):
        with pytest.raises(NoteError):
            read_revocation(note.replace(old, new))
    with pytest.raises(NoteError, match="one line"):
        revoke(keys[0].public_hex, keys[1], since_s=1, reason="two\nlines")
    path = tmp_path / "key-0"
    assert main(["key", "revoke", "--key", str(path), "--reason", "lost", "--since", "2026-11-22T08:00:00Z"]) == 0
    told = capsys.readouterr()
    assert read_revocation(told.out).since_s == 1795334400
    assert f"{path} holds this key and goes on signing with it" in told.err
    assert main(["key", "revoke", "--key", str(path), "--reason", "x", "--since", "soon"]) == 2


def test_what_a_revoked_key_signed_does_not_count_without_a_head_from_before(run, keys):
    run.segment()
    whole = run.read().operations.total
    assert whole > 0
    reading = run.read(outside=Outside(revocations=(revocation(keys[0]),)))
    assert reading.verdict is Verdict.INCOMPLETE
    assert reading.operations.total == 0
    assert "was revoked as of 2027-01-15T08:00:00Z (the disk was stolen)" in told(reading)
    assert "cover 0 of its" in told(reading)


def test_it_counts_as_far_as_a_head_that_was_kept_covers_it(run, keys):
    book = run.book()
    run.interval(book, 0)
    early = read_head(book.head_note())
    run.interval(book, 1)
    book.seal("finished")
    whole = run.read().operations.total
    reading = run.read(outside=Outside(held=(Held("kept", early),), revocations=(revocation(keys[0]),)))
    assert reading.verdict is Verdict.INCOMPLETE
    assert reading.operations.total == whole // 2
    assert f"cover {early.head.size} of its" in told(reading)
    assert "never closed" not in told(reading)
    late = read_head(book.head_note())
    covered = run.read(outside=Outside(held=(Held("kept", late),), revocations=(revocation(keys[0]),)))
    assert covered.verdict is Verdict.WITNESSED
    assert covered.operations.total == whole


def test_of_what_counts_no_more_is_kept_for_drawing_than_of_others(run, keys, monkeypatch):
    monkeypatch.setattr("auditor.ledger.detail._POINTS_IN_ALL", 16)
    monkeypatch.setattr("auditor.ledger.detail._FEWEST_POINTS", 8)
    book = run.book()
    for number in range(40):
        run.interval(book, number)
    early = read_head(book.head_note())
    run.interval(book, 40)
    book.seal("finished")
    outside = Outside(held=(Held("kept", early),), revocations=(revocation(keys[0]),))
    (segment,) = run.read(outside=outside).segments
    assert segment.steps == 40 * 3
    assert 4 < len(segment.points) <= 17
    (bare,) = run.read(outside=outside, effort=SLIM).segments
    assert (bare.points, bare.operations) == ((), segment.operations)


@pytest.mark.parametrize(("cosigned_s", "counts"), [(NOW_S - 1, True), (NOW_S, True), (NOW_S + 1, False)])
def test_of_witnessed_heads_those_from_before_count(run, keys, cosigned_s, counts):
    run.segment()
    witness = Witness("w", keys[3].public_hex)
    (head,) = present_heads(run.directory)
    witnessed_of(run.directory).mkdir()
    note = head.signed_also([witness.cosign(head.text, cosigned_s, keys[3])]).note
    (witnessed_of(run.directory) / "x.note").write_text(note)
    reading = run.read(outside=Outside(witnesses=(witness,), quorum=1, revocations=(revocation(keys[0]),)))
    assert reading.verdict is (Verdict.WITNESSED if counts else Verdict.INCOMPLETE)
    assert (reading.operations.total > 0) is counts


def test_who_may_revoke(run, keys):
    rotated(run, keys)
    stranger = Outside(revocations=(revocation(keys[0], keys[3]),))
    reading = run.read(outside=stranger)
    assert reading.verdict is Verdict.UNANCHORED
    assert "does not count: that key has no say" in told(reading)
    for signer in keys[:3]:
        assert run.read(outside=Outside(revocations=(revocation(keys[0], signer),))).verdict is Verdict.INCOMPLETE
    trusted = run.read(outside=stranger, trusted_key=keys[3].public_hex)
    assert "has no say" not in told(trusted)


def test_a_key_that_follows_a_revoked_one_must_be_trusted_itself(run, keys):
    run.segment()
    begin(run, keys[1], [step(keys[0], keys[1])], attempt=1).seal("finished")
    outside = Outside(revocations=(revocation(keys[0]),))
    reading = run.read(outside=outside, trusted_key=keys[0].public_hex)
    assert reading.verdict is Verdict.INVALID
    assert "by one that followed a revoked one. Name it with --key itself" in told(reading)
    begun_with_new = run.read(outside=outside, trusted_key=keys[1].public_hex)
    assert "attempt-001.jsonl is signed by the key" not in told(begun_with_new)


def test_a_segment_that_ends_in_the_trusted_key_counts_although_an_earlier_key_was_revoked(run, keys):
    rotated(run, keys)
    outside = Outside(revocations=(revocation(keys[0]),))
    assert run.read(outside=outside).verdict is Verdict.INCOMPLETE
    reading = run.read(outside=outside, trusted_key=keys[2].public_hex)
    assert reading.operations.total == run.read().operations.total
