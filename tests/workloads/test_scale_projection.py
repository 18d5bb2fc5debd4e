"""docs/scale.md says what the unit costs come to, and these say what the reports measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = json.loads((ROOT / "benchmarks" / "unit_costs.json").read_text())


@pytest.fixture(scope="module")
def projection():
    spec = importlib.util.spec_from_file_location("scale_projection", ROOT / "benchmarks" / "scale_projection.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_document_is_what_the_unit_costs_come_to(projection):
    text = projection.DOCUMENT.read_text()
    assert projection.inserted(text) == text, "run: python benchmarks/scale_projection.py --write"


@pytest.mark.parametrize("name", [name for name, unit in UNITS.items() if unit["report"]])
def test_a_unit_cost_stands_in_the_report_that_it_names(name):
    unit = UNITS[name]
    assert unit["row"] in (ROOT / "benchmarks" / "results" / unit["report"]).read_text()


def test_a_projection_is_the_sum_over_ranks_intervals_and_attempts(projection):
    job = projection.Job(ranks=3, days=2, attempts=5)
    units = projection.read_units() | {"merge_cpu_us_of_a_segment": 2_000_000, "verify_records_per_cpu_s": 1000}
    found = projection.project(job, units | {"interval_bytes": 300, "segment_bytes": 20_000})
    assert job.intervals == 2 * 24 * 60
    assert found["all_bytes"] == 3 * (2880 * 300 + 5 * 20_000)
    assert found["merge_cpu_s"] == 3 * 5 * 2
    assert found["verify_cpu_s"] == 3 * 2880 * 2 / 1000
