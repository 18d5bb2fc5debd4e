"""Hooks of optimizers' steps, taken off so that no step of the training fails for it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class _Inside(threading.local):
    depth = 0


_inside = _Inside()


@contextmanager
def inside_hook() -> Iterator[None]:
    """What runs inside is called by a hook of a step on this thread."""
    _inside.depth += 1
    try:
        yield
    finally:
        _inside.depth -= 1


def take_off(handles: Iterable[Any]) -> list[Any]:
    """The hooks are off, but inside of a hook: then they are given back, to be taken off later.

    torch goes through its hooks as it calls them, and a step ends with an error where one of them is gone meanwhile.
    """
    if _inside.depth:
        return list(handles)
    for handle in handles:
        handle.remove()
    return []
