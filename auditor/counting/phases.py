"""Which phase an operator runs in, read from torch's own state at the moment it runs.

============  ==========================================================================================================
backward      the autograd engine is running a graph task otherwise
recompute     a graph task is running with gradients switched on, and torch's checkpoint (not reentrant) or the backward
              of a function named ``Checkpoint...`` (reentrant; torch's, Megatron's, DeepSpeed's) is at work
forward       gradients on, or inside the forward of an `autograd.Function` that was called with gradients on; where
              it was called by a recomputation, that is recompute as well
optimizer     gradients off, inside an optimizer's step, or between a backward pass and the next differentiable forward:
              clipping, unscaling and hand-written updates belong to the update
inference     gradients off otherwise: evaluation, generation, initialisation
============  ==========================================================================================================
"""

from __future__ import annotations

import threading
from typing import Any

import torch

from auditor.tally import Phase

_graph_task_id = torch._C._current_graph_task_id  # noqa: SLF001 - the only way to ask
_current_node = torch._C._current_autograd_node  # noqa: SLF001
_saved_tensor_hooks = torch._C._autograd._top_saved_tensors_default_hooks  # noqa: SLF001
_grad_enabled = torch.is_grad_enabled
_NO_TASK = -1


class _ThreadState(threading.local):
    # The phase and graph task in which the forward of an autograd.Function was called with gradients on, if one was.
    function: tuple[Phase, int] | None = None
    optimizer_task: int | None = None  # the graph task in which an optimizer's step began; None outside of a step


class PhaseTracker:
    """Answers `current`; told of optimizer steps by the step clock and of custom functions by its own wrapper."""

    def __init__(self) -> None:
        self._thread = _ThreadState()
        self._updating = False  # a backward pass has ended and no differentiable forward has begun
        self._original_apply: Any = None

    def current(self) -> Phase:
        """The phase of an operator that runs now on this thread."""
        task = _graph_task_id()
        if _grad_enabled():
            return Phase.FORWARD if task == _NO_TASK else _inside_backward()
        if self._thread.optimizer_task == task:
            return Phase.OPTIMIZER
        function = self._thread.function
        if function is not None and function[1] == task:
            return function[0]
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
        thread, original = self._thread, torch.autograd.Function.apply.__func__  # type: ignore[attr-defined]

        def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
            if not _grad_enabled():
                return original(cls, *args, **kwargs)
            around = thread.function
            thread.function = (self.current(), _graph_task_id())
            try:
                return original(cls, *args, **kwargs)
            finally:
                thread.function = around

        apply.__doc__ = original.__doc__
        self._original_apply = original
        torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign,assignment]

    def detach(self) -> None:
        """Undo `attach`."""
        if self._original_apply is not None:
            torch.autograd.Function.apply = classmethod(self._original_apply)  # type: ignore[method-assign,assignment]
            self._original_apply = None


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
