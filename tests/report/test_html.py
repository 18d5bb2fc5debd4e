from __future__ import annotations

import dataclasses
import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditor.report import html
from auditor.rules import pack
from auditor.tally import Phase, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View


pytest.importorskip("jinja2")

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: its elements, its text, and whether every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def check(view: View) -> Page:
    """The page, having checked what holds for every page."""
    text = html.render(view)
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for tag, attrs in page.elements:
        assert not any(name.startswith("on") for name in attrs), tag
        assert not {"src", "srcset", "action", "formaction", "xlink:href", "style"} & attrs.keys(), tag
        assert "href" not in attrs or tag == "a"
    assert all((attrs["href"] or "").startswith(("https://", "http://")) for attrs in page.named("a"))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    return page


def test_it_is_one_closed_file_with_its_charts(make_view: Callable[..., View]) -> None:
    page = check(make_view())
    assert len(page.named("svg")) == 6  # three charts, each for wide and narrow pages
    assert all(svg["role"] == "img" for svg in page.named("svg"))
    assert page.named("html") == [{"lang": "en"}]
    for word in (
        "small test model",
        "Nowhere Weights Act",
        "not reached",
        "UNANCHORED",
        "no accelerator seen: not judged",
        "6 steps",
    ):
        assert word in page.text


def test_it_says_once_that_it_is_no_legal_advice(make_view: Callable[..., View]) -> None:
    assert check(make_view()).text.count("not legal advice") == 1


def test_every_rounded_amount_has_the_exact_one_behind_it(make_view: Callable[..., View]) -> None:
    view = make_view()
    exact = f"{view.operations.total:,}"
    page = check(view)
    assert exact in page.text
    assert exact in [attrs.get("title") for attrs in page.named("span")]


def test_every_chart_has_its_numbers_in_a_table(make_view: Callable[..., View]) -> None:
    view = make_view()
    page = check(view)
    for _, ops in view.course.reached:
        assert f"{ops:,}" in page.text
    titles = [attrs.get("title") for attrs in page.named("span")]
    for found in view.course.bins:
        assert f"{found.by_phase[Phase.FORWARD]:,}" in titles
    for ops in view.operations.by_family.values():
        assert f"{ops:,}" in page.text


def test_hostile_text_is_shown_as_text(
    make_view: Callable[..., View], hostile: str, opinion: Callable[..., Any], tally_of: Callable[..., Tally]
) -> None:
    explained = ({"operator": hostile, "module": hostile, "ours": hostile, "theirs": hostile, "note": hostile},)
    unknown = tally_of({("2x3x4", Phase.FORWARD): 5}, op=f"mylib::{hostile}")
    view = make_view(
        model=hostile,
        command=("python", hostile, '"><img src=x onerror=alert(1)>' * 50),
        intervals=((1, unknown, 1),),
        devices=({"kind": "gpu", "name": hostile, hostile: "</dd><script>", "uuid": "javascript:alert(1)"},),
        gaps=((hostile, hostile, True),),
        opinions=(opinion(counter=hostile, model=hostile, explained=explained, modules=((hostile, hostile, "1"),)),),
    )
    page = check(view)
    assert "<script>alert('x')</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not set("\x00\x07\x1b\u202e\u2028") & set(html.render(view))


def test_a_source_may_only_link_to_the_web(make_view: Callable[..., View]) -> None:
    view = make_view()
    sources = "javascript:alert(1) (https://nowhere.example/a?b=1&c=2) data:text/html,x http://x.example/'\">y"
    rules = tuple(dataclasses.replace(finding, source=sources) for finding in view.rules)
    links = {attrs["href"] for attrs in check(dataclasses.replace(view, rules=rules)).named("a")}
    assert links == {"https://nowhere.example/a?b=1&c=2", "http://x.example/"}


def test_a_false_record_raises_an_alarm(make_view: Callable[..., View]) -> None:
    view = make_view()
    false = dataclasses.replace(view, ledger=dataclasses.replace(view.ledger, verdict="INVALID"))
    assert "Do not rely on these numbers." in check(false).text
    assert "Do not rely" not in check(view).text


@pytest.mark.parametrize(
    "fields",
    [
        {"intervals": ()},
        {"ranks": 3, "sealed": False},
        {"model": "", "devices": ()},
        {"gaps": (("attach", "late", True),) * 300},
    ],
    ids=["nothing counted", "missing ranks", "nameless", "many gaps"],
)
def test_what_is_missing_does_not_break_the_page(make_view: Callable[..., View], fields: dict[str, Any]) -> None:
    check(make_view(**fields))


def test_the_shipped_law_and_a_real_chip_fit(make_view: Callable[..., View], h200: dict[str, str]) -> None:
    page = check(make_view(law=pack.load(), devices=(h200,)))
    assert "Announced on 2025-05-13 as not to be enforced" in page.text
    assert "3A090.a" in page.text


def test_the_same_view_gives_the_same_page(make_view: Callable[..., View]) -> None:
    view = make_view()
    assert html.render(view) == html.render(view)


STYLE = (Path(html.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
# What eyes without red, green or blue cones make of linear RGB (Machado, Oliveira and Fernandes 2009).
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.01182, 0.04294, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.3039),
    ),
}


def schemes() -> list[dict[str, tuple[float, ...]]]:
    """The page's colours as linear RGB: light, dark and paper, in this order."""
    found = []
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL):
        pairs = re.findall(r"--([a-z-]+): #([0-9a-f]{6})", block)
        found.append(
            {name: tuple(_linear(int(value[i : i + 2], 16) / 255) for i in (0, 2, 4)) for name, value in pairs}
        )
    return found


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def luminance(colour: tuple[float, ...]) -> float:
    return sum(part * weight for part, weight in zip(colour, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def lab(colour: tuple[float, ...], eye: str) -> tuple[float, float, float]:
    seen = [min(max(sum(a * b for a, b in zip(row, colour, strict=True)), 0), 1) for row in EYES[eye]]
    white = (
        (0.4124, 0.3576, 0.1805, 0.95047),
        (0.2126, 0.7152, 0.0722, 1.0),
        (0.0193, 0.1192, 0.9505, 1.08883),
    )
    x, y, z = (_cube(sum(a * b for a, b in zip(row[:3], seen, strict=True)) / row[3]) for row in white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _cube(part: float) -> float:
    return float(part ** (1 / 3)) if part > 0.008856 else 7.787 * part + 16 / 116


@pytest.mark.parametrize("scheme", range(3), ids=["light", "dark", "paper"])
def test_words_can_be_read_and_phases_told_apart_by_every_eye(scheme: int) -> None:
    colours = schemes()[scheme]
    for name in ("text", "quiet", "good", "bad", "open"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
        assert contrast(colours[name], colours["card"]) >= 4.5, name
    for phase in Phase:
        assert contrast(colours[phase], colours["page"]) >= 3, phase
    for eye in EYES:
        for one, other in itertools.combinations(Phase, 2):
            assert math.dist(lab(colours[one], eye), lab(colours[other], eye)) >= 25, (eye, one, other)
