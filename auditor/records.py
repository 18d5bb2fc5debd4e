"""What is written down: the records of a ledger's segment, their schema and their canonical bytes.

A segment is one file of JSON lines, written by one process for itself. Each line is::

    {"record":<canonical bytes of a Record>,"hash":"<64 hex>","signature":"<128 hex>"}

``hash`` is SHA-256 over a domain prefix and the canonical bytes as they stand in the file; ``signature`` (Ed25519 over a
domain prefix and the hash) stands on records that close something: genesis, interval, gap, seal. A record names the hash
of the one before, so a signature covers everything up to its own line. How lines are framed and checked is `ledger`'s.

Amounts of operations are decimal strings. Unknown fields are refused: a newer schema has a newer name.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from auditor.errors import LedgerInvalid, SchemaFromFuture

LEDGER_SCHEMA = "auditor.ledger/1"

T = TypeVar("T")


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
    """Operators seen for the first time; tallies refer to them by number: the first has the number ``first``."""

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
    """What was counted since the interval before: which steps, which tallies how often, and what that comes to."""

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
    cause: str  # one word of: formula, counter, thread, compiled, ledger, hardware, second_opinion, attach
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
    | Exit
    | Recovered
    | Seal
)
_KINDS: dict[str, type[Any]] = {body.kind: body for body in typing.get_args(Body)}
SIGNED_KINDS = frozenset({"genesis", "interval", "gap", "exit", "second_opinion", "recovered", "seal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: its place in the chain, when it was written (UTC, for information) and what it says."""

    seq: int
    prev: str  # hash of the record before; 64 zeros at the first
    time: str  # "2026-11-22T21:40:00.123456Z"
    body: Body

    def canonical(self) -> bytes:
        """The bytes that are written and hashed."""
        plain = {
            "body": dataclasses.asdict(self.body),
            "kind": self.body.kind,
            "prev": self.prev,
            "seq": self.seq,
            "time": self.time,
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


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
    return Record(
        seq=_checked(plain["seq"], int, "seq"),
        prev=_checked(plain["prev"], str, "prev"),
        time=_checked(plain["time"], str, "time"),
        body=_read_body(plain["kind"], plain["body"]),
    )


def _read_body(kind: object, plain: object) -> Body:
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None or not isinstance(plain, dict):
        raise LedgerInvalid(f"unknown kind of record: {kind!r}")
    if cls is Genesis and plain.get("schema") != LEDGER_SCHEMA:
        schema = plain.get("schema")
        if isinstance(schema, str) and schema.startswith("auditor.ledger/"):
            raise SchemaFromFuture(f"the ledger has the schema {schema!r}, this auditor reads {LEDGER_SCHEMA!r}")
        raise LedgerInvalid(f"not a ledger's schema: {schema!r}")
    hints = _hints(cls)
    if plain.keys() != hints.keys():
        raise LedgerInvalid(f"a record of kind {kind!r} has the wrong fields: {sorted(plain.keys() ^ hints.keys())}")
    body: Body = cls(**{name: _checked(plain[name], hint, f"{kind}.{name}") for name, hint in hints.items()})
    return body


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(cls: type[Any]) -> dict[str, Any]:
    if cls not in _HINTS:
        hints = typing.get_type_hints(cls)
        _HINTS[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _HINTS[cls]


def _checked(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type that ``hint`` names, lists as tuples; bool is not int.

    Raises: LedgerInvalid: it is of another type.
    """
    origin = typing.get_origin(hint)
    parts = typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(_checked(part, parts[0], name) for part in value)
        if len(parts) == len(value):
            return tuple(_checked(part, inner, name) for part, inner in zip(value, parts, strict=True))
    elif origin is Mapping and isinstance(value, dict):
        return {key: _checked(part, parts[1], f"{name}.{key}") for key, part in value.items()}
    elif origin in (typing.Union, types.UnionType) and value is None:
        return None
    elif type(value) is hint:
        return value
    raise LedgerInvalid(f"{name}: expected {hint}, got {type(value).__name__}")
