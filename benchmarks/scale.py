"""What a job of thousands of ranks costs to add up, to report on, to verify and to compress, as Markdown.

python benchmarks/scale.py                       # up to 16,384 ranks, and 1,024 of them over 30 days; 4 GB at once
python benchmarks/scale.py --quick               # the same rows, small
python benchmarks/scale.py --only merge          # or verify, compress
python benchmarks/scale.py --place DIR --out FILE  # ledgers stay in DIR, and are taken from there again
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import resource
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ledger import describe_machine, genesis_of, step_tally

from auditor import rules
from auditor.formulas import TABLE, Pricer
from auditor.hardware import catalogue
from auditor.ledger import Recount, load_or_create, read_ledger
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.compressing import compress
from auditor.ledger.effort import Effort
from auditor.ledger.known import Known, amounts_of, rows_of, unpriced_of
from auditor.ledger.log import Draft
from auditor.ledger.merging import merge
from auditor.ledger.merkle import Frontier, leaf_hash, leaf_hashes
from auditor.ledger.notes import Signer, head_of
from auditor.ledger.places import segment_name, segments_of
from auditor.ledger.summed import read_ends
from auditor.ledger.workers import spread
from auditor.lines import checkpoint_after, write_record
from auditor.operations import Operations, add_up
from auditor.records import Genesis, Record, Seal, Totals
from auditor.report.json_text import to_json
from auditor.report.view import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auditor.ledger import SigningKey

INTERVALS_OF_A_DAY = 24 * 60
_STEPS = 600  # of an interval
_INTERVAL_US = 60_000_000
_PARTS = ("merge", "verify", "compress")
_HOW_MEASURED = """\
Ledgers of intervals of a minute, made of what the ledger's writer is made of; for merging with a checkpoint after 64 or
256 intervals instead of one, which changes what lies between beginning and end. Each row is a process of its own with
those that it starts, once, and its total is held against the closed form. CPU seconds are of all of them; peak memory
is that of the first and so often that of the largest of the others. What had just been written was in the cache."""
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
            "loaded": 0,
        }

    @property
    def operations(self) -> Operations:
        return add_up(zip(self._news.operations, (self._intervals * _STEPS, self._intervals), strict=True))


class Shape(NamedTuple):
    """A job: how many ranks over how many days, intervals under a checkpoint, and whether it was ended."""

    ranks: int
    days: float
    per_write: int = 256
    seal: bool = True

    @classmethod
    def read(cls, text: str) -> Shape:
        """As `--merge` writes it: ``1024x30``, with ``-open`` behind it where it was not ended."""
        ranks, _, days = text.removesuffix("-open").partition("x")
        return cls(int(ranks), float(days), seal=not text.endswith("-open"))

    @property
    def name(self) -> str:
        return f"job-{self.ranks}x{self.days:g}-{self.per_write}{'' if self.seal else '-open'}"


def write_job(place: Path, shape: Shape, jobs: int) -> Path:
    """The job's ledger; ranks that stand there already are not written again."""
    directory = place / shape.name
    key = load_or_create(place / "key.pem")
    parts = stretches(round(shape.days * INTERVALS_OF_A_DAY), shape.per_write)
    segments_of(directory).mkdir(parents=True, exist_ok=True)
    genesis = dataclasses.replace(genesis_of(key.public_hex), expected_ranks=shape.ranks)

    def write(rank: int) -> None:
        own = dataclasses.replace(genesis, rank=rank, nonce=secrets.token_hex(16))
        path = segments_of(directory) / segment_name(own)
        if not path.exists():
            draft = path.with_name(f".{path.name}")
            RankWriter(draft, own, key).write(parts, seal=shape.seal)
            draft.rename(path)

    for _ in spread(write, range(shape.ranks), workers=jobs):
        pass
    return directory


def expected(shape: Shape) -> int:
    """What the job comes to, worked out from its steps."""
    each, rest = (Pricer().price(step_tally(rows)).total for rows in (64, 16))
    intervals = round(shape.days * INTERVALS_OF_A_DAY)
    return shape.ranks * intervals * (_STEPS * each + rest)


