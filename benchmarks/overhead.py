"""What auditing costs: step time bare and audited, side by side in one run, as Markdown and JSON.

python benchmarks/overhead.py                 # prints the Markdown
python benchmarks/overhead.py --out DIR       # and writes overhead.md and overhead.json there
python benchmarks/overhead.py --keep          # and keeps both in benchmarks/results/
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

import startup
import torch
from measure import Blocks, Result, Variant, compare
from subjects import SUBJECTS
from torch.utils.flop_counter import FlopCounterMode

import auditor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = "auditor.bench/1"


def variants(scratch: Path) -> list[Variant]:
    """The auditor without and with a ledger, and torch's own counter, which sees matrix work only."""
    numbers = itertools.count()
    return [
        Variant(name="auditor.count()", around=auditor.count),
        Variant(name="Auditor, ledger on", around=lambda: auditor.Auditor(out=scratch / str(next(numbers)))),
        Variant(name="torch FlopCounterMode", around=lambda: FlopCounterMode(display=False)),
    ]


def measure_all(arguments: argparse.Namespace, device: torch.device) -> Iterator[Result]:
    """Each subject in turn; what it does is told on stderr, since it takes minutes."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.subjects:
            print(f"measuring {name} on {device} ...", file=sys.stderr, flush=True)
            subject = SUBJECTS[name](device)
            yield compare(
                subject,
                variants(Path(scratch) / name),
                device,
                rounds=arguments.rounds,
                block_s=arguments.block_s,
            )


def describe_machine(device: torch.device) -> dict[str, object]:
    """What the numbers were measured on, as far as they depend on it."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "auditor": auditor.__version__,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


_HOW_MEASURED = """\
Blocks of bare and counted steps take turns in one process. A ratio, like the cost per operator, compares a
block with the bare block of the same round: median (lowest to highest) over the rounds. *bare again* is the
noise of the measurement."""


def to_markdown(report: dict[str, object], results: Sequence[Result], starts: Sequence[startup.Start]) -> str:
    """The report as people read it."""
    machine = cast("dict[str, object]", report["machine"])
    parts = [f"# Cost of auditing on {machine['device']}", "", _HOW_MEASURED, ""]
    parts += [f"- {name}: {value}" for name, value in machine.items()]
    parts += [f"- date: {report['date']}", f"- command: `{report['command']}`"]
    for result in results:
        parts += ["", f"## {result.subject}", "", *_subject_table(result)]
    if starts:
        parts += [
            "",
            "## Starting",
            "",
            "Wall time of whole processes.",
            "",
            "| process | median |",
            "|---|---:|",
        ]
        parts += [f"| `{start.what}` | {start.median_s * 1e3:.0f} ms |" for start in starts]
    return "\n".join(parts) + "\n"


def _subject_table(result: Result) -> list[str]:
    size = f"{len(result.bare.blocks)} rounds of {result.steps_per_block} steps"
    return [
        f"{result.what}; {result.calls:,} operators a step; {size}.",
        "",
        "| | step | against bare | per operator | enter | leave |",
        "|---|---:|---:|---:|---:|---:|",
        *(_row(blocks, result) for blocks in result.variants),
    ]


def _row(blocks: Blocks, result: Result) -> str:
    bare = result.bare
    enter_ms, leave_ms = (
        median(getattr(block, name) for block in blocks.blocks) * 1e3 for name in ("enter_s", "leave_s")
    )
    ratios = blocks.ratios_to(bare)
    ratio = "1" if blocks is bare else f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    each_us = blocks.excess_s(bare) / result.calls * 1e6
    each = "-" if blocks is bare else f"{each_us:+.2f} µs"
    step = f"{blocks.step_s * 1e3:.2f} ms"
    return f"| {blocks.variant} | {step} | {ratio} | {each} | {enter_ms:.2f} ms | {leave_ms:.2f} ms |"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--subjects", nargs="+", choices=tuple(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--block-s", type=float, default=0.5, help="how long a bare block lasts")
    parser.add_argument("--starts", type=int, default=3, help="how often each process is started; 0 leaves it out")
    parser.add_argument("--out", type=Path, help="write overhead.md and overhead.json into this directory")
    parser.add_argument("--keep", action="store_true", help="keep both in benchmarks/results/")
    return parser.parse_args(argv)


def write(directory: Path, name: str, markdown: str, report: dict[str, object]) -> None:
    """Both forms of the report stand in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.md").write_text(markdown, encoding="utf-8")
    (directory / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    device = torch.device(arguments.device)
    now = datetime.now(UTC)
    report: dict[str, object] = {
        "schema": SCHEMA,
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/overhead.py", *(sys.argv[1:] if argv is None else argv)]),
        "machine": describe_machine(device),
    }
    results = list(measure_all(arguments, device))
    starts = startup.measure(arguments.starts) if arguments.starts else []
    report |= {
        "steps": [result.to_json() for result in results],
        "starts": [start.to_json() for start in starts],
    }
    markdown = to_markdown(report, results, starts)
    print(markdown, end="")
    if arguments.out:
        write(arguments.out, "overhead", markdown, report)
    if arguments.keep:
        where = str(torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine())
        name = f"{now.date()}_{where.replace(' ', '-')}_torch-{torch.__version__}"
        write(RESULTS, name, markdown, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
