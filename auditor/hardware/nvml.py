"""The one door to NVML: what each visible NVIDIA device says of itself, or why there is none.

Nothing here raises. The driver's library may be absent, older than ours, without permission or without its
device; each call is guarded by itself, and what could not be asked is kept as a reason. `pynvml` is imported
when it is needed.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditor.hardware.identity import GPU, Device, cpu

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
_CLOCK_SM = 1
_CLOCK_MEMORY = 2
_LONGEST_TEXT = 200  # characters; NVML's names have at most 96


def observe() -> tuple[Mapping[str, str], ...]:
    """The visible GPUs, else the CPU with the reason; as written down in a genesis record."""
    gpus, reason = devices()
    return tuple(device.to_mapping() for device in gpus or [cpu(reason)])


def devices(environ: Mapping[str, str] = os.environ) -> tuple[list[Device], str]:
    """The NVIDIA devices that this process may use, in CUDA's order; without any, also the reason.

    ``CUDA_VISIBLE_DEVICES`` is honoured: numbers, UUIDs and beginnings of UUIDs, MIG slices (which stand for
    their parent), and the first entry that names nothing ends the list.
    """
    try:
        library = importlib.import_module("pynvml")
    except Exception as error:  # noqa: BLE001 - an optional dependency may be absent or broken in any way
        return [], f"no NVML device: nvidia-ml-py cannot be imported ({_said(error)})"
    try:
        library.nvmlInit()
    except Exception as error:  # noqa: BLE001 - see the module's first lines
        return [], f"no NVML device: {_said(error)}"
    try:
        return _visible(library, environ)
    except Exception as error:  # noqa: BLE001 - see the module's first lines
        return [], f"no NVML device: {_said(error)}"
    finally:
        _attempt(lambda: library.nvmlShutdown())  # noqa: PLW0108 - the library may lack it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selected:
    """A handle, and what is known of it from the way it was chosen."""

    handle: Any
    given: dict[str, str] = field(default_factory=dict)


def _visible(library: Any, environ: Mapping[str, str]) -> tuple[list[Device], str]:
    handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
    if not handles:
        return [], "no NVML device: the driver lists none"
    wish = environ.get("CUDA_VISIBLE_DEVICES")
    if wish is None:
        selected = [_Selected(handle=handle, given={"selected_by": "all there are"}) for handle in handles]
    else:
        by_number = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(_names(library, handles)) == 1
        selected = _chosen(library, handles, wish, by_number)
    if not selected:
        return [], f"no NVML device: CUDA_VISIBLE_DEVICES={wish!r} names none of {len(handles)}"
    return [_identity(library, one) for one in selected], ""


def _names(library: Any, handles: list[Any]) -> set[str]:
    return {str(_attempt(library.nvmlDeviceGetName, handle)[0]) for handle in handles}


def _chosen(library: Any, handles: list[Any], wish: str, by_number: bool) -> list[_Selected]:
    """The devices that a wish names, up to the first entry that names none or one twice, as CUDA reads it."""
    order = "" if by_number else "; the order of the PCI bus is assumed"
    selected: list[_Selected] = []
    seen: set[str] = set()
    for entry in (part.strip() for part in wish.split(",")):
        one = _named(library, handles, entry)
        if one is None or entry in seen:
            break
        seen.add(entry)
        how = f"CUDA_VISIBLE_DEVICES: {entry}{order if entry.isdigit() else ''}"
        selected.append(_Selected(handle=one.handle, given={**one.given, "selected_by": how}))
    return selected


def _named(library: Any, handles: list[Any], entry: str) -> _Selected | None:
    if entry.isascii() and entry.isdigit():
        number = int(entry)
        return _Selected(handle=handles[number]) if number < len(handles) else None
    if entry.startswith("MIG-"):
        return _parent(library, handles, entry)
    return _by_uuid(library, handles, entry)


def _by_uuid(library: Any, handles: list[Any], entry: str) -> _Selected | None:
    if not entry.startswith("GPU-"):
        return None
    found = [handle for handle in handles if str(_attempt(library.nvmlDeviceGetUUID, handle)[0]).startswith(entry)]
    return _Selected(handle=found[0]) if len(found) == 1 else None


def _parent(library: Any, handles: list[Any], entry: str) -> _Selected | None:
    """The device that holds a MIG slice; older drivers name one ``MIG-GPU-<uuid of the device>/<i>/<j>``."""
    if entry.startswith("MIG-GPU-"):
        whole = _by_uuid(library, handles, entry.removeprefix("MIG-").partition("/")[0])
        return whole and _Selected(handle=whole.handle, given={"mig_uuid": entry})
    part, _ = _attempt(library.nvmlDeviceGetHandleByUUID, entry)
    handle, _ = _attempt(library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, part)
    if part is None or handle is None:
        return None
    name, _ = _attempt(library.nvmlDeviceGetName, part)
    given = {"mig_uuid": entry} | ({"mig_name": _text(name)} if name else {})
    return _Selected(handle=handle, given=given)


def _identity(library: Any, selected: _Selected) -> Device:
    given = dict(selected.given)
    not_given: dict[str, str] = {}
    for name, question in _questions(library, selected.handle).items():
        answer, reason = _attempt(question)
        if reason or answer is None or answer == "":
            not_given[name] = reason or "the device gave nothing"
        else:
            given[name] = _text(answer)
    return Device(kind=GPU, given=given, not_given=not_given)


def _questions(library: Any, handle: Any) -> dict[str, Callable[[], object]]:
    """Each field and how to ask for it; a function that the library lacks fails when called, not here."""
    return {
        "name": lambda: library.nvmlDeviceGetName(handle),
        "uuid": lambda: library.nvmlDeviceGetUUID(handle),
        "serial": lambda: library.nvmlDeviceGetSerial(handle),
        "board_part_number": lambda: library.nvmlDeviceGetBoardPartNumber(handle),
        "pci_device_id": lambda: _pci(library.nvmlDeviceGetPciInfo(handle).pciDeviceId),
        "pci_subsystem_id": lambda: _pci(library.nvmlDeviceGetPciInfo(handle).pciSubSystemId),
        "pci_bus_id": lambda: library.nvmlDeviceGetPciInfo(handle).busId,
        "vbios": lambda: library.nvmlDeviceGetVbiosVersion(handle),
        "inforom": lambda: library.nvmlDeviceGetInforomImageVersion(handle),
        "architecture": lambda: _ARCHITECTURES.get(library.nvmlDeviceGetArchitecture(handle)),
        "compute_capability": lambda: _dotted(library.nvmlDeviceGetCudaComputeCapability(handle)),
        "num_cores": lambda: library.nvmlDeviceGetNumGpuCores(handle),
        "max_sm_clock_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, _CLOCK_SM),
        "max_memory_clock_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, _CLOCK_MEMORY),
        "memory_bytes": lambda: library.nvmlDeviceGetMemoryInfo(handle).total,
        "memory_bus_bits": lambda: library.nvmlDeviceGetMemoryBusWidth(handle),
        "driver": lambda: library.nvmlSystemGetDriverVersion(),  # noqa: PLW0108 - the library may lack it
        "cuda_driver": lambda: _cuda(library.nvmlSystemGetCudaDriverVersion_v2()),
        "nvml": lambda: library.nvmlSystemGetNVMLVersion(),  # noqa: PLW0108 - the library may lack it
        "mig_mode": lambda: "enabled" if library.nvmlDeviceGetMigMode(handle)[0] else "disabled",
        "virtualization_mode": lambda: _VIRTUALIZATION.get(library.nvmlDeviceGetVirtualizationMode(handle)),
        "energy_mj": lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle),
    }


def _pci(number: int) -> str:
    """0x233510DE is device 2335 of vendor 10de: "10de:2335"."""
    return f"{number & 0xFFFF:04x}:{number >> 16:04x}"


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _attempt(call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """The answer and "", or None and the reason."""
    try:
        return call(*arguments), ""
    except Exception as error:  # noqa: BLE001 - see the module's first lines
        return None, _said(error)


def _said(error: Exception) -> str:
    try:
        return _text(str(error) or type(error).__name__)
    except Exception:  # noqa: BLE001 - NVML's errors ask the library for their text
        return type(error).__name__


def _text(answer: object) -> str:
    text = answer.decode("utf-8", errors="replace") if isinstance(answer, bytes) else str(answer)
    return "".join(letter if letter.isprintable() else "?" for letter in text).strip()[:_LONGEST_TEXT]
