"""A whole run beside a device: training goes on whatever the driver does, and the record says what that was."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pynvml
import pytest
import torch

from auditor import Auditor
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.session.in_use import InUse
from tests.hardware.conftest import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.ledger import Reading

PRODUCT = 2 * 8 * 8 * 8


@pytest.fixture(autouse=True)
def _all_visible_devices_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has no device here; what it would have taken memory on is all there is."""
    monkeypatch.setattr(InUse, "__call__", lambda self: {device.given["uuid"]: device for device in self._visible})
    monkeypatch.setattr("auditor.session.watch._SHORTEST_S", 0.12)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Reading, float]]:
    """Trains for a few intervals, doing ``between`` after the first; the reading, and how long the end took."""

    def train(between: Callable[[], None] = lambda: None) -> tuple[Reading, float]:
        x = torch.ones(8, 8)
        audit = Auditor(out=tmp_path / "run", second_opinion="false", interval_s="0")
        with audit:
            for step in range(4):
                x @ x
                audit.step()
                time.sleep(1.1 if step == 1 else 0.2)
                audit._session._cut()
                if step == 1:
                    between()
            time.sleep(0.3)
            ending = time.monotonic()
        taken = time.monotonic() - ending
        return read_ledger(tmp_path / "run", recount=Recount(price=Pricer().price, digest=TABLE.digest)), taken

    return train


def messages(reading: Reading) -> str:
    return "\n".join(gap.message for gap in reading.gaps)


def test_what_the_device_does_is_recorded_and_the_count_is_as_without(fake: Any, run: Any) -> None:
    library = fake("h200")

    def work() -> None:
        library.recorded[0]["TotalEnergyConsumption"] += 70_000

    reading, _ = run(work)
    assert (str(reading.verdict), reading.gaps) == ("UNANCHORED", ())
    assert reading.operations.by_family["matmul"] == 4 * PRODUCT
    assert [device["name"] for device in reading.devices[0]] == ["NVIDIA H200"]
    seen = [note for note in reading.hardware if note.event == "observed"]
    elapsed_us = [int(note.values["elapsed_us"]) for note in seen]
    assert elapsed_us == sorted(elapsed_us)
    assert len(elapsed_us) < 40
    assert seen[0].values["energy_mj"] == "0"
    assert seen[-1].values["energy_mj"] == "70000"
    assert int(seen[-1].values["tensor_us"]) > 0
    assert (library.open_sessions, library.samples) == (0, 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [(pynvml.NVML_ERROR_GPU_IS_LOST, "GPU is lost"), (pynvml.NVML_ERROR_GPU_NOT_FOUND, "code 28")],
)
def test_a_device_lost_in_the_run_is_told_and_makes_no_floor(fake: Any, run: Any, error: int, words: str) -> None:
    library = fake("h200")
    reading, _ = run(lambda: library.recorded[0].update(TotalEnergyConsumption=Failure(error)))
    assert str(reading.verdict) == "UNANCHORED"
    assert reading.operations.by_family["matmul"] == 4 * PRODUCT
    assert [note.event for note in reading.hardware if note.event != "observed"] == ["lost"]
    assert words.lower() in messages(reading).lower()
    assert not any(gap.lower_bound for gap in reading.gaps)


def test_a_driver_that_hangs_at_the_end_holds_it_up_for_a_second(
    fake: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, release = fake("h200"), threading.Event()

    def hang() -> None:
        monkeypatch.setattr(library, "nvmlDeviceGetCount", lambda: release.wait(60), raising=False)

    try:
        reading, taken = run(hang)
    finally:
        release.set()
    assert taken < 2
    assert str(reading.verdict) == "UNANCHORED"
    assert reading.operations.by_family["matmul"] == 4 * PRODUCT
    assert "did not answer when the run ended" in messages(reading)


def test_a_driver_that_hangs_from_the_start_costs_the_identity_alone(
    fake: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, release = fake("h200"), threading.Event()
    monkeypatch.setattr(library, "nvmlInit", lambda: release.wait(60), raising=False)
    monkeypatch.setattr("auditor.hardware.doors._ANSWER_WITHIN_S", 0.3)
    try:
        reading, _ = run()
    finally:
        release.set()
    assert "the driver hangs" in reading.devices[0][0]["no_gpu"]
    assert reading.operations.by_family["matmul"] == 4 * PRODUCT


def test_a_driver_that_hangs_does_not_hold_up_a_run_that_is_short(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, release = fake("h200"), threading.Event()
    monkeypatch.setattr(library, "nvmlInit", lambda: release.wait(60), raising=False)
    began = time.monotonic()
    try:
        with Auditor(out=tmp_path / "short", second_opinion="false"):
            torch.ones(8, 8) @ torch.ones(8, 8)
    finally:
        release.set()
    assert time.monotonic() - began < 4  # a second of it for the driver
    reading = read_ledger(tmp_path / "short", recount=None)
    assert reading.operations.by_family["matmul"] == PRODUCT
    assert "the driver hangs" in reading.devices[0][0]["no_gpu"]


def test_a_monitor_that_root_alone_may_read_is_a_gap_and_energy_is_still_seen(fake: Any, run: Any, h200: Any) -> None:
    fake({**h200, "gpm": Failure(pynvml.NVML_ERROR_NO_PERMISSION)})
    reading, _ = run()
    assert messages(reading).count("Insufficient Permissions") == 1
    assert not any(gap.lower_bound for gap in reading.gaps)
    assert "energy_mj" in reading.hardware[-1].values


def test_a_partition_changed_under_the_run_is_told(fake: Any, run: Any) -> None:
    library = fake("h200", "h200")
    library.recorded[1]["UUID"] = "GPU-2"
    reading, _ = run(lambda: library.recorded[0].update(MigMode=[1, 1]))
    (told,) = (note for note in reading.hardware if note.event != "observed")
    assert told.event == "changed"
    assert {"mig_mode": "enabled", "was": "disabled"}.items() <= told.values.items()
    assert int(told.values["elapsed_us"]) > 1_000_000
