"""What a part comes to under the chip controls: total processing performance and its density."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from auditor.hardware.chips import Chip, Confidence

_DOUBTFUL = {
    Confidence.SECONDARY: "was seen at a third party only",
    Confidence.COMPUTED: "is computed from other figures",
    Confidence.RECALLED: "was not looked up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """``tpp``: dense tera-operations per second times bit length, where that is most; None: no peak known.

    ``performance_density``: TPP over the area of the logic dies with non-planar transistors; None: no such
    area known.
    """

    tpp: Decimal | None
    dtype: str | None
    performance_density: Decimal | None
    area_mm2: Decimal | None
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
            performance_density=None,
            area_mm2=area,
            working="The maker's dense peak rates are not known.",
            doubts=chip.doubts,
        )
    dtype, most = max(products.items(), key=lambda item: item[1])
    density = most / area if area else None
    return Rating(
        tpp=most,
        dtype=dtype,
        performance_density=density,
        area_mm2=area,
        working=_working(chip, dtype, most, area),
        doubts=tuple(_doubts(chip, dtype, products, area)),
    )


def _products(chip: Chip) -> dict[str, Decimal]:
    return {dtype: rate * chip.bit_lengths[dtype].bits for dtype, rate in chip.dense_peak_tera.items()}


def _area_mm2(chip: Chip) -> Decimal | None:
    """The applicable die area: planar dies add nothing to it; None where there is none to divide by."""
    area = sum((dies.area_mm2 * dies.count for dies in chip.dies if dies.non_planar), Decimal(0))
    return area or None


def _working(chip: Chip, dtype: str, most: Decimal, area: Decimal | None) -> str:
    rate, bits = chip.dense_peak_tera[dtype], chip.bit_lengths[dtype].bits
    total = f"TPP = {rate} dense tera-operations per second ({dtype}) x {bits} bit = {most.normalize():,f}"
    if area is None:
        return f"{total}; no die area is known, so there is no performance density."
    return f"{total}; performance density = {most.normalize():,f} / {area} mm2 = {most / area:.3f}."


def _doubts(chip: Chip, dtype: str, products: dict[str, Decimal], area: Decimal | None) -> list[str]:
    doubts = list(chip.doubts)
    for group, words in (("peak", "The peak rate"), ("die", "The die area")):
        said = _DOUBTFUL.get(chip.confidence[group])
        if said and (group == "peak" or area is not None):
            doubts.append(f"{words} {said}.")
    reading = chip.bit_lengths[dtype].doubt
    if reading:
        others = [product for other, product in products.items() if not chip.bit_lengths[other].doubt]
        without = f" Without {dtype} the TPP is {max(others).normalize():,f}." if others else ""
        doubts.append(f"{reading}{without}")
    return doubts
