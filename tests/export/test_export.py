"""What stands in an export, that it is written once, and that engines come to the ledgers' own totals."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from auditor.cli.main import main
from auditor.errors import ExitCode
from auditor.ledger import SigningKey, load_or_create
from tests.ledger.conftest import Run

pa = pytest.importorskip("pyarrow", reason="needs the extra 'parquet'")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'parquet'")
pytest.importorskip("duckdb", reason="needs the extra 'duckdb'")

SIZE_4 = 96 * 4 * 6
SCHEMA = Path(__file__).parents[2] / "configs" / "schema" / "export.schema.json"
H200 = {"kind": "gpu", "name": "NVIDIA H200", "pci_device_id": "10de:2335", "pci_subsystem_id": "10de:18be"}


@dataclass
class Lake:
    """Ledgers in a directory, and what is exported of them."""

    directory: Path
    key: SigningKey
    capsys: pytest.CaptureFixture[str]

    @property
    def place(self) -> Path:
        return self.directory / "lake"

    def run(self, name: str, **changes) -> Run:
        run = Run(self.directory / "audits" / name, self.key, run_id=name)
        run.segment(**changes)
        return run

    def verb(self, *arguments: object, code: int = 0) -> dict:
        self.capsys.readouterr()
        assert main(["export", *map(str, arguments), "--parquet", str(self.place), "--json"]) == code
        shown = self.capsys.readouterr()
        self.told = shown.err
        document = json.loads(shown.out)
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))
        return document

    def export(self, *arguments: object, code: int = 0) -> dict[str, str]:
        found = self.verb(*(arguments or [self.directory / "audits"]), code=code)["exported"]
        return {one["run"] or one["path"]: one["outcome"] for one in found}

    def totals(self, by: str) -> dict[str, int]:
        return {one["key"]: int(one["operations"]) for one in self.verb("--by", by)["totals"]}

    def rows(self) -> list[dict]:
        return pq.read_table(self.place).to_pylist()

    def report(self, run: Run) -> int:
        """What `auditor report` says of a ledger."""
        self.capsys.readouterr()
        main(["report", str(run.directory), "--format", "json"])
        return int(json.loads(self.capsys.readouterr().out)["operations"]["total"])


@pytest.fixture
def lake(tmp_path, capsys) -> Lake:
    return Lake(tmp_path, load_or_create(tmp_path / "key.pem"), capsys)


def test_the_schema_is_the_documented_one(lake):
    lake.run("one")
    lake.export()
    (path,) = lake.place.iterdir()
    documented = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    for field in pq.read_schema(path):
        assert f"| `{field.name}` | {field.type} |" in documented
    types = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert {kind for name, kind in types.items() if name.endswith("_ops")} == {"decimal128(38, 0)"}
    assert list(types) == [line.split("`")[1] for line in documented.splitlines() if line.startswith("| `")]


def test_totals_are_those_of_the_reports_to_the_operation(lake):
    huge = 10**25 + 1
    runs = [
        lake.run("one", host={"hostname": "a", "pid": "1"}, devices=(H200,), size=huge),
        lake.run("two", host={"hostname": "b", "pid": "1"}, model="large", size=huge),
        lake.run("three", host={"hostname": "b", "pid": "1"}, model="large"),
    ]
    runs[2].launcher()
    lake.export(lake.directory / "audits" / "one", "--site", "north")
    lake.export(lake.directory / "audits" / "two", lake.directory / "audits" / "three", "--site", "south")
    one, two, three = map(lake.report, runs)
    assert one == 96 * huge * 6  # no float holds it
    expected = {
        "model": {"tiny": one, "large": two + three},
        "site": {"north": one, "south": two + three},
        "chip": {"h200-sxm": one, "a processor": two + three, "": 0},
        "month": {runs[0].read().started[:7]: one + two + three},
        "host": {"a": one, "b": two + three, "": 0},
        "run_id": {"one": one, "two": two, "three": three},
        "verdict": {"UNANCHORED": one + two + three},
    }
    assert {by: lake.totals(by) for by in expected} == expected


def test_a_second_export_writes_only_what_has_changed(lake):
    run = lake.run("one", seal=False)
    lake.run("two")
    assert lake.export() == {"one": "added", "two": "added"}
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in lake.place.iterdir()}
    assert lake.export() == {"one": "unchanged", "two": "unchanged"}
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in lake.place.iterdir()} == before
    run.segment(1, attempt=1)
    assert lake.export() == {"one": "grown", "two": "unchanged"}
    assert lake.totals("run_id") == {"one": SIZE_4 * 3 // 2, "two": SIZE_4}
    assert len(list(lake.place.iterdir())) == 2


def test_a_run_exported_from_two_copies_stands_there_once(lake):
    run = lake.run("one")
    shutil.copytree(run.directory, lake.directory / "audits" / "copy")
    assert set(lake.export().values()) <= {"added", "unchanged"}
    assert lake.totals("run_id") == {"one": SIZE_4}


def test_a_false_ledger_has_rows_and_no_amounts(lake):
    run = lake.run("one")
    lake.run("two")
    lake.export()
    path = run.path()
    path.write_bytes(path.read_bytes().replace(b'"tiny"', b'"Tiny"', 1))
    found = lake.export(code=ExitCode.INVALID)
    assert "INVALID" in found.values()
    assert "INVALID" in lake.told
    by = {one["key"]: one for one in lake.verb("--by", "verdict")["totals"]}
    assert by["UNANCHORED"]["operations"] == str(2 * SIZE_4)  # what was sound when it was exported, and the other
    assert (by["INVALID"]["operations"], by["INVALID"]["left_out"]) == ("0", 1)


def test_a_ledger_damaged_further_on_counts_no_more_in_any_sum(lake):
    run = lake.run("one")
    lake.export()
    path = run.path()
    data = path.read_bytes()
    place = data.index(b'"interval"', data.index(b'"interval"') + 1)
    path.write_bytes(data[:place] + b'"intervaL"' + data[place + 10 :])
    assert lake.export(code=ExitCode.INVALID) == {"one": "INVALID"}
    assert {(row["verdict"], row["counted"], row["executed_ops"]) for row in lake.rows()} == {("INVALID", False, None)}
    assert {row["segment_state"] for row in lake.rows()} == {"damaged"}
    assert lake.totals("model") == {"tiny": 0}


def test_an_open_segment_makes_the_sum_a_floor(lake):
    lake.run("one", seal=False)
    lake.export()
    assert {(row["verdict"], row["complete"], row["segment_state"]) for row in lake.rows()} == {
        ("INCOMPLETE", False, "open")
    }
    (total,) = lake.verb("--by", "model")["totals"]
    assert total["complete"] is False
    assert main(["export", "--parquet", str(lake.place), "--by", "model"]) == 0
    assert "at least" in lake.capsys.readouterr().out


def test_a_ledger_that_was_cut_or_written_anew_changes_nothing(lake):
    run = lake.run("one")
    lake.export()
    before = lake.rows()
    whole = run.path().read_bytes()
    lines = whole.splitlines(keepends=True)
    run.path().write_bytes(b"".join(lines[: next(n for n, line in enumerate(lines) if b'"interval"' in line) + 2]))
    assert lake.export(code=ExitCode.INVALID) == {"one": "DIVERGED"}
    assert "left as it is" in lake.told
    shutil.rmtree(run.directory)
    lake.run("one", intervals=1)
    assert lake.export(code=ExitCode.INVALID) == {"one": "DIVERGED"}
    assert lake.rows() == before


def test_an_amount_that_the_format_does_not_hold_is_refused(lake):
    lake.run("one", size=10**36)
    assert main(["export", str(lake.directory / "audits"), "--parquet", str(lake.place)]) == ExitCode.USAGE
    told = lake.capsys.readouterr().err
    assert "rank-00000.attempt-000.jsonl" in told
    assert "38 digits" in told
    assert not lake.place.exists()


def test_amounts_of_each_bucket_are_those_of_the_segment(lake):
    run = lake.run("one", size=10**24)
    lake.export()
    (segment,) = run.read().segments
    expected = {(*map(str, bucket), *map(Decimal, amount)) for bucket, amount in segment.operations}
    names = ("phase", "family", "precision", "purpose", "algorithmic_ops", "repeated_ops", "skippable_ops")
    assert {tuple(row[name] for name in names) for row in lake.rows()} == expected
    assert {row["head"] for row in lake.rows()} == {segment.head.root}


@pytest.mark.parametrize(
    ("name", "content"), [("damaged", b"PAR1 and nothing"), ("of somebody else", None)], ids=["damaged", "foreign"]
)
def test_a_file_that_is_none_of_ours_is_named(lake, name, content):
    lake.run("one")
    lake.export()
    (path,) = lake.place.iterdir()
    if content is None:
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        path.write_bytes(content)
    assert main(["export", str(lake.directory / "audits"), "--parquet", str(lake.place)]) == ExitCode.USAGE
    told = lake.capsys.readouterr().err
    assert path.name in told
    assert "written anew" in told


def test_a_newer_export_is_left_alone(lake):
    lake.run("one")
    lake.export()
    (path,) = lake.place.iterdir()
    table = pq.read_table(path)
    metadata = table.schema.metadata | {b"auditor.schema": b"auditor.export/2"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert main(["export", str(lake.directory / "audits"), "--parquet", str(lake.place)]) == ExitCode.USAGE
    assert "newer auditor" in lake.capsys.readouterr().err


def test_what_is_no_ledger_is_named_and_the_others_are_exported(lake):
    lake.run("one")
    found = lake.export(lake.directory / "nothing", lake.directory / "audits", code=ExitCode.USAGE)
    assert found == {str(lake.directory / "nothing"): "refused", "one": "added"}


@pytest.mark.parametrize("arguments", [[], ["--by", "model"]], ids=["nothing to do", "no export"])
def test_what_there_is_nothing_of_is_a_usage_error(lake, arguments):
    assert main(["export", "--parquet", str(lake.place), *arguments]) == ExitCode.USAGE
