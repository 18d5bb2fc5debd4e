"""The databases that an index may be kept in: one form of SQL, and what differs between the two.

Parameters are written ``?``. Amounts are exact: NUMERIC in PostgreSQL; in SQLite, whose numbers have 64 bits, digits
with their number in front (``"027100000000000000000000000000"`` is 10**26), which sort as the numbers do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from auditor.errors import IndexUnusable, MissingExtra, SchemaFromFuture
from auditor.index.schema import SCHEMA, SCHEMA_NUMBER, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WAIT_S = 60.0  # for another import to finish a batch
_LOCK = 0x61756469  # any number that nobody else's locks in that database have


class Access(Enum):
    """What an index is opened for; each value is SQLite's word for it."""

    READ = "ro"
    WRITE = "rw"
    MAKE = "rwc"  # where there is none, it is made


class Database(Protocol):
    """An index that is open."""

    place: str  # without a password
    exact_sum: str  # name of the function that adds amounts up
    amount_kind: str  # of a column that holds amounts
    has_schema: str  # the question whether there is an index

    def ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of the answer.

        Raises: IndexUnusable: the database failed.
        """

    def put(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """The statement is carried out for each row."""

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """All that is put inside is stored together or not at all, and nobody else writes meanwhile."""

    def amount(self, number: int) -> object:
        """The amount as a parameter."""

    def number(self, amount: Any) -> int:
        """The amount of an answer."""

    def close(self) -> None:
        """The index is closed."""


def default_place() -> Path:
    """The index of whoever asks, in the folder for data of their own."""
    data = os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    return Path(data) / "auditor" / "index.sqlite3"


@contextlib.contextmanager
def open_index(place: str | None, access: Access = Access.READ) -> Iterator[Database]:
    """The index at a path or URL, or at the default place.

    Raises: IndexUnusable: there is none, it is something else, or the database cannot be reached. SchemaFromFuture:
    a newer auditor made it. MissingExtra: PostgreSQL's client is not installed.
    """
    place = str(default_place()) if place is None else place
    if place.startswith(("postgresql://", "postgres://")):
        database: Database = _Postgres(place)
    elif "://" in place and not place.startswith("sqlite:///"):
        raise IndexUnusable(f"{_without_password(place)}: neither a path nor a URL of sqlite:/// or postgresql://")
    else:
        database = _Sqlite(Path(place.removeprefix("sqlite:///")), access)
    with contextlib.closing(database):
        if access is Access.MAKE:
            with database.writing():
                if not database.ask(database.has_schema):
                    _make_tables(database)
        _check_schema(database)
        yield database


def _check_schema(database: Database) -> None:
    if not database.ask(database.has_schema):
        raise IndexUnusable(f"{database.place}: holds no index", remedy="Make one with `auditor index add DIR...`.")
    ((schema,),) = database.ask("SELECT value FROM auditor_index WHERE name = 'schema'")
    number = int(schema.rpartition("/")[2]) if schema.startswith("auditor.index/") else 0
    if number > SCHEMA_NUMBER:
        raise SchemaFromFuture(f"{database.place}: the index has the schema {schema!r}, from a newer auditor")
    if number != SCHEMA_NUMBER:
        raise IndexUnusable(f"{database.place}: the index has the schema {schema!r}, which is not read any more")


def _make_tables(database: Database) -> None:
    for statement in statements(database.amount_kind):
        database.put(statement, [()])
    database.put("INSERT INTO auditor_index VALUES ('schema', ?)", [(SCHEMA,)])


class _ExactSum:
    """SQLite's own sum would round to 53 bits."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, amount: str | None) -> None:
        self._sum += _from_digits(amount) if amount is not None else 0

    def finalize(self) -> str:
        return _digits(self._sum)


def _digits(number: int) -> str:
    text = str(number)
    return f"{len(text):03}{text}"


def _from_digits(text: str) -> int:
    return int(text[3:])


class _Sqlite:
    exact_sum = "exact_sum"
    amount_kind = "TEXT"
    has_schema = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'auditor_index'"

    def __init__(self, path: Path, access: Access) -> None:
        self.place = str(path)
        if access is not Access.MAKE and not path.exists():
            raise IndexUnusable(f"{path}: there is no index", remedy="Make one with `auditor index add DIR...`.")
        with self._failing():
            if access is Access.MAKE:
                path.parent.mkdir(parents=True, exist_ok=True)
            uri = f"{path.absolute().as_uri()}?mode={access.value}"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
            make_sum: Any = _ExactSum  # an aggregate that answers with text
            self._connection.create_aggregate("exact_sum", 1, make_sum)

    def ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._failing():
            return self._connection.execute(sql, values).fetchall()

    def put(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with self._failing():
            self._connection.executemany(sql, rows) if rows != [()] else self._connection.execute(sql)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._failing():
            self._connection.execute("BEGIN IMMEDIATE")
        with _together(self._connection, self._failing):
            yield

    def amount(self, number: int) -> object:
        return _digits(number)

    def number(self, amount: Any) -> int:
        return _from_digits(amount)

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise IndexUnusable(f"{self.place}: the index cannot be used: {error}") from error


class _Postgres:
    exact_sum = "sum"
    amount_kind = "NUMERIC"
    has_schema = (
        "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'auditor_index'"
    )

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - asked for where it is used
        except ImportError as missing:
            raise MissingExtra("psycopg", "postgres") from missing
        self.place = _without_password(url)
        self._error = psycopg.Error
        with self._failing():
            self._connection = psycopg.connect(url, autocommit=True, client_encoding="utf8")

    def ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._failing():
            return self._connection.execute(_formatted(sql), values).fetchall()

    def put(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with self._failing(), self._connection.cursor() as cursor:
            cursor.executemany(_formatted(sql), rows)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._failing():
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        with _together(self._connection, self._failing):
            yield

    def amount(self, number: int) -> object:
        return number

    def number(self, amount: Any) -> int:
        return int(amount)

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise IndexUnusable(f"{self.place}: the index cannot be used: {str(error).strip()}") from error


@contextlib.contextmanager
def _together(connection: Any, failing: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            connection.execute("ROLLBACK")
        raise
    with failing():
        connection.execute("COMMIT")


def _formatted(sql: str) -> str:
    return sql.replace("?", "%s")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{place.partition('?')[0]}"
