"""The report's charts: pure functions from numbers to SVG text. Colours are the page's, by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from auditor.report.svg import (
    Box,
    Picture,
    label,
    linear_ticks,
    power,
    raised,
    rule,
    safe,
    spread,
    step_axis,
    value_axis,
)
from auditor.report.words import PHASE_WORDS, plural
from auditor.units import scientific, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.report.course import Bin, Course

_LINE = 18  # px between two lines of labels that must not touch
_LETTER = 7.2  # px that a letter of a label takes at most


def phases_by_step(course: Course, *, name: str, width: int) -> str:
    """Stacked bars: operations per step by phase, one bar for each step or for a group of steps."""
    box = Box(left=62, top=26, right=width - 8, bottom=220)
    picture = Picture(
        name=name,
        title="Operations per step, by phase",
        description=_describe_bins(course.bins),
        width=width,
        height=262,
    )
    if not course.bins:
        return picture.draw([_note(box, "No step was taken.")])
    highest = max(found.total_ops // found.steps for found in course.bins)
    ticks = linear_ticks(highest, 4)
    parts = [value_axis(box, ticks), label(box.left, 12, "operations per step", anchor="start")]
    parts += [_bar(box, found, i, len(course.bins), ticks[-1]) for i, found in enumerate(course.bins)]
    parts.append(step_axis(box, course.steps, width))
    return picture.draw(parts)


def families(amounts: Mapping[str, int], *, name: str, width: int) -> str:
    """One bar for each family that has any operations, the largest first, with its share."""
    total = sum(amounts.values())
    rows = sorted(((ops, family) for family, ops in amounts.items() if ops), key=lambda row: (-row[0], row[1]))
    box = Box(left=104, top=4, right=width - 84, bottom=4 + 26 * max(len(rows), 2))
    described = "; ".join(f"{family} {share(ops, total)}" for ops, family in rows)
    picture = Picture(
        name=name,
        title="Share of the operations, by family",
        description=described or "Nothing was counted.",
        width=width,
        height=int(box.bottom) + 8,
    )
    if not rows:
        return picture.draw([_note(box, "Nothing was counted.")])
    largest = rows[0][0]
    return picture.draw(_family_bar(box, i, row, largest, total) for i, row in enumerate(rows))


def cumulative(course: Course, lines: Sequence[tuple[int, str]], *, name: str, width: int) -> str:
    """The total as it grew, on a logarithmic axis, and the thresholds as lines with their labels."""
    box = Box(left=50, top=30, right=width - 14, bottom=278)
    total = course.reached[-1][1]
    picture = Picture(
        name=name,
        title="Total so far, against the thresholds",
        description=_describe_total(course, lines),
        width=width,
        height=320,
    )
    low, high = _decades([ops for _, ops in course.reached], [ops for ops, _ in lines])
    scale = _Scale(box, low, high)
    parts = [_decade_axis(scale), label(box.left, 12, "operations in total", anchor="start")]
    if total == 0:
        parts.append(label(box.middle, box.bottom - 12, "nothing counted", anchor="middle"))
    else:
        parts.append(_curve(scale, course))
    parts += _threshold_lines(scale, lines)
    parts.append(step_axis(box, course.steps, width))
    return picture.draw(parts)


def _bar(box: Box, found: Bin, place: int, number: int, top_ops: int) -> str:
    slot = box.width / number
    thickness = max(min(slot - min(slot * 0.2, 3), 56), 0.5)
    left = box.left + slot * place + (slot - thickness) / 2
    parts, below = [], 0
    for phase, ops in found.by_phase.items():
        each = ops // found.steps
        if each:
            low, high = (box.bottom - box.height * (value / top_ops) for value in (below, below + each))
            told = f"{_steps_of(found)}: {PHASE_WORDS[phase]} {scientific(each)} per step"
            parts.append(
                f'<rect class="fill-{phase}" x="{left:.1f}" y="{high:.1f}" width="{thickness:.1f}" '
                f'height="{low - high:.1f}"><title>{safe(told)}</title></rect>'
            )
        below += each
    return "".join(parts)


def _steps_of(found: Bin) -> str:
    last = found.first_step + found.steps - 1
    return f"step {found.first_step:,}" if found.steps == 1 else f"steps {found.first_step:,} to {last:,}"


def _family_bar(box: Box, place: int, row: tuple[int, str], largest: int, total: int) -> str:
    ops, family = row
    middle = box.top + 26 * place + 13
    length = max(box.width * (ops / largest), 1)
    return (
        label(box.left - 8, middle + 4, family, anchor="end")
        + f'<rect class="fill-bar" x="{box.left}" y="{middle - 8:.1f}" width="{length:.1f}" height="16">'
        + f"<title>{safe(family)}: {ops:,}</title></rect>"
        + label(box.left + length + 6, middle + 4, share(ops, total), anchor="start")
    )


class _Scale(NamedTuple):
    """A logarithmic axis over a plot: from 10**low at the bottom to 10**high at the top."""

    box: Box
    low: int
    high: int

    def y(self, ops: int) -> float:
        """Where an amount stands; amounts below the axis stand on its bottom."""
        part = (math.log10(ops) - self.low) / (self.high - self.low) if ops > 0 else 0
        return self.box.bottom - self.box.height * min(max(part, 0), 1)


def _decades(reached: Sequence[int], lines: Sequence[int]) -> tuple[int, int]:
    """The powers of ten between which all fits; what was counted before the first step may lie below."""
    positive = [ops for ops in reached if ops > 0]
    grown = positive[1:] or positive
    shown = [*grown, *lines]
    if not shown:
        return 0, 3
    low = math.floor(math.log10(min(shown)))
    high = math.floor(math.log10(max(shown))) + 1
    return low, max(high, low + 2)


def _decade_axis(scale: _Scale) -> str:
    box = scale.box
    each = box.height / (scale.high - scale.low)
    every = next(step for step in (1, 2, 3, 5, 10, 20, 50) if each * step >= 22)
    parts = []
    for exponent in range(scale.low, scale.high + 1, every):
        y = scale.y(10**exponent) if exponent >= 0 else box.bottom
        parts.append(rule(box.left, y, box.right, y, "grid"))
        parts.append(label(box.left - 6, y + 4, raised(exponent), anchor="end"))
    return "".join(parts)


def _threshold_lines(scale: _Scale, lines: Sequence[tuple[int, str]]) -> list[str]:
    """A dashed line each, with its label above it; labels that would touch are moved apart."""
    box = scale.box
    ordered = sorted(lines, reverse=True)
    # Upwards from the lowest line, so that a label stays off the line below it; down again from the top edge.
    risen = [-at for at in spread([5 - scale.y(ops) for ops, _ in ordered], _LINE)]
    labels = spread([max(at, box.top - 4) for at in risen], _LINE)
    parts = []
    for (ops, words), at in zip(ordered, labels, strict=True):
        y = scale.y(ops)
        told = f"{power(ops)}  {words}"
        room = int((box.width - 12) / _LETTER)
        told = told if len(told) <= room else f"{told[: room - 1].rstrip()}…"
        parts.append(rule(box.left, y, box.right, y, "line"))
        parts.append(label(box.left + 6, at, told, anchor="start", kind="halo strong"))
    return parts


def _curve(scale: _Scale, course: Course) -> str:
    box = scale.box
    points = [
        (box.left + box.width * (step / course.steps if course.steps else 1), scale.y(ops))
        for step, ops in course.reached
        if ops > 0
    ]
    x, y = points[-1]
    total = course.reached[-1][1]
    path = " ".join(f"{at:.1f},{height:.1f}" for at, height in points)
    above = y - 10 if y - 10 > box.top + _LINE else y + 18
    return (
        f'<polyline class="curve" points="{path}"/>'
        f'<circle class="fill-bar" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{total:,}</title></circle>'
        + label(x - 2, above, f"this run: {power(total)}", anchor="end", kind="halo strong")
    )


def _describe_bins(bins: Sequence[Bin]) -> str:
    if not bins:
        return "No step was taken."
    steps = sum(found.steps for found in bins)
    total = sum(found.total_ops for found in bins)
    mean = scientific(total // steps)
    return f"{plural(steps, 'step')}, on average {mean} operations each. The table below has all."


def _describe_total(course: Course, lines: Sequence[tuple[int, str]]) -> str:
    told = "; ".join(f"{power(ops)} {words}" for ops, words in sorted(lines))
    total = scientific(course.reached[-1][1])
    return f"After {plural(course.steps, 'step')}: {total} operations. Lines: {told or 'none'}."


def _note(box: Box, text: str) -> str:
    return label(box.middle, (box.top + box.bottom) / 2, text, anchor="middle")
