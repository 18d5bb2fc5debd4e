"""Every so many steps one step is profiled, to see how much of the device's time counted operators account for.

`Sampler` runs on the training thread: it starts torch's profiler where a step has ended and stops it where the next
one has. What the profile says is worked out later, on the recorder's thread, by `auditor.counting.attribution`. A
script's own profiler comes first: while it is at work no step is profiled, and one that begins in the middle of a
profiled step finds nothing in its way. One that warms up is at work, too: two at once destroy each other, and the
process with them. Whatever fails is told, and the training goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from auditor.counting import captured
from auditor.counting.attribution import Known, coverages, events_of, set_profiling
from auditor.counting.patching import Patch, Patches
from auditor.hardware.coverage import Coverage
from auditor.operations import Operations
from auditor.tally import Tally

LONGEST_STEP_S = 120.0
_MOST_EVENTS = 100_000  # worked out in a second or two, which is how long the recorder may keep others waiting
_QUIET = ("KINETO_LOG_LEVEL", "6")  # the profiler's library has lines of its own for stderr at each start and stop
_TORCHS_PROFILER = "torch.autograd.profiler"


# The coverage of a step by device, a GPU's UUID or "" for the CPU; it is worked out when it is called.
WorkedOut = Callable[[], dict[str, Coverage]]


class Sampler:
    """Has the step after every ``every`` steps profiled.

    on_profile: called on the training thread once a step has been profiled, with what works out its coverage, and
    raises CountingError where it cannot. on_problem: called with why a step has no profile.
    """

    def __init__(
        self, every: int, *, on_profile: Callable[[WorkedOut], None], on_problem: Callable[[str], None]
    ) -> None:
        self._every = every
        self._on_profile = on_profile
        self._on_problem = on_problem
        self._known = Known()
        self._profiler: Any = None
        self._prepared = False  # whether a profiler of the script's is: torch says so only once it has begun
        self._ours = False  # whether what torch's profiler is told just now comes from here
        self._thread = 0
        self._deadline_s = 0.0
        self._patches = Patches(
            [
                Patch(_TORCHS_PROFILER, "_prepare_profiler", functools.partial(self._yielding, announced=False)),
                Patch(_TORCHS_PROFILER, "_enable_profiler", functools.partial(self._yielding, announced=True)),
                Patch(_TORCHS_PROFILER, "_disable_profiler", self._ending),
            ]
        )

    # On the training thread.

    def attach(self) -> None:
        """From now on it is known what profilers the script prepares."""
        self._prepared = _one_is_prepared()
        self._patches.install()

    def detach(self) -> None:
        """No step is profiled any more, and torch is as before."""
        self.give_up()
        self._patches.remove()

    def step_ended(self, steps: int) -> None:
        """The step of that number has ended; called after each."""
        if _capturing():  # starting and stopping wait for the device, which would end the capture
            return
        if self._profiler is not None:
            self._finish(steps)
        if steps % self._every == 0:
            self._guarded(self._begin)

    def give_up(self, why: str = "") -> None:
        """A profile that is being taken is dropped, and told why; without one nothing happens."""
        if self._profiler is None or self._thread != threading.get_ident() or _capturing():
            return
        if self._guarded(self._stop) and why:
            self._on_problem(f"a step was not profiled to its end: {why}")

    @property
    def overdue(self) -> bool:
        """Whether a profile has been going on for so long that it had better be given up."""
        return self._profiler is not None and time.monotonic() > self._deadline_s

    def _begin(self) -> None:
        if self._prepared or _somebody_profiles():
            self._on_problem("a step was not profiled: the training's own profiler was at work")
            return
        if threading.current_thread() is not threading.main_thread():  # which alone is there when the process ends
            self._on_problem("no step is profiled: they do not end on the main thread")
            return
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_initialized():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        profiler = torch.profiler.profile(activities=activities)
        with _quietly(), self._own():
            profiler.start()
        self._profiler, self._thread = profiler, threading.get_ident()
        self._deadline_s = time.monotonic() + LONGEST_STEP_S
        captured.before_captures.append(self._before_capture)
        atexit.register(self.give_up)  # a process that ends in the middle of a profile crashes
        set_profiling(True)

    def _finish(self, steps: int) -> None:
        profiler = self._profiler
        if self._guarded(self._stop):
            self._on_profile(functools.partial(self._work_out, steps, profiler))

    def _stop(self) -> None:
        profiler, self._profiler = self._profiler, None
        set_profiling(False)
        captured.before_captures.remove(self._before_capture)
        atexit.unregister(self.give_up)
        with self._own():
            profiler.stop()

    @contextlib.contextmanager
    def _own(self) -> Iterator[None]:
        before, self._ours = self._ours, True
        try:
            yield
        finally:
            self._ours = before

    def _guarded(self, act: Callable[[], None]) -> bool:
        """Whether it was done; nothing of a profiler's may reach the training."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - CUPTI may be in others' hands, absent or broken
            self._on_problem(f"a step could not be profiled: {error!r}")
            return False
        return True

    def _before_capture(self) -> None:
        self.give_up("a CUDA graph was captured in it")

    def _yielding(self, original: Callable[..., Any], *, announced: bool) -> Callable[..., Any]:
        """What starts a profiler of torch's; ours makes way for it.

        announced: whether torch has been told by then that somebody profiles, which the end of ours would take back.
        """

        @functools.wraps(original)
        def start(*args: Any, **kwargs: Any) -> Any:
            if not self._ours:
                self._prepared = True
                interrupted = self._profiler is not None
                self.give_up("the training's own profiler was started in it")
                if interrupted and announced:
                    torch.autograd.profiler._run_on_profiler_start()  # noqa: SLF001 - torch's own way to say so
            return original(*args, **kwargs)

        return start

    def _ending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """What ends a profiler of torch's."""

        @functools.wraps(original)
        def end(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            finally:
                self._prepared = self._prepared and self._ours

        return end

    # In a forked child.

    def forget(self) -> None:
        """The parent's profile is the parent's."""
        self._patches.remove()
        if self._profiler is not None:
            self._profiler = None
            set_profiling(False)
            atexit.unregister(self.give_up)
            with contextlib.suppress(Exception):
                captured.before_captures.remove(self._before_capture)

    # On the recorder's thread.

    def note(self, tally: Tally, operations: Operations) -> None:
        """These were counted; what a profile shows is held against all that was, its own step included."""
        self._known.note(tally, operations)

    def _work_out(self, step: int, profiler: Any) -> dict[str, Coverage]:
        found = coverages(step, events_of(profiler, _MOST_EVENTS), self._known)
        return {_uuid(device): coverage for device, coverage in found.items()}


def _capturing() -> bool:
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _somebody_profiles() -> bool:
    announced = torch.autograd.profiler._is_profiler_enabled  # noqa: SLF001 - torch's own word
    return announced or torch._C._autograd._profiler_type().name != "NONE"  # noqa: SLF001


def _one_is_prepared() -> bool:
    """Whether a profiler that was made before us warms up."""
    warming_up = torch.profiler.ProfilerAction.WARMUP
    made = (thing for thing in gc.get_objects() if type(thing) is torch.profiler.profile)
    inner = (one.profiler for one in made if one.current_action is warming_up)
    return any(one is not None and one.kineto_results is None for one in inner)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Inside, a profiler's first start finds the wish for no lines on stderr, unless somebody has another."""
    name, level = _QUIET
    if name in os.environ:
        yield
        return
    os.environ[name] = level
    try:
        yield
    finally:
        del os.environ[name]


def _uuid(device: int | None) -> str:
    return "" if device is None else f"GPU-{torch.cuda.get_device_properties(device).uuid}"
