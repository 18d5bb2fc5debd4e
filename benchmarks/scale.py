"""What a job of thousands of ranks costs to add up and to verify, as Markdown: `auditor merge`, `verify`, `compress`.

python benchmarks/scale.py                       # up to 16,384 ranks, 1,024 of them whole over 30 days; about 6 GB
python benchmarks/scale.py --quick               # the same shape, small
python benchmarks/scale.py --only merge          # or verify, compress
python benchmarks/scale.py --place DIR --out FILE
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger import describe_machine, genesis_of, step_tally

from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, load_or_create, read_ledger
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.known import Known, amounts_of, rows_of, unpriced_of
from auditor.ledger.log import Draft
from auditor.ledger.merging import merge
from auditor.ledger.merkle import Frontier, leaf_hash, leaf_hashes
from auditor.ledger.notes import Signer, head_of
from auditor.ledger.places import segment_name, segments_of
from auditor.lines import checkpoint_after, write_record
from auditor.operations import Operations, add_up
from auditor.records import Genesis, Record, Seal, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.ledger import SigningKey

INTERVALS_OF_A_DAY = 24 * 60
_STEPS = 600  # of an interval
_INTERVAL_US = 60_000_000
_BEGUN_US = 1_790_000_000_000_000


class Stretch(NamedTuple):
    """Intervals under one checkpoint, and what stands for them in any tree."""

    data: bytes
    leaves: list[bytes]
    last: bytes
    intervals: int


def stretches(intervals: int, per_write: int) -> list[Stretch]:
    """The intervals of a rank; the lines are the same in all ranks, and hashed once."""
    found = []
    for start in range(0, intervals, per_write):
        lines = []
        for number in range(start, min(start + per_write, intervals)):
            elapsed_us = (number + 1) * _INTERVAL_US
            row = (_BEGUN_US + elapsed_us, 1 + number * _STEPS, _STEPS, elapsed_us, _STEPS)
            lines.append(b'[%d,"interval",[%d,%d,%d,[[0,%d],[1,1]]]]' % row)
        found.append(Stretch(b"".join(line + b"\n" for line in lines), leaf_hashes(lines), lines[-1], len(lines)))
    return found


class RankWriter:
    """Writes a rank's segment with what the ledger's writer is made of, but for the checkpoint after each interval."""

    def __init__(self, path: Path, genesis: Genesis, key: SigningKey) -> None:
        self._path = path
        self._genesis = genesis
        self._key = key
        self._signer = Signer.of(genesis)
        self._tree = Frontier()
        self._intervals = 0
        news = Known().news([step_tally(64), step_tally(16)], Pricer().price)
        assert news is not None
        self._news = news

    def write(self, parts: Sequence[Stretch], *, seal: bool) -> None:
        with self._path.open("wb") as file:
            file.write(self._bodies([self._genesis]))
            file.write(self._bodies(self._news.records))
            for part in parts:
                file.write(self._totals() + part.data)
                self._tree.extend(part.leaves)
                signature = self._signer.sign(head_of(self._tree), self._key)
                line = checkpoint_after(part.last, signature)
                self._tree.extend([leaf_hash(line)])
                file.write(line + b"\n")
                self._intervals += part.intervals
            if seal:
                file.write(self._bodies([Seal(**self._cumulative(), reason="finished")]))

    def _bodies(self, bodies: Sequence[object]) -> bytes:
        draft = Draft(self._tree, self._signer, self._key)
        for body in bodies:
            placed = draft.place(body) if isinstance(body, Seal) else body
            draft.add(write_record(Record(time_us=self._time_us(), body=placed)))  # type: ignore[arg-type]
        draft.sign()
        self._tree = draft.tree
        return bytes(draft.data)

    def _totals(self) -> bytes:
        """What is due now and then, under the next checkpoint."""
        if not self._intervals or self._intervals % TOTALS_EVERY:
            return b""
        draft = Draft(self._tree, self._signer, self._key)
        tallies = tuple((number, rows_of(one), unpriced_of(one)) for number, one in enumerate(self._news.operations))
        body = draft.place(Totals(**self._cumulative(), tallies=tallies))
        draft.add(write_record(Record(time_us=self._time_us(), body=body)))
        self._tree = draft.tree
        return bytes(draft.data)

    def _time_us(self) -> int:
        return _BEGUN_US + self._intervals * _INTERVAL_US

    def _cumulative(self) -> dict[str, Any]:
        return {
            "lines": 0,
            "nodes": (),
            "steps": self._intervals * _STEPS,
            "elapsed_us": self._intervals * _INTERVAL_US,
            **amounts_of(self.operations),
            "gaps": 0,
            "floors": 0,
            "resumed": 0,
        }

    @property
    def operations(self) -> Operations:
        return add_up(zip(self._news.operations, (self._intervals * _STEPS, self._intervals), strict=True))


def write_job(directory: Path, ranks: int, days: float, *, per_write: int = 64, seal: bool = True) -> Operations:
    """A job's ledger, and what each of its ranks comes to."""
    key = load_or_create(directory.parent / "key.pem")
    parts = stretches(round(days * INTERVALS_OF_A_DAY), per_write)
    segments_of(directory).mkdir(parents=True)
    genesis = genesis_of(key.public_hex)
    for rank in range(ranks):
        own = dataclasses.replace(genesis, rank=rank, expected_ranks=ranks, nonce=secrets.token_hex(16))
        writer = RankWriter(segments_of(directory) / segment_name(own), own, key)
        writer.write(parts, seal=seal)
    return writer.operations


