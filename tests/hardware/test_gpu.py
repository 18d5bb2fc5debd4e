"""With a real device: what its library says, what is seen of it during a run, and that the count fits into it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch

from auditor import Auditor
from auditor.formulas import TABLE, Pricer
from auditor.hardware import catalogue, nvml
from auditor.hardware.nvidia_sensing import NvidiaStation
from auditor.hardware.sensing import Wanted
from auditor.ledger import Recount, read_ledger
from auditor.report import observation_words as say
from auditor.report import observations

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.ledger import Reading

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Eight seconds of large products in half precision."""
    out: Path = tmp_path_factory.mktemp("gpu") / "run"
    with Auditor(out=out, second_opinion="false", interval_s="1") as audit:
        x = torch.ones(8192, 8192, device="cuda", dtype=torch.bfloat16)
        until = time.monotonic() + 8
        while time.monotonic() < until:
            for _ in range(50):
                x @ x
            torch.cuda.synchronize()
            audit.step()
    return read_ledger(out, recount=Recount(price=Pricer().price, digest=TABLE.digest))


def test_every_device_says_what_it_is() -> None:
    devices, reason = nvml.devices()
    assert reason == ""
    for device in devices:
        print(dict(device.given), dict(device.not_given))
        assert {"name", "uuid", "pci_device_id", "memory_bytes", "compute_capability"} <= device.given.keys()


def test_the_device_in_use_is_watched_and_takes_energy(reading: Reading) -> None:
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    seen = [note for note in reading.hardware if note.event == "observed"]
    assert {note.device for note in seen} == {uuid} or "mig_uuid" in reading.devices[0][0]
    energy_mj = [int(note.values["energy_mj"]) for note in seen if "energy_mj" in note.values]
    assert energy_mj == sorted(energy_mj)
    assert energy_mj[-1] > 0
    assert [note.values["library"] for note in reading.hardware if note.event == "declared"] == ["CUDA"]
    assert not any(gap.lower_bound for gap in reading.gaps)


def test_the_count_fits_into_the_device_and_the_identity_holds(reading: Reading) -> None:
    (process,) = observations.observe(reading, catalogue.load())
    print(say.bound_words(process.bound), say.utilisation_words(process.bound), say.energy_words(process), sep="\n")
    assert process.in_use
    assert not process.devices[0].views.against
    assert not process.bound.exceeded
    if not process.bound.unknown:
        assert process.bound.utilisation is not None
        assert process.bound.utilisation > 0.3


def test_the_tensor_cores_are_seen_or_the_reason_is(reading: Reading) -> None:
    (process,) = observations.observe(reading, catalogue.load())
    activity = process.devices[0].activity
    if activity is None:
        reasons = [gap.message for gap in reading.gaps if "tensor cores" in gap.message]
        assert reasons or not process.devices[0].views.chip
        pytest.skip(reasons[0] if reasons else "the part is not identified")
    print(say.activity_words(activity))
    assert activity.agrees


def test_a_look_takes_little_time() -> None:
    uuid = nvml.devices()[0][0].given["uuid"]
    station = NvidiaStation()
    station.look({uuid: Wanted(uuid=uuid)})
    time.sleep(0.2)
    began = time.monotonic()
    look = station.look({uuid: Wanted(uuid=uuid)})
    taken = time.monotonic() - began
    station.close()
    print(f"a look: {taken * 1000:.1f} ms", look)
    assert taken < 2
