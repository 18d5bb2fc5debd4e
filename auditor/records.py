"""What is written down: the records of a ledger's segment, their schema and their canonical bytes.

A segment is one file of JSON lines, written by one process for itself. Each line is::

    {"record":<canonical bytes of a Record>,"hash":"<64 hex>","signature":"<128 hex>"}

``hash`` is SHA-256 over a domain prefix and the canonical bytes as they stand in the file; ``signature``
(Ed25519 over a domain prefix and the hash) stands on the kinds in `SIGNED_KINDS`. A record's ``prev`` is the
*head* after the line before: SHA-256 over a domain prefix, that line's hash and its signature if it has one.
So one signature vouches for every byte before it, earlier signatures included. How lines are framed and
checked is `ledger`'s.

Amounts of operations are decimal strings. Unknown fields are refused: a newer schema has a newer name, and a
segment is read by the rules of its own.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from auditor.errors import LedgerInvalid, SchemaFromFuture

LEDGER_SCHEMA = "auditor.ledger/2"
# The schemas that are read, each with the kinds of records that came after it.
SCHEMAS: Mapping[str, frozenset[str]] = {"auditor.ledger/1": frozenset({"hardware"}), LEDGER_SCHEMA: frozenset()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The first record: who writes, as part of what, counting with what."""

    kind: ClassVar[str] = "genesis"
    schema: str
    run_id: str
    nonce: str  # random, so that two segments never begin alike
    role: str  # "rank": a training process; "process": another Python process; "launcher": `auditor run` itself
    rank: int
    attempt: int  # restarts of the same run count up from 0
    expected_ranks: int
    model: str
    purpose: str
    command: tuple[str, ...]
    public_key: str  # Ed25519, 64 hex digits
    counter: str  # "dispatch", "native", or "" where nothing is counted
    versions: Mapping[str, str]  # auditor, python, torch, platform
    digests: Mapping[str, str]  # formulas, rules, catalogue, configuration
    host: Mapping[str, str]  # hostname, boot_id, pid
    devices: tuple[Mapping[str, str], ...]  # what each device said of itself; see hardware.identity
    settings: Mapping[str, str]  # the settings in force that change what is recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """Operators seen for the first time; tallies refer to them by number, the first of them is ``first``."""

    kind: ClassVar[str] = "signatures"
    first: int
    items: tuple[tuple[str, str], ...]  # (operator, canonical arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyRecord:
    """A tally, written once; intervals refer to it by digest."""

    kind: ClassVar[str] = "tally"
    digest: str
    entries: tuple[tuple[int, str, str, int], ...]  # (signature number, phase, purpose, calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What was counted since the interval before: steps, tallies and how often, and what that comes to."""

    kind: ClassVar[str] = "interval"
    first_step: int  # the steps that ended in this interval are first_step .. first_step + steps - 1, counted from 1
    steps: int
    elapsed_us: int  # since the process was attached, on the monotonic clock, at the end of the interval
    tallies: tuple[tuple[str, int], ...]  # (digest, times)
    operations: tuple[tuple[str, ...], ...]  # rows of Operations
    unpriced: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeChange:
    """From here on the process works for another purpose."""

    kind: ClassVar[str] = "purpose"
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something the auditor could not see or do: what it was, and what it means for the total."""

    kind: ClassVar[str] = "gap"
    cause: str  # one word of: formula, counter, thread, compiled, ledger, hardware, second_opinion, coverage, attach
    message: str
    lower_bound: bool  # whether operations may be missing from the total because of it


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """Another counter's view of one forward pass, beside ours of the same pass; matrix families only."""

    kind: ClassVar[str] = "second_opinion"
    counter: str
    model: str  # class of the outermost module
    inputs: str  # canonical text of its input shapes
    ours: str  # operations of the matrix families, decimal
    theirs: str
    unavailable: str  # why there is no opinion, or ""
    explained: tuple[Mapping[str, str], ...]  # operator, module, ours, theirs, note
    modules: tuple[tuple[str, str, str], ...]  # (module path, class, operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What was seen of a device at a moment, as text; no amount of the total rests on it."""

    kind: ClassVar[str] = "hardware"
    event: str  # "observed", "lost", "found", "changed", "measured", "coverage", ...
    device: str  # its UUID; "" where it is of the machine and not of one device
    values: Mapping[str, str]  # units are in the names


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the command ended, seen from the launcher."""

    kind: ClassVar[str] = "exit"
    code: int  # the code that `auditor run` returns: 128+n for a signal
    signal: int  # 0 where there was none
    processes: int  # segments that were begun under this launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A tail without acknowledgement was cut from an earlier segment and kept aside."""

    kind: ClassVar[str] = "recovered"
    segment: str
    kept_as: str
    cut_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The last record: the segment's totals, so that a reader need not add them up."""

    kind: ClassVar[str] = "seal"
    steps: int
    elapsed_us: int
    operations: tuple[tuple[str, ...], ...]
    unpriced: Mapping[str, int]
    gaps: int
    reason: str  # "finished", "stopped", "forked", ...


