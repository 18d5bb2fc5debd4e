"""Hooks of optimizers' steps, taken off so that no step of the training fails for it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any

from torch.optim import Optimizer

_STEPS = Optimizer.profile_hook_step.__code__.co_filename  # where torch goes through the hooks of a step


def take_off(handles: Iterable[Any]) -> list[Any]:
    """The hooks are off, but inside of a step: then they are given back, to be taken off later.

    torch goes through its hooks as it calls them, and a step ends with an error where one of them is gone meanwhile:
    also where it is a hook of the script's own that has the auditor stop.
    """
    if _inside_step():
        return list(handles)
    for handle in handles:
        handle.remove()
    return []


def _inside_step() -> bool:
    """Whether this thread is in a step of an optimizer, or in one of its hooks."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - of `inspect` it is the part that reads no files
    while frame is not None and frame.f_code.co_filename != _STEPS:
        frame = frame.f_back
    return frame is not None
