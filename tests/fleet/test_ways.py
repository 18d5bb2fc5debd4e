"""Which rules are asked, held against the packs: no outcome of theirs is without its place, and none is misspelt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.fleet import ways
from auditor.fleet.inventory import Under
from auditor.fleet.parts import catalogued, equivalent_tpp
from auditor.rules.model import RuleKind
from auditor.rules.paragraphs import NONE

if TYPE_CHECKING:
    from auditor.hardware.chips import Catalogue
    from auditor.rules.model import RuleSet

# Outcomes by which a way is closed: with those in auditor/fleet/ways.py they are all that the packs have.
CLOSED = {
    "us_ear_le_aia_chips": {NONE},
    "us_ear_le_acm": {NONE},
    "us_ear_le_lpp": {NONE},
    "us_ear_740_2_exceptions_2025": set(),
    "us_ear_nac_aca_case_2023": {NONE},
    "us_ear_uveu_holder_2025": {NONE},
    "us_ear_uveu_2025": {"over a share"},
    "us_ear_nveu_holder_2025": {NONE},
    "us_ear_nveu_2025": {"over the allocation", NONE},
    "us_ear_uae_2026_07": {NONE},
    "us_ear_licence_review_2025": {"presumption of denial", NONE},
    "us_ear_licence_review_b_2025": {"presumption of denial"},
    "us_ear_china_review_case_2026": {"presumption of denial"},
    "us_ear_country_cap_2025": {"policy of denial", NONE},
}


def test_every_outcome_of_a_rule_that_is_asked_has_its_place(ruleset: RuleSet) -> None:
    known: dict[str, set[str]] = {}
    for step in [step for way in ways.WAYS for step in way.steps]:
        known[step.rule] = {*step.opens, *step.unsettled}
    for review in ways.REVIEWS:
        known[review.step.rule] = {*review.step.opens, *review.refers, *review.silent}
        if review.then is not None:
            known[review.then.rule] = set(review.then.opens)
    assert known.keys() == CLOSED.keys()
    for rule_id, outcomes in known.items():
        assert outcomes.isdisjoint(CLOSED[rule_id])
        printed = {paragraph.outcome for paragraph in ruleset.find(rule_id).paragraphs} | {NONE}
        assert outcomes | CLOSED[rule_id] == printed, rule_id
    for rule_id in (*ways.REQUIREMENTS, ways.NO_EXPORT):
        outcome = ways.REQUIRED if rule_id in ways.REQUIREMENTS else "no export"
        assert {paragraph.outcome for paragraph in ruleset.find(rule_id).paragraphs} == {outcome}


def test_every_way_but_a_licence_and_none_is_asked_of_rules(ruleset: RuleSet) -> None:
    assert {way.under for way in ways.WAYS} == set(Under) - {Under.LICENCE, Under.NOTHING}
    assert all(ruleset.find(rule).kind is RuleKind.CASE_TEST for rule in ways.rules_asked())


def test_the_questions_that_an_inventory_answers_are_frozen(ruleset: RuleSet) -> None:
    assert ways.questions(ruleset) == (
        "develops_produces_or_stores",
        "private_sector_end_user",
        "trains_4e091_for_outsiders",
        "uae_government_or_supplement_8",
        "us_headquartered_ai_company",
    )


def test_the_country_cap_is_worth_49899_of_the_chip_that_amounts_are_told_in(
    ruleset: RuleSet, chips: Catalogue
) -> None:
    """Rounded: 49,898 fit, and the next one goes over by 968 TPP."""
    (cap,) = ruleset.find(ways.COUNTRY_CAP).values
    each = equivalent_tpp(chips)
    assert each == 15832
    assert round(cap.amount / each) == 49899
    assert cap.amount // each == 49898
    assert 49899 * each - cap.amount == 968


def test_every_chip_of_the_catalogue_may_stand_in_an_inventory(chips: Catalogue) -> None:
    for chip in chips.chips:
        part = catalogued(chip)
        assert part.source.startswith("catalogue")
        assert part.tpp is None or part.tpp.low is not None
