"""Counting a block of code, without a ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from auditor.counting import compiled
from auditor.counting.attachment import attach, detach
from auditor.counting.counter import Counter, open_counter
from auditor.counting.steps import StepClock
from auditor.errors import UsageError
from auditor.formulas import Pricer
from auditor.operations import Operations
from auditor.tally import CounterKind, Purpose, Tally, merge


class Counted:
    """What a block has executed so far; it can be asked inside the block and after it."""

    def __init__(self, counter: Counter, clock: StepClock) -> None:
        self._counter = counter
        self._clock = clock
        self._pricer = Pricer()
        self._tally = Tally({})

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        self._clock.settle()
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


def _kind(counter: CounterKind | str) -> CounterKind:
    try:
        return CounterKind(counter)
    except ValueError:
        known = ", ".join(map(repr, map(str, CounterKind)))
        raise UsageError(f"count(counter=...): expected one of {known}, got {counter!r}") from None


@contextmanager
def count(purpose: Purpose = Purpose.PRE_TRAINING, counter: CounterKind | str = CounterKind.AUTO) -> Iterator[Counted]:
    """Count every operator that runs inside the block.

    The native counter sees every thread; the portable one (``dispatch``) this one and those begun inside.

    ::

        with auditor.count() as counted:
            model(batch).backward()
        counted.operations.total
    """
    opened = open_counter(_kind(counter), purpose=purpose)
    clock = StepClock(opened.phases)
    attach(opened, clock)
    try:
        yield Counted(opened, clock)
    finally:
        detach(opened, clock)
