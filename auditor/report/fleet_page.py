"""A fleet as one HTML file: no script, nothing loaded from elsewhere, fit for paper and for the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.fleet.parts import EQUIVALENT, equivalent_tpp
from auditor.fleet.pools import Moment
from auditor.fleet.rulings import Outcome
from auditor.fleet.tiers import Tier
from auditor.report import fleet_charts, words
from auditor.report import fleet_words as say
from auditor.report.checked import MODE_WORDS
from auditor.report.fleet_charts import Bar, Column, Step
from auditor.report.page import environment, markup
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from markupsafe import Markup

    from auditor.fleet.judged import Judged
    from auditor.fleet.positions import Position
    from auditor.hardware.chips import Catalogue

_SIZES = (("wide", 760), ("narrow", 340))  # px; the page shows the one that fits
TIERS = {
    Tier.LISTED: "fill-listed",
    Tier.REST: "fill-rest",
    Tier.ARMS: "fill-arms",
    Tier.UNDETERMINED: "fill-unsettled",
}
MARKS = {
    Outcome.OPEN: "good",
    Outcome.NOT_NEEDED: "good",
    Outcome.CLOSED: "bad",
    Outcome.UNDETERMINED: "open",
    "over": "bad",
    "within": "good",
    "undetermined": "open",
    "no line": "open",
}


def render(judged: Judged, catalogue: Catalogue, mode: Mode) -> str:
    """The whole page; the same inventory, packs and day give the same bytes.

    Raises: MissingExtra: jinja2 is not installed.
    """
    each = equivalent_tpp(catalogue)
    return (
        environment()
        .get_template("fleet.html.j2")
        .render(
            judged=judged,
            mode=mode,
            other=next(one for one in Mode if one is not mode),
            modes=tuple(Mode),
            mode_words=MODE_WORDS,
            headline=say.headline(judged, mode),
            unknown=[ruling for ruling, _ in say.unanswered(judged.rulings[mode])],
            pairs=list(zip(*judged.rulings.values(), strict=True)),
            by_rule=_by_rule(judged),
            equivalent=catalogue_name(catalogue),
            each=say.grouped(each),
            in_equivalents=lambda amount: say.span(say.in_equivalents(amount, each)),
            country=lambda code: say.country(judged, code),
            installed=_pictures(
                lambda kind, width: fleet_charts.by_country(_columns(judged), name=f"countries-{kind}", width=width)
            ),
            lines=lambda rule, found: _lines(judged, rule, found),
            binds=lambda one: say.binding({each: one.binds(judged.books, each) for each in Mode}),
            schedules=_schedules(judged),
            say=say,
            words=words,
            tiers=TIERS,
            tier_names=list(Tier),
            marks=MARKS,
            cited=say.rules_cited(judged),
        )
    )


def catalogue_name(catalogue: Catalogue) -> str:
    """What the part is called that amounts are told in."""
    return next(chip.product for chip in catalogue.chips if chip.id == EQUIVALENT)


def _by_rule(judged: Judged) -> list[tuple[str, list[Position]]]:
    found: dict[str, list[Position]] = {}
    for one in judged.lines():
        found.setdefault(one.rule, []).append(one)
    return list(found.items())


def _pictures(draw: Callable[[str, int], str]) -> list[tuple[str, Markup]]:
    """A chart twice, drawn for a wide and for a narrow page."""
    return [(kind, markup(draw(kind, width))) for kind, width in _SIZES]


def _lines(judged: Judged, rule: str, found: Sequence[Position]) -> list[tuple[str, Markup]]:
    bars = [_bar(judged, one) for one in found]
    return _pictures(
        lambda kind, width: fleet_charts.against_lines(
            bars, name=f"{rule}-{kind}", title="What is used of each line", width=width
        )
    )


def _bar(judged: Judged, one: Position) -> Bar:
    most = one.used.high
    limit = one.line.low if one.line is not None else None
    told = f"{say.span(one.used)} of {say.span(one.line)} TPP" if one.line is not None else say.span(one.used)
    return Bar(
        name=f"{say.subject(judged, one)}: {say.verdict(one)}",
        told=told,
        used=int(one.used.low or 0),
        most=None if most is None else int(most),
        line=None if limit is None else int(limit),
        is_over=one.over is True,
    )


def _columns(judged: Judged) -> list[Column]:
    """What is installed in each country on the day, the most first."""
    moment = Moment(judged.books, judged.books.as_of)
    found = []
    for one in judged.destinations:
        tpp = moment.installed_in(one.country).tpp
        most = None if tpp.high is None else int(tpp.high)
        found.append(
            Column(
                code=one.country,
                name=say.country(judged, one.country),
                kind=TIERS[one.tier],
                used=int(tpp.low or 0),
                most=most,
            )
        )
    return sorted(found, key=lambda column: (-column.used, column.name))


def _schedules(judged: Judged) -> list[tuple[str, list[tuple[str, Markup]]]]:
    """For each NVEU, its allocation and what is installed, on each day on which it changes."""
    found: list[tuple[str, list[tuple[str, Markup]]]] = []
    for subject in dict.fromkeys(one.subject for one in judged.course):
        steps = list(_steps([one for one in judged.course if one.subject == subject]))
        found.append((subject, _pictures(_drawing(steps, f"allocation-{len(found)}", subject))))
    return found


def _drawing(steps: Sequence[Step], name: str, subject: str) -> Callable[[str, int], str]:
    return lambda kind, width: fleet_charts.allocation(
        steps, name=f"{name}-{kind}", title=f"Allocation of {subject}", width=width
    )


def _steps(course: Sequence[Position]) -> Iterator[Step]:
    for one in course:
        limit = None if one.line is None else one.line.low
        yield Step(day=one.day.isoformat(), line=None if limit is None else int(limit), used=int(one.used.low or 0))
