"""The chip catalogue: YAML tables, read strictly. Every complaint names file, line and field.

``sources`` and the definitions (``bit_lengths``, ``cores_per_sm``) are shared by all files that are loaded
together.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.documents import Node, read_yaml
from auditor.errors import CatalogueError
from auditor.hardware.chips import BitLength, Catalogue, Chip, Confidence, Dies, PciId
from auditor.hardware.matching import Match, match
from auditor.hardware.rating import Rating, tpp
from auditor.resources import tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Catalogue", "Chip", "Match", "Rating", "digest", "load", "match", "shipped", "tpp"]

SCHEMA = "auditor.chips/1"
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_SUBSYSTEM = re.compile(r"([0-9a-f]{4}|\*):[0-9a-f]{4}")
_GROUPS = ("names", "peak", "die")


def shipped() -> list[Path]:
    """The tables that come with the auditor."""
    return sorted((tree("configs") / "chips").glob("*.yaml"))


def load(paths: Iterable[Path] | None = None) -> Catalogue:
    """The chips of the tables at ``paths``, else of those that are shipped.

    Raises: CatalogueError: a table that does not fit, or an id or PCI id that is taken.
    """
    files = shipped() if paths is None else list(paths)
    documents = [_sections(read_yaml(path, CatalogueError)) for path in files]
    shared = _Shared()
    for fields in documents:
        shared.read(fields)
    chips: dict[str, Chip] = {}
    for fields in documents:
        for node in fields["chips"] if "chips" in fields else ():  # noqa: SIM401 - a Node has no empty one
            chip = _chip(node, fields, shared)
            if chip.id in chips:
                raise CatalogueError(f"{node.file}:{node.line}: {node.path}: the id {chip.id!r} is taken already")
            chips[chip.id] = chip
    return Catalogue(chips=tuple(chips.values()), sources=shared.sources, digest=digest(files))


def digest(paths: Iterable[Path] | None = None) -> str:
    """SHA-256 over the names and bytes of the tables, without reading what they say: milliseconds.

    Raises: CatalogueError: a file cannot be read.
    """
    files = shipped() if paths is None else list(paths)
    try:
        lines = sorted(f"{path.name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)
    except OSError as error:
        raise CatalogueError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return hashlib.sha256(f"{SCHEMA}\n{''.join(lines)}".encode()).hexdigest()


def _sections(document: Node) -> Mapping[str, Node]:
    sections = ("vendor", "read", "sources", "bit_lengths", "cores_per_sm", "chips")
    fields = document.fields(required=("schema",), optional=sections)
    if fields["schema"].text() != SCHEMA:
        fields["schema"].fail(f"{SCHEMA!r}")
    if "chips" in fields:
        document.fields(required=("schema", "vendor", "read", "chips"))
    return fields


@dataclass(slots=True)
class _Shared:
    """What all tables name together, and the PCI ids that are taken, each with the chip that has it."""

    sources: dict[str, str] = field(default_factory=dict)
    bit_lengths: dict[str, BitLength] = field(default_factory=dict)
    cores_per_sm: dict[str, int] = field(default_factory=dict)
    taken: dict[tuple[str, str], str] = field(default_factory=dict)

    def read(self, fields: Mapping[str, Node]) -> None:
        """Take in what one table defines."""
        for name, node in _mapping(fields.get("sources")).items():
            if name in self.sources:
                raise CatalogueError(f"{node.file}:{node.line}: the source {name!r} is named already")
            self.sources[name] = node.text()
        for name, node in _mapping(fields.get("bit_lengths")).items():
            parts = node.fields(required=("bits",), optional=("doubt",))
            doubt = parts["doubt"].text() if "doubt" in parts else ""
            self.bit_lengths[name] = BitLength(bits=_whole(parts["bits"]), doubt=doubt)
        for name, node in _mapping(fields.get("cores_per_sm")).items():
            self.cores_per_sm[name] = _whole(node)


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
    "compute_capability",
    "sm_count",
    "boost_mhz",
    "max_sm_clock_mhz",
    "memory_gb",
    "memory_bus_bits",
    "memory_gb_per_s",
    "dense_peak_tera",
    "rate_limit",
    "dies",
    "doubts",
)


def _chip(node: Node, table: Mapping[str, Node], shared: _Shared) -> Chip:
    fields = node.fields(required=_REQUIRED, optional=_OPTIONAL)
    peaks = _peaks(fields.get("dense_peak_tera"), shared)
    chip_id = fields["id"].text()
    capability = _optional_text(fields.get("compute_capability"))
    sm_count = _optional_whole(fields.get("sm_count"))
    return Chip(
        id=chip_id,
        vendor=table["vendor"].text(),
        product=fields["product"].text(),
        device_names=_texts(fields["device_names"]),
        pci=tuple(_pci(part, chip_id, shared) for part in fields["pci"]),
        board_parts=_texts(fields.get("board_parts")),
        architecture=fields["architecture"].text(),
        compute_capability=capability,
        sm_count=sm_count,
        num_cores=_num_cores(capability, sm_count, shared),
        boost_mhz=_optional_whole(fields.get("boost_mhz")),
        max_sm_clock_mhz=_optional_whole(fields.get("max_sm_clock_mhz")),
        memory_gb=_optional_positive(fields.get("memory_gb")),
        memory_bus_bits=_optional_whole(fields.get("memory_bus_bits")),
        memory_gb_per_s=_optional_positive(fields.get("memory_gb_per_s")),
        dense_peak_tera=peaks,
        bit_lengths={name: shared.bit_lengths[name] for name in peaks},
        rate_limit=_optional_positive(fields.get("rate_limit")),
        dies=tuple(_dies(part) for part in fields["dies"]) if "dies" in fields else (),
        marketed_for_data_centre=_flag_or_none(fields["marketed_for_data_centre"]),
        doubts=_texts(fields.get("doubts")),
        confidence=_confidence(fields["confidence"]),
        sources=_sources(fields["sources"], shared),
        read=_date(table["read"]),
    )


def _num_cores(capability: str | None, sm_count: int | None, shared: _Shared) -> int | None:
    per_sm = shared.cores_per_sm.get(capability or "")
    return sm_count * per_sm if sm_count is not None and per_sm is not None else None


def _peaks(node: Node | None, shared: _Shared) -> dict[str, Decimal]:
    peaks: dict[str, Decimal] = {}
    for name, part in _mapping(node).items():
        if name not in shared.bit_lengths:
            part.unknown(name, tuple(shared.bit_lengths))
        peaks[name] = _positive(part)
    return peaks


def _pci(node: Node, chip_id: str, shared: _Shared) -> PciId:
    fields = node.fields(required=("device",), optional=("subsystems",))
    device = fields["device"].text()
    if not _PCI.fullmatch(device):
        fields["device"].fail("vendor and device in lower-case hexadecimal, such as '10de:2335'")
    subsystems = _texts(fields.get("subsystems"))
    for subsystem in subsystems:
        if not _SUBSYSTEM.fullmatch(subsystem):
            fields["subsystems"].fail("subsystems such as '10de:18be' or '*:18be'")
    for board in subsystems or ("",):
        owner = shared.taken.setdefault((device, board), chip_id)
        if owner != chip_id:
            node.fail(f"a PCI id of its own; {device} {board or '(all boards)'} belongs to {owner!r}")
    return PciId(device=device, subsystems=subsystems)


def _dies(node: Node) -> Dies:
    fields = node.fields(required=("area_mm2", "count", "non_planar", "node"), optional=())
    return Dies(
        area_mm2=_positive(fields["area_mm2"]),
        count=_whole(fields["count"]),
        non_planar=fields["non_planar"].flag(),
        node=fields["node"].text(),
    )


def _confidence(node: Node) -> dict[str, Confidence]:
    words: dict[str, Confidence] = {}
    for name, part in node.fields(required=_GROUPS, optional=()).items():
        try:
            words[name] = Confidence(part.text())
        except ValueError:
            part.unknown(part.text(), tuple(map(str, Confidence)))
    return words


def _sources(node: Node, shared: _Shared) -> tuple[str, ...]:
    names = _texts(node)
    if not names:
        node.fail("at least one source")
    for part in node:
        if part.text() not in shared.sources:
            part.unknown(part.text(), tuple(shared.sources))
    return names


def _mapping(node: Node | None) -> dict[str, Node]:
    return {} if node is None else node.fields()


def _texts(node: Node | None) -> tuple[str, ...]:
    return () if node is None else tuple(part.text() for part in node)


def _optional_text(node: Node | None) -> str | None:
    return None if node is None or node.value is None else node.text()


def _flag_or_none(node: Node) -> bool | None:
    return None if node.value == "unknown" else node.flag()


def _whole(node: Node) -> int:
    number = _positive(node)
    if number != number.to_integral_value():
        node.fail("a whole number")
    return int(number)


def _optional_whole(node: Node | None) -> int | None:
    return None if node is None or node.value is None else _whole(node)


def _positive(node: Node) -> Decimal:
    number = Decimal(node.number())
    if number <= 0:
        node.fail("a number above zero")
    return number


def _optional_positive(node: Node | None) -> Decimal | None:
    return None if node is None or node.value is None else _positive(node)


def _date(node: Node) -> date:
    try:
        return date.fromisoformat(node.text())
    except ValueError:
        node.fail("a date such as 2025-05-15")
