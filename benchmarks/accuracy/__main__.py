"""How right the count is: real models of many libraries, beside other counters, as Markdown and JSON.

python -m benchmarks.accuracy                 # prints the Markdown
python -m benchmarks.accuracy --out DIR       # and writes accuracy.md and accuracy.json there
python -m benchmarks.accuracy --keep          # and keeps both in benchmarks/results/
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import auditor
from benchmarks.accuracy.catalogue import models
from benchmarks.accuracy.report import to_markdown
from benchmarks.accuracy.survey import survey

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).resolve().parents[1] / "results"
SCHEMA = "auditor.accuracy/1"
_LIBRARIES = ("transformers", "diffusers", "peft", "timm", "fvcore")


def describe_machine() -> dict[str, object]:
    """What the counts were made with."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "auditor": auditor.__version__,
        **{name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    known = models()
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=summary,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--models", nargs="+", choices=tuple(known), default=list(known), metavar="NAME")
    parser.add_argument("--libraries", nargs="+", choices=sorted({each.library for each in known.values()}))
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, the slowest column")
    parser.add_argument("--workers", type=int, default=2, help="models measured at a time")
    parser.add_argument("--limit-s", type=float, default=600.0, help="how long one model may take")
    parser.add_argument("--out", type=Path, help="write accuracy.md and accuracy.json into this directory")
    parser.add_argument("--keep", action="store_true", help="keep both in benchmarks/results/")
    arguments = parser.parse_args(argv)
    if arguments.libraries:
        arguments.models = [name for name in arguments.models if known[name].library in arguments.libraries]
    return arguments


def write(directory: Path, name: str, markdown: str, report: dict[str, object]) -> None:
    """Both forms of the report stand in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.md").write_text(markdown, encoding="utf-8")
    (directory / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    now, began_s = datetime.now(UTC), time.monotonic()
    rows = survey(
        arguments.models,
        compile_too=not arguments.no_compile,
        workers=arguments.workers,
        limit_s=arguments.limit_s,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    report: dict[str, object] = {
        "schema": SCHEMA,
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.accuracy", *(sys.argv[1:] if argv is None else argv)]),
        "seconds": round(time.monotonic() - began_s),
        "machine": describe_machine(),
        "rows": rows,
    }
    markdown = to_markdown(report)
    print(markdown, end="")
    if arguments.out:
        write(arguments.out, "accuracy", markdown, report)
    if arguments.keep:
        name = f"{now.date()}_accuracy_{platform.machine()}_torch-{torch.__version__}"
        write(RESULTS, name, markdown, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
