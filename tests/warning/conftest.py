"""Ledgers of made-up courses: the ledger's own writer, with a clock that the test sets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditor.formulas import TABLE
from auditor.ledger import SegmentBook, SegmentWriter, load_or_create, read_ledger
from auditor.operations import Amount, Bucket, Family, Operations
from auditor.records import LEDGER_SCHEMA, Exit, Genesis
from auditor.rules import pack
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditor.ledger import Reading
    from auditor.rules.model import RuleSet

START = datetime(2026, 11, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 10**6
HOUR_US = 3600 * 10**6


@dataclass(kw_only=True)
class Course:
    """A segment: when it begins (hours after `START`), and its intervals: (hours, steps, operations)."""

    hours: Sequence[tuple[float, int, int]]
    begins_h: float = 0
    rank: int = 0
    attempt: int = 0
    role: str = "rank"
    purpose: Purpose = Purpose.PRE_TRAINING
    sealed: bool = True
    expected_ranks: int = 1
    phase: Phase = Phase.FORWARD


def tally_of(ops: int, purpose: Purpose, phase: Phase) -> Tally:
    """A tally that stands for an amount: its price is what the test says, by the size of its shape."""
    signature = Signature("test::op", encode_arguments([Shape((ops,))]))
    return Tally({Entry(signature, phase, purpose): 1})


def price_of(ops: int, purpose: Purpose, phase: Phase) -> Operations:
    return Operations({Bucket(phase, Family.MATMUL, "float32", purpose): Amount(ops)}, {})


@dataclass
class Writer:
    """Writes courses into a directory; ``left_open`` keeps the books of live segments."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    left_open: list[SegmentBook] = field(default_factory=list)
    now_us: int = START_US

    def write(self, courses: Sequence[Course], *, live: bool = False, exit_code: int | None = None) -> Path:
        self.monkeypatch.setattr("auditor.ledger.segment.now_us", lambda: self.now_us)
        for course in courses:
            self._segment(course, live=live)
        if exit_code is not None:
            book = self._book(Course(hours=(), role="launcher", expected_ranks=0))
            book.append(Exit(code=exit_code, signal=0, processes=len(courses)))
            book.seal("finished")
        return self.directory

    def _segment(self, course: Course, *, live: bool) -> None:
        self.now_us = START_US + int(course.begins_h * HOUR_US)
        book = self._book(course)
        step, elapsed_us = 1, 0
        for hours, steps, ops in course.hours:
            length_us = int(hours * HOUR_US)
            elapsed_us += length_us
            self.now_us += length_us
            book.record_interval(
                first_step=step,
                steps=steps,
                elapsed_us=elapsed_us,
                parts=[(tally_of(ops, course.purpose, course.phase), 1)] if ops else [],
                price=lambda tally, c=course, n=ops: price_of(n, c.purpose, c.phase),
            )
            step += steps
        if live:
            self.left_open.append(book)
        elif course.sealed:
            book.seal("finished")
        else:
            book.close()

    def _book(self, course: Course) -> SegmentBook:
        genesis = Genesis(
            schema=LEDGER_SCHEMA,
            run_id="run-1",
            nonce=f"{course.role}{course.rank}-{course.attempt}",
            role=course.role,
            rank=course.rank,
            attempt=course.attempt,
            expected_ranks=course.expected_ranks,
            model="made up",
            purpose=str(course.purpose),
            command=("python", "train.py"),
            public_key="",
            counter="native" if course.role == "rank" else "",
            versions={"auditor": "0"},
            digests={"formulas": TABLE.digest},
            host={"hostname": "test", "pid": "1"},
            devices=(),
            settings={},
        )
        return SegmentBook(
            SegmentWriter.create(self.directory, genesis, load_or_create(self.directory.parent / "k.pem"))
        )


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A writer of courses in a directory of its own."""
    writer = Writer(tmp_path / "ledger", monkeypatch)
    yield writer
    for book in writer.left_open:
        book.close()


def read(directory: Path) -> Reading:
    """The reading as the ledger says it: what tallies are priced at is the test's word."""
    return read_ledger(directory, recount=None)


@pytest.fixture(scope="session")
def shipped() -> RuleSet:
    """The rules that are shipped."""
    return pack.load()


@pytest.fixture(scope="session")
def schema_of() -> Callable[[str], dict[str, Any]]:
    """A published schema by name."""

    def load(name: str) -> dict[str, Any]:
        root = Path(__file__).resolve().parents[2]
        loaded: dict[str, Any] = json.loads((root / "configs" / "schema" / f"{name}.schema.json").read_text())
        return loaded

    return load
