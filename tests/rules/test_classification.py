"""Chip classes: each side of every edge of 3A090.a and .b, Note 2, and what stays open without an area."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.rules import pack
from auditor.rules.verdict import Classification, classify_chip

if TYPE_CHECKING:
    from auditor.rules.model import RuleSet

TODAY = date(2026, 11, 22)
SHIPPED = pack.load()


def classify(tpp: object, density: object, data_centre: bool | None = True) -> Classification:
    exact = [Decimal(number) if isinstance(number, str) else number for number in (tpp, density)]
    return classify_chip(
        SHIPPED,
        tpp=exact[0],  # type: ignore[arg-type]
        performance_density=exact[1],  # type: ignore[arg-type]
        data_centre=data_centre,
        as_of=TODAY,
    )


# TPP, performance density, for data centres, ECCN, paragraph.
TABLE = [
    ("4800", "0.1", True, "3A090.a", "3A090.a.1"),
    ("4799.99", "0.1", True, "none", ""),
    ("4800", "0.1", False, "3A090.a", "3A090.a.1"),
    ("4799.99", "9", False, "none", ""),
    ("1600", "5.92", True, "3A090.a", "3A090.a.2"),
    ("1599.99", "5.92", True, "none", ""),
    ("1600", "5.9199", True, "3A090.b", "3A090.b.2"),
    ("1600", "3.2", True, "3A090.b", "3A090.b.2"),
    ("1600", "3.1999", True, "none", ""),
    ("1599.99", "3.2", True, "none", ""),
    ("2400", "1.6", True, "3A090.b", "3A090.b.1"),
    ("2400", "1.5999", True, "none", ""),
    ("2399.99", "1.6", True, "none", ""),
    ("4799.99", "1.6", True, "3A090.b", "3A090.b.1"),
    ("2400", "3.2", True, "3A090.b", "3A090.b.1 and 3A090.b.2"),
    ("2400", "5.9199", True, "3A090.b", "3A090.b.1 and 3A090.b.2"),
    ("2400", "5.92", True, "3A090.a", "3A090.a.2"),
    ("4800", "5.92", True, "3A090.a", "3A090.a.1 and 3A090.a.2"),
    ("4800", "3.2", True, "3A090.a", "3A090.a.1"),  # meets b.2 as well; .a comes first
    ("15832", "19.45", True, "3A090.a", "3A090.a.1 and 3A090.a.2"),
    ("2368", "2.909", True, "none", ""),
    ("4707", "7.736", False, "none", ""),
    # The area, or the market, is not known.
    ("4800", None, None, "3A090.a", "3A090.a.1"),
    ("1599.99", None, None, "none", ""),
    ("3152", None, True, "undetermined", ""),
    ("3152", None, False, "none", ""),
    ("3152", "7", None, "undetermined", ""),
    (None, "19.45", True, "undetermined", ""),
    (None, None, None, "undetermined", ""),
    # Ranges.
    (("13368", "15832"), ("16.4", "19.5"), True, "3A090.a", "3A090.a.1 and 3A090.a.2"),
    (("4700", "4900"), "1", True, "undetermined", ""),
    (("1700", "1800"), ("6", "7"), True, "3A090.a", "3A090.a.2"),
    (("1700", "1800"), ("4", "5"), True, "3A090.b", "3A090.b.2"),
]


@pytest.mark.parametrize(("tpp", "density", "data_centre", "eccn", "paragraph"), TABLE)
def test_each_side_of_every_edge(
    tpp: object, density: object, data_centre: bool | None, eccn: str, paragraph: str
) -> None:
    numbers = [tuple(map(Decimal, number)) if isinstance(number, tuple) else number for number in (tpp, density)]
    found = classify(*numbers, data_centre)
    assert (found.eccn, found.paragraph) == (eccn, paragraph)
    assert found.reasons
    assert found.rule == "us_ear_3a090_2023_10"


def test_the_example_of_the_text() -> None:
    tera_ops_at_8_bit, tera_ops_at_16_bit = 600, 300
    assert tera_ops_at_8_bit * 8 == tera_ops_at_16_bit * 16 == 4800
    assert classify("4800", None).eccn == "3A090.a"


def test_an_open_class_says_what_is_possible_and_what_is_missing() -> None:
    found = classify("3152", None)
    assert found.possible == ("3A090.a", "3A090.b", "none")
    assert "die area" in found.reasons[0]
    narrower = classify("2000", (Decimal(2), Decimal(5)))
    assert narrower.possible == ("3A090.b", "none")
    either = classify((Decimal(4700), Decimal(4900)), "4")
    assert (either.eccn, either.possible) == ("undetermined", ("3A090.a", "3A090.b"))
    unless_note_2 = classify("4700", "9", None)
    assert (unless_note_2.eccn, unless_note_2.possible) == ("undetermined", ("3A090.a", "none"))
    assert "data centres" in unless_note_2.reasons[0]


def test_note_2_is_named_where_it_decides() -> None:
    assert "Note 2" in classify("4700", "9", False).reasons[0]


def test_before_the_rule_the_class_is_undetermined(ruleset: RuleSet) -> None:
    found = classify_chip(
        ruleset, tpp=Decimal(9000), performance_density=None, data_centre=True, as_of=date(2023, 11, 16)
    )
    assert (found.eccn, found.rule) == ("undetermined", "")
    assert "2023-11-16" in found.reasons[0]


quantities = st.decimals("0", "20000", places=2)
densities = st.decimals("0", "20", places=2)


@given(tpp=quantities, density=densities, data_centre=st.booleans(), hidden=st.sets(st.sampled_from([0, 1, 2])))
def test_an_answer_with_less_known_never_contradicts_the_full_one(
    tpp: Decimal, density: Decimal, data_centre: bool, hidden: set[int]
) -> None:
    full = classify(tpp, density, data_centre)
    partly = classify(*(None if place in hidden else value for place, value in enumerate((tpp, density, data_centre))))
    assert full.eccn != "undetermined"
    assert full.eccn in partly.possible
    assert partly.eccn in (full.eccn, "undetermined")
