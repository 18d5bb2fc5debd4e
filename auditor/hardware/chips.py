"""What the catalogue holds: circuits and the boards that carry them, and how sure their figures are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from decimal import Decimal


class Confidence(StrEnum):
    """Where a group of fields was seen."""

    DATASHEET = "datasheet"  # a vendor's document or source tree
    SECONDARY = "secondary"  # a third party
    COMPUTED = "computed"  # arithmetic on other fields
    RECALLED = "recalled"  # not looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class PciId:
    """A PCI device id ("10de:2335") and the subsystem ids of its boards; none means all boards of that id.

    A subsystem's vendor may be ``*``: boards of that model are sold under several vendors' ids.
    """

    device: str
    subsystems: tuple[str, ...]

    def lists(self, subsystem: str) -> bool:
        """Whether the subsystem is one of those named."""
        _, _, model = subsystem.partition(":")
        return subsystem in self.subsystems or f"*:{model}" in self.subsystems


@dataclass(frozen=True, slots=True, kw_only=True)
class Dies:
    """Logic dies of one kind; memory stacks are not among them."""

    area_mm2: Decimal
    count: int
    non_planar: bool
    node: str


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
    architecture: str
    compute_capability: str | None
    sm_count: int | None
    num_cores: int | None  # as NVML counts them
    boost_mhz: int | None
    max_sm_clock_mhz: int | None
    memory_gb: Decimal | None
    memory_bus_bits: int | None
    memory_gb_per_s: Decimal | None
    dense_peak_tera: Mapping[str, Decimal]  # tera-operations per second, a multiply-add being two, without sparsity
    bit_lengths: Mapping[str, BitLength]  # of the types in dense_peak_tera
    rate_limit: Decimal | None  # tensor rate as a share of what cores and clock would give
    dies: tuple[Dies, ...]
    marketed_for_data_centre: bool | None
    doubts: tuple[str, ...]
    confidence: Mapping[str, Confidence]  # of "names", "peak" and "die"
    sources: tuple[str, ...]
    read: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All chips that are known. ``digest``: SHA-256 over the names and bytes of the files."""

    chips: tuple[Chip, ...]
    sources: Mapping[str, str]
    digest: str