def work(what: str, directory: Path, jobs: int) -> dict[str, float]:
    """One thing done in this process and those below it, and what it took."""
    before = _used()
    wall_s = time.perf_counter()
    done: dict[str, float] = {}
    if what == "merge":
        merged = merge([directory], workers=jobs)
        done = {"total": merged.operations.total, "segments": merged.runs[0].segments}
    elif what == "verify":
        recount = Recount(price=Pricer().price, digest=TABLE.digest)
        reading = read_ledger(directory, recount=recount)
        done = {"total": reading.operations.total, "records": reading.records}
    wall_s = time.perf_counter() - wall_s
    cpu_s = _used() - before
    peak_bytes = 1024 * sum(resource.getrusage(who).ru_maxrss for who in _WHO)
    return done | {"wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": peak_bytes}


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _used() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in _WHO)


def measure(what: str, directory: Path, jobs: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", what, str(directory), "--jobs", str(jobs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in segments_of(directory).iterdir())


_MERGE_HEAD = [
    "| ranks | days | segments end with | GB | s | CPU s | CPU ms / segment | peak memory |",
    "|---:|---:|---|---:|---:|---:|---:|---:|",
]


def merging(place: Path, shapes: Sequence[tuple[int, float, bool]], jobs: int) -> Iterator[str]:
    """A row for each shape of a job; the total is held against the closed form."""
    yield from _MERGE_HEAD
    for ranks, days, seal in shapes:
        directory = place / "job"
        each = write_job(directory, ranks, days, seal=seal)
        took = measure("merge", directory, jobs)
        if took["total"] != each.total * ranks:
            raise SystemExit(f"merged to {took['total']}, expected {each.total * ranks}")
        end = "a seal" if seal else "totals"
        cells = [f"{ranks:,}", f"{days:g}", end, f"{size_of(directory) / 1e9:.2f}", *_times(took)]
        cells += [f"{1e3 * took['cpu_s'] / ranks:.2f}", f"{took['peak_bytes'] / 2**20:.0f} MiB"]
        yield f"| {' | '.join(cells)} |"
        shutil.rmtree(directory)


def _times(took: dict[str, float]) -> list[str]:
    return [f"{took['wall_s']:.1f}", f"{took['cpu_s']:.1f}"]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--quick", action="store_true", help="small jobs")
    parser.add_argument("--jobs", type=int, default=2, help="processes that read (default: 2)")
    parser.add_argument("--only", nargs="+", choices=("merge",), default=["merge"])
    parser.add_argument("--place", type=Path, help="where the ledgers are written; else a temporary folder")
    parser.add_argument("--out", type=Path, help="write the Markdown into this file")
    parser.add_argument("--work", nargs=2, metavar=("WHAT", "DIR"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.work:
        what, directory = arguments.work
        print(json.dumps(work(what, Path(directory), arguments.jobs)))
        return
    lines = ["# Cost of a job of thousands of ranks", "", *describe_machine()]
    lines += [f"- command: {shlex.join(['python', 'benchmarks/scale.py', *(argv or sys.argv[1:])])}", ""]
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        if "merge" in arguments.only:
            lines += ["## Merge", "", *merging(Path(place), _shapes(quick=arguments.quick), arguments.jobs), ""]
    text = "\n".join(lines)
    sys.stdout.write(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def _shapes(*, quick: bool) -> list[tuple[int, float, bool]]:
    if quick:
        return [(16, 0.5, True), (64, 0.5, True), (16, 2, True), (16, 2, False)]
    by_ranks = [(ranks, 1.0, True) for ranks in (1024, 4096, 16384)]
    by_days = [(128, days, True) for days in (1.0, 30.0, 90.0)]
    return [*by_ranks, *by_days, (1024, 1.0, False), (1024, 30.0, True)]


if __name__ == "__main__":
    main()
