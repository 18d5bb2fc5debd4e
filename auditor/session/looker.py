"""A thread of the auditor's own that looks now and then, and once more at the end."""

from __future__ import annotations

import abc
import contextlib
import threading

from auditor import threads


class Looker(abc.ABC):
    """Begins, is asked to look, and is waited for; `_work` is the thread, from its beginning to its end."""

    def __init__(self, name: str) -> None:
        """``name``: of the thread."""
        self._silent = False  # the record is closed: what comes now comes too late
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to look; where no thread can be had (an interpreter that ends), nobody looks here."""
        with contextlib.suppress(RuntimeError):
            threads.start(self._thread)

    def ask(self) -> None:
        """Look soon: there is something new."""
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Whether the last look was taken within that time; where not, it is left to itself."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._silent = self._thread.is_alive()
        return not self._silent

    @abc.abstractmethod
    def _work(self) -> None: ...
