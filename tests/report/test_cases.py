"""Rules about a transaction, a party or a use, as reports tell them: in groups, the most relevant first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from auditor.report import html, terminal
from auditor.report import view as views
from auditor.report.cases import Weight
from auditor.rules import pack
from auditor.rules.model import Mode
from tests.report.conftest import AS_OF, GENERATED, Writing, read, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.report.view import View
    from auditor.rules.model import RuleSet

LAW = pack.load()


@pytest.fixture
def told(tmp_path: Path, chips: Any, h200: dict[str, str]) -> Callable[..., View]:
    """The view of a run on an H200, under the shipped law, with these answers."""
    reading = read(write(tmp_path / "ledger", Writing(devices=(h200,))))

    def build(law: RuleSet = LAW, mode: Mode = Mode.AS_CODIFIED, **answers: object) -> View:
        return views.build(reading, law, chips, as_of=AS_OF, generated=GENERATED, facts=answers, mode=mode)

    return build


def outcomes(view: View) -> dict[str, tuple[Weight, str, bool]]:
    return {one.id: (weight, one.outcome, one.binds) for weight, several in view.cases for one in several}


CONTROLLED = {"prior_ops": "1e26", "published": False, "derived_from_published": False, "n2_ops": "1"}
COMPUTE = {"provides_compute": True, "customer_headquarters": "SG", "customer_parent": "US"}
ABROAD = {"made_outside_us": True, "plant_subject_to_ear": True}


def test_what_follows_comes_first_and_what_no_record_shows_later(told: Callable[..., View], check: Any) -> None:
    view = told(**CONTROLLED, **COMPUTE, **ABROAD, military_or_surveillance_use=False)
    found = outcomes(view)
    assert found["us_treasury_outbound_850_use"] == (Weight.NOTHING, "none", True)
    assert found["us_ear_red_flag_28"] == (Weight.FOLLOWS, "raised", True)
    assert found["us_ear_734_9_l"] == (Weight.FOLLOWS, "subject to the EAR", True)  # the record's H200 made them
    assert found["us_ear_le_aia_weights"] == (Weight.OPEN_BY_RECORD, "undetermined", True)
    assert found["us_ear_le_acm"] == (Weight.OPEN, "undetermined", True)
    assert found["us_treasury_outbound_850_prohibited_bio"][0] is Weight.OPEN_BY_RECORD
    assert [weight for weight, _ in view.cases] == list(Weight)
    text = terminal.render(view)
    places = [text.index(f"{weight}:") for weight in Weight]
    assert places == sorted(places)
    said = {one["id"]: one for one in check(view)["cases"]}
    assert said["us_ear_red_flag_28"]["group"] == "follows"
    assert said["us_ear_le_aia_weights"]["open"][0]["asks"].startswith("To which country do the items")
    assert said["eu_gpai_modifier_third"]["in_words"].startswith("Of 2.949e6 operations in the record")
    page = html.render(view)
    assert "raised" in page[page.index("What follows from other rules") : page.index("bears on it")]
    assert "In which country does the recipient have its headquarters?" in page


def test_a_rule_that_does_not_bind_says_so_after_those_that_do(told: Callable[..., View]) -> None:
    view = told(mode=Mode.AS_ENFORCED, **CONTROLLED, **COMPUTE, **ABROAD)
    assert outcomes(view)["us_ear_red_flag_28"] == (Weight.FOLLOWS, "raised", False)
    for _, several in view.cases:
        bound = [one.binds for one in several]
        assert bound == sorted(bound, reverse=True)
    assert "codified, not enforced; it does not bind" in html.render(view)


def test_fines_that_are_held_back_are_told_and_the_rule_binds(told: Callable[..., View], check: Any) -> None:
    view = told(mode=Mode.AS_ENFORCED)
    (korea,) = [finding for finding in view.rules if finding.id == "kr_ai_basic_act_decree"]
    assert (korea.binds, korea.enforced, korea.fines_held_back) == (True, True, True)
    assert "in force, fines held back" in html.render(view)
    assert "held back" in terminal.render(view)
    (said,) = [one for one in check(view)["rules"] if one["id"] == korea.id]
    assert (said["fines_held_back"], said["binds"]) == (True, True)


def test_every_law_says_in_a_sentence_what_it_counted(told: Callable[..., View], check: Any) -> None:
    view = told()
    sentences = {one["id"]: one["in_words"] for one in check(view)["rules"]}
    for rule, words in sentences.items():
        assert words.startswith("Of 2.949e6 operations in the record "), rule
        assert " count" in words, rule
    text, page = " ".join(terminal.render(view).split()), html.render(view)
    for words in set(sentences.values()):
        assert words in text
        assert words in page


def test_a_law_without_such_rules_has_no_such_section(make_view: Callable[..., View]) -> None:
    view = make_view()
    assert view.cases == ()
    assert "other rules ask" not in terminal.render(view) + html.render(view)
