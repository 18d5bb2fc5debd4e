"""What marks a device as another part than its PCI id says: architecture, part numbers, firmware, and masked names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.hardware.chips import Catalogue, Chip

_GPU_PART = re.compile(r"([0-9A-Fa-f]{4})-[0-9A-Za-z]+-[0-9A-Za-z]+")  # older drivers print a board's number there
_NVIDIA = "10de"


def against(identity: Mapping[str, str], chip: Chip, catalogue: Catalogue) -> list[str]:
    """What the device says beside its figures and its name that belongs to another part, or to none like this."""
    marks = (_architecture(identity, chip), _gpu_part(identity, chip), _firmware(identity, chip, catalogue))
    return [mark for mark in marks if mark] + _board_part(identity, chip, catalogue)


def pointing_at(identity: Mapping[str, str], catalogue: Catalogue) -> list[Chip]:
    """The parts that the device's part numbers belong to, and those that its name was seen on."""
    device, board = _device_of_gpu_part(identity), identity.get("board_part_number")
    numbered = [chip for chip in catalogue.chips if device in _devices(chip) or board in chip.board_parts]
    return [*numbered, *seen_on(identity, catalogue)]


def seen_on(identity: Mapping[str, str], catalogue: Catalogue) -> list[Chip]:
    """The parts that a masked name was seen on; none where the name is not one of those."""
    masked = catalogue.masked_names.get(plain_name(identity))
    return [chip for chip in catalogue.chips if masked and chip.id in masked.parts]


def plain_name(identity: Mapping[str, str]) -> str:
    """The device's name without the slice's, which follows it."""
    return identity.get("name", "").partition(" MIG ")[0]


def _architecture(identity: Mapping[str, str], chip: Chip) -> str | None:
    """One tool says "Ada Lovelace", the other "Ada"."""
    said = identity.get("architecture", "")
    if not said or f"{said.lower()} ".startswith(f"{chip.architecture.lower()} "):
        return None
    return f"architecture {said}, not {chip.architecture}"


def _gpu_part(identity: Mapping[str, str], chip: Chip) -> str | None:
    device = _device_of_gpu_part(identity)
    if device is None or device in _devices(chip):
        return None
    return f"the GPU part number {identity['gpu_part_number']}, which is of the PCI id {device}"


def _device_of_gpu_part(identity: Mapping[str, str]) -> str | None:
    """A GPU part number begins with the device id: 2335-895-A1 is of 10de:2335."""
    found = _GPU_PART.fullmatch(identity.get("gpu_part_number", ""))
    return f"{_NVIDIA}:{found[1].lower()}" if found else None


def _devices(chip: Chip) -> set[str]:
    return {pci.device for pci in chip.pci}


def _board_part(identity: Mapping[str, str], chip: Chip, catalogue: Catalogue) -> list[str]:
    number = identity.get("board_part_number")
    if number is None or number in chip.board_parts:
        return []
    owners = [other.product for other in catalogue.chips if number in other.board_parts]
    return [f"the board part number {number}, which is the {owner}'s" for owner in owners]


def _firmware(identity: Mapping[str, str], chip: Chip, catalogue: Catalogue) -> str | None:
    """The first two pairs of a VBIOS version tell the die."""
    said = identity.get("vbios", "")
    seen = catalogue.firmware.get(said[:5])
    if seen is None or chip.compute_capability in (None, seen.compute_capability):
        return None
    return f"the VBIOS {said}, which is of compute capability {seen.compute_capability}, not {chip.compute_capability}"
