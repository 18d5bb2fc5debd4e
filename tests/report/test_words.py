from __future__ import annotations

import unicodedata
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.report.words import after, clean, clip, joined, listing, percent, plain_decimal
from auditor.units import parse_exact, parse_ops, share, threshold

amounts = st.integers(0, 10**30)


@given(st.text())
def test_clean_text_is_one_harmless_line_of_the_same_length(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert shown.encode().decode() == shown
    assert clean(shown) == shown


@settings(max_examples=300)
@given(amounts, st.integers(1, 10**30))
def test_a_percentage_is_100_or_more_only_where_the_line_is_met(part: int, whole: int) -> None:
    with localcontext() as context:
        context.prec = 100
        told = percent(Decimal(part) / Decimal(whole))
    number = Decimal(told.removesuffix(" %").removeprefix("> ").replace(",", ""))
    assert (number >= 100) is (part >= whole)
    assert (number == 0) is (part == 0)


@settings(max_examples=300)
@given(amounts, amounts)
def test_a_share_is_whole_or_nothing_only_where_it_is(one: int, other: int) -> None:
    whole = one + other
    told = share(one, whole)
    if whole:
        number = Decimal(told.removesuffix(" %").removeprefix("> "))
        assert (number == 100) is (other == 0)
        assert (number == 0) is (one == 0)


@pytest.mark.parametrize("below", [1, 10**10, 10**19])
def test_just_below_a_line_never_reads_as_reached(below: int) -> None:
    with localcontext() as context:
        context.prec = 100
        assert percent(Decimal(10**26 - below) / 10**26) == "> 99.99 %"
    assert share(10**26 - below, 10**26) == "> 99.9999 %"


@given(amounts)
def test_a_line_is_written_without_loss(amount: int) -> None:
    assert parse_ops(threshold(amount).replace(",", "")) == amount


def test_lines_are_written_as_their_laws_do() -> None:
    assert [threshold(n) for n in (10**26, 25 * 10**24, 1000, 10**26 + 1)] == [
        "1e26",
        "2.5e25",
        "1,000",
        "100,000,000,000,000,000,000,000,001",
    ]


@given(st.decimals(min_value=0, max_value=10**10, allow_nan=False, places=20))
def test_a_decimal_travels_without_exponent_and_without_loss(value: Decimal) -> None:
    text = plain_decimal(value)
    assert "e" not in text.lower()
    assert parse_exact(text) == value


def test_words_are_put_together() -> None:
    assert joined("in force since 2025", "", "the text. ") == "In force since 2025. The text."
    assert after("In force, fines included", "in force") == "fines included"
    assert after("Proposed.", "in force") == "Proposed."
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert clip("abcdef", 3) == "abc … (3 more characters)"
