"""On a GPU: the kernels execute what they say, the probe keeps to its limits, and profiled steps are accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from auditor.config import load as load_settings
from auditor.device import build, probe, rates
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.session.session import Session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]


@pytest.fixture(scope="module")
def module():
    pytest.importorskip("cuda.core", reason="cuda-core compiles the kernels")
    return build.load(rates.SOURCE, 0)


@pytest.mark.parametrize("kernel", rates.KERNELS, ids=lambda kernel: kernel.name)
def test_the_results_add_up_to_the_multiply_adds_that_a_kernel_says_it_executes(module, kernel):
    grid, block = 2, 64
    results = torch.zeros(grid * block, dtype=torch.float64, device="cuda")
    macs = torch.zeros(1, dtype=torch.int64, device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    words = (results.data_ptr(), macs.data_ptr(), 2, kernel.one)
    module.launch(kernel.name, *words, grid=grid, block=block, stream=stream)
    assert results.sum().item() == macs.item() * grid
    if torch.cuda.get_device_capability() >= (9, 0):
        assert macs.item() > 0


@pytest.fixture(scope="module")
def measured():
    torch.cuda.reset_peak_memory_stats()
    found = probe.measure(0)
    return found, torch.cuda.max_memory_reserved()


def test_the_probe_keeps_to_its_time_and_memory(measured):
    found, reserved_bytes = measured
    assert found.seconds <= 25  # twenty, and what was under way
    assert reserved_bytes <= 1.2 * probe.LIMIT_BYTES  # the library's workspace beside our own


def test_the_probe_measures_what_the_device_has(measured):
    found, _ = measured
    properties = torch.cuda.get_device_properties(0)
    assert found.uuid == f"GPU-{properties.uuid}"
    assert {"fp32", "fp64", "fp16", "fp16_vector"} <= found.rates_tera.keys(), found.not_measured
    if find_spec("cuda"):
        assert found.sm_count == properties.multi_processor_count
        assert 0.4 * properties.L2_cache_size <= found.l2_bytes <= 1.2 * properties.L2_cache_size
        assert found.dram_gb_per_s > 100
    assert found.rates_tera["fp16"] > found.rates_tera["fp32"] > 0


def test_the_verb_measures_in_a_process_of_its_own():
    command = [sys.executable, "-m", "auditor", "probe", "--json", "--device", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    (device,) = json.loads(done.stdout)["devices"]
    assert device["measured"]["uuid"] == device["declared"]["uuid"]


@pytest.fixture
def audited(tmp_path):
    """An audited block with coverage every two steps, and the coverages that its ledger holds."""
    settings = load_settings(
        {"coverage_every": "2", "second_opinion": "false", "strict": "true", "counter": "native"}, environment={}
    )

    def audit(block):
        session = Session(tmp_path / "run", settings, run_id="0" * 32, command=("test",), eager=True)
        session.start()
        try:
            block()
        finally:
            session.stop()
        reading = read_ledger(tmp_path / "run", recount=Recount(price=Pricer().price, digest=TABLE.digest))
        return [seen for seen in reading.hardware if seen.event == "coverage"]

    return audit


def _steps(number: int, more=None, compiled: bool = False):
    plain = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 1024)).cuda()
    model = torch.compile(plain) if compiled else plain
    optimizer = torch.optim.AdamW(plain.parameters())
    x = torch.randn(4096, 1024, device="cuda")

    def block():
        for _ in range(number):
            model(x).square().mean().backward()
            if more is not None:
                more()
            optimizer.step()
            optimizer.zero_grad()

    return block


@pytest.mark.parametrize("compiled", [False, True])
def test_the_kernels_of_a_step_are_explained(audited, compiled):
    (seen,) = audited(_steps(3, compiled=compiled))
    assert seen.device == f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    assert seen.values["what"] == "kernels"
    assert float(seen.values["share"]) > 0.99, seen.values


def test_a_kernel_of_the_users_own_is_named(audited, module):
    blocks = torch.zeros(4096, dtype=torch.int64, device="cuda")

    def own_kernel():
        stream = torch.cuda.current_stream().cuda_stream
        module.launch("reside", blocks.data_ptr(), 4096, 20_000_000, grid=1, block=32, stream=stream)

    (seen,) = audited(_steps(3, more=own_kernel))
    assert int(seen.values["unexplained_ns.reside"]) > 10_000_000
    assert float(seen.values["share"]) < 0.9


def test_a_replayed_graph_that_was_counted_is_explained(audited):
    x = torch.randn(2048, 2048, device="cuda")
    weight = torch.randn(2048, 2048, device="cuda", requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1e-6)

    def block():
        (x @ x).sum().item()  # the library is there before the capture
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            x @ x
        for _ in range(3):
            graph.replay()
            weight.grad = torch.zeros_like(weight)
            optimizer.step()

    (seen,) = audited(block)
    assert float(seen.values["share"]) > 0.99, seen.values
