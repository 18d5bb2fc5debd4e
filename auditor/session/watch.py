"""Looks at the devices that the process computes on, on a thread of its own, once per interval.

A driver may hang, for ever: so nobody waits for this thread longer than told, neither the training nor the
recorder, and what it saw goes to the recorder as any other task.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from auditor.hardware.amd_sensing import AmdStation
from auditor.hardware.answers import whole
from auditor.hardware.identity import AMDSMI, NVML, Device
from auditor.hardware.nvidia_sensing import NvidiaStation
from auditor.hardware.sensing import Station, Wanted
from auditor.hardware.watching import Observer, Told
from auditor.session.looker import Looker
from auditor.session.recorder import Task

_SHORTEST_S = 1.0  # between two looks
_HANGING_S = 30.0  # a look that takes longer is told
_REST_WITHIN_S = 1.0
# By the door that told of a device.
STATIONS: Mapping[str, Callable[[], Station]] = {NVML: NvidiaStation, AMDSMI: AmdStation}


class Watch(Looker):
    """Looks at ``in_use()`` when it is asked to, and at the latest every ``every_s`` seconds.

    submit: takes what is to be recorded. in_use: the devices by UUID; asked on this object's thread. since_s: the
    time (monotonic) that records count from; now, where it is not given.
    """

    def __init__(
        self,
        submit: Callable[[Task], None],
        in_use: Callable[[], Mapping[str, Device]],
        *,
        every_s: float,
        since_s: float | None = None,
        stations: Mapping[str, Callable[[], Station]] = STATIONS,
    ) -> None:
        self._submit = submit
        self._in_use = in_use
        self._every_s = max(every_s, _SHORTEST_S)
        self._stations = stations
        self._open: dict[str, tuple[Station, Observer]] = {}
        self._since_s = time.monotonic() if since_s is None else since_s
        self._asking_since_s: float | None = None
        self._told_hanging = False
        self._at_rest = threading.Event()
        self._go_on = threading.Event()
        self._go_on.set()
        self._finishing = False
        super().__init__("auditor-watch")

    def count_from(self, since_s: float) -> None:
        """Records count from this time (monotonic) on: they go into another segment."""
        self._since_s = since_s

    def finish(self) -> None:
        """Look for the last time, and end; this returns at once."""
        self._finishing = True
        self._go_on.set()
        self._wake.set()

    def check(self) -> None:
        """Tell once of a driver that does not answer; called on another thread now and then."""
        if not self._told_hanging and self._hangs(_HANGING_S):
            self._told_hanging = True
            message = f"the driver has not answered for {_HANGING_S:g} s: no device is watched"
            self._tell(Told("gap", "", {"message": message}))

    def _hangs(self, seconds: float) -> bool:
        since = self._asking_since_s
        return since is not None and time.monotonic() - since > seconds

    def hold(self) -> None:
        """Before a fork: nothing of the driver's is open, unless it hangs."""
        if not self._thread.is_alive():
            return
        self._at_rest.clear()
        self._go_on.clear()
        self._wake.set()
        if not self._hangs(_REST_WITHIN_S):
            self._at_rest.wait(_REST_WITHIN_S)

    def release(self) -> None:
        """After a fork, in the parent: look again."""
        self._go_on.set()

    def _work(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - nothing of this may reach the training
            self._tell(Told("gap", "", {"message": f"the devices are not watched any more: {error!r}"}))
        self._at_rest.set()

    def _watch(self) -> None:
        looked_s = time.monotonic() - _SHORTEST_S
        while True:
            last = self._finishing
            self._pause()
            if last or time.monotonic() - looked_s >= _SHORTEST_S:
                self._look_everywhere()
                looked_s = time.monotonic()
            if last:
                break
            self._wake.wait(self._every_s)
            self._wake.clear()
        self._close()

    def _pause(self) -> None:
        if not self._go_on.is_set():
            self._close()
            self._at_rest.set()
            self._go_on.wait()

    def _look_everywhere(self) -> None:
        devices = self._in_use()
        for door, station in self._stations.items():
            own = {uuid: device for uuid, device in devices.items() if device.given.get("door") == door}
            if own and door not in self._open:
                self._open[door] = (station(), Observer())
            if own:
                self._look(*self._open[door], own)

    def _look(self, station: Station, observer: Observer, own: Mapping[str, Device]) -> None:
        wanted = {uuid: _wanted(uuid, device) for uuid, device in own.items()}
        observer.begin({uuid: whole(device.given.get("energy_mj")) for uuid, device in own.items()})
        with self._asking():
            look = station.look(wanted)
        for told in observer.take(look, int((time.monotonic() - self._since_s) * 1e6)):
            self._tell(told)

    def _tell(self, told: Told) -> None:
        if self._silent:
            return
        if told.event == "gap":
            message = told.values["message"]
            self._submit(lambda book: book.gap("hardware", message, lower_bound=False))
        else:
            self._submit(lambda book: book.hardware(*told))

    def _close(self) -> None:
        with self._asking():
            for station, _ in self._open.values():
                station.close()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """While inside, the driver has the word, and may keep it."""
        self._asking_since_s = time.monotonic()
        try:
            yield
        finally:
            self._asking_since_s = None


def _wanted(uuid: str, device: Device) -> Wanted:
    return Wanted(uuid=uuid, gpu_instance=whole(device.given.get("mig_gpu_instance")))
