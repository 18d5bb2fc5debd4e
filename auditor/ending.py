"""Notice of a signal that is about to end the process, and then its end, by that signal, as it would have been.

Preemption ends a rank by SIGTERM, and so does torchrun where another rank has failed; by default the process is gone
at once, and what it had not yet written with it. Here it is given a moment first. Nothing that a script sees changes:
what `signal.getsignal` says, which handlers it sets (its own take the place of this), and how the process ends. So no
handler of Python's is set, and none would do: it runs on the main thread, and not while that waits for other ranks.
`faulthandler` has one that runs in C, on any thread, and writes to a file what the thread is doing; the file is a pipe,
and a thread of ours waits at its other end.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import selectors
import signal
import threading
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_WITHIN_S = 5.0  # of the 10 to 30 that schedulers give

Notice = Callable[[int], object]


class _Notifier:
    """The pipes of this process, the thread that waits for them, and who is to be told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: list[Notice] = []
        self._handlers: dict[int, int] = {}  # by signal, the address of ours
        self._pipes: dict[int, tuple[int, int]] = {}  # by signal, the end that is read and the one that is written

    def add(self, notice: Notice) -> None:
        with self._lock:
            self._notices.append(notice)
            if len(self._notices) == 1 and os.getpid() != 1:  # the first of a container's is not ended by a default
                self._begin()

    def remove(self, notice: Notice) -> None:
        with self._lock:
            if notice in self._notices:
                self._notices.remove(notice)
            if not self._notices:
                self.restore()

    def _begin(self) -> None:
        if not self._pipes:
            self._pipes = {number: _pipe() for number in _SIGNALS}
            _start(self._wait)
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL and _handler(number) == 0:
                faulthandler.register(number, file=self._pipes[number][1], all_threads=False, chain=False)
                self._handlers[number] = _handler(number)

    def restore(self) -> None:
        """Each signal does again what it did, unless somebody has given it another handler since."""
        for number in _SIGNALS:  # two threads may be here at once
            ours = self._handlers.pop(number, None)
            if ours is not None and _handler(number) == ours:
                faulthandler.unregister(number)

    def forget(self) -> None:
        """In a forked child: its signals are its own."""
        self.restore()
        for descriptor in (end for ends in self._pipes.values() for end in ends):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._lock, self._notices, self._pipes = threading.Lock(), [], {}

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for number, (told, _) in self._pipes.items():
                selector.register(told, selectors.EVENT_READ, number)
            number = int(selector.select()[0][0].data)
        # Often the same comes twice, to the whole group and passed on by a launcher: it waits as the first does.
        _start(self._tell, number).join(_WITHIN_S)
        self.restore()
        os.kill(os.getpid(), number)

    def _tell(self, number: int) -> None:
        for notice in self._notices[::-1]:
            with contextlib.suppress(Exception):  # the process ends, whatever they do
                notice(number)


def _pipe() -> tuple[int, int]:
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    return told, tells


def _start(target: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="auditor-ending", daemon=True)
    thread.auditor_uncounted = True  # type: ignore[attr-defined]
    thread.start()
    return thread


def _handler(number: int) -> int:
    """The address of the function that a signal runs; 0 is the default, 1 that it is ignored."""
    return int(_getsig(number) or 0)


_getsig = ctypes.pythonapi.PyOS_getsig
_getsig.argtypes, _getsig.restype = [ctypes.c_int], ctypes.c_void_p
_notifier = _Notifier()


def before_signal(notice: Notice) -> None:
    """From now on ``notice`` is called, on its own thread and with the number, before a signal ends the process."""
    _notifier.add(notice)


def no_notice(notice: Notice) -> None:
    """``notice`` is not called any more."""
    _notifier.remove(notice)


os.register_at_fork(after_in_child=_notifier.forget)
