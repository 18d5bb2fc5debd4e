"""Which part of the catalogue a device is: by PCI ids, where nothing else that it says contradicts them.

A name never finds a part, not even a piece of it: parts of one class are sold under another's name. A name
can only speak against a part, where the catalogue gives that name to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.identity import GPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.hardware.chips import Catalogue, Chip

# Drivers report less than the nominal gigabytes (of 2**30 bytes): error correction takes 1/16, firmware some.
_LEAST_OF_NOMINAL = Decimal("0.92")
_MOST_OF_NOMINAL = Decimal("1.03")
_VIEWS_NEEDED = 2  # that must agree where the ids alone do not name one board


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The part, or None with the candidates that remain; ``basis`` says by what, or why not."""

    chip: Chip | None
    candidates: tuple[Chip, ...]
    basis: str


def match(identity: Mapping[str, str], catalogue: Catalogue) -> Match:
    """The part that an identity (as written down) belongs to; a slice of a device is its parent."""
    if identity.get("kind") != GPU:
        reason = identity.get("no_gpu") or "no NVML device"
        return _none(f"undetermined: no NVML device ({reason.removeprefix('no NVML device: ')})")
    if identity.get("virtualization_mode") == "vgpu":
        return _none("undetermined: a virtual GPU; the hardware under it cannot be seen from here")
    device = identity.get("pci_device_id")
    if device is None:
        return _by_silicon(identity, catalogue, "it gives no PCI id")
    named, listed = _by_pci(identity, catalogue, device)
    if not named:
        return _by_silicon(identity, catalogue, f"the PCI id {device} is not in the catalogue")
    return _settle(identity, catalogue, named, listed)


def _by_pci(identity: Mapping[str, str], catalogue: Catalogue, device: str) -> tuple[list[Chip], bool]:
    """The parts with that PCI id, narrowed by the subsystem if it is listed, and whether it is."""
    subsystem = identity.get("pci_subsystem_id", "")
    ids = [(chip, pci) for chip in catalogue.chips for pci in chip.pci if pci.device == device]
    exact = [chip for chip, pci in ids if pci.lists(subsystem)]
    any_board = [chip for chip, pci in ids if not pci.subsystems]
    if exact or any_board:
        return _unique(exact or any_board), True
    return _unique([chip for chip, _ in ids]), False


def _settle(identity: Mapping[str, str], catalogue: Catalogue, named: list[Chip], listed: bool) -> Match:
    fitting = [chip for chip in named if not contradictions(identity, chip, catalogue)]
    if len(fitting) != 1:
        why = f"{len(fitting)} parts share its PCI id" if fitting else _against(identity, named, catalogue)
        others = _fitting_silicon(identity, catalogue)
        candidates = _unique([*(fitting or named), *(others if not fitting else [])])
        return Match(chip=None, candidates=tuple(candidates), basis=f"undetermined: {why}{_names(candidates)}")
    chip = fitting[0]
    agreeing = _agreeing(identity, chip)
    if not listed and len(agreeing) < _VIEWS_NEEDED:
        why = "its board is not in the catalogue, and too little else is known of it"
        return Match(chip=None, candidates=(chip,), basis=f"undetermined: {why}{_names([chip])}")
    return Match(chip=chip, candidates=(chip,), basis=_basis(identity, chip, listed, agreeing))


def _basis(identity: Mapping[str, str], chip: Chip, listed: bool, agreeing: list[str]) -> str:
    subsystem = identity.get("pci_subsystem_id", "not given")
    board = f"subsystem {subsystem}" + ("" if listed else ", which is not in the catalogue")
    parts = [f"{chip.product} by PCI id {identity['pci_device_id']}, {board}"]
    parts.append(f"agreeing: {', '.join(agreeing)}" if agreeing else "nothing else to compare")
    name = _plain_name(identity)
    if name and name not in chip.device_names:
        parts.append(f"the name {name!r} is not one that the catalogue knows for it")
    if identity.get("mig_mode") == "enabled" or "mig_uuid" in identity:
        parts.append("partitioned (MIG): the whole circuit is judged")
    return "; ".join(parts)


def _by_silicon(identity: Mapping[str, str], catalogue: Catalogue, why: str) -> Match:
    candidates = tuple(_fitting_silicon(identity, catalogue))
    return Match(chip=None, candidates=candidates, basis=f"undetermined: {why}{_names(candidates)}")


def _fitting_silicon(identity: Mapping[str, str], catalogue: Catalogue) -> list[Chip]:
    """The parts whose figures the device's own agree with, whatever it calls itself."""
    return [
        chip
        for chip in catalogue.chips
        if len(_agreeing(identity, chip)) >= _VIEWS_NEEDED and not _differing(identity, chip)
    ]


def contradictions(identity: Mapping[str, str], chip: Chip, catalogue: Catalogue) -> list[str]:
    """What the device says that does not fit the part: figures, or a name that belongs to another part."""
    found = [f"{view} {said}, not {known}" for view, (said, known) in _differing(identity, chip).items()]
    name = _plain_name(identity)
    if name and name not in chip.device_names:
        owners = [other.product for other in catalogue.chips if name in other.device_names]
        found += [f"the name {name!r}, which is the {owner}'s" for owner in owners]
    return found


def _against(identity: Mapping[str, str], named: list[Chip], catalogue: Catalogue) -> str:
    lines = [f"{chip.product}: {', '.join(contradictions(identity, chip, catalogue))}" for chip in named]
    return f"the PCI id says one thing and the device another ({'; '.join(lines)})"


def _agreeing(identity: Mapping[str, str], chip: Chip) -> list[str]:
    return [view for view, (said, known) in _views(identity, chip).items() if _same(view, said, known)]


def _differing(identity: Mapping[str, str], chip: Chip) -> dict[str, tuple[str, str]]:
    views = _views(identity, chip)
    return {
        view: pair
        for view, pair in views.items()
        if not _same(view, *pair) and view not in ("board part", "maximum clock")
    }


def _views(identity: Mapping[str, str], chip: Chip) -> dict[str, tuple[str, str]]:
    """Each figure that both the device and the catalogue give: what it says, and what the catalogue says."""
    known: dict[str, tuple[str, object]] = {
        "compute capability": ("compute_capability", chip.compute_capability),
        "cores": ("num_cores", chip.num_cores),
        "memory": ("memory_bytes", chip.memory_gb),
        "memory bus": ("memory_bus_bits", chip.memory_bus_bits),
        "maximum clock": ("max_sm_clock_mhz", chip.max_sm_clock_mhz),
        "board part": ("board_part_number", " ".join(chip.board_parts) or None),
    }
    return {
        view: (identity[name], str(value))
        for view, (name, value) in known.items()
        if name in identity and value is not None
    }


def _same(view: str, said: str, known: str) -> bool:
    if view == "board part":
        return said in known.split()
    if view != "memory":
        return said == known
    nominal_bytes = Decimal(known) * 2**30
    said_bytes = Decimal(said) if said.isascii() and said.isdigit() else Decimal(0)
    return nominal_bytes * _LEAST_OF_NOMINAL <= said_bytes <= nominal_bytes * _MOST_OF_NOMINAL


def _plain_name(identity: Mapping[str, str]) -> str:
    return identity.get("name", "").partition(" MIG ")[0]


def _unique(chips: list[Chip]) -> list[Chip]:
    return list({chip.id: chip for chip in chips}.values())


def _names(chips: tuple[Chip, ...] | list[Chip]) -> str:
    return f"; it could be: {', '.join(chip.product for chip in chips)}" if chips else ""


def _none(basis: str) -> Match:
    return Match(chip=None, candidates=(), basis=basis)