def work(what: str, directory: Path, jobs: int) -> dict[str, float]:
    """One thing done in this process and those below it, and what it took."""
    before = _used()
    wall_s = time.perf_counter()
    done = _WORK[what](directory, jobs)
    wall_s = time.perf_counter() - wall_s
    cpu_s = _used() - before
    own, below = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak_bytes = 1024 * (own + jobs * below)
    return done | {"wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": peak_bytes}


def _merge(directory: Path, jobs: int) -> dict[str, float]:
    merged = merge([directory], workers=jobs)
    return {"total": merged.operations.total}


def _report(directory: Path, jobs: int) -> dict[str, float]:
    """As `auditor report --from-ends --format json`, rules and catalogue read with it."""
    reading = read_ends(directory, workers=jobs)
    day = datetime.now(UTC).date()
    view = build(reading, rules.load(rules.shipped()), catalogue.load(), as_of=day, generated=day.isoformat())
    to_json(view)
    return {"total": view.operations.total}


def _verify(directory: Path, jobs: int) -> dict[str, float]:
    recount = Recount(price=Pricer().price, digest=TABLE.digest)
    reading = read_ledger(directory, recount=recount, effort=Effort(workers=jobs, course=False))
    if reading.verdict != "UNANCHORED":
        raise SystemExit(f"the ledger is {reading.verdict}: {reading.reasons[0]}")
    return {"total": reading.operations.total, "records": reading.records}


def _compress(directory: Path, jobs: int) -> dict[str, float]:
    done = list(compress(directory, workers=jobs))
    return {"before": sum(one.size_bytes for one in done), "after": sum(one.packed_bytes for one in done)}


_WORK = {"merge": _merge, "report": _report, "verify": _verify, "compress": _compress}


