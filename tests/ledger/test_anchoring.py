"""`auditor anchor`, `prove`, `verify` and `witness` on the command line, as an operator and an inspector use them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from auditor.cli.main import main
from auditor.errors import LedgerInvalid, NoteError
from auditor.ledger import load_or_create
from auditor.ledger.proving import Extension, Inclusion, read_proof
from auditor.ledger.revocation import revoke
from auditor.ledger.rotation import make_rotation
from tests.ledger.conftest import rewrite

SEGMENT = "rank-00000.attempt-000"


def anchored(run, capsys, *more):
    assert main(["anchor", str(run.directory), "--no-qr", *more]) == 0
    return capsys.readouterr().out


def short_of(shown):
    return next(line for line in shown.splitlines() if "sha256:" in line)


def verdict(run, capsys, *more, code=0):
    assert main(["verify", str(run.directory), *more]) == code
    return capsys.readouterr().out.splitlines()[0].rpartition(": ")[2]


def test_a_file_and_its_text_are_kept_and_held_against(run, capsys, tmp_path):
    run.segment()
    kept = tmp_path / "outside" / "run.heads"
    shown = anchored(run, capsys, "--out", str(kept))
    assert f"heads of 1 segments, checked and written: {kept}" in shown
    assert verdict(run, capsys) == "UNANCHORED"
    assert verdict(run, capsys, "--require", "WITNESSED", code=5) == "UNANCHORED"
    for head in (str(kept), short_of(shown)):
        assert verdict(run, capsys, "--head", head, "--require", "WITNESSED") == "WITNESSED"
    rewrite(run, lambda body: body)
    assert verdict(run, capsys) == "UNANCHORED"
    for head in (str(kept), short_of(shown)):
        assert verdict(run, capsys, "--head", head, code=4) == "DIVERGED"


def test_the_report_takes_the_same_evidence(run, capsys, tmp_path):
    run.segment()
    anchored(run, capsys, "--out", str(tmp_path / "h"))
    main(["report", str(run.directory), "--head", str(tmp_path / "h")])
    assert "WITNESSED" in capsys.readouterr().out


def test_a_text_whose_file_is_gone_from_the_ledger(run, capsys):
    run.segment()
    short = short_of(anchored(run, capsys))
    for path in (run.directory / "anchors").iterdir():
        path.unlink()
    assert verdict(run, capsys, "--head", short, "--require", "UNANCHORED", code=5) == "INCOMPLETE"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--head", "nothing"], "neither a file of heads"),
        (["--witness-key", "nobody"], "not the key of a witness"),
        (["--quorum", "1"], "there are 0 witnesses"),
        (["--revocation", "/nowhere"], "cannot be read"),
    ],
)
def test_evidence_that_cannot_be_read_is_a_usage_error(run, capsys, arguments, told):
    run.segment()
    assert main(["verify", str(run.directory), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_damaged_heads_file_is_a_usage_error(run, capsys, tmp_path):
    run.segment()
    kept = tmp_path / "h"
    anchored(run, capsys, "--out", str(kept))
    whole = kept.read_bytes()
    for at in range(0, len(whole), 7):
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        # A flipped bit is an error, or contradicts the ledger, or hits the name of a signature that nobody asked for.
        code = main(["verify", str(run.directory), "--head", str(kept)])
        said = capsys.readouterr()
        assert code in (2, 4) or (code == 0 and "WITNESSED" in said.out), (at, said)
    kept.write_bytes(whole[: len(whole) // 2])
    assert main(["verify", str(run.directory), "--head", str(kept)]) == 2


def test_places_that_cannot_be_anchored(run, capsys, tmp_path):
    assert main(["anchor", str(tmp_path)]) == 2
    run.segment()
    (run.directory / "anchors").write_text("in the way")
    assert main(["anchor", str(run.directory)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_text_is_drawn_as_a_qr_code(run, capsys):
    segno = pytest.importorskip("segno")
    run.segment()
    assert main(["anchor", str(run.directory)]) == 0
    shown = capsys.readouterr().out
    drawn = [line for line in shown.splitlines() if set(line) <= set("\u2588\u2580\u2584 ") and len(line) > 20]
    side = segno.make(short_of(shown), error="m", micro=False).symbol_size(border=2)[0]
    assert (len(drawn), len(drawn[0])) == ((side + 1) // 2, side)


def test_without_the_extra_the_text_stands_alone(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "segno", None)
    run.segment()
    assert main(["anchor", str(run.directory)]) == 0
    shown = capsys.readouterr().out
    assert "pip install 'auditor[qr]'" in shown
    assert short_of(shown)


# Proofs.


def prove(run, tmp_path, *what, segment=SEGMENT):
    out = tmp_path / "a.tlog-proof"
    assert main(["prove", str(run.directory), segment, *what, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("what", [["--seal"], ["--line", "1"], ["--line", "4"], ["--line", "2"]])
def test_a_record_is_proved_without_the_ledger(run, capsys, tmp_path, what):
    run.segment(intervals=5)
    lines = run.path().read_bytes().splitlines()
    proof = prove(run, tmp_path, *what)
    run.path().unlink()
    number = len(lines) - 1 if what == ["--seal"] else int(what[1])
    assert main(["verify", "--proof", str(proof), "--key", run.key.public_hex]) == 0
    shown = capsys.readouterr().out
    assert f"stands in   line {number} of {len(lines) - 1} of auditor.ledger/run-1/" in shown
    assert lines[number - 1].decode() in shown
    assert main(["verify", "--proof", str(proof)]) == 0
    assert "whose key that is, it cannot say" in capsys.readouterr().out
    assert main(["verify", "--proof", str(proof), "--key", "0" * 64]) == 4


def test_the_proof_is_a_tlog_proof_that_others_can_read(run, tmp_path):
    """As a reader of c2sp.org/tlog-proof who has none of our code."""
    import base64
    import hashlib

    run.segment(intervals=5)
    text = prove(run, tmp_path, "--line", "6").read_text()
    header, note, signatures = text.split("\n\n")
    title, extra, index, *proof = header.split("\n")
    assert title == "c2sp.org/tlog-proof@v1"
    assert extra.startswith("extra ")
    assert index == "index 5"
    origin, size, root = note.split("\n")
    found = hashlib.sha256(b"\0" + run.path().read_bytes().splitlines()[5]).digest()
    at, last = 5, int(size) - 1
    for part in map(base64.b64decode, proof):
        while at == last and at % 2 == 0:
            at, last = at // 2, last // 2
        pair = part + found if at % 2 else found + part
        found = hashlib.sha256(b"\1" + pair).digest()
        at, last = at // 2, last // 2
    assert base64.b64encode(found).decode() == root
    assert signatures.startswith(f"\u2014 {origin} ")


def test_every_change_to_a_proof_shows(run, tmp_path):
    run.segment(intervals=5)
    whole = prove(run, tmp_path, "--line", "4").read_text()
    sound = read_proof(whole)
    assert isinstance(sound, Inclusion)
    for at in range(len(whole)):
        for changed in (whole[:at] + chr(ord(whole[at]) ^ 1) + whole[at + 1 :], whole[:at] + whole[at + 1 :]):
            try:
                proof = read_proof(changed)
                proof.check(run.key.public_hex)
            except (LedgerInvalid, NoteError):
                continue
            assert isinstance(proof, Inclusion)
            assert (proof.line, proof.index, proof.head.head) == (sound.line, sound.index, sound.head.head)


def test_a_proof_follows_the_keys(run, capsys, tmp_path):
    keys = [run.key, load_or_create(tmp_path / "k1")]
    book = run.book()
    book.rotate(make_rotation(keys[0], keys[1].public_hex, number=1, made_us=1), keys[1])
    book.seal("finished")
    proof = prove(run, tmp_path, "--seal")
    for key, code in ((keys[0], 0), (keys[1], 0), (load_or_create(tmp_path / "k2"), 4)):
        assert main(["verify", "--proof", str(proof), "--key", key.public_hex]) == code


def test_a_proof_by_a_revoked_key_counts_where_its_head_was_kept_before(run, capsys, tmp_path):
    run.segment()
    proof, kept = prove(run, tmp_path, "--seal"), tmp_path / "kept.heads"
    anchored(run, capsys, "--out", str(kept))
    revoked, foreign = tmp_path / "revoked", tmp_path / "foreign"
    note = revoke(run.key.public_hex, run.key, since_s=1_800_000_000, reason="lost")
    revoked.write_text(note)
    stranger = load_or_create(tmp_path / "k1")
    foreign.write_text(revoke(run.key.public_hex, stranger, since_s=1_800_000_000, reason="lost"))
    check = ["verify", "--proof", str(proof), "--revocation"]
    assert main([*check, str(revoked)]) == 5
    assert "holds, by a key that was revoked" in capsys.readouterr().out
    assert main([*check, str(revoked), "--head", str(kept)]) == 0
    assert main([*check, str(foreign)]) == 0
    capsys.readouterr()


def test_an_extension_is_proved_without_the_ledger(run, capsys, tmp_path):
    book = run.book()
    run.interval(book, 0)
    kept, other = tmp_path / "kept.heads", tmp_path / "other.heads"
    anchored(run, capsys, "--out", str(kept))
    run.interval(book, 1)
    anchored(run, capsys, "--out", str(other))
    book.seal("finished")
    proof = prove(run, tmp_path, "--since", str(kept))
    assert isinstance(read_proof(proof.read_text()), Extension)
    assert main(["verify", "--proof", str(proof), "--head", str(kept), "--key", run.key.public_hex]) == 0
    assert re.search(
        r"extends     its head of \d+ lines \(the one that you kept\), by a head of", capsys.readouterr().out
    )
    assert main(["verify", "--proof", str(proof)]) == 0
    assert main(["verify", "--proof", str(proof), "--require", "WITNESSED"]) == 2
    assert "--quorum" in capsys.readouterr().err
    assert main(["verify", "--proof", str(proof), "--head", str(other)]) == 4
    assert "another head" in capsys.readouterr().err
    assert main(["verify", "--proof", str(proof), "--key", "0" * 64]) == 4


def test_what_does_not_extend_is_not_proved(run, capsys, tmp_path):
    run.segment()
    anchored(run, capsys, "--out", str(tmp_path / "kept"))
    rewrite(run, lambda body: body)
    assert main(["prove", str(run.directory), SEGMENT, "--since", str(tmp_path / "kept")]) == 4
    assert "does not show" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nobody", "--seal"], 2, "There are: rank-00000.attempt-000"),
        ([SEGMENT, "--line", "99"], 2, "is not one of the"),
        ([SEGMENT, "--line", "0"], 2, "invalid"),
        ([SEGMENT, "--since", "/nowhere"], 2, "cannot be read"),
        ([SEGMENT], 2, "required"),
    ],
)
def test_what_cannot_be_proved_is_said(run, capsys, arguments, code, told):
    run.segment()
    assert main(["prove", str(run.directory), *arguments]) == code
    assert told in capsys.readouterr().err


def test_a_segment_without_a_seal_has_none_to_prove_and_a_false_one_nothing(run, capsys):
    run.segment(seal=False)
    assert main(["prove", str(run.directory), SEGMENT, "--seal"]) == 2
    run.path().write_bytes(run.path().read_bytes().replace(b'"tiny"', b'"tine"'))
    assert main(["prove", str(run.directory), SEGMENT, "--line", "1"]) == 4
    assert "nothing is proved of a segment that is false" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "noise", "c2sp.org/tlog-proof@v1\nindex 0\n\n", "c2sp.org/tlog-proof@v1\nextra e30=\n\n"]
)
def test_what_is_no_proof_is_said(tmp_path, capsys, text):
    (tmp_path / "p").write_text(text)
    assert main(["verify", "--proof", str(tmp_path / "p")]) == 2
    assert capsys.readouterr().err
    assert main(["verify"]) == 2
    assert main(["verify", str(tmp_path), "--proof", str(tmp_path / "p")]) == 2


# A witness.


@pytest.fixture
def witness(run, tmp_path):
    command = [sys.executable, "-m", "auditor", "witness", str(tmp_path / "w"), "--name", "w.example/1"]
    command += ["--accept", run.key.public_hex, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().removeprefix("listening on ").strip()
        yield url, process.stdout.readline().strip()
        process.terminate()
        assert process.wait(10) == 0


def test_a_ledger_is_cosigned_as_it_grows_and_its_rewrite_is_refused(run, witness, capsys, tmp_path):
    url, key = witness
    asked = ["--witness", url, "--witness-key", key]
    book = run.book(expected_ranks=1)
    run.interval(book, 0)
    assert "co-signed by w.example/1: 1 heads" in anchored(run, capsys, *asked)
    run.interval(book, 1)
    book.seal("finished")
    assert verdict(run, capsys, "--witness-key", key) == "UNANCHORED"
    anchored(run, capsys, *asked)
    assert verdict(run, capsys, "--witness-key", key, "--require", "WITNESSED") == "WITNESSED"
    proof = prove(run, tmp_path, "--seal")
    assert main(["verify", "--proof", str(proof), "--witness-key", key]) == 0
    assert "w.example/1: co-signed at 20" in capsys.readouterr().out
    rewrite(run, lambda body: body)
    assert main(["anchor", str(run.directory), "--no-qr", *asked]) == 4
    assert "refuses to co-sign" in capsys.readouterr().err
    assert verdict(run, capsys, "--witness-key", key, code=4) == "DIVERGED"


def test_a_witness_that_is_down_costs_nothing_but_its_cosignature(run, capsys, witness):
    run.segment()
    _, key = witness
    asked = ["--witness", "http://127.0.0.1:9", "--witness-key", key]
    assert main(["anchor", str(run.directory), "--no-qr", *asked]) == 1
    said = capsys.readouterr()
    assert "cannot be reached" in said.err
    assert short_of(said.out)
    assert main(["anchor", str(run.directory), "--witness", "http://127.0.0.1:9"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--name", "a b", "--accept", "0" * 64], "without spaces"),
        (["--name", "w", "--accept", "0" * 64, "--listen", "nowhere"], "HOST:PORT"),
        (["--name", "w", "--accept", "nobody"], "not a public key"),
    ],
)
def test_a_witness_that_cannot_be_is_told_why(tmp_path, capsys, arguments, told):
    assert main(["witness", str(tmp_path / "w"), *arguments]) == 2
    assert told in capsys.readouterr().err
