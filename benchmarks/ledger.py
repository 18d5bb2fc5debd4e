"""What a ledger costs: writing, verifying and recounting one of the project's own writer, and its size, as Markdown.

python benchmarks/ledger.py                          # a rank with 100,000 intervals
python benchmarks/ledger.py --intervals 1000000      # so many; writing takes most of the time
python benchmarks/ledger.py --out FILE               # and writes the Markdown there
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import auditor
from auditor.formulas import TABLE, Pricer
from auditor.hardware import identity
from auditor.ledger import Recount, SegmentBook, SegmentWriter, load_or_create, read_ledger
from auditor.ledger.known import Known, amounts_of
from auditor.ledger.log import Draft
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer
from auditor.ledger.places import segment_name, segments_of
from auditor.lines import write_record
from auditor.operations import add_up
from auditor.records import LEDGER_SCHEMA, Genesis, Record, Seal
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVALS_OF_A_MONTH = 30 * 24 * 60
_OPERATORS = 100  # of a step
_STEPS = 600  # of an interval, about
_INTERVAL_US = 60_000_000
_HOW_MEASURED = """\
One segment of one rank, {written}: intervals of {steps} steps or a
few more, each of two tallies of {entries} entries that come again and again. Each row is a process of its own; *s* and
*CPU s* are the best of {rounds}, rates are by CPU second, on one core. A record is an interval or of another kind that
says something; a line is a record or a checkpoint."""
_ONE_BY_ONE = "written by the ledger's own writer without syncs, each interval signed by itself"
_MANY = "with a checkpoint after each {} intervals, as the writer's format has it"


def step_tally(rows: int) -> Tally:
    """Products forward and backward, as many different ones as a model of some layers has."""
    entries = {}
    for number in range(_OPERATORS):
        arguments = encode_arguments([Shape((rows, 64 + number)), Shape((64 + number, 64))])
        product = Signature("aten::mm", arguments)
        entries[Entry(product, Phase.FORWARD, Purpose.PRE_TRAINING)] = 1
        entries[Entry(product, Phase.BACKWARD, Purpose.PRE_TRAINING)] = 2
    return Tally(entries)


def write(directory: Path, intervals: int, *, watched: bool) -> None:
    """A sealed ledger of so many intervals; ``watched``: one device is observed at each."""
    key = load_or_create(directory.parent / "key.pem")
    book = SegmentBook(SegmentWriter.create(directory, genesis_of(key.public_hex), key))
    parts, rest, price, step = step_tally(64), step_tally(16), Pricer().price, 1
    for number in range(intervals):
        steps = _STEPS + number % 20
        elapsed_us = (number + 1) * _INTERVAL_US
        both = [(parts, steps), (rest, 1)]
        book.record_interval(first_step=step, steps=steps, elapsed_us=elapsed_us, parts=both, price=price)
        if watched:
            book.hardware("observed", "GPU-5e6b2f6c-0b7f-4a52-9d2b-0c1d2e3f4a5b", _seen(elapsed_us))
        step += steps
    book.seal("finished")


def write_long(directory: Path, intervals: int, per_write: int) -> None:
    """A sealed ledger, the bytes as `write` makes them but for a checkpoint after so many intervals; much faster."""
    key = load_or_create(directory.parent / "key.pem")
    genesis, tallies = genesis_of(key.public_hex), [step_tally(64), step_tally(16)]
    news = Known().news(tallies, Pricer().price)
    assert news is not None
    draft, time_us, step = Draft(Frontier(), Signer.of(genesis), key), time.time_ns() // 1000, 1
    segments_of(directory).mkdir(parents=True)
    with (segments_of(directory) / segment_name(genesis)).open("wb") as file:
        for body in (genesis, *news.records):
            draft.add(write_record(Record(time_us=time_us, body=body)))
        for number in range(intervals):
            steps = _STEPS + number % 20
            elapsed_us = (number + 1) * _INTERVAL_US
            row = (time_us + elapsed_us, step, steps, elapsed_us, steps)
            draft.add(b'[%d,"interval",[%d,%d,%d,[[0,%d],[1,1]]]]' % row)
            step += steps
            if number % per_write == per_write - 1:
                draft.sign()
                file.write(draft.data)
                draft.data.clear()
        operations = add_up(zip(news.operations, (step - 1, intervals), strict=True))
        elapsed_us = intervals * _INTERVAL_US
        seal = Seal(
            lines=0,
            nodes=(),
            steps=step - 1,
            elapsed_us=elapsed_us,
            **amounts_of(operations),
            gaps=0,
            floors=0,
            resumed=0,
            loaded=0,
            reason="finished",
        )
        draft.add(write_record(Record(time_us=time_us + elapsed_us, body=draft.place(seal))))
        draft.sign()
        file.write(draft.data)


def _seen(elapsed_us: int) -> dict[str, str]:
    """What an NVIDIA device tells, by the names and with the digits that the watch writes."""
    busy = {f"{unit}_us": str(elapsed_us * 9 // 10) for unit in ("sm", "tensor", "dram")}
    energy = {"energy_mj": str(elapsed_us * 7 // 10), "covered_us": str(elapsed_us), "sm_clock_mhz": "1980"}
    return {"elapsed_us": str(elapsed_us), **energy, **busy}


def genesis_of(public_hex: str) -> Genesis:
    """The first record of a rank's segment."""
    return Genesis(
        schema=LEDGER_SCHEMA,
        run_id="benchmark",
        nonce=secrets.token_hex(16),
        role="rank",
        rank=0,
        attempt=0,
        expected_ranks=1,
        model="benchmark",
        purpose="pre-training",
        command=("python", "train.py"),
        public_key=public_hex,
        counter="native",
        versions={"auditor": auditor.__version__},
        digests={"formulas": TABLE.digest},
        host={"pid": "1"},
        devices=(),
        settings={},
    )


