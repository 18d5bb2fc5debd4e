"""Bad input: each has a named error, a remedy and an exit code."""

from __future__ import annotations

import base64
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.attestation import open_envelope, read_statement
from auditor.attestation.envelope import LARGEST_BYTES
from auditor.cli.main import main
from auditor.errors import AttestationInvalid, AuditorError, NotAnAttestation, SchemaFromFuture, WeightsError
from auditor.ledger import load_or_create


def refused(desk, capsys, code, *told, arguments=()):
    capsys.readouterr()
    assert desk.verify(*arguments) == code
    error = capsys.readouterr().err
    for part in told:
        assert part in error
    assert error.startswith("auditor: ")


def change(desk, **fields):
    desk.put(desk.envelope() | fields)


def test_another_payload_type(attested, capsys):
    change(attested, payloadType="application/json")
    refused(attested, capsys, 2, "payloadType: expected application/vnd.in-toto+json, got 'application/json'")


def test_no_signature(attested, capsys):
    for nothing in ([], None, "", {}):
        change(attested, signatures=nothing)
        refused(attested, capsys, 2, "it bears no signature")


def test_more_signatures_than_are_read(attested, capsys):
    change(attested, signatures=attested.envelope()["signatures"] * 65)
    refused(attested, capsys, 2, "it bears 65 signatures; at most 64 are read")


def test_two_signatures_of_which_one_is_ours(attested, tmp_path, capsys):
    (ours,) = attested.envelope()["signatures"]
    stranger = load_or_create(tmp_path / "stranger.pem")
    theirs = {"keyid": stranger.public_hex, "sig": base64.b64encode(stranger.sign(b"something else")).decode()}
    for both in ([ours, theirs], [theirs, ours]):
        change(attested, signatures=both)
        assert attested.verify("--key", attested.run.key.public_hex) == 0
        assert "1 signature that is not needed" in capsys.readouterr().out


def test_the_keyid_is_only_a_hint(attested, tmp_path, capsys):
    stranger = load_or_create(tmp_path / "stranger.pem")
    (ours,) = attested.envelope()["signatures"]
    key = attested.run.key.public_hex
    for hint in ({"keyid": stranger.public_hex}, {"keyid": "a name"}, {"keyid": ""}, {"keyid": None}):
        change(attested, signatures=[ours | hint])
        assert attested.verify("--key", key) == 0
    change(attested, signatures=[{"sig": ours["sig"]}])
    assert attested.verify("--key", key) == 0
    refused(attested, capsys, 2, "no signature names the public key", "--key")
    change(attested, signatures=[ours | {"keyid": stranger.public_hex}])
    refused(attested, capsys, 4, "the signature is not that of the key that it names")


def test_a_signature_of_other_bytes(attested, capsys):
    payload = json.dumps(attested.statement(), indent=1).encode()
    change(attested, payload=base64.b64encode(payload).decode())
    refused(attested, capsys, 4, "something was changed")


