"""The pieces that charts are drawn with, as SVG text. Everything that is printed is escaped here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from auditor.report.words import POWER, clean
from auditor.units import scientific, with_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_AMOUNT = re.compile(r"(?<![\w.])([0-9]+(?:\.[0-9]+)?)e([0-9]+)(?![\w.]*\w)")  # as `scientific` writes them
TIMES = "\N{MULTIPLICATION SIGN}"
_NARROW = 480  # px under which there is room for fewer marks


class Box(NamedTuple):
    """Where the plot is inside the picture, in px."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """Half way from left to right."""
        return (self.left + self.right) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What every chart has: an id unique on its page, a size, a title, and words for who cannot see it."""

    name: str
    title: str
    description: str
    width: int
    height: int

    def draw(self, parts: Iterable[str]) -> str:
        """The whole element."""
        return (
            f'<svg class="chart" role="img" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" aria-labelledby="{self.name}-title {self.name}-desc" '
            'xmlns="http://www.w3.org/2000/svg">'
            f'<title id="{self.name}-title">{safe(self.title)}</title>'
            f'<desc id="{self.name}-desc">{safe(self.description)}</desc>'
            f"{''.join(parts)}</svg>"
        )


def power(amount: int) -> str:
    """The amount as people write it, with a raised exponent; small ones in full."""
    if amount < 10**6:
        return f"{amount:,}"
    mantissa, _, exponent = scientific(amount).partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    ten = raised(int(exponent))
    return ten if mantissa == "1" else f"{mantissa} {TIMES} {ten}"


def raised(exponent: int) -> str:
    """The power of ten: ``10²⁶``."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def raised_powers(text: str) -> str:
    """The text of a pack, or about a count, with its powers of ten raised, as every amount on a page is."""
    return _AMOUNT.sub(_raised, POWER.sub(_raised, text))


def _raised(found: re.Match[str]) -> str:
    mantissa, exponent = found[1], found[2]
    short = mantissa.rstrip("0").rstrip(".") if mantissa and "." in mantissa else mantissa
    ten = raised(int(exponent))
    return ten if short in (None, "1") else f"{short} {TIMES} {ten}"


def linear_ticks(highest: int, number: int) -> list[int]:
    """Round marks from 0 to the first at or above ``highest``: steps of 1, 2 or 5 times a power of ten."""
    raw = -(-max(highest, 1) // number)
    magnitude = int(10 ** (len(str(raw)) - 1))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    return [step * i for i in range(-(-max(highest, 1) // step) + 1)]


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The positions from low to high, moved up where needed so that ``gap`` lies between neighbours."""
    placed: list[float] = []
    for position in sorted(wanted):
        placed.append(max(position, placed[-1] + gap) if placed else position)
    return placed


def value_axis(box: Box, ticks: Sequence[int]) -> str:
    """Marks on the left and lines across the plot."""
    parts = []
    for tick in ticks:
        y = box.bottom - box.height * (tick / ticks[-1])
        parts.append(rule(box.left, y, box.right, y, "grid"))
        parts.append(label(box.left - 6, y + 4, _short(tick), anchor="end"))
    return "".join(parts)


def step_axis(box: Box, steps: int, width: int) -> str:
    """Marks under the plot, at the end of the step that they name."""
    parts = [rule(box.left, box.bottom, box.right, box.bottom, "axis")]
    if steps:
        ticks = [tick for tick in linear_ticks(steps, 3 if width < _NARROW else 6) if tick < steps * 0.93] + [steps]
        for tick in ticks:
            x = box.left + box.width * (tick / steps)
            anchor = "end" if tick == steps else "middle"
            parts.append(rule(x, box.bottom, x, box.bottom + 4, "axis"))
            parts.append(label(x, box.bottom + 18, f"{tick:,}", anchor=anchor))
    parts.append(label(box.middle, box.bottom + 36, "steps done", anchor="middle"))
    return "".join(parts)


def _short(amount: int) -> str:
    """With a prefix and without zeros at the end: ``1.5 T``."""
    number, _, prefix = with_prefix(amount).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {prefix}".strip()


def label(x: float, y: float, text: str, *, anchor: str, kind: str = "") -> str:
    """A text at a place; ``anchor``: start, middle or end."""
    return f'<text class="label {kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{safe(text)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def safe(text: str) -> str:
    """The text as it may stand in markup and in attributes."""
    return escape(clean(text))
