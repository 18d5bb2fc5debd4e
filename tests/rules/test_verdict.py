"""Verdicts: the edges of every line, what each law counts, and what keeps an answer open."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import RuleError
from auditor.operations import Amount, Bucket, Family, Operations
from auditor.rules import pack
from auditor.rules.counter import Treatment
from auditor.rules.counting import count
from auditor.rules.verdict import Finding, evaluate
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet

    RunOf = Callable[..., Operations]

TODAY = date(2026, 11, 22)
US = "us_ear_4e091_2025"


def finding(ruleset: RuleSet, rule: str, operations: Operations, **given_facts: object) -> Finding:
    options = {"as_of": TODAY, **given_facts}
    return next(one for one in evaluate(ruleset, operations, **options) if one.id == rule)  # type: ignore[arg-type]


EDGES = [
    (US, 10**26 - 1, "not reached"),
    (US, 10**26, "reached"),
    (US, 10**26 + 1, "reached"),
    ("eu_ai_act_art51", 10**25 - 1, "not reached"),
    ("eu_ai_act_art51", 10**25, "not reached"),
    ("eu_ai_act_art51", 10**25 + 1, "reached"),
    ("eu_gpai_indicative_2025", 10**23, "not reached"),
    ("eu_gpai_indicative_2025", 10**23 + 1, "reached"),
    ("us_ca_sb53", 10**26, "not reached"),
    ("us_ca_sb53", 10**26 + 1, "reached"),
    ("us_ny_raise_2026", 10**26, "not reached"),
    ("us_ny_raise_2026", 10**26 + 1, "reached"),
    ("us_il_sb315", 10**26, "not reached"),
    ("us_il_sb315", 10**26 + 1, "reached"),
    ("us_ct_sb5", 10**26, "not reached"),
    ("us_ct_sb5", 10**26 + 1, "reached"),
    ("kr_ai_basic_act_decree", 10**26 - 1, "not reached"),
    ("kr_ai_basic_act_decree", 10**26, "reached"),
    ("us_treasury_outbound_850", 10**23, "not reached"),
    ("us_treasury_outbound_850", 10**23 + 1, "reached"),
    ("us_treasury_outbound_850_prohibited", 10**25, "not reached"),
    ("us_treasury_outbound_850_prohibited", 10**25 + 1, "reached"),
]


@pytest.mark.parametrize(("rule", "ops", "verdict"), EDGES)
def test_one_operation_decides(ruleset: RuleSet, run_of: RunOf, rule: str, ops: int, verdict: str) -> None:
    found = finding(ruleset, rule, run_of(ops))
    assert (found.counted_ops, found.verdict) == (ops, verdict)
    assert found.fraction == Decimal(ops) / found.threshold_ops
    assert found.source
    assert found.counted_words
    assert found.left_out_words


# What each law makes of each kind of operations: +, counted; -, left out; ?, not decided by the record.
KINDS = [
    ("forward", "pre-training"),
    ("optimizer", "fine-tuning"),
    ("recompute", "pre-training"),
    ("inference", "pre-training"),
    ("inference", "reinforcement-learning"),
    ("backward", "reinforcement-learning"),
    ("inference", "synthetic-data"),
    ("backward", "synthetic-data"),
    ("inference", "evaluation"),
    ("backward", "exploration"),
]
TREATMENT = [
    ("us_4e091", "++--?+??-?"),
    ("eu_cumulative", "++--+++?--"),
    ("eu_direct", "++---+----"),
    ("us_ca_sb53", "+++-++??-?"),
    ("kr_decree", "+++-++??-?"),
    ("us_as_executed", "+++-++??-?"),
]


@pytest.mark.parametrize(("counter", "marks"), TREATMENT)
def test_what_each_law_counts(ruleset: RuleSet, run_of: RunOf, counter: str, marks: str) -> None:
    for (phase, purpose), mark in zip(KINDS, marks, strict=True):
        counted = count(ruleset.counters[counter], run_of({(phase, purpose): 7}))
        amounts = {"+": counted.counted_ops, "-": counted.left_out_ops, "?": counted.undetermined_ops}
        assert amounts == {"+": 0, "-": 0, "?": 0} | {mark: 7}, (phase, purpose)


@pytest.mark.parametrize(
    ("rule", "counted_ops"),
    [(US, 100), ("eu_ai_act_art51", 100), ("us_ca_sb53", 130), ("us_ny_raise_2026", 130)],
)
def test_repeated_scores_count_where_execution_counts(
    ruleset: RuleSet, run_of: RunOf, rule: str, counted_ops: int
) -> None:
    run = run_of({("backward", "pre-training"): Amount(100, 30, 40)})
    assert finding(ruleset, rule, run).counted_ops == counted_ops


@pytest.mark.parametrize(
    ("facts", "amounts"),  # counted, left out, undetermined
    [
        ({}, (100, 0, 37)),
        ({"synthetic_data_is_public": False, "synthetic_training_is_auxiliary": False}, (130, 0, 7)),
        ({"synthetic_data_is_public": True}, (100, 30, 7)),
        ({"synthetic_data_is_public": True, "synthetic_training_is_auxiliary": True}, (100, 37, 0)),
    ],
)
def test_an_answer_leaves_out_what_the_guidelines_do_not_ask_for(
    ruleset: RuleSet, run_of: RunOf, facts: dict[str, object], amounts: tuple[int, int, int]
) -> None:
    run = run_of(
        {("backward", "pre-training"): 100, ("inference", "synthetic-data"): 30, ("backward", "synthetic-data"): 7}
    )
    found = finding(ruleset, "eu_ai_act_art51", run, facts=facts)
    assert (found.counted_ops, found.left_out_ops, found.undetermined_ops) == amounts


amounts = st.builds(
    lambda needed, skippable, repeated: Amount(needed + skippable, repeated, skippable),
    st.integers(0, 10**30),
    st.integers(0, 10**30),
    st.integers(0, 10**30),
)
buckets = st.builds(
    Bucket, st.sampled_from(Phase), st.sampled_from(Family), st.just("bfloat16"), st.sampled_from(Purpose)
)


@given(st.dictionaries(buckets, amounts, max_size=8))
def test_no_operation_is_lost_or_counted_twice(contents: dict[Bucket, Amount]) -> None:
    operations = Operations(contents, {})
    for counter in SHIPPED.counters.values():
        counted = count(counter, operations)
        assert counted.counted_ops + counted.left_out_ops + counted.undetermined_ops == operations.total
        assert sum(part.amount_ops for part in counted.parts) == operations.total


SHIPPED = pack.load()


@given(
    st.dictionaries(buckets, amounts, max_size=6),
    st.dictionaries(buckets, amounts, max_size=6),
    st.sampled_from(Treatment),
)
def test_abandoned_steps_are_what_their_counter_makes_of_them(
    kept: dict[Bucket, Amount], given_up: dict[Bucket, Amount], treatment: Treatment
) -> None:
    progress, abandoned = Operations(kept, {}), Operations(given_up, {})
    for shipped in SHIPPED.counters.values():
        assert shipped.abandoned is Treatment.COUNTED
        counter = replace(shipped, abandoned=treatment)
        alone, whole = count(counter, progress), count(counter, progress + abandoned, abandoned)
        if treatment is Treatment.COUNTED:
            assert whole == count(counter, progress + abandoned)
            continue
        set_aside = {Treatment.LEFT_OUT: (0, abandoned.total, 0), Treatment.UNDETERMINED: (0, 0, abandoned.total)}
        found = (whole.counted_ops, whole.left_out_ops, whole.undetermined_ops)
        before = (alone.counted_ops, alone.left_out_ops, alone.undetermined_ops)
        assert found == tuple(map(sum, zip(before, set_aside[treatment], strict=True)))
        assert whole.set_aside_ops == abandoned.total


def test_a_pack_says_what_becomes_of_abandoned_steps(tmp_path: Path, root: Path, run_of: RunOf) -> None:
    packs = root / "configs" / "rules"
    changed = (
        (packs / "eu.yaml").read_text(encoding="utf-8").replace("    lines:\n", "    abandoned: left_out\n    lines:\n")
    )
    (tmp_path / "eu.yaml").write_text(changed, encoding="utf-8")
    run, part = run_of({("forward", "pre-training"): 25}), run_of({("forward", "pre-training"): 10})
    told = "10 operations of steps that were abandoned are left out."
    for eu, counted_ops in ((tmp_path / "eu.yaml", 15), (packs / "eu.yaml", 25)):
        loaded = pack.load([eu, *(path for path in sorted(packs.glob("*.yaml")) if path.name != "eu.yaml")])
        findings = evaluate(loaded, run, as_of=date(2026, 11, 22), abandoned=part)
        of_the_eu = [found for found in findings if found.id.startswith("eu_")]
        assert of_the_eu
        for found in of_the_eu:
            assert found.counted_ops == counted_ops
            assert (told in found.reasons) == (counted_ops == 15)


def test_an_unpriced_operator_keeps_the_answer_open_below_the_line_only(ruleset: RuleSet, run_of: RunOf) -> None:
    below = finding(ruleset, US, run_of({("forward", "pre-training"): 5}, {"my::op": 1}))
    assert (below.verdict, below.lower_bound, below.line_reached) == ("undetermined", True, None)
    assert any("1 operators have no price" in reason for reason in below.reasons)
    above = finding(ruleset, US, run_of({("forward", "pre-training"): 10**26}, {"my::op": 1}))
    assert (above.verdict, above.lower_bound) == ("reached", True)


def test_a_record_with_gaps_is_undetermined_below_the_line(ruleset: RuleSet, run_of: RunOf) -> None:
    found = finding(ruleset, US, run_of(5), lower_bound=True)
    assert found.verdict == "undetermined"
    assert any("not in the record" in reason for reason in found.reasons)


def test_what_the_law_may_count_matters_only_where_it_could_reach_the_line(ruleset: RuleSet, run_of: RunOf) -> None:
    small = finding(ruleset, US, run_of({("forward", "pre-training"): 5, ("inference", "synthetic-data"): 6}))
    assert (small.verdict, small.counted_ops, small.undetermined_ops) == ("not reached", 5, 6)
    large = finding(
        ruleset,
        US,
        run_of({("forward", "pre-training"): 6 * 10**25, ("inference", "synthetic-data"): 4 * 10**25}),
    )
    assert large.verdict == "undetermined"
    assert any("10 %" in reason for reason in large.reasons)


def test_fine_tuning_without_the_training_before_it_is_undetermined(ruleset: RuleSet, run_of: RunOf) -> None:
    run = run_of({("forward", "fine-tuning"): 5})
    assert finding(ruleset, US, run).verdict == "undetermined"
    assert finding(ruleset, US, run, facts={"prior_ops": 0}).verdict == "not reached"
    added = finding(ruleset, US, run, facts={"prior_ops": "1e26"})
    assert (added.verdict, added.counted_ops) == ("reached", 10**26 + 5)
    both = run_of({("forward", "pre-training"): 1, ("forward", "fine-tuning"): 5})
    assert finding(ruleset, US, both).verdict == "not reached"


# The whole test of 4E091: operations counted, what is answered, verdict, what excludes, what stays open.
CONTROL = [
    (10**26, {}, "reached", (), ("published", "derived_from_published", "relative")),
    (10**26, {"published": True}, "not reached", ("published",), ("derived_from_published", "relative")),
    (10**26, {"published": False, "derived_from_published": False, "n2_ops": 10**26}, "reached", (), ()),
    (10**26, {"n2_ops": 10**26 + 1}, "not reached", ("relative",), ("published", "derived_from_published")),
    (
        10**26,
        {"published": False, "derived_from_published": True, "n2_ops": 1},
        "reached",
        (),
        ("derived_from_published",),
    ),
    (
        2 * 10**26,
        {"published": False, "derived_from_published": True, "additional_ops": "2.5e25", "n2_ops": 10**26},
        "not reached",
        ("derived_from_published",),
        (),
    ),
    (
        2 * 10**26,
        {
            "published": False,
            "derived_from_published": True,
            "additional_ops": 25 * 10**24 + 1,
            "n2_ops": 10**26,
        },
        "reached",
        (),
        (),
    ),
    (
        2 * 10**26,
        {
            "published": False,
            "derived_from_published": True,
            "additional_ops": 5 * 10**25,
            "n2_ops": 2 * 10**26,
        },
        "not reached",
        ("derived_from_published",),
        (),
    ),
    (
        2 * 10**26,
        {"published": False, "derived_from_published": True, "additional_ops": 10**25},
        "not reached",
        ("derived_from_published",),
        ("relative",),
    ),
    (
        2 * 10**26,
        {"published": False, "derived_from_published": True, "additional_ops": 3 * 10**25},
        "reached",
        (),
        ("derived_from_published", "relative"),
    ),
    (10**26 - 1, {"published": True}, "not reached", ("published",), ("derived_from_published", "relative")),
]


@pytest.mark.parametrize("case", CONTROL)
def test_the_whole_test_of_4e091(
    ruleset: RuleSet,
    run_of: RunOf,
    case: tuple[int, dict[str, object], str, tuple[str, ...], tuple[str, ...]],
) -> None:
    ops, facts, *expected = case
    found = finding(ruleset, US, run_of(ops), facts=facts)
    assert [found.verdict, found.excluded_by, found.open_clauses] == expected


def test_reasons_speak_of_exclusions_only_where_the_line_is_reached(ruleset: RuleSet, run_of: RunOf) -> None:
    below = " ".join(finding(ruleset, US, run_of(5)).reasons)
    above = " ".join(finding(ruleset, US, run_of(10**26)).reasons)
    assert "Not answered" not in below
    assert above.count("Not answered") == 3


def test_a_condition_that_is_not_met_takes_the_model_out(ruleset: RuleSet, run_of: RunOf) -> None:
    found = finding(ruleset, "us_ca_sb53", run_of(10**27), facts={"is_foundation_model": False})
    assert (found.verdict, found.line_reached, found.excluded_by) == (
        "not reached",
        True,
        ("foundation_model",),
    )
    assert any("not met" in reason for reason in found.reasons)


def test_the_tolerance_is_told_and_does_not_move_the_line(ruleset: RuleSet, run_of: RunOf) -> None:
    near = finding(ruleset, "eu_ai_act_art51", run_of(8 * 10**24))
    far = finding(ruleset, "eu_ai_act_art51", run_of(7 * 10**24))
    assert near.verdict == far.verdict == "not reached"
    assert any("within 30 %" in reason and "either side" in reason for reason in near.reasons)
    assert not any("either side" in reason for reason in far.reasons)
    assert any("8.0e24" in reason for reason in near.reasons)


def test_rules_of_the_day_are_listed_and_no_others(ruleset: RuleSet, run_of: RunOf) -> None:
    def listed(day: str) -> dict[str, str]:
        return {one.id: one.status for one in evaluate(ruleset, run_of(5), as_of=date.fromisoformat(day))}

    assert listed("2023-10-29") == {}
    assert listed("2024-01-01") == {"us_eo_14110": "in_force"}
    assert "us_eo_14110" not in listed("2025-01-20")
    assert listed("2025-01-20")[US] == "in_force"
    assert listed("2025-05-13")[US] == "codified_not_enforced"
    assert listed("2026-11-22")["us_ny_raise_2026"] == "enacted_not_yet_effective"
    assert listed("2026-11-22")["us_ca_sb53"] == "in_force"


def test_the_status_of_4e091_is_told_plainly(ruleset: RuleSet, run_of: RunOf) -> None:
    found = finding(ruleset, US, run_of(5))
    assert found.enforced is False
    for words in ("2025-05-13", "not to be enforced", "still printed", "GAO", "last checked on 2026-07-23"):
        assert words in found.status_note
    assert "90 FR 4544" in found.source
    assert "gao.gov/products/b-337935" in found.source
    assert "2026-08-14" in found.source


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"publishd": True}, "no rule asks for 'publishd'"),
        ({"published": "yes"}, "expected yes or no"),
        ({"published": 1}, "expected yes or no"),
        ({"n2_ops": -1}, "not negative"),
        ({"n2_ops": True}, "expected a number"),
        ({"n2_ops": "many"}, "expected a number"),
        ({"n2_ops": 1e26}, "expected a number"),  # a float is not exact
    ],
)
def test_an_answer_of_the_wrong_kind_is_refused(
    ruleset: RuleSet, run_of: RunOf, facts: dict[str, object], words: str
) -> None:
    with pytest.raises(RuleError) as caught:
        evaluate(ruleset, run_of(5), as_of=TODAY, facts=facts)
    assert words in str(caught.value)
    assert caught.value.remedy


def test_an_answer_of_none_is_no_answer(ruleset: RuleSet, run_of: RunOf) -> None:
    assert finding(ruleset, US, run_of(10**26), facts={"published": None}) == finding(ruleset, US, run_of(10**26))
