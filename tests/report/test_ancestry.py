"""The headline says what is known of the weights that a run was made from, and what of it was abandoned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from auditor.lineage import declared
from auditor.lineage.family import Family
from auditor.records import Weights
from auditor.report import html, terminal
from auditor.report import view as views
from tests.ledger.conftest import WEIGHTS
from tests.report.conftest import AS_OF, GENERATED, STEP, Writing, read, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.report.view import View


def weights(event: str, digit: str, name: str = "base.pt") -> Weights:
    return replace(WEIGHTS, event=event, name=name, digest=digit * 64, files=((digit * 64, 3, ""),))


SAID = f"""
schema: auditor.lineage/1
models:
  base:
    weights: ["{"a" * 64}"]
    spent: [{{operations: 3e24, source: report, certainty: secondary}}]
"""


def words(text: str) -> str:
    return " ".join(text.split())


def test_unknown_weights_make_the_headline_a_lower_bound(make_view: Callable[..., View], check: Any) -> None:
    view = make_view(weights=[weights("loaded", "a"), weights("saved", "b", "own.pt")])
    assert (view.complete, view.floor) == (True, True)
    text = words(terminal.render(view))
    assert "Model small test model: at least " in text
    assert "For the model this is a lower bound: small test model was made from base.pt (SHA-256 aaaaaaaaaaaa…)" in text
    page = html.render(view)
    assert "For the model this is a lower bound" in page
    assert "<small>at least</small>" in page
    ancestry = check(view)["ancestry"]
    assert [one["sha256"] for one in ancestry["loaded"]] == ["a" * 64]
    assert [one["name"] for one in ancestry["saved"]] == ["own.pt"]
    assert len(ancestry["unknown"]) == 1
    below = [finding for finding in view.rules if finding.verdict != "reached"]
    assert below
    for finding in below:
        assert (finding.verdict, finding.lower_bound) == ("undetermined", True)
        assert any("which no known run saved" in reason for reason in finding.reasons)


def test_a_run_that_goes_on_from_its_own_weights_says_nothing_of_it(make_view: Callable[..., View], check: Any) -> None:
    view = make_view(weights=[weights("saved", "a"), weights("loaded", "a")])
    assert not view.floor
    assert "lower bound" not in terminal.render(view)
    assert check(view)["ancestry"]["loaded"] == []


def test_what_is_declared_is_told_and_each_law_counts_of_it_what_it_does(
    tmp_path: Path, ruleset: Any, chips: Any, check: Any
) -> None:
    reading = read(write(tmp_path / "ledger", Writing(weights=[weights("loaded", "a")])))
    family = Family.of(reading, declared=declared.parse(SAID))
    view = views.build(reading, ruleset, chips, as_of=AS_OF, generated=GENERATED, family=family)
    text = words(terminal.render(view))
    assert "The model descends from base: each law below counts of these what it does." in text
    assert "Beside the operations of this run, 3.000e24 are stated of its model and of these." in text
    assert view.floor
    for finding in view.rules:  # the made-up law does not say whether a base model's training counts
        assert any("The training of base may count" in reason for reason in finding.reasons)
        assert finding.undetermined_ops >= 3 * 10**24
    assert check(view)["ancestry"] | {"loaded": []} == {
        "unknown": [],
        "models": ["base"],
        "recorded": "0",
        "stated": str(3 * 10**24),
        "ledgers": [],
        "saved": [],
        "loaded": [],
    }


def test_what_was_abandoned_is_told_beside_the_total(make_view: Callable[..., View], check: Any) -> None:
    view = make_view(intervals=((2, STEP, 2), (3, STEP, 3)), rolled_back=True)
    assert (view.run.steps, view.abandoned_steps) == (2, 3)
    assert view.abandoned.total * 5 == view.operations.total * 3
    assert "in 3 steps beside those above were abandoned" in words(terminal.render(view))
    operations = check(view)["operations"]
    assert (operations["abandoned"], operations["abandoned_steps"]) == (str(view.abandoned.total), 3)
