"""The in-toto Statement (version 1): subjects, the files that it speaks of, and a predicate about all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.attestation.json_text import plain, read_form, read_json, refuse, write_json
from auditor.attestation.predicate import PREDICATE_TYPE, PREDICATE_VERSION, TYPE_STEM, Predicate
from auditor.attestation.weights import Subject
from auditor.errors import NotAnAttestation, SchemaFromFuture

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of which files."""

    subjects: tuple[Subject, ...]
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class _Resource:
    """A subject as in-toto writes it; of its digests SHA-256 is the one that is read."""

    name: str
    digest: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Head:
    predicateType: str  # noqa: N815 - in-toto's name
    subject: tuple[_Resource, ...]


def write_statement(statement: Statement) -> bytes:
    """The statement's JSON."""
    return write_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in statement.subjects],
            "predicateType": PREDICATE_TYPE,
            "predicate": plain(statement.predicate),
        }
    )


def read_statement(payload: bytes, what: str) -> Statement:
    """The statement that the bytes write; to be called once it is known who signed them.

    Raises: NotAnAttestation: another kind of statement, a field that does not fit, a file that stands twice, amounts
    that do not come to their total. SchemaFromFuture: a later version of the predicate.
    """
    document = read_json(payload, what)
    if type(document) is not dict or document.get("_type") != STATEMENT_TYPE:
        found = document.get("_type") if type(document) is dict else document
        refuse(f"{what}: _type", STATEMENT_TYPE, found)
    head = read_form(_Head, document, what)
    _check_type(head.predicateType, what)
    predicate = read_form(Predicate, document.get("predicate"), "predicate")
    predicate.amounts()
    predicate.heads()
    return Statement(_subjects(head, what), predicate)


def _check_type(kind: str, what: str) -> None:
    if kind == PREDICATE_TYPE:
        return
    version = kind.removeprefix(TYPE_STEM)
    if kind.startswith(TYPE_STEM) and _VERSION.fullmatch(version) and int(version) > PREDICATE_VERSION:
        raise SchemaFromFuture(f"{what}: its predicate is version {version}, this auditor reads {PREDICATE_VERSION}")
    refuse(f"{what}: predicateType", PREDICATE_TYPE, kind)


def _subjects(head: _Head, what: str) -> tuple[Subject, ...]:
    subjects = {}
    for resource in head.subject:
        digest = resource.digest.get("sha256", "")
        if not _SHA256.fullmatch(digest):
            refuse(f"{what}: the digest of {resource.name!r}", "64 hexadecimal digits of SHA-256", digest)
        if resource.name in subjects:
            raise NotAnAttestation(f"{what}: the file {resource.name!r} stands twice")
        subjects[resource.name] = Subject(resource.name, digest)
    if not subjects:
        raise NotAnAttestation(f"{what}: it names no file")
    return tuple(subjects.values())
