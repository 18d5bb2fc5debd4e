"""The one door to NVML: what each visible NVIDIA device says of itself, or why there is none.

Nothing here raises. The driver's library may be absent, older than ours, without permission or without its
device; each call is guarded by itself, and what could not be asked is kept as a reason. `pynvml` is imported
when it is needed.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from auditor.hardware import attestation
from auditor.hardware.answers import answers, text
from auditor.hardware.identity import GPU, NVML, Device
from auditor.hardware.library import Library
from auditor.hardware.nvidia_visible import Lost, Selected, slices_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VIRTUALIZATION = {0: "none", 1: "passthrough", 2: "vgpu", 3: "host vgpu", 4: "host vsga"}
_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
_BRANDS = {
    1: "Quadro",
    2: "Tesla",
    3: "NVS",
    4: "GRID",
    5: "GeForce",
    6: "Titan",
    7: "NVIDIA Virtual Applications",
    8: "NVIDIA Virtual PC",
    9: "NVIDIA Virtual Compute Server",
    10: "NVIDIA RTX Virtual Workstation",
    11: "NVIDIA Cloud Gaming",
    12: "Quadro RTX",
    13: "NVIDIA RTX",
    14: "NVIDIA",
    15: "GeForce RTX",
    16: "Titan RTX",
}
_FABRIC = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
_CLOCK_GRAPHICS = 0
_CLOCK_SM = 1
_CLOCK_MEMORY = 2


LIBRARY = Library(device="NVML device", module="pynvml", package="nvidia-ml-py", begin="nvmlInit", end="nvmlShutdown")


def devices(environ: Mapping[str, str] = os.environ) -> tuple[list[Device], str]:
    """The NVIDIA devices that this process may use, in CUDA's order; without any, also the reason.

    ``CUDA_VISIBLE_DEVICES`` is honoured: numbers, UUIDs and beginnings of UUIDs, MIG slices (which stand for
    their parent), and the first entry that names nothing ends the list.
    """

    def ask(library: Any) -> tuple[list[Device], str]:
        selected, reason = visible(library, environ)
        return [_identity(library, one) for one in selected], reason

    return LIBRARY.devices(ask)


def _identity(library: Any, selected: Selected) -> Device:
    handle = selected.handle
    if isinstance(handle, Lost):
        return Device(kind=GPU, given={"door": NVML, **selected.given}, not_given={"uuid": handle.reason})
    given, not_given = answers(_questions(library, handle) | _surroundings(library, handle))
    part, without = _partition(library, selected, given.get("mig_mode") == "enabled")
    attested = attestation.attest(library, handle, given.get("confidential_computing", ""))
    return Device(
        kind=GPU,
        given={"door": NVML, **selected.given, **given, **part, **attested.given},
        not_given={**not_given, **without, **attested.not_given},
        evidence=attested.evidence,
    )


def _questions(library: Any, handle: Any) -> dict[str, Callable[[], object]]:
    """Each field and how to ask for it; a function that the library lacks fails when called, not here."""
    return {
        "name": lambda: library.nvmlDeviceGetName(handle),
        "uuid": lambda: library.nvmlDeviceGetUUID(handle),
        "pdi": lambda: f"{library.nvmlDeviceGetPdi(handle):016x}",
        "brand": lambda: _BRANDS.get(library.nvmlDeviceGetBrand(handle)),
        "serial": lambda: library.nvmlDeviceGetSerial(handle),
        "board_part_number": lambda: library.nvmlDeviceGetBoardPartNumber(handle),
        "board_id": lambda: library.nvmlDeviceGetBoardId(handle),
        "pci_device_id": lambda: _pci(library.nvmlDeviceGetPciInfo(handle).pciDeviceId),
        "pci_subsystem_id": lambda: _pci(library.nvmlDeviceGetPciInfo(handle).pciSubSystemId),
        "pci_bus_id": lambda: library.nvmlDeviceGetPciInfo(handle).busId,
        "vbios": lambda: library.nvmlDeviceGetVbiosVersion(handle),
        "inforom": lambda: library.nvmlDeviceGetInforomImageVersion(handle),
        "architecture": lambda: _ARCHITECTURES.get(library.nvmlDeviceGetArchitecture(handle)),
        "compute_capability": lambda: _dotted(library.nvmlDeviceGetCudaComputeCapability(handle)),
        "num_cores": lambda: library.nvmlDeviceGetNumGpuCores(handle),
        "max_sm_clock_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, _CLOCK_SM),
        "default_clock_mhz": lambda: library.nvmlDeviceGetDefaultApplicationsClock(handle, _CLOCK_GRAPHICS),
        "max_customer_boost_mhz": lambda: library.nvmlDeviceGetMaxCustomerBoostClock(handle, _CLOCK_GRAPHICS),
        "max_memory_clock_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, _CLOCK_MEMORY),
        "memory_bytes": lambda: library.nvmlDeviceGetMemoryInfo(handle).total,
        "memory_bus_bits": lambda: library.nvmlDeviceGetMemoryBusWidth(handle),
        "mig_mode": lambda: "enabled" if library.nvmlDeviceGetMigMode(handle)[0] else "disabled",
        "virtualization_mode": lambda: _VIRTUALIZATION.get(library.nvmlDeviceGetVirtualizationMode(handle)),
        "energy_mj": lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle),
    }


def _surroundings(library: Any, handle: Any) -> dict[str, Callable[[], object]]:
    """As `_questions`: the driver, the machine around the device, and what it was made part of."""
    return {
        "driver": lambda: library.nvmlSystemGetDriverVersion(),  # noqa: PLW0108 - the library may lack it
        "cuda_driver": lambda: _cuda(library.nvmlSystemGetCudaDriverVersion_v2()),
        "nvml": lambda: library.nvmlSystemGetNVMLVersion(),  # noqa: PLW0108 - the library may lack it
        "module_id": lambda: library.nvmlDeviceGetModuleId(handle),
        "chassis_serial": lambda: _platform(library, handle).chassisSerialNumber,
        "slot": lambda: _number(_platform(library, handle).slotNumber),
        "tray": lambda: _number(_platform(library, handle).trayIndex),
        "fabric_state": lambda: _FABRIC.get(_fabric(library, handle).state),
        "fabric_cluster": lambda: bytes(_fabric(library, handle).clusterUuid).hex(),
        "fabric_clique": lambda: _fabric(library, handle).cliqueId,
        "excluded_devices": lambda: _excluded(library),
        "confidential_computing": lambda: attestation.state(library),
    }


def _partition(library: Any, selected: Selected, cut: bool) -> tuple[dict[str, str], dict[str, str]]:
    """The slice that the process was given, of a device that is cut into slices; nothing of a whole one."""
    if not cut and selected.part is None:
        return {}, {}
    slices = slices_of(library, selected.handle)
    part = selected.part if selected.part is not None else (slices[0] if len(slices) == 1 else None)
    given, not_given = answers({"mig_slices": lambda: ", ".join(_profile(library, one) for one in slices)})
    if part is None:
        if "mig_uuid" not in selected.given:
            not_given["mig_uuid"] = f"cut into {len(slices)} slices, and nothing says which of them is used"
        return given, not_given
    questions: dict[str, Callable[[], object]] = {
        "mig_name": lambda: library.nvmlDeviceGetName(part),
        "mig_profile": lambda: _profile(library, part),
        "mig_sm_count": lambda: library.nvmlDeviceGetAttributes_v2(part).multiprocessorCount,
        "mig_memory_bytes": lambda: library.nvmlDeviceGetAttributes_v2(part).memorySizeMB * 2**20,
        "mig_gpu_instance": lambda: library.nvmlDeviceGetGpuInstanceId(part),
    }
    if "mig_uuid" not in selected.given:
        questions["mig_uuid"] = lambda: library.nvmlDeviceGetUUID(part)
    of_part, without = answers(questions)
    return given | of_part, not_given | without


def _profile(library: Any, part: Any) -> str:
    """The end of the slice's name: "NVIDIA H200 MIG 1g.18gb" has the profile "1g.18gb"."""
    return text(library.nvmlDeviceGetName(part)).rpartition("MIG ")[2]


def _platform(library: Any, handle: Any) -> Any:
    answer = library.c_nvmlPlatformInfo_v2_t()
    library.nvmlDeviceGetPlatformInfo(handle, ctypes.byref(answer))
    return answer


def _fabric(library: Any, handle: Any) -> Any:
    answer = library.c_nvmlGpuFabricInfo_v2_t()
    library.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(answer))
    return answer


def _number(byte: bytes | str) -> int:
    """A character that stands for a number; versions of the library give it as bytes or as text."""
    return ord(byte[:1] or b"\0")


def _excluded(library: Any) -> str:
    """Every device that the driver was told to hide; "none" is an answer."""
    found = [library.nvmlGetExcludedDeviceInfoByIndex(index) for index in range(library.nvmlGetExcludedDeviceCount())]
    return ", ".join(f"{text(one.uuid)} at {text(one.pci.busId)}" for one in found) or "none"


def _pci(number: int) -> str:
    """0x233510DE is device 2335 of vendor 10de: "10de:2335"."""
    return f"{number & 0xFFFF:04x}:{number >> 16:04x}"


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
