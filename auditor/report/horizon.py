"""The picture of the early warning: for each line a bar from the earliest to the latest day on which it is reached."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from auditor.report.svg import Box, Picture, label, rule, safe
from auditor.report.warning import day_words, lines_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditor.warning.forecast import Forecast, Outlook
    from auditor.warning.projection import Reaching

_ROW = 38  # px for each line: its name and days, and its bar below
_NARROW = 480
_YEAR_S = 31_556_952
_MARKS = (
    (1, "1 second"),
    (60, "1 minute"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "1 week"),
    (_YEAR_S // 12, "1 month"),
    (_YEAR_S, "1 year"),
    (10 * _YEAR_S, "10 years"),
    (100 * _YEAR_S, "100 years"),
    (10**4 * _YEAR_S, "10\N{THIN SPACE}000 years"),
    (10**6 * _YEAR_S, "a million years"),
    (10**9 * _YEAR_S, "a billion years"),
    (10**12 * _YEAR_S, "10¹² years"),
    (10**18 * _YEAR_S, "10¹⁸ years"),
)
_LETTER = 6.6  # px that a letter of a mark takes


class _Scale(NamedTuple):
    """A logarithmic axis of the time from now on, in seconds."""

    box: Box
    from_us: int
    low: float
    high: float

    def x(self, moment_us: int) -> float:
        """Where a moment lies; the past, and what is nearer than the axis begins, lies at its beginning."""
        return self.at((moment_us - self.from_us) / 1e6)

    def at(self, seconds: float) -> float:
        part = (math.log10(seconds) - self.low) / (self.high - self.low) if seconds > 0 else 0.0
        return self.box.left + self.box.width * min(max(part, 0.0), 1.0)


def draw(found: Outlook, names: Mapping[str, str], *, name: str, width: int) -> str:
    """The picture; nothing where no line lies ahead."""
    ahead = lines_ahead(found)
    if not ahead:
        return ""
    box = Box(left=6, top=22, right=width - 6, bottom=22 + _ROW * len(ahead))
    picture = Picture(
        name=name,
        title="When each line is reached, if training goes on as it did",
        description=_describe(ahead, names),
        width=width,
        height=int(box.bottom) + 44,
    )
    scale = _scale(box, found, ahead)
    parts = [*_axis(scale), *_end_of_plan(scale, found)]
    for place, one in enumerate(ahead):
        parts += _row(scale, one, names[one.rule.id], box.top + _ROW * place)
    return picture.draw(parts)


def _scale(box: Box, found: Outlook, ahead: Sequence[Forecast]) -> _Scale:
    moments = [us for one in ahead if one.reaching for us in one.reaching if us is not None]
    moments += [us for us in (found.ending or ()) if us is not None]
    seconds = [max((us - found.asked_us) / 1e6, 1.0) for us in moments] or [1.0]
    low, high = math.log10(min(seconds)) - 0.15, math.log10(max(seconds)) + 0.15
    return _Scale(box, found.asked_us, low, max(high, low + 1))


def _axis(scale: _Scale) -> Iterator[str]:
    box = scale.box
    yield rule(box.left, box.bottom, box.right, box.bottom, "axis")
    free = box.left
    for seconds, words in _MARKS:
        inside = scale.low < math.log10(seconds) < scale.high
        x = scale.at(seconds)
        half = len(words) * _LETTER / 2
        if inside and x - half >= free and x + half <= box.right:
            yield rule(x, box.top, x, box.bottom + 4, "grid")
            yield label(x, box.bottom + 18, words, anchor="middle")
            free = x + half + 8
    yield label(box.middle, box.bottom + 36, "from now on", anchor="middle")


def _end_of_plan(scale: _Scale, found: Outlook) -> Iterator[str]:
    if found.ending is None or found.ending.expected_us is None:
        return
    x = scale.x(found.ending.expected_us)
    yield rule(x, scale.box.top - 6, x, scale.box.bottom, "line")
    right = x > scale.box.middle
    words = f"end of the plan {day_words(found.ending.expected_us - 1)}"  # its last day, not the one that begins then
    yield label(x + (-5 if right else 5), 12, words, anchor="end" if right else "start", kind="halo")


def _row(scale: _Scale, one: Forecast, name: str, top: float) -> Iterator[str]:
    box, reaching = scale.box, one.reaching
    if reaching is None:
        return
    days = _days(reaching, narrow=box.right < _NARROW)
    room = int((box.width - len(days) * 7) / 7)
    shown = name if len(name) <= room else f"{name[: max(room - 1, 1)].rstrip()}…"
    yield label(box.left, top + 14, shown, anchor="start", kind="halo strong")
    yield label(box.right, top + 14, days, anchor="end", kind="halo")
    first = box.left if reaching.earliest_us is None else scale.x(reaching.earliest_us)
    last = box.right if reaching.latest_us is None else scale.x(reaching.latest_us)
    told = f"{name}: {_days(reaching, narrow=False)}"
    yield (
        f'<rect class="fill-band" x="{first:.1f}" y="{top + 20:.1f}" width="{max(last - first, 2):.1f}" height="10">'
        f"<title>{safe(told)}</title></rect>"
    )
    if reaching.expected_us is not None:
        yield f'<circle class="fill-bar" cx="{scale.x(reaching.expected_us):.1f}" cy="{top + 25:.1f}" r="5"/>'


def _days(reaching: Reaching, *, narrow: bool) -> str:
    expected = "never at no pace" if reaching.expected_us is None else day_words(reaching.expected_us)
    first, last = day_words(reaching.earliest_us), day_words(reaching.latest_us)
    return expected if narrow or first == last == expected else f"{expected} ({first} to {last})"


def _describe(ahead: Sequence[Forecast], names: Mapping[str, str]) -> str:
    told = (f"{names[one.rule.id]}: {_days(one.reaching, narrow=False)}" for one in ahead if one.reaching)
    return f"Expected day, with the earliest and the latest. {'; '.join(told)}."
