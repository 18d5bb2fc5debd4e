"""What stands on the HTML page, and how its template is filled."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import MissingExtra
from auditor.report import (
    cases,
    charts,
    coverage,
    devices,
    horizon,
    judgement,
    replication,
    statements,
    svg,
    warning,
    words,
)
from auditor.report.observation_page import OBSERVED
from auditor.tally import Phase
from auditor.units import share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditor.report.layout import Block
    from auditor.report.view import View

try:
    import jinja2
    from markupsafe import Markup
except ImportError as missing:
    raise MissingExtra("jinja2", "html") from missing

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_WIDE, _NARROW = 760, 340  # px; the page shows the one that fits
_MOST_ROWS = 200
_ADDRESS = re.compile(r"(https?://[^\s<>\"'()]+[^\s<>\"'().,;])")


def render(view: View) -> str:
    """The whole page; the same view gives the same bytes."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            say=statements,
            coverage=coverage,
            replication=replication,
            words=words,
            case=cases,
            chips=devices,
            judging=judgement,
            observed=OBSERVED,
            early=warning,
            command=shlex.join(view.run.command),
            counters=", ".join(view.run.counters) or "none",
            breakdowns=_breakdowns(view),
            threshold_lines=_lines(view),
            pictures=_pictures(view),
            shown_phases=_shown_phases(view),
            most_rows=_MOST_ROWS,
        )
    )


def draw(blocks: Iterable[Block]) -> str:
    """A page of blocks, in the look of the report; the same blocks give the same bytes."""
    parts = [(type(block).__name__, block) for block in blocks]
    return environment().get_template("blocks.html.j2").render(parts=parts)


def environment() -> jinja2.Environment:
    """How templates are filled: text of others escaped and made visible, nothing undefined passed over."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters |= {"amount": _amount, "share": share, "named": _named, "linked": _linked, "raised": svg.raised_powers}
    return made


def markup(text: str) -> Markup:
    """Text that is markup already, such as a chart, which escapes every text that it is given."""
    return Markup(text)  # noqa: S704


def _visible(value: object) -> object:
    """Text of others without characters that act instead of showing; the template's own markup as it is."""
    return words.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _amount(ops: int) -> Markup:
    """The amount rounded for people, with the exact one behind it."""
    return Markup('<span class="amount" title="{}">{}</span>').format(f"{ops:,}", svg.power(ops))


def _named(rule_id: str, names: Mapping[str, str]) -> str:
    return svg.raised_powers(names[rule_id])


def _linked(text: str) -> Markup:
    """The text with its web addresses as links; nothing is loaded unless somebody follows one."""
    parts = _ADDRESS.split(words.clean(text))  # every second part is an address
    link = Markup('<a href="{0}" rel="noreferrer">{0}</a>')
    return Markup().join(link.format(part) if i % 2 else part for i, part in enumerate(parts))


def _breakdowns(view: View) -> list[tuple[str, list[tuple[str, int]]]]:
    operations = view.operations
    return [
        ("phase", [(words.PHASE_WORDS[name], ops) for name, ops in operations.by_phase.items()]),
        ("family", list(operations.by_family.items())),
        ("precision", list(operations.by_precision.items())),
        ("purpose", list(operations.by_purpose.items())),
    ]


def _lines(view: View) -> list[tuple[int, list[str]]]:
    """The thresholds, the lowest first, each with the names of the rules that draw it."""
    return [(ops, [svg.raised_powers(view.names[rule]) for rule in rules]) for ops, rules in view.lines.items()]


def _shown_phases(view: View) -> list[Phase]:
    return [phase for phase in Phase if view.course and any(found.by_phase[phase] for found in view.course.bins)]


def _short(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} + {len(names) - 1}"


def _pictures(view: View) -> dict[str, list[tuple[str, Markup]]]:
    """Each chart twice, drawn for a wide and for a narrow page."""
    lines = [(ops, _short(names)) for ops, names in _lines(view)]
    found: dict[str, list[tuple[str, Markup]]] = {"total": [], "phases": [], "families": [], "horizon": []}
    for kind, width in (("wide", _WIDE), ("narrow", _NARROW)):
        drawn = {
            "total": view.course and charts.cumulative(view.course, lines, name=f"total-{kind}", width=width),
            "phases": view.course and charts.phases_by_step(view.course, name=f"phases-{kind}", width=width),
            "families": charts.families(view.operations.by_family, name=f"families-{kind}", width=width),
            "horizon": horizon.draw(view.outlook, view.names, name=f"horizon-{kind}", width=width),
        }
        for chart, text in drawn.items():
            if not text:
                continue
            found[chart].append((kind, Markup(text)))  # noqa: S704 - charts escape every text they are given
    return found
