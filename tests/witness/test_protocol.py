"""What a witness answers, by the words of c2sp.org/tlog-witness and by requests that another witness is tested with."""

from __future__ import annotations

import base64
import contextlib
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import KeyFileError, LedgerError, NoteError, WitnessStateError
from auditor.ledger import load_or_create
from auditor.ledger.cosigning import Witness, read_witness
from auditor.ledger.merkle import EMPTY_ROOT
from auditor.ledger.notes import Head, Signer
from auditor.ledger.signed import read_head, read_heads
from auditor.witness import Memory, Policy, add_checkpoint
from auditor.witness.protocol import read_request

# Requests and answers of litewitness (FiloSottile/torchwood, cmd/litewitness/testdata), of a log of five leaves.
ORIGIN = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
LOG_KEY = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"
ROOTS = {
    1: "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    3: "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    5: "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
}
SIGNATURES = {
    1: "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
    3: "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
    5: "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
}
LEAF_1 = "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
LEAF_2 = "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
LEAF_2_OFF = "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAA="
LEAF_3 = "KgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
LEAF_4 = "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NODE_0 = "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE="
NODE_1 = "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI="
CONVERSATION = [
    (0, [], 1, ORIGIN, None, 200, ""),
    (1, [LEAF_1, LEAF_2], 3, ORIGIN, SIGNATURES[1], 403, ""),
    (1, [LEAF_1, LEAF_2], 3, ORIGIN + "3", None, 404, ""),
    (1, [], 3, ORIGIN, None, 422, ""),
    (1, [LEAF_1, LEAF_2_OFF], 3, ORIGIN, None, 422, ""),
    (1, [LEAF_1, LEAF_2], 3, ORIGIN, None, 200, ""),
    (1, [LEAF_1, NODE_1, LEAF_4], 5, ORIGIN, None, 409, "3\n"),
    (3, [LEAF_2, LEAF_3, NODE_0, LEAF_4], 5, ORIGIN, None, 200, ""),
    (0, [], 5, ORIGIN, None, 409, "5\n"),
]


def test_the_conversation_that_another_witness_is_tested_with(tmp_path):
    memory = Memory.open(tmp_path / "w", "example.com/witness")
    policy = Policy(keys={ORIGIN: (LOG_KEY,)})
    witness = Witness("example.com/witness", memory.key.public_hex)
    for old, proof, size, origin, signature, status, said in CONVERSATION:
        known = Policy(keys={}) if origin != ORIGIN else policy
        note = f"{origin}\n{size}\n{ROOTS[size]}\n\n\u2014 {origin} {signature or SIGNATURES[size]}\n"
        body = f"old {old}\n{''.join(part + chr(10) for part in proof)}\n{note}"
        answer = add_checkpoint(body.encode(), memory, known)
        assert answer.status == status, (old, size, answer)
        if said:
            assert (answer.body, answer.content_type) == (said, "text/x.tlog.size")
        if status == 200:
            assert witness.time_of(read_head(note + answer.body))
    memory.close()


def test_the_verifier_key_of_the_published_example_of_a_log_is_no_witness():
    with pytest.raises(KeyFileError, match="not the key of a witness"):
        read_witness("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")


def test_a_verifier_key_is_read_as_it_is_written_or_from_its_file(tmp_path):
    witness = Witness("witness.example/w1", load_or_create(tmp_path / "key").public_hex)
    assert read_witness(f" {witness.verifier_key}\n") == witness
    (tmp_path / "w1.vkey").write_text(witness.verifier_key + "\n")
    assert read_witness(str(tmp_path / "w1.vkey")) == witness
    (tmp_path / "printed").write_text(f"listening on http://127.0.0.1:8741\n{witness.verifier_key}\n")
    assert read_witness(str(tmp_path / "printed")) == witness
    for text in (witness.verifier_key.replace("w1", "w2"), witness.verifier_key[:-1], "", "a+b+c", "/nowhere"):
        with pytest.raises(KeyFileError):
            read_witness(text)


