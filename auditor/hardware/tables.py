"""One table of the catalogue: its sections, and each entry as a `Chip`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.errors import CatalogueError
from auditor.hardware import fields, provenance
from auditor.hardware.chips import (
    BitLength,
    Bounds,
    Chip,
    Dies,
    PciId,
    Slope,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from auditor.documents import Node

SCHEMA = "auditor.chips/1"
_SECTIONS = (
    "vendor",
    "read",
    "sources",
    "bit_lengths",
    "cores_per_sm",
    "host_gb_per_s",
    "tpp_per_sm_ghz",
    "derived_bounds",
    "masked",
    "named_ids",
    "firmware",
    "chips",
)

Table = dict[str, "Node"]


def sections(document: Node) -> Table:
    """The sections of a table.

    Raises: CatalogueError: another schema, or a section that nobody knows.
    """
    found = document.fields(required=("schema",), optional=_SECTIONS)
    if found["schema"].text() != SCHEMA:
        found["schema"].fail(f"{SCHEMA!r}")
    if "chips" in found:
        document.fields(required=("schema", "vendor", "read", "chips"))
    return found


def items(table: Table, section: str) -> list[Node]:
    """The entries of a section that is a list; none where it is left out."""
    return table[section].items() if section in table else []


@dataclass(slots=True)
class Shared:
    """What all tables name together, and the PCI ids that are taken, each with the entries that have it."""

    sources: dict[str, Source] = field(default_factory=dict)
    bit_lengths: dict[str, BitLength] = field(default_factory=dict)
    cores_per_sm: dict[str, int] = field(default_factory=dict)
    host_gb_per_s: dict[str, Decimal] = field(default_factory=dict)
    slopes: dict[str, Slope] = field(default_factory=dict)
    bounds: Bounds | None = None
    taken: dict[tuple[str, str], list[tuple[str, PciId]]] = field(default_factory=dict)

    def read_sources(self, table: Table) -> None:
        """Take in the sources that one table names."""
        for name, node in fields.mapping(table.get("sources")).items():
            if name in self.sources:
                raise CatalogueError(f"{node.file}:{node.line}: the source {name!r} is named already")
            self.sources[name] = provenance.source(name, node, table.get("read"))

    def read_definitions(self, table: Table) -> None:
        """Take in what one table defines."""
        for name, node in fields.mapping(table.get("bit_lengths")).items():
            parts = node.fields(required=("bits",), optional=("doubt",))
            doubt = parts["doubt"].text() if "doubt" in parts else ""
            self.bit_lengths[name] = BitLength(bits=fields.whole(parts["bits"]), doubt=doubt)
        for name, node in fields.mapping(table.get("cores_per_sm")).items():
            self.cores_per_sm[name] = fields.whole(node)
        for name, node in fields.mapping(table.get("host_gb_per_s")).items():
            self.host_gb_per_s[name] = fields.positive(node)
        for name, node in fields.mapping(table.get("tpp_per_sm_ghz")).items():
            self.slopes[name] = _slope(node, self.sources)
        if "derived_bounds" in table:
            self.bounds = _bounds(table["derived_bounds"])

    def claim(self, node: Node, owner: str, product: str, pci: PciId) -> None:
        """Take a PCI id for an entry; refuse one that another has, unless both say that they share it."""
        for board in pci.subsystems or ("",):
            others = self.taken.setdefault((pci.device, board), [])
            for other_product, other in others:
                if product not in other.shared_with or other_product not in pci.shared_with:
                    place = f"{pci.device} {board or '(all boards)'}"
                    node.fail(
                        f"a PCI id of its own for {owner!r}; {place} belongs to {other_product!r}"
                        " (entries that do share one name each other's product in `shared_with`)"
                    )
            others.append((product, pci))


def _slope(node: Node, sources: Mapping[str, Source]) -> Slope:
    parts = node.fields(required=("tpp", "work", "sources", "confidence"), optional=())
    return Slope(
        tpp=fields.positive(parts["tpp"]),
        work=parts["work"].text(),
        provenance=provenance.single(parts, sources),
    )


def _bounds(node: Node) -> Bounds:
    parts = node.fields(required=("lowest", "highest", "why"), optional=())
    lowest, highest = fields.positive(parts["lowest"]), fields.positive(parts["highest"])
    if lowest > highest:
        parts["lowest"].fail("a share not above the highest")
    return Bounds(lowest=lowest, highest=highest, why=parts["why"].text())


_REQUIRED = (
    "id",
    "product",
    "device_names",
    "pci",
    "architecture",
    "marketed_for_data_centre",
    "sources",
    "confidence",
)
_OPTIONAL = (
    "board_parts",
    "vgpu_types",
    "compute_capability",
    "devices_per_circuit",
    "sm_count",
    "boost_mhz",
    "max_sm_clock_mhz",
    "memory_type",
    "memory_gb",
    "memory_bus_bits",
    "memory_gb_per_s",
    "link",
    "dense_peak_tera",
    "rate_limit",
    "dies",
    "doubts",
)


def chip(node: Node, table: Table, shared: Shared) -> Chip:
    """One entry of the section ``chips``.

    Raises: CatalogueError: a field that is missing, unknown or off, or a PCI id that is taken.
    """
    parts = node.fields(required=_REQUIRED, optional=_OPTIONAL)
    chip_id, product = parts["id"].text(), parts["product"].text()
    capability = fields.optional_text(parts.get("compute_capability"))
    sm_count = fields.optional_whole(parts.get("sm_count"))
    devices = fields.optional_whole(parts.get("devices_per_circuit")) or 1
    peaks = _peaks(parts.get("dense_peak_tera"), shared)
    link, link_gb_per_s, host_gb_per_s = _link(parts.get("link"), parts["architecture"].text(), shared)
    sources = _sources(parts["sources"], shared)
    return Chip(
        id=chip_id,
        vendor=table["vendor"].text(),
        product=product,
        device_names=fields.texts(parts["device_names"]),
        pci=tuple(_pci(part, chip_id, product, shared) for part in parts["pci"]),
        board_parts=fields.texts(parts.get("board_parts")),
        vgpu_types=fields.texts(parts.get("vgpu_types")),
        architecture=parts["architecture"].text(),
        compute_capability=capability,
        sm_count=sm_count,
        num_cores=_num_cores(capability, sm_count, devices, shared),
        devices_per_circuit=devices,
        boost_mhz=fields.optional_whole(parts.get("boost_mhz")),
        max_sm_clock_mhz=fields.optional_whole(parts.get("max_sm_clock_mhz")),
        memory_type=fields.optional_text(parts.get("memory_type")),
        memory_gb=fields.optional_positive(parts.get("memory_gb")),
        memory_bus_bits=fields.optional_whole(parts.get("memory_bus_bits")),
        memory_gb_per_s=fields.optional_positive(parts.get("memory_gb_per_s")),
        link=link,
        link_gb_per_s=link_gb_per_s,
        host_gb_per_s=host_gb_per_s,
        dense_peak_tera=peaks,
        bit_lengths={name: shared.bit_lengths[name] for name in peaks},
        rate_limit=fields.optional_positive(parts.get("rate_limit")),
        dies=tuple(_dies(part) for part in parts["dies"]) if "dies" in parts else (),
        marketed_for_data_centre=fields.flag_or_none(parts["marketed_for_data_centre"]),
        doubts=fields.texts(parts.get("doubts")),
        provenance=provenance.resolve(parts["confidence"], _known(parts), sources, shared.sources),
        sources=sources,
        read=fields.day(table["read"]),
    )


def _known(parts: Mapping[str, Node]) -> list[str]:
    """The fields that say something; a link says its rate too."""
    known = [name for name in provenance.FIELDS if name in parts and parts[name].value not in (None, [], {}, "unknown")]
    return [*known, "link_gb_per_s"] if "link" in parts else known


def _num_cores(capability: str | None, sm_count: int | None, devices: int, shared: Shared) -> int | None:
    per_sm = shared.cores_per_sm.get(capability or "")
    return sm_count * per_sm // devices if sm_count is not None and per_sm is not None else None


def _peaks(node: Node | None, shared: Shared) -> dict[str, Decimal]:
    peaks: dict[str, Decimal] = {}
    for name, part in fields.mapping(node).items():
        if name not in shared.bit_lengths:
            part.unknown(name, tuple(shared.bit_lengths))
        peaks[name] = fields.positive(part)
    return peaks


def _link(node: Node | None, architecture: str, shared: Shared) -> tuple[str | None, Decimal | None, Decimal | None]:
    """A link's name and rate, and what the host's link adds to it: 0 where it is the host's, None where unknown."""
    if node is None:
        return None, None, None
    parts = node.fields(required=("name", "gb_per_s"), optional=("host",))
    rate = fields.positive(parts["gb_per_s"])
    is_host = "host" in parts and parts["host"].flag()
    return parts["name"].text(), rate, rate * 0 if is_host else shared.host_gb_per_s.get(architecture)


def _pci(node: Node, owner: str, product: str, shared: Shared) -> PciId:
    parts = node.fields(required=("device",), optional=("subsystems", "function", "note", "shared_with"))
    if "function" in parts and parts["function"].text() != "virtual":
        parts["function"].fail("'virtual', or no such field")
    pci = PciId(
        device=fields.pci_device(parts["device"]),
        subsystems=fields.pci_subsystems(parts.get("subsystems")),
        virtual="function" in parts,
        note=fields.optional_text(parts.get("note")) or "",
        shared_with=fields.texts(parts.get("shared_with")),
    )
    shared.claim(node, owner, product, pci)
    return pci


def _dies(node: Node) -> Dies:
    parts = node.fields(required=("area_mm2", "count", "non_planar", "node"), optional=("at_most",))
    return Dies(
        area_mm2=fields.positive(parts["area_mm2"]),
        count=fields.whole(parts["count"]),
        non_planar=parts["non_planar"].flag(),
        node=parts["node"].text(),
        at_most="at_most" in parts and parts["at_most"].flag(),
    )


def _sources(node: Node, shared: Shared) -> tuple[str, ...]:
    return fields.named(node, shared.sources, tuple(shared.sources))
