"""Matching: by PCI id, subsystem and figures; never by a name; and undetermined where they do not agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.hardware import catalogue, nvml
from auditor.hardware.catalogue import match
from auditor.hardware.chips import PciId
from auditor.hardware.identity import FIELDS, cpu
from auditor.hardware.matching import TELLING, contradictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.hardware.catalogue import Catalogue
    from auditor.hardware.chips import Chip

    Fake = Callable[..., Any]

GIB = 2**30
SHIPPED = catalogue.load()

H200 = {
    "kind": "gpu",
    "name": "NVIDIA H200",
    "pci_device_id": "10de:2335",
    "pci_subsystem_id": "10de:18be",
    "board_part_number": "695-2G520-0280-000",
    "compute_capability": "9.0",
    "num_cores": "16896",
    "memory_bytes": str(143771 * 2**20),
    "memory_bus_bits": "6144",
    "max_sm_clock_mhz": "1980",
    "virtualization_mode": "none",
    "mig_mode": "disabled",
}


def without(*names: str, **changes: str) -> dict[str, str]:
    return {name: text for name, text in H200.items() if name not in names} | changes


def ids(found: catalogue.Match) -> list[str]:
    return [chip.id for chip in found.candidates]


def test_an_h200_as_nvml_gives_it(fake: Fake, shipped: Catalogue) -> None:
    fake("h200", "rtx4090")
    chips = [match(device.to_mapping(), shipped).chip for device in nvml.devices({})[0]]
    assert [chip.id for chip in chips if chip] == ["h200-sxm", "rtx-4090"]


def test_the_basis_says_what_agrees(shipped: Catalogue) -> None:
    found = match(H200, shipped)
    assert found.chip is not None
    assert found.chip.id == "h200-sxm"
    for words in ("10de:2335", "10de:18be", "cores", "memory", "compute capability", "board part"):
        assert words in found.basis


@pytest.mark.parametrize("missing", sorted(set(H200) - {"kind", "pci_device_id"}))
def test_one_field_less_still_matches(shipped: Catalogue, missing: str) -> None:
    found = match(without(missing), shipped)
    assert found.chip is not None
    assert found.chip.id == "h200-sxm"


def test_a_processor_is_undetermined_and_never_a_default(shipped: Catalogue) -> None:
    found = match(cpu("no NVML device: driver not loaded").to_mapping(), shipped)
    assert (found.chip, found.candidates) == (None, ())
    assert found.basis == "no accelerator seen (no NVML device: driver not loaded)"
    assert match({}, shipped).basis == "no accelerator seen (no reason is given)"


def test_a_virtual_gpu_is_undetermined(shipped: Catalogue) -> None:
    found = match(without(virtualization_mode="vgpu"), shipped)
    assert found.chip is None
    assert "virtual GPU" in found.basis


def test_passthrough_is_the_device_itself(shipped: Catalogue) -> None:
    assert match(without(virtualization_mode="passthrough"), shipped).chip is not None


def test_a_slice_is_judged_as_the_whole(shipped: Catalogue) -> None:
    found = match(without("num_cores", mig_mode="enabled", mig_uuid="MIG-1", name="NVIDIA H200 MIG 1g.18gb"), shipped)
    assert found.chip is not None
    assert "whole circuit" in found.basis


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_bytes": str(80 * GIB)}, "memory"),
        ({"memory_bytes": str(148 * GIB)}, "memory"),
        ({"num_cores": "9984"}, "cores 9984, not 16896"),
        ({"compute_capability": "8.9"}, "compute capability 8.9, not 9.0"),
        ({"memory_bus_bits": "5120"}, "memory bus"),
        ({"name": "NVIDIA H20"}, "the name 'NVIDIA H20', which is the H20 96GB's"),
        ({"memory_bytes": "a lot"}, "memory"),
        ({"architecture": "Ada"}, "architecture Ada, not Hopper"),
        ({"architecture": "Ada Lovelace"}, "architecture Ada Lovelace, not Hopper"),
        ({"gpu_part_number": "26BA-890-A1"}, "the GPU part number 26BA-890-A1, which is of the PCI id 10de:26ba"),
        ({"board_part_number": "900-2G193-0000-001"}, "the board part number 900-2G193-0000-001, which is the L4's"),
        ({"vbios": "95.02.66.00.02"}, "the VBIOS 95.02.66.00.02, which is of compute capability 8.9, not 9.0"),
    ],
)
def test_views_that_contradict_the_pci_id_leave_it_undetermined(
    shipped: Catalogue, changes: dict[str, str], words: str
) -> None:
    found = match(without(**changes), shipped)
    assert found.chip is None
    assert "h200-sxm" in ids(found)
    assert words in found.basis


def test_marks_that_fit_or_that_nobody_knows_speak_against_nothing(shipped: Catalogue) -> None:
    fitting = {"architecture": "Hopper", "gpu_part_number": "2335-895-A1", "vbios": "96.00.89.00.01"}
    unheard = {"board_part_number": "900-00000-0000-000", "gpu_part_number": "900-2G520-0280-000", "vbios": "94.02"}
    for marks in (fitting, unheard, {"architecture": ""}):
        found = match(without(**marks), shipped)
        assert found.chip is not None
        assert found.chip.id == "h200-sxm"
    l20 = {"kind": "gpu", "pci_device_id": "10de:26ba", "pci_subsystem_id": "10de:1957"}
    other_id_of_it = match({**l20, "gpu_part_number": "26B7-890-A1", "architecture": "Ada Lovelace"}, shipped)
    assert ids(other_id_of_it) == ["l20"]
    assert other_id_of_it.chip is not None


def test_the_part_that_the_numbers_belong_to_is_a_candidate(shipped: Catalogue) -> None:
    l20 = {"kind": "gpu", "pci_device_id": "10de:26ba", "pci_subsystem_id": "10de:1957"}
    for marks in ({"gpu_part_number": "2335-895-A1"}, {"board_part_number": "695-2G520-0280-000"}):
        found = match({**l20, "memory_bytes": str(46068 * 2**20), **marks}, shipped)
        assert (found.chip, found.exhaustive) == (None, False)
        assert set(ids(found)) >= {"l20", "h200-sxm"}
    without_id = match({"kind": "gpu", "gpu_part_number": "2335-895-A1"}, shipped)
    assert (without_id.chip, ids(without_id), without_id.exhaustive) == (None, ["h200-sxm"], False)


L20 = {
    "kind": "gpu",
    "name": "NVIDIA L20",
    "pci_device_id": "10de:26ba",
    "pci_subsystem_id": "10de:1957",
    "memory_bytes": str(46068 * 2**20),
    "memory_bus_bits": "384",
    "compute_capability": "8.9",
    "num_cores": "11776",
}


@pytest.mark.parametrize(
    ("kept", "decided"),
    [
        ((), False),
        (("memory_bytes",), False),
        (("memory_bytes", "memory_bus_bits"), False),  # a smaller board of the other silicon
        (("compute_capability",), False),
        (("compute_capability", "memory_bytes"), True),
        (("compute_capability", "num_cores"), True),
    ],
)
@pytest.mark.parametrize(
    ("name", "seen"), [("L20X", "h200-sxm"), ("L20Y", "h100-sxm5-80gb"), ("L20Z", "h100-sxm5-80gb"), ("L20", None)]
)
def test_a_masked_name_needs_figures_that_rule_out_what_it_was_seen_on(
    shipped: Catalogue, name: str, seen: str | None, kept: tuple[str, ...], decided: bool
) -> None:
    known = {key: L20[key] for key in ("kind", "pci_device_id", "pci_subsystem_id", *kept)}
    found = match({**known, "name": f"NVIDIA {name}"}, shipped)
    assert (found.chip is not None) == (decided or seen is None)
    assert (seen in ids(found)) == (found.chip is None)
    assert "l20" in ids(found)
    assert found.exhaustive == (found.chip is not None)


def test_a_masked_name_on_the_silicon_it_was_seen_on_is_that(shipped: Catalogue) -> None:
    bare = {key: H200[key] for key in ("kind", "pci_device_id", "pci_subsystem_id")}
    found = match({**bare, "name": "NVIDIA L20X"}, shipped)
    assert found.chip is not None
    assert found.chip.id == "h200-sxm"


@pytest.mark.parametrize("name", ["NVIDIA L20X", "NVIDIA A100-PCIE-80GB", "", "H200"])
def test_a_name_that_nobody_knows_is_told_and_does_not_decide(shipped: Catalogue, name: str) -> None:
    found = match(without(name=name), shipped)
    assert found.chip is not None
    assert found.chip.id == "h200-sxm"
    assert (repr(name) in found.basis) == bool(name)


def test_a_masked_part_is_found_by_its_silicon_and_not_by_its_name(shipped: Catalogue) -> None:
    # Seen: "NVIDIA L20X", compute capability 9.0, 132 processors, 143,771 MiB. An L20 is a class below.
    found = match(without("board_part_number", name="NVIDIA L20X", pci_device_id="10de:ffff"), shipped)
    assert found.chip is None
    assert "h200-sxm" in ids(found)
    assert "l20" not in ids(found)
    assert "not in the catalogue" in found.basis


def test_without_a_pci_id_there_are_candidates_and_no_chip(shipped: Catalogue) -> None:
    found = match(without("pci_device_id", "pci_subsystem_id"), shipped)
    assert found.chip is None
    assert set(ids(found)) >= {"h200-sxm", "h200-nvl"}
    nothing = match({"kind": "gpu", "name": "NVIDIA H200"}, shipped)
    assert (nothing.chip, nothing.candidates) == (None, ())


def test_parts_that_share_a_pci_id_are_told_apart_by_the_board_only(shipped: Catalogue) -> None:
    a2 = {
        "kind": "gpu",
        "pci_device_id": "10de:25b6",
        "compute_capability": "8.6",
        "num_cores": "1280",
        "memory_bytes": str(15 * GIB),
    }
    for subsystem, chip_id in (("10de:157e", "a2"), ("10de:14a9", "a16")):
        found = match({**a2, "pci_subsystem_id": subsystem}, shipped)
        assert found.chip is not None
        assert found.chip.id == chip_id
    for unlisted in ({}, {"pci_subsystem_id": "1028:9999"}):
        found = match({**a2, **unlisted}, shipped)
        assert found.chip is None
        assert set(ids(found)) == {"a2", "a16"}
        assert "2 parts share" in found.basis


def test_an_unlisted_board_needs_figures_that_agree(shipped: Catalogue) -> None:
    bare = {"kind": "gpu", "pci_device_id": "10de:2335", "pci_subsystem_id": "1028:0001"}
    assert match(bare, shipped).chip is None
    assert match({**bare, "compute_capability": "9.0"}, shipped).chip is None
    found = match({**bare, "compute_capability": "9.0", "num_cores": "16896"}, shipped)
    assert found.chip is not None
    assert "which is not in the catalogue" in found.basis


def test_a_listed_board_comes_before_a_part_that_takes_all_boards(shipped: Catalogue) -> None:
    listed, all_boards = (
        replace(next(one for one in shipped.chips if one.id == chip_id), device_names=(), pci=pci)
        for chip_id, pci in (
            ("h200-sxm", (PciId(device="10de:2335", subsystems=("10de:18be",)),)),
            ("h200-nvl", (PciId(device="10de:2335", subsystems=()),)),
        )
    )
    both = replace(shipped, chips=(all_boards, listed))
    assert match(H200, both).chip is listed
    assert match(without("board_part_number", pci_subsystem_id="1028:0001"), both).chip is all_boards


def test_a_board_of_any_vendor_is_listed_by_its_model(shipped: Catalogue) -> None:
    for vendor in ("10de", "103c"):
        found = match({"kind": "gpu", "pci_device_id": "10de:2bb1", "pci_subsystem_id": f"{vendor}:204b"}, shipped)
        assert found.chip is not None
        assert found.chip.id == "rtxpro6000-ws"


@pytest.mark.parametrize(
    ("chip_id", "mib"),
    [
        ("h200-sxm", 143771),
        ("h100-sxm5-80gb", 81559),
        ("a100-sxm4-40gb", 40536),
        ("a100-sxm4-80gb", 81920),
        ("t4", 15360),
        ("l4", 23034),
        ("rtx-4090", 24564),
        ("h20", 97871),
        ("b300-sxm6", 275 * 1024),  # drivers report 268 to 275 GB for the nominal 270
    ],
)
def test_memory_as_drivers_report_it_fits_the_nominal_size(shipped: Catalogue, chip_id: str, mib: int) -> None:
    chip = next(one for one in shipped.chips if one.id == chip_id)
    pci = chip.pci[0]
    subsystem = {"pci_subsystem_id": pci.subsystems[0]} if pci.subsystems else {}
    identity = {"kind": "gpu", "pci_device_id": pci.device, "memory_bytes": str(mib * 2**20), **subsystem}
    assert match(identity, shipped).chip is chip


def identity_of(chip: Chip, pci: PciId, subsystem: str) -> dict[str, str]:
    """What a device of that part says of itself, as far as the catalogue knows."""
    figures = {
        "name": next(iter(chip.device_names), None),
        "compute_capability": chip.compute_capability,
        "num_cores": chip.num_cores,
        "memory_bytes": chip.memory_gb and int(chip.memory_gb / chip.devices_per_circuit * GIB),
    }
    given = {"kind": "gpu", "pci_device_id": pci.device, "pci_subsystem_id": subsystem.replace("*", "10de")}
    return given | {name: str(value) for name, value in figures.items() if value is not None}


def test_every_shipped_chip_with_a_pci_id_is_found_by_its_own_figures(shipped: Catalogue) -> None:
    for chip in shipped.chips:
        for pci in chip.pci:
            for subsystem in pci.subsystems or ("1043:0001",):
                identity = identity_of(chip, pci, subsystem)
                assert match(identity, shipped).chip is chip, identity


def test_an_id_that_is_known_by_name_only(shipped: Catalogue) -> None:
    found = match({"kind": "gpu", "pci_device_id": "10de:2328"}, shipped)
    assert (found.chip, found.candidates) == (None, ())
    assert found.basis == "undetermined: the PCI id 10de:2328 is the H20B, no figures of which are known"


def test_a_masked_name_is_told(shipped: Catalogue) -> None:
    for changes in ({"pci_device_id": "10de:ffff"}, {}):
        found = match(without("board_part_number", name="NVIDIA L20X", **changes), shipped)
        assert "was seen on other silicon: compute capability 9.0, 132 processors" in found.basis


def test_candidates_bind_only_where_they_are_all_there_are(shipped: Catalogue) -> None:
    by_id = match({"kind": "gpu", "pci_device_id": "10de:25b6"}, shipped)
    assert (ids(by_id), by_id.exhaustive) == (["a16", "a2"], True)
    unlisted = match({"kind": "gpu", "pci_device_id": "10de:25b6", "pci_subsystem_id": "1028:9999"}, shipped)
    assert (set(ids(unlisted)), unlisted.exhaustive) == ({"a16", "a2"}, False)
    resembling = match(without("pci_device_id", "pci_subsystem_id"), shipped)
    assert resembling.candidates
    assert not resembling.exhaustive
    contradicted = match(without(num_cores="9984"), shipped)
    assert contradicted.candidates
    assert not contradicted.exhaustive


def test_products_that_the_catalogue_lacks_may_have_the_same_id(shipped: Catalogue) -> None:
    radeon = {"kind": "gpu", "pci_device_id": "1002:744c"}
    found = match(radeon, shipped)
    assert (found.chip, ids(found), found.exhaustive) == (None, ["rx-7900-xtx"], False)
    assert "products without an entry" in found.basis
    figures = {"compute_capability": "gfx1100", "num_cores": "96", "memory_bytes": str(24 * GIB)}
    assert match({**radeon, **figures}, shipped).chip is not None
    smaller = match({**radeon, **figures, "num_cores": "84"}, shipped)
    assert (smaller.chip, smaller.exhaustive) == (None, False)


def test_two_parts_with_one_id_are_told_apart_by_their_figures(shipped: Catalogue) -> None:
    one_die = {"kind": "gpu", "pci_device_id": "1002:740c", "compute_capability": "gfx90a"}
    assert set(ids(match(one_die, shipped))) == {"mi250", "mi250x"}
    found = match({**one_die, "num_cores": "110", "memory_bytes": str(64 * GIB)}, shipped)
    assert found.chip is not None
    assert found.chip.id == "mi250x"
    assert "one of the 2 devices of a circuit" in found.basis


def test_a_virtual_function_is_judged_as_the_whole(shipped: Catalogue) -> None:
    guest = {"kind": "gpu", "pci_device_id": "1002:74b5", "compute_capability": "gfx942", "memory_bytes": str(24 * GIB)}
    found = match(guest, shipped)
    assert found.chip is not None
    assert found.chip.id == "mi300x"
    assert "a virtual function: the whole circuit is judged" in found.basis
    assert match({**guest, "pci_device_id": "1002:74a1"}, shipped).chip is None  # the circuit itself has 192 GB


def test_a_partition_is_judged_as_the_whole(shipped: Catalogue) -> None:
    """An MI300X in eight partitions shows eight devices of 38 compute units."""
    part = {"kind": "gpu", "pci_device_id": "1002:74a1", "compute_capability": "gfx942", "num_cores": "38"}
    assert match(part, shipped).chip is None
    assert match({**part, "compute_partition": "SPX"}, shipped).chip is None
    found = match({**part, "compute_partition": "CPX"}, shipped)
    assert found.chip is not None
    assert found.chip.id == "mi300x"
    assert "a partition (CPX): the whole circuit is judged" in found.basis


def test_a_virtual_gpus_type_names_candidates_and_no_more(shipped: Catalogue) -> None:
    for name in ("NVIDIA A100-4C", "GRID A100-40C"):
        guest = {"kind": "gpu", "virtualization_mode": "vgpu", "name": name, "pci_device_id": "10de:20f1"}
        for identity in (guest, {key: text for key, text in guest.items() if key != "pci_device_id"}):
            found = match(identity, shipped)
            assert (found.chip, ids(found), found.exhaustive) == (None, ["a100-pcie-40gb"], False)
    unheard = match({"kind": "gpu", "virtualization_mode": "vgpu", "name": "NVIDIA Z9-1C"}, shipped)
    assert (unheard.chip, unheard.candidates) == (None, ())


@given(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([*H200.values(), "", "x"]) | st.text(max_size=8)))
def test_no_identity_raises_and_a_match_never_contradicts_itself(fields: dict[str, str]) -> None:
    found = match({"kind": "gpu", **fields}, SHIPPED)
    assert found.basis
    telling = {name: text for name, text in fields.items() if name in TELLING}
    assert match({"kind": "gpu", **telling}, SHIPPED) == found
    if found.chip is not None:
        assert found.candidates == (found.chip,)
        assert fields["pci_device_id"] in {pci.device for pci in found.chip.pci}
        assert found.exhaustive
    else:
        assert found.basis.startswith("undetermined: ")


def test_figures_that_differ_are_told_in_the_same_unit(shipped: Catalogue) -> None:
    l4 = next(chip for chip in shipped.chips if chip.id == "l4")
    identity = {"memory_bytes": "85520809984", "memory_bus_bits": "5120", "compute_capability": "9.0"}
    assert contradictions(identity, l4, shipped) == [
        "compute capability 9.0, not 8.9",
        "memory 79.65 GB, not 24 GB",
        "memory bus 5120 bits, not 192 bits",
    ]
    assert contradictions({"memory_bytes": "much"}, l4, shipped) == ["memory much GB, not 24 GB"]
