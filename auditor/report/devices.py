"""What hardware the record names, and what class its numbers put it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.hardware.catalogue import match, tpp
from auditor.report.words import joined
from auditor.rules.classification import UNDETERMINED, classify_chip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from decimal import Decimal

    from auditor.hardware.catalogue import Catalogue
    from auditor.rules.model import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A device as one rank saw it; ``chip``, ``tpp``, ``performance_density`` are None where not known."""

    rank: int
    kind: str
    name: str
    identity: Mapping[str, str]
    chip: str | None
    tpp: Decimal | None
    performance_density: Decimal | None
    eccn: str
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareGroup:
    """Devices that are alike, the ranks that saw them, and how many: 0 where they cannot be told apart."""

    example: Hardware
    ranks: tuple[int, ...]
    number: int


def describe(
    rank: int, identity: Mapping[str, str], *, catalogue: Catalogue, ruleset: RuleSet, as_of: date
) -> Hardware:
    """The device, its chip and its class on that day; the unknown stays undetermined, with the reason."""
    found = match(identity, catalogue)
    chip = found.chip
    rating = tpp(chip) if chip else None
    performance = rating.tpp if rating else None
    density = rating.performance_density if rating else None
    klass = classify_chip(
        ruleset,
        tpp=performance,
        performance_density=density,
        data_centre=chip.marketed_for_data_centre if chip else None,
        as_of=as_of,
    )
    rested_on = [found.basis, *([rating.working, *rating.doubts, *klass.reasons] if rating else [])]
    return Hardware(
        rank=rank,
        kind=identity.get("kind", "unknown"),
        name=identity.get("name", "unknown"),
        identity=dict(sorted(identity.items())),
        chip=chip.id if chip else None,
        tpp=performance,
        performance_density=density,
        eccn=klass.eccn if chip else UNDETERMINED,
        basis=joined(*rested_on),
    )


def group(devices: Iterable[Hardware]) -> tuple[HardwareGroup, ...]:
    """Like devices together, in the order of their first rank."""
    alike: dict[tuple[object, ...], list[Hardware]] = {}
    for device in devices:
        key = (device.kind, device.name, device.chip, device.eccn, device.basis)
        alike.setdefault(key, []).append(device)
    return tuple(
        HardwareGroup(
            example=found[0],
            ranks=tuple(sorted({device.rank for device in found})),
            number=len({device.identity["uuid"] for device in found if "uuid" in device.identity}),
        )
        for found in alike.values()
    )
