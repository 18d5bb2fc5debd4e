"""Measuring a device: what fails is a reason, what no device shows is not invented, and the process is gone after."""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.device import memory, probe, probing, rates, timing
from auditor.errors import DeviceError
from auditor.hardware.measured import Measurement

MIB = 1 << 20
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
def test_without_a_device_that_is_all_that_is_said():
    measured = probe.measure(0)
    assert measured.not_measured == {"device": f"no CUDA device: torch {torch.__version__} sees none"}
    assert (measured.uuid, measured.rates_tera, measured.dram_gb_per_s, measured.l2_bytes, measured.sm_count) == (
        "",
        {},
        None,
        None,
        None,
    )
    assert Measurement.from_mapping(measured.to_mapping()) == measured


@pytest.fixture
def device(monkeypatch):
    """A device as torch would show it, with every way to measure replaced."""
    cuda = torch.cuda
    properties = SimpleNamespace(uuid="00000000-0000-0000-0000-000000000001", major=9, minor=0, multi_processor_count=3)
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "device", lambda _: __import__("contextlib").nullcontext())
    monkeypatch.setattr(cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (80 << 30, 80 << 30))
    monkeypatch.setattr(cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(probe, "load", lambda name, index: "module")
    monkeypatch.setattr(probe, "multiprocessors", lambda module: 132)
    monkeypatch.setattr(rates, "library_tera", lambda product, **_: Decimal(100))
    monkeypatch.setattr(rates, "kernel_tera", lambda kernel, module, **_: Decimal(60))
    monkeypatch.setattr(memory, "Buffers", lambda module, limit_bytes: "buffers")
    monkeypatch.setattr(memory, "gb_per_s", lambda buffers, **_: Decimal(4000))
    monkeypatch.setattr(memory, "l2_bytes", lambda buffers, **_: 50 * MIB)
    return monkeypatch


def test_the_highest_of_all_ways_stands_for_a_type(device):
    measured = probe.measure(0)
    assert measured.uuid == "GPU-00000000-0000-0000-0000-000000000001"
    assert measured.rates_tera["bf16"] == 100
    assert measured.rates_tera["fp16_vector"] == 60
    assert (measured.sm_count, measured.dram_gb_per_s, measured.l2_bytes) == (132, 4000, 50 * MIB)
    assert measured.not_measured == rates.UNMEASURED


def test_a_part_that_fails_is_a_reason_and_the_others_are_measured(device):
    def fail(*_, **__):
        raise RuntimeError("illegal\naddress")

    device.setattr(rates, "library_tera", fail)
    device.setattr(memory, "l2_bytes", fail)
    measured = probe.measure(0)
    assert measured.rates_tera["bf16"] == 60
    assert measured.not_measured["bf16 (library)"] == "illegal address"
    assert measured.not_measured["fp4"] == "fp4 (library): illegal address"
    assert "fp4 (library)" not in measured.not_measured
    assert measured.not_measured["l2_bytes"] == "illegal address"
    assert measured.dram_gb_per_s == 4000


def test_without_the_compiler_the_library_still_measures(device):
    def fail(*_):
        raise DeviceError("cuda-core is not installed")

    device.setattr(probe, "load", fail)
    measured = probe.measure(0)
    assert measured.rates_tera["bf16"] == 100
    assert {measured.not_measured[name] for name in ("sm_count", "dram_gb_per_s", "l2_bytes", "fp16_vector")} == {
        "cuda-core is not installed",
        "fp16_vector (registers): cuda-core is not installed",
    }
    assert measured.not_measured["bf16 (registers)"] == "cuda-core is not installed"


def test_a_device_that_is_lost_is_a_reason(device):
    def lost(_):
        raise RuntimeError("the device fell off the bus")

    device.setattr(torch.cuda, "get_device_properties", lost)
    assert probe.measure(0).not_measured == {"device": "the device fell off the bus"}


def test_a_number_past_the_devices_is_a_reason(device):
    assert probe.measure(1).not_measured == {"device": "no CUDA device 1: torch sees 1"}


class _Event:
    """An event of a device whose calls take two milliseconds each."""

    calls = 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = _Event.calls

    def synchronize(self):
        """Nothing is under way."""

    def elapsed_time(self, end):
        return (end.at - self.at) * 2.0


def test_a_call_is_timed_by_the_devices_clock(monkeypatch):
    def run():
        _Event.calls += 1

    monkeypatch.setattr(torch.cuda, "Event", _Event)
    assert timing.fastest_s(run, until_s=time.monotonic() + 60) == pytest.approx(0.002)
    with pytest.raises(DeviceError, match="no time left"):
        timing.fastest_s(run, until_s=time.monotonic() - 1)
    with pytest.raises(DeviceError, match="did not go on"):
        timing.fastest_s(lambda: None, until_s=time.monotonic() + 60)


def test_a_rate_is_in_tera_operations_per_second():
    assert rates.tera(2 * 8192**3, 0.00111) == Decimal("990.551")


@given(st.integers(1 << 20, 1 << 40), st.sampled_from([1, 2, 4, 8]))
def test_four_squares_fit_into_the_limit_unless_it_is_tiny(limit_bytes, operand_bytes):
    side = rates.longest_side(limit_bytes, operand_bytes)
    assert side % 512 == 0
    assert 512 <= side <= 8192
    assert 4 * operand_bytes * side**2 <= limit_bytes or side == 512
    assert side == 8192 or 4 * operand_bytes * (side + 512) ** 2 > limit_bytes


SIZES = memory._sizes(384 * MIB)


@given(st.integers(4, 150), st.floats(200, 400), st.floats(0.5, 3), st.randoms(use_true_random=False))
def test_a_cache_is_found_by_the_step_of_its_latencies(mib, hit, penalty, random):
    latencies = [
        hit * (1 + penalty * max(0, 1 - mib * MIB / size)) * (1 + 0.01 * random.uniform(-1, 1)) for size in SIZES
    ]
    assert memory.capacity(SIZES, latencies) / MIB == pytest.approx(mib, rel=0.15, abs=1)


@pytest.mark.parametrize("latencies", [[300.0] * len(SIZES), [300.0 + 5 * i / len(SIZES) for i in range(len(SIZES))]])
def test_latencies_without_a_step_show_no_cache(latencies):
    with pytest.raises(DeviceError, match="no step"):
        memory.capacity(SIZES, latencies)


def test_the_sets_rise_to_the_buffers_size():
    assert SIZES[0] == MIB
    assert SIZES[-1] <= 384 * MIB < 1.3 * SIZES[-1]
    assert all(size % 128 == 0 for size in SIZES)
    assert sorted(set(SIZES)) == SIZES


def _program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def test_the_probe_runs_in_a_process_of_its_own():
    text = "import json, sys; print(json.dumps([{'uuid': sys.argv[1], 'seconds': '0'}]))"
    (measured,) = probing.measure_visible(3, program=_program(text))
    assert measured.uuid == "3"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise SystemExit('the driver is broken')", "ended with code 1: the driver is broken"),
        ("print('nothing')", "is no measurement"),
        ("print('[1]')", "is no measurement"),
        ('print(\'[{"uuid": ""}]\')', "is no measurement: not a measurement: seconds missing"),
    ],
)
def test_what_goes_wrong_in_it_is_told(text, told):
    with pytest.raises(DeviceError, match=told):
        probing.measure_visible(program=_program(text))


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(DeviceError, match="cannot be started"):
        probing.measure_visible(program=("/nonexistent/python",))


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path):
    note = tmp_path / "child"
    text = (
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    with pytest.raises(DeviceError, match="took longer than 3 s"):
        probing.measure_visible(program=_program(text), within_s=3)
    child = int(note.read_text())
    for _ in range(100):  # an orphan is cleared away by whoever took it over
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")
