"""What `ncu` prints is read, and what it cannot give is a reason.

The samples have the form of the tables that ``ncu --csv --metrics`` prints (one line for each kernel and counter,
numbers with separators of thousands, counters that a GPU lacks as ``n/a``), as it stands in the outputs that public
repositories keep as test data; their kernels and numbers are made up.
"""

from __future__ import annotations

import pytest

HEAD = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'
    '"CC","Section Name","Metric Name","Metric Unit","Metric Value"'
)
PLACE = '"1","7","(384, 1, 1)","(132, 1, 1)","0","9.0","Command line profiler metrics"'


def line(number: int, kernel: str, metric: str, value: str, unit: str = "") -> str:
    return f'"{number}","4242","python3","127.0.0.1","{kernel}",{PLACE},"{metric}.sum","{unit}","{value}"'


TENSOR = "sm__ops_path_tensor_src_bf16_dst_fp32"
FFMA = "smsp__sass_thread_inst_executed_op_ffma_pred_on"
FADD = "smsp__sass_thread_inst_executed_op_fadd_pred_on"
GEMM = "void cutlass::Kernel<gemm, Shape<128, 256, 64>>(Params)"
SAMPLE = "\n".join(
    [
        "==PROF== Connected to process 4242 (/usr/bin/python3.12)",
        "something that the program printed, with a comma",
        '==PROF== Profiling "Kernel" - 0: 0%....50%....100% - 4 passes',
        HEAD,
        line(0, GEMM, TENSOR, "17,179,869,184"),
        line(0, GEMM, FFMA, "8,388,608", "inst"),
        line(0, GEMM, FADD, "0", "inst"),
        line(1, "sum", TENSOR, "0"),
        line(1, "sum", FFMA, "0", "inst"),
        line(1, "sum", FADD, "4,194,304", "inst"),
        "==PROF== Disconnected from process 4242",
    ]
)


@pytest.fixture
def ncu(benchmark):
    return benchmark("ncu")


def test_the_table_is_found_among_what_else_is_printed(ncu):
    readings = ncu.read_csv(SAMPLE)
    assert len(readings) == 6
    assert readings[0] == ncu.Reading(kernel=GEMM, metric=f"{TENSOR}.sum", value=2 * 2048 * 2048 * 2048)
    found = ncu.sums(readings)
    assert found == {TENSOR: 17179869184, FFMA: 8388608, FADD: 4194304}
    assert ncu.vector_ops(found) == 2 * 8388608 + 4194304


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ncu printed no table"),
        ("==PROF== Connected\n==ERROR== Unknown Error on device 0.\n", "==ERROR== Unknown Error on device 0."),
        (
            "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters",
            "ERR_NVGPUCTRPERM: this user may not read the GPU's counters",
        ),
        (HEAD, "ncu printed no table"),
        ('"a","b"\n"1","2"', "ncu printed no table"),
        (f"{HEAD}\n{line(0, 'k', TENSOR, 'n/a')}", f"{TENSOR}.sum of k is 'n/a'"),
        (f"{HEAD}\n{line(0, 'k', TENSOR, '97.03')}", f"{TENSOR}.sum of k is '97.03'"),
    ],
)
def test_what_cannot_be_read_is_a_reason(ncu, text, reason):
    with pytest.raises(ncu.UnavailableError, match=f"^{__import__('re').escape(reason)}$"):
        ncu.sums(ncu.read_csv(text))


def _ncu(tmp_path, text: str) -> str:
    program = tmp_path / "ncu"
    program.write_text(
        f"#!/bin/sh\ncase \"$1\" in --query-metrics) cat <<'E'\n{text}\nE\n;; *) cat <<'E'\n{SAMPLE}\nE\n;; esac\n"
    )
    program.chmod(0o755)
    return str(program)


def test_a_gpu_without_the_counter_says_which_it_has(ncu, tmp_path):
    known = "Device NVIDIA Example (GX100)\nsm__ops_path_tensor_src_fp16    Counter    # of ops\ngpu__time  Counter  x"
    with pytest.raises(ncu.UnavailableError, match=f"no {TENSOR}; it has sm__ops_path_tensor_src_fp16$"):
        ncu.measure("matmul", _ncu(tmp_path, known))


def test_only_counters_that_the_gpu_has_are_asked_for(ncu, tmp_path):
    program = _ncu(tmp_path, f"{TENSOR}   Counter  # of ops\n{FFMA}   Counter  # of instructions")
    assert ncu.measure("matmul", program)[TENSOR] == 17179869184


def test_a_missing_ncu_is_a_reason(ncu, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = list(ncu.compare())
    assert [row["case"] for row in rows] == ["matmul", "convolution", "attention"]
    assert {row["problem"] for row in rows} == {"ncu is not installed (it comes with Nsight Compute)"}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("matmul", 3 * 2 * 512 * 256 * 128),
        ("convolution", 3 * 2 * 2 * 32 * 32 * 32 * 32 * 9),
        ("attention", (2 + 4 + 1) * 2 * 4 * 16 * 256 * 256 * 64),  # the scores once more in the backward kernel
    ],
)
def test_the_auditor_counts_what_the_step_comes_to_by_hand(ncu, case, expected):
    counted = ncu.count(case, "cpu", shrink=8)
    assert counted["matrix"] == expected
    assert counted["unpriced"] == 0


def test_counted_and_counters_are_held_together(ncu, monkeypatch):
    monkeypatch.setattr(ncu, "find_ncu", lambda: "ncu")
    monkeypatch.setattr(ncu, "measure", lambda case, program: {TENSOR: 1010, FFMA: 4})
    monkeypatch.setattr(ncu, "_counted", lambda case: {"matrix": 1000, "other": 9})
    assert [row["tensor_over_counted"] for row in ncu.compare()] == [1.01] * 3


def test_a_figure_outside_its_bounds_is_marked(benchmark, monkeypatch):
    from decimal import Decimal

    from auditor.hardware.measured import Measurement

    report = benchmark("hardware")
    identity = {"kind": "gpu", "name": "NVIDIA H200", "uuid": "GPU-1", "pci_device_id": "10de:2335"}
    monkeypatch.setattr(report, "observe", lambda: (identity | H200,))
    measured = Measurement(
        uuid="GPU-1",
        rates_tera={"bf16": Decimal(700), "fp16": Decimal(120)},
        dram_gb_per_s=Decimal(4100),
        l2_bytes=None,
        sm_count=132,
        seconds=Decimal(9),
        not_measured={"l2_bytes": "no step"},
    )
    rows = list(report.probed([measured]))
    within = {row["figure"]: row.get("within") for row in rows}
    assert within == {
        "bf16": True,
        "fp16": False,
        "memory": True,
        "multiprocessors": True,
        "seconds": None,
        "l2_bytes": None,
    }
    text = report.to_markdown({"device": "x"}, rows, [{"case": "matmul", "problem": "no | ncu"}])
    assert "| NVIDIA H200 | fp16 | 120 | 989.4 | 0.121 | 0.60 to 1.12 | **no** |" in text
    assert "| NVIDIA H200 | l2_bytes | no step |  |  |  |  |" in text
    assert "| matmul |  | no / ncu |" in text


H200 = {
    "pci_subsystem_id": "10de:18be",
    "memory_bytes": str(143771 * 2**20),
    "num_cores": "16896",
    "compute_capability": "9.0",
}
