"""Chip classes: each side of every edge of 3A090.a and .b, Note 2, and what stays open without an area."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.rules import classification, pack
from auditor.rules.circuits import Circuit
from auditor.rules.classification import Answer, answers, holder

if TYPE_CHECKING:
    from auditor.rules.model import RuleSet

TODAY = date(2026, 11, 22)
SHIPPED = pack.load()
# The H200 SXM, the H20 and the A800 SXM by their published figures.
H200 = Circuit(
    tpp=Decimal(15832),
    performance_density=Decimal("19.45"),
    io_gb_per_s=(Decimal(900), Decimal(1028)),
    link_gb_per_s=Decimal(900),
    memory_gb_per_s=Decimal(4800),
    peak_tera=Decimal(1979),
    data_centre=True,
)
H20 = replace(
    H200,
    tpp=Decimal(2368),
    performance_density=Decimal("2.909"),
    memory_gb_per_s=Decimal(4000),
    peak_tera=Decimal(296),
)
A800 = replace(
    H200,
    tpp=Decimal(4992),
    performance_density=Decimal("6.044"),
    io_gb_per_s=(Decimal(400), Decimal(464)),
    link_gb_per_s=Decimal(400),
    memory_gb_per_s=Decimal(2039),
)


def exact(number: object) -> object:
    return Decimal(number) if isinstance(number, str) else number


def classify(tpp: object, density: object, data_centre: bool | None = True) -> Answer:
    circuit = Circuit(
        tpp=exact(tpp),  # type: ignore[arg-type]
        performance_density=exact(density),  # type: ignore[arg-type]
        data_centre=data_centre,
    )
    return classification.classify(SHIPPED, [circuit], as_of=TODAY)


def by_rule(circuit: Circuit, as_of: date = TODAY) -> dict[str, str]:
    return {answer.rule: answer.outcome for answer in answers(SHIPPED, [circuit], as_of=as_of)}


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
    assert (found.outcome, found.paragraph) == (eccn, paragraph)
    assert found.reasons
    assert found.rule == "us_ear_3a090_2023_10"


def test_the_example_of_the_text() -> None:
    tera_ops_at_8_bit, tera_ops_at_16_bit = 600, 300
    assert tera_ops_at_8_bit * 8 == tera_ops_at_16_bit * 16 == 4800
    assert classify("4800", None).outcome == "3A090.a"


def test_an_open_class_says_what_is_possible_and_what_is_missing() -> None:
    found = classify("3152", None)
    assert found.possible == ("3A090.a", "3A090.b", "none")
    assert "die area" in found.reasons[0]
    narrower = classify("2000", (Decimal(2), Decimal(5)))
    assert narrower.possible == ("3A090.b", "none")
    either = classify((Decimal(4700), Decimal(4900)), "4")
    assert (either.outcome, either.possible) == ("undetermined", ("3A090.a", "3A090.b"))
    unless_note_2 = classify("4700", "9", None)
    assert (unless_note_2.outcome, unless_note_2.possible) == ("undetermined", ("3A090.a", "none"))
    assert "data centres" in unless_note_2.reasons[0]


@pytest.mark.parametrize(
    ("tpp", "density", "area_known", "missing"),
    [
        (None, None, True, "total processing performance (dense peak rates)"),
        (None, None, False, "performance density (die area), total processing performance (dense peak rates)"),
        ("3152", None, False, "performance density (die area)"),
        ("1968", (Decimal("3.04"), None), False, "performance density (die area)"),
        ((Decimal(1700), Decimal(2000)), (Decimal("5.9"), Decimal(6)), True, "total processing performance"),
    ],
)
def test_what_is_missing_is_named_and_nothing_else(
    tpp: object, density: object, area_known: bool, missing: str
) -> None:
    circuit = Circuit(
        tpp=exact(tpp),  # type: ignore[arg-type]
        performance_density=exact(density),  # type: ignore[arg-type]
        die_area_known=area_known,
        data_centre=True,
    )
    found = classification.classify(SHIPPED, [circuit], as_of=TODAY)
    assert (found.outcome, found.reasons[0]) == ("undetermined", f"Not known exactly enough: {missing}.")


def test_note_2_is_named_where_it_decides() -> None:
    assert "Note 2" in classify("4700", "9", False).reasons[0]


def test_before_any_rule_there_is_no_class(ruleset: RuleSet) -> None:
    found = classification.classify(ruleset, [H200], as_of=date(2022, 10, 20))
    assert (found.outcome, found.rule, found.possible) == ("no rule", "", ())
    assert found.reasons == ("No chip rule yet on 2022-10-20: the first is in force from 2022-10-21 on.",)
    assert holder(ruleset, [found], as_of=date(2022, 10, 20)) is None


@pytest.mark.parametrize(
    ("as_of", "rule", "a800"),
    [
        (date(2022, 10, 21), "us_ear_3a090_2022_10", "none"),
        (date(2023, 11, 16), "us_ear_3a090_2022_10", "none"),
        (date(2023, 11, 17), "us_ear_3a090_2023_10", "3A090.a"),
        (TODAY, "us_ear_3a090_2023_10", "3A090.a"),
    ],
)
def test_the_rule_of_the_day_decides(as_of: date, rule: str, a800: str) -> None:
    """The A800 was cut to 400 GB/s to stay outside the first version, and fell under the second."""
    assert classification.classify(SHIPPED, [H200], as_of=as_of).outcome == "3A090.a"
    found = classification.classify(SHIPPED, [A800], as_of=as_of)
    assert (found.rule, found.outcome) == (rule, a800)


@pytest.mark.parametrize(
    ("io", "tpp", "outcome"),
    [
        ("600", "4800", "3A090.a"),
        ("599.99", "4800", "none"),
        ("600", "4799.99", "none"),
        ((Decimal(400), Decimal(464)), "4992", "none"),
        ((Decimal(500), Decimal(628)), "4992", "undetermined"),
        ((Decimal(600), None), "4992", "3A090.a"),
        (None, "4992", "undetermined"),
        (None, "4799", "none"),
    ],
)
def test_each_side_of_the_lines_of_2022(io: object, tpp: str, outcome: str) -> None:
    circuit = Circuit(tpp=Decimal(tpp), io_gb_per_s=exact(io), data_centre=True)  # type: ignore[arg-type]
    assert classification.classify(SHIPPED, [circuit], as_of=date(2023, 1, 1)).outcome == outcome


def test_every_rule_that_was_published_answers_and_no_other() -> None:
    assert set(by_rule(H200, date(2022, 10, 20))) == {"us_ear_3a090_2022_10"}
    assert "us_ear_h200_review_2026_01" not in by_rule(H200, date(2026, 1, 14))
    assert by_rule(H200) == {
        "us_ear_3a090_2022_10": "3A090.a",
        "us_ear_3a991_p_2022": "none",
        "us_ear_3a090_2023_10": "3A090.a",
        "us_ear_3a090_destinations_2023": "licence for D:1 D:4 D:5",
        "us_ear_nac_aca_2023": "none",
        "us_ear_3a090c_hbm_2024_12": "none",
        "us_ear_3a090a_worldwide_2025": "licence to every destination",
        "us_bis_is_informed_h20_mi308_2025": "none",
        "us_ear_h200_review_2026_01": "case-by-case review",
        "us_s232_chips_2026_01": "covered",
        "us_s3374_safe_chips": "covered if enacted",
    }


def test_standing_and_certainty_travel_with_each_answer() -> None:
    found = {answer.rule: answer for answer in answers(SHIPPED, [H200], as_of=TODAY)}
    first = found["us_ear_3a090_2022_10"]
    assert (first.standing, first.enforced) == ("superseded", False)
    worldwide = found["us_ear_3a090a_worldwide_2025"]
    assert (worldwide.standing, worldwide.enforced) == ("codified_not_enforced", False)
    assert found["us_ear_h200_review_2026_01"].certainty == "secondary"
    assert found["us_ear_3a090_2023_10"].certainty == "primary"
    assert "inferred" in first.reasons[-1]
    assert "last checked on 2026-07-23; what came later is not known" in found["us_ear_3a090_2023_10"].note
    assert "last checked" not in classification.classify(SHIPPED, [H200], as_of=date(2026, 7, 23)).note


def test_the_h20_is_outside_by_its_figures_and_inside_by_letter() -> None:
    found = by_rule(H20)
    assert found["us_ear_3a090_2023_10"] == "none"
    assert found["us_bis_is_informed_h20_mi308_2025"] == "licence by letter"
    assert found["us_ear_3a991_p_2022"] == "3A991.p"
    assert found["us_ear_h200_review_2026_01"] == "none"
    assert "us_bis_is_informed_h20_mi308_2025" not in by_rule(H20, date(2025, 4, 8))


@pytest.mark.parametrize(
    ("tpp", "memory", "review", "duty"),
    [
        ("20999.99", "6499.99", "case-by-case review", "none"),
        ("21000", "6499.99", "presumption of denial", "none"),
        ("20999.99", "6500", "presumption of denial", "none"),
        ("20919", "6000", "case-by-case review", "covered"),  # MI325X
        ("15832", "4800", "case-by-case review", "covered"),  # H200
        ("15832", "3350", "case-by-case review", "none"),  # H100 SXM
        ("36000", "7700", "presumption of denial", "none"),  # B200
        ("14000", "4800", "case-by-case review", "none"),
        ("14000.01", "4800", "case-by-case review", "covered"),
        ("17500", "4800", "case-by-case review", "none"),
        ("15832", "4500", "case-by-case review", "none"),
        ("15832", "5000", "case-by-case review", "none"),
        ("20800", "6000", "case-by-case review", "none"),
        ("21100", "6000", "presumption of denial", "none"),
        ("20900", "5800", "case-by-case review", "none"),
        ("20900", "6200", "case-by-case review", "none"),
        ("15832", None, "undetermined", "undetermined"),
        ("22000", None, "presumption of denial", "none"),
    ],
)
def test_each_side_of_the_lines_of_2026(tpp: str, memory: str | None, review: str, duty: str) -> None:
    found = by_rule(replace(H200, tpp=Decimal(tpp), memory_gb_per_s=Decimal(memory) if memory else None))
    assert (found["us_ear_h200_review_2026_01"], found["us_s232_chips_2026_01"]) == (review, duty)


@pytest.mark.parametrize(
    ("tpp", "density", "data_centre", "eligible"),
    [
        ("15832", "19.45", True, "none"),
        ("5285", "8.7", False, "eligible"),  # an RTX 4090
        ("2640", "3.2", True, "eligible"),  # 3A090.b for data centres
        ("1940", "6.6", True, "none"),  # 3A090.a.2
        ("1000", "1", True, "none"),
        ("5285", "8.7", None, "undetermined"),
    ],
)
def test_the_exceptions_are_open_to_what_is_not_a_for_data_centres(
    tpp: str, density: str, data_centre: bool | None, eligible: str
) -> None:
    circuit = replace(H200, tpp=Decimal(tpp), performance_density=Decimal(density), data_centre=data_centre)
    assert by_rule(circuit)["us_ear_nac_aca_2023"] == eligible


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        (("4799.99", "1.59", "4099", "900"), "none"),
        (("4800", "1.59", "4099", "900"), "covered if enacted"),
        (("2400", "1.6", "1", "1"), "covered if enacted"),
        (("2399.99", "1.6", "1", "1"), "none"),
        (("1600", "3.2", "1", "1"), "covered if enacted"),
        (("1599.99", "3.2", "1", "1"), "none"),
        (("1", "1", "4100", "1"), "covered if enacted"),
        (("1", "1", "1", "1100"), "covered if enacted"),
        (("1", "1", "1", "1099.99"), "none"),
        (("1", "1", "4000", "1000"), "covered if enacted"),
        (("1", "1", "4000", "999.99"), "none"),
    ],
)
def test_each_side_of_the_lines_that_are_proposed(figures: tuple[str, ...], outcome: str) -> None:
    tpp, density, memory, link = map(Decimal, figures)
    circuit = replace(H200, tpp=tpp, performance_density=density, memory_gb_per_s=memory, link_gb_per_s=link)
    assert by_rule(circuit)["us_s3374_safe_chips"] == outcome


@pytest.mark.parametrize(
    ("memory", "link", "outcome"),
    [("4000", "1", "licence by letter"), ("3999.99", "899.99", "none"), ("1", "900", "licence by letter")],
)
def test_each_side_of_what_the_letters_of_2025_are_said_to_reach(memory: str, link: str, outcome: str) -> None:
    circuit = replace(H20, memory_gb_per_s=Decimal(memory), link_gb_per_s=Decimal(link))
    assert by_rule(circuit)["us_bis_is_informed_h20_mi308_2025"] == outcome


def test_stacks_by_themselves_are_asked_for_their_density() -> None:
    rule = "us_ear_3a090c_hbm_2024_12"
    stack = replace(H200, is_processor=False)
    assert by_rule(stack)[rule] == "undetermined"
    assert by_rule(replace(stack, memory_gb_per_s_per_mm2=Decimal("2.01")))[rule] == "3A090.c"
    assert by_rule(replace(stack, memory_gb_per_s_per_mm2=Decimal(2)))[rule] == "none"
    assert by_rule(replace(stack, is_processor=None))[rule] == "undetermined"


@pytest.mark.parametrize(
    ("peak", "io", "outcome"),
    [("8", "0", "3A991.p"), ("7.99", "149.99", "none"), ("7.99", "150", "3A991.p"), ("7.99", None, "undetermined")],
)
def test_what_3a090_does_not_reach(peak: str, io: str | None, outcome: str) -> None:
    small = Circuit(tpp=Decimal(100), peak_tera=Decimal(peak), io_gb_per_s=Decimal(io) if io else None)
    assert by_rule(small)["us_ear_3a991_p_2022"] == outcome


def test_one_of_several_circuits_is_decided_where_all_agree() -> None:
    both = classification.classify(SHIPPED, [H200, A800], as_of=TODAY)
    assert (both.outcome, both.paragraph) == ("3A090.a", "3A090.a.1 and 3A090.a.2")
    either = classification.classify(SHIPPED, [H200, H20], as_of=TODAY)
    assert (either.outcome, either.possible) == ("undetermined", ("3A090.a", "none"))
    assert "one of several circuits" in either.reasons[0]
    told = {answer.rule: answer for answer in answers(SHIPPED, [H200, H20], as_of=TODAY)}
    assert told["us_ear_3a991_p_2022"].possible == ("none", "3A991.p")


def test_what_turns_on_an_open_class_is_open_only_where_the_class_matters() -> None:
    open_class = Circuit(tpp=Decimal(3152), memory_gb_per_s=Decimal(819), data_centre=True)
    found = {answer.rule: answer for answer in answers(SHIPPED, [open_class], as_of=TODAY)}
    assert found["us_ear_h200_review_2026_01"].possible == ("case-by-case review", "none")
    assert "class of the circuit is open" in found["us_ear_h200_review_2026_01"].reasons[0]
    assert found["us_s232_chips_2026_01"].outcome == "none"


@pytest.mark.parametrize(
    ("circuits", "outcome", "possible"),
    [
        ([H200], "4A090.a", ("4A090.a",)),
        ([H20], "none", ("none",)),
        ([H20, H200], "4A090.a", ("4A090.a",)),
        (
            [Circuit(tpp=Decimal(2640), performance_density=Decimal("3.2"), data_centre=True), H20],
            "4A090.b",
            ("4A090.b",),
        ),
        ([Circuit(), H20], "undetermined", ("4A090.a", "4A090.b", "none")),
        ([Circuit(), H200], "4A090.a", ("4A090.a",)),
    ],
)
def test_a_computer_is_what_its_highest_circuit_makes_it(
    circuits: list[Circuit], outcome: str, possible: tuple[str, ...]
) -> None:
    """Two H20 come to more than 4,800 together; each is judged by itself."""
    classes = [classification.classify(SHIPPED, [circuit], as_of=TODAY) for circuit in circuits]
    found = holder(SHIPPED, classes, as_of=TODAY)
    assert found is not None
    assert (found.outcome, found.possible) == (outcome, possible)
    assert any(".z" in reason for reason in found.reasons) == (outcome != "none")
    before = holder(SHIPPED, classes, as_of=date(2023, 11, 16))
    assert before is not None
    assert (before.outcome, before.possible) == ("undetermined", ())
    assert "4A090.a and .b of that day is not held here" in before.reasons[0]
    assert holder(SHIPPED, classes, as_of=date(2022, 10, 20)) is None


def test_nothing_is_held_by_nothing() -> None:
    assert holder(SHIPPED, [], as_of=TODAY) is None


quantities = st.decimals("0", "20000", places=2)
densities = st.decimals("0", "20", places=2)


@given(tpp=quantities, density=densities, data_centre=st.booleans(), hidden=st.sets(st.sampled_from([0, 1, 2])))
def test_an_answer_with_less_known_never_contradicts_the_full_one(
    tpp: Decimal, density: Decimal, data_centre: bool, hidden: set[int]
) -> None:
    full = classify(tpp, density, data_centre)
    partly = classify(*(None if place in hidden else value for place, value in enumerate((tpp, density, data_centre))))
    assert full.outcome != "undetermined"
    assert full.outcome in partly.possible
    assert partly.outcome in (full.outcome, "undetermined")


FIGURES = ("tpp", "performance_density", "io_gb_per_s", "link_gb_per_s", "memory_gb_per_s", "peak_tera", "data_centre")
spread = st.decimals("0", "24000", places=0)
circuits = st.builds(
    Circuit,
    tpp=spread,
    performance_density=densities,
    io_gb_per_s=st.decimals("0", "1000", places=0),
    link_gb_per_s=st.decimals("0", "1000", places=0),
    memory_gb_per_s=st.decimals("0", "8000", places=0),
    peak_tera=st.decimals("0", "20", places=0),
    data_centre=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(circuit=circuits, other=circuits, hidden=st.sets(st.sampled_from(FIGURES)))
def test_no_rule_contradicts_itself_when_less_is_known(circuit: Circuit, other: Circuit, hidden: set[str]) -> None:
    full = by_rule(circuit)
    partly = replace(circuit, **dict.fromkeys(hidden, None))
    wider = replace(
        circuit,
        **{
            name: tuple(sorted((getattr(circuit, name), getattr(other, name))))
            for name in FIGURES
            if name != "data_centre"
        },
    )
    for less in ([partly], [wider], [circuit, other]):
        for answer in answers(SHIPPED, less, as_of=TODAY):
            assert full[answer.rule] in answer.possible
            assert answer.outcome in (full[answer.rule], "undetermined")
