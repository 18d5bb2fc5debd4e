"""Replays of what real devices answered, in place of NVML, which is the one thing that is replaced."""

# ruff: noqa: N802 - the library's names

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

# An H200 SXM. Source: `nvidia-smi -q` of such a board in a public repository (PCI ids, board part number, brand,
# module and board id, clocks, fabric, confidential computing, 143,771 MiB), torch's print of one (132 processors,
# of 128 cores), and the driver's own table (name and ids). The serial, UUID, PDI, firmware and energy stand for
# those of any board.
H200: dict[str, Any] = {
    "Name": "NVIDIA H200",
    "UUID": "GPU-11111111-2222-3333-4444-555555555555",
    "Pdi": 0x145C8E416B389D3E,
    "Brand": 14,
    "BoardId": 0x300,
    "ModuleId": 3,
    "DefaultApplicationsClock": {0: 1980},
    "MaxCustomerBoostClock": {0: 1980},
    "GpuFabricInfoV": {"state": 3, "cliqueId": 0},
    "PlatformInfo": NOT_SUPPORTED,  # before Blackwell
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
    "ClockInfo": {1: 345},
    "TotalEccErrors": 0,
    "CurrentClocksEventReasons": 1,  # idle
    "gpm": {2: 80.0, 5: 50.0, 6: 0.0, 7: 40.0, 9: 0.0, 11: 0.0},  # percent; the cycle counters came with a later driver
}
# A slice of it. Source: `nvidia-smi mig -lgip` of an H200 in a public repository (16 processors, 16.00 GiB).
H200_SLICE: dict[str, Any] = {
    "Name": "NVIDIA H200 MIG 1g.18gb",
    "UUID": "MIG-aaaa",
    "Attributes_v2": SimpleNamespace(multiprocessorCount=16, memorySizeMB=16384),
    "GpuInstanceId": 9,
}
# A GeForce board: no InfoROM, no MIG. Source: ids and name from the driver's table, clock from public prints.
RTX_4090: dict[str, Any] = {
    **H200,
    "Name": "NVIDIA GeForce RTX 4090",
    "UUID": "GPU-99999999-8888-7777-6666-555555555555",
    "PciInfo": SimpleNamespace(pciDeviceId=0x268410DE, pciSubSystemId=0x16F410DE, busId=b"00000000:41:00.0"),
    "Serial": NOT_SUPPORTED,
    "BoardPartNumber": NOT_SUPPORTED,
    "VbiosVersion": NOT_SUPPORTED,
    "InforomImageVersion": NOT_SUPPORTED,
    "MigMode": NOT_SUPPORTED,
    "Brand": 5,
    "ModuleId": 1,
    "GpuFabricInfoV": NOT_SUPPORTED,
    "gpm": NOT_SUPPORTED,
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
    computing: tuple[int, int, int] = (0, 0, 0)  # confidential: environment, feature, development tools
    excluded: tuple[tuple[str, str], ...] = ()  # UUID and bus id
    open_sessions: int = 0
    calls: list[str] = field(default_factory=list)
    nonces: list[bytes] = field(default_factory=list)
    samples: int = 0  # of the performance monitor, not yet given back
    errors: list[tuple[int, int]] = field(default_factory=list)  # XIDs that wait to be taken: device number, XID

    c_nvmlGpmMetricsGet_t = pynvml.c_nvmlGpmMetricsGet_t  # noqa: N815 - the library's name
    c_nvmlGpuFabricInfo_v2_t = pynvml.c_nvmlGpuFabricInfo_v2_t  # noqa: N815 - the library's name
    c_nvmlPlatformInfo_v2_t = pynvml.c_nvmlPlatformInfo_v2_t  # noqa: N815 - the library's name
    NVML_GPM_METRICS_GET_VERSION = pynvml.NVML_GPM_METRICS_GET_VERSION

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise pynvml.NVMLError(self.init_error)
        self.open_sessions += 1

    def nvmlShutdown(self) -> None:
        self.open_sessions -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.recorded)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        device = self.recorded[index]
        return answered(device.get("handle", device))

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        if uuid not in self.slices:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return {**H200_SLICE, "UUID": uuid, "parent": self.slices[uuid]}

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: dict[str, Any]) -> dict[str, Any]:
        return self.recorded[part["parent"]]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> dict[str, Any]:
        own = [uuid for uuid, number in self.slices.items() if self.recorded[number] is handle]
        if index >= len(own):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.nvmlDeviceGetHandleByUUID(own[index])

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65.06"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 13000

    def nvmlDeviceGetMaxClockInfo(self, handle: dict[str, Any], clock: int) -> int:
        return int(answered(handle["MaxClockInfo"])[clock])

    def nvmlDeviceGetDefaultApplicationsClock(self, handle: dict[str, Any], clock: int) -> int:
        return int(answered(handle["DefaultApplicationsClock"])[clock])

    def nvmlDeviceGetMaxCustomerBoostClock(self, handle: dict[str, Any], clock: int) -> int:
        return int(answered(handle["MaxCustomerBoostClock"])[clock])

    def nvmlDeviceGetClockInfo(self, handle: dict[str, Any], clock: int) -> int:
        return int(answered(handle["ClockInfo"])[clock])

    def nvmlDeviceGetTotalEccErrors(self, handle: dict[str, Any], kind: int, counter: int) -> int:
        assert (kind, counter) == (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        return int(answered(handle["TotalEccErrors"]))

    def nvmlDeviceGetGpuFabricInfoV(self, handle: dict[str, Any], reference: Any) -> None:
        fill(reference, answered(handle["GpuFabricInfoV"]))

    def nvmlDeviceGetPlatformInfo(self, handle: dict[str, Any], reference: Any) -> None:
        fill(reference, answered(handle["PlatformInfo"]))

    def nvmlGetExcludedDeviceCount(self) -> int:
        return len(self.excluded)

    def nvmlGetExcludedDeviceInfoByIndex(self, index: int) -> Any:
        uuid, bus = self.excluded[index]
        return SimpleNamespace(uuid=uuid.encode(), pci=SimpleNamespace(busId=bus.encode()))

    def nvmlSystemGetConfComputeState(self) -> Any:
        environment, feature, tools = self.computing
        return SimpleNamespace(environment=environment, ccFeature=feature, devToolsMode=tools)

    def nvmlDeviceGetConfComputeGpuAttestationReport(self, handle: dict[str, Any], nonce: bytes) -> Any:
        assert len(nonce) == 32
        self.nonces.append(bytes(nonce))
        answer = pynvml.c_nvmlConfComputeGpuAttestationReport_t()
        report = b"report over " + bytes(nonce)
        answer.attestationReport[: len(report)] = report
        answer.attestationReportSize = len(report)
        return answered(handle.get("report", answer))

    def nvmlDeviceGetConfComputeGpuCertificate(self, handle: dict[str, Any]) -> Any:
        answer = pynvml.c_nvmlConfComputeGpuCertificate_t()
        answer.attestationCertChain[:5] = b"chain"
        answer.attestationCertChainSize = 5
        return answer

    def nvmlGpmQueryDeviceSupport(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(isSupportedDevice=not isinstance(handle["gpm"], Failure) or handle["gpm"] != 3)

    def nvmlGpmSampleAlloc(self) -> Any:
        self.samples += 1
        return pynvml.c_nvmlGpmSample_t()

    def nvmlGpmSampleFree(self, sample: Any) -> None:
        self.samples -= 1

    def nvmlGpmSampleGet(self, handle: dict[str, Any], sample: Any) -> None:
        self.calls.append("nvmlGpmSampleGet")
        answered(handle["gpm"])
        self._sampled = handle

    def nvmlGpmMigSampleGet(self, handle: dict[str, Any], instance: int, sample: Any) -> None:
        self.calls.append(f"nvmlGpmMigSampleGet {instance}")
        self._sampled = handle

    def nvmlGpmMetricsGet(self, asked: Any) -> Any:
        for place in range(asked.numMetrics):
            metric = asked.metrics[place]
            known = metric.metricId in self._sampled["gpm"]
            metric.nvmlReturn = 0 if known else pynvml.NVML_ERROR_NOT_SUPPORTED
            metric.value = self._sampled["gpm"].get(metric.metricId, 0.0)
        return asked

    def nvmlEventSetCreate(self) -> Any:
        return SimpleNamespace(devices=[])

    def nvmlEventSetFree(self, events: Any) -> None:
        events.devices.clear()

    def nvmlDeviceRegisterEvents(self, handle: dict[str, Any], kinds: int, events: Any) -> None:
        assert kinds == pynvml.nvmlEventTypeXidCriticalError
        events.devices.append(handle)

    def nvmlEventSetWait_v2(self, events: Any, timeout_ms: int) -> Any:
        waiting = [error for error in self.errors if self.recorded[error[0]] in events.devices]
        if not waiting:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        self.errors.remove(waiting[0])
        return SimpleNamespace(device=self.recorded[waiting[0][0]], eventData=waiting[0][1])

    def __getattr__(self, name: str) -> Callable[[dict[str, Any]], Any]:
        """``nvmlDeviceGet<Key>`` answers what is recorded under the key; an error code there is raised."""
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)

        def answer(handle: dict[str, Any]) -> Any:
            self.calls.append(name)
            return answered(handle[name.removeprefix("nvmlDeviceGet")])

        return answer


def answered(value: Any) -> Any:
    if isinstance(value, Failure):
        raise pynvml.NVMLError(int(value))
    return value


def fill(reference: Any, values: dict[str, Any]) -> None:
    """What the driver would write into the structure that it was given the address of."""
    for name, value in values.items():
        setattr(reference._obj, name, value)


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
