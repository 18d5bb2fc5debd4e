"""The chips that an inventory names: of the catalogue, with figures of their own, or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import InventoryError
from auditor.hardware import lookup, quantities
from auditor.rules.circuits import Circuit, circuit_of
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal
    from fractions import Fraction

    from auditor.documents import Node
    from auditor.hardware.chips import Catalogue, Chip

UNKNOWN = "unknown"
# What amounts are told in beside TPP: the part whose TPP the notes of the country cap use too.
EQUIVALENT = "h100-sxm5-80gb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A kind of chip. ``circuit`` holds what chip rules ask; ``source`` says who gives the figures."""

    id: str
    words: str
    circuit: Circuit
    source: str

    @property
    def tpp(self) -> Range | None:
        """Total processing performance of one; None where nothing is known of it."""
        return _range(self.circuit.tpp)

    @property
    def link_gb_per_s(self) -> Range | None:
        """Its transfer rate to other accelerators."""
        return _range(self.circuit.link_gb_per_s)

    @property
    def memory_gb_per_s(self) -> Range | None:
        """Its memory bandwidth."""
        return _range(self.circuit.memory_gb_per_s)


def unknown() -> Part:
    """A chip of which nothing is known."""
    return Part(id=UNKNOWN, words="unknown chip", circuit=Circuit(), source="nobody says which chip it is")


def stated(part_id: str, circuit: Circuit, source: str) -> Part:
    """A chip with the figures of whoever wrote the inventory."""
    return Part(id=part_id, words=part_id, circuit=circuit, source=f"as stated: {source}")


def catalogued(chip: Chip) -> Part:
    """A chip of the catalogue; a vendor's working and its confidence are the source."""
    figures = quantities.of_chip(chip)
    sure = figures.confidence.get("tpp")
    told = f"catalogue, {sure}" if sure else "catalogue"
    return Part(
        id=chip.id,
        words=f"{chip.vendor} {chip.product}",
        circuit=circuit_of(figures),
        source=f"{told}: {figures.working}",
    )


def find(node: Node, catalogue: Catalogue, own: Iterable[str]) -> Part:
    """The part of the catalogue that a field names, by its id, or by a name that no other part has.

    Raises: InventoryError: none or several have it; names the nearest.
    """
    written = node.text()
    for chip in catalogue.chips:
        if chip.id == written:
            return catalogued(chip)
    named = [chip for chip in catalogue.chips if _called(chip, written)]
    seen = lookup.masked(written, catalogue)
    if len(named) == 1 and seen is None:
        return catalogued(named[0])
    raise InventoryError(
        f"{node.file}:{node.line}: {node.path}: expected a chip of the catalogue or of `chips`, got {written!r}"
        + (f", which is the name of {len(named)} parts" if len(named) > 1 else "")
        + (f"; that name was seen on other silicon ({seen.seen})" if seen else ""),
        remedy=_remedy(written, [chip.id for chip in named], catalogue, own),
    )


def equivalent_tpp(catalogue: Catalogue) -> Fraction:
    """The TPP of the part that amounts are told in."""
    chip = next(chip for chip in catalogue.chips if chip.id == EQUIVALENT)
    tpp = catalogued(chip).tpp
    if tpp is None or tpp.high is None:
        raise InventoryError(f"the catalogue has no TPP of {EQUIVALENT}")
    return tpp.high


def _called(chip: Chip, written: str) -> bool:
    wanted = written.casefold()
    return wanted in {name.casefold() for name in (chip.product, f"{chip.vendor} {chip.product}", *chip.device_names)}


def _remedy(written: str, named: list[str], catalogue: Catalogue, own: Iterable[str]) -> str:
    mine = [one for one in own if one.casefold() == written.casefold()]
    near = named or [*mine, *lookup.near(written, catalogue)]
    hint = f"Did you mean {', '.join(near[:8])}? " if near else ""
    return (
        f"{hint}`auditor hardware list` names them; with figures of your own it goes under `chips`; `unknown` stands"
        " for a chip that nobody knows."
    )


def _range(known: Decimal | tuple[Decimal, Decimal | None] | None) -> Range | None:
    if known is None:
        return None
    low, high = known if isinstance(known, tuple) else (known, known)
    exact = Range.exactly(low)
    return Range(exact.low, None if high is None else Range.exactly(high).low)
