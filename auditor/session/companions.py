"""What goes along with a session on threads of its own: it looks at the devices, tells of levels, adds up the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.config import Settings
from auditor.distributed import Place
from auditor.ledger import SegmentBook
from auditor.session.recorder import Task

if TYPE_CHECKING:
    from auditor.session.alarm import Alarm
    from auditor.session.in_use import InUse
    from auditor.session.live import LiveSum
    from auditor.session.watch import Watch

_WAIT_FOR_DEVICES_S = 1.0  # from the beginning of the end on; a driver may hang
_WAIT_FOR_ALARM_S = 2.0  # at the end: for whoever is told of a level


class Companions:
    """Of one process. Each begins where it is wanted; none is waited for but at the end, and then not for long.

    ``submit``: takes what is to be written into the book. ``stopped``: whether the session has come to its end.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        run_id: str,
        *,
        submit: Callable[[Task], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._run_id = run_id
        self._submit = submit
        self._stopped = stopped
        self._finishing_s = 0.0
        self._devices: InUse | None = None
        self._watch: Watch | None = None
        self._live: LiveSum | None = None
        self._alarm: Alarm | None = None

    @property
    def devices(self) -> tuple[dict[str, str], ...] | None:
        """Every device that is visible, as its own library identifies it; None while nobody has looked."""
        return self._devices.identities if self._devices else None

    def survey(self, since_s: float) -> None:
        """See which devices there are, and look at GPUs from then on; ``since_s``: when counting began (monotonic)."""
        from auditor.session import in_use, watch  # noqa: PLC0415 - loaded by the recorder, off the training thread

        self._devices = in_use.InUse.survey(self._submit, hurry=self._stopped)
        if self._devices.any_gpu and not self._stopped():
            every_s = self._settings.interval_s
            self._watch = watch.Watch(self._submit, self._devices, every_s=every_s, since_s=since_s)
            self._watch.start()

    def opened(self, place: Place) -> None:
        """A book has been opened by a process in that place: what only ranks have begins, once."""
        if place.role != "rank":
            return
        if self._settings.live_sum and self._live is None:
            from auditor.session import live  # noqa: PLC0415 - loaded where it is asked for

            self._live = live.LiveSum(self._directory, self._run_id)
        if self._settings.alerts and place.rank == 0 and self._alarm is None:
            from auditor.session import alarm  # noqa: PLC0415 - loaded where levels are set

            self._alarm = alarm.Alarm(self._submit, self._directory, self._settings, self._run_id)
            self._alarm.start()

    def recorded(self, book: SegmentBook, earlier_ops: int) -> None:
        """An interval has been written; ``earlier_ops``: what stands in this process's closed segments."""
        if self._watch is not None:
            self._watch.ask()
        genesis = book.writer.genesis
        if self._live is not None and genesis.role == "rank":
            self._live.tell(earlier_ops + book.operations.total, rank=genesis.rank)
        if self._alarm is not None:
            self._alarm.ask()

    def closed(self, now_s: float) -> None:
        """A book has been closed (monotonic): what is seen of devices counts for the next."""
        if self._watch is not None and self._devices is not None:
            self._watch.count_from(now_s)
            self._devices.declare_again()

    def check(self) -> None:
        """Now and then, on the recorder's thread: whether the driver still answers."""
        if self._watch is not None:
            self._watch.check()

    def hold(self) -> None:
        """Whoever looks at devices comes to rest, since the process forks."""
        if self._watch is not None:
            self._watch.hold()

    def release(self) -> None:
        """And goes on."""
        if self._watch is not None:
            self._watch.release()

    def finish(self) -> None:
        """The last look at the devices begins; this returns at once."""
        self._finishing_s = time.monotonic()
        if self._watch is not None:
            self._watch.finish()

    def finished(self) -> bool:
        """Whether the last look was taken, within a second of `finish`."""
        left_s = max(self._finishing_s + _WAIT_FOR_DEVICES_S - time.monotonic(), 0)
        return self._watch is None or self._watch.join(left_s)

    def tell_last(self, *, wait: bool) -> None:
        """Whoever is to be told of a level is told of what was written last; ``wait``: for two seconds at most."""
        if self._alarm is None:
            return
        wait_s = _WAIT_FOR_ALARM_S if wait else 0.0
        written = threading.Event()
        self._submit(lambda _: written.set())
        written.wait(wait_s)
        self._alarm.finish()
        self._alarm.join(wait_s)
