"""An entry of the catalogue as a person reads it: each field with how sure it is, where it was read, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.report.json_text import judgement_plain
from auditor.report.words import plain_decimal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.hardware.chips import Chip, PciId
    from auditor.report.judgement import Judgement


def field_rows(chip: Chip) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, value, confidence, sources and day of every field that is known."""
    for name, told in chip.provenance.items():
        where = ", ".join(told.sources) or (f"from {', '.join(told.computed_from)}" if told.computed_from else "-")
        when = told.read.isoformat() if told.read else "-"
        yield name, _value(chip, name), str(told.confidence), where, when


def entry_plain(chip: Chip, judged: Judgement) -> dict[str, Any]:
    """An entry as lists and mappings, with its judgement."""
    return {
        "id": chip.id,
        "vendor": chip.vendor,
        "product": chip.product,
        "fields": {
            name: {
                "value": _value(chip, name),
                "confidence": str(told.confidence),
                "sources": list(told.sources),
                "computed_from": list(told.computed_from),
                "read": told.read.isoformat() if told.read else None,
            }
            for name, told in chip.provenance.items()
        },
        **judgement_plain(judged),
    }


def _value(chip: Chip, name: str) -> str:
    if name == "pci":
        return ", ".join(map(_pci, chip.pci))
    if name == "dense_peak_tera":
        return ", ".join(f"{dtype} {plain_decimal(rate)}" for dtype, rate in chip.dense_peak_tera.items())
    if name == "dies":
        return " + ".join(
            f"{f'{dies.count} x ' if dies.count > 1 else ''}{'at most ' if dies.at_most else ''}{dies.area_mm2} mm2"
            f" ({dies.node})"
            for dies in chip.dies
        )
    value = getattr(chip, name)
    if isinstance(value, tuple):
        return ", ".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _pci(pci: PciId) -> str:
    words = [*pci.subsystems, *(["virtual function"] if pci.virtual else []), *([pci.note] if pci.note else [])]
    words += [f"shared with {product}" for product in pci.shared_with]
    return f"{pci.device} ({', '.join(words)})" if words else pci.device
