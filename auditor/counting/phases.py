"""Which phase an operator runs in, read from torch's own state at the moment it runs.

============  ==========================================================================================================
backward      the autograd engine is running a graph task otherwise
recompute     a graph task is running with gradients switched on, and torch's checkpoint (not reentrant) or the backward
              of a function named ``Checkpoint...`` (reentrant; torch's, Megatron's, DeepSpeed's) is at work
forward       gradients on, or inside the forward of an `autograd.Function` that was called with gradients on
optimizer     gradients off, inside an optimizer's step, or between a backward pass and the next differentiable forward:
              clipping, unscaling and hand-written updates belong to the update
inference     gradients off otherwise: evaluation, generation, initialisation
============  ==========================================================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch

from auditor.tally import Phase

_graph_task_id = torch._C._current_graph_task_id  # noqa: SLF001 - the only way to ask
_current_node = torch._C._current_autograd_node  # noqa: SLF001
_saved_tensor_hooks = torch._C._autograd._top_saved_tensors_default_hooks  # noqa: SLF001
_grad_enabled = torch.is_grad_enabled
_NO_TASK = -1


class Phases(Protocol):
    """What is told of the training's course, and says which phase it is in."""

    def current(self) -> Phase:
        """The phase of an operator that runs now on this thread."""

    @property
    def updating(self) -> bool:
        """Whether work without gradients is taken to belong to the update of the parameters."""

    def end_update(self) -> None:
        """From now on, work without gradients is inference until another backward pass has run."""

    def enter_optimizer(self) -> None:
        """An optimizer's step begins on this thread."""

    def leave_optimizer(self) -> None:
        """The optimizer's step has ended, and with it the update."""


class _ThreadState(threading.local):
    function_depth = 0  # forwards of autograd.Function under way that were called with gradients on
    optimizer_task: int | None = None  # the graph task in which an optimizer's step began; None outside of a step


class PhaseTracker:
    """Answers `current`; told of optimizer steps by the step clock and of custom functions by its own wrapper."""

    def __init__(self) -> None:
        self._thread = _ThreadState()
        self._updating = False  # a backward pass has ended and no differentiable forward has begun
        self._unwatch: Callable[[], None] | None = None

    def current(self) -> Phase:
        """The phase of an operator that runs now on this thread."""
        task = _graph_task_id()
        if _grad_enabled():
            return Phase.FORWARD if task == _NO_TASK else _inside_backward()
        if self._thread.optimizer_task == task:
            return Phase.OPTIMIZER
        if task != _NO_TASK:
            self._updating = True
            return Phase.BACKWARD
        if self._thread.function_depth:
            return Phase.FORWARD
        return Phase.OPTIMIZER if self._updating else Phase.INFERENCE

    @property
    def updating(self) -> bool:
        """Whether work without gradients is taken to belong to the update of the parameters."""
        return self._updating

    def end_update(self) -> None:
        """From now on, work without gradients is inference until another backward pass has run."""
        self._updating = False

    def enter_optimizer(self) -> None:
        """An optimizer's step begins on this thread."""
        self._thread.optimizer_task = _graph_task_id()

    def leave_optimizer(self) -> None:
        """The optimizer's step has ended, and with it the update."""
        self._thread.optimizer_task = None
        self._updating = False

    def attach(self) -> None:
        """Watch `autograd.Function.apply`: its forward runs with gradients off although training goes forward."""
        thread = self._thread

        def enter() -> None:
            thread.function_depth += 1

        def leave() -> None:
            thread.function_depth -= 1

        self._unwatch = watch_functions(enter, leave)

    def detach(self) -> None:
        """Undo `attach`."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None


def watch_functions(enter: Callable[[], None], leave: Callable[[], None]) -> Callable[[], None]:
    """Around each forward of an `autograd.Function` that is called with gradients on, the two are called.

    Returns: what undoes it.
    """
    original = torch.autograd.Function.apply.__func__  # type: ignore[attr-defined]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if not _grad_enabled():
            return original(cls, *args, **kwargs)
        enter()
        try:
            return original(cls, *args, **kwargs)
        finally:
            leave()

    def undo() -> None:
        torch.autograd.Function.apply = classmethod(original)  # type: ignore[method-assign,assignment]

    apply.__doc__ = original.__doc__
    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign,assignment]
    return undo


def _inside_backward() -> Phase:
    """Recompute or backward: gradients are on inside a graph task.

    They are on in a backward pass that is to be differentiated again, and in what users write; so only a checkpoint
    that is seen at work is recomputation, and everything else counts as backward, which no law leaves out.
    """
    node = _current_node()
    if node is not None and node.name().startswith("Checkpoint"):
        return Phase.RECOMPUTE
    hooks = _saved_tensor_hooks(False)
    if hooks is not None and hooks[0].__module__ == "torch.utils.checkpoint":
        return Phase.RECOMPUTE
    return Phase.BACKWARD
