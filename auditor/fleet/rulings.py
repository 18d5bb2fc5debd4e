"""Whether a shipment needs a licence on its day, and which ways are open to it, with the rule behind each answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.fleet import ways
from auditor.fleet.inventory import Under
from auditor.rules.model import Mode
from auditor.rules.values import Result, all_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Shipment
    from auditor.fleet.questions import Asked
    from auditor.fleet.ways import Said


class Outcome(StrEnum):
    """What a shipment comes to."""

    NOT_NEEDED = "no licence needed"
    OPEN = "open"
    CLOSED = "no way open"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A way for a shipment: open, not, or undetermined; ``said``: by which rules."""

    under: Under
    answer: bool | None
    said: tuple[Said, ...]
    because: tuple[str, ...]  # why it is undetermined


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the rules that bind in a mode say of a shipment. ``needed``: by which rules a licence is.

    ``stated``: whether the way that it is said to go under is open; None where nobody says, or that is open.
    """

    shipment: Shipment
    day: date
    mode: Mode
    outcome: Outcome
    needed: bool | None
    required_by: tuple[Said, ...]
    paths: tuple[Path, ...]
    stated: bool | None
    because: tuple[str, ...]

    @property
    def open_paths(self) -> tuple[Path, ...]:
        """The ways that are open."""
        return tuple(path for path in self.paths if path.answer is True)

    @property
    def against(self) -> bool:
        """Whether it is known to go, or to have gone, without a way: it has none, or names one that is not open."""
        return self.outcome is Outcome.CLOSED or (self.needed is True and self.stated is False)


def rule_on(books: Books, shipment: Shipment, asked: Asked, mode: Mode) -> Ruling:
    """The ruling of one shipment in a mode. ``asked``: what `questions.of_shipment` says of it."""
    day = books.day_of(shipment)
    export, *said = ways.required(books, asked, day, mode)
    needed = all_of([export.answer, ways.either(said)]) if said or export.answer.value is False else Result(None)
    paths = () if needed.value is False else tuple(_paths(books, shipment, asked, mode, said))
    outcome = _outcome(needed, paths)
    because = list(_because(asked.because, needed, paths, said))
    if outcome is Outcome.CLOSED and shipment.made_by(books.as_of):
        outcome = _AS_MADE.get(shipment.under, outcome)
        if shipment.under is None:
            because.append(f"what it went under is not stated: a licence may have been granted ({shipment.place})")
    return Ruling(
        shipment=shipment,
        day=day,
        mode=mode,
        outcome=outcome,
        needed=needed.value if isinstance(needed.value, bool) else None,
        required_by=(export,) if export.answer.value is False else tuple(said),
        paths=paths,
        stated=_stated(books, (shipment, day), needed, paths),
        because=tuple(because) if outcome is Outcome.UNDETERMINED else (),
    )


# A licence that was granted holds, whatever the review presumes; and what nobody states may have been one.
_AS_MADE = {Under.LICENCE: Outcome.OPEN, None: Outcome.UNDETERMINED}


def _paths(books: Books, shipment: Shipment, asked: Asked, mode: Mode, required: Sequence[Said]) -> Iterator[Path]:
    day = books.day_of(shipment)
    each = {one.rule: one.answer for one in required}
    worldwide = each.get(ways.WORLDWIDE, Result(False))
    past = _past_letters(each.get(ways.LETTERS, Result(False)))
    for way in ways.WAYS:
        if not ways.binding_steps(books, way, day, mode):
            continue
        said = tuple(ways.ask(books, asked, day, step) for step in way.steps)
        reached = ways.either(required) if way.from_all else worldwide
        yield _path(way.under, all_of([reached, past, *(one.answer for one in said)]), said, asked.because, books)
    answer, said = ways.reviewed(books, asked, day, mode, worldwide)
    yield _path(Under.LICENCE, answer, said, asked.because, books)


def _past_letters(asked: Result) -> Result:
    """Whether a way but a licence may lead past the letters; open where they ask for one."""
    return Result(True) if asked.value is False else Result(None, frozenset({"letters"}))


def _path(under: Under, answer: Result, said: tuple[Said, ...], because: Mapping[str, str], books: Books) -> Path:
    value = answer.value if isinstance(answer.value, bool) else None
    why = () if value is not None else tuple(_reasons(answer, said, because, books))
    return Path(under=under, answer=value, said=said, because=why)


def _reasons(answer: Result, said: Sequence[Said], because: Mapping[str, str], books: Books) -> Iterator[str]:
    for one in ways.unsettled(said):
        yield books.ruleset.find(one.rule).notes[0]
    for name in sorted(answer.open):
        yield because.get(name) or _asked_for(name, books)


def _asked_for(name: str, books: Books) -> str:
    if name == "licence_review":
        return "how a licence for it would be reviewed on that day, no rule held here says"
    if name == "letters":
        return books.ruleset.find(ways.LETTERS).notes[0]
    fact = books.ruleset.facts.get(name)
    if fact is not None:
        return f"not answered: {fact.words} ({name})"
    group = books.ruleset.groups.get(name)
    if group is not None:
        return f"whether a country was among these on that day is not known: {group.title}"
    return f"no number is held for that day: {name}"


def _outcome(needed: Result, paths: Sequence[Path]) -> Outcome:
    if needed.value is False:
        return Outcome.NOT_NEEDED
    if needed.value is None:
        return Outcome.UNDETERMINED
    answers = {path.answer for path in paths}
    if True in answers:
        return Outcome.OPEN
    return Outcome.UNDETERMINED if None in answers else Outcome.CLOSED


def _licensed(books: Books, shipment: Shipment) -> bool:
    """Whether it went under a licence that somebody holds, whatever the review presumes."""
    return shipment.under is Under.LICENCE and shipment.made_by(books.as_of)


def _stated(books: Books, ruling: tuple[Shipment, date], needed: Result, paths: Sequence[Path]) -> bool | None:
    """Whether the way that a shipment is said to go under is open; None too where its rule is not enforced."""
    shipment, day = ruling
    if shipment.under is None or needed.value is None:
        return None
    if needed.value is False or _licensed(books, shipment):
        return True
    for path in paths:
        if path.under is shipment.under:
            return path.answer
    printed = any(
        way.under is shipment.under and ways.binding_steps(books, way, day, Mode.AS_CODIFIED) for way in ways.WAYS
    )
    return None if printed else False


def _because(because: Mapping[str, str], needed: Result, paths: Sequence[Path], said: Sequence[Said]) -> Iterator[str]:
    """Each reason once, with what it leaves open."""
    if not said:
        yield "no rule held here says for that day where a licence is needed"
    found: dict[str, list[str]] = {}
    for name in sorted(needed.open) if needed.value is None else ():
        found.setdefault(because.get(name, name), []).append("whether a licence is needed")
    for path in paths:
        for why in path.because if path.answer is None else ():
            found.setdefault(why, []).append(str(path.under))
    yield from (f"{why} [{', '.join(dict.fromkeys(open_by_it))}]" for why, open_by_it in found.items())
