"""Where one training step ends and the next begins, told by the optimizers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.compiler import is_compiling
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

from auditor.counting import compiled
from auditor.counting.phases import Phases
from auditor.counting.step_hooks import take_off


class StepClock:
    """Counts steps: rounds of optimizer steps, however many optimizers take part in a round.

    With several optimizers (a generator's and a discriminator's) a step is a round in which the busiest of them steps
    once. An optimizer that first steps after others have taken n steps joins in the round under way; if the others are
    gone by then it begins a new one. After the first call of `mark` (a loop without an optimizer), only `mark` counts.
    """

    def __init__(self, phases: Phases, on_step: Callable[[], None] | None = None) -> None:
        self.steps = 0
        self.stepped = False
        self._phases = phases
        self._on_step = on_step
        self._rounds = WeakIdKeyDictionary()  # by optimizer, which need not be one that can be hashed
        self._marked = self._listening = False
        self._handles: list[Any] = []

    def attach(self) -> None:
        """Listen to every optimizer of the process."""
        self._listening = True
        compiled.before_runs.append(self.settle)
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]

    def detach(self) -> None:
        """Stop listening. Called by `on_step`, the hooks stay until it is called once more."""
        if self.settle in compiled.before_runs:
            self.settle()
            compiled.before_runs.remove(self.settle)
        self._listening = False
        self._handles = take_off(self._handles)

    def mark(self) -> None:
        """A step has ended here."""
        self.settle()
        self._marked = True
        self._phases.end_update()
        self._count()

    def settle(self) -> None:
        """Count the step that a compiled optimizer has taken, if it has; its update ends with the next forward."""
        if self.stepped:
            self.stepped = False
            if not self._marked:
                self._count()

    # Where an optimizer's step is compiled, its hooks are compiled with it: they only set a flag, which the compiled
    # code will do as well. Anything more would break its graph, and reading a number would have it compiled each time.

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        if is_compiling() or not self._listening:
            return
        self.settle()
        self._phases.enter_optimizer()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        if is_compiling():
            self.stepped = True
            return
        if not self._listening:
            return
        self._phases.leave_optimizer()
        if self._marked:
            return
        taken = self._rounds.get(optimizer)
        if taken is None:
            taken = max(self.steps - 1, 0) if self._rounds else self.steps
        self._rounds[optimizer] = taken + 1
        if taken + 1 > self.steps:
            self._count()

    def _count(self) -> None:
        self.steps += 1
        if self._on_step is not None:
            self._on_step()
