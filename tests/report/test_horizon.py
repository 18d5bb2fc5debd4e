"""The picture of the early warning, and what the page says around it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from auditor.levels import parse_levels
from auditor.report import html
from auditor.report import view as views
from auditor.report.horizon import draw
from auditor.rules.plan import parse_plan
from tests.warning.conftest import Course, Writer, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auditor.report.view import View

pytest.importorskip("jinja2")

SVG = "{http://www.w3.org/2000/svg}"
STEADY = [(1, 100, 10**23)] * 24  # the made-up line of 10^26 is reached after 1000 hours
KILLED = [Course(hours=STEADY, sealed=False), Course(hours=STEADY, begins_h=48, attempt=1)]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ruleset: Any, chips: Any) -> Callable[..., View]:
    def build(courses: Sequence[Course], *plan: str, levels: str = "") -> View:
        reading = read(Writer(tmp_path / "ledger", monkeypatch).write(courses))
        return views.build(
            reading,
            ruleset,
            chips,
            as_of=date(2026, 11, 23),
            generated="2026-11-23T12:00:00Z",
            plan=parse_plan(plan),
            levels=parse_levels(levels),
            moment=datetime(2026, 11, 4, tzinfo=UTC),
        )

    return build


@pytest.mark.parametrize("width", [340, 760])
@pytest.mark.parametrize("courses", [[Course(hours=STEADY)], KILLED])
def test_every_line_ahead_has_a_bar_within_the_picture(
    make: Callable[..., View], courses: list[Course], width: int
) -> None:
    view = make(courses, "end=2026-12-10")
    root = ET.fromstring(draw(view.outlook, view.names, name="horizon", width=width))
    bars = [element for element in root.iter(f"{SVG}rect") if element.get("class") == "fill-band"]
    ahead = [one for one in view.outlook.forecasts if one.reaching is not None]
    assert len(bars) == len(ahead) == 1
    left, length = float(bars[0].attrib["x"]), float(bars[0].attrib["width"])
    assert 6 <= left < left + length <= width - 6
    (dot,) = root.iter(f"{SVG}circle")
    assert left - 1 <= float(dot.attrib["cx"]) <= left + length + 1
    told = "".join(root.itertext())
    assert "end of the plan 2026-12-10" in told
    if courses is KILLED:
        assert left == 6  # the earliest day is open
        assert left + length == width - 6  # and so is the latest: a quarter of the time nothing was done


def test_nothing_is_drawn_where_nothing_is_projected(make: Callable[..., View]) -> None:
    view = make([Course(hours=STEADY)])
    assert draw(view.outlook, view.names, name="horizon", width=760) == ""
    page = html.render(view)
    assert "Nothing is projected: the run has ended, and no plan says that it goes on." in page
    assert "horizon-wide" not in page


def test_the_page_has_days_and_levels(make: Callable[..., View]) -> None:
    page = html.render(make([Course(hours=STEADY)], "end=2026-12-31", levels="2% nowhere_weights=99% 1e24"))
    assert page.count("horizon-wide-title") == 2  # the picture and what it is labelled by
    flat = " ".join(page.split())
    assert "until the end of 2026-12-31 (UTC); --plan" in flat
    assert 'data-name="Expected">2026-12-14' in flat
    assert "levels passed</p>" in flat
    assert "nowhere_weights=99%" in flat
