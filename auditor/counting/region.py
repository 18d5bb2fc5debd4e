"""Counting a block of code, without a ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from auditor.counting.compiled import UNSEEN, compiled_graphs
from auditor.counting.dispatch import DispatchCounter
from auditor.counting.steps import StepClock
from auditor.formulas import Pricer
from auditor.operations import Operations
from auditor.tally import Purpose, Tally, merge


class Counted:
    """What a block has executed so far; it can be asked inside the block and after it."""

    def __init__(self, counter: DispatchCounter, clock: StepClock) -> None:
        self._counter = counter
        self._clock = clock
        self._pricer = Pricer()
        self._tally = Tally({})

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self._clock.steps

    @property
    def tally(self) -> Tally:
        """Operators, arguments and calls."""
        self._tally = merge([(self._tally, 1), (self._counter.take(), 1)])
        return self._tally

    @property
    def operations(self) -> Operations:
        """What they cost: ``.total``, ``.by_phase``, ``.by_family``, ``.by_precision``.

        Where torch.compile has compiled anything in this process, what it fused is not seen, and named as unpriced.
        """
        operations = self._pricer.price(self.tally)
        graphs = compiled_graphs()
        return (
            dataclasses.replace(operations, unpriced={**operations.unpriced, UNSEEN: graphs}) if graphs else operations
        )

    @property
    def unpriced(self) -> Mapping[str, int]:
        """Operators without a price, and their calls: while there are any, the total is a lower bound."""
        return self.operations.unpriced


@contextmanager
def count(purpose: Purpose = Purpose.PRE_TRAINING) -> Iterator[Counted]:
    """Count every operator that runs inside the block, on this thread and on threads begun in it.

    ::

        with auditor.count() as counted:
            model(batch).backward()
        counted.operations.total
    """
    counter = DispatchCounter(purpose=purpose)
    clock = StepClock(counter.phases)
    counter.attach()
    clock.attach()
    try:
        yield Counted(counter, clock)
    finally:
        clock.detach()
        counter.detach()
