"""What an index over many ledgers costs: verifying and importing them, and asking it, as Markdown.

python benchmarks/index.py                       # 10,000 runs into SQLite
python benchmarks/index.py --runs 1000           # so many
python benchmarks/index.py --to postgresql://... # into that database, which should be empty
python benchmarks/index.py --out FILE            # and writes the Markdown there
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger import describe_machine

import auditor
from auditor.formulas import TABLE, Pricer
from auditor.ledger import SegmentBook, SegmentWriter, load_or_create
from auditor.operations import Operations
from auditor.records import LEDGER_SCHEMA, Exit, Genesis
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.ledger import SigningKey

GOAL_S = 60.0  # for 10,000 runs
_MODELS = 200
_HOSTS = 50
_GPUS = (
    {"kind": "gpu", "name": "NVIDIA H200", "pci_device_id": "10de:2335", "pci_subsystem_id": "10de:18be"},
    {"kind": "gpu", "name": "NVIDIA L4", "pci_device_id": "10de:27b8"},
)
_HOW_MEASURED = """\
{runs:,} runs by the ledger's own writer, of a launcher's and a rank's segment each: {intervals} intervals of a tally
of {entries} entries (products, activations, evaluation), on {hosts} hosts with two kinds of GPU. Each row is the
command as a person types it, its start included; `add` verifies every line and signature and recounts every total, on
all cores, and `added again` finds all of them unchanged. *s* is the clock, on a machine that others used too (its load
is below); *CPU s* is what all processes of the command spent, without a server's. Goal: 10,000 runs imported in under
{goal:.0f} s."""


def step_tally(rows: int) -> Tally:
    """A step of a small model."""
    entries = {}
    for number in range(12):
        arguments = encode_arguments([Shape((rows, 64 + number)), Shape((64 + number, 64))])
        product = Signature("aten::mm", arguments)
        activation = Signature("aten::relu", encode_arguments([Shape((rows, 64 + number))]))
        entries[Entry(product, Phase.FORWARD, Purpose.PRE_TRAINING)] = 1
        entries[Entry(product, Phase.BACKWARD, Purpose.PRE_TRAINING)] = 2
        entries[Entry(activation, Phase.FORWARD, Purpose.PRE_TRAINING)] = 1
        entries[Entry(activation, Phase.INFERENCE, Purpose.EVALUATION)] = 1
    return Tally(entries)


def write_runs(directory: Path, runs: int, intervals: int) -> int:
    """So many sealed ledgers; the entries of a tally are the answer."""
    key, price = load_or_create(directory / "key.pem"), Pricer().price
    tallies = [step_tally(8 * (1 + number)) for number in range(16)]
    prices = {tally: price(tally) for tally in tallies}
    for number in range(runs):
        tally = tallies[number % len(tallies)]
        rank = [(tally, prices[tally])] * intervals
        write_run(directory / "audits" / f"run-{number:06}", number, rank, key)
    return len(tallies[0])


def write_run(directory: Path, number: int, intervals: Sequence[tuple[Tally, Operations]], key: SigningKey) -> None:
    """One run: what its launcher wrote, and its rank."""
    gpu = {**_GPUS[number % 2], "uuid": f"GPU-{number % (2 * _HOSTS):032x}"}
    launcher = SegmentBook(SegmentWriter.create(directory, _genesis(number, "launcher", key, ()), key))
    launcher.append(Exit(code=0, signal=0, processes=1))
    launcher.seal("finished")
    book = SegmentBook(SegmentWriter.create(directory, _genesis(number, "rank", key, (gpu,)), key))
    for place, (tally, operations) in enumerate(intervals):
        book.record_interval(
            first_step=600 * place + 1,
            steps=600,
            elapsed_us=60_000_000 * (place + 1),
            parts=[(tally, 600)],
            price={tally: operations}.__getitem__,
        )
    book.seal("finished")


def _genesis(number: int, role: str, key: SigningKey, devices: tuple[dict[str, str], ...]) -> Genesis:
    return Genesis(
        schema=LEDGER_SCHEMA,
        run_id=f"run-{number:06}",
        nonce=secrets.token_hex(16),
        role=role,
        rank=0,
        attempt=0,
        expected_ranks=int(role == "rank"),
        model=f"model-{number % _MODELS}",
        purpose="pre-training",
        command=("python", "train.py"),
        public_key=key.public_hex,
        counter="native" if role == "rank" else "",
        versions={"auditor": auditor.__version__},
        digests={"formulas": TABLE.digest},
        host={"pid": "1", "hostname": f"node-{number % _HOSTS:03}"},
        devices=devices,
        settings={},
    )


class Took(NamedTuple):
    """What something took, of the clock and of all processors."""

    wall_s: float
    cpu_s: float


def spent(who: int) -> Took:
    """The clock, and what this process or those that it has started have spent so far."""
    usage = resource.getrusage(who)
    return Took(time.perf_counter(), usage.ru_utime + usage.ru_stime)


def since(before: Took, who: int) -> Took:
    """What was spent since."""
    now = spent(who)
    return Took(now.wall_s - before.wall_s, now.cpu_s - before.cpu_s)


def measure(arguments: Sequence[str]) -> tuple[Took, str]:
    """What the command took, its processes together, and its first line."""
    before = spent(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "auditor", "index", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return since(before, resource.RUSAGE_CHILDREN), done.stdout.strip().splitlines()[0]


def tables(place: Path, to: str, runs: int, intervals: int) -> tuple[list[str], int]:
    """What was measured, and the entries of a tally."""
    before = spent(resource.RUSAGE_SELF)
    entries = write_runs(place, runs, intervals)
    written = _row("written", since(before, resource.RUSAGE_SELF), runs, "")
    lines = ["| | s | CPU s | runs / CPU s | |", "|---|---:|---:|---:|---|", written]
    audits, imported = str(place / "audits"), Took(0.0, 0.0)
    for name, arguments in (
        ("add", ["add", audits]),
        ("added again", ["add", audits]),
        ("list", ["list"]),
        ("list --by model", ["list", "--by", "model"]),
        ("list --by model --over 10", ["list", "--by", "model", "--over", "10"]),
        ("list --chip h200-sxm", ["list", "--chip", "h200-sxm"]),
        ("list --by chip", ["list", "--by", "chip"]),
        ("list --by month --host node-007", ["list", "--by", "month", "--host", "node-007"]),
    ):
        took, said = measure([*arguments, "--to", to])
        imported = took if name == "add" else imported
        lines.append(_row(f"`{name}`", took, runs, said.partition(": ")[2] if arguments[0] == "add" else said))
    lines += ["", _goal(imported, runs)]
    if "://" not in to:
        lines += ["", f"The index is a file of {Path(to).stat().st_size / 1e6:.1f} MB."]
    return lines, entries


def _goal(took: Took, runs: int) -> str:
    """What 10,000 runs would take at this rate: on the machine as it was, and on its processors alone."""
    cores, times = len(os.sched_getaffinity(0)), 10_000 / runs
    clock_s, alone_s = took.wall_s * times, took.cpu_s * times / cores
    return f"For 10,000 runs: {clock_s:.0f} s by the clock; {alone_s:.0f} s of each of {cores} cores, were they free."


def _row(name: str, took: Took, runs: int, said: str) -> str:
    return f"| {name} | {took.wall_s:.2f} | {took.cpu_s:.2f} | {runs / took.cpu_s:,.0f} | {said} |"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="ledgers that are written and imported")
    parser.add_argument("--intervals", type=int, default=10, help="of each run")
    parser.add_argument("--to", help="a database; the default is a fresh file")
    parser.add_argument("--out", type=Path, help="write the Markdown into this file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as place:
        machine = describe_machine()
        kind = "PostgreSQL" if arguments.to else "SQLite"
        to = arguments.to or str(Path(place) / "index.sqlite3")
        lines, entries = tables(Path(place), to, arguments.runs, arguments.intervals)
    how = _HOW_MEASURED.format(
        runs=arguments.runs, intervals=arguments.intervals, entries=entries, hosts=_HOSTS, goal=GOAL_S
    )
    heading = [f"# An index of {arguments.runs:,} runs in {kind}", "", how, "", *machine, ""]
    text = "\n".join([*heading, *lines]) + "\n"
    sys.stdout.write(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
