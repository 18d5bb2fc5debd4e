"""A small run that is written by the project's own writer and priced by its own formulas."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.errors import AuditorError, LedgerError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import (
    Recount,
    SegmentBook,
    SegmentWriter,
    SigningKey,
    Verdict,
    load_or_create,
    read_ledger,
)
from auditor.ledger.log import Draft, Scanner
from auditor.ledger.merkle import Frontier, leaf_hashes
from auditor.ledger.notes import Signer, head_of
from auditor.ledger.signed import SignedHead, read_head
from auditor.lines import read_record, write_record
from auditor.operations import Operations
from auditor.records import LEDGER_SCHEMA, Checkpoint, Exit, Genesis, Record, Seal, Totals, Weights
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.ledger import Head
    from auditor.records import Body

WEIGHTS = Weights(
    event="saved",
    name="m.pt",
    form="torch",
    step=1,
    digest="a" * 64,
    tensors="",
    size_bytes=3,
    files=(("a" * 64, 3, ""),),
    missed="",
)


@dataclass
class Run:
    """Writes segments of one run into a directory."""

    directory: Path
    key: SigningKey
    run_id: str = "run-1"

    def genesis(self, **changes: object) -> Genesis:
        plain = Genesis(
            schema=LEDGER_SCHEMA,
            run_id=self.run_id,
            nonce=secrets.token_hex(16),
            role="rank",
            rank=0,
            attempt=0,
            expected_ranks=1,
            model="tiny",
            purpose="pre-training",
            command=("python", "train.py"),
            public_key=self.key.public_hex,
            counter="dispatch",
            versions={"auditor": "0.1.0"},
            digests={"formulas": TABLE.digest},
            host={"pid": "1234"},
            devices=({"kind": "cpu", "name": "a processor"},),
            settings={},
        )
        return replace(plain, **changes)

    def book(self, **changes: object) -> SegmentBook:
        return SegmentBook(SegmentWriter.create(self.directory, self.genesis(**changes), self.key))

    def segment(self, intervals: int = 2, *, seal: bool = True, size: int = 4, **changes: object) -> SegmentBook:
        """A segment whose intervals have three steps each of the same tally."""
        book = self.book(**changes)
        for number in range(intervals):
            self.interval(book, number, size=size)
        if seal:
            book.seal("finished")
        else:
            book.close()
        return book

    def interval(self, book: SegmentBook, number: int, *, size: int = 4, steps: int = 3) -> Head:
        tally = self.tally(size)
        return book.record_interval(
            first_step=number * steps + 1,
            steps=steps,
            elapsed_us=(number + 1) * 1000,
            parts=[(tally, steps)],
            price=self.price,
        )

    @staticmethod
    def tally(size: int) -> Tally:
        """One matrix product of [size,8] x [8,2] forward, two backward: 96 * size operations."""
        arguments = encode_arguments([Shape((size, 8)), Shape((8, 2))])
        product = Signature("aten::mm", arguments)
        return Tally(
            {
                Entry(product, Phase.FORWARD, Purpose.PRE_TRAINING): 1,
                Entry(product, Phase.BACKWARD, Purpose.PRE_TRAINING): 2,
            }
        )

    def launcher(self, processes: int = 1, **changes: object) -> None:
        book = self.book(role="launcher", expected_ranks=0, counter="", devices=(), **changes)
        book.append(Exit(code=0, signal=0, processes=processes))
        book.seal("finished")

    def price(self, tally: Tally) -> Operations:
        return Pricer().price(tally)

    def path(self, name: str = "rank-00000.attempt-000.jsonl") -> Path:
        return self.directory / "segments" / name

    def read(self, **changes: object):
        recount = Recount(price=Pricer().price, digest=TABLE.digest)
        return read_ledger(self.directory, **({"recount": recount} | changes))

    def judge(self) -> str:
        """The verdict, or the name of the project's own error; any other exception is the test's failure."""
        try:
            return str(self.read().verdict)
        except AuditorError as error:
            told = str(error) and error.remedy and type(error).__name__
        assert told, "an error without a message or a remedy"
        return told


def root_of(leaves: list[bytes]) -> bytes:
    """The root of the tree with these leaf hashes."""
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


def head_at(lines: list[bytes], origin: str, key: SigningKey) -> SignedHead:
    """The signed head of a log with these lines."""
    tree = Frontier()
    tree.extend(leaf_hashes(lines))
    signer, head = Signer(origin, key.public_hex), head_of(tree)
    return read_head(signer.note(head, signer.sign(head, key)))


def records_of(path: Path) -> list[Record]:
    """The records of a whole segment without its checkpoints; each is vouched for."""
    scanner = Scanner()
    lines = [line for stretch in scanner.feed(path.read_bytes()) for line in stretch.lines]
    assert scanner.finish().torn_bytes == 0
    return [record for record in map(read_record, lines) if not isinstance(record.body, Checkpoint)]


def add_placed(draft: Draft, line: bytes) -> None:
    """The line is part of the draft, with the tree that it stands behind there, where it names one."""
    with contextlib.suppress(LedgerError):
        record = read_record(line)
        if isinstance(record.body, Totals | Seal):
            line = write_record(replace(record, body=draft.place(record.body)))
    draft.add(line)


def written(lines: list[bytes], genesis: Genesis, key: SigningKey) -> bytes:
    """The lines as the key's owner would write them, with a checkpoint after each."""
    draft = Draft(Frontier(), Signer.of(genesis), key)
    for line in lines:
        add_placed(draft, line)
        draft.sign()
    return bytes(draft.data)


def rewrite(run: Run, change: Callable[[Body], Body | list[Body]], key: SigningKey | None = None) -> None:
    """The segment as its owner would have written it, had ``change`` been made to each body."""
    records = records_of(run.path())
    lines = []
    for record in records:
        bodies = change(record.body)
        lines += [
            write_record(Record(time_us=record.time_us, body=body))
            for body in (bodies if isinstance(bodies, list) else [bodies])
        ]
    genesis = records[0].body
    assert isinstance(genesis, Genesis)
    run.path().write_bytes(written(lines, genesis, key or run.key))


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create(tmp_path / "key.pem")


@pytest.fixture
def run(tmp_path: Path, key: SigningKey) -> Run:
    return Run(tmp_path / "ledger", key)


@pytest.fixture
def new_run(tmp_path: Path, key: SigningKey) -> Callable[[], Run]:
    """More runs with the same key."""
    numbers = itertools.count(2)

    def make() -> Run:
        number = next(numbers)
        return Run(tmp_path / f"ledger-{number}", key, run_id=f"run-{number}")

    return make


@pytest.fixture
def good() -> str:
    """The best verdict that a ledger without an outside head can have."""
    return str(Verdict.UNANCHORED)


@pytest.fixture
def child() -> Path:
    """A program that writes a segment until it is killed."""
    return Path(__file__).with_name("writer_program.py")
