"""Work on many files spread over processes; what comes back stands in the order of what was given.

Each process has a pipe of its own, so that it ends when whoever started it is killed: no work goes on unseen.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from auditor.errors import AuditorError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


def usable_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, each: int = 1
) -> Iterator[Result]:
    """What the function makes of each item, in their order; ``each``: how many items are handed over at once.

    Here where one process is enough, and where other threads run: a fork would inherit the locks that they hold.
    Raises: AuditorError: what the function raised. LedgerError: a process was ended before it answered.
    """
    workers = min(workers, -(-len(items) // each))
    if workers < 2 or threading.active_count() > 1:
        yield from map(function, items)
        return
    portions = (items[start : start + each] for start in range(0, len(items), each))
    pool = list(_start(function, workers))
    try:
        for results in _in_order([worker.pipe for worker in pool], enumerate(portions)):
            yield from results
    finally:
        for worker in pool:
            worker.pipe.close()
            worker.process.terminate()
        for worker in pool:
            worker.process.join()


def _start(function: Callable[[Item], Result], workers: int) -> Iterator[_Worker]:
    context = multiprocessing.get_context("fork")
    ours: list[Connection] = []
    for _ in range(workers):
        here, there = context.Pipe()
        ours.append(here)
        process = context.Process(target=_serve, args=(function, there, tuple(ours)), daemon=True)
        process.start()
        there.close()
        yield _Worker(process, here)


def _serve(function: Callable[[Item], Result], pipe: Connection, foreign: Iterable[Connection]) -> None:
    """Answers until the other end is closed, by whoever has it or by their death."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for other in foreign:
        other.close()
    while True:
        try:
            number, portion = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = [function(item) for item in portion]
        except AuditorError as error:
            answer = error
        try:
            pipe.send((number, answer))
        except OSError:
            return


def _in_order(pipes: Sequence[Connection], portions: Iterator[tuple[int, Sequence[Any]]]) -> Iterator[Sequence[Any]]:
    """The answers in the order of the portions, each of which goes to whoever has nothing to do."""
    done: dict[int, Sequence[Any]] = {}
    busy = {pipe for pipe in pipes if _hand_over(pipe, portions)}
    for number in itertools.count():
        while number not in done and busy:
            for pipe in [pipe for pipe in wait(busy) if isinstance(pipe, Connection)]:
                answered, answer = _receive(pipe)
                done[answered] = answer
                if not _hand_over(pipe, portions):
                    busy.discard(pipe)
        if number not in done:
            return
        yield done.pop(number)


def _hand_over(pipe: Connection, portions: Iterator[tuple[int, Sequence[Any]]]) -> bool:
    portion = next(portions, None)
    if portion is not None:
        with contextlib.suppress(BrokenPipeError):  # it was ended; who asks for its answer is told
            pipe.send(portion)
    return portion is not None


def _receive(pipe: Connection) -> tuple[int, Sequence[Any]]:
    try:
        number, answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise LedgerError(
            "a process that read segments was ended before it was done: killed, or out of memory",
            remedy="Run the command again, with fewer processes (--jobs) where memory is short.",
        ) from error
    if isinstance(answer, AuditorError):
        raise answer
    return number, answer
