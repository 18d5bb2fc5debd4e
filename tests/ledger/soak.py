"""`make soak`: what `make test` shows of the ledger's promises with a few cases, shown with many, as a report.

python -m tests.ledger.soak                              # everything, two to three hours
python -m tests.ledger.soak --fuzz-s 60 --kills 200      # less of it
python -m tests.ledger.soak --only kills power           # parts of it
python -m tests.ledger.soak --keep                       # and keeps the report in benchmarks/results/
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger import load_or_create
from benchmarks.ledger import describe_machine
from tests.ledger.conftest import Run
from tests.ledger.mutations import Mutant, judge, mutant
from tests.ledger.power import power_loss_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_WORK = _ROOT / "build" / "soak"
_KILLS_AT_CALLS = 0.3  # of all kills; the others come at random moments
_INTERVALS_PER_CHECKPOINT = 16
_MOMENTS = 64  # of the calls of one life, about


class Shown(NamedTuple):
    """One promise, held to: what was done, what came of it, and whether it held."""

    promise: str
    done: str
    held: bool
    found: str
    took_s: float


def soak_kills(arguments: argparse.Namespace, place: Path) -> Shown:
    """Kills of real processes, each followed by a reading."""
    sweeps = max(1, round(arguments.kills * _KILLS_AT_CALLS / _MOMENTS))
    at_random = max(1, arguments.kills - sweeps * _MOMENTS)
    command = [sys.executable, str(_HERE / "killing_program.py"), str(place), str(at_random), str(sweeps), "1"]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    all_told = [told["random"], *told["calls"]]
    lost = [line for one in all_told for line in one["lost"]]
    moments = {one["moments"] for one in told["calls"]}
    at_calls = sum(one["kills"] for one in told["calls"])
    done = (
        f"{told['random']['kills']:,} SIGKILLs at random moments, {at_calls:,} before, in and after the calls that "
        f"change the disk: {len(told['calls'])} at each of {max(moments)} moments"
    )
    found = f"{sum(one['acknowledged'] for one in all_told):,} intervals acknowledged, {len(lost)} lost"
    return Shown(
        "A killed process loses nothing acknowledged", done, not lost, found + "".join(f"; {x}" for x in lost), 0
    )


def soak_power(arguments: argparse.Namespace, place: Path) -> Shown:
    """Losses of power on the model disk."""
    key = load_or_create(place / "key.pem")
    verdicts: Counter[str] = Counter()
    broken: list[str] = []
    for case in range(arguments.power_cases):
        with tempfile.TemporaryDirectory(dir=place) as disk:
            try:
                verdicts[power_loss_case(Run(Path(disk) / "root" / "ledger", key), random.Random(case))] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the promise was broken
                broken.append(f"case {case}: {error!r}")
    done = f"{2 * arguments.power_cases:,} losses of power at any call, each read, recovered and continued"
    found = ", ".join(f"{verdict} {number:,}" for verdict, number in sorted(verdicts.items()))
    found = f"{len(broken)} broken; {found}{''.join(f'; {one}' for one in broken[:5])}"
    return Shown("A loss of power costs what was not synced, and is never INVALID", done, not broken, found, 0)


def soak_fuzz(arguments: argparse.Namespace, place: Path) -> Shown:
    """The verifier under a fuzzer that follows its branches."""
    promise = "The verifier raises the project's errors alone, in bounded time and memory"
    if importlib.util.find_spec("atheris") is None:
        return Shown(promise, "nothing: atheris is not installed", False, "pip install 'auditor[fuzz]'", 0)
    _WORK.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(_HERE / "fuzzing_program.py"), str(arguments.fuzz_s), str(_WORK), str(place)]
    ran = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (_WORK / "log").write_text(ran.stdout, encoding="utf-8")
    stats = dict(re.findall(r"stat::(\w+): +(\d+)", ran.stdout))
    cases = int(stats.get("number_of_executed_units", 0))
    found = f"{stats.get('peak_rss_mb')} MiB at most, the slowest case {stats.get('slowest_unit_time_sec')} s"
    if ran.returncode:
        found += f"; it ended with {ran.returncode}: {' '.join(ran.stdout.splitlines()[-12:])[:800]}"
    done = f"{cases:,} ledgers gone wrong in {arguments.fuzz_s:,} s, by atheris from a corpus"
    return Shown(promise, done, ran.returncode == 0 and cases > 0, found, 0)


def soak_edits(_: argparse.Namespace, place: Path) -> Shown:
    """Every bit of a whole ledger of all kinds of records flipped, and every length that it can be cut to."""
    unseen, verdicts, number = list[str](), Counter[str](), 0
    whole = mutant(b"").files
    for name, data in whole.items():
        for change in itertools.chain(_flips(data), _cuts(data)):
            with tempfile.TemporaryDirectory(dir=place) as case:
                try:
                    verdicts[judge(Mutant(whole | {name: change}, signed=False), Path(case), brief=True)] += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, the promise was broken
                    unseen.append(f"{name}, change {number}: {error!r}")
            number += 1
    found = ", ".join(f"{verdict} {times:,}" for verdict, times in sorted(verdicts.items()))
    done = f"each bit flipped and each length cut to of two segments with every kind of record: {number:,} ledgers"
    found = f"{len(unseen)} unseen; {found}{''.join(f'; {one}' for one in unseen[:5])}"
    return Shown("Every change shows", done, not unseen, found, 0)


def _flips(data: bytes) -> Iterator[bytes]:
    changed = bytearray(data)
    for place in range(len(data)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            yield bytes(changed)
            changed[place] ^= 1 << bit


def _cuts(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


def soak_speed(arguments: argparse.Namespace, place: Path) -> Shown:
    """A ledger of ten million records, verified and recounted."""
    out = place / "speed.md"
    command = [sys.executable, str(_ROOT / "benchmarks" / "ledger.py"), "--intervals", str(arguments.intervals)]
    command += [
        "--rounds",
        "1",
        "--plain",
        "--per-write",
        str(_INTERVALS_PER_CHECKPOINT),
        "--place",
        str(place),
        "--out",
        str(out),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in out.read_text().splitlines() if "|" in line}
    found, held = [], True
    for what, most_s in (("verify", 120), ("recount", 240)):
        wall_s, cpu_s, records, lines, peak = (cell.strip() for cell in rows[f"{what}, intervals alone"][:5])
        held = held and float(cpu_s) <= 1 + most_s * arguments.intervals / 10e6
        found.append(f"{what}: {wall_s} s ({cpu_s} CPU s; {records} records and {lines} lines a CPU second), {peak}")
    done = f"{arguments.intervals:,} intervals of one rank, a checkpoint after each {_INTERVALS_PER_CHECKPOINT}"
    return Shown("Ten million records in two minutes of a core, recounted in four", done, held, "; ".join(found), 0)


PARTS: dict[str, Callable[[argparse.Namespace, Path], Shown]] = {
    "kills": soak_kills,
    "power": soak_power,
    "edits": soak_edits,
    "fuzz": soak_fuzz,
    "speed": soak_speed,
}


def report(shown: Sequence[Shown], argv: Sequence[str]) -> str:
    """The report as Markdown."""
    lines = ["# The ledger's promises, held to", "", f'`make soak SOAK_ARGS="{" ".join(argv)}"`', ""]
    lines += [*describe_machine(), f"- hypothesis and atheris: {_versions()}", ""]
    lines += ["| promise | what was done | held | found | s |", "|---|---|---|---|---:|"]
    lines += [
        f"| {s.promise} | {s.done} | {'yes' if s.held else '**no**'} | {s.found} | {s.took_s:,.0f} |" for s in shown
    ]
    return "\n".join(lines) + "\n"


def _versions() -> str:
    from importlib import metadata

    names = [name for name in ("hypothesis", "atheris") if importlib.util.find_spec(name)]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--power-cases", type=int, default=5000, help="of two losses of power each")
    parser.add_argument("--fuzz-s", type=int, default=3600, help="seconds")
    parser.add_argument("--intervals", type=int, default=10_000_000, help="of the ledger whose reading is timed")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--place", type=Path, help="where ledgers are written, up to 2 GB; else a temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep the report in benchmarks/results/")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    arguments, shown = parse_arguments(argv), []
    for name in arguments.only:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=arguments.place) as place:
            one = PARTS[name](arguments, Path(place))
        shown.append(one._replace(took_s=time.monotonic() - started))
        print(f"{name}: {'held' if one.held else 'BROKEN'}: {one.done}: {one.found}", flush=True)
        write_report(report(shown, argv), arguments.only, keep=arguments.keep)
    return 0 if all(one.held for one in shown) else 1


def write_report(text: str, parts: Sequence[str], *, keep: bool) -> None:
    """What was shown so far stands in build/soak and, to be kept, among the results."""
    _WORK.mkdir(parents=True, exist_ok=True)
    (_WORK / "report.md").write_text(text, encoding="utf-8")
    if keep:
        which = "" if list(parts) == list(PARTS) else f"_{'-'.join(parts)}"
        name = f"{time.strftime('%Y-%m-%d', time.gmtime())}_soak{which}.md"
        (_ROOT / "benchmarks" / "results" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
