"""Which part of the catalogue a device is: by PCI ids, where nothing else that it says contradicts them.

A name never finds a part, not even a piece of it: parts of one class are sold under another's name. A name
can only speak against a part, where the catalogue gives that name to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware import marks
from auditor.hardware.identity import GPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.hardware.chips import Catalogue, Chip, PciId

# All that a match, and what is derived without one, turns on: devices that say the same here are alike.
TELLING = (
    "kind",
    "no_gpu",
    "name",
    "pci_device_id",
    "pci_subsystem_id",
    "board_part_number",
    "gpu_part_number",
    "vbios",
    "architecture",
    "compute_capability",
    "num_cores",
    "memory_bytes",
    "memory_bus_bits",
    "max_sm_clock_mhz",
    "virtualization_mode",
    "compute_partition",
    "mig_mode",
    "mig_uuid",
)
# Drivers report less than the nominal gigabytes (of 2**30 bytes): error correction takes 1/16, firmware some.
_LEAST_OF_NOMINAL = Decimal("0.92")
_MOST_OF_NOMINAL = Decimal("1.03")
_UNITS = {"memory": " GB", "memory bus": " bits", "maximum clock": " MHz"}
_WHOLE = "SPX"
_VIEWS_NEEDED = 2  # that must agree where the ids alone do not name one board


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The part, or None with the candidates that remain; ``basis`` says by what, or why not.

    ``exhaustive``: the device is one of the candidates, as far as the catalogue knows. Otherwise they only
    resemble it, and nothing may be concluded from them.
    """

    chip: Chip | None
    candidates: tuple[Chip, ...]
    basis: str
    exhaustive: bool = False


def match(identity: Mapping[str, str], catalogue: Catalogue) -> Match:
    """The part that an identity (as written down) belongs to; a slice of a device is its parent."""
    if identity.get("kind") != GPU:
        return _none(f"no accelerator seen ({identity.get('no_gpu') or 'no reason is given'})")
    if identity.get("virtualization_mode") == "vgpu":
        return _virtual(identity, catalogue)
    device = identity.get("pci_device_id")
    if device is None:
        return _by_silicon(identity, catalogue, "it gives no PCI id")
    if device in catalogue.named_ids:
        name = catalogue.named_ids[device].name
        return _none(f"undetermined: the PCI id {device} is the {name}, no figures of which are known")
    named = _by_pci(identity, catalogue, device)
    if not named:
        return _by_silicon(identity, catalogue, f"the PCI id {device} is not in the catalogue")
    return _settle(identity, catalogue, named)


@dataclass(frozen=True, slots=True)
class _Named:
    """A part that has the PCI id, and the entry by which it has it."""

    chip: Chip
    pci: PciId
    listed: bool  # the board is one that the catalogue names


def _by_pci(identity: Mapping[str, str], catalogue: Catalogue, device: str) -> list[_Named]:
    """The parts with that PCI id, narrowed by the subsystem if it is listed."""
    subsystem = identity.get("pci_subsystem_id", "")
    ids = [(chip, pci) for chip in catalogue.chips for pci in chip.pci if pci.device == device]
    found = [pair for pair in ids if pair[1].lists(subsystem)] or [pair for pair in ids if not pair[1].subsystems]
    return [_Named(chip, pci, bool(found)) for chip, pci in found or ids]


