"""Counting a block of code, without a ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from auditor.counting import compiled
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

        Graphs compiled by another backend than torch's own are named as unpriced, since it may compute unseen.
        """
        operations = self._pricer.price(self.tally)
        return dataclasses.replace(operations, unpriced={**operations.unpriced, **compiled.unseen()})

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
    compiled.attach(counter)
    clock.attach()
    try:
        yield Counted(counter, clock)
    finally:
        clock.detach()
        compiled.detach(counter)
        counter.detach()
