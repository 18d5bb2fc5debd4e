"""Which of the time in a profile is that of counted operators: from a profile's events to `Coverage`.

A kernel of a GPU is explained by the operators that were running when it was launched: by one of them that was priced
in this run, or computes nothing, or by code that is counted by other means and says so (`accounted`). What only an
operator without a price launched, or no operator at all (a kernel of the user's own), is not. Copies and fills of
memory compute nothing. On a CPU, where there are no kernels, an operator's own time stands in their place.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch._C._autograd import DeviceType

from auditor.counting import measured
from auditor.errors import CountingError
from auditor.formulas import TABLE
from auditor.hardware.coverage import KERNELS, OPERATORS, Coverage
from auditor.operations import Operations
from auditor.tally import Tally

# The name under which compiled code and captured graphs that are counted stand in a profile of ours.
ACCOUNTED = "auditor::accounted"
_MOVES = ("Memcpy", "Memset")
_FRAMES = ("autograd::engine::", "profiler::")
_DRIVER = re.compile("(cu|cuda|hip)[A-Z]")  # their ids are numbered apart from the operators'
_DEVICE_ACTIVITIES = ("", "kernel", "gpu_memcpy", "gpu_memset")

_profiling = False


def set_profiling(profiling: bool) -> None:
    """Whether a profile of ours is being taken; only then `accounted` leaves a mark."""
    global _profiling  # noqa: PLW0603 - a profile is the process's
    _profiling = profiling


def accounted() -> AbstractContextManager[object]:
    """What is launched inside is counted by other means than its operators."""
    if not _profiling:
        return contextlib.nullcontext()
    mark: AbstractContextManager[object] = torch._C._profiler._RecordFunctionFast(ACCOUNTED)  # noqa: SLF001 - the only mark that kernels are linked to
    return mark


class Event(NamedTuple):
    """One event of a profile. ``device``: of a kernel, its GPU; None for what ran on the host.

    link: of a kernel, the ``id`` of the operator that was running when it was launched; 0 where there was none.
    """

    name: str
    device: int | None
    thread: int
    start_ns: int
    duration_ns: int
    id: int = 0
    link: int = 0


def events_of(profiler: Any, most: int) -> list[Event]:
    """The operators and kernels of a finished `torch.profiler.profile`, without annotations and driver calls.

    Raises: CountingError: the profile is empty, or holds more than ``most`` events.
    """
    raws = profiler.profiler.kineto_results.events()
    if len(raws) > most:
        raise CountingError(f"the step has {len(raws):,} events, more than {most:,}")
    events = [event for raw in raws if (event := _event(raw)) is not None]
    if not events:
        raise CountingError("the profile is empty")
    return events


def _event(raw: Any) -> Event | None:
    name, on_host = raw.name(), raw.device_type() == DeviceType.CPU
    link = raw.linked_correlation_id()
    if raw.is_user_annotation() or (on_host and (link or _DRIVER.match(name))):
        return None
    if not on_host and _activity(raw) not in _DEVICE_ACTIVITIES:
        return None
    return Event(
        name=name,
        device=None if on_host else raw.device_index(),
        thread=raw.start_thread_id(),
        start_ns=raw.start_ns(),
        duration_ns=raw.duration_ns(),
        id=raw.correlation_id() if on_host else 0,
        link=link,
    )


def _activity(raw: Any) -> str:
    """What kind of event it is; "" where this torch does not say."""
    return str(raw.activity_type()) if hasattr(raw, "activity_type") else ""


class Kind(Enum):
    """What an event of the host says about what it launches."""

    COUNTED = "counted"  # an operator that was priced, or that computes nothing
    ACCOUNTED = "accounted"  # code that is counted by other means; operators without a price inside it are not
    UNPRICED = "unpriced"
    FRAME = "frame"  # no operator, or one that is merely made of others


class Known:
    """What the run's tallies say of operators, by the names that a profile has: without overload."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._unpriced: set[str] = set()

    def note(self, tally: Tally, operations: Operations) -> None:
        """These were counted, and came to that."""
        self._seen.update(_plain(entry.signature.op) for entry in tally)
        self._unpriced.update(map(_plain, operations.unpriced))

    def kind(self, name: str) -> Kind:
        """What an event of that name is; an operator that no tally holds is not counted, whatever its price."""
        if name == ACCOUNTED:
            return Kind.ACCOUNTED
        if "::" not in name or name.startswith(_FRAMES):
            return Kind.FRAME
        formula = TABLE.find(name)
        if formula is not None and formula.function is None:
            return Kind.COUNTED
        plain = _plain(name)
        if plain in self._unpriced:
            return Kind.UNPRICED
        if plain in self._seen or plain in _MEASURED:
            return Kind.COUNTED
        return Kind.UNPRICED if _has_a_kernel_of_its_own(name) else Kind.FRAME


def _plain(op: str) -> str:
    """Without overload; an in-place form as the plain one, which it may be noted as."""
    return op.partition(".")[0].removesuffix("_")


