"""Spark and Ray, in local mode, come to what DuckDB and the ledgers come to: to the operation."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from auditor.cli.main import main
from auditor.ledger import load_or_create
from tests.ledger.conftest import Run

pytest.importorskip("pyarrow", reason="needs the extra 'parquet'")
pytest.importorskip("duckdb", reason="needs the extra 'duckdb'")
pytestmark = pytest.mark.filterwarnings("default")  # what engines warn of is theirs
HUGE = 10**25 + 1


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("fleet")
    key = load_or_create(place / "key.pem")
    for number, model in enumerate(("large", "large", "small")):
        Run(place / "audits" / f"run-{number}", key, run_id=f"run-{number}").segment(model=model, size=HUGE + number)
    false = place / "audits" / "run-2" / "segments" / "rank-00000.attempt-000.jsonl"
    data = false.read_bytes()
    middle = data.rindex(b'"interval"')
    false.write_bytes(data[:middle] + b'"intervaL"' + data[middle + 10 :])
    assert main(["export", str(place / "audits"), "--parquet", str(place / "lake")]) == 4
    return place / "lake"


@pytest.fixture(scope="module")
def engines():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "engines.py"
    spec = importlib.util.spec_from_file_location("engines", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["duckdb", "spark", "ray"])
def test_every_engine_comes_to_the_ledgers_totals(lake, engines, name):
    if name == "spark":
        pytest.importorskip("pyspark", reason="runs under `make test-engines`")
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java 17 or newer, and there is none")
    if name == "ray":
        pytest.importorskip("ray.data", reason="runs under `make test-engines`")
    expected = 96 * 6 * (HUGE + HUGE + 1)
    assert engines.ENGINES[name](lake, "model") == {"large": expected, "small": 0}
