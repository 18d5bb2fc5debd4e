"""Hears when the process joins torch.distributed's default process group and when it leaves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auditor.counting.patching import Patch, Patches

_MODULE = "torch.distributed.distributed_c10d"
_SETTER = "_update_default_pg"  # called by whatever makes, shrinks or destroys the default group


class Membership:
    """From `attach` to `detach`, these are called on the thread that changes the group.

    changing: before torch knows. changed: once it does, and before anything is computed; with whether there is one now.
    """

    def __init__(self, changing: Callable[[], object], changed: Callable[[bool], None]) -> None:
        self._changing = changing
        self._changed = changed
        self._patches = Patches([Patch(_MODULE, _SETTER, self._telling, optional=True)])

    def attach(self) -> None:
        """Listen from here on."""
        self._patches.install()

    def detach(self) -> None:
        """Listen no more."""
        self._patches.remove()

    def _telling(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        def update(group: Any) -> None:
            self._changing()
            original(group)
            self._changed(group is not None)

        return update
