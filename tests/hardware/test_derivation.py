"""Derived TPP: a range, labelled; and what a device may be, in figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from auditor import rules
from auditor.hardware import derivation, quantities
from auditor.hardware.catalogue import match
from auditor.hardware.chips import Confidence
from auditor.hardware.spans import Span, hull
from auditor.report.judgement import judge

if TYPE_CHECKING:
    from auditor.hardware.catalogue import Catalogue

UNHEARD = {"kind": "gpu", "pci_device_id": "10de:ffff", "compute_capability": "9.0", "num_cores": "16896"}
CLOCKED = {**UNHEARD, "max_sm_clock_mhz": "1980"}


def test_a_range_around_processors_times_clock(shipped: Catalogue) -> None:
    derived = derivation.of_identity(CLOCKED, shipped)
    assert derived is not None
    assert derived.at_clock == Decimal("65.536") * 132 * 1980 / 1000
    assert derived.tpp == Span(derived.at_clock * Decimal("0.16"), derived.at_clock * Decimal("1.06"))
    for words in ("Derived, not catalogued", "132 processors x 1.98 GHz", "[computed: stas]", "GB10"):
        assert words in derived.working


@pytest.mark.parametrize(
    "identity",
    [
        UNHEARD,
        {**CLOCKED, "compute_capability": "99.0"},
        {**CLOCKED, "compute_capability": "gfx942"},  # no slope is known
        {**CLOCKED, "num_cores": "16897"},  # not a whole number of processors
        {**CLOCKED, "num_cores": "0"},
        {**CLOCKED, "num_cores": "many"},
        {**CLOCKED, "max_sm_clock_mhz": "9" * 12},
        {**CLOCKED, "max_sm_clock_mhz": "1"},
        {**CLOCKED, "max_sm_clock_mhz": "799"},
        {**CLOCKED, "max_sm_clock_mhz": "5001"},
        {},
    ],
)
def test_without_its_figures_nothing_is_derived(shipped: Catalogue, identity: dict[str, str]) -> None:
    assert derivation.of_identity(identity, shipped) is None


def test_a_catalogue_without_slopes_derives_nothing(shipped: Catalogue) -> None:
    assert derivation.of_identity(CLOCKED, replace(shipped, slopes={})) is None
    assert derivation.of_identity(CLOCKED, replace(shipped, bounds=None)) is None


def figures(shipped: Catalogue, identity: dict[str, str]) -> tuple[quantities.Quantities, ...]:
    return quantities.of(match(identity, shipped), identity, shipped)


def test_what_a_device_may_be_in_figures(shipped: Catalogue) -> None:
    (h200,) = figures(shipped, {"kind": "gpu", "pci_device_id": "10de:2335", "pci_subsystem_id": "10de:18be"})
    assert (h200.of, h200.tpp, h200.data_centre) == ("h200-sxm", Span(Decimal(15832), Decimal(15832)), True)
    assert h200.io_gb_per_s == Span(Decimal(900), Decimal(1028))  # the link, and at most PCI Express beside it
    assert h200.confidence["tpp"] is Confidence.SECONDARY
    shared = figures(shipped, {"kind": "gpu", "pci_device_id": "10de:25b6"})
    assert [one.of for one in shared] == ["a16", "a2"]
    derived, *resembled = figures(shipped, CLOCKED)
    assert "h100-sxm5-80gb" in {one.of for one in resembled}
    assert (derived.of, derived.confidence) == ("derived", {"tpp": Confidence.COMPUTED})
    assert (derived.performance_density, derived.data_centre) == (None, None)
    assert figures(shipped, {"kind": "gpu", "pci_device_id": "10de:2328"}) == ()


def outcome(shipped: Catalogue, identity: dict[str, str]) -> str:
    asked = figures(shipped, identity)
    return judge(asked, ruleset=rules.load(), as_of=date(2026, 11, 23)).klass.outcome


def test_what_is_derived_decides_nothing_against_the_parts_that_a_device_resembles(shipped: Catalogue) -> None:
    """One processor of compute capability 7.5 computes little; an H100's memory and bus say something else."""
    small = {"kind": "gpu", "pci_device_id": "10de:ffff", "compute_capability": "7.5", "num_cores": "64"}
    small["max_sm_clock_mhz"] = "1410"
    assert outcome(shipped, small) == "none"
    h100 = {"memory_bytes": str(80 * 2**30), "memory_bus_bits": "5120"}
    hopper = {**small, "compute_capability": "9.0", "num_cores": "128"}
    assert outcome(shipped, hopper) == "none"
    resembling = {**small, **h100, "compute_capability": "9.0", "num_cores": "16896", "max_sm_clock_mhz": "800"}
    assert len(figures(shipped, resembling)) > 1
    slow = replace(shipped, bounds=replace(shipped.bounds, lowest=Decimal("0.01"), highest=Decimal("0.02")))
    (own, *_) = figures(slow, resembling)
    assert own.tpp is not None
    assert own.tpp.high is not None
    assert own.tpp.high < 1600
    assert outcome(slow, resembling) == "undetermined"
    assert outcome(shipped, {**resembling, "max_sm_clock_mhz": "1"}) == "undetermined"


def test_a_part_of_a_device_is_not_derived_from(shipped: Catalogue) -> None:
    """A slice of 7g of an A100 lacks ten of its processors."""
    for part in ({"mig_uuid": "MIG-1"}, {"virtualization_mode": "vgpu"}):
        assert figures(shipped, {**CLOCKED, **part}) == ()


def test_a_link_that_is_the_hosts_is_all_there_is(shipped: Catalogue) -> None:
    chips = {chip.id: chip for chip in shipped.chips}
    assert quantities.of_chip(chips["l4"]).io_gb_per_s == Span(Decimal(64), Decimal(64))
    assert quantities.of_chip(chips["mi300x"]).io_gb_per_s == Span(Decimal(896), None)
    assert quantities.of_chip(chips["gb10"]).io_gb_per_s is None


def test_a_hull_is_open_where_one_of_its_parts_is() -> None:
    one, two, above = Span(Decimal(1), Decimal(2)), Span(Decimal(5), Decimal(5)), Span(Decimal(4), None)
    assert hull([one, two]) == Span(Decimal(1), Decimal(5))
    assert hull([one, above]) == Span(Decimal(1), None)
    assert hull([one, None]) is None
    assert hull([]) is None
    assert (one.exact, two.exact) == (None, 5)
