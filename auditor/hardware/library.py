"""A vendor's library as Python has it: found, begun, asked, and closed again; what goes wrong is a reason."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from auditor.hardware.answers import attempt, find, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditor.hardware.identity import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """``device``: what its devices are called in a reason. ``begin``, ``end``: its functions that open and close it."""

    device: str  # "NVML device"
    module: str
    package: str
    begin: str
    end: str

    def open(self) -> tuple[Any, str]:
        """The module, ready to be asked until `close`; or None and why it does not open."""
        module, reason = find(self.module)
        if module is None:
            return None, f"no {self.device}: {self.package} {reason}"
        _, reason = attempt(methodcaller(self.begin), module)
        return (None, f"no {self.device}: {reason}") if reason else (module, "")

    def close(self, module: Any) -> None:
        """The module is asked no more."""
        attempt(methodcaller(self.end), module)

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Any, str]]:
        """The module, ready to be asked, and closed afterwards; or None and why it does not open."""
        module, reason = self.open()
        try:
            yield module, reason
        finally:
            if module is not None:
                self.close(module)

    def devices(self, ask: Callable[[Any], tuple[list[Device], str]]) -> tuple[list[Device], str]:
        """What ``ask`` finds in the open module; without any device, also the reason."""
        with self.opened() as (module, closed):
            if module is None:
                return [], closed
            try:
                return ask(module)
            except Exception as error:  # noqa: BLE001 - a driver may break in any way
                return [], f"no {self.device}: {said(error)}"