Body = (
    Genesis
    | Signatures
    | TallyRecord
    | Interval
    | PurposeChange
    | Gap
    | SecondOpinion
    | Hardware
    | Exit
    | Recovered
    | Seal
)
_KINDS: dict[str, type[Any]] = {body.kind: body for body in typing.get_args(Body)}
SIGNED_KINDS = frozenset({"genesis", "interval", "gap", "exit", "second_opinion", "hardware", "recovered", "seal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: its place in the chain, when it was written (UTC, for information) and what it says."""

    seq: int
    prev: str  # head after the line before; 64 zeros at the first
    time: str  # "2026-11-22T21:40:00.123456Z"
    body: Body

    def canonical(self) -> bytes:
        """The bytes that are written and hashed."""
        body = {name: getattr(self.body, name) for name in _fields(type(self.body))}
        return _encode({"body": body, "kind": self.body.kind, "prev": self.prev, "seq": self.seq, "time": self.time})


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_LARGEST_INT = 2**63


def _encode(plain: Mapping[str, object]) -> bytes:
    return _ENCODER.encode(plain).encode()


def read_record(data: bytes) -> Record:
    """The record that these bytes write.

    Raises: LedgerInvalid: not a record of this schema. SchemaFromFuture: a genesis of a newer schema.
    """
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LedgerInvalid(f"a record is not JSON: {error}") from error
    if not isinstance(plain, dict) or plain.keys() != {"body", "kind", "prev", "seq", "time"}:
        raise LedgerInvalid("a record must have exactly the fields body, kind, prev, seq and time")
    record = Record(
        seq=_read_int(plain["seq"], "seq"),
        prev=_read_str(plain["prev"], "prev"),
        time=_read_str(plain["time"], "time"),
        body=_read_body(plain["kind"], plain["body"]),
    )
    if not _TIME.fullmatch(record.time):
        raise LedgerInvalid(f"time: expected YYYY-MM-DDTHH:MM:SS.ffffffZ, got {record.time[:40]!r}")
    if _encode(plain) != data:
        raise LedgerInvalid("a record is not written in the canonical form, so it could be read in two ways")
    return record


def _read_body(kind: object, plain: object) -> Body:
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None or not isinstance(plain, dict):
        raise LedgerInvalid(f"unknown kind of record: {str(kind)[:40]!r}")
    if cls is Genesis:
        _check_schema(plain.get("schema"))
    readers = _fields(cls)
    if plain.keys() != readers.keys():
        wrong = ", ".join(sorted(plain.keys() ^ readers.keys()))[:200]
        raise LedgerInvalid(f"a record of kind {kind!r} has fields missing or unknown: {wrong}")
    body: Body = cls(**{name: read(plain[name], f"{kind}.{name}") for name, read in readers.items()})
    return body


def _check_schema(schema: object) -> None:
    if isinstance(schema, str) and schema in SCHEMAS:
        return
    if isinstance(schema, str) and schema.startswith("auditor.ledger/"):
        raise SchemaFromFuture(f"the ledger has the schema {schema!r}, this auditor reads up to {LEDGER_SCHEMA!r}")
    raise LedgerInvalid(f"not a ledger's schema: {schema!r}")


# A reader takes a JSON value and its name; it answers with the value as the field's type, lists as tuples.
_Reader = Callable[[Any, str], Any]
_READERS: dict[type[Any], dict[str, _Reader]] = {}


def _fields(cls: type[Any]) -> dict[str, _Reader]:
    """The fields of a body in the order of its class, each with its reader."""
    if cls not in _READERS:
        hints = typing.get_type_hints(cls)
        _READERS[cls] = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(cls)}
    return _READERS[cls]


def _reader(hint: Any) -> _Reader:
    """The reader for a type; built once per field, because a ledger has millions of values."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Mapping:
        return _mapping_reader(_reader(parts[1]))
    if len(parts) == 2 and parts[1] is Ellipsis:
        return _read_texts if parts[0] is str else _list_reader(_reader(parts[0]))
    return _row_reader(tuple(map(_reader, parts)))


def _read_int(value: Any, name: str) -> int:
    if type(value) is int and -_LARGEST_INT <= value < _LARGEST_INT:
        return value
    raise LedgerInvalid(f"{name}: expected a whole number of 64 bits, got {_shown(value)}")


def _read_str(value: Any, name: str) -> str:
    if type(value) is str:
        return value
    raise LedgerInvalid(f"{name}: expected text, got {_shown(value)}")


def _read_bool(value: Any, name: str) -> bool:
    if type(value) is bool:
        return value
    raise LedgerInvalid(f"{name}: expected true or false, got {_shown(value)}")


def _read_texts(value: Any, name: str) -> tuple[str, ...]:
    if type(value) is list and set(map(type, value)) <= {str}:
        return tuple(value)
    raise LedgerInvalid(f"{name}: expected a list of texts, got {_shown(value)}")


_SCALARS: dict[Any, _Reader] = {int: _read_int, str: _read_str, bool: _read_bool}


def _list_reader(part: _Reader) -> _Reader:
    def read(value: Any, name: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise LedgerInvalid(f"{name}: expected a list, got {_shown(value)}")
        return tuple([part(inner, name) for inner in value])

    return read


def _row_reader(parts: tuple[_Reader, ...]) -> _Reader:
    def read(value: Any, name: str) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(parts):
            raise LedgerInvalid(f"{name}: expected a list of {len(parts)} values, got {_shown(value)}")
        return tuple([part(inner, name) for part, inner in zip(parts, value, strict=True)])

    return read


def _mapping_reader(part: _Reader) -> _Reader:
    def read(value: Any, name: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise LedgerInvalid(f"{name}: expected a mapping, got {_shown(value)}")
        return {key: part(inner, f"{name}.{key}") for key, inner in value.items()}

    return read


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, (dict, list)) else repr(value)[:40]
