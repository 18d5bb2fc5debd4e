"""What does not fit a pack is refused with the file, the line, the field, what was expected, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from auditor.errors import ExitCode, RuleError
from auditor.rules import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUP = "groups:\n  club: {title: A club, members: [{code: DE, name: Germany}], sources: [text], certainty: primary}\n"
VALUE = "    values: [{name: limit, amount: 5, unit: operations}]\n"
TWICE = """\
    ancestry:
      - {relations: [base_model], treatment: counted, why: It counts., certainty: primary}
      - {relations: [base_model, merged], treatment: left_out, why: It does not., certainty: primary}
"""
HELD_BACK = "enforced: false\n        fines_held_back: true"

# What is changed in a pack that fits, to what, at which field it is refused, what is expected, and what to do.
TABLE = [
    ("extra_ops <= 100", "extra_opz <= 100", "exclusions[0].when", "unknown name 'extra_opz'", "did you mean"),
    ("extra_ops <= 100", "nothing_like_it <= 100", "exclusions[0].when", "known are club, counted_ops", ""),
    ("unit: operations, words", "words", "facts.extra_ops", "expected a unit for a number", ""),
    ("unit: operations, words", "unit: flops, words", "facts.extra_ops.unit", "unknown name 'flops'", "known are"),
    ("extra_ops <= 100", "extra_ops <= limit_usd", "exclusions[0].when", "unknown name 'limit_usd'", ""),
    ("extra_ops <= 100", "extra_ops <= 1e400", "exclusions[0].when", "is not an exact number", ""),
    ("extra_ops <= 100", "extra_ops <= 3j", "exclusions[0].when", "is not an exact number", ""),
    ("ops: 1e6", "ops: about 1e6", "threshold.ops", "expected a whole number of operations, such as 1e26", ""),
    ("ops: 1e6", "ops: 1e6.5", "threshold.ops", "expected a whole number of operations, such as 1e26", ""),
    ("amount: 5", "amount: some", "values[0].amount", "expected", ""),
    ("amount: 5", "amount: 5/3", "values[0].amount", "expected", ""),
    ("unit: operations}]", "unit: TPP}]\n    notes: [n]", "", "", ""),  # fits: the next line does not
    ("code: DE", "code: XX", "groups.club.members[0].code", "expected a country", ""),
    ("code: DE", "code: DEU", "groups.club.members[0].code", "expected a country", ""),
    ("effective: 2025-02-01", "effective: 2025-02-02", "rules[0].history", "in_force on the effective date", ""),
    ("date: 2025-02-01", "date: 2024-12-31", "rules[0].history[1].date", "one after 2025-01-01", ""),
    ("checked: 2026-01-01", "checked: 2026-13-01", "rules[0].checked", "expected a date such as", ""),
    ("id: everything", "id: everything\n    counts: twice", "counts", "stands twice", ""),
    ("extra_ops <= 100", "__import__('os')", "exclusions[0].when", "is not read in an expression", "Use names"),
    ("extra_ops <= 100", "extra_ops <= 100 if open_weights else 1", "exclusions[0].when", "is not read", "Use names"),
    ("    builds_on", f"{TWICE}    builds_on", "ancestry[1].relations", "each kind of ancestor once", ""),
    ("    builds_on", f"{TWICE[: TWICE.rindex('      -')]}    builds_on", "ancestry", "none speaks of data_gen", ""),
    ("enforced: false", HELD_BACK, "history[0].fines_held_back", "a status that is enforced", ""),
    ("    counter: everything", "    counter: everything\n    models: [x]", "models", "unknown name 'models'", ""),
]


@pytest.mark.parametrize("row", TABLE)
def test_the_place_what_was_expected_and_what_to_do(
    small_pack: str, write: Callable[[str], Path], row: tuple[str, str, str, str, str]
) -> None:
    old, new, field, expected, to_do = row
    fitting = small_pack.replace("counters:\n", f"{GROUP}counters:\n")
    fitting = fitting.replace("    exclusions:", f"{VALUE}    exclusions:")
    pack.load([write(fitting)])
    assert old in fitting
    changed = fitting.replace(old, new, 1)
    if not field:
        pack.load([write(changed)])
        return
    with pytest.raises(RuleError) as caught:
        pack.load([write(changed)])
    error, line = caught.value, changed[: changed.index(new)].count("\n") + 1
    place = re.match(r".*pack\.yaml:(\d+): ", str(error))
    assert place is not None, str(error)
    assert abs(int(place[1]) - line) <= new.count("\n") + 4, (line, str(error))
    for words in (field, expected):
        assert words in str(error)
    assert to_do in error.told
    assert error.remedy
    assert error.exit_code is ExitCode.USAGE


def test_units_that_do_not_go_together_are_named_with_both(small_pack: str, write: Callable[[str], Path]) -> None:
    value = "    values: [{name: limit, amount: 5, unit: TPP}]\n"
    text = small_pack.replace("    exclusions:", f"{value}    exclusions:").replace("<= 100", "<= limit")
    with pytest.raises(
        RuleError, match=r"exclusions\[0\]\.when: extra_ops is in operations and limit in TPP"
    ) as caught:
        pack.load([write(text)])
    assert "Hold quantities of one unit" in caught.value.told


def test_a_pack_that_claims_a_shipped_id_is_refused_with_what_to_do(
    small_pack: str, write: Callable[[str], Path]
) -> None:
    own = write(small_pack.replace("id: a_rule", "id: us_ca_sb53"))
    with pytest.raises(RuleError, match=r"pack\.yaml:\d+: rules\[0\]: the id 'us_ca_sb53' is taken already") as caught:
        pack.load([*pack.shipped(), own])
    assert "an id of its own" in caught.value.told
