"""Through the real Python library into a library in C of the driver's layout: names, structures and codes fit."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, os, time
from auditor.hardware import nvml
from auditor.hardware.nvidia_sensing import NvidiaStation
from auditor.hardware.sensing import Wanted
from auditor.hardware.watching import Observer

(device,), _ = nvml.devices({})
station, observer, wanted = NvidiaStation(), Observer(), {"GPU-stub": Wanted(uuid="GPU-stub")}
looks = []
for look in range(3):
    if look == 2:
        os.putenv("STUB_LOST", "1")
    looks.append([list(told) for told in observer.take(station.look(wanted), look)])
    time.sleep(0.15)
station.close()
print(json.dumps({"given": device.given, "not_given": device.not_given, "evidence": device.evidence, "looks": looks}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the auditor makes of the library in C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("stub")
    source = Path(__file__).with_name("stub") / "nvml.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", folder / "libnvidia-ml.so.1", source],
        check=True,
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_what_the_library_knows_is_given_and_what_it_lacks_is_a_reason(told: dict[str, Any]) -> None:
    given = told["given"]
    assert (given["name"], given["uuid"], given["brand"]) == ("NVIDIA H200", "GPU-stub", "NVIDIA")
    assert (given["pci_device_id"], given["pci_subsystem_id"]) == ("10de:2335", "10de:18be")
    assert given["pdi"] == "145c8e416b389d3e"
    assert (given["fabric_state"], given["fabric_clique"]) == ("completed", "7")
    assert given["fabric_cluster"] == "ab" * 16
    assert "vbios" in told["not_given"]


def test_the_report_is_over_the_nonce_that_the_device_was_given(told: dict[str, Any]) -> None:
    nonce = bytes.fromhex(told["given"]["attestation_nonce"])
    report = base64.b64decode(told["evidence"]["report_base64"])
    assert report == nonce + b"signed"
    assert told["given"]["attestation_report_sha256"] == hashlib.sha256(report + b"second").hexdigest()
    assert told["given"]["attestation_certificates_sha256"] == hashlib.sha256(b"chain").hexdigest()
    assert told["given"]["confidential_computing"] == "enabled, production"


def test_a_look_sees_energy_tensor_cores_errors_and_loss(told: dict[str, Any]) -> None:
    (first,), second, third = told["looks"]
    assert first[0] == "observed"
    events = {event: values for event, _, values in second}
    assert events["error"]["xid"] == "79"
    assert events["observed"]["energy_mj"] == "500"
    assert int(events["observed"]["tensor_us"]) == pytest.approx(int(events["observed"]["covered_us"]) / 10, rel=0.01)
    assert not [name for name in events["observed"] if name.startswith("cycles.")]
    assert [event for event, _, _ in third] == ["lost", "gap"]
    assert third[0][2]["because"] in ("GPU is lost", "the driver does not list it any more")
