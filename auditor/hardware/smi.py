"""What `nvidia-smi -q -x` wrote of another machine's devices, as the identities that NVML gives of this one's.

What the tool could not say ("N/A", "ERR!"), or said in words that nobody knows, is kept as a reason, as it is for a
device asked directly: one field of one device costs no other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.hardware import smi_document
from auditor.hardware.identity import GPU, Device
from auditor.hardware.smi_document import Element, clean, fail

if TYPE_CHECKING:
    from pathlib import Path

_MOST_DEVICES = 1024  # of one machine: a hundred times what is built
_UNSAID = re.compile(
    r"\[?(N/A|Not Supported|Not Found|Unknown|Unknown Error|ERR!|GPU is lost|Insufficient Permissions)\]?|"
)
_VIRTUALIZATION = {
    "None": "none",
    "Pass-Through": "passthrough",
    "VGPU": "vgpu",
    "Host VGPU": "host vgpu",
    "Host VSGA": "host vsga",
}


@dataclass(frozen=True, slots=True)
class Log:
    """The devices of a file, in its order; ``remarks``: sentences about what it leaves out or says twice."""

    devices: tuple[Device, ...]
    remarks: tuple[str, ...]


def read(path: Path) -> Log:
    """What a file of `nvidia-smi -q -x` says.

    Raises: DocumentError: not such a file; says where, what was expected and what to do.
    """
    return parse(smi_document.load(path), str(path))


def parse(content: bytes, file: str) -> Log:
    """What the bytes of such a file say; ``file`` stands for it in messages.

    Raises: DocumentError: not such a file, or too long.
    """
    root = smi_document.parse(content, file)
    gpus = root.children.get("gpu", [])
    if not gpus:
        fail(file, root, "at least one element 'gpu'")
    if len(gpus) > _MOST_DEVICES:
        fail(file, gpus[_MOST_DEVICES], f"at most {_MOST_DEVICES} devices")
    common = _said(root, _OF_ALL)
    devices = [_device(gpu, common) for gpu in gpus]
    shared = _shared_uuids(devices)
    remarks = [f"{file}: {count} devices say that they are {uuid}; each is counted." for uuid, count in shared.items()]
    return Log(
        devices=tuple(_without_uuid(device, shared) for device in devices),
        remarks=(*_missing(file, root, len(gpus)), *remarks),
    )


def _missing(file: str, root: Element, described: int) -> list[str]:
    """That the file tells of more or fewer devices than it says are attached."""
    attached = root.find("attached_gpus")
    text = clean(attached.text) if attached else ""
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) == described:
        return []
    lacking = int(text) - described
    verb = "is" if lacking == 1 else "are"
    sequel = f"{lacking} {verb} missing" if lacking > 0 else f"{-lacking} more than that"
    return [f"{file}: it says that {int(text)} devices are attached and describes {described}: {sequel}."]


def _shared_uuids(devices: list[Device]) -> dict[str, int]:
    counted = Counter(device.given["uuid"] for device in devices if "uuid" in device.given)
    return {uuid: count for uuid, count in counted.items() if count > 1}


def _without_uuid(device: Device, shared: dict[str, int]) -> Device:
    """The device; without its UUID where another has it too, for a UUID is what devices are counted by."""
    uuid = device.given.get("uuid")
    if uuid not in shared:
        return device
    given = {name: text for name, text in device.given.items() if name != "uuid"}
    reason = f"{shared[uuid]} devices of the file say that they are {uuid}"
    return Device(kind=device.kind, given=given, not_given={**device.not_given, "uuid": reason})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A field's place, how its text is read (None: it cannot be), and what text was expected."""

    path: str
    read: Callable[[str], str | None] = str
    expected: str = ""


def _device(gpu: Element, common: tuple[dict[str, str], dict[str, str]]) -> Device:
    given, not_given = _said(gpu, _OF_A_DEVICE)
    return Device(kind=GPU, given={**common[0], **given}, not_given={**common[1], **not_given})


def _said(element: Element, asked: dict[str, _Asked]) -> tuple[dict[str, str], dict[str, str]]:
    given: dict[str, str] = {}
    not_given: dict[str, str] = {}
    for name, one in asked.items():
        found = element.find(one.path)
        text = clean(found.text) if found else ""
        value = None if found is None or _UNSAID.fullmatch(text) else one.read(text)
        if value is not None:
            given[name] = value
        elif found is None:
            not_given[name] = f"the file has no {one.path}"
        elif _UNSAID.fullmatch(text):
            not_given[name] = f"nvidia-smi says {text!r}"
        else:
            not_given[name] = f"nvidia-smi says {text!r}, not {one.expected}"
    return given, not_given


def _pci(text: str) -> str | None:
    """233510DE is device 2335 of vendor 10de: "10de:2335"."""
    digits = text.lower().removeprefix("0x")
    return f"{digits[4:]}:{digits[:4]}" if re.fullmatch("[0-9a-f]{8}", digits) else None


def _megahertz(text: str) -> str | None:
    number = _number(text, "MHz")
    return None if number is None else str(number)


def _mebibytes(text: str) -> str | None:
    number = _number(text, "MiB")
    return None if number is None else str(number * 2**20)


def _number(text: str, unit: str) -> int | None:
    found = re.fullmatch(rf"([0-9]{{1,9}}) {unit}", text)
    return int(found[1]) if found else None


def _mig(text: str) -> str | None:
    return text.lower() if text in ("Enabled", "Disabled") else None


_IDS = "eight hexadecimal digits, such as 233510DE"
_CLOCK = "a whole number of MHz, such as '1980 MHz'"
_OF_ALL = {
    "driver": _Asked("driver_version"),
    "cuda_driver": _Asked("cuda_version"),
}
_OF_A_DEVICE = {
    "name": _Asked("product_name"),
    "uuid": _Asked("uuid"),
    "serial": _Asked("serial"),
    "board_part_number": _Asked("board_part_number"),
    "gpu_part_number": _Asked("gpu_part_number"),
    "pci_device_id": _Asked("pci/pci_device_id", _pci, _IDS),
    "pci_subsystem_id": _Asked("pci/pci_sub_system_id", _pci, _IDS),
    "pci_bus_id": _Asked("pci/pci_bus_id"),
    "vbios": _Asked("vbios_version"),
    "inforom": _Asked("inforom_version/img_version"),
    "architecture": _Asked("product_architecture"),
    "max_sm_clock_mhz": _Asked("max_clocks/sm_clock", _megahertz, _CLOCK),
    "max_memory_clock_mhz": _Asked("max_clocks/mem_clock", _megahertz, _CLOCK),
    "memory_bytes": _Asked("fb_memory_usage/total", _mebibytes, "a whole number of MiB, such as '81559 MiB'"),
    "mig_mode": _Asked("mig_mode/current_mig", _mig, "'Enabled' or 'Disabled'"),
    "virtualization_mode": _Asked(
        "gpu_virtualization_mode/virtualization_mode", _VIRTUALIZATION.get, f"one of {', '.join(_VIRTUALIZATION)}"
    ),
}
