"""CUDA graphs captured by hand: what is captured is executed at each replay, and not at the capture.

While a graph is being captured, what the counters note is set aside; it stays with the graph, and each replay adds it.
The device's other work stops during a capture, so all that is noted meanwhile is taken to be captured. Captures inside
compiled code are hidden with all it runs, and their replays too: they count as runs of the compiled code.

On a GPU the replays are counted by the device: what counts them is captured with the rest, so that a replay counts
whoever asks for it. Those that torch is asked for are counted beside, and stand in where the device tells of fewer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

from auditor.counting import devices
from auditor.counting.attribution import accounted
from auditor.counting.devices import Replays
from auditor.counting.graphs import Calls
from auditor.counting.patching import Patch, Patches
from auditor.tally import Phase, Signature, Tally, merge

_NAME, _REPLAYS = "auditor_captured", "auditor_replays"


class CapturingCounter(Protocol):
    """What a counter does for captured graphs."""

    def set_aside(self) -> None:
        """What is noted from now on does not count."""

    def taken_aside(self) -> Calls:
        """What was noted since `set_aside`; from now on everything counts again."""

    @property
    def hides(self) -> bool:
        """Whether what this thread runs is not noted."""

    def note_replay(self, calls: Calls, replays: Replays | None = None) -> None:
        """Add executed calls, or leave them to the device that counts them, unless what this thread runs is hidden."""


class Aside:
    """What a counter has noted, with what is set aside kept out of it."""

    def __init__(self, take: Callable[[], Tally]) -> None:
        self._take = take
        self._counted = Tally({})  # before what is set aside now
        self.active = False

    def begin(self) -> None:
        """What is noted from now on is set aside."""
        self._counted = self.take()
        self.active = True

    def end(self) -> Calls:
        """What was noted since `begin`, on all threads."""
        self.active = False
        calls: dict[tuple[Signature, Phase], int] = {}
        for (signature, phase, _), number in self._take().items():
            calls[signature, phase] = calls.get((signature, phase), 0) + number
        return calls

    @property
    def holds(self) -> bool:
        """Whether there is anything to keep apart."""
        return self.active or bool(self._counted)

    def take(self) -> Tally:
        """What counts and was not taken before."""
        counted, self._counted = self._counted, Tally({})
        if self.active:
            return counted
        return merge([(counted, 1), (self._take(), 1)]) if counted else self._take()


_counters: tuple[CapturingCounter, ...] = ()
before_captures: list[Callable[[], None]] = []  # called while the device can still be waited for
_patched = False


def attach(counter: CapturingCounter) -> None:
    """From now on the counter counts a captured graph at each of its replays."""
    global _counters, _patched  # noqa: PLW0603 - the patches are the process's
    if not _patched:
        _patched = True
        _patches.install()
    _counters = (*_counters, counter)


def detach(counter: CapturingCounter) -> None:
    """The counter is told nothing more."""
    global _counters  # noqa: PLW0603
    _counters = tuple(each for each in _counters if each is not counter)
    _unpatch()


def _unpatch() -> None:
    """Everything stands as before where nobody counts; a capture that has begun is seen to its end."""
    global _patched  # noqa: PLW0603
    if _patched and not _counters and not devices.capturing():
        _patched = False
        _patches.remove()


def _beginning(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def begin(graph: Any, *args: Any, **kwargs: Any) -> Any:
        for act in tuple(before_captures):
            act()
        counted = not all(counter.hides for counter in _counters)
        if counted:
            devices.open_for_capture()
        with devices.capture_begun():
            out = original(graph, *args, **kwargs)
        setattr(graph, _REPLAYS, devices.count_replays() if counted else None)
        for counter in _counters:
            counter.set_aside()
        return out

    return begin


def _ending(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def end(graph: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(graph, *args, **kwargs)
        finally:
            devices.capture_ended()
            # All counters have noted the same; one that came in the middle of the capture knows less.
            captured = [counter.taken_aside() for counter in _counters]
            calls = max(captured, key=lambda calls: sum(calls.values()), default={})
            setattr(graph, _NAME, calls)
            replays = getattr(graph, _REPLAYS, None)
            if replays is not None:
                replays.calls = calls
            _unpatch()

    return end


def _replaying(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def replay(graph: Any, *args: Any, **kwargs: Any) -> Any:
        calls = getattr(graph, _NAME, UNDESCRIBED)
        replays = getattr(graph, _REPLAYS, None)
        with nullcontext() if calls is UNDESCRIBED else accounted():
            out = original(graph, *args, **kwargs)
        for counter in _counters:
            counter.note_replay(calls, replays)
        return out

    return replay


# A graph that was captured while nobody counted.
UNDESCRIBED: Calls = {(Signature("cuda_graph::captured_before", "[]"), Phase.FORWARD): 1}

_patches = Patches(
    [
        Patch("torch.cuda.graphs", "CUDAGraph.capture_begin", _beginning),
        Patch("torch.cuda.graphs", "CUDAGraph.capture_end", _ending),
        Patch("torch.cuda.graphs", "CUDAGraph.replay", _replaying),
    ]
)
