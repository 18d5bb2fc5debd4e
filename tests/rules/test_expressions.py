"""Expressions: exact, three-valued, and nothing but what is named can be written in them."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import RuleError
from auditor.rules.expressions import Kind, Members, Name, Result, Unit
from auditor.rules.parsing import parse
from auditor.rules.ranges import Range

NAMES = {
    "a": Name(Kind.NUMBER, Unit.RATIO),
    "b": Name(Kind.NUMBER, Unit.RATIO),
    "ops": Name(Kind.AMOUNT, Unit.RATIO),
    "counted": Name(Kind.AMOUNT, Unit.OPERATIONS),
    "tpp": Name(Kind.AMOUNT, Unit.TPP),
    "cap": Name(Kind.AMOUNT, Unit.TPP),
    "yes": Name(Kind.TRUTH),
    "no": Name(Kind.TRUTH),
    "country": Name(Kind.TEXT),
    "place": Name(Kind.COUNTRY),
    "club": Name(Kind.GROUP),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("counted >= tpp", ["counted is in operations", "tpp in TPP"]),
        ("counted + tpp > 1", ["counted is in operations"]),
        ("max(counted, 0.25 * tpp) > 1", ["in operations", "0.25 * tpp in TPP"]),
        ("counted * tpp > 1", ["counted * tpp has no unit"]),
        ("counted / tpp > 1", ["has no unit"]),
        ("1 / tpp > 1", ["has no unit"]),
        ("tpp / cap > tpp", ["tpp / cap is in ratio"]),
        ("counted in (1, tpp)", ["counted is in operations"]),
        ("place in ('DE', 'XX')", ["unknown country 'XX'", "ISO 3166-1"]),
        ("place == 'de'", ["unknown country 'de'", "did you mean 'DE'"]),
        ("place in country", ["is text, where a group of countries is needed"]),
        ("place == club", ["is a group of countries, where a country is needed"]),
        ("club == club", ["cannot be compared"]),
        ("country in club", ["is not read"]),
        ("place < 'DE'", ["cannot be compared"]),
    ],
)
def test_units_and_countries_that_do_not_fit_are_refused(text: str, words: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text, NAMES)
    for word in words:
        assert word in str(caught.value)


def test_units_that_fit_are_worked_out() -> None:
    assert answer("tpp / cap <= 0.25", tpp=5, cap=20).value is True
    assert answer("tpp <= 1.5 * cap + 2 * cap / 4", tpp=40, cap=20).value is True
    assert answer("a * tpp > cap", a=3, tpp=7, cap=20).value is True


@pytest.mark.parametrize(("place", "expected"), [("DE", True), ("FR", False), ("CY", None), (None, None)])
def test_a_country_is_in_a_group_or_not_or_nobody_knows(place: str | None, expected: bool | None) -> None:
    values = {"club": Result(Members(frozenset({"DE"}), frozenset({"CY"})))}
    if place is not None:
        values["place"] = Result(place)
    found = parse("place in club", NAMES).evaluate(values)
    assert found.value is expected
    assert found.open == {None: {"place"}, "CY": {"club"}}.get(place, set())
    assert parse("place not in club", NAMES).evaluate(values).value is (None if expected is None else not expected)


def test_it_says_where_a_quantity_would_turn_the_answer() -> None:
    found = parse("counted >= 1e26 or (yes and 0.5 * tpp < cap)", NAMES)
    exactly = {"tpp": Result(Range.exactly(10))}
    assert found.turns_at(exactly) == [("counted", Range.exactly(10**26)), ("cap", Range.exactly(5))]
    assert parse("cap > tpp", NAMES).turns_at({})[0] == ("cap", Range(Fraction(0), None))


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


LOGIC = {"yes": st.booleans(), "no": st.booleans(), "a": numbers, "b": numbers, "ops": st.integers(0, 20)}


@given(left=expressions, right=expressions, values=st.fixed_dictionaries({}, optional=LOGIC))
@settings(max_examples=200)
def test_de_morgan_holds_in_three_values(left: str, right: str, values: dict[str, int]) -> None:
    """Also of what is open: both sides of each law give the same answer and lack the same names."""
    for one, other in (
        (f"not ({left} and {right})", f"not {left} or not {right}"),
        (f"not ({left} or {right})", f"not {left} and not {right}"),
        (f"not not {left}", left),
    ):
        assert answer(f"({one})", **values) == answer(f"({other})", **values)


@given(
    text=expressions,
    values=st.fixed_dictionaries(LOGIC),
    order=st.permutations(["a", "b", "ops", "yes", "no"]),
)
@settings(max_examples=300)
def test_learning_a_value_never_turns_a_decided_answer(text: str, values: dict[str, int], order: list[str]) -> None:
    decided = None
    for learned in range(len(order) + 1):
        found = answer(text, **{name: values[name] for name in order[:learned]}).value
        assert decided is None or found is decided
        decided = found
    assert decided is not None


@given(
    text=expressions,
    values=st.fixed_dictionaries(LOGIC),
    ends=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    narrower=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@settings(max_examples=300)
def test_a_narrower_range_never_turns_a_decided_answer(
    text: str, values: dict[str, int], ends: tuple[int, int], narrower: tuple[int, int]
) -> None:
    number = Fraction(values.pop("a"))
    known = {name: Result(Range.exactly(v) if not isinstance(v, bool) else v) for name, v in values.items()}
    expression = parse(text, NAMES)

    def within(low: int, high: int) -> bool | str | Range | Members | None:
        span = Range(number - low, number + high)
        return expression.evaluate({**known, "a": Result(span, frozenset({"a"} if low + high else ()))}).value

    wide = within(ends[0] + narrower[0], ends[1] + narrower[1])
    assert wide is None or wide is within(*narrower)
