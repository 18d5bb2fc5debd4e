"""Notice of a signal that is about to end the process, and then its end, by that signal, as it would have been.

Preemption ends a rank by SIGTERM, and so does torchrun where another rank has failed; by default the process is gone
at once, and what it had not yet written with it. Here it is given a moment first. Nothing that a script sees changes:
what `signal.getsignal` says, which handlers it sets (its own take the place of this), and how the process ends. So no
handler of Python's is set, and none would do: it runs on the main thread, and not while that waits for other ranks.
The handler runs in C, on any thread, and wakes a thread of ours. The native counter's library has one, and a guard that
ends the process where Python's interpreter is not to be had in time (`native_ending.cpp`); without it `Pipes` serve.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from auditor import threads

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_WITHIN_S = 5.0  # of the 10 to 30 that schedulers give
_GUARDED_WITHIN_S = 5.5  # what the guard gives: the signal came before we heard of it
_LOOK_EVERY_S = 1.0
_MOST_TOLD_BYTES = 2**16  # what a pipe holds

Notice = Callable[[int], object]


class Catcher(Protocol):
    """Catches signals in C, and lets a thread wait for the one that comes."""

    def catch_signals(self, numbers: tuple[int, ...], within_s: float, /) -> None:
        """Those that end the process by default are caught; a guard, if there is one, ends it after so long."""

    def caught_signal(self) -> int:
        """The signal that has come, once one has; 0 where none can be caught any more."""

    def release_signals(self) -> None:
        """Each does again what it did, unless somebody has given it another handler since."""

    def forget_signals(self) -> None:
        """As `release_signals`, in a forked child, where nobody waits."""


class Pipes:
    """Signals caught by `faulthandler`, whose handler writes to a file what the thread is doing: here, to a pipe."""

    def __init__(self) -> None:
        self._pipes: dict[int, _Pipe] = {}  # by signal
        self._handlers: dict[int, int] = {}  # by signal, the address of ours

    def catch_signals(self, numbers: tuple[int, ...], _within_s: float, /) -> None:
        """As `Catcher` has it; nothing guards the end."""
        for number in numbers:
            pipe = self._pipes.setdefault(number, _Pipe())
            if signal.getsignal(number) is signal.SIG_DFL and _handler(number) == 0:
                faulthandler.register(number, file=pipe.tells, all_threads=False, chain=False)
                self._handlers[number] = _handler(number)

    def caught_signal(self) -> int:
        """As `Catcher` has it; 0 where a script has closed descriptors that it did not open."""
        pipes = {pipe.told: number for number, pipe in self._pipes.items()}
        poll = select.poll()  # which has no descriptor itself
        for told in pipes:
            poll.register(told, select.POLLIN)
        ready: list[tuple[int, int]] = []
        while all(pipe.is_whole() for pipe in self._pipes.values()):
            if ready:
                os.read(ready[0][0], _MOST_TOLD_BYTES)
                return pipes[ready[0][0]]
            ready = poll.poll(_LOOK_EVERY_S * 1000)
        self.release_signals()
        return 0

    def release_signals(self) -> None:
        """As `Catcher` has it."""
        for number in list(self._handlers):  # two threads may be here at once
            ours = self._handlers.pop(number, None)
            if ours is not None and _handler(number) == ours:
                faulthandler.unregister(number)

    def forget_signals(self) -> None:
        """As `Catcher` has it."""
        self.release_signals()
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes = {}


class _Pipe:
    """Two ends of a pipe, and whether they still are."""

    def __init__(self) -> None:
        self.told, self.tells = os.pipe()
        os.set_blocking(self.tells, False)
        self._identity = self._look()

    def is_whole(self) -> bool:
        """Whether nobody has closed it, and perhaps opened something else in its place."""
        return self._look() == self._identity

    def close(self) -> None:
        """Both ends are closed, where they are still its own."""
        if self.is_whole():
            os.close(self.told)
            os.close(self.tells)

    def _look(self) -> list[tuple[int, int]]:
        with contextlib.suppress(OSError):
            return [(status.st_dev, status.st_ino) for status in map(os.fstat, (self.told, self.tells))]
        return []


class _Notifier:
    """Who catches the signals of this process, the thread that waits for one, and who is to be told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: list[Notice] = []
        self._catcher: Catcher | None = None

    def add(self, notice: Notice, catcher: Catcher | None) -> None:
        with self._lock:
            self._notices.append(notice)
            if len(self._notices) == 1 and os.getpid() != 1:  # the first of a container's is not ended by a default
                self._begin(catcher)

    def remove(self, notice: Notice) -> None:
        with self._lock:
            if notice in self._notices:
                self._notices.remove(notice)
            if not self._notices and self._catcher is not None:
                self._catcher.release_signals()

    def _begin(self, catcher: Catcher | None) -> None:
        """The first catcher stays: a thread waits for it. Where the system gives it nothing, signals are left alone."""
        chosen = self._catcher or catcher or Pipes()
        with contextlib.suppress(OSError, RuntimeError):
            chosen.catch_signals(_SIGNALS, _GUARDED_WITHIN_S)
            if self._catcher is None:
                _start(self._wait, chosen)
                self._catcher = chosen

    def forget(self) -> None:
        """In a forked child: its signals are its own."""
        if self._catcher is not None:
            self._catcher.forget_signals()
        self._lock, self._notices, self._catcher = threading.Lock(), [], None

    def _wait(self, catcher: Catcher) -> None:
        while number := catcher.caught_signal():
            # Often the same comes twice, to the whole group and passed on by a launcher: it waits as the first does.
            _start(self._tell, number).join(_WITHIN_S)
            catcher.release_signals()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))  # every other thread may have it blocked by now
            os.kill(os.getpid(), number)
        with self._lock:
            self._catcher = None

    def _tell(self, number: int) -> None:
        for notice in self._notices[::-1]:
            with contextlib.suppress(Exception):  # the process ends, whatever they do
                notice(number)


def _start(target: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="auditor-ending", daemon=True)
    threads.start(thread)
    return thread


def _handler(number: int) -> int:
    """The address of the function that a signal runs; 0 is the default, 1 that it is ignored."""
    return int(_getsig(number) or 0)


_getsig = ctypes.pythonapi.PyOS_getsig
_getsig.argtypes, _getsig.restype = [ctypes.c_int], ctypes.c_void_p
_notifier = _Notifier()


def before_signal(notice: Notice, catcher: Catcher | None = None) -> None:
    """From now on ``notice`` is called, on its own thread and with the number, before a signal ends the process."""
    _notifier.add(notice, catcher)


def no_notice(notice: Notice) -> None:
    """``notice`` is not called any more."""
    _notifier.remove(notice)


os.register_at_fork(after_in_child=_notifier.forget)
