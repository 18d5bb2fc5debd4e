"""Trains the same small model in the loops of other frameworks under audit, and holds each ledger against closed forms.

``python benchmarks/frameworks.py [--packages FOLDER] [--only NAME...] [--out FILE]``; `make frameworks` sets it all up.
FOLDER holds a folder of packages for each framework, so that none meets another's versions.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framework_cases import CASES, Case

from auditor.formulas import TABLE, Pricer
from auditor.ledger import Reading, Recount, read_ledger
from auditor.units import scientific

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(__file__).resolve().parent / "workloads" / "frameworks"
_DISTRIBUTIONS = {"megatron": "megatron-core"}
_PHASES = ("forward", "backward", "optimizer", "inference")
_WITHIN_S = 400
BEGIN, END = "<!-- written by benchmarks/frameworks.py -->", "<!-- end -->"
HEAD = ("framework", "version", "mode", "result", "steps", "operations of each rank", "what it adds", "limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case. ``ranks``: operations by phase; ``whole_numbers``: those on integers, on all ranks."""

    case: Case
    version: str
    result: str
    steps: int = 0
    ranks: tuple[Counter[str], ...] = ()
    whole_numbers: int = 0

    def row(self) -> tuple[str, ...]:
        shown = self.ranks[0] if self.ranks else Counter()
        amounts = ", ".join(f"{phase} {shown[phase]:,}" for phase in _PHASES if shown[phase])
        case = self.case
        adds = case.adds if self.result == "works" else ""
        cells = (case.framework, self.version, case.mode, self.result, str(self.steps or ""), amounts, adds, case.limit)
        return tuple(cell.replace("|", "/") for cell in cells)


def outcome_of(case: Case, packages: Path, work: Path) -> Outcome:
    """The case has been run, once."""
    folder = packages / case.package
    version = _version(folder, _DISTRIBUTIONS.get(case.package, case.package))
    if not version:
        return Outcome(case=case, version="", result="not run: not installed")
    done, seconds = None, _WITHIN_S
    command = [sys.executable, "-m", "auditor", "run", "--out", str(work / "run"), "--no-second-opinion", "--"]
    try:
        done = subprocess.run(
            [*command, sys.executable, *case.command],
            cwd=SCRIPTS,
            env=_environment(folder, work),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(case=case, version=version, result=f"not run: no end within {seconds} s")
    if case.needs and case.needs in done.stderr + done.stdout:
        return Outcome(case=case, version=version, result="refused")
    if done.returncode:
        return Outcome(case=case, version=version, result=f"failed: {_last_words(done.stderr + done.stdout)}")
    reading = read_ledger(work / "run", recount=Recount(price=Pricer().price, digest=TABLE.digest))
    return _judge(case, version, reading)


def _judge(case: Case, version: str, reading: Reading) -> Outcome:
    """The ledger is held against the closed form: every rank, every phase, to the operation."""
    by_rank: dict[int, Counter[str]] = {}
    whole_numbers = 0
    for segment in _in_order(reading, case.ranks):
        place, counted = segment
        amounts = by_rank.setdefault(place, Counter())
        for phase, ops, whole in counted:
            amounts[phase] += 0 if whole else ops
            whole_numbers += ops if whole else 0
    ranks = tuple(by_rank[rank] for rank in sorted(by_rank))
    whole = reading.verdict in ("UNANCHORED", "WITNESSED")
    result = compare(case, ranks) if whole else f"{reading.verdict}: {reading.reasons[0]}"
    return Outcome(
        case=case, version=version, result=result, steps=reading.steps, ranks=ranks, whole_numbers=whole_numbers
    )


def compare(case: Case, ranks: Sequence[Counter[str]]) -> str:
    """What is said of a whole ledger whose ranks counted so much in each phase."""
    if case.expected is None:
        return "counted, not derived"
    if len(ranks) != case.ranks or any(amounts != case.expected for amounts in ranks):
        return f"differs: expected {dict(case.expected)}"
    return "works"


def _in_order(reading: Reading, ranks: int) -> list[tuple[int, list[tuple[str, int, bool]]]]:
    """What each segment counted, with its rank.

    A process that has not joined yet is no rank: what it did belongs to the one that had not begun by then, the last.
    """
    found = []
    for segment in reading.segments:
        rank = segment.genesis.rank if segment.genesis.role == "rank" else ranks - 1
        counted = [
            (str(bucket.phase), amount.executed_ops, bucket.precision.startswith("int") or bucket.precision == "none")
            for bucket, amount in segment.operations.amounts.items()
        ]
        if segment.genesis.role != "launcher":
            found.append((rank, counted))
    return found


def _environment(folder: Path, work: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    keep = {name: value for name, value in os.environ.items() if not name.startswith("AUDITOR_")}
    return keep | {
        "PYTHONPATH": path,
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "AUDITOR_KEY": str(work / "key.pem"),
    }


def _version(folder: Path, name: str) -> str:
    found = importlib.metadata.distributions(name=name, path=[str(folder)])
    return next((one.version for one in found), "")


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "Error" in line and "ChildFailed" not in line]
    return (lines or ["without a word"])[0][-160:]


def report(outcomes: list[Outcome], command: str) -> str:
    """The table with where, when and how it was made."""
    import torch

    rows = [HEAD, ("---",) * len(HEAD), *(outcome.row() for outcome in outcomes)]
    numbers = "; ".join(
        f"{outcome.case.framework}, {outcome.case.mode}: {outcome.whole_numbers:,}"
        for outcome in outcomes
        if outcome.whole_numbers
    )
    now = datetime.datetime.now(datetime.UTC)
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    about = (
        "*works*: every rank's total is the closed form, phase by phase, to the operation. Beside it, on all ranks "
        f"together, operations on whole numbers (orders of the data, seeds, lengths): {numbers or 'none'}."
    )
    lines = [
        f"- date: {now:%Y-%m-%d %H:%M} UTC",
        f"- machine: {machine}, torch {torch.__version__}",
        f"- command: `{command}`",
        f"- formulas: table {TABLE.digest[:12]}",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        about,
    ]
    return "\n".join(lines) + "\n"


def into_document(text: str, document: Path) -> None:
    """What stands between the marks of the document is this text."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def _named(only: list[str]) -> list[str]:
    return ["--only", *only] if only else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=ROOT / "build" / "frameworks")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--document", type=Path, help="a document whose table is written anew, between its marks")
    given = parser.parse_args()
    outcomes = []
    for case in CASES:
        if given.only and case.package not in given.only:
            continue
        with tempfile.TemporaryDirectory() as work:
            outcome = outcome_of(case, given.packages.resolve(), Path(work))
        outcomes.append(outcome)
        ranks = [scientific(amounts.total()) for amounts in outcome.ranks]
        print(f"{case.framework}, {case.mode}: {outcome.result} {json.dumps(ranks)}", flush=True)
        if outcome.result.startswith("differs"):
            print("  counted", [dict(amounts) for amounts in outcome.ranks])
    text = report(outcomes, shlex.join(["python", "benchmarks/frameworks.py", *_named(given.only)]))
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    if given.document is not None:
        into_document(text, given.document)
    print(text)
    bad = [outcome for outcome in outcomes if outcome.result.startswith(("differs", "INCOMPLETE", "INVALID"))]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