def _settle(identity: Mapping[str, str], catalogue: Catalogue, named: list[_Named]) -> Match:
    fitting = [one for one in named if not contradictions(identity, one.chip, catalogue, share=_share(identity, one))]
    complete = _complete(named, catalogue)
    exhaustive = complete and (named[0].listed or not identity.get("pci_subsystem_id"))
    chips = _unique([one.chip for one in fitting])
    if not chips:
        others = [*marks.pointing_at(identity, catalogue), *_fitting_silicon(identity, catalogue)]
        return _open(_against(identity, named, catalogue), [*(one.chip for one in named), *others])
    hidden = _hidden(identity, chips, catalogue)
    if hidden:
        mask = _mask(marks.plain_name(identity), catalogue)
        return _open(f"too little else is known of it to rule that out{mask}", [*chips, *hidden])
    if len(chips) > 1:
        return _open(f"{len(chips)} parts share its PCI id", chips, exhaustive=exhaustive)
    chosen = fitting[0]
    agreeing = _agreeing(identity, chosen.chip)
    if not (chosen.listed and complete) and len(agreeing) < _VIEWS_NEEDED:
        board = "not in the catalogue" if identity.get("pci_subsystem_id") else "not given"
        missing = f"its board is {board}" if complete else "products without an entry have its PCI id too"
        return _open(f"{missing}, and too little else is known of it", chips, exhaustive=exhaustive)
    basis = _basis(identity, chosen, agreeing, catalogue)
    return Match(chip=chosen.chip, candidates=(chosen.chip,), basis=basis, exhaustive=True)


def _share(identity: Mapping[str, str], named: _Named) -> bool:
    """Whether the device is a virtual function, or a partition of an AMD part that is not in its one whole mode."""
    return named.pci.virtual or identity.get("compute_partition", _WHOLE) not in (_WHOLE, "N/A")


def _complete(named: list[_Named], catalogue: Catalogue) -> bool:
    """Whether every product that has the id is in the catalogue."""
    products = {chip.product for chip in catalogue.chips}
    return all(set(one.pci.shared_with) <= products for one in named)


def _basis(identity: Mapping[str, str], chosen: _Named, agreeing: list[str], catalogue: Catalogue) -> str:
    chip = chosen.chip
    subsystem = identity.get("pci_subsystem_id", "not given")
    board = f"subsystem {subsystem}" + ("" if chosen.listed else ", which is not in the catalogue")
    parts = [f"{chip.product} by PCI id {identity['pci_device_id']}, {board}"]
    parts.append(f"agreeing: {', '.join(agreeing)}" if agreeing else "nothing else to compare")
    if chosen.pci.note:
        parts.append(f"the id is listed as {chosen.pci.note}")
    name = marks.plain_name(identity)
    if name and name not in chip.device_names:
        parts.append(f"the name {name!r} is not one that the catalogue knows for it{_mask(name, catalogue)}")
    if identity.get("mig_mode") == "enabled" or "mig_uuid" in identity:
        parts.append("partitioned (MIG): the whole circuit is judged")
    if _share(identity, chosen):
        what = "a virtual function" if chosen.pci.virtual else f"a partition ({identity['compute_partition']})"
        parts.append(f"{what}: the whole circuit is judged")
    if chip.devices_per_circuit > 1:
        parts.append(f"one of the {chip.devices_per_circuit} devices of a circuit: the whole circuit is judged")
    return "; ".join(parts)


def _virtual(identity: Mapping[str, str], catalogue: Catalogue) -> Match:
    """A virtual GPU gives its type's name and, mostly, its parent's PCI id; nothing of the parent can be checked."""
    device, name = identity.get("pci_device_id"), identity.get("name", "").rpartition("-")[0]
    same_id = [chip for chip in catalogue.chips if any(pci.device == device for pci in chip.pci)]
    same_type = [chip for chip in catalogue.chips if name in chip.vgpu_types]
    return _open("a virtual GPU; the hardware under it cannot be seen from here", [*same_id, *same_type])


def _by_silicon(identity: Mapping[str, str], catalogue: Catalogue, why: str) -> Match:
    name = marks.plain_name(identity)
    fitting = [*marks.pointing_at(identity, catalogue), *_fitting_silicon(identity, catalogue)]
    return _open(f"{why}{_mask(name, catalogue)}", fitting)


def _mask(name: str, catalogue: Catalogue) -> str:
    found = catalogue.masked_names.get(name)
    return f" (the name {name!r} was seen on other silicon: {found.seen})" if found else ""


