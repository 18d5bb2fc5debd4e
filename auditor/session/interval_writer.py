"""What the recorder's thread writes of a session: intervals, and whatever went wrong in counting, each thing once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.console import say
from auditor.counting import compiled, devices
from auditor.errors import CountingError, KeyFileError
from auditor.formulas import Pricer
from auditor.hardware.coverage import EVENT
from auditor.records import Updates
from auditor.tally import Tally, factor
from auditor.units import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.counting.counter import Cut
    from auditor.counting.coverage import Sampler, WorkedOut
    from auditor.counting.updates import Looked
    from auditor.ledger import SegmentBook
    from auditor.session.genesis import KeyWatch


class IntervalWriter:
    """Prices what was counted and writes it, with its problems beside it.

    ``on_error``: is told of a formula that fails, which only a strict session minds.
    """

    def __init__(self, sampler: Sampler | None, *, on_error: Callable[[CountingError], None]) -> None:
        self.key_watch: KeyWatch | None = None  # there is one when the segment has been begun
        self._pricer = Pricer()
        self._sampler = sampler
        self._on_error = on_error
        self._told: set[str] = set()

    def interval(self, book: SegmentBook, first: int, steps: int, elapsed_us: int, cut: Cut | None) -> None:
        """The steps from ``first`` on and what was counted in them are written, ``elapsed_us`` after the start."""
        self._follow_key(book)
        tally = cut() if cut is not None else Tally({})
        book.record_interval(
            first_step=first,
            steps=steps,
            elapsed_us=elapsed_us,
            parts=factor(tally, steps),
            price=self._pricer.price,
        )
        if self._sampler is not None:
            self._sampler.note(tally, self._pricer.price(tally))
        self.problems(book)

    def problems(self, book: SegmentBook) -> None:
        """What went wrong in counting is written, each thing once."""
        for op, problem in self._pricer.problems.items():
            message = f"the formula of {op} failed: {problem}"
            if self.once(book, "formula", message, key=f"formula {op}"):
                self._on_error(CountingError(message))
        for what in compiled.unseen():
            message = f"{what} has compiled parts of this run: what it computes in kernels of its own is not counted"
            self.once(book, "compiled", message, key=what)
        for what, told in devices.problems().items():
            self.once(book, "device", told.message, key=what, lower_bound=told.lower_bound)

    def updated(self, book: SegmentBook, step: int, looked: Looked) -> None:
        """What a step of an optimizer updated is written, ``step`` steps after the segment began."""
        operations = self._pricer.price(looked.calls)
        book.updates(
            Updates(
                number=looked.number,
                optimizer=looked.optimizer,
                step=step,
                operations=wire(operations.total) if operations.complete else "",
                parts=looked.parts,
            )
        )

    def coverage(self, book: SegmentBook, work_out: WorkedOut) -> None:
        """What a profiled step showed is written."""
        try:
            found = work_out()
        except Exception as error:  # noqa: BLE001 - a profile that cannot be read is none
            self.once(book, "coverage", f"the profile of a step could not be read: {error}", lower_bound=False)
            return
        for device, coverage in found.items():
            book.hardware(EVENT, device, coverage.to_mapping())
            if coverage.suspect:
                self.once(book, "coverage", coverage.told, key="uncovered")

    def once(self, book: SegmentBook, cause: str, message: str, key: str = "", *, lower_bound: bool = True) -> bool:
        """The gap is said and written, if it was not before; answers whether it was not."""
        if (key or message) in self._told:
            return False
        self._told.add(key or message)
        say(message)
        book.gap(cause, message, lower_bound=lower_bound)
        return True

    def _follow_key(self, book: SegmentBook) -> None:
        """Sign with the follower of the key, where the key was rotated."""
        try:
            if self.key_watch is not None:
                self.key_watch.check(book)
        except KeyFileError as error:
            message = f"the signing key was changed and cannot be followed: {error}; the earlier key signs on"
            self.once(book, "ledger", message, key="key", lower_bound=False)
