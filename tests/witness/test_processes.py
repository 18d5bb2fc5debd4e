"""A witness in a process of its own: 64 writers at once, and killed again and again; no fork signed, no head lost."""

from __future__ import annotations

import dataclasses
import functools
import random
import threading
import time

from auditor.errors import LedgerDiverged, WitnessError
from auditor.ledger.signed import read_head
from auditor.witness import Memory, ask

WRITERS = 64
KILLS = 8


class Writer(threading.Thread):
    """Grows a log, or a fork of it, and has its heads co-signed."""

    def __init__(self, elsewhere, log, sizes, *, retry=False, within_s=60.0):
        super().__init__(daemon=True)
        self.elsewhere, self.log, self.sizes, self.retry, self.within_s = elsewhere, log, sizes, retry, within_s
        self.signed = []
        self.refused = 0
        self.failed = None

    def run(self):
        try:
            for size in self.sizes:
                self._ask(size)
        except Exception as error:  # noqa: BLE001 - the thread's owner asks for it
            self.failed = error

    def _ask(self, size):
        while True:
            try:
                prove = functools.partial(self.log.prove, size=size)
                asked = ask(
                    self.elsewhere.url, self.elsewhere.witness, self.log.head(size), prove, within_s=self.within_s
                )
            except LedgerDiverged:
                self.refused += 1
                return
            except WitnessError as error:
                if not self.retry or "another latest size" in str(error):
                    self.refused += 1
                    return
                time.sleep(0.02)
            else:
                self.signed.append((size, asked.head))
                return


def join(writers):
    for writer in writers:
        writer.join(120)
        assert not writer.is_alive()
        assert writer.failed is None, writer.failed


def check_one_history(log, signed):
    """Every head that was signed is of one history: the witness signed no fork."""
    ours = {log.head(size).head for size, _ in signed}
    forks = {log.forked().head(size).head for size, _ in signed}
    heads = {head.head for _, head in signed}
    assert heads <= ours or heads <= forks


def test_64_writers_of_which_half_fork(elsewhere, log):
    elsewhere.start()
    sizes = [random.Random(seed).sample(range(1, 400), 3) for seed in range(WRITERS)]
    writers = [
        Writer(elsewhere, log if number % 2 else log.forked(), sorted(sizes[number])) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    join(writers)
    signed = [item for writer in writers for item in writer.signed]
    assert signed
    check_one_history(log, signed)
    elsewhere.kill()
    memory = Memory.open(elsewhere.directory, "w1")
    latest = memory.latest(log.origin)
    memory.close()
    assert latest.size == max(size for size, _ in signed), "the largest head that was given out is remembered"
    assert elsewhere.witness.time_of(read_head(latest.note))


def test_64_logs_at_once(elsewhere, log):
    elsewhere.start()
    logs = [dataclasses.replace(log, origin=f"auditor.ledger/run/rank-{n:05d}.attempt-000/x") for n in range(WRITERS)]
    writers = [Writer(elsewhere, one, [3, 50]) for one in logs]
    for writer in writers:
        writer.start()
    join(writers)
    assert all([size for size, _ in writer.signed] == [3, 50] for writer in writers)


def test_killed_again_and_again_it_signs_no_fork_and_loses_no_head(elsewhere, log):
    elsewhere.start()
    # Each writer of the pair goes on where the other was signed; the fork's heads must never be.
    writers = [
        Writer(elsewhere, log, range(1, 120), retry=True, within_s=10),
        Writer(elsewhere, log.forked(), range(2, 120, 3), retry=True, within_s=10),
        Writer(elsewhere, log, range(5, 120, 7), retry=True, within_s=10),
    ]
    for writer in writers:
        writer.start()
    rest = random.Random(5)
    largest = 0
    for _ in range(KILLS):
        time.sleep(rest.uniform(0.05, 0.5))
        elsewhere.kill()
        given_out = max((size for writer in writers for size, _ in list(writer.signed)), default=0)
        memory = Memory.open(elsewhere.directory, "w1")
        latest = memory.latest(log.origin)
        memory.close()
        kept = latest.size if latest else 0
        assert kept >= max(given_out, largest), "a head that was given out, or remembered once, is remembered"
        largest = kept
        elsewhere.start()
    join(writers)
    signed = [item for writer in writers for item in writer.signed]
    check_one_history(log, signed)
    assert sum(writer.refused for writer in writers) > 0
