"""`auditor fleet` as text, JSON and HTML, its exit codes, and the example to begin with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.rules import pack

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.rules.model import RuleSet


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return pack.load()


@pytest.fixture
def fleet(root: Path, shipped: RuleSet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    from auditor.cli.main import main

    load = pack.load
    monkeypatch.setattr("auditor.rules.load", lambda paths: shipped if paths == pack.shipped() else load(paths))
    monkeypatch.chdir(root)

    def run(*arguments: str, file: str = "configs/examples/fleet.yaml") -> tuple[int, str, str]:
        code = main(["fleet", file, "--as-of", "2026-11-22", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_text_says_what_is_open_and_why_it_is_not(fleet: Any) -> None:
    code, text, _ = fleet()
    assert code == 3
    assert all(len(line) <= 100 for line in text.splitlines())
    flat = " ".join(text.split())
    for words in (
        "result 1 shipment without a way that is open (S-02), 1 shipment undetermined (J-01)",
        "Announced on 2025-05-13 as not to be enforced; still printed",
        "Singapore is not among them, though the press says so.",
        "IN India neither list primary",
        "S-02 as codified: no way open",
        "NVEU is not open: us_ear_nveu_holder_2025: may receive as NVEU (748.15(b)(2)(ii)) [codified, not enforced;",
        "us_ear_nveu_2025: over the allocation (Table 1, exceeded)",
        "J-01 as codified: undetermined",
        "AIA is open: us_ear_le_aia_chips: eligible, certificate to BIS (740.27, certificate) [codified, not enforced;",
        "us_ear_destinations_case_2023: no paragraph of it is met [in force; text secondary]",
        "M-02 as codified: open: licence; undetermined: LPP",
        "LPP is undetermined: how much was received under LPP in 2026 is open: whether these count is open, by what",
        "which chip it is is not known (configs/examples/fleet.yaml:63)",
        "the headquarters of the ultimate parent of Selat Hosting are not stated (configs/examples/fleet.yaml:36)",
        "IN India 600,000,000 790,000,000 190,000,000 12,001 within",
        "MY Malaysia not known 790,000,000 at most 790,000,000 at most 49,898.9 undetermined",
        "Sindhu Compute in IN India 949,920,000 4,272,750,000 3,322,830,000 209,880.6 within",
        "Merlion Labs, 2026 15,832,000 26,900,000 11,068,000 699 within",
        "2027-01-01 Sindhu Compute in IN 4,907,920,000 5,064,000,000 156,080,000",
        "any other country in neither list 307,071,483 19,395.6",
        "us_ear_shipments.yaml version",
        "not legal advice",
    ):
        assert words in flat, words


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2026-11-22", "codified, not enforced since 2025-05-13. Announced on 2025-05-13 as not to be enforced; still"),
        ("2025-03-01", "in force since 2025-01-13. In effect; compliance was asked for from 2025-05-15 on."),
        ("2025-01-12", "not yet published. The rule begins on 2025-01-13."),
    ],
)
def test_the_status_of_the_diffusion_rule_is_told_in_short_at_the_top_and_whole_at_the_end(
    fleet: Any, day: str, words: str
) -> None:
    lines = fleet("--as-of", day)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("the rule on diffusion"))
    end = lines.index("", start)
    assert end - start <= 4
    told = " ".join(" ".join(lines[start:end]).split())
    assert f"90 FR 4544 (FR Doc 2025-00636, RIN 0694-AJ90): {words}" in told
    assert told.endswith("stands at the end (us_ear_worldwide_case_2025).")
    rules = " ".join(" ".join(lines[lines.index("The rules, and where they stand") :]).split())
    assert "us_ear_worldwide_case_2025: BIS" in rules
    if day == "2026-11-22":
        assert "GAO held on 2026-05-12" in rules
        assert "Sources: Weekly note on the Unified Agenda of 2026-08-14" in rules


def test_the_mode_decides_the_exit_code_and_nothing_else_of_the_answers(fleet: Any) -> None:
    codified_code, codified, _ = fleet("--format", "json")
    enforced_code, enforced, _ = fleet("--format", "json", "--mode", "as_enforced")
    assert (codified_code, enforced_code) == (3, 0)
    one, other = json.loads(codified), json.loads(enforced)
    assert (one["reached"], other["reached"]) == (True, False)
    for name in one.keys() - {"mode", "reached"}:
        assert one[name] == other[name], name


def test_a_day_before_the_rule_asks_nothing_and_binds_nothing(fleet: Any) -> None:
    code, text, _ = fleet("--format", "json", "--as-of", "2025-01-12")
    found = json.loads(text)
    assert code == 3  # shipments are judged by the law of their own days
    assert {one["binds"]["as_codified"] for one in found["lines"]} <= {False}
    undated = next(one for one in found["shipments"] if one["date"] is None)
    assert undated["rulings"]["as_codified"]["law_of"] == "2025-01-12"


def test_the_json_fits_its_schema_and_cites_a_rule_with_each_answer(fleet: Any, root: Path) -> None:
    schema = json.loads((root / "configs" / "schema" / "fleet.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    for file in ("configs/examples/fleet.yaml", "configs/examples/fleet.csv"):
        _, text, _ = fleet("--format", "json", file=file)
        found = json.loads(text)
        Draft202012Validator(schema).validate(found)
        rules = {one["id"]: one for one in found["rules"]}
        for one in found["shipments"]:
            for ruling in one["rulings"].values():
                cited = [*ruling["required_by"], *(said for way in ruling["ways"] for said in way["rules"])]
                assert cited
                assert all(said["rule"] in rules and said["certainty"] and said["status"] for said in cited)
        assert all(one["status_sources"] and one["source"] and one["citation"] for one in rules.values())


def test_what_the_json_has_is_frozen(root: Path) -> None:
    schema = json.loads((root / "configs" / "schema" / "fleet.schema.json").read_text())
    defs = schema["$defs"]
    assert schema["required"] == list(schema["properties"]) == [
        "schema", "inventory", "as_of", "mode", "reached", "equivalent", "destinations", "shipments", "lines",
        "schedule", "universal", "rules", "packs", "catalogue", "notice",
    ]  # fmt: skip
    assert schema["properties"]["schema"]["const"] == "auditor.fleet_report/1"
    assert defs["shipment"]["required"] == list(defs["shipment"]["properties"]) == [
        "id", "place", "site", "destination", "owner", "headquarters", "parent_headquarters", "chip", "count", "date",
        "gone", "under", "tpp", "class", "figures", "rulings",
    ]  # fmt: skip
    assert defs["ruling"]["required"] == [
        "law_of", "outcome", "licence_needed", "required_by", "ways", "stated_is_open", "against", "because",
    ]  # fmt: skip
    assert defs["held"]["required"] == list(defs["held"]["properties"])


class _Page(HTMLParser):
    """What a page holds: its tags, what they load, and the ids that stand twice."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.loaded += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action", "poster")]


