"""What each thread has counted, kept apart so that no thread waits for another."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.tally import Phase

Key = tuple[Any, Phase, tuple[Any, ...]]
"""What was called, in which phase, and with what: enough to tell calls apart, and cheap to make."""


class _Owner:
    """Lives as long as the thread whose local storage holds it."""

    __slots__ = ("__weakref__", "cell")

    def __init__(self, cell: _Cell) -> None:
        self.cell = cell


class _Cell:
    """The calls that one thread has counted."""

    __slots__ = ("calls", "owner", "taken")

    def __init__(self) -> None:
        self.calls: dict[Key, int] = {}
        self.taken: dict[Key, int] = {}  # what was read so far, where another thread owns the cell
        self.owner: weakref.ref[_Owner] | None = None

    @property
    def ended(self) -> bool:
        """Whether its thread is no more."""
        return self.owner is not None and self.owner() is None

    def drain(self, *, own: bool) -> Mapping[Key, int]:
        """Calls not read before. A cell of this thread is emptied; another's goes on growing and is compared."""
        if own:
            calls, self.calls = self.calls, {}
            taken, self.taken = self.taken, {}
        else:
            calls, taken = self.calls.copy(), self.taken
            self.taken = calls
        if not taken:
            return calls
        return {key: number - taken.get(key, 0) for key, number in calls.items() if number > taken.get(key, 0)}


class _Local(threading.local):
    owner: _Owner | None = None


class ThreadCalls:
    """Calls that threads add, each to its own; any thread may take what all have added."""

    def __init__(self) -> None:
        self._local = _Local()
        self._cells: list[_Cell] = []

    def here(self) -> dict[Key, int]:
        """The calls of this thread, to be added to at once: who takes puts others in their place."""
        owner = self._local.owner or self._new_owner()
        return owner.cell.calls

    def take(self) -> Iterator[tuple[Key, int]]:
        """What all threads added since the last time; a key comes once for each thread."""
        owner = self._local.owner
        mine = owner.cell if owner else None
        for cell in list(self._cells):
            ended = cell.ended
            yield from cell.drain(own=cell is mine or ended).items()
            if ended:
                self._cells.remove(cell)

    def peek(self) -> Iterator[tuple[Key, int]]:
        """What this thread has added and nobody has taken yet; it stays to be taken."""
        owner = self._local.owner
        if owner is not None:
            for key, number in owner.cell.calls.items():
                yield key, number - owner.cell.taken.get(key, 0)

    def _new_owner(self) -> _Owner:
        cell = _Cell()
        owner = self._local.owner = _Owner(cell)
        cell.owner = weakref.ref(owner)
        self._cells.append(cell)
        return owner
