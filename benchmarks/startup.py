"""What starting costs: the auditor's import and help, and whole processes bare and under it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

_AUDITOR = (
    sys.executable,
    "-c",
    "import sys; from auditor.cli.main import entry_point; sys.exit(entry_point())",
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The wall time of whole processes."""

    what: str
    seconds: list[float]

    @property
    def median_s(self) -> float:
        return median(self.seconds)

    def to_json(self) -> dict[str, object]:
        """All times and their median."""
        return asdict(self) | {"median_s": self.median_s}


def measure(repeats: int) -> list[Start]:
    """Each command ``repeats`` times, taken in turn so that a busy moment meets them all."""
    with tempfile.TemporaryDirectory() as scratch:
        commands = _commands(Path(scratch))
        seconds: dict[str, list[float]] = {what: [] for what in commands}
        for number in range(repeats + 1):
            for what, command in commands.items():
                taken_s = _run([part.replace("{number}", str(number)) for part in command])
                if number:  # the first one compiles and fills the file cache
                    seconds[what].append(taken_s)
    return [Start(what=what, seconds=times) for what, times in seconds.items()]


def _commands(scratch: Path) -> dict[str, list[str]]:
    python = sys.executable
    run = [*_AUDITOR, "run", "--out", str(scratch / "{what}-{number}"), "--", python, "-c"]
    train = "import torch; w = torch.ones(2, requires_grad=True); w.sum().backward()"
    return {
        "python, nothing": [python, "-c", "pass"],
        "import auditor": [python, "-c", "import auditor"],
        "auditor --help": [*_AUDITOR, "--help"],
        "python, nothing, under auditor run": [part.replace("{what}", "nothing") for part in [*run, "pass"]],
        "python, torch and one backward": [python, "-c", train],
        "python, torch and one backward, under auditor run": [
            part.replace("{what}", "torch") for part in [*run, train]
        ],
    }


def _run(command: list[str]) -> float:
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    taken_s = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{process.stderr}")
    return taken_s
