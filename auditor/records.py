"""What is written down: the records of a ledger's segment, their schema and their canonical bytes.

A segment is one file of text lines, written by one process for itself. Each line is canonical JSON (ASCII, no spaces,
keys in order)::

    [<microseconds since 1970, UTC>,"<kind>",<body>]

The body is an object, and for the kinds in `_POSITIONAL`, of which there are many, a list of the fields in their
order. What vouches for lines is `Checkpoint`, which is a line too; how the two go together is `ledger`'s.

Amounts of operations are decimal strings. Unknown fields are refused: a newer schema has a newer name.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from auditor.errors import LedgerInvalid, SchemaFromFuture

_SCHEMA_NUMBER = 3
LEDGER_SCHEMA = f"auditor.ledger/{_SCHEMA_NUMBER}"
_SCHEMA = re.compile(r"auditor\.ledger/([0-9]{1,4})")
MOST_TALLIES = 8  # that an interval refers to
MOST_FORMS = 256  # `Hardware` records of a segment that `HardwareAgain` may refer to: its first ones
# What a segment spends, as lines, on signatures and tallies. Where shapes never come to rest, intervals from there on
# hold amounts only; it bounds the file and the reader's memory.
TALLIES_LIMIT_BYTES = 16 * 2**20


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
    """A tally, written once, and what it comes to by the writer's formulas; intervals refer to it by number."""

    kind: ClassVar[str] = "tally"
    number: int  # tallies are numbered from 0 in the order in which they are written
    entries: tuple[tuple[int, str, str, int], ...]  # (signature number, phase, purpose, calls)
    operations: tuple[tuple[str, ...], ...]  # rows of Operations
    unpriced: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What was counted since the interval before: steps, and tallies with how often each came."""

    kind: ClassVar[str] = "interval"
    first_step: int  # the steps that ended in this interval are first_step .. first_step + steps - 1, counted from 1
    steps: int
    elapsed_us: int  # since the process was attached, on the monotonic clock, at the end of the interval
    tallies: tuple[tuple[int, int], ...]  # (number, times), at most MOST_TALLIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """An interval after `TALLIES_LIMIT_BYTES`: what it comes to, exactly, without the tallies to count it again."""

    kind: ClassVar[str] = "folded"
    first_step: int
    steps: int
    elapsed_us: int
    operations: tuple[tuple[str, ...], ...]
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
class HardwareAgain:
    """A `Hardware` record of the event, the device and the names of an earlier one, with values of its own."""

    kind: ClassVar[str] = "again"
    earlier: int  # the `Hardware` records of a segment are counted from 0, up to `MOST_FORMS`
    values: tuple[str, ...]  # in the order of their names


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signature over the root of the Merkle tree of all lines before it."""

    kind: ClassVar[str] = "checkpoint"
    signature: str  # Ed25519 over the note's text, 64 bytes in base64


Body = (
    Genesis
    | Signatures
    | TallyRecord
    | Interval
    | Folded
    | PurposeChange
    | Gap
    | SecondOpinion
    | Hardware
    | HardwareAgain
    | Exit
    | Recovered
    | Seal
    | Checkpoint
)
_KINDS: dict[str, type[Any]] = {body.kind: body for body in typing.get_args(Body)}
_POSITIONAL = frozenset({Interval, HardwareAgain, Checkpoint})

