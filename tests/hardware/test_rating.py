"""Ratings: the definitions worked out by hand, and every published figure within rounding."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from auditor.hardware.catalogue import tpp
from auditor.hardware.chips import BitLength, Confidence, Dies

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
        "TPP = 1979 dense tera-operations per second (fp8) x 8 bit = 15,832; "
        "performance density = 15,832 / 814 mm2 = 19.450."
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
    sure = replace(
        chip(shipped, "h200-sxm"),
        confidence=dict.fromkeys(("names", "peak", "die"), Confidence.DATASHEET),
        doubts=(),
    )
    assert tpp(sure).doubts == ()
    recalled = tpp(replace(sure, confidence={**sure.confidence, "peak": Confidence.RECALLED}))
    assert recalled.doubts == ("The peak rate was not looked up.",)
    tf32 = tpp(chip(shipped, "trainium1"))
    assert tf32.tpp == 6080
    assert any("counted as 32" in doubt and "3,040" in doubt for doubt in tf32.doubts)


def test_a_rate_limited_part_is_rated_by_its_rates_and_not_by_its_clock(shipped: Catalogue) -> None:
    h20 = chip(shipped, "h20")
    assert h20.rate_limit == Decimal("0.25")
    assert tpp(h20).tpp == 2368
