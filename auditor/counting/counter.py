"""What every counter of operators does, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Protocol

from auditor.counting.devices import Replays
from auditor.counting.dispatch import DispatchCounter
from auditor.counting.graphs import Calls
from auditor.counting.native import NativeCounter
from auditor.counting.phases import Phases
from auditor.ending import Catcher
from auditor.errors import NativeUnavailable
from auditor.tally import CounterKind, Purpose, Tally

# What was counted between two moments, under the purpose of the time; the tally is worked out when it is called.
Cut = Callable[[], Tally]


class Counter(Protocol):
    """Counts operators while attached; every implementation gives the same tally."""

    name: str
    sees_all_threads: bool
    purpose: Purpose
    due: bool
    catcher: Catcher | None  # of signals, in C; None where it has none

    @property
    def phases(self) -> Phases:
        """Which phase the training is in."""

    @property
    def attached(self) -> bool:
        """Whether operators are being counted."""

    @property
    def idle(self) -> bool:
        """Whether no thread is inside of an operator that is not noted yet, as far as it can tell."""

    def attach(self) -> None:
        """From now on operators are counted."""

    def detach(self) -> None:
        """Nothing is counted any more; what was counted can still be taken."""

    def take(self) -> Tally:
        """What was counted since the last time."""

    def cut(self) -> Cut | None:
        """What was counted since the last time, to be worked out on any thread; None where there is nothing."""

    def peek(self) -> Tally:
        """What this thread has counted; it stays to be taken."""

    def forget(self) -> None:
        """Drop what was counted; for a forked child, whose parent keeps it."""

    def hidden(self) -> AbstractContextManager[None]:
        """What this thread runs inside is not noted."""

    def set_aside(self) -> None:
        """What is noted from now on does not count."""

    def taken_aside(self) -> Calls:
        """What was noted since `set_aside`; from now on everything counts again."""

    @property
    def measures_for(self) -> Hashable:
        """For whom is measured what it hears of: counters of one kind may share it."""

    @property
    def hides(self) -> bool:
        """Whether what this thread runs is not noted."""

    def note_replay(self, calls: Calls, replays: Replays | None = None) -> None:
        """Add executed calls, or leave them to the device that counts them, unless what this thread runs is hidden."""

    def note_calls(self, calls: Calls) -> None:
        """Add executed calls on this thread."""


def open_counter(
    kind: CounterKind,
    *,
    purpose: Purpose = Purpose.PRE_TRAINING,
    on_error: Callable[[Exception], None] | None = None,
    on_due: Callable[[], None] | None = None,
    on_fallback: Callable[[NativeUnavailable], None] | None = None,
) -> Counter:
    """A counter, not attached yet.

    on_error: called with the exception where counting a call failed; the call itself has been executed.
    on_due: called on a counting thread after the next operator, once the counter's ``due`` is set.
    on_fallback: called where the portable counter stands in for the native one.
    Raises: NativeUnavailable: the native counter was asked for by name and is not to be had.
    """
    if kind is not CounterKind.DISPATCH:
        try:
            return NativeCounter(purpose=purpose, on_error=on_error, on_due=on_due)
        except NativeUnavailable as error:
            if kind is CounterKind.NATIVE:
                raise
            if on_fallback is not None:
                on_fallback(error)
    return DispatchCounter(purpose=purpose, on_error=on_error, on_due=on_due)
