"""The door to NVML: everything that goes wrong behind it comes out as a reason."""

from __future__ import annotations

import base64
import hashlib
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from auditor.hardware import doors, nvml
from auditor.hardware.doors import observe
from auditor.hardware.identity import Device
from tests.hardware.conftest import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hardware.conftest import FakeNvml

    Fake = Callable[..., FakeNvml]


def uuids(environ: dict[str, str]) -> list[str]:
    return [device.given["uuid"][4:8] for device in nvml.devices(environ)[0]]


def test_this_machine_gives_devices_or_a_reason() -> None:
    devices, reason = nvml.devices()
    assert bool(devices) != bool(reason)
    assert [mapping["kind"] for mapping in observe()] == (["gpu"] * len(devices) or ["cpu"])


def test_an_h200_says_all_that_it_is_asked(fake: Fake) -> None:
    library = fake("h200")
    devices, reason = nvml.devices({})
    assert reason == ""
    assert devices[0].not_given == {
        "nvml": "nvmlSystemGetNVMLVersion",
        "chassis_serial": "Not Supported",
        "slot": "Not Supported",
        "tray": "Not Supported",
        "attestation_report_sha256": "confidential computing is not enabled",
        "attestation_certificates_sha256": "confidential computing is not enabled",
    }
    assert dict(devices[0].given) == {
        "door": "NVML",
        "selected_by": "all there are",
        "name": "NVIDIA H200",
        "uuid": "GPU-11111111-2222-3333-4444-555555555555",
        "pdi": "145c8e416b389d3e",
        "brand": "NVIDIA",
        "serial": "1650000000001",
        "board_id": "768",
        "default_clock_mhz": "1980",
        "max_customer_boost_mhz": "1980",
        "module_id": "3",
        "fabric_state": "completed",
        "fabric_cluster": "0" * 32,
        "fabric_clique": "0",
        "excluded_devices": "none",
        "confidential_computing": "disabled",
        "board_part_number": "695-2G520-0280-000",
        "pci_device_id": "10de:2335",
        "pci_subsystem_id": "10de:18be",
        "pci_bus_id": "00000000:1B:00.0",
        "vbios": "96.00.A0.00.01",
        "inforom": "G520.0280.00.05",
        "architecture": "Hopper",
        "compute_capability": "9.0",
        "num_cores": "16896",
        "max_sm_clock_mhz": "1980",
        "max_memory_clock_mhz": "3201",
        "memory_bytes": str(143771 * 2**20),
        "memory_bus_bits": "6144",
        "driver": "580.65.06",
        "cuda_driver": "13.0",
        "mig_mode": "disabled",
        "virtualization_mode": "none",
        "energy_mj": "123456789",
    }
    assert library.open_sessions == 0


def test_a_field_that_a_device_lacks_is_a_reason_and_no_value(fake: Fake) -> None:
    fake("rtx4090")
    device = nvml.devices({})[0][0]
    for name in ("serial", "board_part_number", "inforom", "mig_mode"):
        assert name not in device.given
        assert device.not_given[name] == "Not Supported"
    assert Device.from_mapping(device.to_mapping()) == device


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "version mismatch"),
    ],
)
def test_a_library_that_does_not_start_is_a_reason(fake: Fake, code: int, words: str) -> None:
    fake("h200", init_error=code)
    devices, reason = nvml.devices({})
    assert devices == []
    assert reason.startswith("no NVML device: ")
    assert words in reason
    assert observe()[0]["no_gpu"].startswith(reason)


def test_a_missing_package_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    devices, reason = nvml.devices({})
    assert devices == []
    assert "nvidia-ml-py cannot be imported" in reason


