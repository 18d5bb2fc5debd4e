"""The intervals of a segment, checked many at a time: they follow one another and refer to tallies that are there."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid
from auditor.ledger.curve import Curve, NoCurve
from auditor.lines import read_tallies
from auditor.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.records import Folded

_MOST_CHECKED = 4096

Row = tuple[bytes, ...]  # time, first step, steps, elapsed time and tallies, as `FREQUENT` finds them


class RowRefused(LedgerInvalid):
    """An interval is false; ``index`` tells which of those that were added together."""

    def __init__(self, index: int, cause: str) -> None:
        super().__init__(cause)
        self.index = index


class _Columns(NamedTuple):
    """Intervals that follow one another, by field; ``ends``: steps done before each, and after the last."""

    times_us: Sequence[bytes]
    first_steps: list[int]
    ends: list[int]
    elapsed_us: list[int]
    tallies: Sequence[bytes]


class Intervals:
    """What the intervals so far come to, in steps and time, and the curve of their tallies."""

    def __init__(self, most_points: int) -> None:
        """``most_points``: of the curve that is kept; with 0 none is."""
        self.curve = Curve(most_points) if most_points else NoCurve()
        self.steps = 0
        self.elapsed_us = 0
        self.number = 0  # of those that refer to tallies
        self.time_us = 0  # of the last of them
        self.folded = Operations.none()
        self.num_folded = 0
        self._checked: set[bytes] = set()  # tallies, as they are written, that are known to be sound

    def add(self, rows: Sequence[Row], num_tallies: int) -> None:
        """All rows are added; ``num_tallies``: how many there are to refer to.

        Raises: RowRefused: one does not follow; those before it are added.
        """
        columns = _columns(rows, self.steps)
        if self._is_sound(columns, num_tallies):
            self._append(columns)
            return
        index, cause = self._first_fault(columns, num_tallies)
        if index:
            self._append(_columns(rows[:index], self.steps))
        raise RowRefused(index, cause)

    def add_folded(self, body: Folded, operations: Operations, time_us: int) -> None:
        """An interval of amounts without tallies is added.

        Raises: LedgerInvalid: it does not follow.
        """
        cause = self._course_fault(body.first_step, self.steps, body.elapsed_us, self.elapsed_us)
        if cause or body.steps < 0:
            raise LedgerInvalid(cause or f"an interval of {body.steps} steps")
        self.curve.add_folded(body, operations, time_us)
        self.folded = self.folded + operations
        self.num_folded += 1
        self.steps += body.steps
        self.elapsed_us = body.elapsed_us

    def _append(self, columns: _Columns) -> None:
        self.curve.extend(*columns)
        self.number += len(columns.tallies)
        self.steps = columns.ends[-1]
        self.elapsed_us = columns.elapsed_us[-1]
        self.time_us = int(columns.times_us[-1])

    def _is_sound(self, columns: _Columns, num_tallies: int) -> bool:
        """Whether all of them follow: what `_first_fault` asks of each, of whole columns."""
        in_order = columns.first_steps == [end + 1 for end in columns.ends[:-1]]
        times = [self.elapsed_us, *columns.elapsed_us]
        return in_order and times == sorted(times) and self._are_known(set(columns.tallies), num_tallies)

    def _are_known(self, texts: set[bytes], num_tallies: int) -> bool:
        new = texts - self._checked
        if any(_tallies_fault(text, num_tallies) for text in new):
            return False
        if len(self._checked) + len(new) > _MOST_CHECKED:
            self._checked.clear()
        self._checked |= new
        return True

    def _first_fault(self, columns: _Columns, num_tallies: int) -> tuple[int, str]:
        before_us = self.elapsed_us
        for index, text in enumerate(columns.tallies):
            first_step, elapsed_us = columns.first_steps[index], columns.elapsed_us[index]
            cause = self._course_fault(first_step, columns.ends[index], elapsed_us, before_us)
            cause = cause or _tallies_fault(text, num_tallies)
            if cause:
                return index, cause
            before_us = elapsed_us
        raise AssertionError("columns that are not sound have a fault")

    @staticmethod
    def _course_fault(first_step: int, steps: int, elapsed_us: int, before_us: int) -> str:
        if first_step != steps + 1:
            return f"the interval begins at step {first_step}, expected {steps + 1}"
        return "the interval ends before the one before it" if elapsed_us < before_us else ""


def _columns(rows: Sequence[Row], steps: int) -> _Columns:
    times_us, first_steps, each, elapsed_us, tallies = zip(*rows, strict=True)
    ends = list(accumulate(map(int, each), initial=steps))
    return _Columns(times_us, list(map(int, first_steps)), ends, list(map(int, elapsed_us)), tallies)


def _tallies_fault(text: bytes, num_tallies: int) -> str:
    numbers = [number for number, _ in read_tallies(text)]
    if len(set(numbers)) == len(numbers) and all(number < num_tallies for number in numbers):
        return ""
    return "the interval refers to a tally that does not stand before it, or twice to one"
