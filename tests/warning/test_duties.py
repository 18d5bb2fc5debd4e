"""Duties are data: read strictly, the same by the published schema, and dated by the first of what begins them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from auditor.errors import RuleError
from auditor.rules import pack
from auditor.rules.duties import due
from auditor.rules.model import Begins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet

PACK = """\
schema: auditor.rules/1
version: "1"
sources:
  policy: {{title: A policy, locator: intranet, read: 2026-11-22}}
counters:
  - id: all
    title: All
    counts: Counts all.
    leaves_out: Leaves out nothing.
    lines: [{{treatment: counted, why: It counts., certainty: silent}}]
    builds_on_earlier: []
    sources: [policy]
rules:
  - id: own
    kind: {kind}
    title: Own
    authority: Us
    citation: P 1
    effective: 2026-01-01
    checked: 2026-11-22
    history:
      - {{date: 2026-01-01, status: in_force, enforced: true, note: Ours., sources: [policy], certainty: primary}}
{line}
    values:
      - {{name: soon, amount: 7, unit: days}}
      - {{name: far, amount: 7, unit: operations}}
      - {{name: half, amount: "0.5", unit: days}}
    duties:
      - {{id: tell, words: Tell us., sources: [policy], certainty: primary, {duty}}}
    sources: [policy]
    certainty: primary
"""
LINE = '    threshold: {ops: 1e6, comparison: ">"}\n    counter: all'


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., RuleSet]:
    def read(duty: str, kind: str = "model_threshold", line: str = LINE) -> RuleSet:
        path = tmp_path / "own.yaml"
        path.write_text(PACK.format(duty=duty, kind=kind, line=line))
        return pack.load([path])

    return read


@pytest.mark.parametrize(
    ("duty", "begun", "day"),
    [
        ("begins: [met], within: soon", {Begins.MET: date(2026, 12, 28)}, date(2027, 1, 4)),
        (
            "begins: [met, known_to_be_met], within: soon",
            {Begins.MET: date(2027, 1, 1), Begins.KNOWN: date(2026, 12, 1)},
            date(2026, 12, 8),
        ),
        ("begins: [met], within: soon", {Begins.KNOWN: date(2026, 12, 1)}, None),
        ("begins: [training_begins], within: soon", {Begins.STARTED: date(2028, 2, 25)}, date(2028, 3, 3)),
        ("day: 2027-08-02", {}, date(2027, 8, 2)),
    ],
)
def test_a_duty_is_dated_by_the_first_of_what_begins_it(
    load: Callable[..., RuleSet], duty: str, begun: dict[Begins, date], day: date | None
) -> None:
    (found,) = load(duty).find("own").duties
    dated = due(found, begun)
    assert (dated.day if dated else None) == day


@pytest.mark.parametrize(
    ("duty", "said"),
    [
        ("day: 2027-08-02, begins: [met], within: soon", "expected a day, or begins with within"),
        ("begins: [met]", "expected a day, or begins with within"),
        ("within: soon", "expected a day, or begins with within"),
        ("begins: [met], within: son", "did you mean 'soon'"),
        ("begins: [met], within: far", "expected a value in whole days"),
        ("begins: [met], within: half", "expected a value in whole days"),
        ("begins: [], within: soon", "expected some of met, known_to_be_met, training_begins, each once"),
        ("begins: [met, met], within: soon", "each once"),
        ("begins: [day], within: soon", "each once"),
        ("begins: [meet], within: soon", "did you mean 'met'"),
        ("day: soon", "expected a date such as 2025-05-15"),
        ("day: 2027-08-02, when: nobody_asks_this", "unknown name 'nobody_asks_this'"),
    ],
)
def test_a_duty_that_does_not_fit_is_refused_at_its_place(load: Callable[..., RuleSet], duty: str, said: str) -> None:
    with pytest.raises(RuleError, match=r"own\.yaml:\d+: ") as refused:
        load(duty)
    assert said in str(refused.value)


def test_only_a_rule_with_a_line_has_duties(load: Callable[..., RuleSet]) -> None:
    with pytest.raises(RuleError, match="unknown name 'duties'"):
        load("day: 2027-08-02", kind="statement", line="")


@pytest.mark.parametrize(
    ("duty", "fits"),
    [
        ("begins: [met], within: soon", True),
        ("day: 2027-08-02", True),
        ("day: 2027-08-02, within: soon", False),
        ("begins: [met]", False),
        ("begins: [day], within: soon", False),
    ],
)
def test_the_published_schema_agrees(schema_of: Callable[[str], dict[str, Any]], duty: str, fits: bool) -> None:
    document = yaml.load(PACK.format(duty=duty, kind="model_threshold", line=LINE), Loader=yaml.BaseLoader)
    assert Draft202012Validator(schema_of("rules")).is_valid(document) is fits


def test_the_notification_to_the_commission_is_what_article_52_says(shipped: RuleSet) -> None:
    notify = next(duty for duty in shipped.find("eu_ai_act_art51").duties if duty.id == "notify")
    assert (notify.within_days, set(notify.begins)) == (14, {Begins.MET, Begins.KNOWN})
    assert "article 52" in shipped.cite(notify.sources)
