"""What the auditor costs beside the steps: attaching, memory over very many steps, and handing over an interval.

Each is measured in a process of its own: python benchmarks/probes.py PROBE ARGUMENT...
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

EARLY_STEPS = 10_000
_STEPS_PER_INTERVAL = 100
_STEPS_BETWEEN = 4  # the recorder has done with one interval before the next is handed over
_STEPS_WATCHED = 5  # for the second opinion, at the beginning of a run
_PAGE_BYTES = 4096


def run(probe: str, *arguments: object) -> dict[str, Any]:
    """What the probe found, in a fresh process; or its ``problem``."""
    command = [sys.executable, __file__, probe, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        print(process.stderr[-2000:], file=sys.stderr, flush=True)
        return {"problem": f"failed: {(process.stderr.strip().splitlines() or ['without a word'])[-1]}"}
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


def memories(steps: int) -> list[dict[str, Any]]:
    """What `memory` found bare and counted."""
    return [{"variant": variant} | run("memory", variant, steps) for variant in ("bare", "native")]


def attaching(repeats: int) -> list[dict[str, Any]]:
    """Attach times of ``repeats`` fresh processes, after one that fills the file cache."""
    return [run("attach") for _ in range(repeats + 1)][1:]


def attach() -> dict[str, float]:
    """How long attaching takes a process that has imported torch; the first time also loads the auditor."""
    import torch

    torch.ones(1)
    started_s = time.perf_counter()
    import auditor

    count = auditor.count
    loaded_s = time.perf_counter()
    first_s, second_s = (_timed_entry(lambda: count(counter="native")) for _ in range(2))
    with TemporaryDirectory() as scratch:
        audit_s = _timed_entry(lambda: auditor.Auditor(scratch, counter="native", key=f"{scratch}/key.pem"))
    return {"load_s": loaded_s - started_s, "first_s": first_s, "second_s": second_s, "ledger_s": audit_s}


def _timed_entry(context: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    with context():
        return time.perf_counter() - started_s


def memory(variant: str, steps: int) -> dict[str, Any]:
    """The resident set after 10,000 tiny steps and after all; counted, an interval is taken every 100 steps."""
    from auditor.counting.counter import open_counter
    from auditor.tally import CounterKind

    step = _tiny_step()
    counter = open_counter(CounterKind.NATIVE) if variant == "native" else None
    if counter is not None:
        counter.attach()
    resident: dict[int, int] = {}
    for number in range(1, steps + 1):
        step()
        if counter is not None and number % _STEPS_PER_INTERVAL == 0:
            counter.take()
        if number in {EARLY_STEPS, steps}:
            resident[number] = _resident_bytes()
    return {"variant": variant, "resident_bytes": resident}


def _tiny_step() -> Callable[[], object]:
    """One product forward, one backward, and an update."""
    import torch

    torch.set_num_threads(1)
    inputs, weight = torch.ones(4, 4), torch.ones(4, 4, requires_grad=True)

    def step() -> None:
        (inputs @ weight).sum().backward()
        assert weight.grad is not None
        with torch.no_grad():
            weight.sub_(weight.grad, alpha=1e-3)
        weight.grad = None

    return step


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def intervals(number: int, device_name: str) -> dict[str, Any]:
    """How long the training thread is held up where an interval of the net of many small layers is taken.

    cut: by the counter's `cut` alone. hand_over: by an audited run's, as at a change of purpose. stall: how much longer
    the step after it takes, whose interpreter the recorder's thread shares, than one that comes later. noise: how much
    too long a loop takes that is to last as long as the median cut, and does nothing.
    """
    import torch
    from subjects import many_small_layers

    from auditor.counting.counter import open_counter
    from auditor.tally import CounterKind

    subject = many_small_layers(torch.device(device_name))
    counter = open_counter(CounterKind.NATIVE)
    counter.attach()
    subject.step()
    counter.take()
    cut_s: list[float] = []
    for _ in range(number):
        subject.step()
        cut_s.append(_timed(counter.cut))
    counter.detach()
    hand_over_s, stall_s = _handed_over(subject.step, number)
    usual_s = median(cut_s)
    return {
        "intervals": number,
        "cut_s": cut_s,
        "hand_over_s": hand_over_s,
        "stall_s": stall_s,
        "noise_s": [_overshoot(usual_s) for _ in range(number)],
    }


def _handed_over(step: Callable[[], object], number: int) -> tuple[list[float], list[float]]:
    import auditor

    hand_over_s, stall_s = [], []
    with TemporaryDirectory() as scratch, auditor.Auditor(scratch, counter="native", key=f"{scratch}/key.pem") as audit:
        for _ in range(_STEPS_WATCHED):
            step()
        for _ in range(number):
            evaluation = audit.purpose("evaluation")
            evaluation.__enter__()
            step()
            hand_over_s.append(_timed(lambda: evaluation.__exit__(None, None, None)))  # noqa: B023
            after_s = _timed(step)
            for _ in range(_STEPS_BETWEEN):
                step()
            stall_s.append(after_s - _timed(step))
    return hand_over_s, stall_s


def _timed(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _overshoot(target_s: float) -> float:
    started_s = time.perf_counter()
    while (taken_s := time.perf_counter() - started_s) < target_s:
        pass
    return taken_s - target_s


def main(arguments: list[str]) -> int:
    probe, *given = arguments
    probes: dict[str, Callable[[], dict[str, Any]]] = {
        "attach": attach,
        "memory": lambda: memory(given[0], int(given[1])),
        "intervals": lambda: intervals(int(given[0]), given[1]),
    }
    print(json.dumps(probes[probe]()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
