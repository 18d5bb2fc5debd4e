"""The catalogue against figures that were worked out apart from it, for every part, and each difference explained.

reference.csv: TPP, density and class of a survey of public sources of August to November 2026, which took the peaks of
makers' data sheets and of the tables that quote them (those that the entries name), and computed by hand. A difference
of up to 0.16 % comes from taking the literal highest over all types, where the survey took the tensor rate.
"""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor import rules
from auditor.hardware import derivation, quantities
from auditor.hardware.catalogue import tpp
from auditor.report.judgement import judge

if TYPE_CHECKING:
    from auditor.hardware.catalogue import Catalogue
    from auditor.hardware.chips import Chip

TODAY = date(2026, 11, 22)
with (Path(__file__).parent / "reference.csv").open(encoding="utf-8", newline="") as stream:
    REFERENCE = list(csv.DictReader(stream))
RULES = rules.load()


def number(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def near(ours: Decimal | None, theirs: Decimal | None, rounding: str) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) <= Decimal(rounding)


def test_every_part_of_the_survey_is_in_the_catalogue(shipped: Catalogue) -> None:
    assert len(REFERENCE) == 120
    assert {row["id"] for row in REFERENCE} <= {chip.id for chip in shipped.chips}


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: row["id"])
def test_every_figure_agrees_or_is_explained(shipped: Catalogue, row: dict[str, str]) -> None:
    chip = next(one for one in shipped.chips if one.id == row["id"])
    rating = tpp(chip)
    theirs, their_density = number(row["tpp"]), number(row["performance_density"])
    klass = judge([quantities.of_chip(chip)], ruleset=RULES, as_of=TODAY).klass.outcome
    agrees = (
        near(rating.tpp, theirs, "0.5"),
        near(rating.performance_density, their_density, "0.0006"),
        klass == row["class"],
    )
    assert all(agrees) == (not row["difference"]), agrees
    for ours, other in ((rating.tpp, theirs), (rating.performance_density, their_density)):
        if ours is not None and other is not None:
            assert abs(ours / other - 1) <= Decimal("0.0016")


def rated(chip: Chip) -> bool:
    """A part with a rated clock, not one solved from its own peak, and without a cut of its tensor rate."""
    told = chip.provenance.get("boost_mhz")
    return told is not None and "dense_peak_tera" not in told.computed_from and chip.rate_limit is None


def test_51_of_53_parts_are_derived_within_a_hundredth(shipped: Catalogue) -> None:
    ratios: dict[str, Decimal] = {}
    for chip in shipped.chips:
        derived, published = derivation.of_chip(chip, shipped), tpp(chip).tpp
        if chip.vendor == "NVIDIA" and rated(chip) and derived is not None and published is not None:
            ratios[chip.id] = derived.at_clock / published
    # Beside the parts of the survey, the one that the catalogue tells apart by its memory has an implied clock.
    assert len(ratios) == 53
    off = {chip_id: ratio for chip_id, ratio in ratios.items() if abs(ratio - 1) > Decimal("0.01")}
    assert off.keys() == {"titan-v", "gb10"}
    assert off["titan-v"] == pytest.approx(Decimal("1.084"), abs=Decimal("0.001"))
    assert off["gb10"] == pytest.approx(Decimal("0.951"), abs=Decimal("0.001"))


def test_a_cut_rate_is_an_override_that_fits(shipped: Catalogue) -> None:
    """Processors and clock give 1.4 to 4 times what these parts are rated at; their limit brings it back."""
    ratios = {}
    for chip in shipped.chips:
        derived, published = derivation.of_chip(chip, shipped), tpp(chip).tpp
        if chip.rate_limit is not None and derived is not None and published is not None:
            ratios[chip.id] = derived.at_clock / published
    assert ratios.keys() == {"a10g", "l40", "l20", "h20", "h20-3e", "rtx-5090-d", "rtx-5090-d-v2"}
    assert all(abs(ratio - 1) < Decimal("0.015") for ratio in ratios.values()), ratios


def test_every_catalogued_part_lies_in_its_derived_range(shipped: Catalogue) -> None:
    """By what a driver would say of it: the highest clock, and nothing of a rate that is cut."""
    held = 0
    for chip in shipped.chips:
        if chip.num_cores is None or chip.max_sm_clock_mhz is None or chip.compute_capability is None:
            continue
        identity = {
            "compute_capability": chip.compute_capability,
            "num_cores": str(chip.num_cores),
            "max_sm_clock_mhz": str(chip.max_sm_clock_mhz),
        }
        derived, published = derivation.of_identity(identity, shipped), tpp(chip).tpp
        assert derived is not None
        assert derived.tpp.high is not None
        if published is not None:
            assert derived.tpp.low <= published <= derived.tpp.high, chip.id
            held += 1
    assert held >= 50
