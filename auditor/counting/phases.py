"""Which phase an operator runs in, read from torch's own state at the moment it runs.

============  ==========================================================================================================
backward      the autograd engine is running a graph task otherwise
recompute     a graph task is running with gradients switched on, and torch's checkpoint (not reentrant) or the backward
              of a function named ``Checkpoint...`` (reentrant; torch's, Megatron's, DeepSpeed's) is at work
forward       gradients on, or inside the forward of an `autograd.Function`, or a compiled graph without gradients of
              its own, that was called with gradients on; where a recomputation called it, it is recompute as well
optimizer     gradients off, inside an optimizer's step, or between a backward pass and the next differentiable forward:
              clipping, unscaling and hand-written updates belong to the update
inference     gradients off otherwise: evaluation, generation, initialisation
============  ==========================================================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

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
    optimizer_task: int | None = None  # the graph task in which an optimizer's step began; None outside of a step


class _Kept(threading.local):
    phase: tuple[Phase, int] | None = None  # the phase that stays although gradients are off, and its graph task


class Keeper(NamedTuple):
    """Who is told of a phase that is to be kept: ``keep`` returns what was kept before, which ``restore`` is given."""

    keep: Callable[[], Any]
    restore: Callable[[Any], None]


def _keep() -> tuple[Phase, int] | None:
    around = _kept.phase
    task = _graph_task_id()
    _kept.phase = (Phase.FORWARD if task == _NO_TASK else _inside_backward(), task)
    return around


def _restore(around: tuple[Phase, int] | None) -> None:
    _kept.phase = around


_kept = _Kept()  # the process's: compiled code holds on to the wrapper below for longer than one tracker lives
KEEPERS = [Keeper(_keep, _restore)]


@contextmanager
def phase_kept() -> Iterator[None]:
    """Inside, work is of the phase that is current now, although the gradients that are on are switched off."""
    around = [(keeper, keeper.keep()) for keeper in KEEPERS]
    try:
        yield
    finally:
        for keeper, before in around:
            keeper.restore(before)


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
        kept = _kept.phase
        if kept is not None and kept[1] == task:
            return kept[0]
        if task != _NO_TASK:
            self._updating = True
            return Phase.BACKWARD
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
        self._unwatch = watch_functions()

    def detach(self) -> None:
        """Undo `attach`."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None


_watching = 0  # how many watch; one wrapper serves them all
_unwrapped: Any = None


def watch_functions() -> Callable[[], None]:
    """The forward of an `autograd.Function` that is called with gradients on keeps its phase.

    Returns: what ends it; torch's own is back once all have ended theirs, in any order.
    """
    global _watching, _unwrapped  # noqa: PLW0603 - what is wrapped is the process's
    if _watching == 0:
        _unwrapped = torch.autograd.Function.apply.__func__  # type: ignore[attr-defined]
        torch.autograd.Function.apply = _keeping(_unwrapped)  # type: ignore[method-assign]
    _watching += 1
    return _unwatch


def _unwatch() -> None:
    global _watching  # noqa: PLW0603
    _watching -= 1
    if _watching == 0:
        torch.autograd.Function.apply = classmethod(_unwrapped)  # type: ignore[method-assign,assignment]


def _keeping(original: Callable[..., Any]) -> Any:
    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if not _grad_enabled():
            return original(cls, *args, **kwargs)
        with phase_kept():
            return original(cls, *args, **kwargs)

    apply.__doc__ = original.__doc__
    return classmethod(apply)


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
