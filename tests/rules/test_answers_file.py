"""Files of answers: each with its place; what does not fit is refused with file, line and field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auditor.errors import RuleError
from auditor.rules.answers_file import read_file
from auditor.rules.expressions import Result
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditor.rules.model import RuleSet

GIVEN = """\
schema: auditor.answers/1
answers:
  published: false
  n2_ops: {value: 2.5e25, source: a technical opinion}
  destination: DE
  item_eccn: 3A090.a
  original_ops:
  prior_ops: {value: 1e24, source: the maker's model card}
generators:
  - {name: teacher, published: true, trained_on_ops: 3e24, generation_ops: 1e24}
  - {name: own, published:, in_record: true}
"""


def test_answers_are_read_with_their_places(ruleset: RuleSet, write: Callable[..., Path]) -> None:
    found = read_file(write(GIVEN, "answers.yaml"), ruleset)
    assert found.values == {
        "published": Result(False),
        "n2_ops": Result(Range.exactly(25 * 10**24)),
        "destination": Result("DE"),
        "item_eccn": Result("3A090.a"),
        "prior_ops": Result(Range.exactly(10**24)),
    }
    assert found.origins["n2_ops"] == "answers.yaml, line 4: a technical opinion"
    assert found.origins["prior_ops"] == "answers.yaml, line 8: the maker's model card"
    assert found.stated["n2_ops"] == "2.5e25"
    assert found.generators is not None
    teacher, own = found.generators
    assert (teacher.published, teacher.trained_on_ops, teacher.training_ops) == (True, 3 * 10**24, None)
    assert (own.published, own.in_record, own.generation_ops) == (None, True, None)


def test_no_generators_is_an_answer_and_silence_is_none(ruleset: RuleSet, write: Callable[..., Path]) -> None:
    head = "schema: auditor.answers/1\n"
    assert read_file(write(head), ruleset).generators is None
    assert read_file(write(f"{head}generators: []\n"), ruleset).generators == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("auditor.answers/1", "auditor.answers/2", ["expected 'auditor.answers/1'"]),
        ("published: false", "publishd: false", [":3:", "did you mean 'published'"]),
        ("published: false", "published: no", [":3:", "answers.published", "true or false"]),
        ("value: 2.5e25", "value: plenty", [":4:", "answers.n2_ops.value", "not negative, in operations", "'plenty'"]),
        ("value: 2.5e25", "value: -1", [":4:", "not negative"]),
        (
            "{value: 2.5e25, source: a technical opinion}",
            "2.5e25",
            [":4:", "answers.n2_ops", "a value with its source"],
        ),
        ("source: a technical opinion", 'source: " "', [":4:", "answers.n2_ops.source", "who says so"]),
        ("destination: DE", "destination: Germany", [":5:", "unknown country 'Germany'"]),
        ("destination: DE", "destination: UK", [":5:", "unknown country 'UK'"]),
        ("published: false", "is_4e091: true", [":3:", "answered by the rule us_ear_4e091_2025"]),
        ("trained_on_ops: 3e24", "trained_on_ops: 0.5", ["a whole number of operations"]),
        ("trained_on_ops: 3e24", "trained_ops: 3e24", ["did you mean 'trained_on_ops'"]),
        ("name: own", "name: teacher", ["each generator once"]),
        ("published: true,", "in_record: true,", ["generation_ops", "none beside in_record"]),
        ("generation_ops: 1e24}", "in_record: true}", ["at most one generator"]),
        ("source: the maker's", "sauce: the maker's", [":8:", "the field 'source' is missing"]),
        ("value: 1e24", "value: some", [":8:", "answers.prior_ops.value", "'some'"]),
        ("value: 1e24", "value: '1,000'", [":8:", "thousands separators are not read: write 1000"]),
        ("generators:", "generator:", ["did you mean 'generators'"]),
    ],
)
def test_what_does_not_fit_is_named(
    ruleset: RuleSet, write: Callable[..., Path], old: str, new: str, words: list[str]
) -> None:
    assert old in GIVEN
    with pytest.raises(RuleError) as caught:
        read_file(write(GIVEN.replace(old, new, 1), "answers.yaml"), ruleset)
    assert "answers.yaml:" in str(caught.value)
    for word in words:
        assert word in str(caught.value)
