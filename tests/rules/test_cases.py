"""Cases that a lawyer can read and extend (cases.csv): the edges of each rule, and the days around each date."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.rules.cases import Subject
from auditor.rules.changes import changes
from auditor.rules.explaining import explain
from auditor.rules.facts import read_answers
from auditor.rules.model import Mode, RuleKind
from auditor.rules.paragraphs import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.operations import Operations
    from auditor.rules.model import RuleSet

    RunOf = Callable[..., Operations]

HERE = Path(__file__).resolve().parent
CASES = list(csv.DictReader((HERE / "cases.csv").read_text(encoding="utf-8").splitlines()))


def answers_of(text: str) -> dict[str, object]:
    pairs = [part.split("=") for part in text.split("; ") if part]
    return {name: {"true": True, "false": False}.get(value, value) for name, value in pairs}


def subject(ruleset: RuleSet, run_of: RunOf, case: dict[str, str], mode: Mode = Mode.AS_CODIFIED) -> Subject:
    return Subject(
        ruleset=ruleset,
        operations=run_of(int(Decimal(case["operations"]))),
        as_of=date.fromisoformat(case["as_of"]),
        answers=read_answers(ruleset, answers_of(case["answers"])),
        mode=mode,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}: {case['why']}")
def test_the_table_of_cases(ruleset: RuleSet, run_of: RunOf, case: dict[str, str]) -> None:
    rule = ruleset.find(case["rule"])
    found = explain(subject(ruleset, run_of, case), rule, {})
    assert found.outcome == case["outcome"]
    for mode in Mode:
        bound = rule.binds_on(date.fromisoformat(case["as_of"]), mode)
        assert ("yes" if bound else "no") == case[f"binds {mode.replace('_', ' ')}"]


def test_every_rule_with_a_test_has_a_case_and_its_answers_are_what_it_asks(ruleset: RuleSet) -> None:
    asked = {rule.id for rule in ruleset.rules if rule.kind is RuleKind.CASE_TEST}
    assert asked <= {case["rule"] for case in CASES}
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: f"{case['rule']}: {case['why']}")
def test_what_is_said_to_change_the_answer_does(ruleset: RuleSet, run_of: RunOf, case: dict[str, str]) -> None:
    """Each change is put in as an answer of its own, and the rule is asked again."""
    before = subject(ruleset, run_of, case)
    rule = ruleset.find(case["rule"])
    found = explain(before, rule, {})
    for change in found.changes:
        assert change.outcome != found.outcome
        if change.name in ("counted_ops", "record_ops") or ruleset.facts[change.name].verdict_of:
            continue
        to = (
            change.to
            if isinstance(change.to, (bool, str))
            else str(Decimal(change.to.numerator) / change.to.denominator)
        )
        again = {**case, "answers": ""}
        told = answers_of(case["answers"]) | {change.name: to}
        after = subject(ruleset, run_of, again)
        after = Subject(
            ruleset=ruleset, operations=after.operations, as_of=after.as_of, answers=read_answers(ruleset, told)
        )
        assert explain(after, rule, {}).outcome == change.outcome, change


def test_a_change_names_the_nearest_number_and_how_far_it_is(ruleset: RuleSet, run_of: RunOf) -> None:
    case = {"rule": "us_ear_4e091_2025", "as_of": "2026-11-22", "operations": "5", "answers": ""}
    closed = {**case, "answers": "published=false; derived_from_published=false; n2_ops=1"}
    found = explain(subject(ruleset, run_of, closed), ruleset.find(case["rule"]), {"n2_ops": "somewhere"})
    (change,) = found.changes
    assert (change.name, change.to, change.more, change.outcome) == ("counted_ops", 10**26, 10**26 - 5, "applies")
    origins = {one.name: one.origin for one in found.operands}
    assert origins["n2_ops"] == "somewhere"
    assert origins["additional_ops"].startswith("not answered: How many operations")
    assert "under the counter us_4e091" in origins["counted_ops"]
    assert "90 FR 4544" in origins["threshold_ops"]


def test_a_country_that_is_open_is_tried_for_all(ruleset: RuleSet, run_of: RunOf) -> None:
    case = {
        "rule": "us_ear_uae_2026_07",
        "as_of": "2026-11-22",
        "operations": "1",
        "answers": "uae_government_or_supplement_8=true; us_headquartered_ai_company=false; recipient_headquarters=AE; "
        "recipient_parent=AE",
    }
    found = explain(subject(ruleset, run_of, case), ruleset.find(case["rule"]), {})
    assert found.outcome == "undetermined"
    led = {change.outcome: (change.to, change.countries) for change in found.changes if change.name == "destination"}
    assert led == {"free of licence": ("AE", 1), "none": ("AD", 248)}


def test_a_rule_of_another_kind_is_refused_with_where_to_ask(ruleset: RuleSet, run_of: RunOf) -> None:
    from auditor.errors import RuleError

    case = {"rule": "us_ear_3a090_2023_10", "as_of": "2026-11-22", "operations": "1", "answers": ""}
    with pytest.raises(RuleError) as caught:
        explain(subject(ruleset, run_of, case), ruleset.find(case["rule"]), {})
    assert "auditor hardware" in caught.value.remedy


def test_nothing_changes_where_nothing_can() -> None:
    assert changes({}, {}, [], lambda values: "as it is") == []


def test_the_first_outcome_that_is_met_is_the_answer_unless_an_earlier_one_might_be(
    ruleset: RuleSet, run_of: RunOf
) -> None:
    rule = ruleset.find("us_ear_le_aia_chips")
    case = {
        "rule": rule.id,
        "as_of": "2026-11-22",
        "operations": "1",
        "answers": "destination=DE; recipient_headquarters=DE; recipient_parent=DE; trains_4e091_for_outsiders=false",
    }
    open_case = subject(ruleset, run_of, case).case(rule)
    assert open_case.walked.possible == ("eligible, certificate to BIS", "eligible")
    assert open_case.walked.open == {"cumulative_tpp_to_consignee"}
    assert walk(rule, {}).possible == ("eligible, certificate to BIS", "eligible", "none")
