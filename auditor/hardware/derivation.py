"""The TPP of a chip that the catalogue lacks, from its compute capability, processors and clock: a range.

Nothing that a driver shows tells how far a part's tensor rate is cut, or at what clock its maker rates it. So the
range reaches down to the lowest share that was ever seen of what processors and the highest clock would give, and it
never decides near a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.spans import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.hardware.chips import Catalogue, Chip

_MHZ_PER_GHZ = 1000
_MOST_DIGITS = 7
# Drivers' highest clocks of all parts in the catalogue lie between 1,380 and 3,105 MHz; what lies far outside is no
# highest clock of a part that multiplies matrices, whatever it is.
_LEAST_MHZ = 800
_MOST_MHZ = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """``at_clock``: processors x clock x slope x rate limit, no more; ``tpp``: where a rated TPP may lie."""

    at_clock: Decimal
    tpp: Span
    working: str
    sources: tuple[str, ...]


def of_identity(identity: Mapping[str, str], catalogue: Catalogue) -> Derived | None:
    """The derived TPP of a device by what it says of itself; None where that is not enough, or absurd."""
    capability = identity.get("compute_capability", "")
    per_sm = catalogue.cores_per_sm.get(capability)
    cores, clock_mhz = _whole(identity.get("num_cores")), _whole(identity.get("max_sm_clock_mhz"))
    if per_sm is None or cores is None or clock_mhz is None or cores % per_sm:
        return None
    if not _LEAST_MHZ <= clock_mhz <= _MOST_MHZ:
        return None
    return _derive(catalogue, capability, cores // per_sm, clock_mhz)


def of_chip(chip: Chip, catalogue: Catalogue) -> Derived | None:
    """The derived TPP of a part at its rated clock, cut to its rate limit, to be held against its published one."""
    if chip.compute_capability is None or chip.sm_count is None or chip.boost_mhz is None:
        return None
    limit = chip.rate_limit or Decimal(1)
    return _derive(catalogue, chip.compute_capability, chip.sm_count, chip.boost_mhz, limit=limit)


def _derive(
    catalogue: Catalogue, capability: str, processors: int, clock_mhz: int, *, limit: Decimal = Decimal(1)
) -> Derived | None:
    slope, bounds = catalogue.slopes.get(capability), catalogue.bounds
    if slope is None or bounds is None:
        return None
    at_clock = slope.tpp * processors * clock_mhz / _MHZ_PER_GHZ * limit
    span = Span(at_clock * bounds.lowest, at_clock * bounds.highest)
    told = ", ".join(slope.provenance.sources) or "no source"
    cut = f" x {limit} of the rate" if limit != 1 else ""
    working = (
        f"Derived, not catalogued: {slope.tpp.normalize():f} per processor and gigahertz of compute capability"
        f" {capability} ({slope.work} multiply-adds per clock) [{slope.provenance.confidence}: {told}]"
        f" x {processors} processors x {Decimal(clock_mhz) / _MHZ_PER_GHZ} GHz{cut} = {at_clock:,.0f};"
        f" a rated TPP may lie between {span.low:,.0f} and {span.high:,.0f}. {bounds.why}"
    )
    return Derived(at_clock=at_clock, tpp=span, working=working, sources=slope.provenance.sources)


def _whole(text: str | None) -> int | None:
    usable = text is not None and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if usable and text is not None and int(text) > 0 else None
