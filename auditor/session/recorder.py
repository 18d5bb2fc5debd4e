"""Writes the ledger on a thread of its own: the training thread neither prices nor hashes, signs or syncs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from auditor import threads
from auditor.errors import AuditorError, LedgerUnwritable
from auditor.ledger import SegmentBook

Task = Callable[[SegmentBook], object]
_STOP_WITHIN_S = 2.0
_LOAD_WITHIN_S = 60.0  # on a busy machine loading alone can take half of that, and a record lost is worse than a wait
_JOIN_S = 0.05
_TICK_S = 1.0


class Recorder:
    """Takes tasks in order and carries them out on the book, which is opened at the first of them.

    open_book: called on the recorder's thread. prepare: called there first. tick: called there about once a second.
    on_failure: called once, on the recorder's thread, with the error after which nothing more is written.
    """

    def __init__(
        self,
        open_book: Callable[[], SegmentBook],
        *,
        prepare: Callable[[], object],
        sync_every_s: float,
        on_failure: Callable[[AuditorError], None],
        tick: Callable[[], None],
    ) -> None:
        self.failed: AuditorError | None = None
        self.book: SegmentBook | None = None
        self._open_book = open_book
        self._prepare = prepare
        self._sync_every_s = sync_every_s
        self._on_failure = on_failure
        self._tick = tick
        self._started = self._submitted = self._held = False
        self._working = threading.Lock()
        self._done = 0  # tasks carried out, loading included
        self._tasks: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="auditor-recorder", daemon=True)

    def start(self) -> None:
        """Begin to carry out tasks; a second call does nothing."""
        if not self._started:
            self._started = True
            threads.start(self._thread)

    def submit(self, task: Task, *, opens: bool = True) -> None:
        """The task will be carried out after those before it; dropped when the ledger has failed.

        opens: where there is no book by then, one is opened for it; otherwise it is dropped.
        """
        if self.failed is None:
            self._submitted = self._submitted or opens
            self._tasks.put(_Waiting(task, opens=opens))

    def turn(self, closes: Callable[[SegmentBook | None], bool]) -> threading.Event:
        """After the tasks before it: where ``closes`` says so of the book, those after it go into another book.

        Returns: what is set once that has been settled, and the book that was closed is on the disk.
        """
        settled = threading.Event()
        if self.failed is None:
            self._tasks.put(_Waiting(_open, opens=False, closes=closes, settled=settled))
        else:
            settled.set()
        return settled

    def open_now(self) -> None:
        """The book is open when this returns, on the calling thread; a failure is told as any other."""
        with self._working:
            self._guarded(_Waiting(_open, opens=True))

    def stop(self) -> bool:
        """Carry out what is left, close the book, and say whether that was done.

        It is given up when nothing moves for two seconds (a dead disk), or for a minute while it is still being loaded.
        Where no thread was started it is done on this one: an interpreter that shuts down starts no more threads.
        """
        self._tasks.put(_LAST)
        if self._started:
            return self._join()
        if self._submitted:
            self._work()
        return True

    def _join(self) -> bool:
        seen, seen_at = -1, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(_JOIN_S)
            now = time.monotonic()
            if self._done != seen:
                seen, seen_at = self._done, now
            if now - seen_at > (_STOP_WITHIN_S if self._done else _LOAD_WITHIN_S):
                return False
        return True

    def hold(self) -> None:
        """Let the recorder come to rest before a fork, so that the child inherits no lock it holds; not for ever."""
        self._held = self._working.acquire(timeout=_STOP_WITHIN_S if self._done else _LOAD_WITHIN_S)

    @property
    def held(self) -> bool:
        """Whether the recorder is at rest; a child forked while it is not must not touch what the recorder uses."""
        return self._held

    def release(self) -> None:
        """Go on after a fork, in the parent."""
        if self._held:
            self._held = False
            self._working.release()

    def _work(self) -> None:
        with self._working:
            self._prepare()
        self._done = 1
        synced_at = time.monotonic()
        while True:
            waiting = self._next()
            if waiting is _LAST:
                break
            with self._working:
                self._guarded(waiting)
                if time.monotonic() - synced_at >= self._sync_every_s:
                    self._guarded(_SYNC)
                    synced_at = time.monotonic()
                self._tick()
            self._done += 1
            if waiting is not None and waiting.settled is not None:
                waiting.settled.set()
        self._guarded(_CLOSE)

    def _next(self) -> _Waiting | None:
        try:
            return self._tasks.get(timeout=min(self._sync_every_s or _TICK_S, _TICK_S))
        except queue.Empty:
            return None

    def _guarded(self, waiting: _Waiting | None) -> None:
        """Carry out one task; what goes wrong ends the writing, is told once, and goes no further."""
        if waiting is None or self.failed is not None:
            return
        try:
            if self.book is None and waiting.opens:
                self.book = self._open_book()
            if self.book is not None:
                waiting.task(self.book)
            if waiting.closes is not None and waiting.closes(self.book):
                self.book = None
        except Exception as error:  # noqa: BLE001 - the recorder must never take the training down with it
            failure = error if isinstance(error, AuditorError) else LedgerUnwritable(f"the ledger failed: {error!r}")
            self.failed = failure
            self._on_failure(failure)


class _Waiting(NamedTuple):
    task: Task
    opens: bool
    closes: Callable[[SegmentBook | None], bool] | None = None
    settled: threading.Event | None = None


def _last(_: SegmentBook) -> None:
    """Marks the end of the queue; never carried out."""


def _sync(book: SegmentBook) -> None:
    if book.writer.alive:  # a seal has synced and closed it
        book.sync()


def _open(_: SegmentBook) -> None:
    """What opens the book is that there is a task."""


_LAST = _Waiting(_last, opens=False)
_SYNC = _Waiting(_sync, opens=False)
_CLOSE = _Waiting(SegmentBook.close, opens=False)
