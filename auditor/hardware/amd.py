"""The one door to AMD's devices: what amdsmi, ROCm's own library, says of each, or why there is none.

As with NVML nothing raises, and each question is asked by itself. `amdsmi` comes with ROCm and not from an
index of packages; it is imported when it is needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from auditor.hardware.answers import answers, attempt, text
from auditor.hardware.identity import AMDSMI, GPU, Device
from auditor.hardware.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NOT_KNOWN = "N/A"  # as the library says it
_WISHES = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


LIBRARY = Library(device="AMD device", module="amdsmi", package="amdsmi", begin="amdsmi_init", end="amdsmi_shut_down")


def devices(environ: Mapping[str, str] = os.environ) -> tuple[list[Device], str]:
    """The AMD devices that this process may use, in the library's order; without any, also the reason."""
    return LIBRARY.devices(lambda library: _visible(library, environ))


def _visible(library: Any, environ: Mapping[str, str]) -> tuple[list[Device], str]:
    handles = library.amdsmi_get_processor_handles()
    if not handles:
        return [], "no AMD device: the driver lists none"
    wish = next((f"{name}={environ[name]}" for name in _WISHES if name in environ), None)
    if wish is None:
        return [_identity(library, handle, "all there are") for handle in handles], ""
    name, _, entries = wish.partition("=")
    chosen = _chosen(library, handles, [entry.strip() for entry in entries.split(",")])
    if not chosen:
        return [], f"no AMD device: {wish!r} names none of {len(handles)}"
    return [_identity(library, handle, f"{name}: {entry}") for entry, handle in chosen.items()], ""


def _chosen(library: Any, handles: list[Any], entries: list[str]) -> dict[str, Any]:
    """The devices that are named, up to the first entry that names none or one twice, as HIP reads it."""
    by_uuid = {str(attempt(library.amdsmi_get_gpu_device_uuid, handle)[0]): handle for handle in handles}
    chosen: dict[str, Any] = {}
    for entry in entries:
        number = int(entry) if entry.isascii() and entry.isdigit() else -1
        handle = handles[number] if 0 <= number < len(handles) else by_uuid.get(entry)
        if handle is None or entry in chosen:
            break
        chosen[entry] = handle
    return chosen


def _identity(library: Any, handle: Any, selected_by: str) -> Device:
    given, not_given = answers(_questions(library, handle))
    unknown = [name for name, answer in given.items() if answer == _NOT_KNOWN]
    known = {name: answer for name, answer in given.items() if name not in unknown}
    return Device(
        kind=GPU,
        given={"door": AMDSMI, "selected_by": selected_by, **known},
        not_given={**not_given, **dict.fromkeys(unknown, "the library says N/A")},
    )


def _questions(library: Any, handle: Any) -> dict[str, Callable[[], object]]:
    """Each field and how to ask for it; a function that the library lacks fails when called, not here."""
    chip, memory = _once(lambda: library.amdsmi_get_gpu_asic_info(handle)), library.amdsmi_get_gpu_vram_info
    return {
        "name": lambda: chip()["market_name"],
        "uuid": lambda: library.amdsmi_get_gpu_device_uuid(handle),
        "serial": lambda: chip()["asic_serial"],
        "board_part_number": lambda: library.amdsmi_get_gpu_board_info(handle)["model_number"],
        "pci_device_id": lambda: _pci(chip()["vendor_id"], chip()["device_id"]),
        "pci_subsystem_id": lambda: _pci(chip()["subvendor_id"], chip()["subsystem_id"]),
        "pci_bus_id": lambda: library.amdsmi_get_gpu_device_bdf(handle),
        "vbios": lambda: _firmware(library, handle)["version"],
        "compute_capability": lambda: chip()["target_graphics_version"],
        "num_cores": lambda: chip()["num_compute_units"],
        "max_sm_clock_mhz": lambda: _clock(library, handle, "GFX")["max_clk"],
        "max_memory_clock_mhz": lambda: _clock(library, handle, "MEM")["max_clk"],
        "memory_bytes": lambda: memory(handle)["vram_size"] * 2**20,
        "memory_bus_bits": lambda: memory(handle)["vram_bit_width"],
        "driver": lambda: library.amdsmi_get_gpu_driver_info(handle)["driver_version"],
        "module_id": lambda: chip()["oam_id"],
        "compute_partition": lambda: library.amdsmi_get_gpu_compute_partition(handle),
        "memory_partition": lambda: library.amdsmi_get_gpu_memory_partition(handle),
        "virtualization_mode": lambda: _virtualization(library.amdsmi_get_gpu_virtualization_mode(handle)["mode"]),
        "energy_mj": lambda: energy_mj(library, handle),
    }


def energy_mj(library: Any, handle: Any) -> int:
    """Millijoules since the driver was loaded: the accumulator counts in units of so many microjoules."""
    count = library.amdsmi_get_energy_count(handle)
    return int(count["energy_accumulator"] * count["counter_resolution"] / 1000)


def _once(call: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The answer to a question that several fields share; its failure is each one's failure."""
    asked: list[tuple[Any, str]] = []

    def answer() -> dict[str, Any]:
        if not asked:
            asked.append(attempt(call))
        found, reason = asked[0]
        if reason:
            raise LookupError(reason)
        return dict(found)

    return answer


def _firmware(library: Any, handle: Any) -> dict[str, Any]:
    return dict(library.amdsmi_get_gpu_vbios_info(handle))


def _clock(library: Any, handle: Any, kind: str) -> dict[str, Any]:
    return dict(library.amdsmi_get_clock_info(handle, getattr(library.AmdSmiClkType, kind)))


def _pci(vendor: object, device: object) -> str:
    """0x1002 and 0x74a1: "1002:74a1"."""
    return ":".join(f"{int(str(part), 16):04x}" for part in (vendor, device))


def _virtualization(mode: Any) -> str:
    name = text(getattr(mode, "name", mode)).lower()
    return "none" if name == "baremetal" else name
