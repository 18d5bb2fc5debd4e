"""`auditor run --probe --coverage-every`, and `auditor probe`, as users start them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from tests.integrations.conftest import auditor_environment

TRAINING = """
import torch
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(7):
    model(torch.ones(4, 8)).sum().backward()
    optimizer.step()
print("done")
"""
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
def test_a_run_records_what_was_measured_before_it_and_what_its_steps_showed(write_script, audited, read):
    done, directory = audited(
        sys.executable,
        write_script(TRAINING),
        options=("--probe", "--coverage-every", "3", "--no-second-opinion"),
    )
    assert (done.returncode, done.stdout) == (0, b"done\n")
    reading = read(directory)
    assert reading.verdict == "UNANCHORED", (reading.reasons, done.stderr)
    events = [(seen.event, seen.values.get("step"), seen.values.get("share")) for seen in reading.hardware]
    assert {("coverage", "4", "1.0000"), ("coverage", "7", "1.0000")} <= set(events)
    (measured,) = [seen.values for seen in reading.hardware if seen.event == "measured"]
    assert measured["not_measured.device"].startswith("no CUDA device")
    (gap,) = reading.gaps
    assert "not measured before the training, as was asked: no CUDA device" in gap.message
    assert b"USDT" not in done.stderr  # the profiler's library is asked to be quiet


@no_gpu
def test_the_probe_says_that_there_is_no_device_and_ends_with_one():
    command = [sys.executable, "-m", "auditor", "probe"]
    told = subprocess.run(command, capture_output=True, text=True, env=auditor_environment(), timeout=120)
    assert told.returncode == 1
    assert told.stdout.startswith("Nothing was measured: no CUDA device")
    plain = subprocess.run([*command, "--json"], capture_output=True, text=True, env=auditor_environment(), timeout=120)
    document = json.loads(plain.stdout)
    assert (plain.returncode, document["schema"]) == (1, "auditor.probe/1")
    (device,) = document["devices"]
    assert device["catalogued"]["chip"] is None
    assert device["measured"]["not_measured.device"].startswith("no CUDA device")


def test_a_device_is_named_by_its_number(capsys):
    from auditor.cli.main import main

    assert main(["probe", "--device", "first"]) == 2
    assert "expected a number from 0 up" in capsys.readouterr().err


H200 = {
    "kind": "gpu",
    "name": "NVIDIA H200",
    "uuid": "GPU-1",
    "pci_device_id": "10de:2335",
    "pci_subsystem_id": "10de:18be",
    "memory_bytes": str(143771 * 2**20),
    "num_cores": "16896",
    "compute_capability": "9.0",
}


def test_what_was_measured_stands_beside_what_is_declared_and_catalogued(monkeypatch, capsys):
    from decimal import Decimal

    from auditor.cli import probe
    from auditor.cli.main import main
    from auditor.hardware.measured import Measurement

    measured = Measurement(
        uuid="GPU-1",
        rates_tera={"bf16": Decimal("692.6"), "fp16_vector": Decimal(120)},
        dram_gb_per_s=Decimal(4300),
        l2_bytes=50 << 20,
        sm_count=132,
        seconds=Decimal("11.2"),
        not_measured={"int4": "no product"},
    )
    monkeypatch.setattr(probe, "measure_visible", lambda index: [measured])
    monkeypatch.setattr(probe, "observe", lambda: (H200,))
    assert main(["probe"]) == 0
    text = capsys.readouterr().out
    lines = {line.split("  ")[1]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert text.startswith("NVIDIA H200 (GPU-1), measured in 11.2 s\n")
    assert lines["bf16, tera/s"][-3:] == ["989.4", "692.6", "0.70"]
    assert lines["fp16_vector, tera/s"][-3:] == ["-", "-", "120"]
    assert lines["multiprocessors"][-3:] == ["132", "132", "1.00"]
    assert "  not measured: int4: no product" in text
