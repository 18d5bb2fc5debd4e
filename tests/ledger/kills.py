"""Real processes, really killed: at random moments, and before, in and after each call that changes the disk.

Children are forked from one process that has loaded all they need, so that thousands of kills take minutes. A child
tells each interval over a pipe once the writing of it has returned: that is what was acknowledged.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.ledger import SegmentBook, SegmentWriter, recover
from tests.ledger.model_disk import around_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.ledger.conftest import Run

_LONGEST_S = (0.01, 0.04, 0.15)  # a start takes some of it
_INTERVALS = 6  # of a child that is killed at a call
_SYNC_EVERY = 3
_KILLS_PER_LEDGER = 20


@dataclass
class Tally:
    """What was seen of so many kills."""

    kills: int = 0
    acknowledged: int = 0
    moments: int = 0  # at which a call that changes the disk was killed before, in or after it
    lost: list[str] = field(default_factory=list)


def live(run: Run, pipe: int, intervals: int | None) -> None:
    """Recover what an earlier life left, and write intervals; each is told once it is written."""
    tails = recover(run.directory)
    book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), tails)
    number = 0
    while intervals is None or number < intervals:
        run.interval(book, number)
        os.write(pipe, b"%s %d\n" % (book.writer.path.name.encode(), number + 1))
        number += 1
        if number % _SYNC_EVERY == 0:
            book.sync()
    book.seal("finished")


def kill_at(moment: int) -> Callable[[str, Callable[..., object]], Callable[..., object]]:
    """A wrapper of the disk's calls that kills this process at the so-manieth moment: before, in or after one."""
    passed = 0

    def reach() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(target: object, *arguments: object) -> object:
            reach()
            if name == "append" and passed + 1 == moment:
                data = bytes(arguments[0])  # type: ignore[call-overload]
                os.write(target, data[: len(data) // 2])  # type: ignore[arg-type]
            if name == "append":
                reach()
            result = original(target, *arguments)
            reach()
            return result

        return call

    return wrap


def fork(run: Run, work: Callable[[Run, int], None]) -> tuple[int, int]:
    """The number of a child that does the work, and the end of the pipe that it tells into."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            work(run, writer)
        finally:
            os._exit(0)
    os.close(writer)
    return child, reader


def told(reader: int) -> dict[str, int]:
    """What the child told before its end: of each segment, the intervals that were acknowledged."""
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().split(b"\n")[:-1]  # a line without its end was not told
    return {name.decode(): int(number) for name, number in (line.split() for line in lines)}


def kill_after(run: Run, pause_s: float) -> tuple[dict[str, int], bool]:
    """What a child told that was killed after so long, and that it was."""
    child, reader = fork(run, lambda run, pipe: live(run, pipe, None))
    time.sleep(pause_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return told(reader), os.WIFSIGNALED(status)


def kill_in_call(run: Run, moment: int) -> tuple[dict[str, int], bool]:
    """What a child told that was killed at this moment of its calls, and whether there was such a moment."""

    def work(run: Run, pipe: int) -> None:
        with around_calls(kill_at(moment)):
            live(run, pipe, _INTERVALS)

    child, reader = fork(run, work)
    _, status = os.waitpid(child, 0)
    return told(reader), os.WIFSIGNALED(status)


def at_random_moments(new_run: Callable[[], Run], kills: int, chance: Random) -> Tally:
    """So many kills at random moments, from the first call of a process on."""
    tally = Tally()
    while tally.kills < kills:
        run, acknowledged = new_run(), dict[str, int]()
        for _ in range(min(_KILLS_PER_LEDGER, kills - tally.kills)):
            said, killed = kill_after(run, chance.uniform(0, chance.choice(_LONGEST_S)))
            assert killed
            acknowledged |= said
            tally.kills += 1
        _note(run, acknowledged, tally)
    return tally


def at_every_call(new_run: Callable[[], Run]) -> Tally:
    """A kill at every moment of a process that recovers a torn segment, writes one and seals it."""
    tally = Tally()
    while True:
        run = new_run()
        acknowledged = {"rank-00000.attempt-000.jsonl": 2}
        leave_torn(run)
        said, killed = kill_in_call(run, tally.moments + 1)
        acknowledged |= said
        _note(run, acknowledged, tally)
        if not killed:
            return tally
        tally.moments += 1
        tally.kills += 1


def leave_torn(run: Run) -> None:
    """What a writer leaves that was killed in the middle of a write, after two intervals."""
    run.segment(intervals=2, seal=False)
    with run.path().open("ab") as file:
        file.write(b'[1795410449807829,"interval",[7,3')


def _note(run: Run, acknowledged: dict[str, int], tally: Tally) -> None:
    """What a reader finds, as the next start leaves it, is held against what was acknowledged."""
    run.segment(intervals=1)  # a life that ends well
    recover(run.directory)
    reading = run.read()
    found = {segment.name: segment for segment in reading.segments}
    tally.acknowledged += sum(acknowledged.values())
    for name, number in acknowledged.items():
        steps = found[name].steps if name in found else 0
        # A kill may fall between the writing of an interval and the telling of it; never the other way round.
        if not number <= steps // 3 <= number + 1:
            tally.lost.append(f"{name}: {number} intervals were acknowledged, {steps / 3:g} are there")
    faults = [name for name, segment in found.items() if segment.broken or segment.torn_bytes]
    total = run.price(run.tally(4)).total * sum(segment.steps for segment in reading.segments)
    if faults or reading.verdict == "INVALID" or reading.operations.total != total:
        tally.lost.append(f"{faults}: {reading.verdict}, {reading.reasons[:1]}")
