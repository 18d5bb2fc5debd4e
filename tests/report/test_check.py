"""`auditor check`: each rule's answer on a ledger, its explanation, the JSON under its schema, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.rules import pack
from tests.report.conftest import Writing, write

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.rules.model import RuleSet

OWN = """\
schema: auditor.rules/1
version: "7"
sources:
  policy: {title: A policy, locator: intranet, read: 2026-11-22}
rules:
  - id: own_line
    kind: model_threshold
    title: Own line
    authority: Us
    citation: P 1
    effective: 2026-01-01
    checked: 2026-11-22
    history:
      - {date: 2026-01-01, status: in_force, enforced: STATE, note: Ours., sources: [policy], certainty: primary}
    threshold: {ops: 1e6, comparison: ">"}
    counter: us_4e091
    sources: [policy]
    certainty: primary
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checked") / "ledger", Writing())


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return pack.load()


@pytest.fixture
def check(ledger: Path, shipped: RuleSet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    from auditor.cli.main import main

    load = pack.load
    monkeypatch.setattr("auditor.rules.load", lambda paths: shipped if paths == pack.shipped() else load(paths))

    def run(*arguments: str, directory: Path = ledger) -> tuple[int, str, str]:
        code = main(["check", str(directory), "--as-of", "2026-11-22", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_small_run_reaches_nothing_and_the_status_of_the_diffusion_rule_is_told(check: Any) -> None:
    code, text, _ = check()
    assert code == 0
    flat = " ".join(text.split())
    for words in (
        "as codified: every rule that is printed as in effect binds",
        "result no line is reached; nearest is us_treasury_outbound_850, ",
        "us_ear_4e091_2025 2.359e6 >= 1e26",
        "codified, not enforced: us_ear_4e091_2025, us_ear_734_9_l",
        "Announced on 2025-05-13 as not to be enforced; still printed",
        "GAO held on 2026-05-12",
        "RIN 0694-AJ90",
        "was last checked on 2025-01-15",
        "Of 2.949e6 operations in the record 2.359e6 count; 589,824 are left out (recomputed activations 393,216,",
        "Nothing follows from these: - Foreign-produced weights, 15 CFR 734.9(l) (us_ear_734_9_l)",
        "not legal advice",
    ):
        assert words in flat, words
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_json_fits_its_schema_and_speaks_of_every_rule(check: Any, root: Path, shipped: RuleSet) -> None:
    schema = json.loads((root / "configs" / "schema" / "check.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    code, text, _ = check("--json")
    found = json.loads(text)
    Draft202012Validator(schema).validate(found)
    told = {one["id"] for one in (*found["models"], *found["cases"])}
    assert told == {rule.id for rule in shipped.rules if rule.kind in ("model_threshold", "case_test")}
    assert [one["digest"] for one in found["packs"]] == [one.digest for one in shipped.packs]
    code, text, _ = check("--json", "--explain", "us_ear_country_cap_2025")
    explained = json.loads(text)
    Draft202012Validator(schema).validate(explained)
    assert explained["explained"]["answer"] == "undetermined"
    line = json.loads(check("--json", "--explain", "us_ear_4e091_2025")[1])
    Draft202012Validator(schema).validate(line)
    (change,) = [one for one in line["explained"]["changes"] if one["name"] == "counted_ops"]
    assert int(change["to"]) == int(change["more"]) + 2_359_296 == 10**26
    assert explained["models"] == []
    assert code == 0


def test_an_explanation_has_tests_operands_with_origins_and_what_would_change_it(check: Any, tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text("schema: auditor.answers/1\nanswers:\n  prior_ops: 1.2e26\n  published: false\n")
    code, text, _ = check("--explain", "us_ear_4e091_2025", "--answers", str(answers))
    assert code == 3  # the line is reached, and the rule is printed as in effect
    flat = " ".join(text.split())
    for words in (
        "counted_ops >= 1e26",
        "120,000,000,000,000,000,002,359,296 operations",
        "answers.yaml, line 4",
        "not answered: How many operations were spent on this model on top",
        "If published were yes: does not apply.",
        "If counted_ops were 99,999,999,999,999,999,999,999,999 (20,000,000,000,000,000,002,359,297 less)",
        "2025-05-13: codified, not enforced.",
        "[secondary] Law-firm notes",
        "Where more than 10 % of the training operations go into unpublished data of one generator",
    ):
        assert words in flat, words
    _, other, _ = check("--explain", "eu_ai_act_art51")
    assert "notify_within_days 14 days" in " ".join(other.split())
    code, text, _ = check("--explain", "us_ear_4e091_2025", "--answers", str(answers), "--mode", "as_enforced")
    assert code == 0
    assert "does not bind on 2026-11-22, as enforced" in " ".join(text.split())


@pytest.mark.parametrize(("state", "mode", "code"), [("true", "as_enforced", 3), ("false", "as_enforced", 0)])
def test_a_line_of_ones_own_binds_as_its_pack_says(
    check: Any, tmp_path: Path, state: str, mode: str, code: int
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("STATE", state))
    found, text, _ = check("--rules", str(own), "--mode", mode)
    assert found == code
    bind = "reached, and bind" if code == 3 else "reached, of rules that do not bind"
    assert f"result 1 line {bind}: own_line" in " ".join(text.split())
    assert "own.yaml" in text
    assert "version 7" in text
    assert check("--rules", str(own), "--mode", "as_codified")[0] == 3


@pytest.mark.parametrize(("state", "code"), [("true", 3), ("false", 0)])
def test_a_report_ends_with_3_only_where_the_line_binds(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    from auditor.cli.main import main

    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("STATE", state))
    arguments = ["report", str(ledger), "--as-of", "2026-11-22", "--rules", str(own)]
    arguments += ["--mode", "as_enforced"]
    assert main([*arguments, "--format", "json"]) == code
    found = next(one for one in json.loads(capsys.readouterr().out)["rules"] if one["id"] == "own_line")
    assert (found["verdict"], found["mode"], found["binds"]) == ("reached", "as_enforced", code == 3)
    assert main(arguments) == code
    text = " ".join(capsys.readouterr().out.split())
    assert "law as of 2026-11-22, as enforced" in text
    assert "own.yaml 7 table" in text


def test_the_hardware_of_the_record_answers_for_the_plant(check: Any, tmp_path: Path, h200: dict[str, str]) -> None:
    """Weights made abroad on an H200 fall under 734.9(l); on a chip of no class they do not."""
    answers = tmp_path / "answers.yaml"
    told = "prior_ops: 1e26, published: false, derived_from_published: false, n2_ops: {value: 1, source: our own}"
    told += ", made_outside_us: true, plant_subject_to_ear: true"
    answers.write_text(f"schema: auditor.answers/1\nanswers: {{{told}}}\n")
    arguments = ("--explain", "us_ear_734_9_l", "--answers", str(answers))
    _, text, _ = check(*arguments, directory=write(tmp_path / "h200", Writing(devices=(h200,))))
    flat = " ".join(text.split())
    assert "answer subject to the EAR" in flat
    assert "plant_eccn 3A090; the hardware of this record: NVIDIA H200 is 3A090.a" in flat
    _, text, _ = check(*arguments, directory=write(tmp_path / "cpu", Writing()))
    assert "answer undetermined" in " ".join(text.split())
    answers.write_text(answers.read_text().replace("{prior", "{plant_eccn: none, prior"))
    _, text, _ = check(*arguments, directory=tmp_path / "h200")
    assert "answer none" in " ".join(text.split())


def test_exit_codes_of_the_record(check: Any, tmp_path: Path) -> None:
    assert check("--require", "WITNESSED")[0] == 5
    false = write(tmp_path / "ledger", Writing())
    segment = next((false / "segments").glob("rank*"))
    segment.write_bytes(segment.read_bytes().replace(b'"purpose":"pre-training"', b'"purpose":"fine-tunings"', 1))
    code, text, _ = check(directory=false)
    assert code == 4
    assert "DO NOT RELY ON THIS" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explain", "us_ear_4e091"], "did you mean 'us_ear_4e091_2025'"),
        (["--explain", "us_ear_3a090_2023_10"], "auditor hardware show"),
        (["--rules", "none.yaml"], "none.yaml: cannot be read"),
        (["--answers", "none.yaml"], "none.yaml: cannot be read"),
        (["--mode", "as_wished"], "invalid choice"),
        (["--as-of", "yesterday"], "expected a day"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error_that_says_why(check: Any, arguments: list[str], words: str) -> None:
    code, _, error = check(*arguments)
    assert code == 2
    assert words in error


def test_it_needs_no_torch(ledger: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from auditor.cli.main import main;"
        f" sys.exit(main(['check', {str(ledger)!r}, '--explain', 'eu_ai_act_art51']))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_the_page_is_written_as_html_too(check: Any, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    page = tmp_path / "page.html"
    code, text, _ = check("--html", str(page))
    assert code == 0
    told = page.read_text()
    assert "What the law says of this record" in text
    for words in (
        "What the law says of this record",
        "us_ear_4e091_2025",
        "Open, and this record bears on it",
        "GAO held",
    ):
        assert words in told
    assert "<script" not in told
    assert 'href="https://www.gao.gov/products/b-337935"' in told
    code, _, error = check("--html", str(tmp_path / "none" / "page.html"))
    assert code == 2
    assert "Name another file with --html" in error
