"""What a part comes to under the chip controls: total processing performance and its density."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from auditor.hardware.chips import Chip, Confidence, Provenance
from auditor.hardware.spans import Span

# Beside the word of confidence in the working, what deserves a sentence.
_DOUBTFUL = {
    Confidence.COMPUTED: "is computed from other figures",
    Confidence.RECALLED: "was not looked up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """``tpp``: dense tera-operations per second times bit length, where that is most; None: no peak known.

    ``performance_density``: that over the area of the logic dies with non-planar transistors; None: no such area
    known, or only a bound of it. ``tpp_span``, ``density_span``: down to the TPP without the types whose bit length
    can be read otherwise, and without end where the area is an upper bound.
    """

    tpp: Decimal | None
    dtype: str | None
    tpp_span: Span | None
    performance_density: Decimal | None
    density_span: Span | None
    area_mm2: Decimal | None
    area_is_bound: bool
    working: str
    doubts: tuple[str, ...]


def tpp(chip: Chip) -> Rating:
    """The rating of a part, the working in one line, and what is doubtful about it."""
    products = _products(chip)
    area = _area_mm2(chip)
    if not products:
        return Rating(
            tpp=None,
            dtype=None,
            tpp_span=None,
            performance_density=None,
            density_span=None,
            area_mm2=area,
            area_is_bound=_is_bound(chip),
            working="The maker's dense peak rates are not known.",
            doubts=chip.doubts,
        )
    dtype, most = max(products.items(), key=lambda item: (item[1], not chip.bit_lengths[item[0]].doubt))
    plain = [product for other, product in products.items() if not chip.bit_lengths[other].doubt]
    span = Span(max(plain, default=most), most)
    return Rating(
        tpp=most,
        dtype=dtype,
        tpp_span=span,
        performance_density=most / area if area and not _is_bound(chip) else None,
        density_span=_density(chip, span, area),
        area_mm2=area,
        area_is_bound=_is_bound(chip),
        working=_working(chip, dtype, most, area),
        doubts=tuple(_doubts(chip, dtype, products, area)),
    )


def _products(chip: Chip) -> dict[str, Decimal]:
    return {dtype: rate * chip.bit_lengths[dtype].bits for dtype, rate in chip.dense_peak_tera.items()}


def _area_mm2(chip: Chip) -> Decimal | None:
    """The applicable die area: planar dies add nothing to it; None where there is none to divide by."""
    area = sum((dies.area_mm2 * dies.count for dies in chip.dies if dies.non_planar), Decimal(0))
    return area or None


def _is_bound(chip: Chip) -> bool:
    return any(dies.at_most for dies in chip.dies if dies.non_planar)


def _density(chip: Chip, tpp_span: Span, area: Decimal | None) -> Span | None:
    if area is None:
        return None
    high = None if _is_bound(chip) or tpp_span.high is None else tpp_span.high / area
    return Span(tpp_span.low / area, high)


def _working(chip: Chip, dtype: str, most: Decimal, area: Decimal | None) -> str:
    rate, bits = chip.dense_peak_tera[dtype], chip.bit_lengths[dtype].bits
    total = f"TPP = {rate} dense tera-operations per second ({dtype}) x {bits} bit = {most.normalize():,f}"
    total += _told(chip, "dense_peak_tera")
    if area is None:
        return f"{total}; no die area is known, so there is no performance density."
    least, of = ("at least ", "at most ") if _is_bound(chip) else ("", "")
    divided = f"{most.normalize():,f} / {of}{_area(chip)} mm2 = {least}{most / area:.3f}"
    return f"{total}; performance density = {divided}{_told(chip, 'dies')}."


def _area(chip: Chip) -> str:
    logic = [dies for dies in chip.dies if dies.non_planar]
    if len(logic) == 1 and logic[0].count == 1:
        return str(logic[0].area_mm2)
    terms = [f"{dies.count} x {dies.area_mm2}" if dies.count > 1 else str(dies.area_mm2) for dies in logic]
    return f"({' + '.join(terms)})"


def _told(chip: Chip, name: str) -> str:
    """Where a figure comes from: " [secondary: stas, note]"; nothing where the entry does not say."""
    told = chip.provenance.get(name)
    return f" [{provenance_words(told)}]" if told else ""


def provenance_words(told: Provenance) -> str:
    """How sure a figure is and where it was read, in few words: "secondary: stas, note"."""
    where = ", ".join(told.sources or told.computed_from)
    return f"{told.confidence}: {where}" if where else str(told.confidence)


def _doubts(chip: Chip, dtype: str, products: dict[str, Decimal], area: Decimal | None) -> list[str]:
    doubts = list(chip.doubts)
    for name, words in (("dense_peak_tera", "The peak rate"), ("dies", "The die area")):
        told = chip.provenance.get(name)
        said = _DOUBTFUL.get(told.confidence) if told else None
        if said and (name == "dense_peak_tera" or area is not None):
            doubts.append(f"{words} {said}.")
    reading = chip.bit_lengths[dtype].doubt
    if reading:
        others = [product for other, product in products.items() if not chip.bit_lengths[other].doubt]
        without = f" Without {dtype} the TPP is {max(others).normalize():,f}." if others else ""
        doubts.append(f"{reading}{without}")
    return doubts