def test_base64_that_says_the_same_in_another_way(attested, capsys):
    envelope = attested.envelope()
    (ours,) = envelope["signatures"]
    assert ours["sig"].endswith("==")
    last = ours["sig"][-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = ours["sig"][:-3] + alphabet[alphabet.index(last) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(ours["sig"])
    for sig in (other, ours["sig"] + "\n", " " + ours["sig"], ours["sig"].rstrip("="), ours["sig"] + "=", "Ä"):
        change(attested, signatures=[ours | {"sig": sig}])
        refused(attested, capsys, 2, "base64")
    change(attested, payload=envelope["payload"][:40] + "\n" + envelope["payload"][40:], signatures=[ours])
    refused(attested, capsys, 2, "base64")


def test_the_url_alphabet_is_read_too(attested):
    envelope = attested.envelope()
    url = {"+": "-", "/": "_"}
    payload = "".join(url.get(letter, letter) for letter in envelope["payload"])
    sig = "".join(url.get(letter, letter) for letter in envelope["signatures"][0]["sig"])
    change(attested, payload=payload, signatures=[envelope["signatures"][0] | {"sig": sig}])
    assert attested.verify() == 0


def test_a_key_that_stands_twice(attested, capsys):
    text = attested.file.read_bytes()
    attested.put(text.replace(b'{"payload":', b'{"payload":"","payload":', 1))
    refused(attested, capsys, 2, "the key 'payload' stands twice")
    attested.put(text)
    statement = json.dumps(attested.statement()).encode()
    attested.sign(statement.replace(b'"total":', b'"total": "1", "total":', 1))
    refused(attested, capsys, 2, "the key 'total' stands twice")


@pytest.mark.parametrize("text", [b"1.5", b"NaN", b"1e400", b"-Infinity"])
def test_numbers_that_readers_round(attested, capsys, text):
    attested.sign(b'{"_type":' + text + b"}")
    refused(attested, capsys, 2, "is not whole")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[]", b"null", b"{", b'"text"', b"[" * 100_000, b"9" * 5000, b'{"payload": {}}', b"{}"],
)
def test_what_is_no_envelope(attested, capsys, data):
    attested.put(data)
    refused(attested, capsys, 2)
    attested.sign(data)
    refused(attested, capsys, 2)


def test_a_file_larger_than_any_attestation(attested, capsys):
    with attested.file.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    refused(attested, capsys, 2, f"larger than {LARGEST_BYTES} bytes")


def test_no_file_a_pipe_and_a_directory(attested, tmp_path, capsys):
    attested.file.unlink()
    refused(attested, capsys, 2, "No such file")
    os.mkfifo(attested.file)
    refused(attested, capsys, 2, "expected a file, got something else")
    attested.file = tmp_path
    refused(attested, capsys, 2)


def test_a_statement_of_another_type(attested, capsys):
    attested.resign(lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"))
    refused(attested, capsys, 2, "_type: expected https://in-toto.io/Statement/v1")


def test_a_later_version_and_another_kind_of_predicate(attested, capsys):
    attested.resign(lambda statement: statement.update(predicateType="urn:auditor:training-compute:2"))
    refused(attested, capsys, 2, "its predicate is version 2, this auditor reads 1", "Install the version")
    for kind in ("urn:auditor:training-compute:0", "urn:auditor:training-compute:1 ", "https://slsa.dev/provenance/v1"):
        attested.resign(lambda statement, kind=kind: statement.update(predicateType=kind))
        refused(attested, capsys, 2, "predicateType: expected urn:auditor:training-compute:1")


def test_subjects_that_are_none_twice_or_without_a_digest(attested, capsys):
    first = attested.statement()["subject"][0]
    for subjects, told in (
        ([], "it names no file"),
        ([first, first], "stands twice"),
        ([first | {"digest": {"sha512": "0" * 128}}], "64 hexadecimal digits"),
        ([first | {"digest": {"sha256": "0" * 63}}], "64 hexadecimal digits"),
        ([first | {"digest": {"sha256": "A" * 64}}], "64 hexadecimal digits"),
    ):
        attested.resign(lambda statement, subjects=subjects: statement.update(subject=subjects))
        refused(attested, capsys, 2, told)


def test_amounts_that_do_not_come_to_their_total(attested, capsys):
    def alter(name, value):
        def change(statement):
            statement["predicate"]["operations"] = kept | {name: value}

        return change

    kept = attested.statement()["predicate"]["operations"]
    bucket = kept["buckets"][0]
    for name, value in (
        ("total", "3457"),
        ("total", "03456"),
        ("total", "9" * 5000),
        ("buckets", kept["buckets"] + [bucket]),
        ("buckets", kept["buckets"][::-1]),
        ("buckets", [bucket | {"algorithmic": "1e3"}, kept["buckets"][1]]),
        ("buckets", [bucket | {"phase": "sideways"}, kept["buckets"][1]]),
        ("unpriced", {"aten::mm": "-1"}),
        ("unpriced", {"aten::mm": "9" * 5000}),
    ):
        attested.resign(alter(name, value))
        refused(attested, capsys, 2, "number" if name == "unpriced" else "operations")


def test_a_name_that_leads_out_of_the_ledger_is_not_followed(attested, capsys):
    def rename(statement):
        statement["predicate"]["ledger"]["segments"][0]["name"] = "../../key.pem"

    attested.resign(rename)
    assert attested.verify(ledger=True) == 4
    assert "../../key.pem: a head over" in capsys.readouterr().out


@given(data=st.binary(max_size=400))
def test_any_bytes_raise_only_the_projects_errors(data):
    with pytest.raises(AuditorError) as raised:
        open_envelope(data, [], "it")
    assert raised.type in (NotAnAttestation, AttestationInvalid)
    with pytest.raises(NotAnAttestation):
        read_statement(data, "it")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A statement that is whole, for those tests that are given no fixtures."""
    from tests.attestation.conftest import Desk
    from tests.ledger.conftest import Run

    place = tmp_path_factory.mktemp("whole")
    run = Run(place / "ledger", load_or_create(place / "key.pem"))
    run.segment(1)
    (place / "weights").write_bytes(b"weights")
    desk = Desk(run, place / "weights", place / "attestation.json", place / "key.pem")
    assert desk.attest() == 0
    return json.dumps(desk.statement())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_any_value_in_any_place_is_read_or_refused_by_name(whole, data):
    """What is signed may still hold anything."""
    statement = json.loads(whole)
    place, name = statement, data.draw(st.sampled_from(sorted(statement)))
    while isinstance(place[name], (dict, list)) and place[name] and data.draw(st.booleans()):
        place = place[name]
        name = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[name] = data.draw(JSON)
    try:
        found = read_statement(json.dumps(statement).encode(), "it")
    except (NotAnAttestation, SchemaFromFuture):
        return
    assert found.predicate.amounts().total == int(found.predicate.operations.total)


def weights_refused(desk, capsys, told):
    desk.file.unlink(missing_ok=True)
    capsys.readouterr()
    assert desk.attest() == WeightsError.exit_code
    assert told in capsys.readouterr().err
    assert not desk.file.exists()


def test_links_pipes_and_sockets_among_the_weights(attested, tmp_path, capsys):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"weights")
    extra = attested.weights / "extra"
    extra.symlink_to(target)
    assert attested.verify() == 2
    weights_refused(attested, capsys, "a link")
    extra.unlink()
    extra.symlink_to(attested.weights / "tokenizer")
    weights_refused(attested, capsys, "a link")
    extra.unlink()
    os.mkfifo(extra)
    weights_refused(attested, capsys, "a pipe, not a file")
    extra.unlink()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(extra))
        weights_refused(attested, capsys, f"{extra}: ")


def test_a_link_that_a_person_names_is_followed(desk, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(desk.weights)
    desk.weights = link
    assert desk.attest() == 0
    file = tmp_path / "one"
    file.symlink_to(link / "model-00001.safetensors")
    desk.weights = file
    assert desk.attest() == 0


def test_no_weights_an_empty_directory_and_a_device(desk, tmp_path, capsys):
    desk.weights = tmp_path / "nowhere"
    weights_refused(desk, capsys, "No such file")
    desk.weights = tmp_path / "empty"
    desk.weights.mkdir()
    weights_refused(desk, capsys, "the directory holds no file")
    desk.weights = desk.weights.parent / "/dev/null"
    weights_refused(desk, capsys, "a device, not a file")


def test_a_name_that_is_not_text(desk, capsys):
    (desk.weights / os.fsdecode(b"\xff.bin")).write_bytes(b"")
    weights_refused(desk, capsys, "the name is not UTF-8")


def test_a_file_that_is_written_while_it_is_read(desk, monkeypatch, capsys):
    import hashlib

    digest = hashlib.file_digest

    def slow(file, name):
        found = digest(file, name)
        with (desk.weights / "model-00002.safetensors").open("ab") as other:
            other.write(b"more")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    weights_refused(desk, capsys, "it was written to while it was read")


def test_an_attestation_among_the_weights(desk, capsys):
    desk.file = desk.weights / "attestation.json"
    weights_refused(desk, capsys, "it would stand among the weights")


@pytest.mark.parametrize("arguments", [["--attestation", "x"], ["--weights", "x"], []])
def test_arguments_that_belong_together(arguments, capsys):
    assert main(["verify", *arguments]) == 2
    told = capsys.readouterr().err
    assert "go together" in told or "expected a directory" in told


def test_a_day_that_is_none(desk, capsys):
    assert desk.attest("--as-of", "yesterday") == 2
    assert "--as-of: expected a day" in capsys.readouterr().err
