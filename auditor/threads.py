"""Threads of the auditor's own: what is sent to the process is left to the threads of the training."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_OF_THE_THREAD = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")  # its own mistakes
_OF_THE_PROCESS = signal.valid_signals() - {getattr(signal, name) for name in _OF_THE_THREAD}


def start(thread: threading.Thread) -> None:
    """The thread runs, is not counted, and takes no signal: one that a script blocks must stay pending for it.

    Raises: RuntimeError: no thread can be had.
    """
    thread.auditor_uncounted = True  # type: ignore[attr-defined]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PROCESS)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def as_any_other() -> Iterator[None]:
    """Inside, a process that such a thread starts inherits no blocked signals."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
