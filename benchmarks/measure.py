"""How long a step takes bare and under each counter: processes that take turns, compared round by round."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from variants import BARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WORKER = Path(__file__).with_name("worker.py")
_MOST_STEPS = 400
_FEWEST_STEPS = 3
_SLOWEST = 2.0  # a block of a variant that is slower than bare by more than this has fewer steps
_PAUSE_S = 0.02  # between blocks: the threads of the one before come to rest
_END_WITHIN_S = 30.0


@dataclass(kw_only=True)
class Blocks:
    """The steps of one variant, a block for each round; or the problem, for which there are none."""

    variant: str
    blocks: list[list[float]] = field(default_factory=list)
    problem: str = ""

    @property
    def step_s(self) -> float:
        """The median step."""
        return median(step_s for block in self.blocks for step_s in block)

    def ratios_to(self, bare: Blocks) -> list[float]:
        """This variant's median step over the bare one's, for each round."""
        return [mine_s / bare_s for mine_s, bare_s in self._pairs(bare)]

    def excess_s(self, bare: Blocks) -> float:
        """How much longer than the bare one of its round a step takes: the median over the rounds."""
        return median(mine_s - bare_s for mine_s, bare_s in self._pairs(bare))

    def _pairs(self, bare: Blocks) -> list[tuple[float, float]]:
        return [(median(mine), median(theirs)) for mine, theirs in zip(self.blocks, bare.blocks, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Result:
    """All variants over one subject."""

    argument: str
    subject: str
    what: str
    calls: int
    steps_per_block: int
    variants: list[Blocks]

    @property
    def bare(self) -> Blocks:
        """The blocks that all are compared with."""
        return self.variants[0]

    def find(self, variant: str) -> Blocks | None:
        """What a variant took, where it was measured."""
        return next((blocks for blocks in self.variants if blocks.variant == variant and not blocks.problem), None)

    def to_json(self) -> dict[str, object]:
        """Everything that was measured, and the ratios as the report shows them."""
        return {
            "subject": self.subject,
            "what": self.what,
            "operators_per_step": self.calls,
            "steps_per_block": self.steps_per_block,
            "variants": [self._variant(blocks) for blocks in self.variants],
        }

    def _variant(self, blocks: Blocks) -> dict[str, object]:
        if blocks.problem:
            return {"variant": blocks.variant, "problem": blocks.problem}
        ratios = blocks.ratios_to(self.bare)
        return {
            "variant": blocks.variant,
            "median_step_s": blocks.step_s,
            "excess_per_operator_s": blocks.excess_s(self.bare) / self.calls,
            "ratio": {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)},
            "rounds": blocks.blocks,
        }


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a comparison is made; everything here holds for all variants alike.

    sittings: how often the processes are started anew, since where one comes to lie in memory makes it fast or slow.
    block_s: a block holds as many steps as take this long bare.
    """

    device: str
    threads: int
    rounds: int
    sittings: int
    block_s: float


class Worker:
    """A process that runs one variant when it is told to, and waits otherwise."""

    def __init__(self, subject: str, variant: str, setting: Setting, scratch: Path) -> None:
        scratch.mkdir()
        self._told = scratch / "stderr"
        command = [sys.executable, str(_WORKER), subject, variant, setting.device, str(setting.threads), str(scratch)]
        with self._told.open("w", encoding="utf-8") as told:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True
            )
        self.variant = variant
        self.problem = ""

    def prepare(self) -> dict[str, Any]:
        """What it says of the subject, once it is ready; empty where there is a ``problem``."""
        return self._ask({"prepare": True})

    def block(self, steps: int, limit_s: float) -> list[float]:
        """How long each step of a block took; none where there is a ``problem``."""
        time.sleep(_PAUSE_S)
        steps_s: list[float] = self._ask({"steps": steps, "limit_s": limit_s}).get("steps_s", [])
        return steps_s

    def _ask(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the answer, or that there is none, says what is wrong
            print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"problem": "failed: the process has ended"}
        self.problem = answer.pop("problem", "")
        if self.problem.startswith("failed"):
            print(self._told.read_text(encoding="utf-8")[-2000:], file=sys.stderr, flush=True)
        return answer

    def end(self) -> None:
        """The process is no more."""
        try:
            self._process.communicate(timeout=_END_WITHIN_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()


def compare(subject: str, variants: Sequence[str], setting: Setting) -> Result:
    """Each variant's steps over all rounds of all sittings; the first variant is the bare one.

    Raises: RuntimeError: the bare one failed.
    """
    results = {name: Blocks(variant=name) for name in variants}
    facts: dict[str, Any] = {}
    steps = 0
    for sitting in range(setting.sittings):
        working = [blocks.variant for blocks in results.values() if not blocks.problem]
        with _workers(subject, working, setting) as workers:
            facts = _first_answers(workers, results)
            trial_s = median(_block_of_bare(workers, _FEWEST_STEPS))
            steps = steps or max(_FEWEST_STEPS, min(_MOST_STEPS, round(setting.block_s / trial_s)))
            for number in range(setting.rounds):
                _round(workers, results, steps, _SLOWEST * steps * trial_s, seed=sitting * setting.rounds + number)
    return Result(
        argument=subject,
        subject=facts["name"],
        what=facts["what"],
        calls=facts["calls"],
        steps_per_block=steps,
        variants=list(results.values()),
    )


@contextlib.contextmanager
def _workers(subject: str, variants: Sequence[str], setting: Setting) -> Iterator[list[Worker]]:
    with TemporaryDirectory(prefix="auditor-bench-") as scratch, contextlib.ExitStack() as stack:
        workers = []
        for number, variant in enumerate(variants):
            workers.append(Worker(subject, variant, setting, Path(scratch) / str(number)))
            stack.callback(workers[-1].end)
        yield workers


def _first_answers(workers: list[Worker], results: dict[str, Blocks]) -> dict[str, Any]:
    """What the bare worker says of the subject, once all are ready; those with a problem are gone.

    All load torch at once, and prepare one after the other: threads of several at once would wait for one another.
    """
    answers = {worker.variant: worker.prepare() for worker in workers}
    _drop_failed(workers, results)
    return answers[BARE]


def _block_of_bare(workers: list[Worker], steps: int) -> list[float]:
    return next(worker for worker in workers if worker.variant == BARE).block(steps, float("inf"))


def _round(workers: list[Worker], results: dict[str, Blocks], steps: int, limit_s: float, *, seed: int) -> None:
    """A block of each, in an order of its own, which is the same in every run; limit_s: of a block."""
    order = list(workers)
    random.Random(seed).shuffle(order)
    for worker in order:
        results[worker.variant].blocks.append(worker.block(steps, limit_s))
    _drop_failed(workers, results)


def _drop_failed(workers: list[Worker], results: dict[str, Blocks]) -> None:
    for worker in [worker for worker in workers if worker.problem]:
        if worker.variant == BARE:
            raise RuntimeError(f"without the bare steps there is nothing to compare with: {worker.problem}")
        workers.remove(worker)
        results[worker.variant] = Blocks(variant=worker.variant, problem=worker.problem)
