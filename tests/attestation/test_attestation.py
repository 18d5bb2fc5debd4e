"""What is attested, and that everything that is not so any more is found and named."""

from __future__ import annotations

import hashlib
import json
import os

import jsonschema
import pytest

from auditor.attestation import PREDICATE_TYPE, digest_weights
from auditor.cli.main import main
from auditor.formulas import TABLE
from auditor.ledger import load_or_create
from auditor.resources import tree
from tests.lineage.conftest import weights

NAMES = ["model-00001.safetensors", "model-00002.safetensors", "tokenizer/vocabulary.json"]


def schema() -> jsonschema.Draft202012Validator:
    document = json.loads((tree("configs") / "schema" / "attestation.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_the_subjects_are_the_files_and_the_predicate_is_the_ledgers(attested):
    statement = attested.statement()
    assert statement["subject"] == [
        {"name": name, "digest": {"sha256": hashlib.sha256((attested.weights / name).read_bytes()).hexdigest()}}
        for name in NAMES
    ]
    reading, predicate = attested.run.read(), statement["predicate"]
    assert statement["predicateType"] == PREDICATE_TYPE
    assert predicate["operations"]["total"] == str(reading.operations.total) == str(96 * 4 * 9)
    assert predicate["operations"]["complete"] is True
    assert predicate["ledger"]["head"] == reading.head
    assert predicate["ledger"]["verdict"] == "UNANCHORED"
    assert [(part["name"], int(part["size"])) for part in predicate["ledger"]["segments"]] == [
        (segment.name, segment.head.size) for segment in reading.segments
    ]
    assert predicate["hardware"] == [
        {"kind": "cpu", "name": "a processor", "uuid": None, "chip": None, "eccn": None},
    ]
    assert {rule["day"] for rule in predicate["rules"]} == {"2026-11-22"}
    assert {rule["id"] for rule in predicate["rules"]} >= {"us_ear_4e091_2025", "eu_ai_act_art51"}
    assert predicate["versions"]["formulas"] == TABLE.digest


def test_it_fits_its_schema_and_holds_no_number(attested):
    statement = attested.statement()
    schema().validate(statement)

    def refuse(text):
        raise AssertionError(f"a number: {text}")

    json.loads(json.dumps(statement), parse_int=refuse, parse_float=refuse)


def test_the_schema_asks_for_what_the_reader_asks_for(attested, capsys):
    """Each field that is left out is refused by both."""
    whole = attested.statement()
    places = [whole, whole["predicate"], *(part for part in whole["predicate"].values() if isinstance(part, dict))]
    places += [whole["predicate"][name][0] for name in ("hardware", "rules")]
    places += [whole["predicate"]["operations"]["buckets"][0], whole["predicate"]["ledger"]["segments"][0]]
    places += [whole["subject"][0], whole["subject"][0]["digest"]]
    tried = 0
    for place in places:
        for name in list(place):
            kept = place.pop(name)
            assert not schema().is_valid(whole), name
            attested.sign(whole)
            assert attested.verify() == 2, name
            assert capsys.readouterr().err.startswith("auditor: "), name
            place[name] = kept
            tried += 1
    assert tried > 50
    attested.sign(whole)
    assert attested.verify() == 0


def test_what_holds_is_said_with_the_signer(attested, capsys):
    assert attested.verify("--key", attested.run.key.public_hex, ledger=True) == 0
    told = capsys.readouterr().out
    assert f"{attested.file}: UNANCHORED\n" in told
    assert f"signed by   {attested.run.key.public_hex}\n" in told
    assert "3 files attested" in told
    assert attested.verify() == 0
    assert "whose key that is, nobody said" in capsys.readouterr().out


def test_more_than_it_is_worth_is_not_met(attested, capsys):
    assert attested.verify("--require", "WITNESSED") == 5
    assert "--require asks for WITNESSED" in capsys.readouterr().err


def test_files_that_are_missing_additional_and_changed_are_named(attested, capsys):
    (attested.weights / NAMES[0]).write_bytes(b"other")
    (attested.weights / NAMES[1]).unlink()
    (attested.weights / "added.bin").write_bytes(b"")
    assert attested.verify() == 4
    told = capsys.readouterr().out
    assert "INVALID" in told
    assert f"{NAMES[0]} is not the file that was attested" in told
    assert f"{NAMES[1]} is missing" in told
    assert "added.bin is not attested" in told


@pytest.mark.parametrize("place", [0, 700_000, -1])
def test_one_changed_bit_of_the_weights_shows(attested, place):
    file = attested.weights / NAMES[0]
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    assert attested.verify() == 4


def test_a_single_file_is_attested_by_its_name(desk, capsys):
    desk.weights = desk.weights / NAMES[0]
    assert desk.attest() == 0
    assert [subject["name"] for subject in desk.statement()["subject"]] == [NAMES[0]]
    assert desk.verify() == 0


def test_every_flipped_bit_of_the_envelope_shows(attested, capsys):
    whole = attested.file.read_bytes()
    expected = attested.statement()
    for place in range(0, len(whole) - 1, 61):  # the last byte is the newline after it
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        attested.put(bytes(changed))
        code = attested.verify("--key", attested.run.key.public_hex)
        # A hint, or a field that nobody reads, may change: what is said may not.
        assert code in (2, 4) or attested.statement() == expected, place
    capsys.readouterr()


def test_another_signer_is_refused_where_one_is_trusted(attested, tmp_path, capsys):
    stranger = load_or_create(tmp_path / "stranger.pem")
    assert attested.verify("--key", stranger.public_hex) == 4
    assert "no signature is by a trusted key" in capsys.readouterr().err


def test_signed_by_another_key_than_the_ledger_is_told(desk, tmp_path, capsys):
    load_or_create(tmp_path / "other.pem")
    assert desk.attest("--key", str(tmp_path / "other.pem")) == 0
    assert desk.verify(ledger=True) == 0
    assert "signed by another key than the ledger" in capsys.readouterr().out


def test_a_ledger_that_has_gone_on_agrees(desk, capsys):
    """A segment that was open, and attempts and processes that came later."""
    book = desk.run.book(attempt=1)
    desk.run.interval(book, 0)
    assert desk.attest() == 0
    assert desk.statement()["predicate"]["operations"]["complete"] is False
    total = desk.statement()["predicate"]["operations"]["total"]
    desk.run.interval(book, 1, size=64)
    book.seal("finished")
    desk.run.segment(1, attempt=2)
    assert desk.verify(ledger=True) == 0
    told = capsys.readouterr().out
    assert "since then  1 segment grown, 1 segment added" in told
    assert f"at least {int(total):,}" in told


def test_a_ledger_that_was_cut_has_diverged(attested, capsys):
    path = attested.run.path()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    assert attested.verify(ledger=True) == 4
    told = capsys.readouterr().out
    assert "DIVERGED" in told
    assert "it ends after" in told


def test_a_ledger_that_was_written_anew_with_the_same_key_has_diverged(attested, capsys):
    nonce = attested.run.read().segments[0].genesis.nonce
    attested.run.path().unlink()
    attested.run.segment(3, nonce=nonce, size=2)
    assert attested.verify(ledger=True) == 4
    assert "are not those of the head that is held elsewhere" in capsys.readouterr().out


def test_a_segment_that_is_gone_and_another_run(attested, new_ledger, capsys):
    attested.run.path("launcher.attempt-000.jsonl").unlink()
    assert attested.verify(ledger=True) == 4
    assert "launcher.attempt-000.jsonl: a head over" in capsys.readouterr().out
    assert (
        main(["verify", str(new_ledger), "--attestation", str(attested.file), "--weights", str(attested.weights)]) == 4
    )
    assert "It speaks of the run run-1; this ledger is of run-2" in capsys.readouterr().out


def test_heads_that_were_kept_count_for_the_ledger_at_hand(attested, tmp_path, capsys):
    kept = tmp_path / "kept.heads"
    assert main(["anchor", str(attested.run.directory), "--out", str(kept), "--no-qr"]) == 0
    assert attested.verify("--head", str(kept), "--require", "WITNESSED", ledger=True) == 0
    assert "The ledger is WITNESSED" in capsys.readouterr().out
    attested.run.segment(1, attempt=1)
    assert attested.verify("--head", str(kept), "--require", "WITNESSED", ledger=True) == 5


def test_what_is_about_a_ledger_asks_for_one(attested, tmp_path, capsys):
    assert attested.verify("--head", str(tmp_path / "kept.heads")) == 2
    assert "are about a ledger, and none is named" in capsys.readouterr().err
    assert attested.verify("--proof", str(tmp_path / "proof")) == 2


@pytest.mark.parametrize("ledger", [False, True])
def test_what_a_revoked_key_attested_is_not_believed(attested, tmp_path, ledger, capsys):
    revoked, stranger = tmp_path / "revoked", tmp_path / "stranger.pem"
    load_or_create(stranger)
    by_itself = ["key", "revoke", "--reason", "lost", "--key", str(attested.key_file), "--out", str(revoked)]
    assert main(by_itself) == 0
    assert attested.verify("--revocation", str(revoked), "--require", "UNANCHORED", ledger=ledger) == 5
    told = capsys.readouterr().out
    assert f"{attested.file}: INCOMPLETE\n" in told
    assert "The key that signed this was revoked as of" in told
    assert ("The ledger is INCOMPLETE" in told) is ledger
    assert main([*by_itself[:4], "--key", str(stranger), "--out", str(revoked), attested.run.key.public_hex]) == 0
    assert attested.verify("--revocation", str(revoked), "--require", "UNANCHORED", ledger=ledger) == 0


def test_amounts_that_the_ledger_does_not_come_to(attested, capsys):
    def more(statement):
        operations = statement["predicate"]["operations"]
        bucket = operations["buckets"][0]
        bucket["algorithmic"] = str(int(bucket["algorithmic"]) + 1)
        operations["total"] = str(int(operations["total"]) + 1)

    attested.resign(more)
    assert attested.verify() == 0  # only the ledger knows better
    assert attested.verify(ledger=True) == 4
    assert "attested are 3457 operations, it holds 3456" in capsys.readouterr().out


def test_amounts_of_a_table_that_is_not_here_are_not_compared(attested, capsys):
    attested.resign(lambda statement: statement["predicate"]["versions"].update(formulas="0" * 64))
    assert attested.verify(ledger=True) == 0
    assert "they were not compared" in capsys.readouterr().out


def test_a_false_ledger_is_not_attested(desk, capsys):
    data = bytearray(desk.run.path().read_bytes())
    data[len(data) // 2] ^= 1
    desk.run.path().write_bytes(data)
    assert desk.attest() == 4
    assert "nothing is attested" in capsys.readouterr().err
    assert not desk.file.exists()


def test_an_unfinished_ledger_is_attested_as_a_floor(desk):
    desk.run.segment(1, seal=False, attempt=1)
    assert desk.attest() == 0
    predicate = desk.statement()["predicate"]
    assert predicate["ledger"]["verdict"] == "INCOMPLETE"
    assert predicate["operations"]["complete"] is False
    assert all(rule["floor"] for rule in predicate["rules"])


def test_it_says_of_each_rule_whether_it_binds_in_both_readings(attested):
    bound = {
        rule["id"]: (rule["binds_as_codified"], rule["binds_as_enforced"])
        for rule in attested.statement()["predicate"]["rules"]
    }
    assert bound["us_ear_4e091_2025"] == (True, False)  # printed, and announced as not to be enforced
    assert bound["kr_ai_basic_act_decree"] == (True, True)  # its fines are held back
    assert bound["us_ny_raise_2026"] == (False, False)  # not yet effective


def test_weights_that_were_made_from_unknown_ones_are_attested_as_a_floor_under_laws_of_a_model(desk):
    book = desk.run.book(attempt=1)
    book.weights(weights("loaded", "a"))
    book.seal("finished")
    assert desk.attest() == 0
    predicate = desk.statement()["predicate"]
    assert predicate["operations"]["complete"] is True
    assert all(rule["floor"] and rule["verdict"] == "undetermined" for rule in predicate["rules"])


def test_without_out_it_is_printed(desk, capsys):
    assert main(["attest", str(desk.run.directory), "--weights", str(desk.weights), "--key", str(desk.key_file)]) == 0
    desk.put(capsys.readouterr().out.encode())
    assert desk.verify() == 0


def test_names_come_in_order_whatever_the_directory_says(tmp_path):
    for name in ("b", "a/z", "a.b", "A"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [subject.name for subject in digest_weights(tmp_path)] == ["A", "a.b", "a/z", "b"]


def test_large_files_are_streamed(tmp_path):
    """A sparse file of half a GiB is digested without being held in memory."""
    import resource

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**29)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (subject,) = digest_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10
    assert subject.sha256 == "9acca8e8c22201155389f65abbf6bc9723edc7384ead80503839f49dcc56d767"


def test_a_pipe_is_written_into_and_not_replaced(desk, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for verb in (["attest", "--weights", str(desk.weights), "--key", str(desk.key_file)], ["anchor", "--no-qr"]):
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert main([*verb, str(desk.run.directory), "--out", str(tmp_path / "pipe")]) == 0
            assert os.read(reader, 20)
        finally:
            os.close(reader)
        assert (tmp_path / "pipe").is_fifo()


def test_the_old_attestation_stays_where_the_new_one_cannot_be_written(attested, tmp_path, capsys):
    attested.file = tmp_path / "nowhere" / "attestation.json"
    assert attested.attest() == 2
    assert "Name another file with --out" in capsys.readouterr().err
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
