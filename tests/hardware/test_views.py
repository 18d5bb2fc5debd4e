"""Three views of a device: what contradicts, which figure, and by how much; and what proves nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from auditor.hardware.measured import Measurement
from auditor.hardware.views import Verdict, Views, bandwidth_gb_per_s, compare

if TYPE_CHECKING:
    from auditor.hardware.catalogue import Catalogue

H200 = {
    "kind": "gpu",
    "door": "NVML",
    "name": "NVIDIA H200",
    "uuid": "GPU-1",
    "pci_device_id": "10de:2335",
    "pci_subsystem_id": "10de:18be",
    "num_cores": "16896",
    "compute_capability": "9.0",
    "memory_bytes": str(143771 * 2**20),
    "memory_bus_bits": "6144",
    "max_memory_clock_mhz": "3201",
}
# The same silicon under another name and id, as a library that was replaced would tell it.
SAYS_H20 = {
    **H200,
    "name": "NVIDIA H20",
    "pci_device_id": "10de:2329",
    "pci_subsystem_id": "10de:198b",
    "num_cores": "9984",
    "memory_bytes": str(97871 * 2**20),
}


def measured(rates: dict[str, str] | None = None, **sizes: Any) -> Measurement:
    plain = {"dram_gb_per_s": None, "l2_bytes": None, "sm_count": None, "seconds": Decimal(9)}
    rates_tera = {name: Decimal(rate) for name, rate in (rates or {}).items()}
    return Measurement(uuid="GPU-1", rates_tera=rates_tera, **(plain | sizes))


H200_DID = {"bf16": "853", "fp8": "1700", "fp64": "33"}


def text(views: Views) -> str:
    return "\n".join(views.against)


def test_an_h200_that_does_what_an_h200_does_is_consistent(shipped: Catalogue) -> None:
    views = compare(H200, shipped, measured(H200_DID, dram_gb_per_s=Decimal(4300), sm_count=132, l2_bytes=60 * 2**20))
    assert (views.verdict, views.against) == (Verdict.CONSISTENT, ())
    assert views.declared["dram_gb_per_s"] == "4917"
    assert views.catalogued["sm_count"] == "132"
    assert views.measured["rate_tera.bf16"] == "853"


def test_what_was_not_measured_is_not_confirmed(shipped: Catalogue) -> None:
    assert compare(H200, shipped, None).verdict is Verdict.NOT_MEASURED
    only_memory = compare(H200, shipped, measured(dram_gb_per_s=Decimal(4000)))
    assert only_memory.verdict is Verdict.NOT_COMPARED
    assert compare(H200, shipped, measured({"fp3": "1"})).verdict is Verdict.NOT_COMPARED
    nothing = measured(not_measured={"fp8": "no such unit"})
    assert compare(H200, shipped, nothing).verdict is Verdict.NOT_MEASURED
    unknown = compare({**H200, "pci_device_id": "10de:ffff", "num_cores": "1"}, shipped, measured(H200_DID))
    assert unknown.verdict is Verdict.NOT_COMPARED
    assert unknown.remarks


def test_a_device_that_says_less_than_it_does_is_found_out(shipped: Catalogue) -> None:
    views = compare(SAYS_H20, shipped, measured({"bf16": "690"}))
    assert views.verdict is Verdict.INCONSISTENT
    assert "(148 tera-operations per second bf16), it did 690, 4.66 times as many" in text(views)


@pytest.mark.parametrize(("rate", "verdict"), [("1137", Verdict.CONSISTENT), ("1139", Verdict.INCONSISTENT)])
def test_boost_is_no_contradiction_and_more_than_boost_is(shipped: Catalogue, rate: str, verdict: Verdict) -> None:
    assert compare(H200, shipped, measured({"bf16": rate})).verdict is verdict  # 989.4 x 1.15 = 1137.8


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"sm_count": 144}, "144 multiprocessors at work, the part has 132"),
        ({"dram_gb_per_s": Decimal(8000)}, "8000 GB/s of memory, the part gives 4800 at most"),
        ({"l2_bytes": 126 * 2**20}, "an L2 cache of 132,120,576 bytes, CUDA says 62,914,560"),
    ],
)
def test_sizes_beyond_the_parts_own_contradict(shipped: Catalogue, sizes: dict[str, Any], words: str) -> None:
    views = compare(H200, shipped, measured(H200_DID, **sizes), {"l2_bytes": str(60 * 2**20)})
    assert views.verdict is Verdict.INCONSISTENT
    assert words in text(views)


SLICE = {**H200, "mig_mode": "enabled", "mig_sm_count": "16"}


@pytest.mark.parametrize(
    ("did", "words"),
    [
        (measured({"bf16": "137"}, sm_count=16), ""),  # 989.4 x 16 / 132 x 1.15 = 137.9
        (measured({"bf16": "139"}, sm_count=16), "it says 12% of H200 SXM (119.9 tera-operations"),
        (measured({"bf16": "100"}, sm_count=17), "17 multiprocessors at work, the part has 16"),
        (measured({"bf16": "853"}, sm_count=132), "it did 853, 7.11 times as many; boost explains 1.15"),
    ],
)
def test_a_slice_is_held_against_its_share_of_the_part(shipped: Catalogue, did: Measurement, words: str) -> None:
    views = compare(SLICE, shipped, did)
    assert views.verdict is (Verdict.INCONSISTENT if words else Verdict.CONSISTENT)
    assert words in text(views)
    assert views.low == ()


UNKNOWN = {"kind": "gpu", "pci_device_id": "10de:9999", "compute_capability": "8.9", "num_cores": "11776"}


@pytest.mark.parametrize(
    ("identity", "sm_count", "words"),
    [
        (UNKNOWN, 132, "132 multiprocessors at work, it says that it has 92"),
        (UNKNOWN | {"mig_sm_count": "16"}, 92, "92 multiprocessors at work, its slice has 16"),
        (UNKNOWN, 92, ""),
        (UNKNOWN | {"compute_capability": "99.0"}, 132, ""),  # nobody knows how many cores a processor of it has
    ],
)
def test_a_device_of_no_known_part_is_held_against_its_own_word(
    shipped: Catalogue, identity: dict[str, str], sm_count: int, words: str
) -> None:
    views = compare(identity, shipped, measured({"fp16": "100"}, sm_count=sm_count))
    assert views.chip is None
    assert views.verdict is (Verdict.INCONSISTENT if words else Verdict.NOT_COMPARED)
    assert words in text(views)


L20 = {"kind": "gpu", "pci_device_id": "10de:26ba", "pci_subsystem_id": "10de:ffff", "memory_bytes": str(46068 * 2**20)}
A2_OR_A16 = {"kind": "gpu", "pci_device_id": "10de:25b6", "pci_subsystem_id": "10de:ffff"}
VIRTUAL = {**SAYS_H20, "name": "NVIDIA H20-96C", "virtualization_mode": "vgpu"}


@pytest.mark.parametrize(
    ("identity", "rate", "words"),
    [
        (L20, "fp16=725", "it says L20 ("),
        (A2_OR_A16, "fp16=725", "it says A16 (four GPUs; per GPU) or A2 ("),
        (VIRTUAL, "bf16=690", "it says H20 96GB (148 tera"),
        (VIRTUAL, "bf16=140", ""),
        (A2_OR_A16, "fp16=19", ""),  # more than the A16 can, and no more than the A2 can
        (A2_OR_A16, "fp3=725", ""),
        # Resembling is not claiming: this only has as much memory and as many cores as an H200.
        ({**H200, "pci_device_id": "10de:9999"}, "bf16=5000", ""),
        # The catalogue lacks other products of this id, which may be faster.
        ({"kind": "gpu", "pci_device_id": "1002:744c"}, "fp16=5000", ""),
    ],
)
def test_what_no_part_with_its_id_can_do_contradicts(
    shipped: Catalogue, identity: dict[str, str], rate: str, words: str
) -> None:
    name, _, number = rate.partition("=")
    views = compare(identity, shipped, measured({name: number}))
    assert views.chip is None
    assert views.verdict is (Verdict.INCONSISTENT if words else Verdict.NOT_COMPARED), text(views)
    assert words in text(views)


def test_far_less_is_told_and_does_not_contradict(shipped: Catalogue) -> None:
    views = compare(H200, shipped, measured({"bf16": "300"}, sm_count=16, dram_gb_per_s=Decimal(100)))
    assert views.verdict is Verdict.CONSISTENT
    assert any("only 300 of 989.4" in remark and "30%" in remark for remark in views.remarks)
    assert any("only 16 of 132 multiprocessors" in remark for remark in views.remarks)
    assert set(views.low) <= set(views.remarks)
    slice_of_it = compare({**H200, "mig_sm_count": "16"}, shipped, measured({"bf16": "50"}, sm_count=16))
    assert slice_of_it.low == (slice_of_it.low[0],)
    assert "only 50 of 119.9 tera-operations" in slice_of_it.low[0]


def test_a_figure_that_its_own_part_does_not_have_contradicts_without_a_measurement(shipped: Catalogue) -> None:
    views = compare({**H200, "num_cores": "9984"}, shipped, None)
    assert views.verdict is Verdict.INCONSISTENT
    assert "the PCI id 10de:2335 is the H200 SXM's, but it says cores 9984, not 16896" in text(views)
    assert views.chip is None


def test_cuda_and_nvml_that_disagree_contradict(shipped: Catalogue) -> None:
    views = compare(SAYS_H20, shipped, None, {"name": "NVIDIA H200", "compute_capability": "9.0"})
    assert "name NVIDIA H20 by NVML, NVIDIA H200 by CUDA" in text(views)
    slice_of_it = compare(H200, shipped, None, {"name": "NVIDIA H200 MIG 1g.18gb", "compute_capability": "9.0"})
    assert slice_of_it.against == ()


def test_what_could_not_be_measured_is_told_with_its_reason(shipped: Catalogue) -> None:
    views = compare(H200, shipped, measured(H200_DID, not_measured={"fp4": "no such unit"}))
    assert "fp4 was not measured: no such unit" in views.remarks


def test_a_virtual_device_has_no_part_to_be_held_against(shipped: Catalogue) -> None:
    views = compare({**H200, "virtualization_mode": "vgpu"}, shipped, None)
    assert views.chip is None
    assert any("virtual" in remark for remark in views.remarks)


@pytest.mark.parametrize("identity", [{}, {"memory_bus_bits": "6144"}, {"memory_bus_bits": "-1"}])
def test_bandwidth_needs_a_bus_and_a_clock(identity: dict[str, str]) -> None:
    assert bandwidth_gb_per_s(identity) is None