_INT = rb"(?:0|[1-9][0-9]{0,17})"
_ABOVE_0 = rb"[1-9][0-9]{0,17}"
_TALLY = rb"\[%b,%b\]" % (_INT, _ABOVE_0)
_TIME_US = rb"(?:0|[1-9][0-9]{0,15})"
_PLAIN = rb'"[ !#-\[\]-~]*"'  # a text without what JSON escapes
# The kinds of which there are many, read without JSON: this accepts their canonical form and no other. The first group
# is the time; `lastindex` tells them apart.
FREQUENT = re.compile(
    rb"\[(%b),(?:" % _TIME_US
    + rb'"interval",\[(%b),(%b),(%b),\[((?:%b(?:,%b){0,%d})?)\]\]'
    % (_ABOVE_0, _INT, _INT, _TALLY, _TALLY, MOST_TALLIES - 1)
    # Base64 writes the last character of 64 bytes in four ways.
    + rb'|"checkpoint",\["([A-Za-z0-9+/]{85}[AQgw]==)"\]'
    # One whose values JSON escapes is read with it.
    + rb'|"again",\[(%b),\[((?:%b(?:,%b)*)?)\]\])\]' % (_INT, _PLAIN, _PLAIN)
)
INTERVAL_GROUP = 5  # after first step, steps and elapsed time: the tallies
CHECKPOINT_GROUP = 6  # the signature
AGAIN_GROUP = 8  # after the number of the earlier record: the values


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: when it was written, for information, and what it says. Its place is the number of its line."""

    time_us: int  # since 1970, UTC
    body: Body

    def canonical(self) -> bytes:
        """The bytes of its line, without the newline."""
        names = _fields(type(self.body))
        values = {name: getattr(self.body, name) for name in names}
        return _encode(self.time_us, self.body.kind, list(values.values()) if _is_positional(self.body) else values)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
_LARGEST_INT = 2**63
_LATEST_US = 10**16
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def time_text(time_us: int) -> str:
    """The time of day in UTC: ``"2026-11-22T21:40:00.123456Z"``."""
    return (_EPOCH + datetime.timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@functools.lru_cache(maxsize=4096)  # the same few come again and again
def read_tallies(text: bytes) -> tuple[tuple[int, int], ...]:
    """The tallies of an interval, from the group of `FREQUENT` that holds them."""
    numbers = list(map(int, text.translate(None, b"[]").split(b","))) if text else []
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _encode(time_us: int, kind: str, plain: object) -> bytes:
    return _ENCODER.encode([time_us, kind, plain]).encode()


def _is_positional(body: Body) -> bool:
    return type(body) in _POSITIONAL


def read_record(data: bytes) -> Record:
    """The record that these bytes write: a line without its newline.

    Raises: LedgerInvalid: not a record of this schema. SchemaFromFuture: a genesis of a newer schema.
    """
    match = FREQUENT.fullmatch(data)
    if match is None:
        return _read_json(data)
    return Record(time_us=int(match[1]), body=_read_frequent(match))


def _read_frequent(match: re.Match[bytes]) -> Body:
    if match.lastindex == CHECKPOINT_GROUP:
        return Checkpoint(signature=match[CHECKPOINT_GROUP].decode())
    if match.lastindex == AGAIN_GROUP:
        return HardwareAgain(earlier=int(match[AGAIN_GROUP - 1]), values=read_values(match[AGAIN_GROUP]))
    first_step, steps, elapsed_us = map(int, match.group(2, 3, 4))
    tallies = read_tallies(match[INTERVAL_GROUP])
    return Interval(first_step=first_step, steps=steps, elapsed_us=elapsed_us, tallies=tallies)


def read_values(text: bytes) -> tuple[str, ...]:
    """The values of a repeated hardware record, from the group of `FREQUENT` that holds them."""
    return tuple(text[1:-1].decode().split('","')) if text else ()


def checkpoint_after(line: bytes, signature: str) -> bytes:
    """The line of the checkpoint that follows this one and bears its time, so that it says nothing unsigned itself."""
    return b'%b,"checkpoint",["%b"]]' % (line.partition(b",")[0], signature.encode())


def read_checkpoint(line: bytes) -> str | None:
    """The signature in a checkpoint's line; None for any other."""
    match = FREQUENT.fullmatch(line)
    return match[CHECKPOINT_GROUP].decode() if match and match.lastindex == CHECKPOINT_GROUP else None


def _read_json(data: bytes) -> Record:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LedgerInvalid(f"not a line of a ledger: {error}") from error
    if not isinstance(plain, list) or len(plain) != 3:
        raise LedgerInvalid("not a line of a ledger: expected a list of time, kind and body")
    time_us = _read_int(plain[0], "time")
    if not 0 <= time_us < _LATEST_US:
        raise LedgerInvalid(f"time: expected microseconds since 1970, got {time_us}")
    body = _read_body(plain[1], plain[2])
    if isinstance(body, Interval | Checkpoint) or _encode(time_us, plain[1], plain[2]) != data:
        raise LedgerInvalid("a record is not written in the canonical form, so it could be read in two ways")
    return Record(time_us=time_us, body=body)


def _read_body(kind: object, plain: object) -> Body:
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None or not isinstance(plain, list if cls in _POSITIONAL else dict):
        raise LedgerInvalid(f"unknown kind of record, or of another form: {str(kind)[:40]!r}")
    readers = _fields(cls)
    named = _named(kind, readers, plain) if isinstance(plain, list) else plain
    if cls is Genesis:
        _check_schema(named.get("schema"))
    if named.keys() != readers.keys():
        wrong = ", ".join(sorted(named.keys() ^ readers.keys()))[:200]
        raise LedgerInvalid(f"a record of kind {kind!r} has fields missing or unknown: {wrong}")
    body: Body = cls(**{name: read(named[name], f"{kind}.{name}") for name, read in readers.items()})
    return body


def _named(kind: object, names: Collection[str], values: list[Any]) -> dict[str, Any]:
    if len(values) != len(names):
        raise LedgerInvalid(f"a record of kind {kind!r} has {len(values)} values, expected {len(names)}")
    return dict(zip(names, values, strict=True))


def _check_schema(schema: object) -> None:
    if schema == LEDGER_SCHEMA:
        return
    match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if match and int(match[1]) > _SCHEMA_NUMBER:
        raise SchemaFromFuture(f"the ledger has the schema {schema!r}, this auditor reads {LEDGER_SCHEMA!r}")
    raise LedgerInvalid(f"not the schema of a ledger that this auditor reads: {_shown(schema)}")


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