def _has_a_kernel_of_its_own(name: str) -> bool:
    """Whether the dispatcher knows it as an operator that is not made of others, which are counted in its place."""
    try:
        overloads = torch._C._jit_get_operation(name)[1] or ()  # noqa: SLF001
    except RuntimeError:
        return False
    names = [f"{name}.{overload}" if overload else name for overload in overloads]
    return bool(names) and not any(map(_made_of_others, names))


def _made_of_others(op: str) -> bool:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001
    return bool(torch._C._dispatch_has_kernel(op) and has_kernel(op, "CompositeImplicitAutograd"))  # noqa: SLF001


# Operators in whose place units are noted, once the device has told them; where it cannot, they are unpriced.
_MEASURED = frozenset(map(_plain, measured.OPERATORS))


class _Times:
    def __init__(self) -> None:
        self.explained_ns = 0
        self.unexplained_ns: defaultdict[str, int] = defaultdict(int)


def coverages(step: int, events: Sequence[Event], known: Known) -> dict[int | None, Coverage]:
    """The coverage of each GPU in the profile; where there is none, of the CPU, as None."""
    hosts = _Hosts((event for event in events if event.device is None), known)
    kernels = [event for event in events if event.device is not None]
    what = KERNELS if kernels else OPERATORS
    times: defaultdict[int | None, _Times] = defaultdict(_Times)
    for device, time_ns, name in _of_kernels(kernels, hosts) if kernels else hosts.own_times():
        if name is None:
            times[device].explained_ns += time_ns
        else:
            times[device].unexplained_ns[name] += time_ns
    return {
        device: Coverage.of(step, what, found.explained_ns, found.unexplained_ns) for device, found in times.items()
    }


# The device, a time there, and the name under which it is unexplained; None where it is explained.
_Time = tuple[int | None, int, str | None]


def _of_kernels(kernels: Iterable[Event], hosts: _Hosts) -> Iterator[_Time]:
    for kernel in kernels:
        explained, op = hosts.launcher(kernel.link)
        if explained or kernel.name.startswith(_MOVES):
            yield kernel.device, kernel.duration_ns, None
        else:
            yield kernel.device, kernel.duration_ns, f"{kernel.name} (in {op})" if op else kernel.name


class _Host(NamedTuple):
    """An event of the host in its place.

    cover: how what it launches is counted: by an operator around it, by other means, not (`Kind.UNPRICED`), or not by
    an operator (`Kind.FRAME`). unpriced: the operator that it is not counted for, or "".
    """

    event: Event
    cover: Kind
    unpriced: str

    @property
    def explained(self) -> bool:
        """Whether what it launches is counted."""
        return self.cover in (Kind.COUNTED, Kind.ACCOUNTED)


class _Hosts:
    """The events of the host, each with those around it."""

    def __init__(self, events: Iterable[Event], known: Known) -> None:
        kinds: dict[str, Kind] = {}
        self._placed: list[_Host] = []
        self._own_ns: list[int] = []
        self._by_id: dict[int, _Host] = {}
        stack: list[int] = []
        thread = None
        for event in sorted(events, key=lambda event: (event.thread, event.start_ns, -event.duration_ns)):
            if event.thread != thread:
                thread, stack = event.thread, []
            while stack and not _contains(self._placed[stack[-1]].event, event):
                stack.pop()
            if event.name not in kinds:
                kinds[event.name] = known.kind(event.name)
            around = self._placed[stack[-1]] if stack else None
            if stack:
                self._own_ns[stack[-1]] -= event.duration_ns
            self._place(event, kinds[event.name], around)
            stack.append(len(self._placed) - 1)

    def _place(self, event: Event, kind: Kind, around: _Host | None) -> None:
        cover, unpriced = (around.cover, around.unpriced) if around else (Kind.FRAME, "")
        if kind is Kind.COUNTED or (kind is Kind.ACCOUNTED and cover is not Kind.COUNTED):
            cover, unpriced = kind, ""
        elif kind is Kind.UNPRICED and cover is not Kind.COUNTED:
            cover, unpriced = kind, event.name
        host = _Host(event, cover, unpriced)
        self._placed.append(host)
        self._own_ns.append(event.duration_ns)
        self._by_id[event.id] = host

    def launcher(self, link: int) -> tuple[bool, str]:
        """Whether what was launched there is explained; where it is not, by which operator, if by one."""
        host = self._by_id.get(link)
        return (host.explained, host.unpriced) if host is not None and link else (False, "")

    def own_times(self) -> Iterator[_Time]:
        """The time of every operator without that of the operators it calls."""
        for host, own_ns in zip(self._placed, self._own_ns, strict=True):
            if host.cover is not Kind.FRAME:
                yield None, max(own_ns, 0), None if host.explained else host.unpriced


def _contains(outer: Event, inner: Event) -> bool:
    return inner.start_ns + inner.duration_ns <= outer.start_ns + outer.duration_ns
