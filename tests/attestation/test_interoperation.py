"""Ours read by the in-toto and securesystemslib libraries, and theirs by ours."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from auditor.attestation import PREDICATE_TYPE, open_envelope, read_statement
from auditor.attestation.envelope import PAYLOAD_TYPE


def key_of(public_hex: str) -> SSlibKey:
    return SSlibKey(public_hex, "ed25519", "ed25519", {"public": public_hex})


def test_their_envelope_verifies_ours(attested):
    public = attested.run.key.public_hex
    envelope = Envelope.from_dict(attested.envelope())
    assert envelope.payload_type == PAYLOAD_TYPE
    assert list(envelope.verify([key_of(public)], 1)) == [public]
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key_of(public)], 1)


def test_their_statement_takes_ours(attested):
    payload = Envelope.from_dict(attested.envelope()).payload
    statement = Statement.copy_from_pb(json_format.Parse(payload, statement_pb2.Statement()))
    statement.validate()
    assert statement.pb.predicate_type == PREDICATE_TYPE
    assert [subject.name for subject in statement.pb.subject] == [
        subject["name"] for subject in attested.statement()["subject"]
    ]
    # Through their types, which hold numbers as floats, and back: nothing has changed.
    again = json_format.MessageToJson(statement.pb).encode()
    ours = read_statement(payload, "ours")
    assert read_statement(again, "theirs") == ours


def test_ours_takes_what_theirs_made_and_signed(attested, capsys):
    said = attested.statement()
    subjects = [ResourceDescriptor(name=part["name"], digest=part["digest"]).pb for part in said["subject"]]
    theirs = Statement(subjects, PREDICATE_TYPE, said["predicate"])
    theirs.validate()
    signer = CryptoSigner.generate_ed25519()
    envelope = Envelope(json_format.MessageToJson(theirs.pb).encode(), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    attested.put(envelope.to_dict())
    public = signer.public_key.keyval["public"]
    assert attested.verify("--key", public, ledger=True) == 0
    assert f"signed by   {public}" in capsys.readouterr().out
    opened = open_envelope(attested.file.read_bytes(), [public], "theirs")
    assert read_statement(opened.payload, "theirs").predicate.run.id == said["predicate"]["run"]["id"]


def test_ours_among_signatures_of_theirs(attested):
    envelope = Envelope.from_dict(attested.envelope())
    envelope.sign(CryptoSigner.generate_ed25519())
    envelope.sign(CryptoSigner.generate_ed25519())
    attested.put(json.dumps(envelope.to_dict()).encode())
    assert attested.verify("--key", attested.run.key.public_hex) == 0


def test_both_sign_the_same_bytes(attested):
    """The vector of the DSSE protocol's own document, by both."""
    from auditor.attestation import envelope as ours

    assert Envelope(b"hello world", PAYLOAD_TYPE, {}).pae() == ours.pae(b"hello world")
    assert ours.pae(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
