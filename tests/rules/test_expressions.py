"""Expressions: exact, three-valued, and nothing but what is named can be written in them."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import RuleError
from auditor.rules.expressions import Kind, Range, Result, parse

NAMES = {
    "a": Kind.NUMBER,
    "b": Kind.NUMBER,
    "ops": Kind.AMOUNT,
    "yes": Kind.TRUTH,
    "no": Kind.TRUTH,
    "country": Kind.TEXT,
}


def answer(text: str, **values: object) -> Result:
    given_values = {
        name: Result(
            Range.exactly(value) if isinstance(value, (int, Fraction)) and not isinstance(value, bool) else value
        )
        for name, value in values.items()
    }
    return parse(text, NAMES).evaluate(given_values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e26 == 100000000000000000000000000", True),  # the float 1e26 is 4764729344 above it
        ("1e26 + 1 > 1e26", True),  # lost in floats
        ("0.1 + 0.2 == 0.3", True),
        ("2 / 3 * 3 == 2", True),
        ("-1 < 0 <= 0 < 1", True),
        ("1 < 3 < 2", False),
        ("max(2.5e25, 0.25 * 4e26) == 1e26", True),
        ("min(1, 2, -3) == -3", True),
        ("1 in (1, 2)", True),
        ("3 not in [1, 2]", True),
        ("'DE' in {'FR', 'DE'}", True),
        ("'DE' != 'FR' and not 'DE' == 'FR'", True),
        ("True and not False", True),
        ("1 != 1", False),
    ],
)
def test_a_closed_expression_is_worked_out_exactly(text: str, expected: bool) -> None:
    assert answer(text) == Result(expected)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("yes and no", {"no": False}, False),
        ("yes or no", {"no": True}, True),
        ("yes and no", {"no": True}, None),
        ("not yes", {}, None),
        ("a > 1 and a < 0", {}, None),
        ("ops >= 0", {}, True),  # an amount is never negative
        ("ops < 0", {}, False),
        ("ops + 5 >= 5", {}, True),
        ("a <= max(2.5e25, 0.25 * ops)", {"a": 10**25}, True),
        ("a <= max(2.5e25, 0.25 * ops)", {"a": 3 * 10**25}, None),
        ("min(ops, 5) <= 5", {}, True),
        ("country in ('DE', 'FR')", {}, None),
        ("a in (1, 2)", {}, None),
        ("a / b == 1", {"a": 1}, None),
        ("a * b == 1", {}, None),
        ("ops * 0 == 0", {}, True),
        ("ops - ops == 0", {}, None),
    ],
)
def test_what_is_not_known_stays_open_only_where_it_matters(
    text: str, values: dict[str, object], expected: bool | None
) -> None:
    assert answer(text, **values).value is expected


def test_an_open_answer_names_what_would_decide_it() -> None:
    assert answer("(yes or a > 1) and (no or ops > 1)", no=True).open == {"yes", "a"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pi > 3", "'pi'"),
        ("op > 3", "did you mean 'ops'"),
        ("ops", "yes or no is needed"),
        ("ops and yes", "is needed"),
        ("yes + 1 > 2", "is needed"),
        ("yes < no", "cannot be compared"),
        ("country < 'DE'", "cannot be compared"),
        ("country == 1", "is needed"),
        ("ops ** 2 > 1", "is not read"),
        ("ops % 2 == 1", "is not read"),
        ("ops // 2 == 1", "is not read"),
        ("+ops > 1", "is not read"),
        ("__import__('os').system('true') == 0", "is not read"),
        ("open('x') == 1", "is not read"),
        ("max(a) > 1", "is not read"),
        ("max(a, b, key=a) > 1", "is not read"),
        ("ops.real > 1", "is not read"),
        ("[a for a in (1, 2)] == 1", "is not read"),
        ("(lambda: yes)()", "is not read"),
        ("yes if no else yes", "is not read"),
        ("f'{yes}' == 'a'", "is not read"),
        ("yes is no", "cannot be compared"),
        ("a in b", "is not read"),
        ("a in ()", "is not read"),
        ("0x10 > 1", "not an exact number"),
        ("1j == 1", "not an exact number"),
        ("None == 1", "not an exact number"),
        ("b'x' == 'x'", "not an exact number"),
        ("1 >", "not an expression"),
        ("", "not an expression"),
        ("yes; no", "not an expression"),
        ("yes\x00", "not an expression"),
        ("é > 1", "ASCII"),
        ("(" * 400 + "yes" + ")" * 400, "not an expression"),
        ("yes and " * 200 + "yes", "at most"),
    ],
)
def test_everything_else_is_refused(text: str, word: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text, NAMES)
    assert word in str(caught.value)


def test_a_division_by_zero_is_a_mistake_of_the_rule() -> None:
    with pytest.raises(RuleError, match="divides by zero"):
        answer("a / b > 1", a=1, b=0)


@given(text=st.text(max_size=60))
@settings(max_examples=300)
def test_no_text_raises_anything_but_a_rule_error(text: str) -> None:
    with contextlib.suppress(RuleError):
        parse(text, NAMES)


numbers = st.integers(-20, 20)
arithmetic = st.recursive(
    st.sampled_from(["a", "b", "ops", "0", "1", "2.5", "7e1"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*"]), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), part, part).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        part.map(lambda p: f"(-{p})"),
    ),
    max_leaves=5,
)
comparisons = st.tuples(arithmetic, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), arithmetic).map(" ".join)
expressions = st.recursive(
    st.one_of(st.sampled_from(["yes", "no"]), comparisons),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        part.map(lambda p: f"(not {p})"),
    ),
    max_leaves=4,
)


@given(
    text=expressions,
    values=st.fixed_dictionaries(
        {"a": numbers, "b": numbers, "ops": st.integers(0, 20), "yes": st.booleans(), "no": st.booleans()}
    ),
    known=st.sets(st.sampled_from(["a", "b", "ops", "yes", "no"])),
)
@settings(max_examples=400)
def test_it_agrees_with_python_and_what_it_decides_early_is_never_wrong(
    text: str, values: dict[str, int], known: set[str]
) -> None:
    exact = {name: value if isinstance(value, bool) else Fraction(value) for name, value in values.items()}
    python = eval(text.replace("2.5", "F(5, 2)").replace("7e1", "70"), {"F": Fraction}, exact)
    assert answer(text, **values).value is bool(python)
    partly = answer(text, **{name: value for name, value in values.items() if name in known})
    assert partly.value in (None, bool(python))
    assert partly.open <= values.keys() - known
    assert bool(partly.open) == (partly.value is None)
