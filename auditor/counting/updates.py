"""What a step of an optimizer updates on this rank, looked at now and then: its first, and one in each interval.

For an optimizer of torch's own, which updates each parameter that has a gradient, where it lies. What another's step
does is its own affair: it may divide the work among ranks, and nothing is said of it but that it is there.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.compiler import is_compiling
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

from auditor.counting.copies import UNKNOWN, Found, Part, parts_of
from auditor.counting.counter import Counter
from auditor.counting.step_hooks import take_off
from auditor.records import MOST_PARTS, UPDATED_IN_PART, UPDATED_OFTEN
from auditor.tally import Phase, Tally, difference

_TORCHS_OWN = "torch.optim."
_MOST_OPTIMIZERS = 64
_MOST_TOLD = 256  # records of a segment
_UNTOLD = Found((Part(UNKNOWN, 0, "", 0, 0, ""),))
_OFTEN = Found((Part(UNKNOWN, 0, UPDATED_OFTEN, 0, 0, ""),))
_IN_PART = Found((Part(UNKNOWN, 0, UPDATED_IN_PART, 0, 0, ""),))


class Looked(NamedTuple):
    """What a step showed. ``calls``: what it came to in the optimizer's phase."""

    number: int
    optimizer: str
    calls: Tally
    parts: tuple[Part, ...]


class _Step:
    """A step that is looked at; ``through``: whether it has others' steps inside, which do what it does.

    One that raises is here for longer than the script may want its optimizer, whose memory it then needs.
    """

    def __init__(self, optimizer: Optimizer, before: Tally) -> None:
        self._optimizer = weakref.ref(optimizer)
        self.before = before
        self.through = False

    def of(self, optimizer: Optimizer) -> bool:
        """Whether it is a step of this one."""
        return self._optimizer() is optimizer


class _UnderWay(threading.local):
    def __init__(self) -> None:
        self.steps: list[_Step] = []  # the outermost first


class _Known(NamedTuple):
    """Of an optimizer: its number, and what was told last, with the parameters that it was told of."""

    number: int
    parameters: tuple[int, ...] = ()
    found: Found = Found()
    calls: Tally | None = None


class UpdateWatch:
    """Looks from `attach` to `detach`, where this process is one of several ranks, and tells what is new.

    tell: called on the training thread. on_problem: likewise, once, with what went wrong; nothing is looked at then.
    """

    def __init__(
        self, counter: Counter, tell: Callable[[Looked], None], on_problem: Callable[[Exception], None]
    ) -> None:
        self._counter = counter
        self._tell = tell
        self._on_problem = on_problem
        self._handles: list[Any] = []
        self._idle = False
        self.forget()

    def attach(self) -> None:
        """Listen to every optimizer of the process; before the step clock does, which may cut the count."""
        self._idle = False
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]

    def detach(self) -> None:
        """Look no more."""
        self._idle = True
        self._handles = take_off(self._handles)

    def ask(self) -> None:
        """The next step of every optimizer is looked at."""
        self._asked += 1

    def forget(self) -> None:
        """What was told is told again: another segment begins."""
        self._asked = self._told = self._numbered = 0
        # By optimizer, which need not be one that can be hashed: when it was seen, what is known, which hold others.
        self._seen, self._known, self._outer = WeakIdKeyDictionary(), WeakIdKeyDictionary(), WeakIdKeyDictionary()
        self._under_way = _UnderWay()

    # Hooks of a step that is compiled are compiled with it: there they do nothing, and cost nothing.

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        if is_compiling() or self._idle or self._seen.get(optimizer) == self._asked:
            return
        try:
            self._begin(optimizer)
        except Exception as error:  # noqa: BLE001 - nothing of the auditor's may reach the training
            self._give_up(error)

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        if is_compiling() or self._idle or not self._under_way.steps:
            return
        try:
            self._end(optimizer)
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    def _begin(self, optimizer: Optimizer) -> None:
        if not _is_one_of_several() or optimizer in self._outer:
            self._seen[optimizer] = self._asked
            return
        steps = self._under_way.steps
        while any(step.of(optimizer) for step in steps):  # one that raised
            steps.pop()
        for step in steps:
            step.through = True
        steps.append(_Step(optimizer, self._counter.peek()))

    def _end(self, optimizer: Optimizer) -> None:
        steps = self._under_way.steps
        if not any(step.of(optimizer) for step in steps):
            return
        step = steps.pop()
        while not step.of(optimizer):
            step = steps.pop()
        if step.through:
            self._outer[optimizer] = True
            return
        calls = difference(step.before, self._counter.peek())
        if calls is not None:  # None where the count was cut in between; another step will do
            self._seen[optimizer] = self._asked
            self._compare(optimizer, calls)

    def _compare(self, optimizer: Optimizer, calls: Tally) -> None:
        """Tell what the step shows, unless it is what was told last."""
        known: _Known | None = self._known.get(optimizer)
        if known is None:
            known, self._numbered = _Known(self._numbered), self._numbered + 1
        if known.number >= _MOST_OPTIMIZERS or self._told >= _MOST_TOLD:
            return
        calls = Tally({entry: number for entry, number in calls.items() if entry.phase is Phase.OPTIMIZER})
        updated = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        parameters = tuple(map(id, updated))
        if known.calls is not None and parameters == known.parameters and known.found.holds:
            found = known.found
        else:
            found = self._found(optimizer, updated)
        if (found.parts, calls) != (known.found.parts, known.calls):
            self._told += 1
            self._tell(Looked(known.number, type(optimizer).__name__, calls, found.parts))
        self._known[optimizer] = _Known(known.number, parameters, found, calls)

    def _found(self, optimizer: Optimizer, updated: list[torch.Tensor]) -> Found:
        if not type(optimizer).step.__module__.startswith(_TORCHS_OWN):
            return _UNTOLD
        if isinstance(optimizer, torch.optim.LBFGS):
            return _OFTEN
        if any(one.grad is not None and one.grad.layout is not torch.strided for one in updated):
            return _IN_PART
        with torch.no_grad(), self._counter.hidden():
            found = parts_of(updated)
        return found if len(found.parts) <= MOST_PARTS else _UNTOLD

    def _give_up(self, error: Exception) -> None:
        self._idle = True
        self._on_problem(error)


def _is_one_of_several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