def test_the_page_is_one_file_without_scripts_and_with_pictures(fleet: Any) -> None:
    code, text, _ = fleet("--format", "html")
    assert code == 3
    page = _Page()
    page.feed(text)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    assert not page.loaded
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert len(re.findall(r'<svg class="chart"', text)) == 2 * (1 + 4 + 1)  # each for a wide and a narrow page
    for words in ("What stands where", "What is used of each line", "no way open", "The allocation of Sindhu Compute"):
        assert words in text
    assert fleet("--format", "html")[1] == text


HOSTILE = "<script>alert(1)</script>\u202e"


def test_names_of_others_do_nothing_on_any_page(fleet: Any, root: Path, tmp_path: Path) -> None:
    text = (root / "configs" / "examples" / "fleet.yaml").read_text(encoding="utf-8")
    hostile = json.dumps(HOSTILE)
    text = text.replace("name: Sindhu Compute", f"name: {hostile}").replace(
        "name: An example of a fleet", f"name: {hostile}"
    )
    path = tmp_path / "fleet.yaml"
    path.write_text(text.replace("its maker's letter", HOSTILE[:25]), encoding="utf-8")
    for form in ("terminal", "html"):
        _, said, _ = fleet("--format", form, file=str(path))
        assert "\u202e" not in said
        assert form == "terminal" or "<script" not in said


def test_a_fault_ends_with_2_and_names_its_place(fleet: Any, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    text = (root / "configs" / "examples" / "fleet.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("chip: h200-sxm, count: 600", "chip: h200, count: 600"), encoding="utf-8")
    code, out, error = fleet(file=str(path))
    assert (code, out) == (2, "")
    assert f"{path}:62: shipments[8].chip: expected a chip" in error
    assert "Did you mean h200-sxm" in error


def test_the_example_is_written_and_read_again(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    from auditor.cli.main import main

    for form in ("yaml", "csv"):
        assert main(["fleet", "--example", form]) == 0
        assert capsys.readouterr().out == (root / "configs" / "examples" / f"fleet.{form}").read_text(encoding="utf-8")
    assert main(["fleet"]) == 2
    assert "--example" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_a_usage_error(fleet: Any, tmp_path: Path) -> None:
    code, _, error = fleet("--format", "json", "--out", str(tmp_path / "none" / "out.json"))
    assert code == 2
    assert "cannot be written" in error


def test_an_inspectors_laptop_is_enough(root: Path) -> None:
    """Without torch; without jinja2 and rich too, but for the page."""
    program = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'fvcore', 'pynvml', 'jinja2', 'rich'): sys.modules[name] = None\n"
        "from auditor.cli.main import main\n"
        "sys.exit(main(['fleet', 'configs/examples/fleet.yaml', '--as-of', '2026-11-22']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "S-02 as codified: no way open" in done.stdout
