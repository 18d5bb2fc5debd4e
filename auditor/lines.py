"""The bytes of a record, written and read.

It is a line of canonical JSON (ASCII, no spaces, keys in order)::

    [<microseconds since 1970, UTC>,"<kind>",<body>]

The body is an object, and for the kinds in `POSITIONAL`, of which there are many, a list of the fields in their order.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from auditor.errors import LedgerInvalid, SchemaFromFuture
from auditor.records import (
    LEDGER_SCHEMA,
    MOST_TALLIES,
    POSITIONAL,
    SCHEMA_NUMBER,
    Body,
    Checkpoint,
    Genesis,
    HardwareAgain,
    Interval,
    Record,
)

_SCHEMA = re.compile(r"auditor\.ledger/([0-9]{1,4})")
_KINDS: dict[str, type[Any]] = {body.kind: body for body in typing.get_args(Body)}

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

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
_LARGEST_INT = 2**63
_LATEST_US = 10**16


def write_record(record: Record) -> bytes:
    """The bytes of its line, without the newline."""
    body = record.body
    values = {name: getattr(body, name) for name in _fields(type(body))}
    plain = list(values.values()) if isinstance(body, POSITIONAL) else values
    return _encode(record.time_us, body.kind, plain)


@functools.lru_cache(maxsize=4096)  # the same few come again and again
def read_tallies(text: bytes) -> tuple[tuple[int, int], ...]:
    """The tallies of an interval, from the group of `FREQUENT` that holds them."""
    numbers = list(map(int, text.translate(None, b"[]").split(b","))) if text else []
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _encode(time_us: int, kind: str, plain: object) -> bytes:
    return _ENCODER.encode([time_us, kind, plain]).encode()


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
    if cls is None or not isinstance(plain, list if cls in POSITIONAL else dict):
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
    if match and int(match[1]) > SCHEMA_NUMBER:
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
