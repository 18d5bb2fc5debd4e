"""The shipped rules beside a table that was drawn up from the sources, and beside the published schema."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.documents import Node, read_yaml
from auditor.rules import pack
from auditor.rules.certainty import Certainty
from auditor.rules.counter import Decided, Scope, Treatment
from auditor.rules.expressions import Unit
from auditor.rules.model import RuleKind, Standing
from auditor.rules.naming import SUPPLIED

if TYPE_CHECKING:
    from auditor.rules.model import Rule, RuleSet

HERE = Path(__file__).resolve().parent
REFERENCE = list(csv.DictReader((HERE / "reference.csv").read_text(encoding="utf-8").splitlines()))
DAY = date(2026, 11, 22)  # of which the table speaks


def numbers_of(rule: Rule) -> set[Decimal]:
    """Every number that the rule's tests and values hold."""
    texts = [clause.when.text for clause in (*rule.conditions, *rule.exclusions)]
    texts += [paragraph.when.text for paragraph in rule.paragraphs]
    written = [word for text in texts for word in re.findall(r"(?<![\w.'])\d+(?:\.\d+)?(?:e\d+)?\b", _unquoted(text))]
    found = {Decimal(word) for word in written}
    found |= {Decimal(value.amount.numerator) / value.amount.denominator for value in rule.values}
    return found | ({Decimal(rule.threshold.ops)} if rule.threshold else set())


def _unquoted(text: str) -> str:
    return re.sub(r"'[^']*'", "", text)


def shown(rule: Rule) -> dict[str, object]:
    """A rule in the columns of the table."""
    dates = {name: getattr(rule, name) for name in ("published", "effective", "compliance", "ended")}
    return {
        **{name: "" if day is None else day.isoformat() for name, day in dates.items()},
        "standing": str(rule.status_on(DAY).standing),
        "certainty": str(rule.certainty),
        "counter": rule.counter.id if rule.counter else "",
        "line": f"{rule.threshold.comparison} {rule.threshold.ops}" if rule.threshold else "",
        "numbers": numbers_of(rule),
    }


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: row["rule"])
def test_no_date_line_or_number_has_drifted(ruleset: RuleSet, row: dict[str, str]) -> None:
    expected = {name: row[name] for name in shown(ruleset.rules[0]) if name != "numbers"}
    assert shown(ruleset.find(row["rule"])) == expected | {"numbers": set(map(Decimal, row["numbers"].split()))}


def test_every_rule_is_in_the_table_and_the_table_has_no_other(ruleset: RuleSet) -> None:
    assert sorted(rule.id for rule in ruleset.rules) == sorted(row["rule"] for row in REFERENCE)


def test_every_rule_that_was_looked_up_has_its_counterpart(ruleset: RuleSet) -> None:
    """40 rules and 6 ways to count were looked up; what is named otherwise or split says why."""
    looked_up = {row["facts"] for row in REFERENCE}
    assert len(looked_up) == 40
    for row in REFERENCE:
        assert row["rule"] == row["facts"] or row["remark"] or row["facts"] == "watch_list_2026"
    assert {"us_4e091", "eu_cumulative", "eu_direct", "us_ca_sb53", "us_bis_702_7_proposed", "kr_decree"} <= set(
        ruleset.counters
    )


def test_what_is_an_inference_of_the_sources_is_marked_as_one(ruleset: RuleSet) -> None:
    def said(name: str) -> str:
        rule = ruleset.find(name)
        return " ".join([*rule.notes, *(status.note for status in rule.history)])

    for name in ("us_ear_red_flag_28", "us_ear_4e091_2025", "us_eo_14110_cluster", "us_ear_country_cap_2025"):
        assert "infer" in said(name), name


def test_nothing_is_asked_grouped_or_cited_that_no_rule_uses(ruleset: RuleSet) -> None:
    named = {name for rule in ruleset.rules for expression in rule.expressions for name in expression.names}
    named |= {name for rule in ruleset.rules for duty in rule.duties if duty.when for name in duty.when.names}
    named |= {line.left_out_if for counter in ruleset.counters.values() for line in counter.lines}
    assert ruleset.facts.keys() - named == {"prior_ops"}  # which totals take
    assert ruleset.groups.keys() <= named
    parts = [part for rule in ruleset.rules for part in (rule, *rule.history, *rule.conditions, *rule.exclusions)]
    parts += [duty for rule in ruleset.rules for duty in rule.duties]
    parts += [*ruleset.counters.values(), *ruleset.groups.values()]
    assert {source for part in parts for source in part.sources} == ruleset.sources.keys()


def plain(node: Node) -> Any:
    """The document as lists and mappings of text."""
    if isinstance(node.value, dict):
        return {name: plain(part) for name, part in node.value.items()}
    return [plain(part) for part in node.value] if isinstance(node.value, list) else node.value


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / "configs" / "schema" / "rules.schema.json").read_text())
    Draft202012Validator.check_schema(loaded)
    return loaded


@pytest.mark.parametrize("path", pack.shipped(), ids=lambda path: path.name)
def test_every_pack_fits_the_published_schema(schema: dict[str, Any], path: Path) -> None:
    Draft202012Validator(schema).validate(plain(read_yaml(path)))


def test_the_schema_knows_the_words_that_the_loader_knows(schema: dict[str, Any]) -> None:
    defs = schema["$defs"]
    rule = schema["properties"]["rules"]["items"]["properties"]
    line = schema["properties"]["counters"]["items"]["properties"]["lines"]["items"]["properties"]
    assert defs["certainty"]["enum"] == list(map(str, Certainty))
    assert defs["unit"]["enum"] == list(map(str, Unit))
    assert set(rule["kind"]["enum"]) == set(map(str, RuleKind)) == set(map(str, SUPPLIED))
    assert set(defs["history"]["items"]["properties"]["status"]["enum"]) == set(map(str, Standing)) - {
        "not_yet_published"
    }
    assert line["treatment"]["enum"] == list(map(str, Treatment))
    assert line["decided_by"]["enum"] == list(map(str, Decided))
    assert schema["properties"]["counters"]["items"]["properties"]["scope"]["enum"] == list(map(str, Scope))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: a_rule", "id: a_rule\n    colour: red"),
        ("    title: A rule\n", ""),
        ('comparison: ">"', 'comparison: "=>"'),
        ("unit: operations, ", ""),
        ("kind: model_threshold", "kind: chip_class"),
        ("kind: model_threshold", "kind: statement"),
        ("status: in_force", "status: in_farce"),
        ("treatment: counted", "treatment: count"),
        ("sources: [text]", "sources: []"),
        ('version: "1"\n', ""),
        ("read: 2026-11-22", "read: soon"),
    ],
)
def test_what_the_schema_refuses_the_loader_refuses_too(
    schema: dict[str, Any], small_pack: str, write: Any, old: str, new: str
) -> None:
    assert old in small_pack
    path = write(small_pack.replace(old, new, 1))
    assert not Draft202012Validator(schema).is_valid(plain(read_yaml(path)))
    with pytest.raises(pack.RuleError):
        pack.load([path])


def test_packs_carry_version_and_digest(ruleset: RuleSet, small_pack: str, write: Any) -> None:
    own = write(small_pack, "own.yaml")
    joined = pack.load([*pack.shipped(), own])
    assert joined.packs[-1] == pack.outline(own)
    assert (joined.packs[-1].name, joined.packs[-1].version) == ("own.yaml", "1")
    assert joined.packs[:-1] == ruleset.packs
    assert len({one.digest for one in joined.packs}) == len(joined.packs) == len(pack.shipped()) + 1
    assert dataclasses.is_dataclass(joined.packs[0])
