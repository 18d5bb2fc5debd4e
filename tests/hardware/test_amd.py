"""The door to amdsmi: everything that goes wrong behind it comes out as a reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from auditor.hardware import amd, doors
from auditor.hardware.amd_sensing import AmdStation
from auditor.hardware.identity import Device
from auditor.hardware.sensing import Wanted
from tests.hardware.amd_replay import MI300X, FakeAmdsmi

if TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[..., FakeAmdsmi]

OTHER = {**MI300X, "device_uuid": "other"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(*recorded: dict[str, Any], **options: Any) -> FakeAmdsmi:
        fake = FakeAmdsmi(list(recorded), **options)
        monkeypatch.setitem(sys.modules, "amdsmi", fake)
        return fake

    return put


def test_an_mi300x_says_all_that_it_is_asked(installed: Install) -> None:
    library = installed(MI300X)
    (device,), reason = amd.devices({})
    assert reason == ""
    assert device.not_given == {}
    assert dict(device.given) == {
        "door": "amdsmi",
        "selected_by": "all there are",
        "name": "AMD Instinct MI300X",
        "uuid": "54ff74a1-0000-1000-8012-3456789abcde",
        "serial": "0x0123456789ABCDEF",
        "board_part_number": "102-G30211-00",
        "pci_device_id": "1002:74a1",
        "pci_subsystem_id": "1002:74a1",
        "pci_bus_id": "0000:c1:00.0",
        "vbios": "022.040.003.041.000001",
        "compute_capability": "gfx942",
        "num_cores": "304",
        "max_sm_clock_mhz": "2100",
        "max_memory_clock_mhz": "1300",
        "memory_bytes": str(196592 * 2**20),
        "memory_bus_bits": "8192",
        "driver": "6.10.5",
        "module_id": "3",
        "compute_partition": "SPX",
        "memory_partition": "NPS1",
        "virtualization_mode": "none",
        "energy_mj": "15259",
    }
    assert library.open_sessions == 0
    assert Device.from_mapping(device.to_mapping()) == device


def test_each_question_may_fail_and_the_others_are_still_answered(installed: Install) -> None:
    for name in MI300X.keys() - {"total_ecc_count"}:
        installed({key: value for key, value in MI300X.items() if key != name})
        (device,), _ = amd.devices({})
        assert len(device.given) + len(device.not_given) == 22
        assert device.not_given


def test_not_available_is_no_value(installed: Install) -> None:
    installed({**MI300X, "asic_info": {**MI300X["asic_info"], "market_name": "N/A", "device_id": "N/A"}})
    (device,), _ = amd.devices({})
    assert device.not_given["name"] == "the library says N/A"
    assert "pci_device_id" in device.not_given


@pytest.mark.parametrize(
    ("wish", "seen"), [("0", 1), ("1,0", 2), ("0,0", 1), ("0,7,1", 1), ("other", 1), ("-1", 0), ("", 0)]
)
def test_only_the_devices_that_the_process_may_use_are_named(installed: Install, wish: str, seen: int) -> None:
    installed(MI300X, OTHER)
    found, reason = amd.devices({"HIP_VISIBLE_DEVICES": wish})
    assert len(found) == seen
    assert (repr(f"HIP_VISIBLE_DEVICES={wish}") in reason) == (not seen)


@pytest.mark.parametrize(("recorded", "error"), [((), ""), ((MI300X,), "driver not loaded")])
def test_a_library_without_driver_or_device_is_a_reason(installed: Install, recorded: Any, error: str) -> None:
    installed(*recorded, init_error=error)
    found, reason = amd.devices({})
    assert found == []
    assert reason.startswith("no AMD device: ")
    assert error in reason


def test_without_any_library_the_processor_stands_there_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (device,) = doors.survey({})
    assert device.kind == "cpu"
    assert "nvidia-ml-py cannot be imported" in device.given["no_gpu"]
    assert "amdsmi cannot be imported" in device.given["no_gpu"]


def test_a_look_gives_energy_and_says_what_amdsmi_does_not_count(installed: Install) -> None:
    library = installed(MI300X)
    uuid = MI300X["device_uuid"]
    station = AmdStation()
    look = station.look({uuid: Wanted(uuid=uuid), "gone": Wanted(uuid="gone")})
    assert look.present == (uuid,)
    assert look.samples[0].energy_mj == 15259
    assert "matrix-core" in look.samples[0].not_given["tensor"]
    assert look.samples[1].lost
    library.init_error = "reset"
    assert "reset" in station.look({uuid: Wanted(uuid=uuid)}).closed
    assert library.open_sessions == 0
