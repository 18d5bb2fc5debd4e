"""What auditing costs: step time bare, audited and under other counters, side by side in one run, as Markdown and JSON.

python benchmarks/overhead.py                 # prints the Markdown
python benchmarks/overhead.py --out DIR       # and writes overhead.md and overhead.json there
python benchmarks/overhead.py --keep          # and keeps both in benchmarks/results/

Other counters that are measured where they are installed: benchmarks/requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import goals
import probes
import startup
import torch
from measure import Result, Setting, compare
from report import to_markdown
from subjects import SUBJECTS
from variants import BARE, VARIANTS

import auditor
from auditor.counting import native_build
from auditor.errors import NativeUnavailable
from auditor.hardware import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = "auditor.bench/2"


def measure_steps(arguments: argparse.Namespace) -> Iterator[Result]:
    """Each subject in turn."""
    setting = Setting(
        device=arguments.device,
        threads=arguments.threads,
        rounds=arguments.rounds,
        sittings=arguments.sittings,
        block_s=arguments.block_s,
    )
    chosen = arguments.variants or [variant.name for variant in VARIANTS]
    for name in arguments.subjects or _subjects_of(arguments.device):
        _tell(f"measuring {name} on {arguments.device}")
        yield compare(name, [BARE, *(variant for variant in chosen if variant != BARE)], setting)


def _subjects_of(device: str) -> list[str]:
    """A CPU's steps are eager: captured they cannot be, and compiled they take long to make."""
    return [
        name for name in SUBJECTS if device != "cpu" or name not in ("transformer-compiled", "transformer-captured")
    ]


def measure_rest(arguments: argparse.Namespace) -> dict[str, Any]:
    """Attaching, memory and intervals, as far as they are asked for."""
    found: dict[str, Any] = {}
    if arguments.starts:
        _tell("attaching")
        found["attaching"] = probes.attaching(arguments.starts)
    if arguments.memory_steps:
        _tell(f"memory over {arguments.memory_steps:,} steps")
        found["memory"] = probes.memories(arguments.memory_steps)
    if arguments.intervals:
        _tell(f"{arguments.intervals} intervals")
        found["intervals"] = probes.run("intervals", arguments.intervals, arguments.device)
    return found


def _tell(what: str) -> None:
    """On stderr, since it takes minutes."""
    print(f"{what} ...", file=sys.stderr, flush=True)


def describe_machine(device: torch.device, threads: int) -> dict[str, object]:
    """What the numbers were measured on, as far as they depend on it."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "cpu": identity.cpu("").given.get("name", "unnamed"),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": threads,
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "auditor": auditor.__version__,
        "other_counters": ", ".join(_versions()) or "none installed",
    }


def _versions() -> Iterator[str]:
    for package in sorted({variant.needs for variant in VARIANTS if variant.needs}):
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, in every process")
    parser.add_argument("--subjects", nargs="+", choices=tuple(SUBJECTS), help="default: those that the device has")
    parser.add_argument("--variants", nargs="+", choices=[variant.name for variant in VARIANTS], help="default: all")
    parser.add_argument("--sittings", type=_positive, default=2, help="how often the processes are started anew")
    parser.add_argument("--rounds", type=_positive, default=3, help="in each sitting")
    parser.add_argument("--block-s", type=float, default=0.5, help="how long a bare block lasts")
    parser.add_argument("--starts", type=int, default=3, help="how often each process is started; 0 leaves it out")
    parser.add_argument("--memory-steps", type=_many, default=100_000, help="0 leaves the memory out")
    parser.add_argument("--intervals", type=int, default=100, help="how many are taken; 0 leaves them out")
    parser.add_argument("--out", type=Path, help="write overhead.md and overhead.json into this directory")
    parser.add_argument("--keep", action="store_true", help="keep both in benchmarks/results/")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


def _many(text: str) -> int:
    number = int(text)
    if number and number <= probes.EARLY_STEPS:
        raise argparse.ArgumentTypeError(f"more than {probes.EARLY_STEPS:,} are needed, or 0")
    return number


def write(directory: Path, name: str, markdown: str, report: dict[str, object]) -> None:
    """Both forms of the report stand in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.md").write_text(markdown, encoding="utf-8")
    (directory / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def build_native() -> None:
    """The native counter is built, where it can be; its rows say so where it cannot."""
    try:
        native_build.build()
    except NativeUnavailable as error:
        _tell(f"{error}; measuring without it")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    device = torch.device(arguments.device)
    now = datetime.now(UTC)
    report: dict[str, object] = {
        "schema": SCHEMA,
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/overhead.py", *(sys.argv[1:] if argv is None else argv)]),
        "machine": describe_machine(device, arguments.threads),
        "sittings": arguments.sittings,
    }
    build_native()
    results = list(measure_steps(arguments))
    probed = measure_rest(arguments)
    starts = startup.measure(arguments.starts) if arguments.starts else []
    judged = goals.judge(results, probed)
    report |= {
        "goals": [goal.to_json() for goal in judged],
        "steps": [result.to_json() for result in results],
        **probed,
        "starts": [start.to_json() for start in starts],
    }
    markdown = to_markdown(report, results, probed, starts, judged)
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
