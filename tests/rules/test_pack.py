"""Packs: what is shipped is whole; what does not fit is refused with file, line, field and expectation."""

from __future__ import annotations

import contextlib
import itertools
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import ExitCode, RuleError
from auditor.operations import Family
from auditor.resources import tree
from auditor.rules import pack
from auditor.rules.certainty import Certainty
from auditor.rules.counter import Cell, Component
from auditor.rules.model import RuleKind
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet


def test_the_rules_that_must_be_there_are_there(ruleset: RuleSet) -> None:
    lines = {rule.id: (rule.threshold.ops, rule.threshold.comparison) for rule in ruleset.rules if rule.threshold}
    assert lines["us_ear_4e091_2025"] == (10**26, ">=")
    assert lines["eu_ai_act_art51"] == (10**25, ">")
    assert lines["us_ca_sb53"] == (10**26, ">")
    assert lines["us_ny_raise_2026"] == lines["us_il_sb315"] == lines["us_ct_sb5"] == (10**26, ">")
    assert lines["kr_ai_basic_act_decree"] == (10**26, ">=")
    assert lines["us_treasury_outbound_850"] == (10**23, ">")
    assert lines["us_eo_14110"] == (10**26, ">")
    assert ruleset.find("us_ear_3a090_2023_10").kind is RuleKind.CHIP_CLASS


def test_every_statement_has_sources_and_says_how_sure_it_is(ruleset: RuleSet) -> None:
    for rule in ruleset.rules:
        for part in (rule, *rule.history, *rule.conditions, *rule.exclusions):
            assert part.sources
            assert set(part.sources) <= ruleset.sources.keys()
            assert isinstance(part.certainty, Certainty)
    for counter in ruleset.counters.values():
        assert counter.sources
        assert all(line.why for line in counter.lines)


def test_every_counter_decides_about_every_kind_of_operations(ruleset: RuleSet) -> None:
    cells = [Cell(*parts) for parts in itertools.product(Phase, Family, Purpose, Component)]
    for counter in ruleset.counters.values():
        deciding = {next(number for number, line in enumerate(counter.lines) if line.covers(cell)) for cell in cells}
        assert deciding == set(range(len(counter.lines))), f"{counter.id} has a line that never decides"


def test_what_is_an_inference_stays_marked_as_one(ruleset: RuleSet) -> None:
    recompute = next(line for line in ruleset.counters["us_4e091"].lines if Phase.RECOMPUTE in line.phases)
    assert recompute.certainty is Certainty.INFERRED
    assert ruleset.find("us_il_sb315").certainty is Certainty.SECONDARY


def test_an_unknown_rule_is_a_usage_error_with_the_nearest_name(ruleset: RuleSet) -> None:
    with pytest.raises(RuleError, match="did you mean 'us_ear_4e091_2025'") as caught:
        ruleset.find("us_ear_4e091")
    assert caught.value.exit_code is ExitCode.USAGE
    with pytest.raises(RuleError, match="known are "):
        ruleset.find("zzz")


def test_a_pack_of_ones_own_joins_the_shipped_ones(small_pack: str, write: Callable[[str], Path]) -> None:
    own = write(small_pack.replace("counter: everything", "counter: us_4e091"))
    joined = pack.load([*pack.shipped(), own])
    assert joined.find("a_rule").counter is joined.counters["us_4e091"]
    assert joined.digest != pack.load().digest


def test_the_digest_is_that_of_names_and_bytes(small_pack: str, write: Callable[[str], Path]) -> None:
    path = write(small_pack)
    before = pack.load([path]).digest
    assert pack.load([path]).digest == pack.digest([path]) == before
    path.write_text(small_pack + "# a comment\n", encoding="utf-8")
    assert pack.load([path]).digest != before


