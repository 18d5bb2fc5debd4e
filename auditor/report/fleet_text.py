"""What `auditor fleet` says as text: destinations, shipments, allocations, shares, and the rules behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.fleet.parts import equivalent_tpp
from auditor.fleet.rulings import Outcome
from auditor.report import fleet_words as say
from auditor.report.checked import MODE_WORDS
from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table, Title
from auditor.report.words import plural
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.fleet.judged import Judged
    from auditor.fleet.positions import Position
    from auditor.fleet.rulings import Ruling
    from auditor.fleet.shares import Universal
    from auditor.hardware.chips import Catalogue


def blocks(judged: Judged, catalogue: Catalogue, mode: Mode) -> Iterator[Block]:
    """The page in the order in which it is read."""
    books = judged.books
    yield Title(f"What the chip rules say: {books.inventory.name}")
    yield Pairs(
        (
            ("inventory", f"{plural(len(books.inventory.shipments), 'shipment')}, SHA-256 {books.inventory.digest}"),
            ("result", say.headline(judged, mode)),
            ("law", f"shipments by that of their own day, the rest on {books.as_of}; {MODE_WORDS[mode]}"),
            ("the rule on diffusion", say.diffusion_status(judged)),
        )
    )
    yield from _destinations(judged)
    yield from _shipments(judged)
    yield from _lines(judged, catalogue)
    for one in judged.universal:
        yield from _universal(judged, one, catalogue)
    yield from _rules(judged)
    yield Paragraph(say.NOTICE, "quiet")


def _destinations(judged: Judged) -> Iterator[Block]:
    yield Heading("Destinations")
    rows = tuple((say.country(judged, one.country), str(one.tier), one.certainty) for one in judged.destinations)
    yield Table(("destination", "tier, as printed in the regulations", "sure as"), rows, flexible=1)
    notes = dict.fromkeys(note for one in judged.destinations for note in one.notes)
    sources = dict.fromkeys(one.source for one in judged.destinations)
    yield Bullets((*notes, *(f"Sources: {source}." for source in sources)))


def _shipments(judged: Judged) -> Iterator[Block]:
    yield Heading("Shipments")
    codified, enforced = (judged.rulings[mode] for mode in (Mode.AS_CODIFIED, Mode.AS_ENFORCED))
    rows = tuple(
        (
            one.shipment.id,
            one.shipment.site.country,
            f"{say.chips(one.shipment)}, {say.goes_under(one.shipment)}",
            one.shipment.day.isoformat() if one.shipment.day else "not set",
            say.outcome(one),
            say.outcome(other),
        )
        for one, other in zip(codified, enforced, strict=True)
    )
    columns = ("shipment", "to", "chips", "day", "as codified", "as enforced")
    yield Table(columns, rows, flexible=2)
    yield from _told(judged)


def _told(judged: Judged) -> Iterator[Block]:
    """Why, with the rules behind each answer; shipments that the same is to be said of together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for mode, rulings in judged.rulings.items():
        for ruling in rulings:
            told = (say.outcome(ruling), *_why(judged, ruling))
            alike.setdefault(told, []).append(f"{ruling.shipment.id} {mode.replace('_', ' ')}")
    for (outcome, *words), whose in alike.items():
        yield Paragraph(f"{', '.join(whose)}: {outcome}", "strong")
        yield Bullets(tuple(words))


def _why(judged: Judged, ruling: Ruling) -> Iterator[str]:
    yield from ruling.because
    beside = say.beside(ruling)
    if beside:
        yield beside
    for one in ruling.required_by:
        if one.answer.value is True or ruling.outcome is Outcome.NOT_NEEDED:
            yield say.said_words(judged, one, ruling.day)
    for path in ruling.paths:
        if ruling.outcome is Outcome.CLOSED or path.answer is True:
            yield say.path_words(judged, path, ruling.day)
    for path in say.unsettled_paths(ruling):
        yield f"{path.under} is undetermined: {'; '.join(path.because)}"


def _lines(judged: Judged, catalogue: Catalogue) -> Iterator[Block]:
    yield Heading("Amounts against their lines")
    found = list(judged.lines())
    if not found:
        yield Paragraph("No allocation, share or yearly amount is spoken of.")
        return
    for rule in dict.fromkeys(one.rule for one in found):
        yield from _of_rule(judged, [one for one in found if one.rule == rule], catalogue)
    because = dict.fromkeys(f"{one.subject}: {why}" for one in found for why in one.because)
    if because:
        yield Paragraph("Open amounts, because", "strong")
        yield Bullets(tuple(because))
    if judged.schedule:
        yield Heading("Allocations to come, with what is planned by then")
        rows = tuple((one.day.isoformat(), *_line(judged, one, catalogue)) for one in judged.schedule)
        yield Table(("from", *_COLUMNS), rows, frozenset({2, 3, 4, 5}), 1)


_COLUMNS = ("of", "used, TPP", "line", "left", "left, H100", "it is")


def _of_rule(judged: Judged, found: Sequence[Position], catalogue: Catalogue) -> Iterator[Block]:
    first = found[0]
    modes = say.binding({mode: first.binds(judged.books, mode) for mode in Mode})
    title = judged.books.ruleset.find(first.rule).title
    yield Paragraph(f"{title} ({first.rule}; binds as {modes}): {first.measure}", "strong")
    yield Table(_COLUMNS, tuple(_line(judged, one, catalogue) for one in found), right=frozenset({1, 2, 3, 4}))


def _line(judged: Judged, one: Position, catalogue: Catalogue) -> tuple[str, ...]:
    return (
        say.subject(judged, one),
        say.span(one.used),
        say.span(one.line),
        say.span(one.left),
        say.span(say.in_equivalents(one.left, equivalent_tpp(catalogue))),
        say.verdict(one),
    )


def _universal(judged: Judged, one: Universal, catalogue: Catalogue) -> Iterator[Block]:
    yield Heading(f"What {one.company.name} may still deploy where, as UVEU")
    yield Paragraph(
        f"Its group has {say.span(one.total)} TPP of 3A090.a. New chips make the total grow, and the shares with it."
    )
    each = equivalent_tpp(catalogue)
    rows = tuple(
        (
            say.country(judged, room.place),
            _room(room.tpp),
            _room(say.in_equivalents(room.tpp, each)) if room.tpp else "",
        )
        for room in one.rooms
    )
    yield Table(("place", "new chips, TPP", "H100"), rows, right=frozenset({1, 2}))


def _room(amount: object) -> str:
    return "no end by the shares" if amount is None else say.span(amount)  # type: ignore[arg-type]


def _rules(judged: Judged) -> Iterator[Block]:
    """Every rule that an answer cites, those that stand alike together."""
    yield Heading("The rules, and where they stand")
    ruleset, day = judged.books.ruleset, judged.books.as_of
    alike: dict[str, list[str]] = {}
    for rule in say.rules_cited(judged):
        alike.setdefault(say.rule_status(ruleset, rule, day), []).append(
            f"{rule.id}: {rule.authority} ({rule.citation}; text {rule.certainty})"
        )
    for status, rules in alike.items():
        yield Paragraph(status, "strong")
        yield Bullets(tuple(rules))
    yield Pairs(tuple((pack.name, f"version {pack.version}, {pack.digest}") for pack in ruleset.packs))
