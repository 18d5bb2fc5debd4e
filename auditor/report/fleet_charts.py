"""The pictures of a fleet, as SVG text: what is used of each line, what stands where, allocations as they grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.report.svg import Box, Picture, label, linear_ticks, rule, safe, value_axis
from auditor.units import with_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROW = 56  # px of a bar with its words above and below
_THICK = 16
_WIDEST = 1.35  # times its line that a bar is drawn at most
_NAME = 100  # px that the name of a country needs at most
_NARROW = 480  # px under which there is room for fewer words


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An amount and its line in whole TPP; ``most``: what it may be, None without end; ``line`` None: there is none.

    ``is_over``: for sure; where the line itself is open, an amount above its drawn place may be within it.
    """

    name: str
    told: str
    used: int
    most: int | None
    line: int | None
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is in one country; ``kind``: the class that colours it; ``most``: what it may be, None without end."""

    code: str
    name: str
    kind: str
    used: int
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An allocation from some day on, and what is held against it from then."""

    day: str
    line: int | None
    used: int


def against_lines(bars: Sequence[Bar], *, name: str, title: str, width: int) -> str:
    """A bar for each amount, all drawn so that their lines lie below one another."""
    box = Box(left=0, top=0, right=width - 2, bottom=_ROW * len(bars))
    picture = Picture(
        name=name,
        title=title,
        description="; ".join(f"{bar.name}: {bar.told}" for bar in bars) or "There is no such amount.",
        width=width,
        height=int(box.bottom) + 4,
    )
    highest = max((_ratio(bar.used, bar) for bar in bars), default=0.0)
    full = box.width / max(1.0, min(highest, _WIDEST))
    return picture.draw(_bar(bar, _ROW * place, full, box.width) for place, bar in enumerate(bars))


def _ratio(amount: int, bar: Bar) -> float:
    if not bar.line:
        return 0.0 if amount == 0 else _WIDEST
    return min(amount / bar.line, _WIDEST)


def _bar(bar: Bar, top: float, full: float, width: float) -> str:
    """Words, a track up to the line, what is used of it, and what may be."""
    y = top + 18
    parts = [label(0, top + 13, bar.name, anchor="start", kind="strong")]
    if bar.line is not None:
        reach = full * _ratio(bar.used, bar)
        may_be = width if bar.most is None else min(full * _ratio(bar.most, bar), width)
        parts.append(_rect("track", 0, y, full, _THICK))
        if may_be - reach > 0.5:
            parts.append(_rect("may-be", reach, y, may_be - reach, _THICK))
        if reach > 0:
            parts.append(_rect("fill-over" if bar.is_over else "fill-bar", 0, y, max(reach, 1.5), _THICK))
        parts.append(rule(full, y - 4, full, y + _THICK + 4, "line"))
    parts.append(label(0, y + _THICK + 14, bar.told, anchor="start", kind="bad" if bar.is_over else ""))
    return f"<g><title>{safe(f'{bar.name}: {bar.told}')}</title>{''.join(parts)}</g>"


def by_country(columns: Sequence[Column], *, name: str, width: int) -> str:
    """A bar for each country, the most first, coloured by its tier."""
    left = 190 if width > _NARROW else 40
    box = Box(left=left, top=4, right=width - 96, bottom=4 + 28 * max(len(columns), 1))
    picture = Picture(
        name=name,
        title="TPP of 3A090.a in each country, by tier",
        description="; ".join(f"{one.name} {_told(one)}" for one in columns) or "Nothing is installed.",
        width=width,
        height=int(box.bottom) + 6,
    )
    if not columns:
        return picture.draw([label(box.middle, 20, "Nothing is installed.", anchor="middle")])
    highest = max(max(one.used, one.most or 0) for one in columns) or 1
    return picture.draw(_column(one, box, place, highest) for place, one in enumerate(columns))


def _told(one: Column) -> str:
    amount = _short(one.used)
    if one.most == one.used:
        return amount
    return f"≥ {amount}" if one.used else "not known"


def _column(one: Column, box: Box, place: int, highest: int) -> str:
    middle = box.top + 28 * place + 14
    reach = box.width * one.used / highest
    may_be = box.width if one.most is None else box.width * one.most / highest
    name = one.name if box.left > _NAME else one.code
    parts = [label(box.left - 8, middle + 4, name, anchor="end")]
    if may_be - reach > 0.5:
        parts.append(_rect("may-be", box.left + reach, middle - 9, may_be - reach, 18))
    if one.used:
        parts.append(_rect(one.kind, box.left, middle - 9, max(reach, 1.5), 18))
    parts.append(label(box.left + max(reach, may_be) + 6, middle + 4, _told(one), anchor="start"))
    return f"<g><title>{safe(f'{one.name}: {_told(one)} TPP')}</title>{''.join(parts)}</g>"


def allocation(steps: Sequence[Step], *, name: str, title: str, width: int) -> str:
    """The allocation as it grows, dashed, and below it what is installed or planned."""
    box = Box(left=54, top=26, right=width - 14, bottom=190)
    picture = Picture(
        name=name,
        title=title,
        description="; ".join(f"from {one.day}: {one.used:,} of {one.line or 0:,}" for one in steps),
        width=width,
        height=232,
    )
    ticks = linear_ticks(max(max(one.line or 0, one.used) for one in steps), 4)
    each = box.width / len(steps)
    parts = [value_axis(box, ticks), label(box.left, 12, "TPP", anchor="start")]
    every = 2 if width < _NARROW and len(steps) > 4 else 1
    for place, one in enumerate(steps):
        spot = Box(left=box.left + each * place, top=box.top, right=box.left + each * (place + 1), bottom=box.bottom)
        parts.append(_quarter(one, spot, ticks[-1], labelled=place % every == (len(steps) - 1) % every))
    parts.append(rule(box.left, box.bottom, box.right, box.bottom, "axis"))
    return picture.draw(parts)


def _quarter(one: Step, box: Box, top: int, *, labelled: bool) -> str:
    inner = min(box.width * 0.62, 80)
    x = box.middle - inner / 2
    used = box.bottom - box.height * one.used / top
    over = one.line is not None and one.used > one.line
    parts = [_rect("fill-over" if over else "fill-bar", x, used, inner, box.bottom - used)]
    if one.line is not None:
        line = box.bottom - box.height * one.line / top
        parts.append(rule(x - 6, line, x + inner + 6, line, "line"))
        if labelled:
            parts.append(label(box.middle, line - 6, _short(one.line), anchor="middle", kind="halo"))
    if labelled:
        parts.append(label(box.middle, box.bottom + 16, one.day, anchor="middle"))
        parts.append(label(box.middle, box.bottom + 32, _short(one.used), anchor="middle", kind="strong"))
    return f"<g><title>{safe(f'from {one.day}: {one.used:,} TPP of {one.line or 0:,}')}</title>{''.join(parts)}</g>"


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _short(amount: int) -> str:
    """With a prefix and without zeros at its end: ``790 M``."""
    number, _, prefix = with_prefix(amount).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {prefix}".strip()