def _used() -> float:
    """CPU seconds, also of processes that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(what: str, directory: Path, jobs: int, total: int | None = None) -> dict[str, float]:
    """What it took in a process of its own, whose answer is ``total``."""
    command = [sys.executable, __file__, "--work", what, str(directory), "--jobs", str(jobs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    if total is not None and found["total"] != total:
        raise SystemExit(f"{what} of {directory.name} came to {found['total']}, expected {total}")
    return found


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in segments_of(directory).iterdir())


class Table:
    """Rows that are shown as soon as they are there."""

    def __init__(self, title: str, columns: str, show: Callable[[str], None]) -> None:
        self._show = show
        names = columns.split(" | ")
        show(f"\n## {title}\n\n| {columns} |\n|{'---:|' * len(names)}")

    def row(self, *cells: str) -> None:
        self._show(f"| {' | '.join(cells)} |")


def _times(took: dict[str, float]) -> list[str]:
    return [f"{took['wall_s']:.2f}", f"{took['cpu_s']:.2f}"]


def _memory(took: dict[str, float]) -> str:
    return f"{took['peak_bytes'] / 2**20:.0f} MiB"


def merging(place: Place, shapes: Iterable[Shape], jobs: int) -> None:
    """A row for each shape of a job."""
    columns = "ranks | days | ends with | GB | s | CPU s | CPU ms of a segment | peak memory"
    of_report = "report: s | report: CPU s | report: peak memory"
    table = Table(f"Merge, and report from the same ends, {jobs} processes", f"{columns} | {of_report}", place.show)
    for shape in shapes:
        with place.job(shape) as directory:
            took = measure("merge", directory, jobs, expected(shape))
            drawn = measure("report", directory, jobs, expected(shape))
            end = "seal" if shape.seal else "totals"
            size = f"{size_of(directory) / 1e9:.2f}"
            each_ms = f"{1e3 * took['cpu_s'] / shape.ranks:.2f}"
            job = (f"{shape.ranks:,}", f"{shape.days:g}", end, size)
            table.row(*job, *_times(took), each_ms, _memory(took), *_times(drawn), _memory(drawn))


def verifying(place: Place, shapes: Iterable[Shape], jobs: int) -> None:
    """A row for each shape of a job and number of processes."""
    columns = "ranks | days | processes | records | s | CPU s | records / s | records / CPU s | peak memory"
    table = Table("Verify, every total recounted; a checkpoint after each interval", columns, place.show)
    for shape, processes in ((shape, processes) for shape in shapes for processes in (1, jobs)):
        with place.job(shape) as directory:
            took = measure("verify", directory, processes, expected(shape))
            records = took["records"]
            rates = [f"{records / took['wall_s']:,.0f}", f"{records / took['cpu_s']:,.0f}"]
            cells = [f"{shape.ranks:,}", f"{shape.days:g}", str(processes), f"{records:,}", *_times(took), *rates]
            table.row(*cells, _memory(took))


def compressing(place: Place, shape: Shape, jobs: int) -> None:
    """What it takes, what it saves, and what reading it takes then."""
    table = Table("Compress", "what | MB | s | CPU s | MB / CPU s", place.show)
    with place.job(shape) as kept:
        directory = place.path / "compressed"
        shutil.copytree(kept, directory)
        before = size_of(directory)
        for what in ("verify", "compress", "verify", "merge"):
            took = measure(what, directory, jobs, None if what == "compress" else expected(shape))
            name = (
                what
                if what == "compress"
                else f"{what} what is {'plain' if size_of(directory) == before else 'compressed'}"
            )
            rate = f"{before / 1e6 / took['cpu_s']:.1f}"
            table.row(name, f"{size_of(directory) / 1e6:.1f}", *_times(took), rate)
        shutil.rmtree(directory)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where ledgers are written, whether they stay there, and what shows a line."""

    path: Path
    keep: bool
    jobs: int
    show: Callable[[str], None]

    @contextlib.contextmanager
    def job(self, shape: Shape) -> Iterator[Path]:
        directory = write_job(self.path, shape, self.jobs)
        yield directory
        if not self.keep:
            shutil.rmtree(directory)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--quick", action="store_true", help="small jobs")
    parser.add_argument("--jobs", type=int, default=2, help="processes that read (default: 2)")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument(
        "--merge", nargs="+", type=Shape.read, metavar="RANKSxDAYS", help="these jobs in place of those planned"
    )
    parser.add_argument("--place", type=Path, help="where the ledgers are written and stay; else a temporary folder")
    parser.add_argument("--out", type=Path, help="write the Markdown into this file as well")
    parser.add_argument("--work", nargs=2, metavar=("WHAT", "DIR"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.work:
        what, directory = arguments.work
        print(json.dumps(work(what, Path(directory), arguments.jobs)))
        return
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(arguments.out.open("w", encoding="utf-8")) if arguments.out else None
        path = arguments.place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = Place(path, arguments.place is not None, arguments.jobs, functools.partial(_show, out))
        command = shlex.join(["python", "benchmarks/scale.py", *(argv or sys.argv[1:])])
        heading = ["# Cost of a job of thousands of ranks", "", _HOW_MEASURED, "", *describe_machine()]
        place.show("\n".join([*heading, f"- command: `{command}`"]))
        plan = _QUICK if arguments.quick else _WHOLE
        if "merge" in arguments.only:
            merging(place, arguments.merge or plan.merge, arguments.jobs)
        if "verify" in arguments.only:
            verifying(place, plan.verify, arguments.jobs)
        if "compress" in arguments.only:
            compressing(place, plan.verify[-1], arguments.jobs)


def _show(out: TextIO | None, text: str) -> None:
    for file in (sys.stdout, out) if out else (sys.stdout,):
        file.write(f"{text}\n")
        file.flush()


class Plan(NamedTuple):
    merge: Sequence[Shape]
    verify: Sequence[Shape]


_QUICK = Plan(
    merge=[Shape(16, 0.5), Shape(64, 0.5), Shape(16, 2), Shape(16, 2, seal=False)],
    verify=[Shape(4, 0.5, 1), Shape(8, 0.5, 1)],
)
_WHOLE = Plan(
    merge=[
        *(Shape(ranks, 1) for ranks in (1024, 4096, 16384)),
        *(Shape(64, days) for days in (1, 30, 90)),
        Shape(1024, 1, seal=False),
        Shape(1024, 30),
    ],
    verify=[Shape(8, 2, 1), Shape(2, 30, 1), Shape(32, 2, 1)],
)


if __name__ == "__main__":
    main()