VALUES = """\
    values:
      - {name: limit, amount: 1, unit: TPP}
      - {name: limit, amount: 2, unit: TPP, since: 2026-01-01}
"""
UNITS = """\
    values:
      - {name: limit, amount: 1, unit: TPP, until: 2026-01-01}
      - {name: limit, amount: 2, unit: USD, since: 2026-01-01}
"""
TAKEN = "    values: [{name: extra_ops, amount: 1, unit: operations}]\n"
TURNED = "    values: [{name: limit, amount: 1, unit: TPP, since: 2026-01-01, until: 2026-01-01}]\n"
GROUP = """\
groups:
  club: {title: A club, members: [{code: DE, name: Germany}], sources: [text], certainty: primary}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("id: a_rule", "id: a_rule\n    colour: red", ["pack.yaml:", "unknown name 'colour'"]),
        ("exclusions:", "exclusion:", ["unknown name 'exclusion'", "did you mean 'exclusions'"]),
        ("    title: A rule\n", "", ["the field 'title' is missing"]),
        ("ops: 1e6", "ops: 1e-6", ["threshold.ops", "expected a whole number of operations", "'1e-6'"]),
        ("ops: 1e6", "ops: lots", ["threshold.ops", "'lots'"]),
        ("ops: 1e6", "ops: 0", ["a line above zero"]),
        ("ops: 1e6", "ops: 1000000.5", ["whole number of operations"]),
        ('comparison: ">"', 'comparison: "=>"', ["threshold.comparison", "'=>'"]),
        ("counter: everything", "counter: everythin", ["did you mean 'everything'"]),
        ("open_weights and", "open_weihts and", ["exclusions[0].when", "did you mean 'open_weights'"]),
        ("extra_ops <= 100", "extra_ops <= 1OO", ["exclusions[0].when", "not an expression"]),
        ("extra_ops <= 100", "extra_ops", ["yes or no is needed"]),
        ("extra_ops <= 100", "tpp > 1", ["unknown name 'tpp'"]),
        ("kind: model_threshold", "kind: model_treshold", ["did you mean 'model_threshold'"]),
        ("kind: model_threshold", "kind: chip_class", ["the field 'paragraphs' is missing"]),
        ("status: in_force", "status: in_farce", ["did you mean 'in_force'"]),
        ("enforced: true", "enforced: maybe", ["expected true or false"]),
        ("enforced: false", "enforced: true", ["false or unknown for the status enacted_not_yet_effective"]),
        ("date: 2025-02-01", "date: 2024-02-01", ["history", "dates that rise"]),
        ("date: 2025-02-01", "date: 2025-01-01", ["history", "dates that rise"]),
        ("date: 2025-02-01", "date: 2025-02-02", ["in_force on the effective date 2025-02-01"]),
        ("date: 2025-02-01", "date: 2025-02-30", ["a date such as"]),
        (
            "checked: 2026-01-01",
            "checked: 2026-01-01\n    compliance: 2025-01-31",
            ["not before the effective date"],
        ),
        ("checked: 2026-01-01", "checked: 2026-01-01\n    ended: 2025-03-01", ["the day of the last status"]),
        ("\nrules:", "\nrulez:", ["did you mean 'rules'"]),
        ("treatment: counted", "treatment: counted, phases: [forward]", ["none covers backward/"]),
        ("treatment: counted", "treatment: counted, phases: [sideways]", ["unknown name 'sideways'"]),
        ("treatment: counted", "treatment: count", ["did you mean 'counted'"]),
        ("sources: [text]", "sources: [txt]", ["did you mean 'text'"]),
        ("sources: [text]", "sources: []", ["at least one source"]),
        ("kind: amount", "kind: amont", ["did you mean 'amount'"]),
        ("open_weights: {", "counted_ops: {", ["that the auditor does not supply itself"]),
        ("schema: auditor.rules/1", "schema: auditor.rules/2", ["expected 'auditor.rules/1'"]),
        ("read: 2026-11-22", "read: soon", ["a date such as"]),
        ('version: "1"\n', "", ["the field 'version' is missing"]),
        ("unit: operations, ", "", ["facts.extra_ops", "a unit for a number"]),
        ("unit: operations, ", "unit: operation, ", ["did you mean 'operations'"]),
        ("{kind: flag, words", "{kind: flag, unit: TPP, words", ["facts.open_weights", "and for nothing else"]),
        ("facts:\n", "facts:\n  judged: {kind: flag, verdict_of: a_role, words: W}\n", ["did you mean 'a_rule'"]),
        ("{kind: flag, words", "{kind: flag, verdict_of: a_rule, words", ["unknown name 'open_weights'"]),
        ("extra_ops <= 100", "extra_ops <= limit", ["unknown name 'limit'"]),
        ("    counter: everything\n", f"    counter: everything\n{VALUES}", ["days after those of the limit"]),
        ("    counter: everything\n", f"    counter: everything\n{UNITS}", ["the unit TPP of the limit"]),
        ("    counter: everything\n", f"    counter: everything\n{TAKEN}", ["the id 'extra_ops' is taken"]),
        ("    counter: everything\n", f"    counter: everything\n{TURNED}", ["a day after 2026-01-01"]),
        ("counters:\n", f"{GROUP.replace('DE', 'DD')}counters:\n", ["groups.club.members[0].code", "a country;"]),
        ("counters:\n", f"{GROUP.replace('club', 'open_weights')}counters:\n", ["is taken already"]),
        ("    history:\n", "    history: shared\n    histories:\n", ["unknown name 'histories'"]),
        ("treatment: counted,", "treatment: counted, decided_by: rollouts,", ["the treatment undetermined"]),
        ("treatment: counted,", "treatment: undetermined, decided_by: rollouts,", ["a field synthetic_data"]),
        ("treatment: counted,", "treatment: counted, left_out_if: open_weihts,", ["did you mean 'open_weights'"]),
        ("treatment: counted,", "treatment: counted, left_out_if: extra_ops,", ["unknown name 'extra_ops'"]),
        ("treatment: counted,", "treatment: undetermined, decided_by: luck,", ["unknown name 'luck'"]),
        ("rules:\n", "rules:\n  - {id: a_rule, kind: model_threshold}\n", ["the field 'title' is missing"]),
    ],
)
def test_what_does_not_fit_is_named(
    small_pack: str, write: Callable[[str], Path], old: str, new: str, words: list[str]
) -> None:
    assert old in small_pack
    with pytest.raises(RuleError) as caught:
        pack.load([write(small_pack.replace(old, new, 1))])
    assert "pack.yaml:" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("section", ["rules", "counters"])
def test_an_id_that_is_taken_is_refused(small_pack: str, write: Callable[..., Path], section: str) -> None:
    names = {"rules": "a_rule", "counters": "everything"}
    only = small_pack[: small_pack.index("sources:")] + small_pack[small_pack.index(f"{section}:") :]
    only = only[: only.index("rules:")] if section == "counters" else only
    with pytest.raises(RuleError, match=f"second.yaml:.*the id '{names[section]}' is taken already"):
        pack.load([write(small_pack), write(only, "second.yaml")])


def test_a_fact_or_source_named_twice_is_refused(small_pack: str, write: Callable[..., Path]) -> None:
    for section in (
        "facts:\n  open_weights: {kind: flag, words: Again}",
        "sources:\n  text: {title: T, locator: L, read: 2026-01-01}",
    ):
        with pytest.raises(RuleError, match=r"second\.yaml:.*is taken already"):
            pack.load([write(small_pack), write(f"schema: auditor.rules/1\nversion: 2\n{section}\n", "second.yaml")])


def test_no_pack_raises_anything_but_a_rule_error(tmp_path: Path) -> None:
    """Lines of a pack that fits left out, doubled, moved and cut: it is read or refused."""
    from tests.rules.conftest import SMALL_PACK

    path = tmp_path / "pack.yaml"
    lines = f"{SMALL_PACK}{GROUP}".splitlines(keepends=True)

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def mangled(data: st.DataObject) -> None:
        text = list(lines)
        for _ in range(data.draw(st.integers(1, 3))):
            at, other = (data.draw(st.integers(0, len(text) - 1)) for _ in range(2))
            cut = data.draw(st.integers(0, len(text[at])))
            made = ["", text[at] * 2, text[other], text[at][:cut] + "\n", text[at].replace(": ", ": [", 1)]
            text[at] = data.draw(st.sampled_from(made))
        path.write_text("".join(text), encoding="utf-8")
        with contextlib.suppress(RuleError):
            pack.load([path])

    mangled()


def test_a_file_that_is_not_there_is_a_rule_error(tmp_path: Path) -> None:
    for read in (pack.load, pack.digest):
        with pytest.raises(RuleError, match=r"none\.yaml: cannot be read"):
            read([tmp_path / "none.yaml"])


def test_a_rules_numbers_hold_for_their_days_and_a_groups_members_too(
    small_pack: str, write: Callable[[str], Path]
) -> None:
    values = VALUES.replace("unit: TPP}", "unit: TPP, until: 2026-01-01}")
    group = GROUP.replace("name: Germany}", "name: Germany, since: 2025-01-01, until: 2025-02-01}")
    text = small_pack.replace("counters:\n", f"{group}counters:\n").replace("    counter:", f"{values}    counter:")
    loaded = pack.load([write(text)])
    numbers = [loaded.find("a_rule").values_on(date.fromisoformat(day)) for day in ("2025-12-31", "2026-01-01")]
    assert [int(found["limit"].amount) for found in numbers] == [1, 2]
    inside = [loaded.groups["club"].on(date(2025, month, 1)).inside for month in (1, 2)]
    assert inside == [{"DE"}, frozenset()]


# A table of days: where each rule stands on the days around each of its dates.
DAYS = [
    ("us_ear_4e091_2025", "2025-01-12", "not_yet_published", False),
    ("us_ear_4e091_2025", "2025-01-13", "in_force", False),
    ("us_ear_4e091_2025", "2025-01-20", "in_force", False),
    ("us_ear_4e091_2025", "2025-05-12", "in_force", False),
    ("us_ear_4e091_2025", "2025-05-13", "codified_not_enforced", False),
    ("us_ear_4e091_2025", "2025-05-15", "codified_not_enforced", False),
    ("us_ear_4e091_2025", "2026-05-11", "codified_not_enforced", False),
    ("us_ear_4e091_2025", "2026-11-22", "codified_not_enforced", False),
    ("eu_ai_act_art51", "2024-07-11", "not_yet_published", False),
    ("eu_ai_act_art51", "2025-08-01", "enacted_not_yet_effective", False),
    ("eu_ai_act_art51", "2025-08-02", "in_force", True),
    ("eu_ai_act_art51", "2026-08-01", "in_force", True),
    ("eu_ai_act_art51", "2026-08-02", "in_force", True),
    ("us_ca_sb53", "2025-09-28", "not_yet_published", False),
    ("us_ca_sb53", "2025-12-31", "enacted_not_yet_effective", False),
    ("us_ca_sb53", "2026-01-01", "in_force", True),
    ("us_ny_raise_2026", "2026-12-31", "enacted_not_yet_effective", False),
    ("us_ny_raise_2026", "2027-01-01", "in_force", None),
    ("us_ct_sb5", "2026-09-30", "enacted_not_yet_effective", False),
    ("us_ct_sb5", "2026-10-01", "in_force", None),
    ("us_il_sb315", "2026-11-22", "enacted_not_yet_effective", False),
    ("kr_ai_basic_act_decree", "2026-01-21", "not_yet_published", False),
    ("kr_ai_basic_act_decree", "2026-01-22", "in_force", True),
    ("us_eo_14110", "2023-10-29", "not_yet_published", False),
    ("us_eo_14110", "2023-10-30", "in_force", True),
    ("us_eo_14110", "2025-01-19", "in_force", True),
    ("us_eo_14110", "2025-01-20", "repealed", False),
    ("us_treasury_outbound_850", "2025-01-01", "enacted_not_yet_effective", False),
    ("us_treasury_outbound_850", "2025-01-02", "in_force", True),
    ("us_ear_3a090_2023_10", "2023-11-16", "enacted_not_yet_effective", False),
    ("us_ear_3a090_2023_10", "2023-11-17", "in_force", True),
]


@pytest.mark.parametrize(("rule", "day", "standing", "enforced"), DAYS)
def test_where_a_rule_stands_on_a_day(
    ruleset: RuleSet, rule: str, day: str, standing: str, enforced: bool | None
) -> None:
    status = ruleset.find(rule).status_on(date.fromisoformat(day))
    assert (str(status.standing), status.enforced) == (standing, enforced)
    assert status.note


def test_a_chip_rule_is_given_what_its_kind_is_asked(tmp_path: Path) -> None:
    """The class of a circuit is what a class rule finds out, and the one thing that a holder's rule is told."""
    text = (tree("configs") / "rules" / "us_ear_chips.yaml").read_text(encoding="utf-8")
    others = [path for path in pack.shipped() if path.name != "us_ear_chips.yaml"]
    path = tmp_path / "chips.yaml"
    for old, new, words in (
        ('"tpp >= 4800"', "\"eccn == 'none'\"", "unknown name 'eccn'"),
        ("\"eccn == '3A090.a'\"", '"tpp >= 4800"', "unknown name 'tpp'"),
        ("outcome: 4A090.a", "eccn: 4A090.a", "the field 'outcome' is missing"),
        ("kind: chip_holder", "kind: chip_holders", "did you mean 'chip_holder'"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(RuleError, match=words):
            pack.load([*others, path])
    path.write_text(text, encoding="utf-8")
    assert pack.load([*others, path]).find("us_ear_4a090_2023_10").kind is RuleKind.CHIP_HOLDER
