"""Ledgers that are not what they should be: what `auditor verify` says of each, and what it ends with.

The cases are the rows of the table "Bad input" in docs/ledger.md, by their names.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from auditor.cli.main import main
from auditor.ledger import SegmentBook, SegmentWriter, recover
from tests.ledger.conftest import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger.md"


class Case(NamedTuple):
    """What is done to a whole ledger of two ranks, and what `verify` then answers: an exit code, and these words."""

    spoil: Callable[[Run, Run], object]
    code: int
    told: str
    required: int | None = None  # the exit code with --require UNANCHORED, where it is another


def change_bytes(change: Callable[[bytes], bytes]) -> Callable[[Run, Run], object]:
    return lambda run, _: run.path().write_bytes(change(run.path().read_bytes()))


def change_lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Run, Run], object]:
    return change_bytes(lambda data: b"".join(change(data.splitlines(keepends=True))))


def replay(run: Run, other: Run) -> None:
    """A segment of another run, with a name that would fit."""
    shutil.copy(other.path(), run.path("rank-00000.attempt-001.jsonl"))


def fork(run: Run, _: Run) -> None:
    """Two continuations of one beginning."""
    lines = run.path().read_bytes().splitlines(keepends=True)
    run.path("rank-00000.attempt-001.jsonl").write_bytes(b"".join(lines[:-4]))


def obstruct(run: Run, _: Run) -> None:
    """What cannot be read, not even by root."""
    run.path().unlink()
    run.path().mkdir()


def only(path: Path, data: bytes) -> None:
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(data)


def concatenate(run: Run, _: Run) -> None:
    second = run.path("rank-00001.attempt-000.jsonl")
    run.path().write_bytes(run.path().read_bytes() + second.read_bytes())


CASES = {
    "not a directory": Case(lambda run, _: shutil.rmtree(run.directory), 2, "not a ledger"),
    "no segments": Case(lambda run, _: [path.unlink() for path in run.path().parent.iterdir()], 2, "holds no record"),
    "empty": Case(lambda run, _: only(run.path(), b""), 2, "holds no record"),
    "an empty segment": Case(change_bytes(lambda data: b""), 0, "no whole first record", 5),
    "cut short": Case(change_bytes(lambda data: data[:-200]), 0, "a record that was never finished", 5),
    "cut short at a checkpoint": Case(change_lines(lambda lines: lines[:-2]), 0, "was never closed", 5),
    "a rank removed": Case(lambda run, _: run.path().unlink(), 0, "1 of 2 ranks left no segment", 5),
    "a record edited": Case(change_bytes(lambda data: data.replace(b"[4,3,", b"[4,2,")), 4, "is not signed"),
    "records reordered": Case(change_lines(lambda x: [*x[:4], x[6], x[5], x[4], *x[7:]]), 4, "is not signed"),
    "a record duplicated": Case(change_lines(lambda x: [*x[:5], x[4], *x[5:]]), 4, "is not signed"),
    "segments concatenated": Case(concatenate, 4, "segments were joined into one file"),
    "a segment duplicated": Case(
        lambda run, _: shutil.copy(run.path(), run.path("rank-00000.attempt-001.jsonl")), 4, "is a copy of"
    ),
    "a segment forked": Case(fork, 4, "or begins like it"),
    "a segment of another run": Case(replay, 4, "belongs to another run"),
    "a segment that cannot be read": Case(obstruct, 0, "cannot be read: Is a directory. Nothing of it is", 5),
    "a segment renamed": Case(
        lambda run, _: run.path().rename(run.path("rank-00000.attempt-007.jsonl")), 4, "the file was renamed"
    ),
    "signed by another key": Case(lambda run, other: rewrite(run, lambda body: body, key=other.key), 4, "not signed"),
    "of a newer schema": Case(
        lambda run, _: rewrite(run, lambda b: replace(b, schema="auditor.ledger/999") if b.kind == "genesis" else b),
        2,
        "Install the version of the auditor that wrote it",
    ),
    "something else": Case(change_bytes(lambda data: b"\x7fELF" + bytes(4000)), 4, "does not begin like a record"),
}


@pytest.fixture
def two_ranks(run: Run) -> Run:
    run.segment(expected_ranks=2)
    run.segment(rank=1, expected_ranks=2)
    return run


@pytest.fixture
def other(new_run, tmp_path: Path) -> Run:
    """Another run, which another key signs."""
    from auditor.ledger import load_or_create

    other = new_run()
    other.key = load_or_create(tmp_path / "other.pem")
    other.segment(attempt=1, expected_ranks=2)
    other.path("rank-00000.attempt-001.jsonl").rename(other.path())
    return other


@pytest.mark.parametrize("name", CASES)
def test_each_has_its_words_and_its_exit_code(two_ranks: Run, other: Run, capsys, name: str) -> None:
    case = CASES[name]
    assert main(["verify", str(two_ranks.directory), "--require", "UNANCHORED"]) == 0
    case.spoil(two_ranks, other)
    assert main(["verify", str(two_ranks.directory)]) == case.code
    shown = capsys.readouterr()
    assert re.search(case.told, shown.out + shown.err), shown
    assert main(["verify", str(two_ranks.directory), "--require", "UNANCHORED"]) == (case.required or case.code)


def rows_of_document() -> dict[str, list[str]]:
    section = DOCUMENT.read_text(encoding="utf-8").partition("## Bad input")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in section.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in cells}


def test_the_document_has_a_row_for_each_with_its_exit_code() -> None:
    rows = rows_of_document()
    for name, case in CASES.items():
        code = f"{case.code}, or {case.required} with `--require`" if case.required else str(case.code)
        assert rows[name][-1] == code, name


def test_every_test_that_the_document_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text(encoding="utf-8")))
    there = {
        name
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for name in (path.stem, *re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    }
    assert len(named) > 10
    assert named <= there, named - there


def test_nothing_is_counted_twice_in_any_order_with_any_copies(two_ranks: Run, other: Run) -> None:
    """Reading is a merge: it does not depend on the order of files, and a segment given twice counts once."""
    plain = two_ranks.read()
    lines = two_ranks.path().read_bytes().splitlines(keepends=True)
    copies = {
        "rank-00000.attempt-003.jsonl": b"".join(lines),
        "rank-00003.attempt-000.jsonl": b"".join(lines[:-2]),
        "a.jsonl": b"".join(lines[:6]),
        "z.jsonl": two_ranks.path("rank-00001.attempt-000.jsonl").read_bytes(),
    }
    for name, data in copies.items():
        two_ranks.path(name).write_bytes(data)
        reading = two_ranks.read()
        assert (reading.operations, reading.steps, reading.records) == (plain.operations, plain.steps, plain.records)
        assert reading.verdict == "INVALID", "and it does not pass unseen"


def test_restarts_and_ranks_add_up_whatever_the_order_of_their_writing(run: Run, new_run) -> None:
    lives = [(0, 2), (1, 3), (0, 1), (1, 0), (0, 4)]  # rank, intervals
    runs = [run, new_run()]
    for one, order in zip(runs, (lives, lives[::-1]), strict=True):
        for rank, intervals in order:
            one.segment(intervals=intervals, rank=rank, expected_ranks=2)
    first, second = (one.read() for one in runs)
    assert first.operations == second.operations
    assert first.operations.total == 96 * 4 * 3 * sum(intervals for _, intervals in lives)
    assert first.verdict == second.verdict == "UNANCHORED"
    kept = {path.name: path.read_bytes() for path in run.path().parent.iterdir()}
    run.launcher(processes=len(kept))
    assert run.judge() == "UNANCHORED"
    for name, data in kept.items():  # one segment less, one number less: nothing is dropped quietly
        run.path(name).unlink()
        fewer = run.read()
        assert fewer.operations.total == first.operations.total - 96 * 4 * 3 * intervals_of(data)
        assert fewer.verdict == "INCOMPLETE"
        run.path(name).write_bytes(data)


def intervals_of(data: bytes) -> int:
    return sum(json.loads(line)[1] == "interval" for line in data.splitlines())


def test_a_recovery_twice_is_a_recovery_once(run: Run) -> None:
    run.segment(seal=False)
    with run.path().open("ab") as file:
        file.write(b"[17")
    tails = recover(run.directory)
    assert recover(run.directory) == []
    for cut in (tails, []):
        SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), cut).seal("finished")
    reading = run.read()
    assert sum("3 bytes of a record that was never finished" in reason for reason in reading.reasons) == 1
