"""Three views of one device and one verdict: what it says of itself, what its part is known to be, what it did.

The first is words of a library that whoever owns the machine can replace; the second follows from the first; only
the third is the silicon's. A measurement that is higher than the part can be contradicts the words. One that is
lower does not: a device may be slowed, shared or badly measured, so that is told beside the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.hardware.answers import whole
from auditor.hardware.bound import boost_of, share_of
from auditor.hardware.identity import NVML
from auditor.hardware.matching import contradictions, match
from auditor.hardware.rating import tpp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditor.hardware.chips import Catalogue, Chip
    from auditor.hardware.matching import Match
    from auditor.hardware.measured import Measurement

# A slower memory clock or error correction costs a few percent; more than the bus gives cannot be measured.
_BANDWIDTH_TOLERANCE = Decimal("1.05")
# The size of a cache is where its latency or its bandwidth bends, which is not sharp.
_CACHE_TOLERANCE = Decimal("1.5")
_LOW = Decimal("0.6")  # of the rated rate; below this it is told


class Verdict(StrEnum):
    """What the three views come to. Not compared: measured, and nothing of that is known of one part."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    NOT_COMPARED = "not compared"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """The verdict on a device; ``against``: each contradiction, with the figures; ``remarks``: what proves nothing."""

    verdict: Verdict
    chip: Chip | None
    declared: Mapping[str, str]
    catalogued: Mapping[str, str]
    measured: Mapping[str, str]
    against: tuple[str, ...]
    low: tuple[str, ...]  # of the remarks, those that tell of far less than the part can
    remarks: tuple[str, ...]


def compare(
    identity: Mapping[str, str],
    catalogue: Catalogue,
    measured: Measurement | None,
    cuda: Mapping[str, str] | None = None,
) -> Views:
    """The views of a device held against each other.

    identity: as written down. cuda: what CUDA said of it, another library than the identity's, where it was asked.
    """
    found = match(identity, catalogue)
    chip = found.chip
    against = tuple(_contradicting(identity, catalogue, found, measured, cuda or {}))
    low = tuple(_low(identity, chip, measured)) if measured else ()
    unmeasured = sorted(measured.not_measured.items()) if measured else []
    return Views(
        verdict=Verdict.INCONSISTENT if against else _unopposed(chip, measured),
        chip=chip,
        declared=_declared(identity, cuda or {}),
        catalogued=_catalogued(chip),
        measured=_measured(measured),
        against=against,
        low=low,
        remarks=(
            *low,
            *(tpp(chip).doubts if chip and against else ()),
            *(f"{name} was not measured: {why}" for name, why in unmeasured),
            *(() if chip else (found.basis,)),
        ),
    )


def _contradicting(
    identity: Mapping[str, str],
    catalogue: Catalogue,
    found: Match,
    measured: Measurement | None,
    cuda: Mapping[str, str],
) -> Iterator[str]:
    yield from _identity_against(identity, catalogue, found.chip)
    yield from _libraries(identity, cuda)
    if measured is not None:
        yield from _measured_against(identity, catalogue, _claimed(identity, catalogue, found), measured, cuda)


def _claimed(identity: Mapping[str, str], catalogue: Catalogue, found: Match) -> tuple[Chip, ...]:
    """The part, or each that the device can be by its PCI id or its virtual type; none where the catalogue lacks one.

    Parts that a device only resembles are not among them: nothing says that it is one of these.
    """
    if found.chip is not None:
        return (found.chip,)
    if identity.get("virtualization_mode") == "vgpu":
        return found.candidates
    device, products = identity.get("pci_device_id"), {chip.product for chip in catalogue.chips}
    ids = [(chip, pci) for chip in found.candidates for pci in chip.pci if pci.device == device]
    if any(set(pci.shared_with) - products for _, pci in ids):
        return ()
    return tuple({chip.id: chip for chip, _ in ids}.values())


def _unopposed(chip: Chip | None, measured: Measurement | None) -> Verdict:
    """The verdict where nothing contradicts: whether a rate was measured that the part's own is known for."""
    if measured is None or not _measured(measured).keys() - {"seconds"}:
        return Verdict.NOT_MEASURED
    comparable = chip is not None and measured.rates_tera.keys() & chip.dense_peak_tera.keys()
    return Verdict.CONSISTENT if comparable else Verdict.NOT_COMPARED


def bandwidth_gb_per_s(identity: Mapping[str, str]) -> Decimal | None:
    """The most that the memory can move by its bus and its clock, two transfers a cycle; in 10**9 bytes."""
    bits, clock = (whole(identity.get(name)) for name in ("memory_bus_bits", "max_memory_clock_mhz"))
    if bits is None or clock is None:
        return None
    return Decimal(bits) * Decimal(clock) * 2 / 8 / 1000


def _declared(identity: Mapping[str, str], cuda: Mapping[str, str]) -> dict[str, str]:
    names = (
        "name",
        "pci_device_id",
        "compute_capability",
        "num_cores",
        "mig_sm_count",
        "memory_bytes",
        "max_sm_clock_mhz",
    )
    bandwidth = bandwidth_gb_per_s(identity)
    return {
        **{name: identity[name] for name in names if name in identity},
        **({} if bandwidth is None else {"dram_gb_per_s": f"{bandwidth:.0f}"}),
        **{f"cuda.{name}": text for name, text in cuda.items() if name in ("name", "sm_count", "l2_bytes")},
    }


def _catalogued(chip: Chip | None) -> dict[str, str]:
    if chip is None:
        return {}
    figures = {"sm_count": chip.sm_count, "num_cores": chip.num_cores, "dram_gb_per_s": chip.memory_gb_per_s}
    return {
        "product": chip.product,
        **{name: str(figure) for name, figure in figures.items() if figure is not None},
        **{f"rate_tera.{name}": str(rate) for name, rate in chip.dense_peak_tera.items()},
    }


