"""Ratings: the definitions worked out by hand, and every published figure within rounding."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from auditor.hardware.catalogue import tpp
from auditor.hardware.chips import BitLength, Confidence, Dies, Provenance
from auditor.hardware.spans import Span

if TYPE_CHECKING:
    from auditor.hardware.catalogue import Catalogue
    from auditor.hardware.chips import Chip


def chip(shipped: Catalogue, chip_id: str) -> Chip:
    return next(one for one in shipped.chips if one.id == chip_id)


# What others have published. The third column is how far rounding carries: 19.4 is a cut-off of 19.45, and
# 3,117 and 5,286 come from rates with another last digit.
PUBLISHED_TPP = [
    ("a100-sxm4-80gb", 4992, "0", "research note, Aug 2026"),
    ("a100-pcie-40gb", 4992, "0", "research note, Aug 2026"),
    ("h100-sxm5-80gb", 15832, "0", "research note, Aug 2026"),
    ("h200-sxm", 15832, "0", "analyses of the January 2026 rule"),
    ("h20", 2368, "0", "FT and SemiAnalysis in whatpsu.com"),
    ("b200", 36000, "0", "research note, Aug 2026"),
    ("rtx-4090", 5285, "1", "winbuzzer.com; 5,286 in thetechnicalissue.com"),
    ("rtx-4090-d", 4707, "1", "tomshw.it"),
    ("rtx-4080", 3117, "3", "thetechnicalissue.com"),
    ("rtx-4090", 5286, "2", "thetechnicalissue.com"),
    # 12,032 is 752 x 16, of Huawei's clusters; an estimate of 800 is the highest claim (research note, Aug 2026).
    ("ascend-910c", 12032, "768", "US policy papers, recalled"),
]
# What others say of a part without a number of its own.
BETWEEN = [
    ("ascend-910b", 5000, None, "over 5,000: FT and SemiAnalysis in whatpsu.com"),
    ("mi325x", 20800, 21000, "below 21,000 in 91 FR 1684, and in the second band of section 232"),
    ("h200-sxm", 14000, 17500, "the first band of section 232"),
    ("l40", 1600, 4800, "named in NVIDIA's 8-K of 2023-10-17, not among those of 4,800 and more on 2023-10-24"),
]
PUBLISHED_DENSITY = [
    ("h100-sxm5-80gb", "19.4", "0.06", "smbom.com"),
    ("h20", "2.9", "0.05", "smbom.com"),
    ("l4", "6.6", "0.05", "thetechnicalissue.com"),
]


@pytest.mark.parametrize(("chip_id", "published", "rounding", "source"), PUBLISHED_TPP)
def test_every_published_tpp(shipped: Catalogue, chip_id: str, published: int, rounding: str, source: str) -> None:
    rated = tpp(chip(shipped, chip_id)).tpp
    assert rated is not None
    assert abs(rated - published) <= Decimal(rounding), source


@pytest.mark.parametrize(("chip_id", "low", "high", "source"), BETWEEN)
def test_every_published_band(shipped: Catalogue, chip_id: str, low: int, high: int | None, source: str) -> None:
    rated = tpp(chip(shipped, chip_id)).tpp
    assert rated is not None
    assert low < rated < (high or rated + 1), source


@pytest.mark.parametrize(("chip_id", "published", "rounding", "source"), PUBLISHED_DENSITY)
def test_every_published_density(shipped: Catalogue, chip_id: str, published: str, rounding: str, source: str) -> None:
    rated = tpp(chip(shipped, chip_id)).performance_density
    assert rated is not None
    assert abs(rated - Decimal(published)) <= Decimal(rounding), source


def test_the_example_of_the_text_is_4800_either_way(shipped: Catalogue) -> None:
    base = chip(shipped, "h200-sxm")
    lengths = {"int8": BitLength(bits=8, doubt=""), "fp16": BitLength(bits=16, doubt="")}
    for peaks in (
        {"int8": Decimal(600)},
        {"fp16": Decimal(300)},
        {"int8": Decimal(600), "fp16": Decimal(299)},
    ):
        assert tpp(replace(base, dense_peak_tera=peaks, bit_lengths=lengths)).tpp == 4800


def test_the_working_shows_type_rate_bits_and_area(shipped: Catalogue) -> None:
    rated = tpp(chip(shipped, "h200-sxm"))
    assert (rated.tpp, rated.dtype, rated.area_mm2) == (15832, "fp8", 814)
    assert rated.working == (
        "TPP = 1979 dense tera-operations per second (fp8) x 8 bit = 15,832 [secondary: stas, note]; "
        "performance density = 15,832 / 814 mm2 = 19.450 [secondary: klock_h100]."
    )


def test_planar_dies_add_nothing_to_the_area(shipped: Catalogue) -> None:
    base = chip(shipped, "h200-sxm")
    logic = Dies(area_mm2=Decimal(400), count=2, non_planar=True, node="")
    planar = Dies(area_mm2=Decimal(300), count=1, non_planar=False, node="")
    assert tpp(replace(base, dies=(logic, planar))).area_mm2 == 800
    nothing = tpp(replace(base, dies=(planar,)))
    assert (nothing.area_mm2, nothing.performance_density) == (None, None)


def test_without_a_peak_there_is_no_tpp(shipped: Catalogue) -> None:
    rated = tpp(chip(shipped, "rtx6000d"))
    assert (rated.tpp, rated.dtype, rated.performance_density) == (None, None, None)
    assert "not known" in rated.working


def test_doubts_travel_with_the_rating(shipped: Catalogue) -> None:
    sure = replace(chip(shipped, "h200-sxm"), doubts=())
    assert tpp(sure).doubts == ()  # that a third party tells it stands beside the number
    told = Provenance(confidence=Confidence.RECALLED, sources=(), read=None)
    recalled = tpp(replace(sure, provenance={**sure.provenance, "dense_peak_tera": told}))
    assert recalled.doubts == ("The peak rate was not looked up.",)
    tf32 = tpp(chip(shipped, "trainium1"))
    assert (tf32.tpp, tf32.tpp_span) == (6080, Span(Decimal(3040), Decimal(6080)))
    assert any("counted as 32" in doubt and "3,040" in doubt for doubt in tf32.doubts)


def test_a_rate_limited_part_is_rated_by_its_rates_and_not_by_its_clock(shipped: Catalogue) -> None:
    h20 = chip(shipped, "h20")
    assert h20.rate_limit == Decimal("0.25")
    assert tpp(h20).tpp == 2368


def test_of_types_that_give_as_much_the_plain_one_is_named(shipped: Catalogue) -> None:
    h20 = tpp(chip(shipped, "h20"))  # 74 x 32 = 148 x 16 = 296 x 8
    assert h20.dtype != "tf32"
    assert h20.doubts == chip(shipped, "h20").doubts


def test_an_area_that_is_a_bound_bounds_the_density(shipped: Catalogue) -> None:
    bounded = tpp(chip(shipped, "tpu-v4"))
    assert bounded.performance_density is None
    assert bounded.density_span is not None
    assert (round(bounded.density_span.low, 3), bounded.density_span.high) == (Decimal("7.333"), None)
    assert "at most 600 mm2 = at least 7.333" in bounded.working
