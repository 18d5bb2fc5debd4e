"""Each side of every line, and where every rule stands on the days around each of its dates (days.csv).

Lines stand in reference.csv, drawn up from the sources. days.csv was printed from the packs and then read row by row:
it keeps what was read, and is no second source.
"""

from __future__ import annotations

import csv
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.rules.cases import Subject
from auditor.rules.model import Mode
from auditor.rules.verdict import Verdict, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.operations import Operations
    from auditor.rules.model import RuleSet

    RunOf = Callable[..., Operations]

HERE = Path(__file__).resolve().parent


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((HERE / name).read_text(encoding="utf-8").splitlines()))


LINES = [(row["rule"], row["line"]) for row in rows_of("reference.csv") if row["line"]]
DAYS = rows_of("days.csv")
ENFORCED = {"yes": True, "no": False, "not known": None}


@pytest.mark.parametrize(("rule", "line"), LINES)
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_one_operation_below_at_and_above_each_line(
    ruleset: RuleSet, run_of: RunOf, rule: str, line: str, beside: int
) -> None:
    comparison, threshold = line.split()
    operations = int(threshold) + beside
    subject = Subject(ruleset=ruleset, operations=run_of(operations), as_of=date(2026, 11, 22), answers={})
    finding = subject.judge(ruleset.find(rule)).finding
    reached = beside > 0 or (beside == 0 and comparison == ">=")
    assert finding.counted_ops == operations
    assert finding.line_reached is reached
    assert (finding.verdict != Verdict.NOT_REACHED) is (reached and not finding.excluded_by)


@pytest.mark.parametrize("row", DAYS, ids=lambda row: f"{row['rule']} {row['day']}")
def test_where_every_rule_stands_on_the_days_around_each_date(ruleset: RuleSet, row: dict[str, str]) -> None:
    rule, day = ruleset.find(row["rule"]), date.fromisoformat(row["day"])
    before, on = rule.status_on(day - timedelta(days=1)), rule.status_on(day)
    assert (str(before.standing), str(on.standing)) == (row["the day before"], row["from this day"])
    assert (on.enforced, on.fines_held_back) == (ENFORCED[row["enforced"]], row["fines held back"] == "yes")
    assert str(on.certainty) == row["certainty"]
    codified = row["from this day"] in ("in_force", "codified_not_enforced")
    assert rule.binds_on(day, Mode.AS_CODIFIED) is codified
    assert rule.binds_on(day, Mode.AS_ENFORCED) is (codified and row["enforced"] != "no")
    assert on.note


def test_the_table_of_days_has_every_date_of_every_rule(ruleset: RuleSet) -> None:
    told = {(row["rule"], row["day"]) for row in DAYS}
    assert told == {(rule.id, status.since.isoformat()) for rule in ruleset.rules for status in rule.history}
    for rule in ruleset.rules:
        for day in (rule.effective, rule.ended):
            assert day is None or (rule.id, day.isoformat()) in told


def test_data_that_a_model_sorts_is_collected_and_curated_and_not_counted(ruleset: RuleSet, run_of: RunOf) -> None:
    """A filter that runs over the data is inference that trains nothing; only what trains on the rest counts."""
    run = run_of({("inference", "pre-training"): 10**26, ("backward", "pre-training"): 10**25})
    found = {finding.id: finding for finding in evaluate(ruleset, run, as_of=date(2026, 11, 22))}
    assert found["us_ear_4e091_2025"].counted_ops == 10**25
    assert "collecting and curating" in found["us_ear_4e091_2025"].left_out_words


def test_a_letter_names_models_and_a_record_of_one_of_them_is_told_by_its_name(ruleset: RuleSet, run_of: RunOf) -> None:
    rule = ruleset.find("us_bis_is_informed_anthropic_2026")
    for model, outcomes in (("Mythos 5", ("licence by letter", "none")), ("Mythos 55", ("licence by letter", "none"))):
        subject = Subject(ruleset=ruleset, operations=run_of(1), as_of=date(2026, 6, 12), answers={}, model=model)
        found = subject.case(rule).walked
        assert found.possible == outcomes
        named = model == "Mythos 5"
        assert ("named_in_letter" in found.open) is not named, "who is named need not be asked"
