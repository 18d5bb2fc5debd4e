"""JSON that can be read in one way only, and forms (frozen dataclasses) written in it and read from it.

Numbers travel as decimal strings: readers of other makers turn JSON numbers into floats.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from auditor.errors import NotAnAttestation

_LONGEST_SHOWN = 40

Form = TypeVar("Form")


def read_json(data: bytes, what: str) -> Any:
    """The value that the text writes.

    Raises: NotAnAttestation: not JSON, not UTF-8, a key that stands twice, or a number that is not whole.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAnAttestation(f"{what}: not the JSON that is read here: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return fields


def _no_number(text: str) -> Any:
    raise ValueError(f"the number {text[:_LONGEST_SHOWN]} is not whole")


def write_json(value: Any) -> bytes:
    """The value in ASCII, keys sorted: the same value is the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def plain(form: Any) -> Any:
    """A form as lists and mappings, ready to be written."""
    if dataclasses.is_dataclass(form) and not isinstance(form, type):
        return {field.name: plain(getattr(form, field.name)) for field in dataclasses.fields(form)}
    if isinstance(form, tuple):
        return [plain(part) for part in form]
    return dict(form) if isinstance(form, Mapping) else form


def read_form(form: type[Form], value: Any, where: str) -> Form:
    """The form that a JSON value writes; fields that it does not know are left alone, as in-toto asks.

    Raises: NotAnAttestation: a field is missing or of another type; the message names it.
    """
    hint: Any = form
    read: Form = _reader(hint)(value, where)
    return read


def refuse(where: str, expected: str, value: Any) -> typing.NoReturn:
    """Raise the error for a value that does not fit."""
    shown = type(value).__name__ if isinstance(value, (dict, list)) else repr(value)[:_LONGEST_SHOWN]
    raise NotAnAttestation(f"{where}: expected {expected}, got {shown}")


_Reader = Callable[[Any, str], Any]


@functools.cache
def _reader(hint: Any) -> _Reader:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _form_reader(hint)
    if hint in _SCALARS:
        return _scalar_reader(hint)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _list_reader(_reader(parts[0]))
    if origin is types.UnionType:
        return _optional_reader(_reader(parts[0]))
    return _mapping_reader(_reader(parts[1]))


_SCALARS = {str: "text", bool: "true or false"}


def _scalar_reader(kind: type) -> _Reader:
    def read(value: Any, where: str) -> Any:
        return value if type(value) is kind else refuse(where, _SCALARS[kind], value)

    return read


def _optional_reader(reader: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        return None if value is None else reader(value, where)

    return read


def _list_reader(reader: _Reader) -> _Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if type(value) is not list:
            refuse(where, "a list", value)
        return tuple(reader(part, f"{where}[{number}]") for number, part in enumerate(value))

    return read


def _mapping_reader(reader: _Reader) -> _Reader:
    def read(value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            refuse(where, "a mapping", value)
        return {name: reader(part, f"{where}.{name}") for name, part in value.items()}

    return read


def _form_reader(form: type) -> _Reader:
    hints = typing.get_type_hints(form)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(form)}

    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            refuse(where, "a mapping", value)
        missing = readers.keys() - value.keys()
        if missing:
            raise NotAnAttestation(f"{where}: the field {min(missing)!r} is missing")
        return form(**{name: reader(value[name], f"{where}.{name}") for name, reader in readers.items()})

    return read