def test_a_library_without_a_device_is_a_reason(fake: Fake) -> None:
    library = fake()
    assert nvml.devices({}) == ([], "no NVML device: the driver lists none")
    assert library.open_sessions == 0


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), KeyError("Count"), pynvml.NVMLError(15)])
def test_a_library_that_breaks_is_a_reason_and_is_shut_down(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    library = fake("h200")

    def fail() -> int:
        raise error

    monkeypatch.setattr(library, "nvmlDeviceGetCount", fail, raising=False)
    devices, reason = nvml.devices({})
    assert devices == []
    assert reason.startswith("no NVML device: ")
    assert library.open_sessions == 0


def test_each_question_may_fail_and_the_others_are_still_answered(fake: Fake, h200: dict[str, Any]) -> None:
    for name in h200:
        broken = {key: value for key, value in h200.items() if key != name}
        fake(broken)
        device = nvml.devices({})[0][0]
        assert len(device.given) + len(device.not_given) == 40
        assert len(device.given) >= 31


def test_a_device_that_is_lost_is_named_with_reasons_for_everything(fake: Fake) -> None:
    fake({})
    device = nvml.devices({})[0][0]
    assert set(device.given) == {
        "door",
        "selected_by",
        "driver",
        "cuda_driver",
        "excluded_devices",
        "confidential_computing",
    }
    assert "name" in device.not_given


@pytest.mark.parametrize(
    ("wish", "seen"),
    [
        ("0", ["1111"]),
        ("1", ["9999"]),
        ("1,0", ["9999", "1111"]),
        (" 1 , 0 ", ["9999", "1111"]),
        ("0,2,1", ["1111"]),  # the list ends at the first entry that names nothing
        ("0,0", []),  # as torch has it: an entry that is repeated leaves none
        ("0,GPU-1111", ["1111"]),  # the first entry says of what form all are
        ("GPU-9999,0", ["9999"]),
        ("GPU-99999999-8888-7777-6666-555555555555", ["9999"]),
        ("GPU-9999", ["9999"]),
        ("GPU-", []),  # more than one
        ("GPU-abc", []),
        ("", []),
        ("-1", []),
        ("none", []),
        ("MIG-aaaa", ["1111"]),
        ("MIG-GPU-99999999-8888-7777-6666-555555555555/1/0", ["9999"]),
        ("MIG-bbbb", []),
    ],
)
def test_only_the_devices_that_the_process_may_use_are_named(fake: Fake, wish: str, seen: list[str]) -> None:
    fake("h200", "rtx4090", slices={"MIG-aaaa": 0})
    assert uuids({"CUDA_VISIBLE_DEVICES": wish}) == seen
    reason = nvml.devices({"CUDA_VISIBLE_DEVICES": wish})[1]
    assert (repr(wish) in reason) == (not seen)


def test_a_number_among_unlike_devices_says_what_it_rests_on(fake: Fake) -> None:
    fake("h200", "rtx4090")
    by_number = nvml.devices({"CUDA_VISIBLE_DEVICES": "1"})[0][0].given["selected_by"]
    ordered = nvml.devices({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[0][0].given["selected_by"]
    fake("h200", "h200")
    alike = nvml.devices({"CUDA_VISIBLE_DEVICES": "1"})[0][0].given["selected_by"]
    assert "is assumed" in by_number
    assert "assumed" not in ordered + alike


def test_a_slice_is_its_parent_with_the_slice_named(fake: Fake, h200: dict[str, Any]) -> None:
    # While MIG is on, the number of cores is not given.
    fake(
        {**{key: value for key, value in h200.items() if key != "NumGpuCores"}, "MigMode": [1, 1]},
        slices={"MIG-aaaa": 0},
    )
    device = nvml.devices({"CUDA_VISIBLE_DEVICES": "MIG-aaaa"})[0][0]
    assert device.given["name"] == "NVIDIA H200"
    assert device.given["mig_uuid"] == "MIG-aaaa"
    assert device.given["mig_name"] == "NVIDIA H200 MIG 1g.18gb"
    assert device.given["mig_mode"] == "enabled"
    assert device.given["mig_profile"] == "1g.18gb"
    assert device.given["mig_sm_count"] == "16"
    assert device.given["mig_memory_bytes"] == str(2**34)
    assert device.given["mig_gpu_instance"] == "9"
    assert device.given["mig_slices"] == "1g.18gb"
    assert "num_cores" in device.not_given


def test_text_from_a_device_is_made_printable_and_kept_short(fake: Fake, h200: dict[str, Any]) -> None:
    fake({**h200, "Name": "\x1b[31mred\n" + "x" * 500, "Serial": b"\xff1"})
    given = nvml.devices({})[0][0].given
    assert given["name"].startswith("?[31mred?x")
    assert len(given["name"]) == 200
    assert given["serial"] == "\ufffd1"


def test_the_only_slice_is_the_one_that_is_used_and_among_several_none_is_guessed(
    fake: Fake, h200: dict[str, Any]
) -> None:
    cut = {**h200, "MigMode": [1, 1]}
    fake(cut, slices={"MIG-aaaa": 0})
    device = nvml.devices({})[0][0]
    assert (device.given["mig_uuid"], device.given["mig_sm_count"]) == ("MIG-aaaa", "16")
    fake(cut, slices={"MIG-aaaa": 0, "MIG-bbbb": 0})
    device = nvml.devices({"CUDA_VISIBLE_DEVICES": "0"})[0][0]
    assert device.given["mig_slices"] == "1g.18gb, 1g.18gb"
    assert "mig_sm_count" not in device.given
    assert "2 slices" in device.not_given["mig_uuid"]


def test_a_device_that_the_driver_lists_and_does_not_open_keeps_its_place(fake: Fake, h200: dict[str, Any]) -> None:
    fake({"handle": Failure(pynvml.NVML_ERROR_GPU_IS_LOST)}, h200)
    devices = nvml.devices({})[0]
    assert devices[0].not_given == {"uuid": "GPU is lost"}
    assert devices[1].given["name"] == "NVIDIA H200"
    assert uuids({"CUDA_VISIBLE_DEVICES": "1"}) == ["1111"]


def test_a_virtual_device_says_that_it_is_one(fake: Fake, h200: dict[str, Any]) -> None:
    fake({**h200, "VirtualizationMode": 2, "Name": "NVIDIA H200-35C", "Serial": Failure(3)})
    device = nvml.devices({})[0][0]
    assert device.given["virtualization_mode"] == "vgpu"
    assert device.not_given["serial"] == "Not Supported"


def test_where_it_stands_and_what_is_hidden_is_told(fake: Fake, h200: dict[str, Any]) -> None:
    platform = {"chassisSerialNumber": b"1820224000001", "slotNumber": b"\x05", "trayIndex": b"\x00"}
    fake({**h200, "PlatformInfo": platform}, excluded=(("GPU-hidden", "00000000:9A:00.0"),))
    given = nvml.devices({})[0][0].given
    assert (given["chassis_serial"], given["slot"], given["tray"]) == ("1820224000001", "5", "0")
    assert given["excluded_devices"] == "GPU-hidden at 00000000:9A:00.0"


def test_what_a_device_signs_is_kept_with_its_nonce_and_not_called_verified(fake: Fake) -> None:
    library = fake("h200", "h200", computing=(2, 1, 0))
    first, second = nvml.devices({})[0]
    assert first.given["confidential_computing"] == "enabled, production"
    assert first.given["attestation"] == "not verified"
    assert [first.given["attestation_nonce"], second.given["attestation_nonce"]] == [
        nonce.hex() for nonce in library.nonces
    ]
    assert len(set(library.nonces)) == 2
    report = base64.b64decode(first.evidence["report_base64"])
    assert report == b"report over " + library.nonces[0]
    assert first.given["attestation_report_sha256"] == hashlib.sha256(report).hexdigest()
    assert first.given["attestation_certificates_sha256"] == hashlib.sha256(b"chain").hexdigest()
    assert first.evidence["nonce"] == library.nonces[0].hex()
    assert not any("base64" in name for name in first.to_mapping())


def test_a_report_that_is_refused_is_a_reason_and_the_certificates_are_kept(fake: Fake, h200: dict[str, Any]) -> None:
    fake({**h200, "report": Failure(pynvml.NVML_ERROR_NO_PERMISSION)}, computing=(2, 1, 1))
    device = nvml.devices({})[0][0]
    assert device.given["confidential_computing"] == "enabled, production, open to development tools"
    assert device.not_given["attestation_report_sha256"] == "Insufficient Permissions"
    assert set(device.evidence) == {"certificates_base64", "nonce"}


def test_a_driver_that_hangs_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    door = SimpleNamespace(devices=lambda environ: release.wait(30))
    monkeypatch.setattr(doors, "_ANSWER_WITHIN_S", 0.05)
    found = doors.survey({}, doors=[door])
    release.set()
    assert [device.kind for device in found] == ["cpu"]
    assert "hangs" in found[0].given["no_gpu"]
