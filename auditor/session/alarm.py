"""Tells of levels that a run passes while it is written, on a thread of its own.

The first rank looks for all: it reads what every process of the run has written into the directory, when an interval
of its own has been written and at the latest after ``interval_s``, and pauses a hundred times as long as that took.
Ranks exchange nothing. Whoever was told of a level is recorded, so that a restart tells nobody twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.config import Settings
from auditor.console import say
from auditor.ledger import SegmentBook
from auditor.session.looker import Looker
from auditor.session.recorder import Task

if TYPE_CHECKING:
    from auditor.warning.lookout import Lookout, Passed
    from auditor.warning.telling import Teller

_SHORTEST_S = 1.0  # between two looks
_SHARE = 100  # a look is followed by a pause of so many times its length


class Alarm(Looker):
    """Looks at the run in ``directory`` until it is finished; ``submit`` takes what is to be written into the book."""

    def __init__(self, submit: Callable[[Task], None], directory: Path, settings: Settings, run_id: str) -> None:
        self._submit = submit
        self._directory = directory
        self._settings = settings
        self._run_id = run_id
        self._end = threading.Event()
        super().__init__("auditor-alarm")

    def finish(self) -> None:
        """Look for the last time, and end; this returns at once."""
        self._end.set()
        self._wake.set()

    def _put(self, task: Task) -> None:
        if not self._silent:
            self._submit(task)

    def _work(self) -> None:
        try:
            lookout, teller = begin(self._settings, self._directory, self._run_id, wait=self._end.wait)
            self._look_on(lookout, teller)
        except Exception as error:  # noqa: BLE001 - nothing of this may reach the training
            not_told(error, self._put)

    def _look_on(self, lookout: Lookout, teller: Teller) -> None:
        while True:
            self._wake.wait(max(self._settings.interval_s, _SHORTEST_S))
            self._wake.clear()
            last = self._end.is_set()
            began_s = time.monotonic()
            found = lookout.look()
            took_s = time.monotonic() - began_s
            for passed in found:
                tell(passed, teller, self._put)
            if last:
                return
            self._end.wait(max(_SHORTEST_S, took_s * _SHARE))


def begin(settings: Settings, directory: Path, run_id: str, *, wait: Callable[[float], bool]) -> tuple[Lookout, Teller]:
    """Who looks, and who tells, as the settings have it.

    Raises: RuleError: packs, answers or levels that do not fit.
    """
    from auditor.warning import lookout, telling  # noqa: PLC0415 - the law takes half a second to load

    looks = lookout.Lookout(directory, run_id, settings.alerts, settings.rules, settings.answers)
    teller = telling.Teller(settings.alert_webhook, settings.alert_command, settings.alert_timeout_s, wait)
    return looks, teller


def tell(passed: Passed, teller: Teller, submit: Callable[[Task], object]) -> None:
    """It is said, told, and written down: that it was told, or, where somebody was to be told and was not, the gap."""
    say(passed.words)
    ways, failed = teller.tell(passed.body)
    if failed:
        message = f"{passed.words}; of that nobody could be told by {'; '.join(failed)}"
        say(message)
        submit(lambda book: book.gap("alert", message, lower_bound=False))
    if ways or not failed:
        submit(lambda book: write(book, passed, ways))


def look_last(settings: Settings, directory: Path, run_id: str, submit: Callable[[Task], object]) -> bool:
    """The command has ended: who was not told yet is told, with one try each; answers whether any level is passed."""
    try:
        lookout, teller = begin(settings, directory, run_id, wait=lambda _: True)
        for passed in lookout.look():
            tell(passed, teller, submit)
    except Exception as error:  # noqa: BLE001 - the end of a run must not fail for this
        not_told(error, submit)
        return False
    return bool(lookout.passed)


def not_told(error: Exception, submit: Callable[[Task], object]) -> None:
    """It is said and written down that levels are not looked at."""
    message = f"nobody is told of the levels that are passed: {error}"
    say(message)
    submit(lambda book: book.gap("alert", message, lower_bound=False))


def write(book: SegmentBook, passed: Passed, ways: list[str]) -> None:
    """The record stands in the book: from now on nobody is told of this level again."""
    book.append(passed.record(ways))
