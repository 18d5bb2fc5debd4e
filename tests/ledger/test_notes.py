"""Checkpoints are notes that other tools for transparency logs can check."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auditor.ledger.log import Scanner
from auditor.ledger.merkle import leaf_hashes
from auditor.ledger.notes import Head, Signer, origin_of
from auditor.lines import read_checkpoint, read_record
from tests.ledger.conftest import root_of

# The example of Go's package sumdb/note, which the format was written down from.
NAME = "PeterNeumann"
KEY_ID = "c74f20a3"
PUBLIC_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = base64.b64decode(
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def test_the_key_id_is_that_of_the_published_example() -> None:
    assert PUBLIC_KEY[:1] == b"\x01"
    signer = Signer(NAME, PUBLIC_KEY[1:].hex())
    assert signer.key_id.hex() == KEY_ID == SIGNATURE[:4].hex()
    # What of the example is not ours to make, to know that it is copied rightly.
    Ed25519PublicKey.from_public_bytes(PUBLIC_KEY[1:]).verify(SIGNATURE[4:], TEXT.encode())


def test_every_checkpoint_of_a_segment_is_a_note_that_holds(run) -> None:
    run.segment()
    scanner = Scanner()
    lines = [line for stretch in scanner.feed(run.path().read_bytes()) for line in stretch.lines]
    genesis = read_record(lines[0]).body
    signer = Signer.of(genesis)
    sizes = [index for index, line in enumerate(lines) if read_checkpoint(line)]
    assert len(sizes) == 4
    for size in sizes:
        root = base64.b64encode(root_of(leaf_hashes(lines[:size]))).decode()
        check_note(signer.note(Head(size, root), read_checkpoint(lines[size])), genesis.public_key, size, root)


def test_a_book_gives_out_the_note_of_its_last_checkpoint(run) -> None:
    book = run.book()
    for number in range(3):
        head = run.interval(book, number)
        check_note(book.head_note(), run.key.public_hex, head.size, head.root)
    sealed = book.seal("finished")
    check_note(book.head_note(), run.key.public_hex, sealed.size, sealed.root)


def check_note(note: str, public_hex: str, size: int, root: str) -> None:
    """As a reader of notes who knows nothing of ledgers."""
    text, blank, signature = note.rpartition("\n\n")
    text += "\n"
    origin, told_size, told_root = text.splitlines()
    assert blank
    assert (told_size, told_root) == (str(size), root)
    line = re.fullmatch("\u2014 (\\S+) (\\S+)\n", signature)
    assert line
    assert line[1] == origin
    assert "+" not in origin
    blob = base64.b64decode(line[2], validate=True)
    public = bytes.fromhex(public_hex)
    assert blob[:4] == hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], text.encode())


def test_an_origin_names_one_segment_and_is_a_name_for_a_key(run) -> None:
    names = {
        origin_of(run.genesis(nonce="a")),
        origin_of(run.genesis(nonce="b")),
        origin_of(run.genesis(nonce="a", rank=1)),
        origin_of(run.genesis(nonce="a", run_id="run 1+2/\u00e9\n")),
        origin_of(run.genesis(nonce="a", run_id="\ud800")),
    }
    assert len(names) == 5
    assert "auditor.ledger/run-1/rank-00000.attempt-000/a" in names
    for name in names:
        assert re.fullmatch(r"[!-*,-~]+", name), "printable ASCII without spaces and plus"
