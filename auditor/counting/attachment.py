"""A counter with what tells it of things that it does not see by itself: compiled code, captured graphs, steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.counting import captured, compiled

if TYPE_CHECKING:
    from auditor.counting.counter import Counter
    from auditor.counting.steps import StepClock


def attach(counter: Counter, clock: StepClock) -> None:
    """From now on the counter counts, however the code runs, and the clock ticks.

    Raises: CountingError: the counter cannot be attached.
    """
    counter.attach()
    compiled.attach(counter)
    captured.attach(counter)
    clock.attach()


def detach(counter: Counter, clock: StepClock) -> None:
    """Nothing more is counted; in the order that undoes `attach`."""
    clock.detach()
    captured.detach(counter)
    compiled.detach(counter)
    counter.detach()
