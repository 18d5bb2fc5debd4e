"""The benchmark measures what it says, judges its goals by it, and writes it down as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

VARIANTS = [
    "bare",
    "auditor.count(), native",
    "Auditor, native, ledger on",
    "torch FlopCounterMode",
    "DeepSpeed profiler, forward only",
    "CodeCarbon, energy",
]
pytestmark = pytest.mark.timeout(600)  # a process for each variant, on a machine that may be busy
SHORT = ["--rounds=2", "--sittings=1", "--block-s=0.001", "--starts=0", "--memory-steps=10100", "--intervals=3"]


@pytest.fixture(scope="module")
def measured(script: Path, tmp_path_factory) -> Path:
    root, out = script.parents[2], tmp_path_factory.mktemp("bench")
    short = [*SHORT, "--device=cpu", "--threads=1", "--subjects", "many-small-layers", "--variants", *VARIANTS]
    command = [sys.executable, str(root / "benchmarks" / "overhead.py"), *short, f"--out={out}"]
    process = subprocess.run(
        command, env=_environment(root), cwd=out, capture_output=True, text=True, timeout=570, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == (out / "overhead.md").read_text(encoding="utf-8")
    return out


def _environment(root: Path) -> dict[str, str]:
    given = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{root}:{given}" if given else str(root)}


def test_the_json_holds_every_round_of_every_variant(measured: Path):
    report = json.loads((measured / "overhead.json").read_text(encoding="utf-8"))
    assert report["schema"] == "auditor.bench/2"
    assert {"device", "cpu", "cores", "python", "torch", "auditor", "other_counters"} <= report["machine"].keys()
    (subject,) = report["steps"]
    assert [variant["variant"] for variant in subject["variants"]] == VARIANTS
    assert subject["operators_per_step"] > 200 * 4  # a product and a ReLU, forward and backward
    problems = {variant["variant"]: variant["problem"] for variant in subject["variants"] if "problem" in variant}
    absent = [
        name for name, package in ((VARIANTS[4], "deepspeed"), (VARIANTS[5], "codecarbon")) if not find_spec(package)
    ]
    assert problems == dict.fromkeys(absent, "not installed")
    for variant in subject["variants"]:
        if variant["variant"] in problems:
            continue
        assert [1 <= len(steps) <= 3 for steps in variant["rounds"]] == [True, True]
        assert variant["ratio"]["lowest"] <= variant["ratio"]["median"] <= variant["ratio"]["highest"]
    assert subject["variants"][0]["ratio"]["median"] == 1


def test_memory_and_intervals_are_measured_bare_and_counted(measured: Path):
    report = json.loads((measured / "overhead.json").read_text(encoding="utf-8"))
    assert [each["variant"] for each in report["memory"]] == ["bare", "native"]
    for each in report["memory"]:
        assert list(each["resident_bytes"]) == ["10000", "10100"]
        assert all(size > 1 << 20 for size in each["resident_bytes"].values())
    assert {len(report["intervals"][name]) for name in ("cut_s", "hand_over_s", "stall_s", "noise_s")} == {3}


def test_the_markdown_says_where_and_compares_each_variant_with_the_bare_one(measured: Path):
    text = (measured / "overhead.md").read_text(encoding="utf-8")
    assert text.startswith("# Cost of auditing on CPU")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in VARIANTS] == VARIANTS
    assert "python benchmarks/overhead.py --rounds=2" in text
    for goal in ("step under the auditor over bare at most 1.10", "at least 50 times less", "memory flat over 10,100"):
        assert goal in text


def test_attaching_is_timed_apart_from_loading(script: Path):
    command = [sys.executable, str(script.parents[1] / "probes.py"), "attach"]
    process = subprocess.run(
        command, env=_environment(script.parents[2]), capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(process.stdout)
    assert found.keys() == {"load_s", "first_s", "second_s", "ledger_s"}
    assert 0 < found["second_s"] < found["first_s"]  # the kernels are wrapped already


def _result(measure: ModuleType, argument: str, steps_s: dict[str, list[list[float]]]):
    variants = [measure.Blocks(variant=name, blocks=blocks) for name, blocks in steps_s.items()]
    return measure.Result(
        argument=argument, subject="net", what="a net", calls=10, steps_per_block=2, variants=variants
    )


def test_a_ratio_compares_with_the_bare_block_of_its_own_round(benchmark):
    steps_s = {"bare": [[1.0, 1.0], [4.0, 4.0]], "other": [[2.0, 2.0], [6.0, 6.0]]}
    result = _result(benchmark("measure"), "transformer", steps_s)
    assert result.variants[1].ratios_to(result.bare) == [2.0, 1.5]
    assert result.variants[1].excess_s(result.bare) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("step_s", "met"),
    [(0.9, [True, True]), (1.1, [True, True]), (1.15, [False, True]), (1.3, [False, False])],
)
def test_the_goals_of_the_worst_case_are_judged_by_the_whole_auditor(benchmark, step_s, met):
    steps_s = {"bare": [[1.0]], "Auditor, native, ledger on": [[step_s]], "torch FlopCounterMode": [[11.0]]}
    judged = benchmark("goals").judge([_result(benchmark("measure"), "many-small-layers", steps_s)], {})
    assert [goal.met for goal in judged] == met


@pytest.mark.parametrize(("late_bytes", "met"), [(1 << 28, True), ((1 << 28) + (1 << 20) + 1, False)])
def test_memory_that_grows_is_not_flat(benchmark, late_bytes, met):
    found = {"variant": "native", "resident_bytes": {"10000": 1 << 28, "100000": late_bytes}}
    (goal,) = benchmark("goals").judge([], {"memory": [found]})
    assert goal.met is met


def test_one_interval_that_holds_the_training_up_fails_the_goal(benchmark):
    found = {"intervals": 2, "cut_s": [1e-5, 2e-3], "hand_over_s": [1e-4, 1e-4], "noise_s": [0.0, 1e-6]}
    (goal,) = benchmark("goals").judge([], {"intervals": found})
    assert not goal.met
    assert goal.measured.startswith("2.000 ms")


def test_what_was_not_measured_has_no_goal(benchmark):
    failed = {"problem": "failed: no reason"}
    problem = {"variant": "native", **failed}
    judged = benchmark("goals").judge([], {"memory": [problem], "intervals": failed, "attaching": [failed]})
    assert judged == []


def test_a_process_that_fails_is_a_row_and_no_number(benchmark, monkeypatch):
    measure = benchmark("measure")
    setting = measure.Setting(device="cpu", threads=1, rounds=1, sittings=1, block_s=0.001)
    result = measure.compare("many-small-layers", ["bare", "no such variant"], setting)
    assert result.find("no such variant") is None
    assert result.variants[1].problem == "failed: KeyError: 'no such variant'"
    assert len(result.bare.blocks) == 1
