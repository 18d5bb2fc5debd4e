"""How long a step takes bare and under each counter: blocks that take turns, compared round by round."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import torch
from subjects import Subject, calls_per_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

_MOST_STEPS = 400
_FEWEST_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to run the steps. ``around`` makes a new context for each block of them."""

    name: str
    around: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext


BARE = Variant(name="bare")
BARE_AGAIN = Variant(name="bare again")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some steps of one variant, and what entering and leaving its context took."""

    enter_s: float
    steps_s: list[float]
    leave_s: float


@dataclass(kw_only=True)
class Blocks:
    """What one variant took, one block a round, beside the bare blocks of the same rounds."""

    variant: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def step_s(self) -> float:
        """The median step."""
        return median(step for block in self.blocks for step in block.steps_s)

    def ratios_to(self, bare: Blocks) -> list[float]:
        """This variant's median step over the bare one's, for each round."""
        return [mine_s / bare_s for mine_s, bare_s in self._pairs(bare)]

    def excess_s(self, bare: Blocks) -> float:
        """How much longer than the bare one of its round a step takes: the median over the rounds."""
        return median(mine_s - bare_s for mine_s, bare_s in self._pairs(bare))

    def _pairs(self, bare: Blocks) -> list[tuple[float, float]]:
        pairs = zip(self.blocks, bare.blocks, strict=True)
        return [(median(mine.steps_s), median(theirs.steps_s)) for mine, theirs in pairs]


@dataclass(frozen=True, kw_only=True)
class Result:
    """All variants over one subject."""

    subject: str
    what: str
    calls: int
    steps_per_block: int
    variants: list[Blocks]

    @property
    def bare(self) -> Blocks:
        """The blocks that all are compared with."""
        return self.variants[0]

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
        ratios = blocks.ratios_to(self.bare)
        return {
            "variant": blocks.variant,
            "median_step_s": blocks.step_s,
            "excess_per_operator_s": blocks.excess_s(self.bare) / self.calls,
            "ratio": {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)},
            "rounds": [asdict(block) for block in blocks.blocks],
        }


def compare(
    subject: Subject, variants: Iterable[Variant], device: torch.device, *, rounds: int, block_s: float
) -> Result:
    """Each variant's steps over ``rounds`` rounds; a block holds as many steps as take ``block_s`` bare."""
    finish = torch.cuda.synchronize if device.type == "cuda" else _nothing
    order = [BARE, *variants, BARE_AGAIN]
    calls = calls_per_step(subject)
    run_block(subject, BARE, 2, finish)  # the first steps allocate
    trial_s = median(run_block(subject, BARE, _FEWEST_STEPS, finish).steps_s)
    steps = max(_FEWEST_STEPS, min(_MOST_STEPS, round(block_s / trial_s)))
    results = {variant.name: Blocks(variant=variant.name) for variant in order}
    for number in range(rounds):
        # There and back again: what drifts during a round cancels out over two.
        for variant in order if number % 2 == 0 else reversed(order):
            results[variant.name].blocks.append(run_block(subject, variant, steps, finish))
    return Result(
        subject=subject.name,
        what=subject.what,
        calls=calls,
        steps_per_block=steps,
        variants=list(results.values()),
    )


def run_block(subject: Subject, variant: Variant, steps: int, finish: Callable[[], None]) -> Block:
    """Enter the variant, run one step that is not timed and then ``steps`` that are, leave."""

    def step() -> None:
        subject.step()
        finish()

    finish()
    with contextlib.ExitStack() as stack:
        enter_s = _timed(lambda: stack.enter_context(variant.around()))
        step()
        steps_s = [_timed(step) for _ in range(steps)]
        leave_s = _timed(stack.close)
    return Block(enter_s=enter_s, steps_s=steps_s, leave_s=leave_s)


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _nothing() -> None:
    """A CPU has finished when the call returns."""
