"""Counting a block of code, without a ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from auditor.counting import compiled
from auditor.counting.attachment import attach, detach
from auditor.counting.counter import Counter, open_counter
from auditor.counting.dispatch import DispatchCounter
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


def _open(purpose: Purpose, kind: CounterKind, *, simulated: bool) -> Counter:
    if not simulated:
        return open_counter(kind, purpose=purpose)
    if kind is CounterKind.NATIVE:
        raise UsageError(
            "count(simulated=True, counter='native'): the native counter does not see what is only traced",
            remedy="Leave the counter out: the portable one counts.",
        )
    return DispatchCounter(purpose=purpose, simulates=True)


@contextmanager
def count(
    purpose: Purpose = Purpose.PRE_TRAINING,
    counter: CounterKind | str = CounterKind.AUTO,
    *,
    simulated: bool = False,
) -> Iterator[Counted]:
    """Count every operator that runs inside the block.

    The native counter sees every thread; the portable one (``dispatch``) this one and those begun inside.

    simulated: count what is only traced, on fake and meta tensors, in the place of what is executed: what a run would
    come to whose tensors need no memory. No ledger takes that.
    Raises: UsageError: there is no such counter, or none that simulates.

    ::

        with auditor.count() as counted:
            model(batch).backward()
        counted.operations.total
    """
    opened = _open(purpose, _kind(counter), simulated=simulated)
    clock = StepClock(opened.phases)
    attach(opened, clock)
    try:
        yield Counted(opened, clock)
    finally:
        detach(opened, clock)
