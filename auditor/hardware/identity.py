"""What a device said of itself, as text, with the reason beside everything that it did not say."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import HardwareError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GPU = "gpu"
CPU = "cpu"
NVML = "NVML"
AMDSMI = "amdsmi"

# Every field that a device may give; units are in the names, and each value is text.
FIELDS = (
    "door",  # the library that said all this
    "name",
    "uuid",
    "pdi",  # NVIDIA's identifier of the single device, in hexadecimal
    "brand",
    "serial",
    "board_part_number",
    "gpu_part_number",  # "2335-895-A1": begins with the PCI device id; NVML does not give it
    "board_id",  # not the same after a restart of the machine
    "pci_device_id",  # "10de:2335": vendor, device
    "pci_subsystem_id",  # "10de:18be"
    "pci_bus_id",
    "vbios",
    "inforom",
    "architecture",
    "compute_capability",  # "9.0", or AMD's target: "gfx942"
    "num_cores",  # as its library counts them: CUDA cores, or AMD's compute units
    "max_sm_clock_mhz",
    "default_clock_mhz",  # the application clock that the maker set
    "max_customer_boost_mhz",
    "max_memory_clock_mhz",
    "memory_bytes",
    "memory_bus_bits",
    "driver",
    "cuda_driver",
    "nvml",
    "mig_mode",  # "enabled", "disabled"
    "mig_uuid",  # the slice that the process was given; everything else is the parent's
    "mig_name",
    "mig_profile",  # "1g.18gb"
    "mig_sm_count",
    "mig_memory_bytes",
    "mig_gpu_instance",  # its number
    "mig_slices",  # all that the device is cut into, by name
    "virtualization_mode",  # "none", "passthrough", "vgpu", "host vgpu", "host vsga", and for AMD's "guest"
    "compute_partition",  # AMD: "SPX", "DPX", "CPX", ...
    "memory_partition",  # AMD: "NPS1", "NPS4", ...
    "module_id",
    "chassis_serial",
    "slot",
    "tray",
    "fabric_state",
    "fabric_cluster",
    "fabric_clique",
    "excluded_devices",  # that the driver hides, on the whole machine
    "confidential_computing",  # "enabled, production", "disabled", ...
    "attestation",  # always "not verified": the report is kept, and judging it is for whoever trusts the maker's root
    "attestation_nonce",
    "attestation_report_sha256",
    "attestation_certificates_sha256",
    "energy_mj",  # since the driver was loaded, when the device was asked
    "selected_by",  # how the device came to be seen: an environment variable, or all there are
    "no_gpu",  # why a CPU stands here: what was said when a GPU was looked for
)
_NOT_GIVEN = "not_given."


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device: ``given`` holds fields by name, ``not_given`` the reason for each one asked for in vain.

    ``evidence``: what fields hold a digest of, in base64.
    """

    kind: str
    given: Mapping[str, str]
    not_given: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict, compare=False)  # too long for an identity

    def __post_init__(self) -> None:
        unknown = (self.given.keys() | self.not_given.keys()) - set(FIELDS)
        if self.kind not in (GPU, CPU) or unknown or self.given.keys() & self.not_given.keys():
            raise HardwareError(f"not an identity: kind {self.kind!r}, unknown fields {sorted(unknown)}")

    def to_mapping(self) -> dict[str, str]:
        """As written down: ``kind``, the fields, and ``not_given.<field>`` for the reasons."""
        reasons = {f"{_NOT_GIVEN}{name}": reason for name, reason in self.not_given.items()}
        return {"kind": self.kind, **self.given, **reasons}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Device:
        """What `to_mapping` wrote.

        Raises: HardwareError: a field that no device has, or no kind.
        """
        reasons = {name[len(_NOT_GIVEN) :]: text for name, text in mapping.items() if name.startswith(_NOT_GIVEN)}
        given = {name: text for name, text in mapping.items() if name != "kind" and not name.startswith(_NOT_GIVEN)}
        return cls(kind=mapping.get("kind", ""), given=given, not_given=reasons)


def places(identities: Iterable[Mapping[str, str]]) -> list[int]:
    """Of each device of one list, how many before it gave the same UUID (0 for those that gave none).

    A library lists a device once, so a second one is another device, or none. Slices and partitions of a device are
    listed beside each other under one UUID, and are one.
    """
    seen: Counter[tuple[str | None, str | None]] = Counter()
    found = []
    for identity in identities:
        name = (identity.get("uuid"), identity.get("mig_uuid"))
        partition = identity.get("compute_partition", "SPX") not in ("SPX", "N/A")
        found.append(0 if name[0] is None or partition else seen[name])
        seen[name] += 1
    return found


def cpu(no_gpu: str, *, cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """The processor of this machine, and why no GPU stands in its place."""
    given = {"no_gpu": no_gpu}
    not_given: dict[str, str] = {}
    answers = {
        "name": _cpu_name(cpuinfo),
        "num_cores": _cores(),
        "memory_bytes": _memory_bytes(),
        "architecture": platform.machine() or None,
    }
    for name, answer in answers.items():
        if answer is None:
            not_given[name] = "the operating system does not say"
        else:
            given[name] = answer
    return Device(kind=CPU, given=given, not_given=not_given)


def _cpu_name(cpuinfo: Path) -> str | None:
    """The model name; other architectures than x86 give parts of it under other names, or nothing."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return next((found[key] for key in ("model name", "Model", "cpu model") if found.get(key)), None)


def _cores() -> str | None:
    try:
        return str(len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        count = os.cpu_count()
        return None if count is None else str(count)


def _memory_bytes() -> str | None:
    try:
        return str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
