"""What the chip controls ask of a device, as far as it is known: of the part that it is, or of each that it may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.hardware import derivation
from auditor.hardware.chips import Confidence
from auditor.hardware.rating import provenance_words, tpp
from auditor.hardware.spans import Span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from auditor.hardware.chips import Catalogue, Chip
    from auditor.hardware.matching import Match

DERIVED = "derived"
_FROM = {
    "tpp": "dense_peak_tera",
    "performance_density": "dies",
    "io_gb_per_s": "link_gb_per_s",
    "link_gb_per_s": "link_gb_per_s",
    "memory_gb_per_s": "memory_gb_per_s",
    "peak_tera": "dense_peak_tera",
    "data_centre": "marketed_for_data_centre",
}
_OF_THE_WORKING = ("tpp", "performance_density", "data_centre")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """The figures of one circuit; a span that is None is not known.

    ``of``: a part's id, or "derived". ``confidence``: of the field that each figure comes from.
    ``devices_per_circuit``: how many devices of a machine are one such circuit. ``io_working``: how the rate of inputs
    and outputs comes about. ``sources``: those of the working; ``io_sources``: those of ``io_working``.
    """

    of: str
    tpp: Span | None = None
    performance_density: Span | None = None
    memory_gb_per_s: Span | None = None
    io_gb_per_s: Span | None = None
    link_gb_per_s: Span | None = None
    peak_tera: Span | None = None
    die_area_known: bool = False  # exactly
    data_centre: bool | None = None
    devices_per_circuit: int = 1
    working: str
    io_working: str = ""
    doubts: tuple[str, ...] = ()
    confidence: Mapping[str, Confidence] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    io_sources: tuple[str, ...] = ()


def of(match: Match, identity: Mapping[str, str], catalogue: Catalogue) -> tuple[Quantities, ...]:
    """The figures of the part, or of each part that it may be; else what can be derived; else nothing.

    Beside what is derived stand the parts that the device resembles: only what holds for all of them is decided.
    """
    if match.chip is not None:
        return (of_chip(match.chip),)
    if match.exhaustive and match.candidates:
        return tuple(of_chip(chip) for chip in match.candidates)
    derived = derivation.of_identity(identity, catalogue) if _whole_circuit(identity) else None
    if derived is None:
        return ()
    own = Quantities(
        of=DERIVED,
        tpp=derived.tpp,
        working=derived.working,
        confidence={"tpp": Confidence.COMPUTED},
        sources=derived.sources,
    )
    return (own, *(of_chip(chip) for chip in match.candidates))


def of_chip(chip: Chip) -> Quantities:
    """The figures of a part, as catalogued."""
    rating = tpp(chip)
    told = {name: chip.provenance[fact] for name, fact in _FROM.items() if fact in chip.provenance}
    return Quantities(
        of=chip.id,
        tpp=rating.tpp_span,
        performance_density=rating.density_span,
        memory_gb_per_s=_exactly(chip.memory_gb_per_s),
        io_gb_per_s=_io(chip),
        link_gb_per_s=_exactly(chip.link_gb_per_s),
        peak_tera=_exactly(max(chip.dense_peak_tera.values(), default=None)),
        die_area_known=rating.area_mm2 is not None and not rating.area_is_bound,
        data_centre=chip.marketed_for_data_centre,
        devices_per_circuit=chip.devices_per_circuit,
        working=rating.working,
        io_working=_io_working(chip),
        doubts=rating.doubts,
        confidence={name: one.confidence for name, one in told.items()},
        sources=tuple(dict.fromkeys(name for one in _OF_THE_WORKING if one in told for name in told[one].sources)),
        io_sources=told["io_gb_per_s"].sources if "io_gb_per_s" in told else (),
    )


def _whole_circuit(identity: Mapping[str, str]) -> bool:
    """Whether the device's figures are those of a whole circuit: a slice's or a virtual GPU's are not."""
    return identity.get("virtualization_mode") != "vgpu" and "mig_uuid" not in identity


def _exactly(number: Decimal | None) -> Span | None:
    return None if number is None else Span.exactly(number)


def _io(chip: Chip) -> Span | None:
    """All inputs and outputs but the memory's: at least the link's rate, at most the host's link on top of it."""
    if chip.link_gb_per_s is None:
        return None
    host = chip.host_gb_per_s
    return Span(chip.link_gb_per_s, None if host is None else chip.link_gb_per_s + host)


def _io_working(chip: Chip) -> str:
    """How the rate of inputs and outputs comes about; nothing where the link's is not known."""
    if chip.link_gb_per_s is None:
        return "The rate of the link is not known, so there is none of inputs and outputs."
    told = chip.provenance.get("link_gb_per_s")
    seen = f" [{provenance_words(told)}]" if told else ""
    link = f"{chip.link_gb_per_s:f} GB/s of {chip.link or 'the link'}{seen}"
    if chip.host_gb_per_s is None:
        return f"Inputs and outputs = {link}, both directions; what the host's link adds is not known."
    if not chip.host_gb_per_s:
        return f"Inputs and outputs = {link}, both directions, which is the host's link too."
    most = f"{chip.link_gb_per_s + chip.host_gb_per_s:f}"
    host = f"at most {chip.host_gb_per_s:f} GB/s of the host's link"
    return f"Inputs and outputs = {link}, both directions, to {most} GB/s with {host}."
