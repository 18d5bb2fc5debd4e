"""Which of the visible devices this process computes on, and what CUDA itself says of each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from auditor.hardware import doors
from auditor.hardware.answers import answers, text
from auditor.hardware.identity import GPU, Device
from auditor.session.recorder import Task

_PREFIXES = ("", "GPU-", "MIG-")


class InUse:
    """The visible devices; called, it answers with those in use so far, by UUID.

    A device is in use once torch has taken memory on it. When it is first seen to be, what CUDA says of it is
    submitted as a record (a second account, from another library than the identity), and what it signed.
    """

    def __init__(self, visible: Sequence[Device], submit: Callable[[Task], None]) -> None:
        self.identities = tuple(device.to_mapping() for device in visible)
        self.any_gpu = any(device.kind == GPU for device in visible)
        self._visible = [device for device in visible if device.kind == GPU]
        self._submit = submit
        self._found: dict[str, Device] = {}

    @classmethod
    def survey(cls, submit: Callable[[Task], None], hurry: Callable[[], bool]) -> InUse:
        """All that there are, as their own libraries tell; soon, from when on ``hurry`` is true."""
        return cls(doors.survey(hurry=hurry), submit)

    def __call__(self) -> Mapping[str, Device]:
        """The devices in use so far, by UUID."""
        torch = sys.modules.get("torch")
        if torch is not None:
            with contextlib.suppress(Exception):  # a device in trouble may fail any question; those found stay
                self._find(torch.cuda)
        return dict(self._found)

    def declare_again(self) -> None:
        """What CUDA says of each device is submitted once more, where it is seen again: for another segment."""
        self._found = {}

    def _find(self, cuda: Any) -> None:
        for index in range(cuda.device_count() if cuda.is_initialized() else 0):
            if cuda.memory_reserved(index):
                self._add(cuda.get_device_properties(index), index)

    def _add(self, properties: Any, index: int) -> None:
        device = self._match(properties, index)
        uuid = device.given.get("uuid") if device else None
        if device is not None and uuid and uuid not in self._found:
            self._found[uuid] = device
            self._record("declared", device, _declared(properties))
            if device.evidence:
                self._record("attested", device, device.evidence)

    def _match(self, properties: Any, index: int) -> Device | None:
        """By UUID, a slice's own included; else by number, which libraries may count in another order."""
        names = {f"{prefix}{getattr(properties, 'uuid', '')}" for prefix in _PREFIXES}
        for device in self._visible:
            if names & {device.given.get("uuid"), device.given.get("mig_uuid")}:
                return device
        return self._visible[index] if index < len(self._visible) else None

    def _record(self, event: str, device: Device, values: Mapping[str, str]) -> None:
        uuid = device.given.get("uuid", "")
        self._submit(lambda book: book.hardware(event, uuid, values))


def _declared(properties: Any) -> dict[str, str]:
    """What CUDA (or HIP) says of a device, under the names of identities where they mean the same."""
    given, _ = answers(
        {
            "name": lambda: properties.name,
            "compute_capability": lambda: f"{properties.major}.{properties.minor}",
            "sm_count": lambda: properties.multi_processor_count,
            "memory_bytes": lambda: properties.total_memory,
            "l2_bytes": lambda: properties.L2_cache_size,
            "memory_bus_bits": lambda: properties.memory_bus_width,
            "sm_clock_khz": lambda: properties.clock_rate,
        }
    )
    return {"library": "CUDA", **{name: text(value) for name, value in given.items()}}
