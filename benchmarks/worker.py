"""One variant over one subject, in this process, a block of steps at a time as it is told.

python benchmarks/worker.py SUBJECT VARIANT DEVICE THREADS SCRATCH

Orders come as JSON lines on stdin, the first of them to prepare; answers go out as JSON lines on stdout; the end of
stdin is the end. In between the process does nothing, so that others can be measured.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from subjects import SUBJECTS, NotHereError, calls_per_step
from variants import NotInstalledError, find_variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_FIRST_STEPS = 2
_SEED = 0


def work(subject_name: str, variant_name: str, device: torch.device, scratch: Path, answers: TextIO) -> None:
    """Once told to, prepare and say so; then run blocks until the orders end."""
    variant = find_variant(variant_name)
    sys.stdin.readline()
    torch.manual_seed(_SEED)
    subject = SUBJECTS[subject_name](device)
    finish = torch.cuda.synchronize if device.type == "cuda" else _nothing
    calls = calls_per_step(subject)
    with ExitStack() as stack:
        step = _finished(stack.enter_context(variant.around(subject, scratch)), finish)
        for _ in range(_FIRST_STEPS):  # they allocate
            step()
        _say(answers, {"what": subject.what, "name": subject.name, "calls": calls})
        for line in sys.stdin:
            order = json.loads(line)
            _say(answers, {"steps_s": run_block(step, order["steps"], order["limit_s"])})


def run_block(step: Callable[[], object], steps: int, limit_s: float) -> list[float]:
    """How long each of ``steps`` steps took, after one that is not timed; past ``limit_s`` fewer, but one at least."""
    started_s = time.perf_counter()
    step()
    taken_s: list[float] = []
    while len(taken_s) < steps and (not taken_s or time.perf_counter() - started_s < limit_s):
        before_s = time.perf_counter()
        step()
        taken_s.append(time.perf_counter() - before_s)
    return taken_s


def _finished(step: Callable[[], object], finish: Callable[[], None]) -> Callable[[], None]:
    def finished() -> None:
        step()
        finish()

    return finished


def _nothing() -> None:
    """A CPU has finished when the call returns."""


def _say(answers: TextIO, answer: dict[str, object]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def main(arguments: list[str]) -> int:
    subject, variant, device, threads, scratch = arguments
    # What libraries print goes to stderr; stdout is for answers alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.set_num_threads(int(threads))
    try:
        work(subject, variant, torch.device(device), Path(scratch), answers)
    except NotInstalledError:
        _say(answers, {"problem": "not installed"})
    except NotHereError as error:
        _say(answers, {"problem": f"not here: {error}"})
    except Exception as error:
        # The report has a row for it.
        _say(answers, {"problem": f"failed: {type(error).__name__}: {error}"})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