def _measured(measured: Measurement | None) -> dict[str, str]:
    if measured is None:
        return {}
    return {
        name: text
        for name, text in measured.to_mapping().items()
        if name != "uuid" and not name.startswith("not_measured.")
    }


def _identity_against(identity: Mapping[str, str], catalogue: Catalogue, chip: Chip | None) -> Iterator[str]:
    """Where every part with the device's PCI id is contradicted by something else that the device says."""
    device = identity.get("pci_device_id")
    named = [other for other in catalogue.chips if device in {pci.device for pci in other.pci}]
    if chip is not None or not named:
        return
    against = {other.product: contradictions(identity, other, catalogue) for other in named}
    product = min(against, key=lambda name: len(against[name]))
    for one in against[product]:
        yield f"declared and catalogued: the PCI id {device} is the {product}'s, but it says {one}"


def _libraries(identity: Mapping[str, str], cuda: Mapping[str, str]) -> Iterator[str]:
    """Where CUDA and the identity's library, asked of the same device, say two things."""
    if identity.get("door") != NVML:
        return
    for name in ("compute_capability", "name"):
        one, other = identity.get(name), cuda.get(name)
        if one and other and one != other and not other.startswith(f"{one} MIG"):
            yield f"declared twice: {name.replace('_', ' ')} {one} by NVML, {other} by CUDA"


def _measured_against(
    identity: Mapping[str, str],
    catalogue: Catalogue,
    parts: Sequence[Chip],
    measured: Measurement,
    cuda: Mapping[str, str],
) -> Iterator[str]:
    yield from _rates(identity, parts, measured)
    yield from _bandwidth(identity, parts, measured)
    yield from _processors(identity, catalogue, parts, measured)
    declared = whole(cuda.get("l2_bytes"))
    if measured.l2_bytes and declared and measured.l2_bytes > declared * _CACHE_TOLERANCE:
        yield f"measured: an L2 cache of {measured.l2_bytes:,} bytes, CUDA says {declared:,}"


def _highest(figures: Iterable[Decimal | None]) -> Decimal | None:
    """The highest of all; None where there are none, or one is not known: that one might be higher."""
    known = list(figures)
    return None if None in known else max(filter(None, known), default=None)


def _rates(identity: Mapping[str, str], parts: Sequence[Chip], measured: Measurement) -> Iterator[str]:
    name_of_it = " or ".join(f"{_slice_words(identity, chip)}{chip.product}" for chip in parts)
    for name, rate in sorted(measured.rates_tera.items()):
        rated = _highest(_rated(identity, chip, name) for chip in parts)
        allowed = _highest(_rated(identity, chip, name, boost_of(chip)) for chip in parts)
        if rated and allowed and rate > allowed:
            yield (
                f"measured: it says {name_of_it} ({rated.normalize():f} tera-operations per second {name}), it did "
                f"{rate:.0f}, {rate / rated:.2f} times as many; boost explains {allowed / rated:.2f} times"
            )


def _rated(identity: Mapping[str, str], chip: Chip, name: str, times: Decimal = Decimal(1)) -> Decimal | None:
    """The rate of the part, or of the device's share of it."""
    rate = chip.dense_peak_tera.get(name)
    share = share_of(identity, chip)
    return None if not rate else (rate if share == 1 else round(rate * share, 1)) * times


def _slice_words(identity: Mapping[str, str], chip: Chip) -> str:
    share = share_of(identity, chip)
    return "" if share == 1 else f"{share:.0%} of "


def _processors(
    identity: Mapping[str, str], catalogue: Catalogue, parts: Sequence[Chip], measured: Measurement
) -> Iterator[str]:
    """More multiprocessors at work than the part has, or than the device says."""
    cores, per_sm = whole(identity.get("num_cores")), catalogue.cores_per_sm.get(identity.get("compute_capability", ""))
    own = [None if chip.sm_count is None else chip.sm_count * share_of(identity, chip) for chip in parts]
    views = {
        "the part has": _highest(own),
        "its slice has": whole(identity.get("mig_sm_count")),
        "it says that it has": cores // per_sm if cores and per_sm else None,
    }
    known = {view: most for view, most in views.items() if most}
    view = min(known, key=lambda view: known[view], default="")
    if measured.sm_count and view and measured.sm_count > known[view]:
        yield f"measured: {measured.sm_count} multiprocessors at work, {view} {known[view]:.0f}"


def _bandwidth(identity: Mapping[str, str], parts: Sequence[Chip], measured: Measurement) -> Iterator[str]:
    found = measured.dram_gb_per_s
    if found is None:
        return
    for view, most in (
        ("the part", _highest(chip.memory_gb_per_s for chip in parts)),
        ("its own bus and clock", bandwidth_gb_per_s(identity)),
    ):
        if most and found > most * _BANDWIDTH_TOLERANCE:
            yield f"measured: {found:.0f} GB/s of memory, {view} gives {most:.0f} at most"


def _low(identity: Mapping[str, str], chip: Chip | None, measured: Measurement) -> Iterator[str]:
    given = whole(identity.get("mig_sm_count")) or (chip.sm_count if chip else None)
    if given and measured.sm_count and measured.sm_count < given:
        yield f"measured only {measured.sm_count} of {given} multiprocessors at work"
    for name, rate in sorted(measured.rates_tera.items()):
        rated = _rated(identity, chip, name) if chip else None
        if rated and rate < rated * _LOW:
            yield (
                f"measured only {rate:.0f} of {rated.normalize():f} tera-operations per second {name} "
                f"({rate / rated:.0%}): slowed, shared, or a lesser part"
            )
