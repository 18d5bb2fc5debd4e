"""Every door to devices behind one protocol: NVML for NVIDIA's, amdsmi for AMD's, the processor where there is none."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Protocol

from auditor.hardware import amd, nvml
from auditor.hardware.answers import within
from auditor.hardware.identity import Device, cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Opening NVML without its persistence daemon wakes each device, a second or two each.
_ANSWER_WITHIN_S = 15.0


class Door(Protocol):
    """A vendor's library: the devices that this process may use, or none and why."""

    def devices(self, environ: Mapping[str, str]) -> tuple[list[Device], str]:
        """What each says of itself, in the order in which a framework numbers them."""


DOORS: tuple[Door, ...] = (nvml, amd)


def survey(
    environ: Mapping[str, str] | None = None,
    doors: Sequence[Door] = DOORS,
    hurry: Callable[[], bool] = lambda: False,
) -> list[Device]:
    """The visible GPUs of every vendor, else the CPU with the reasons; a library that hangs is a reason too.

    hurry: from when on it is true, nobody is waited for longer than a second.
    """
    wishes = os.environ if environ is None else environ
    found: list[Device] = []
    reasons: list[str] = []
    for answer in within(_ANSWER_WITHIN_S, [functools.partial(door.devices, wishes) for door in doors], hurry):
        gpus, reason = answer or ([], "no answer in time: the driver hangs")
        found += gpus
        reasons += [reason] if reason else []
    return found or [cpu("; ".join(reasons))]


def observe() -> tuple[Mapping[str, str], ...]:
    """What `survey` finds, as written down in a genesis record."""
    return tuple(device.to_mapping() for device in survey())