def test_a_log_grows_and_each_head_is_cosigned(here, log):
    for old, size in ((0, 1), (1, 3), (3, 3), (3, 8), (8, 200)):
        here.now_s += 1
        answer = here.add(log.request(old, size))
        assert answer.status == 200, answer
        cosigned = read_head(log.head(size).note + answer.body)
        assert here.witness.time_of(cosigned) == here.now_s
    assert here.memory.latest(log.origin).size == 200


def test_a_cosignature_is_what_the_format_says(here, log):
    """Checked as a reader of the format would who has none of our code."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    line = here.add(log.request(0, 5)).body
    name, blob = line.removeprefix("\u2014 ").removesuffix("\n").split(" ")
    data, public = base64.b64decode(blob, validate=True), bytes.fromhex(here.witness.public_hex)
    assert len(data) == 4 + 8 + 64
    assert data[:4] == hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    time_s = int.from_bytes(data[4:12], "big")
    message = f"cosignature/v1\ntime {time_s}\n{log.head(5).text}"
    Ed25519PublicKey.from_public_bytes(public).verify(data[12:], message.encode())


def test_a_fork_a_rollback_and_a_wrong_proof_are_refused(here, log):
    assert here.add(log.request(0, 8)).status == 200
    before = here.memory.latest(log.origin)
    assert here.add(log.forked().request(8, 20)).status == 422
    assert here.add(log.forked().request(8, 8)).status == 422
    assert here.add(log.request(8, 20, proof=[])).status == 422
    assert here.add(log.request(8, 20, proof=log.prove(7, 20))).status == 422
    assert here.add(log.request(8, 8, proof=[EMPTY_ROOT])).status == 422
    assert here.add(log.request(0, 4)).status == 409
    assert here.add(log.request(4, 20)).status == 409
    assert here.add(log.request(8, 4)).status == 400
    assert here.memory.latest(log.origin) == before
    assert here.add(log.request(8, 20)).status == 200


def test_a_first_head_needs_no_proof_and_takes_none(here, log):
    assert here.add(log.request(0, 8, proof=[EMPTY_ROOT])).status == 422
    assert here.add(log.request(0, 0)).status == 200
    assert here.add(log.request(0, 8)).status == 200


def test_an_empty_log_has_the_root_of_the_empty_tree(here, log, key):
    signer, head = Signer(log.origin, key.public_hex), Head(0, base64.b64encode(bytes(32)).decode())
    false = read_head(signer.note(head, signer.sign(head, key)))
    assert here.add(log.request(0, 0, head=false)).status == 422


def test_who_signed_decides(here, log, tmp_path):
    stranger = dataclasses.replace(log, key=load_or_create(tmp_path / "stranger"))
    assert here.add(stranger.request(0, 5)).status == 403
    assert here.add(dataclasses.replace(log, origin="example.com/log").request(0, 5)).status == 404
    head = log.head(5)
    part = head.signatures[0]
    line = f"\u2014 {part.name} {base64.b64encode(part.key_id + bytes(64)).decode()}\n"
    assert here.add(log.request(0, 5).replace(part.line.encode(), line.encode())).status == 403
    both = head.signed_also(stranger.head(5).signatures)
    assert here.add(log.request(0, 5, head=both)).status == 200, "signatures of others are ignored"
    assert [p.name for p in read_head(here.memory.latest(log.origin).note).signatures].count("witness.example/w1") == 1


def test_a_second_history_of_a_segment_under_another_nonce_is_not_known(here, log):
    """Who writes a whole segment anew gives it a new nonce, hence a new origin."""
    assert here.add(log.request(0, 5)).status == 200
    again = dataclasses.replace(log.forked(), origin=log.origin.replace("/nonce", "/another"))
    answer = here.add(again.request(0, 5))
    assert answer.status == 404
    assert "another nonce" in answer.body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"old\n\n",
        b"old 1",
        b"old 01\n\n",
        b"old -1\n\n",
        b"old 0\n\nnot a note\n",
        b"old 0\nAAAA\n\n",
        b"old 0\n" + b"KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\n",
    ],
)
def test_what_is_no_request_is_400(here, log, data):
    note = log.head(5).note.encode() if data.endswith(b"\n") else b""
    assert here.add(data + note).status == 400


@given(data=st.binary(max_size=300), at=st.integers(0, 400), cut=st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_answered_or_refused_by_the_projects_errors(data, at, cut):
    whole = b"old 0\n\norigin\n5\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 origin AAAAAAAA\n"
    for text in (data, whole[:at] + data + whole[at + cut :]):
        with contextlib.suppress(NoteError):
            read_request(text)
        with contextlib.suppress(LedgerError):
            read_heads(text.decode("utf-8", "replace"))


def test_a_clock_that_goes_back_does_not_go_into_a_cosignature(here, log):
    here.add(log.request(0, 5))
    here.now_s -= 10_000
    answer = here.add(log.request(5, 6))
    assert here.witness.time_of(read_head(log.head(6).note + answer.body)) == here.now_s + 10_000


def test_what_was_cosigned_is_remembered_by_the_next_process(tmp_path, log, key, here):
    here.add(log.request(0, 5))
    here.memory.close()
    again = Memory.open(tmp_path / "witness", "witness.example/w1")
    here.memory = again
    assert here.add(log.request(0, 5)).body == "5\n"
    assert here.add(log.forked().request(5, 6)).status == 422
    assert again.latest(log.origin) is not None


def test_a_witness_that_lost_its_memory_does_not_start(tmp_path, here):
    here.memory.close()
    (tmp_path / "witness" / "memory.sqlite").unlink()
    with pytest.raises(WitnessStateError, match="lost its memory") as caught:
        Memory.open(tmp_path / "witness", "witness.example/w1")
    assert "Retire its key" in caught.value.remedy
    here.memory = Memory.open(tmp_path / "another", "w")


def test_a_witness_whose_key_or_name_is_another_does_not_start(tmp_path, here):
    here.memory.close()
    with pytest.raises(WitnessStateError, match=r"is called 'witness\.example/w1'"):
        Memory.open(tmp_path / "witness", "another")
    (tmp_path / "witness" / "key.pem").unlink()
    with pytest.raises(WitnessStateError, match=r"key.pem is gone"):
        Memory.open(tmp_path / "witness", "witness.example/w1")
    load_or_create(tmp_path / "witness" / "key.pem")
    with pytest.raises(WitnessStateError, match="the memory is that of the key"):
        Memory.open(tmp_path / "witness", "witness.example/w1")
    here.memory = Memory.open(tmp_path / "another", "w")


def test_one_process_alone_is_a_witness(tmp_path, here):
    with pytest.raises(WitnessStateError, match="another process is this witness now"):
        Memory.open(tmp_path / "witness", "witness.example/w1")


def test_what_is_remembered_is_synced_before_it_is_answered(here):
    (level,) = here.memory._database.execute("PRAGMA synchronous").fetchone()
    (mode,) = here.memory._database.execute("PRAGMA journal_mode").fetchone()
    assert (level, mode) == (3, "delete"), "EXTRA: the journal's removal is synced too"


def test_a_memory_that_fails_cosigns_nothing(here, log, monkeypatch):
    import sqlite3

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    class Failing:
        def __init__(self, database):
            self._database = database

        def execute(self, statement, *rest):
            if statement.startswith(("INSERT", "COMMIT")):
                full()
            return self._database.execute(statement, *rest)

        def close(self):
            self._database.close()

    database = here.memory._database
    here.memory._database = Failing(database)
    with pytest.raises(WitnessStateError, match="disk is full"):
        here.add(log.request(0, 5))
    here.memory._database = database
    assert here.memory.latest(log.origin) is None
