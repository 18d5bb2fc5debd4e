"""Replays of what real devices answered, in place of NVML, which is the one thing that is replaced."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from auditor.hardware import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.hardware.catalogue import Catalogue

MIB = 2**20


class Failure(int):
    """Stands for an answer that is an NVML error of that code."""


NOT_SUPPORTED = Failure(pynvml.NVML_ERROR_NOT_SUPPORTED)

# An H200 SXM. Source: `nvidia-smi -q` of such a board in a public repository (PCI ids, board part number,
# maximum SM clock, 143,771 MiB), torch's print of one (132 processors, of 128 cores), and the driver's own
# table (name and ids). The serial, UUID, firmware and energy stand for those of any board.
H200: dict[str, Any] = {
    "Name": "NVIDIA H200",
    "UUID": "GPU-11111111-2222-3333-4444-555555555555",
    "Serial": "1650000000001",
    "BoardPartNumber": "695-2G520-0280-000",
    "PciInfo": SimpleNamespace(pciDeviceId=0x233510DE, pciSubSystemId=0x18BE10DE, busId=b"00000000:1B:00.0"),
    "VbiosVersion": "96.00.A0.00.01",
    "InforomImageVersion": "G520.0280.00.05",
    "Architecture": 9,
    "CudaComputeCapability": (9, 0),
    "NumGpuCores": 16896,
    "MaxClockInfo": {1: 1980, 2: 3201},
    "MemoryInfo": SimpleNamespace(total=143771 * MIB),
    "MemoryBusWidth": 6144,
    "MigMode": [0, 0],
    "VirtualizationMode": 0,
    "TotalEnergyConsumption": 123456789,
}
# A GeForce board: no InfoROM, no MIG. Source: ids and name from the driver's table, clock from public prints.
RTX_4090: dict[str, Any] = {
    **H200,
    "Name": "NVIDIA GeForce RTX 4090",
    "UUID": "GPU-99999999-8888-7777-6666-555555555555",
    "PciInfo": SimpleNamespace(pciDeviceId=0x268410DE, pciSubSystemId=0x16F410DE, busId=b"00000000:41:00.0"),
    "Serial": NOT_SUPPORTED,
    "BoardPartNumber": NOT_SUPPORTED,
    "InforomImageVersion": NOT_SUPPORTED,
    "MigMode": NOT_SUPPORTED,
    "Architecture": 8,
    "CudaComputeCapability": (8, 9),
    "NumGpuCores": 16384,
    "MaxClockInfo": {1: 3105, 2: 10501},
    "MemoryInfo": SimpleNamespace(total=24564 * MIB),
    "MemoryBusWidth": 384,
}


@dataclass
class FakeNvml:
    """The functions of `pynvml` that are used, over recorded answers; an absent answer fails."""

    recorded: list[dict[str, Any]]
    slices: dict[str, int] = field(default_factory=dict)  # UUID of a MIG slice to the number of its device
    init_error: int | None = None
    open_sessions: int = 0
    calls: list[str] = field(default_factory=list)

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        if self.init_error is not None:
            raise pynvml.NVMLError(self.init_error)
        self.open_sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - the library's name
        self.open_sessions -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library's name
        return len(self.recorded)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802 - the library's name
        return self.recorded[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:  # noqa: N802 - the library's name
        if uuid not in self.slices:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return {"Name": "NVIDIA H200 MIG 1g.18gb", "parent": self.slices[uuid]}

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.recorded[part["parent"]]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - the library's name
        return "580.65.06"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802 - the library's name
        return 13000

    def nvmlDeviceGetMaxClockInfo(self, handle: dict[str, Any], clock: int) -> int:  # noqa: N802 - the library's name
        return int(handle["MaxClockInfo"][clock])

    def __getattr__(self, name: str) -> Callable[[dict[str, Any]], Any]:
        """``nvmlDeviceGet<Key>`` answers what is recorded under the key; an error code there is raised."""
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)

        def answer(handle: dict[str, Any]) -> Any:
            self.calls.append(name)
            value = handle[name.removeprefix("nvmlDeviceGet")]
            if isinstance(value, Failure):
                raise pynvml.NVMLError(int(value))
            return value

        return answer


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeNvml], FakeNvml]:
    def put(fake: FakeNvml) -> FakeNvml:
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return put


@pytest.fixture
def fake(install: Callable[[FakeNvml], FakeNvml]) -> Callable[..., FakeNvml]:
    """Installs a machine with these devices: ``fake("h200", "rtx4090")``, or ``fake(init_error=12)``."""
    known = {"h200": H200, "rtx4090": RTX_4090}

    def build(*names: str | dict[str, Any], **options: Any) -> FakeNvml:
        recorded = [dict(known[name]) if isinstance(name, str) else name for name in names]
        return install(FakeNvml(recorded, **options))

    return build


@pytest.fixture
def h200() -> dict[str, Any]:
    return dict(H200)


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    return catalogue.load()