def _hidden(identity: Mapping[str, str], chips: list[Chip], catalogue: Catalogue) -> list[Chip]:
    """What the device's name was seen on, where its figures do not rule that out; none where they do.

    That takes two figures that agree with each part of its PCI id and with nothing that the name was seen on, one of
    them of the processors: memory alone can be of a smaller board.
    """
    seen = marks.seen_on(identity, catalogue)
    strange = [chip for chip in chips if chip not in seen]
    return [other for other in seen if any(not _ruled_out(identity, chip, other) for chip in strange)]


def _ruled_out(identity: Mapping[str, str], chip: Chip, other: Chip) -> bool:
    views = set(_agreeing(identity, chip)) & _differing(identity, other).keys()
    return len(views) >= _VIEWS_NEEDED and not views.isdisjoint(("cores", "compute capability"))


def _fitting_silicon(identity: Mapping[str, str], catalogue: Catalogue) -> list[Chip]:
    """The parts whose figures the device's own agree with, whatever it calls itself."""
    return [
        chip
        for chip in catalogue.chips
        if len(_agreeing(identity, chip)) >= _VIEWS_NEEDED and not _differing(identity, chip)
    ]


def contradictions(identity: Mapping[str, str], chip: Chip, catalogue: Catalogue, *, share: bool = False) -> list[str]:
    """What the device says that does not fit the part: figures, or a name that belongs to another part.

    ``share``: the device may have a share of the part's memory and processors only.
    """
    shared = ("memory", "memory bus", "cores") if share else ()
    differing = {view: pair for view, pair in _differing(identity, chip).items() if view not in shared}
    found = [f"{view} {_spoken(view, said, known)}" for view, (said, known) in differing.items()]
    name = marks.plain_name(identity)
    if name and name not in chip.device_names:
        owners = [other.product for other in catalogue.chips if name in other.device_names]
        found += [f"the name {name!r}, which is the {owner}'s" for owner in owners]
    return [*found, *marks.against(identity, chip, catalogue)]


def _against(identity: Mapping[str, str], named: list[_Named], catalogue: Catalogue) -> str:
    lines = [f"{one.chip.product}: {', '.join(contradictions(identity, one.chip, catalogue))}" for one in named]
    mask = _mask(marks.plain_name(identity), catalogue)
    return f"the PCI id says one thing and the device another ({'; '.join(lines)}){mask}"


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
    memory_gb = None if chip.memory_gb is None else chip.memory_gb / chip.devices_per_circuit
    bus_bits = None if chip.memory_bus_bits is None else chip.memory_bus_bits // chip.devices_per_circuit
    known: dict[str, tuple[str, object]] = {
        "compute capability": ("compute_capability", chip.compute_capability),
        "cores": ("num_cores", chip.num_cores),
        "memory": ("memory_bytes", memory_gb),
        "memory bus": ("memory_bus_bits", bus_bits),
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
    said_bytes = Decimal(said) if _is_whole(said) else Decimal(0)
    return nominal_bytes * _LEAST_OF_NOMINAL <= said_bytes <= nominal_bytes * _MOST_OF_NOMINAL


def _spoken(view: str, said: str, known: str) -> str:
    """Both figures with their unit: "79.65 GB, not 24 GB", a gigabyte being 2**30 bytes."""
    unit = _UNITS.get(view, "")
    if view == "memory" and _is_whole(said):
        said = f"{Decimal(said) / 2**30:.2f}"
    return f"{said}{unit}, not {known}{unit}"


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _unique(chips: list[Chip]) -> list[Chip]:
    return list({chip.id: chip for chip in chips}.values())


def _open(why: str, candidates: list[Chip], *, exhaustive: bool = False) -> Match:
    chips = tuple(_unique(candidates))
    named = [chip.product for chip in chips] + ([] if exhaustive else ["a part that is not listed"])
    names = f"; it could be: {' or '.join(filter(None, (', '.join(named[:-1]), *named[-1:])))}" if chips else ""
    return Match(chip=None, candidates=chips, basis=f"undetermined: {why}{names}", exhaustive=exhaustive)


def _none(basis: str) -> Match:
    return Match(chip=None, candidates=(), basis=basis)
