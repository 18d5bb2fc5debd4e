"""What the catalogue holds: circuits and the boards that carry them, and how sure each figure is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from decimal import Decimal


class Confidence(StrEnum):
    """Where a field was seen, the surest first."""

    DATASHEET = "datasheet"  # a vendor's document or source tree
    SECONDARY = "secondary"  # a third party
    COMPUTED = "computed"  # arithmetic on other fields
    RECALLED = "recalled"  # not looked up


# Every field of a chip that can be doubted, by the group that its sources usually tell together.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "names": ("device_names", "pci", "board_parts", "vgpu_types"),
    "silicon": ("architecture", "compute_capability", "sm_count", "boost_mhz", "max_sm_clock_mhz"),
    "memory": ("memory_type", "memory_gb", "memory_bus_bits", "memory_gb_per_s"),
    "link": ("link", "link_gb_per_s"),
    "peak": ("dense_peak_tera", "rate_limit"),
    "die": ("dies",),
    "market": ("marketed_for_data_centre",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where something was read, by whom it is told, and of which groups or fields it tells."""

    id: str
    title: str
    read: date
    vendor: bool  # the maker's own document or source tree
    tells: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How sure a field is and why: ``sources`` where it was read, ``computed_from`` the fields it comes from."""

    confidence: Confidence
    sources: tuple[str, ...]
    read: date | None
    computed_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PciId:
    """A PCI device id ("10de:2335") and the subsystem ids of its boards; none means all boards of that id.

    A subsystem's vendor may be ``*``: boards of that model are sold under several vendors' ids.
    """

    device: str
    subsystems: tuple[str, ...]
    virtual: bool = False  # the virtual function that a guest sees; the circuit is the same
    note: str = ""  # what a table of ids says beside it
    shared_with: tuple[str, ...] = ()  # products with the same id that the catalogue has no figures of

    def lists(self, subsystem: str) -> bool:
        """Whether the subsystem is one of those named."""
        _, _, model = subsystem.partition(":")
        return subsystem in self.subsystems or f"*:{model}" in self.subsystems


@dataclass(frozen=True, slots=True, kw_only=True)
class Dies:
    """Logic dies of one kind; memory stacks are not among them. ``at_most``: the area is an upper bound."""

    area_mm2: Decimal
    count: int
    non_planar: bool
    node: str
    at_most: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BitLength:
    """The bit length of a type's operands; ``doubt`` says where the text can be read otherwise."""

    bits: int
    doubt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One part. A field that is not known is None or empty; ``dies`` empty means that no area is known."""

    id: str
    vendor: str
    product: str
    device_names: tuple[str, ...]
    pci: tuple[PciId, ...]
    board_parts: tuple[str, ...]
    vgpu_types: tuple[str, ...]  # what a virtual GPU of it is called, before its profile
    architecture: str
    compute_capability: str | None  # AMD: the target, such as gfx942
    sm_count: int | None  # multiprocessors, compute units or cores, as the maker counts them
    num_cores: int | None  # as the driver's library counts them, of one device
    devices_per_circuit: int  # as how many devices one circuit shows; each has its share of processors and memory
    boost_mhz: int | None
    max_sm_clock_mhz: int | None
    memory_type: str | None
    memory_gb: Decimal | None
    memory_bus_bits: int | None
    memory_gb_per_s: Decimal | None
    link: str | None
    link_gb_per_s: Decimal | None  # both directions together, without the memory
    host_gb_per_s: Decimal | None  # at most as much more to the host, where the link is another one
    dense_peak_tera: Mapping[str, Decimal]  # tera-operations per second, a multiply-add being two, without sparsity
    bit_lengths: Mapping[str, BitLength]  # of the types in dense_peak_tera
    rate_limit: Decimal | None  # tensor rate as a share of what cores and clock would give
    dies: tuple[Dies, ...]
    marketed_for_data_centre: bool | None
    doubts: tuple[str, ...]
    provenance: Mapping[str, Provenance]  # by field, of every field that is known
    sources: tuple[str, ...]
    read: date


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedId:
    """A PCI id of which no more is known than a name."""

    device: str
    name: str
    vendor: str
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedName:
    """A device name that was seen on silicon of another class than its own; ``seen`` says which.

    ``parts``: the entries that it is the silicon of.
    """

    name: str
    seen: str
    parts: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """Of which compute capability the dies are that a firmware version with some beginning was seen on."""

    compute_capability: str
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """TPP per processor and gigahertz of a compute capability; ``work``: multiply-adds per processor and clock."""

    tpp: Decimal
    work: str
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a rated TPP has been seen from processors x maximum clock x slope: lowest and highest share."""

    lowest: Decimal
    highest: Decimal
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All chips that are known. ``digest``: SHA-256 over the names and bytes of the files."""

    chips: tuple[Chip, ...]
    named_ids: Mapping[str, NamedId]
    masked_names: Mapping[str, MaskedName]
    firmware: Mapping[str, Firmware]  # by the first two pairs of its version
    slopes: Mapping[str, Slope]  # by compute capability
    bounds: Bounds | None
    cores_per_sm: Mapping[str, int]  # by compute capability
    sources: Mapping[str, Source]
    digest: str