def work(what: str, directory: Path, intervals: int, per_write: int) -> dict[str, float]:
    """One thing done in this process, and what it took."""
    wall_s, cpu_s, records = time.perf_counter(), time.process_time(), 0
    if what == "write" and per_write > 1:
        write_long(directory, intervals, per_write)
    elif what.startswith("write"):
        write(directory, intervals, watched=what.endswith("watched"))
    else:
        recount = Recount(price=Pricer().price, digest=TABLE.digest) if what == "recount" else None
        reading = read_ledger(directory, recount=recount)
        if reading.verdict != "UNANCHORED":
            raise SystemExit(f"the ledger is {reading.verdict}: {reading.reasons[0]}")
        records = reading.records
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": peak_bytes, "records": records}


def measure(what: str, directory: Path, intervals: int, rounds: int, per_write: int) -> dict[str, float]:
    """The best of so many processes."""
    found = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--work", what, str(directory), "--intervals", str(intervals)]
        command += ["--per-write", str(per_write)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    return {name: min(each[name] for each in found) for name in found[0]}


def size_of(directory: Path) -> tuple[int, int]:
    """Bytes and lines of the one segment."""
    (path,) = (directory / "segments").iterdir()
    with path.open("rb") as file:
        return path.stat().st_size, sum(1 for _ in file)


def tables(place: Path, intervals: int, rounds: int, per_write: int, *, plain: bool) -> list[str]:
    """What was measured; ``plain``: not with a device watched as well."""
    speed = ["| | s | CPU s | records / CPU s | lines / CPU s | peak memory |", "|---|---:|---:|---:|---:|---:|"]
    size = ["| | bytes of an interval | MB of a month at 60 s |", "|---|---:|---:|"]
    kinds = [("intervals alone", ""), ("with one device watched", " watched")]
    for name, suffix in kinds[:1] if plain else kinds:
        directory = place / f"ledger{suffix.strip()}"
        written = measure(f"write{suffix}", directory, intervals, 1, per_write)
        num_bytes, lines = size_of(directory)
        each = num_bytes / intervals
        size.append(f"| {name} | {each:.0f} | {each * INTERVALS_OF_A_MONTH / 1e6:.1f} |")
        done = {what: measure(what, directory, intervals, rounds, per_write) for what in ("verify", "recount")}
        written["records"] = done["verify"]["records"]
        for what, took in ({"write": written} | done).items():
            speed.append(_row(f"{what}, {name}", took, lines))
    return ["## Speed", "", *speed, "", "## Size", "", *size]


def _row(name: str, took: dict[str, float], lines: int) -> str:
    rates = (took["records"] / took["cpu_s"], lines / took["cpu_s"])
    cells = [f"{took['wall_s']:.2f}", f"{took['cpu_s']:.2f}", *(f"{rate:,.0f}" for rate in rates)]
    return f"| {name} | {' | '.join(cells)} | {took['peak_bytes'] / 2**20:.0f} MiB |"


def describe_machine() -> list[str]:
    """What the figures depend on."""
    cpu = identity.cpu("").given.get("name", "unnamed")
    return [
        f"- cpu: {cpu}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f} before",
        f"- system: {platform.system()} {platform.release()} {platform.machine()}",
        f"- python {platform.python_version()}, cryptography {metadata.version('cryptography')}",
        f"- auditor {auditor.__version__}",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
    ]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--intervals", type=int, default=100_000, help="of the segment that is written")
    parser.add_argument("--rounds", type=int, default=3, help="of verifying and of recounting")
    parser.add_argument(
        "--per-write", type=int, default=1, help="intervals under one checkpoint; above 1 not by the writer"
    )
    parser.add_argument("--plain", action="store_true", help="no ledger with a device watched")
    parser.add_argument("--place", type=Path, help="where the ledgers are written; else a temporary folder")
    parser.add_argument("--out", type=Path, help="write the Markdown into this file")
    parser.add_argument("--work", nargs=2, metavar=("WHAT", "DIR"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.work:
        what, directory = arguments.work
        print(json.dumps(work(what, Path(directory), arguments.intervals, arguments.per_write)))
        return
    written = _ONE_BY_ONE if arguments.per_write == 1 else _MANY.format(arguments.per_write)
    how = _HOW_MEASURED.format(written=written, steps=_STEPS, entries=2 * _OPERATORS, rounds=arguments.rounds)
    heading = [f"# Cost of a ledger of {arguments.intervals:,} intervals", "", how, "", *describe_machine(), ""]
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        measured = tables(
            Path(place), arguments.intervals, arguments.rounds, arguments.per_write, plain=arguments.plain
        )
        text = "\n".join([*heading, *measured]) + "\n"
    sys.stdout.write(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
