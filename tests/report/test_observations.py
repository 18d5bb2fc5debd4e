"""Devices during the run: what is told of them, and what is an alarm."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from auditor.records import Hardware
from auditor.report import html, json_text, terminal
from auditor.report import observation_words as say
from auditor.tally import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View

    Make = Callable[..., View]

UUID = "GPU-00000000-0000-0000-0000-000000000000"
SECOND_US = 1_000_000
STEADY: dict[str, str] = {"elapsed_us": "4000000", "energy_mj": "2800000", "sm_clock_mhz": "1830"}
MEASURED = {"uuid": UUID, "seconds": "9", "rate_tera.bf16": "853", "sm_count": "132"}


@pytest.fixture
def make_view(make_view: Make) -> Make:
    """As everywhere, with what was ``seen`` as event, device and values."""

    def make(*, seen: Any = (), **fields: Any) -> View:
        notes = [Hardware(event=event, device=device, values=values) for event, device, values in seen]
        return make_view(observed=notes, **fields)

    return make


@pytest.fixture
def huge(tally_of: Callable[..., Any]) -> Any:
    """1.1e15 float32 operations a call: about a second of an H200 at its fastest."""
    return tally_of({("65536x131072x65536", Phase.FORWARD): 1})


def plain(view: View, schema: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json_text.to_json(view))
    jsonschema.validate(document, schema)
    return document


def everything(view: View) -> str:
    """Both pages, which must be drawn without an error too."""
    return terminal.render(view, width=4000) + html.render(view).replace("&#39;", "'")


def test_a_run_without_gpus_has_no_bound_and_no_section(make_view: Make, schema: dict[str, Any]) -> None:
    view = make_view()
    assert view.observed == ()
    assert plain(view, schema)["observed"] == []
    assert "Devices during the run" not in everything(view)


def test_what_was_seen_is_told_with_energy_and_verdict(
    make_view: Make, h200: dict[str, str], huge: Any, schema: dict[str, Any]
) -> None:
    view = make_view(
        devices=[h200],
        intervals=[(1, huge, 1)] * 4,
        interval_us=2 * SECOND_US,
        seen=[("observed", UUID, STEADY), ("measured", UUID, MEASURED)],
    )
    (process,) = view.observed
    assert say.alarms(process) == ()
    assert process.in_use
    document = plain(view, schema)["observed"][0]
    assert document["devices"][0]["verdict"] == "consistent"
    assert document["energy_mj"] == 2_800_000
    assert float(document["operations_per_joule"]) == pytest.approx(4 * 2 * 65536**2 * 131072 / 2800)
    assert document["bound"]["unknown"] is None
    assert document["bound"]["exceeded"] == []
    assert 0.4 < float(document["bound"]["utilisation"]) < 0.6
    shown = everything(view)
    assert "2,800 J" in shown
    assert "of the peak rate, by what was counted" in shown
    assert shown.count("consistent: what it says, what its part is known for, and what was measured") == 2


def test_more_than_the_device_can_do_is_an_alarm_everywhere(
    make_view: Make, h200: dict[str, str], huge: Any, schema: dict[str, Any]
) -> None:
    view = make_view(devices=[h200], intervals=[(1, huge, 1)] * 40, interval_us=SECOND_US // 10)
    (process,) = view.observed
    (alarm,) = say.alarms(process)
    assert alarm.startswith("Rank 0: counted more than the device can do: what was counted in step")
    assert "H200" in alarm
    assert plain(view, schema)["observed"][0]["alarms"] == [alarm]
    assert len(plain(view, schema)["observed"][0]["bound"]["exceeded"]) > 1
    for page in (terminal.render(view, width=4000), html.render(view).replace("&#39;", "'")):
        assert page.index(alarm) < page.index("Thresholds")
        assert "EXCEEDED" in page
    # The verdict on the record is of the record: its bytes are what was written.
    assert view.ledger.verdict == "UNANCHORED"


def test_processes_that_share_a_device_are_held_against_it_together(
    make_view: Make, h200: dict[str, str], huge: Any, schema: dict[str, Any]
) -> None:
    view = make_view(devices=[h200], ranks=2, written_ranks=2, intervals=[(1, huge, 1)] * 40, interval_us=SECOND_US)
    assert all(process.bound.exceeded == () for process in view.observed)
    first, second = plain(view, schema)["observed"]
    assert [len(one["alarms"]) for one in (first, second)] == [1, 0]  # one alarm for both
    assert first["shared"] == second["shared"]
    assert len(first["shared"]["segments"]) == 2
    assert first["shared"]["exceeded"]
    assert 79 < float(first["shared"]["needed_s"]) < 80
    assert 39 < float(first["shared"]["took_s"]) < 41
    assert f"what 2 processes counted on {UUID} needs at least 79.2 s of it" in first["alarms"][0]
    assert everything(view).count(first["alarms"][0].removeprefix("Rank 0: ")) >= 2


def test_a_device_is_in_one_host_so_clocks_of_two_are_not_compared(
    make_view: Make, h200: dict[str, str], huge: Any
) -> None:
    view = make_view(
        devices=[h200],
        ranks=2,
        written_ranks=2,
        hosts=[{"hostname": "a", "boot_id": "1"}, {"hostname": "a", "boot_id": "2"}],
        intervals=[(1, huge, 1)] * 40,
        interval_us=SECOND_US,
    )
    assert [process.shared for process in view.observed] == [None, None]
    assert [say.alarms(process) for process in view.observed] == [(), ()]


def test_processes_that_fit_on_their_device_together_are_no_alarm(
    make_view: Make, h200: dict[str, str], huge: Any, schema: dict[str, Any]
) -> None:
    view = make_view(devices=[h200], ranks=2, written_ranks=2, intervals=[(1, huge, 1)] * 40, interval_us=2 * SECOND_US)
    first, _ = plain(view, schema)["observed"]
    assert (first["alarms"], first["shared"]["exceeded"]) == ([], False)
    words = r"kept: what 2 processes counted on it needs at least 79\.2 s, and they ran for 8\d\.\d s"
    assert re.search(words, everything(view))


def test_a_run_much_too_short_for_its_count_is_an_alarm(make_view: Make, h200: dict[str, str], huge: Any) -> None:
    view = make_view(devices=[h200], intervals=[(1, huge, 1)] * 9, interval_us=10)
    (alarm,) = say.alarms(view.observed[0])
    assert "what was counted in steps 1 to 9 needs at least 8.91 s" in alarm
    assert "took 0.0900 ms" in alarm


def test_an_unknown_part_has_no_bound_and_says_why(make_view: Make, h200: dict[str, str], huge: Any) -> None:
    view = make_view(
        devices=[{**h200, "pci_device_id": "10de:ffff", "num_cores": "1"}],
        intervals=[(1, huge, 1)] * 40,
        interval_us=1,
    )
    (process,) = view.observed
    assert say.alarms(process) == ()
    assert process.bound.unknown.startswith("the device is not identified")
    assert "not available: the device is not identified" in everything(view)


def test_a_measurement_bounds_a_part_that_is_not_known(make_view: Make, h200: dict[str, str], huge: Any) -> None:
    view = make_view(
        devices=[{**h200, "pci_device_id": "10de:ffff", "num_cores": "1"}],
        intervals=[(1, huge, 1)] * 40,
        interval_us=1,
        seen=[("measured", UUID, MEASURED), ("measured", UUID, {"uuid": "x", "seconds": "never"})],
    )
    assert view.observed[0].bound.exceeded


def test_an_identity_that_the_silicon_contradicts_is_an_alarm(
    make_view: Make, h200: dict[str, str], schema: dict[str, Any]
) -> None:
    says = {
        **h200,
        "name": "NVIDIA H20",
        "pci_device_id": "10de:2329",
        "pci_subsystem_id": "10de:198b",
        "num_cores": "9984",
        "memory_bytes": str(97871 * 2**20),
    }
    view = make_view(devices=[says], seen=[("measured", UUID, {**MEASURED, "rate_tera.bf16": "690"})])
    device = plain(view, schema)["observed"][0]["devices"][0]
    assert device["verdict"] == "inconsistent"
    assert any("it did 690" in text for text in device["against"])
    assert everything(view).count("it did 690") >= 4  # at the top and in the section, of both pages


def test_measured_and_not_compared_has_a_word_of_its_own(
    make_view: Make, h200: dict[str, str], schema: dict[str, Any]
) -> None:
    view = make_view(devices=[{**h200, "pci_device_id": "10de:ffff"}], seen=[("measured", UUID, MEASURED)])
    assert plain(view, schema)["observed"][0]["devices"][0]["verdict"] == "not compared"
    assert "not compared: it was measured, but no one part is identified" in everything(view)


def test_far_less_than_its_part_stands_beside_the_verdict(make_view: Make, h200: dict[str, str]) -> None:
    view = make_view(devices=[h200], seen=[("measured", UUID, {**MEASURED, "rate_tera.bf16": "121"})])
    words = say.verdict_words(view.observed[0].devices[0])
    assert words.startswith("consistent, since less than its part can do contradicts nothing; but measured only 121")
    assert say.alarms(view.observed[0]) == ()


def test_tensor_cores_busier_than_counted_name_suspects(
    make_view: Make, h200: dict[str, str], tally_of: Callable[..., Any], schema: dict[str, Any]
) -> None:
    view = make_view(
        devices=[h200],
        interval_us=SECOND_US,
        seen=[
            ("observed", UUID, STEADY | {"covered_us": "4000000", "tensor_us": "3000000"}),
            ("coverage", UUID, {"step": "1", "unexplained_ns.my_fused_kernel": "12", "unexplained_ns.other": "900"}),
        ],
    )
    (alarm,) = plain(view, schema)["observed"][0]["alarms"]
    assert "the tensor cores did more than was counted" in alarm
    assert "suspects: kernel other, kernel my_fused_kernel" in alarm


def test_a_slice_is_held_against_its_share(make_view: Make, h200: dict[str, str], huge: Any) -> None:
    part = {**h200, "mig_mode": "enabled", "mig_profile": "1g.18gb", "mig_sm_count": "16"}
    del part["num_cores"]
    view = make_view(devices=[part], intervals=[(1, huge, 1)] * 4, interval_us=20 * SECOND_US)
    a_slice_ops_per_s = 989.4e12 * 16 / 132
    assert float(view.observed[0].bound.utilisation) == pytest.approx(
        2 * 65536**2 * 131072 / a_slice_ops_per_s / 20, rel=1e-4
    )
    assert "slice 1g.18gb (12.12 % of it)" in everything(view)


def test_a_slice_that_did_what_the_whole_does_contradicts(
    make_view: Make, h200: dict[str, str], schema: dict[str, Any]
) -> None:
    part = {**h200, "mig_mode": "enabled", "mig_uuid": "MIG-1", "mig_sm_count": "16"}
    view = make_view(devices=[part], seen=[("measured", "GPU-1", MEASURED)])
    document = plain(view, schema)["observed"][0]
    assert document["devices"][0]["verdict"] == "inconsistent"
    assert "132 multiprocessors at work, the part has 16" in document["alarms"][1]


def test_devices_that_share_a_uuid_are_told_and_held_as_several(
    make_view: Make, h200: dict[str, str], huge: Any, schema: dict[str, Any]
) -> None:
    view = make_view(devices=[h200] * 2, intervals=[(1, huge, 1)] * 40, interval_us=700_000)
    document = plain(view, schema)
    assert len(document["observed"][0]["devices"]) == 2
    assert document["observed"][0]["bound"]["exceeded"] == []  # 40 s of work for two devices in 28 s
    (alarm,) = document["observed"][0]["alarms"]
    assert f"2 devices of its list give the UUID {UUID}" in alarm
    assert document["machines"][0]["of_repeated_uuid"] == 1
    assert alarm in everything(view)


def test_one_of_the_two_devices_that_a_circuit_shows_as_is_held_against_half(make_view: Make) -> None:
    die = {"kind": "gpu", "uuid": "GPU-1", "pci_device_id": "1002:7408", "memory_bytes": str(64 * 2**30)}
    (device,) = make_view(devices=[die]).observed[0].devices
    assert device.views.chip.id == "mi250x"
    assert device.share * 2 == 1


@pytest.mark.parametrize(
    ("seen", "uuids"),
    [([("declared", "GPU-2", {"library": "CUDA"})], ["GPU-2"]), ([("measured", "GPU-2", MEASURED)], [UUID, "GPU-2"])],
)
def test_which_of_several_devices_was_used_is_seen_or_said_not_to_be(
    make_view: Make, h200: dict[str, str], seen: Any, uuids: list[str]
) -> None:
    view = make_view(devices=[h200, {**h200, "uuid": "GPU-2"}], seen=seen)
    assert [device.uuid for device in view.observed[0].devices] == uuids
    assert ("which of its devices it used was not seen" in everything(view)) == (len(uuids) == 2)


def test_what_happened_to_devices_is_told_in_its_order(
    make_view: Make, h200: dict[str, str], schema: dict[str, Any], hostile: str
) -> None:
    view = make_view(
        devices=[h200],
        seen=[
            ("error", UUID, {"elapsed_us": "1500000", "xid": "79"}),
            ("lost", UUID, {"elapsed_us": "1500000", "because": "GPU is lost"}),
            ("changed", UUID, {"mig_mode": hostile, "was": "disabled"}),
        ],
    )
    events = plain(view, schema)["observed"][0]["events"]
    assert [event["event"] for event in events] == ["error", "lost", "changed"]
    shown = everything(view)
    assert f"error after 1.5 s: {UUID} (xid 79)" in shown
    assert f"lost after 1.5 s: {UUID} (GPU is lost)" in shown
    assert "<script>" not in html.render(view)
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "values",
    [
        {"rate_tera.bf16": "1e999999"},
        {"rate_tera.bf16": "1e-999999"},
        {"rate_tera.bf16": "0"},
        {"l2_bytes": "9" * 5000},
        {"sm_count": "9" * 400},
        {"dram_gb_per_s": "1e99999"},
        {"seconds": "soon"},
    ],
)
def test_a_measurement_of_no_device_is_none(make_view: Make, h200: dict[str, str], values: dict[str, str]) -> None:
    view = make_view(devices=[h200], seen=[("measured", UUID, MEASURED | values)])
    assert view.observed[0].devices[0].views.measured == {}
    assert len(everything(view)) < 200_000


def test_a_gpu_that_does_not_say_its_uuid_stands_there_by_its_number(make_view: Make, h200: dict[str, str]) -> None:
    view = make_view(devices=[{name: text for name, text in h200.items() if name != "uuid"}])
    assert [device.uuid for device in view.observed[0].devices] == ["device 0"]
    assert view.observed[0].bound.unknown == ""


@pytest.mark.parametrize("text", ["", "-1", "1e9", "9" * 40, "x", "²"])
def test_values_that_are_no_numbers_are_not_seen(make_view: Make, h200: dict[str, str], text: str) -> None:
    values = dict.fromkeys(("elapsed_us", "energy_mj", "sm_clock_mhz", "covered_us", "tensor_us"), text)
    view = make_view(
        devices=[{**h200, "mig_sm_count": text}], seen=[("observed", UUID, values), ("lost", UUID, values)]
    )
    assert view.observed[0].energy_mj is None
    assert everything(view)
