"""The shipped rules, runs of a given size, and packs written for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auditor.operations import Amount, Bucket, Family, Operations
from auditor.rules import pack
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet

SMALL_PACK = """\
schema: auditor.rules/1
version: "1"
sources:
  text: {title: A text, locator: somewhere, read: 2026-11-22}
facts:
  open_weights: {kind: flag, words: Are the weights open}
  extra_ops: {kind: amount, unit: operations, words: How many more}
counters:
  - id: everything
    title: Everything
    counts: Counts everything.
    leaves_out: Leaves out nothing.
    lines:
      - {treatment: counted, why: It all counts., certainty: primary}
    builds_on_earlier: [fine-tuning]
    sources: [text]
rules:
  - id: a_rule
    kind: model_threshold
    title: A rule
    authority: Somebody
    citation: A citation
    published: 2025-01-01
    effective: 2025-02-01
    checked: 2026-01-01
    history:
      - date: 2025-01-01
        status: enacted_not_yet_effective
        enforced: false
        note: Soon.
        sources: [text]
        certainty: primary
      - date: 2025-02-01
        status: in_force
        enforced: true
        note: Now.
        sources: [text]
        certainty: primary
    threshold: {ops: 1e6, comparison: ">"}
    counter: everything
    exclusions:
      - id: open
        words: its weights are open.
        when: open_weights and extra_ops <= 100
        sources: [text]
        certainty: primary
    sources: [text]
    certainty: primary
"""


@pytest.fixture(scope="session")
def ruleset() -> RuleSet:
    return pack.load()


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Operations]:
    """Builds a run: ``run_of(10**26)`` or ``run_of({("forward", "pre-training"): 5})``."""

    def build(amounts: int | dict[tuple[str, str], int | Amount], unpriced: dict[str, int] | None = None) -> Operations:
        if isinstance(amounts, int):
            amounts = {("forward", "pre-training"): amounts}
        return Operations(
            {
                Bucket(Phase(phase), Family.MATMUL, "bfloat16", Purpose(purpose)): (
                    amount if isinstance(amount, Amount) else Amount(amount)
                )
                for (phase, purpose), amount in amounts.items()
            },
            unpriced or {},
        )

    return build


@pytest.fixture
def small_pack() -> str:
    return SMALL_PACK


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def to_file(text: str, name: str = "pack.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file
