"""Every test of an index runs twice: in SQLite, and in a PostgreSQL server that was started for it."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditor import rules
from auditor.cli.main import main
from auditor.hardware import catalogue
from auditor.index import Entry, open_index
from auditor.index.schema import TABLES
from auditor.ledger import SigningKey, load_or_create
from tests.index.postgres import server
from tests.ledger.conftest import Run

_numbers = itertools.count()


@dataclass
class Office:
    """Ledgers of many runs in a directory, and the index over them; verbs are called as a person would."""

    directory: Path
    key: SigningKey
    place: str
    capsys: pytest.CaptureFixture[str]
    base: Entry | None = None  # what entries of other amounts are made from

    def run(self, name: str, **changes: Any) -> Run:
        """A run with a sealed ledger of two intervals: 96 * size * 6 operations, size 4 unless it is told."""
        run = Run(self.directory / name, self.key, run_id=name)
        run.segment(**changes)
        return run

    def index(self, *arguments: object, code: int = 0) -> str:
        """What the verb prints; its messages are kept in ``told``."""
        self.capsys.readouterr()
        assert main(["index", *map(str, arguments), "--to", self.place]) == code
        shown = self.capsys.readouterr()
        self.told = shown.err
        return shown.out

    def add(self, *directories: Path, code: int = 0) -> dict[str, str]:
        """What became of each run, by its id; of one that has none, by its path."""
        found = json.loads(self.index("add", *(directories or [self.directory]), "--json", code=code))
        return {one["run"] or one["path"]: one["outcome"] for one in found["imported"]}

    def list(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.index("list", *arguments, "--json"))

    def amounts(self, *arguments: str) -> dict[str, int]:
        """What each row of a list comes to."""
        return {group["key"]: int(group["operations"]) for group in self.list(*arguments)["groups"]}

    def show(self, run_id: str) -> dict[str, Any]:
        return json.loads(self.index("show", run_id, "--json"))["run"]

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that the index holds, but when it was verified."""
        with open_index(self.place) as database:
            asked = {
                table: ", ".join(name for name in columns if name.islower() and name != "verified")
                for table, columns in TABLES.items()
            }
            return {table: sorted(database.ask(f"SELECT {names} FROM {table}")) for table, names in asked.items()}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh place for an index."""
    if request.param == "sqlite":
        return str(tmp_path / "data" / "index.sqlite3")
    import psycopg

    url, name = request.getfixturevalue("postgres"), f"of_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{url}&options=-csearch_path%3D{name}"


@pytest.fixture
def office(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(tmp_path / "audits", load_or_create(tmp_path / "key.pem"), place, capsys)


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packs and the catalogue, which do not change, are read once for all tests."""
    for module in (rules, catalogue):
        monkeypatch.setattr(module, "load", _kept.setdefault(module, functools.cache(module.load)))


_kept: dict[Any, Any] = {}
