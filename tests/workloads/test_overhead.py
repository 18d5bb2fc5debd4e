"""The benchmark measures what it says, and writes it down as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

VARIANTS = ["bare", "auditor.count()", "Auditor, ledger on", "torch FlopCounterMode", "bare again"]


@pytest.fixture(scope="module")
def measured(script: Path, tmp_path_factory) -> Path:
    root, out = script.parents[2], tmp_path_factory.mktemp("bench")
    short = ["--rounds=2", "--block-s=0.001", "--starts=0", "--device=cpu", "--subjects", "many-small-layers"]
    command = [sys.executable, str(root / "benchmarks" / "overhead.py"), *short, f"--out={out}"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.run(
        command, env=environment, cwd=out, capture_output=True, text=True, timeout=280, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == (out / "overhead.md").read_text(encoding="utf-8")
    return out


def test_the_json_holds_every_round_of_every_variant(measured: Path):
    report = json.loads((measured / "overhead.json").read_text(encoding="utf-8"))
    assert report["schema"] == "auditor.bench/1"
    assert {"device", "cpu", "cores", "python", "torch", "auditor"} <= report["machine"].keys()
    (subject,) = report["steps"]
    assert [variant["variant"] for variant in subject["variants"]] == VARIANTS
    assert subject["operators_per_step"] > 200 * 4  # a product and a ReLU, forward and backward
    for variant in subject["variants"]:
        assert [len(block["steps_s"]) for block in variant["rounds"]] == [3, 3]
        assert variant["ratio"]["lowest"] <= variant["ratio"]["median"] <= variant["ratio"]["highest"]
    assert subject["variants"][0]["ratio"]["median"] == 1


def test_the_markdown_says_where_and_compares_each_variant_with_the_bare_one(measured: Path):
    text = (measured / "overhead.md").read_text(encoding="utf-8")
    assert text.startswith("# Cost of auditing on CPU")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in VARIANTS] == VARIANTS
    assert "python benchmarks/overhead.py --rounds=2" in text
