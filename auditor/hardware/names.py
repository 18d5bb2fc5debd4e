"""What a table names without figures: ids, names seen on other silicon, and the beginnings of firmware versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.hardware import fields, provenance
from auditor.hardware.chips import Chip, Firmware, MaskedName, NamedId, PciId
from auditor.hardware.tables import Shared, Table, items

if TYPE_CHECKING:
    from collections.abc import Mapping


def named_ids(table: Table, shared: Shared) -> list[NamedId]:
    """The PCI ids of a table that have a name and no figures.

    Raises: CatalogueError: one of them is an entry's, or is named twice.
    """
    found = []
    for node in items(table, "named_ids"):
        parts = node.fields(required=("device", "name", "sources", "confidence"), optional=())
        device = fields.pci_device(parts["device"])
        if any(other == device for other, _ in shared.taken):
            parts["device"].fail("a PCI id that no entry has")
        shared.claim(node, device, parts["name"].text(), PciId(device=device, subsystems=()))
        found.append(
            NamedId(
                device=device,
                name=parts["name"].text(),
                vendor=table["vendor"].text(),
                provenance=provenance.single(parts, shared.sources),
            )
        )
    return found


def masked(table: Table, shared: Shared, chips: Mapping[str, Chip]) -> list[MaskedName]:
    """The names of a table that were seen on silicon of another class.

    Raises: CatalogueError: one of them was seen on a part that has no entry.
    """
    found = []
    for node in items(table, "masked"):
        parts = node.fields(required=("name", "seen", "parts", "sources", "confidence"), optional=())
        found.append(
            MaskedName(
                name=parts["name"].text(),
                seen=parts["seen"].text(),
                parts=fields.named(parts["parts"], chips, tuple(chips)),
                provenance=provenance.single(parts, shared.sources),
            )
        )
    return found


def firmware(table: Table, shared: Shared) -> dict[str, Firmware]:
    """What the first two pairs of a firmware version tell, by those."""
    found = {}
    for begin, node in fields.mapping(table.get("firmware")).items():
        parts = node.fields(required=("compute_capability", "sources", "confidence"), optional=())
        found[begin] = Firmware(
            compute_capability=parts["compute_capability"].text(),
            provenance=provenance.single(parts, shared.sources),
        )
    return found
