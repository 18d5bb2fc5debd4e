"""The hardware of a report: class, what it rests on, the other rules, and what nodes come to."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.hardware import catalogue, quantities
from auditor.hardware.spans import Span
from auditor.report import devices, terminal
from auditor.report.devices import Hardware, Machine, describe, machine_words, machines
from auditor.report.judgement import class_words, judge, other_rules
from auditor.rules import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auditor.report.view import View

TODAY = date(2026, 11, 22)
CATALOGUE = catalogue.load()
LAW = pack.load()
SHARED = {"kind": "gpu", "name": "A2 or A16", "pci_device_id": "10de:25b6"}
UNKNOWN = {"kind": "gpu", "name": "unheard of", "pci_device_id": "10de:ffff"}
ONE_DIE = {
    "kind": "gpu",
    "name": "AMD Instinct MI250X/MI250",
    "pci_device_id": "1002:740c",
    "compute_capability": "gfx90a",
    "num_cores": "110",
    "memory_bytes": str(64 * 2**30),
}


def device(identity: dict[str, str], rank: int = 0, as_of: date = TODAY, **more: str) -> Hardware:
    return describe(rank, {**identity, **more}, catalogue=CATALOGUE, ruleset=LAW, as_of=as_of)


def together(found: list[Hardware], nodes: dict[int, str] | None = None) -> tuple[Machine, ...]:
    return machines(found, nodes or {}, ruleset=LAW, as_of=TODAY)


def pci(device_id: str) -> Hardware:
    return device({"kind": "gpu", "name": device_id, "pci_device_id": device_id})


@pytest.mark.parametrize(
    ("device_id", "words"),
    [
        ("10de:2335", "3A090.a (3A090.a.1 and 3A090.a.2), by TPP (secondary)"),
        ("10de:2329", "none, by TPP and density (secondary)"),
        ("10de:27b8", "3A090.a (3A090.a.2), by TPP (secondary), density (secondary) and market (recalled)"),
        ("10de:2685", "none, by TPP (secondary) and market (recalled)"),  # RTX 4090 D: Note 2
        ("1d0f:7164", "undetermined (3A090.a, 3A090.b, none)"),  # whether TF32 counts as 32 bits
        ("10de:2bb9", "undetermined (3A090.a, 3A090.b, none)"),  # no rate is known
    ],
)
def test_a_class_says_what_it_rests_on_and_how_sure_that_is(device_id: str, words: str) -> None:
    assert class_words(pci(device_id).judgement) == words


@pytest.mark.parametrize(
    ("chip", "words", "figures"),
    [
        (
            "a100-sxm4-80gb",
            "3A090.a, by TPP (secondary) and inputs and outputs (recalled)",
            "TPP 4992 and inputs and outputs 600 to 664 GB/s",
        ),
        ("a800-sxm4-80gb", "none, by inputs and outputs (recalled)", "inputs and outputs 400 to 464 GB/s"),
        ("h800-sxm5", "none, by inputs and outputs (recalled)", "inputs and outputs 400 to 528 GB/s"),
        ("v100-sxm2-16gb", "none, by TPP (secondary)", "TPP 2000"),  # its link alone decides as well, less surely
    ],
)
def test_the_first_version_rests_on_the_link_where_that_decides(chip: str, words: str, figures: str) -> None:
    part = next(one for one in CATALOGUE.chips if one.id == chip)
    found = judge([quantities.of_chip(part)], ruleset=LAW, as_of=date(2022, 12, 1))
    assert class_words(found) == words
    assert found.klass.reasons[1] == f"It is decided by {figures}."
    assert found.klass.reasons == next(one.reasons[:2] for one in found.answers if one.rule == found.klass.rule)
    assert any(line.startswith("Inputs and outputs = ") for line in found.working)
    assert ("The rate of the link was not looked up." in found.doubts) == ("inputs" in words)


def test_what_the_class_does_not_ask_for_is_not_shown(h200: dict[str, str]) -> None:
    assert not any("Inputs and outputs" in line for line in device(h200).judgement.working)
    marketed = pci("10de:27b8").judgement
    assert "It is decided by TPP 1940, density 6.59 and market (data centres)." in marketed.klass.reasons
    assert "The market it is sold to was not looked up." in marketed.doubts


@settings(max_examples=80, deadline=None)
@given(
    tpp=st.integers(0, 9000),
    density=st.integers(0, 9),
    io=st.integers(0, 1200),
    data_centre=st.booleans(),
    day=st.sampled_from([date(2022, 12, 1), TODAY]),
)
def test_what_the_class_rests_on_decides_it_and_none_of_it_can_go(
    tpp: int, density: int, io: int, data_centre: bool, day: date
) -> None:
    whole = quantities.Quantities(
        of="made",
        tpp=Span.exactly(Decimal(tpp)),
        performance_density=Span.exactly(Decimal(density)),
        io_gb_per_s=Span.exactly(Decimal(io)),
        data_centre=data_centre,
        working="",
    )
    found = judge([whole], ruleset=LAW, as_of=day)

    def knowing(names: Iterable[str]) -> str:
        unknown = dict.fromkeys(set(found.tested) - set(names))
        return judge([replace(whole, **unknown)], ruleset=LAW, as_of=day).klass.outcome

    assert found.rests_on
    assert knowing(found.rests_on) == found.klass.outcome
    assert {knowing(set(found.rests_on) - {name}) for name in found.rests_on} == {"undetermined"}


def test_the_class_is_that_of_the_day(h200: dict[str, str]) -> None:
    early = device(h200, as_of=date(2023, 1, 1))
    assert (early.eccn, early.judgement.klass.rule) == ("3A090.a", "us_ear_3a090_2022_10")
    assert [answer.rule for answer in early.judgement.answers] == ["us_ear_3a090_2022_10", "us_ear_3a991_p_2022"]


def test_an_ambiguity_gives_the_range_and_is_decided_where_all_agree() -> None:
    either = device(SHARED)
    assert (either.chip, either.candidates) == (None, ("a16", "a2"))
    assert either.candidates_tpp == Span(Decimal("278.4"), Decimal(288))
    assert either.judgement.tpp == Span(Decimal("278.4"), Decimal(288))
    assert (either.tpp, either.eccn) == (None, "none")
    assert [line.partition(":")[0] for line in either.judgement.working] == ["a16", "a2"]
    rows = dict(terminal.device_rows(either))
    assert rows["candidates"] == "a16, a2; TPP over them 278.4 to 288"


def test_a_resemblance_decides_nothing(h200: dict[str, str]) -> None:
    masked = device(
        {name: text for name, text in h200.items() if not name.startswith("pci")},
        name="NVIDIA L20X",
        compute_capability="9.0",
        num_cores="16896",
        max_sm_clock_mhz="1980",
        memory_bytes=str(143771 * 2**20),
    )
    assert "h200-sxm" in masked.candidates
    assert masked.eccn == "undetermined"
    assert masked.judgement.klass.possible == ("3A090.a", "3A090.b", "none")
    assert "Derived, not catalogued" in masked.judgement.working[0]
    assert masked.judgement.tpp is not None
    assert masked.judgement.tpp.low < 4800 < (masked.judgement.tpp.high or 0)


def test_the_other_rules_in_few_lines(h200: dict[str, str]) -> None:
    lines = other_rules(device(h200).judgement)
    assert lines[0] == "ECCN 3A090 of October 2022: 3A090.a (superseded)"
    assert "Section 232 duty: covered (note 39(b), first band)" in lines
    assert lines[-1].startswith("none under ECCN 3A991.p; ")
    assert len(lines) == 7
    assert other_rules(device(UNKNOWN).judgement) == ()


def test_nodes_and_all_of_them(h200: dict[str, str]) -> None:
    found = [device(h200, rank, uuid=f"GPU-{rank % 3}") for rank in range(6)]
    nodes = {rank: "first" if rank < 3 else "second" for rank in range(6)}
    first, second, both = together(found, nodes)
    assert (first.name, second.name, both.name) == ("first", "second", "all 2 nodes")
    assert (first.devices, first.tpp) == (3, Span(Decimal(47496), Decimal(47496)))
    assert first.holder is not None
    assert first.holder.outcome == "4A090.a"
    # The same UUIDs on both: a device that moved, or was seen twice, is one.
    assert both.tpp == first.tpp
    assert machine_words(first) == "TPP 47496 over 3 circuits; 4A090.a"


def test_a_device_that_two_ranks_see_is_one(h200: dict[str, str]) -> None:
    (machine,) = together([device(h200, rank, uuid="GPU-1") for rank in range(4)], dict.fromkeys(range(4), "node"))
    assert (machine.devices, machine.circuits, machine.tpp) == (1, 1, Span(Decimal(15832), Decimal(15832)))


def test_one_uuid_hides_no_devices(h200: dict[str, str]) -> None:
    eight = [device(h200, rank, uuid="GPU-1") for rank in (0, 1) for _ in range(8)]  # as two ranks of a node list them
    (machine,) = together(eight, {0: "node", 1: "node"})
    assert (machine.devices, machine.repeated, machine.tpp) == (8, 7, Span(Decimal(8 * 15832), Decimal(8 * 15832)))
    assert "TPP 126656 over 8 circuits" in machine_words(machine)
    assert "7 devices give the UUID of another in the same list" in machine_words(machine)
    assert devices.group(eight)[0].number == 8


@pytest.mark.parametrize(
    "part",
    [[{"mig_uuid": "MIG-1"}, {"mig_uuid": "MIG-2"}], [{"compute_partition": "CPX"}, {"compute_partition": "CPX"}]],
)
def test_slices_of_one_device_are_one(h200: dict[str, str], part: list[dict[str, str]]) -> None:
    (machine,) = together([device(h200, uuid="GPU-1", **each) for each in part])
    assert (machine.devices, machine.repeated) == (1, 0)


def test_two_devices_of_one_circuit_are_one(h200: dict[str, str]) -> None:
    (machine,) = together([device(ONE_DIE, uuid=str(number)) for number in range(4)])
    assert (machine.devices, machine.circuits, machine.tpp) == (4, 2, Span(Decimal(12256), Decimal(12256)))


def test_what_is_unknown_leaves_the_sum_open(h200: dict[str, str]) -> None:
    (machine,) = together([device(h200, uuid="1"), device(UNKNOWN, uuid="2")])
    assert (machine.tpp, machine.unknown) == (Span(Decimal(15832), None), 1)
    assert machine_words(machine) == "TPP at least 15832 over 2 circuits (1 of unknown TPP); 4A090.a"
    (nothing,) = together([device(UNKNOWN)])
    assert machine_words(nothing) == "1 circuit, TPP not known; undetermined (4A090.a, 4A090.b, none)"


def test_a_large_cluster_is_judged_in_seconds(h200: dict[str, str]) -> None:
    ranks = {rank: [{**h200, "uuid": f"GPU-{rank}"}] for rank in range(20_000)}
    started = time.monotonic()
    found = devices.describe_all(ranks, catalogue=CATALOGUE, ruleset=LAW, as_of=TODAY)
    *_, cluster = together(list(found), {rank: f"node {rank // 8}" for rank in ranks})
    assert time.monotonic() - started < 30
    assert (cluster.name, cluster.tpp) == ("all 2,500 nodes", Span(Decimal(15832 * 20_000), Decimal(15832 * 20_000)))


def test_the_headline_names_each_class_once(h200: dict[str, str]) -> None:
    found = [device(h200, uuid="1"), device(UNKNOWN), device(SHARED), device({"kind": "cpu", "no_gpu": "none"}, rank=1)]
    words = devices.headline_words(devices.group([*found, device(h200, rank=1, uuid="2")]))
    assert words == "3A090.a, undetermined, none, no accelerator seen: not judged"
    assert devices.headline_words(()) == "undetermined"


def test_a_machine_without_accelerators_is_none() -> None:
    assert together([device({"kind": "cpu", "no_gpu": "none"})]) == ()


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (({"hostname": "a", "boot_id": "1"}, {"hostname": "b", "boot_id": "2"}), ["a", "b", "all 2 nodes"]),
        (({"hostname": "a", "boot_id": "1"}, {"hostname": "b", "boot_id": "1"}), ["a"]),  # two containers of one node
        (({"hostname": "a", "boot_id": "1"}, {"hostname": "a", "boot_id": "2"}), ["a", "a (2)", "all 2 nodes"]),
        (({"hostname": "a"}, {"hostname": "b"}), ["a", "b", "all 2 nodes"]),
        (({}, {}), [""]),
    ],
)
def test_a_node_is_what_was_booted_once(
    make_view: Callable[..., View], h200: dict[str, str], hosts: tuple[dict[str, str], ...], names: list[str]
) -> None:
    view = make_view(law=LAW, ranks=2, written_ranks=2, devices=(h200,), hosts=hosts)
    assert [machine.name for machine in view.machines] == names


def test_the_report_shows_it_in_every_form(
    make_view: Callable[..., View], check: Callable[[View], Any], h200: dict[str, str]
) -> None:
    from auditor.report import html

    view = make_view(law=LAW, ranks=2, written_ranks=2, devices=({**h200, "uuid": "1"}, SHARED, ONE_DIE, UNKNOWN))
    text = terminal.render(view)
    page = html.render(view)
    document = check(view)
    for words in ("H200 SXM by PCI id 10de:2335", "3A090.a.1 and 3A090.a.2", "4A090.a", "klock_h100", "278.4 to 288"):
        assert words in text
        assert words in page
    first, second = (document["judgements"][device["judgement"]] for device in document["hardware"][:2])
    assert first["rests_on"] == ["tpp"]
    assert second["tpp_range"] == {"lowest": "278.4", "highest": "288"}
    assert len(first["chip_rules"]) == 11
    assert [device["judgement"] for device in document["hardware"]] == [0, 1, 2, 3] * 2  # two ranks, four kinds
    assert document["machines"][0]["class"]["outcome"] == "4A090.a"
    assert {"stas", "klock_h100"} <= {source["id"] for source in document["chip_sources"]}
    assert devices.group(view.hardware)[0].number == 1
