from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.operations import Family
from auditor.report.charts import cumulative, families, phases_by_step
from auditor.report.course import Bin, Course
from auditor.report.svg import linear_ticks, power, raised_powers, spread
from auditor.report.words import powers
from auditor.tally import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

SVG = "{http://www.w3.org/2000/svg}"
LINES = [(10**26, "Act A and 3 others"), (10**25, "Act B")]
WIDTHS = [340, 760]


def a_course(per_step: Sequence[int]) -> Course:
    bins = tuple(
        Bin(
            first_step=i + 1,
            steps=1,
            by_phase={phase: ops if phase is Phase.FORWARD else 0 for phase in Phase},
        )
        for i, ops in enumerate(per_step)
    )
    reached = tuple(enumerate(itertools.accumulate(per_step, initial=0)))
    return Course(steps=len(per_step), bins=bins, reached=reached, outside_ops=0)


COURSES = {
    "one interval": a_course([10**12]),
    "nothing": a_course([0, 0]),
    "no step": Course(steps=0, bins=(), reached=((0, 0),), outside_ops=0),
    "no step but operations": Course(steps=0, bins=(), reached=((0, 5000),), outside_ops=5000),
    "at the line": a_course([10**25] * 10),
    "far beyond": a_course([10**30]),
    "one operation": a_course([1]),
    "many steps": a_course([10**20 + i for i in range(40)]),
}


def drawn(text: str) -> ET.Element:
    """The picture, having checked what holds for every picture."""
    root = ET.fromstring(text)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert root.attrib["aria-labelledby"].split() == ids
    assert all(element.text for element in root if element.tag in (f"{SVG}title", f"{SVG}desc"))
    for rect in root.iter(f"{SVG}rect"):
        x, y, wide, high = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert wide >= 0
        assert high >= 0
        assert x >= 0
        assert y >= 0
        assert x + wide <= width + 0.2
        assert y + high <= height + 0.2
    for text_element in root.iter(f"{SVG}text"):
        assert 0 <= float(text_element.attrib["x"]) <= width
        assert 0 <= float(text_element.attrib["y"]) <= height
    return root


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COURSES)
def test_every_course_can_be_drawn(name: str, width: int) -> None:
    drawn(phases_by_step(COURSES[name], name="p", width=width))
    drawn(cumulative(COURSES[name], LINES, name="c", width=width))
    drawn(cumulative(COURSES[name], [], name="c", width=width))


def test_bars_are_as_high_as_their_amounts() -> None:
    root = drawn(phases_by_step(a_course([10**12, 2 * 10**12]), name="p", width=760))
    low, high = (float(rect.attrib["height"]) for rect in root.iter(f"{SVG}rect"))
    assert high == pytest.approx(2 * low, abs=0.2)


def test_a_longer_share_has_a_longer_bar_and_empty_families_none() -> None:
    amounts = {str(family): 0 for family in Family} | {"matmul": 900, "attention": 90, "pointwise": 10}
    root = drawn(families(amounts, name="f", width=760))
    lengths = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")]
    assert len(lengths) == 3
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == pytest.approx(10 * lengths[1], rel=0.01)
    assert [text.text for text in root.iter(f"{SVG}text")][:2] == ["matmul", "90.0 %"]


def test_nothing_counted_is_said_and_not_drawn() -> None:
    root = drawn(families(dict.fromkeys(map(str, Family), 0), name="f", width=340))
    assert "Nothing was counted." in "".join(root.itertext())
    assert not list(root.iter(f"{SVG}rect"))


def test_a_line_stands_above_what_has_not_reached_it_and_below_what_has() -> None:
    for per_step, above in ((10**24, True), (10**26, False)):
        root = drawn(cumulative(a_course([per_step] * 2), LINES, name="c", width=760))
        line = next(float(e.attrib["y1"]) for e in root.iter(f"{SVG}line") if e.attrib["class"] == "line")
        end = next(float(e.attrib["cy"]) for e in root.iter(f"{SVG}circle"))
        assert (line < end) is above


def test_labels_of_lines_close_together_do_not_touch() -> None:
    lines = [(10**26, "a"), (9 * 10**25, "b"), (10**25, "c"), (2 * 10**25, "d"), (10**23, "e")]
    root = drawn(cumulative(COURSES["one interval"], lines, name="c", width=340))
    heights = sorted(
        float(e.attrib["y"]) for e in root.iter(f"{SVG}text") if (e.text or "").rpartition(" ")[2] in set("abcde")
    )
    assert len(heights) == 5
    assert all(below - above >= 14 for above, below in itertools.pairwise(heights))


def test_names_are_escaped_and_shortened(hostile: str) -> None:
    root = drawn(cumulative(COURSES["one interval"], [(10**26, hostile * 20)], name="c", width=340))
    assert not root.findall(".//{*}script")
    assert max(len(text.text or "") for text in root.iter(f"{SVG}text")) < 60


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (10**26, "10²⁶"),
        (25 * 10**24, "2.5 × 10²⁵"),  # noqa: RUF001 - as people write it
        (418_400_000_000_000, "4.184 × 10¹⁴"),  # noqa: RUF001 - as people write it
    ],
)
def test_amounts_are_written_as_people_do(amount: int, expected: str) -> None:
    assert power(amount) == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**30), st.integers(2, 8))
def test_marks_are_round_even_and_reach_the_highest(highest: int, number: int) -> None:
    ticks = linear_ticks(highest, number)
    steps = {high - low for low, high in itertools.pairwise(ticks)}
    assert ticks[0] == 0
    assert ticks[-1] >= highest
    assert len(steps) == 1
    assert str(steps.pop()).strip("0") in {"1", "2", "5"}
    assert len(ticks) <= number + 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 300), max_size=12))
def test_positions_are_moved_apart_and_only_as_far_as_needed(wanted: list[float]) -> None:
    placed = spread(wanted, 15)
    assert all(b - a >= 15 - 1e-6 for a, b in itertools.pairwise(placed))
    assert all(at >= asked for at, asked in zip(placed, sorted(wanted), strict=True))


@pytest.mark.parametrize(
    ("text", "page", "plain"),
    [
        ("above 10^25 operations", "above 10²⁵ operations", "above 1e25 operations"),
        ("2.5 x 10^25 more", "2.5 \N{MULTIPLICATION SIGN} 10²⁵ more", "2.5e25 more"),
        ("2.359e6 of 1.000e25 (>)", "2.359 \N{MULTIPLICATION SIGN} 10⁶ of 10²⁵ (>)", "2.359e6 of 1.000e25 (>)"),
        ("us_ear_4e091_2025 at 2.36e-17 %", "us_ear_4e091_2025 at 2.36e-17 %", "us_ear_4e091_2025 at 2.36e-17 %"),
    ],
)
def test_powers_of_ten_are_written_in_one_way_on_a_page_and_in_one_in_text(text: str, page: str, plain: str) -> None:
    assert raised_powers(text) == page
    assert powers(text) == plain
