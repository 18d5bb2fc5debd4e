"""What stands on every page of a fleet: amounts, outcomes and rules in words."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.fleet import parts
from auditor.fleet.rulings import Outcome, Path, Ruling
from auditor.fleet.ways import WORLDWIDE
from auditor.report.words import listing, plain_decimal, plural, status_words
from auditor.rules import countries
from auditor.rules.paragraphs import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from fractions import Fraction

    from auditor.fleet.inventory import Shipment
    from auditor.fleet.judged import Judged
    from auditor.fleet.positions import Position
    from auditor.fleet.ways import Said
    from auditor.rules.model import Mode, Rule, RuleSet
    from auditor.rules.ranges import Range

NOTICE = (
    "This holds an inventory, as it was stated, against published texts of law. It is not legal advice; whether a"
    " licence is needed, and which way is open, is for counsel and the authority to say."
)
EQUIVALENT = parts.EQUIVALENT


def exact(number: Fraction) -> str:
    """The number in full, as it travels."""
    return plain_decimal(Decimal(number.numerator) / Decimal(number.denominator))


def grouped(number: Fraction) -> str:
    """The number for people, in groups of three digits."""
    whole, _, parts_of_one = exact(number).partition(".")
    return f"{int(whole):,}" + (f".{parts_of_one}" if parts_of_one else "")


def span(amount: Range | None) -> str:
    """Where an amount lies: "790,000,000", "at least 0", "1 to 2", "not known"."""
    if amount is None or (amount.low is None and amount.high is None):
        return "not known"
    if amount.low == amount.high and amount.low is not None:
        return grouped(amount.low)
    if amount.high is None:
        return f"at least {grouped(amount.low)}" if amount.low else "not known"
    low = amount.low or 0
    return f"{grouped(low)} to {grouped(amount.high)}" if low else f"at most {grouped(amount.high)}"  # type: ignore[arg-type]


def in_equivalents(amount: Range | None, each: Fraction) -> Range | None:
    """The amount in chips of the kind that amounts are told in, down to a tenth of one."""
    if amount is None:
        return None
    return type(amount)(*(None if end is None else type(each)(end * 10 // each, 10) for end in amount))


def verdict(position: Position) -> str:
    """Whether it is over its line."""
    if position.line is None:
        return "no line"
    return {True: "over", False: "within", None: "undetermined"}[position.over]


def binding(modes: Mapping[str, bool]) -> str:
    """In which modes a rule binds."""
    told = [name.removeprefix("as_") for name, binds in modes.items() if binds]
    return " and ".join(told) or "neither"


def outcome(ruling: Ruling) -> str:
    """What a shipment comes to, with the ways that are open and those that may be."""
    if ruling.outcome is not Outcome.OPEN:
        return str(ruling.outcome)
    ways = listing([str(path.under) for path in ruling.open_paths], 3)
    may_be = listing([str(path.under) for path in unsettled_paths(ruling)], 3)
    return (f"open: {ways}" if ways else "under its licence") + (f"; undetermined: {may_be}" if may_be else "")


def unsettled_paths(ruling: Ruling) -> tuple[Path, ...]:
    """The ways beside an open one that may be open too."""
    if ruling.outcome is not Outcome.OPEN:
        return ()
    return tuple(path for path in ruling.paths if path.answer is None)


def headline(judged: Judged, mode: Mode) -> str:
    """In one line: what is against the rules that bind, and what is open, by name."""
    against = judged.against(mode)
    told = (
        _told("without a way that is open", [one for one in against if one.outcome is Outcome.CLOSED]),
        _told("under a way that is not open", [one for one in against if one.outcome is not Outcome.CLOSED]),
        f"{plural(len(judged.over(mode)), 'line')} exceeded" if judged.over(mode) else "",
        _told("undetermined", [one for one, _ in unanswered(judged.rulings[mode])]),
    )
    return ", ".join(filter(None, told)) or "every shipment has a way that is open or needs none; no line is exceeded"


def _told(words: str, rulings: Sequence[Ruling]) -> str:
    ids = listing([one.shipment.id for one in rulings], 4)
    return f"{plural(len(rulings), 'shipment')} {words} ({ids})" if rulings else ""


def beside(ruling: Ruling) -> str:
    """What is to be said of the way that a shipment is stated to go under; "" where it is open or not stated."""
    under = ruling.shipment.under
    if under is None or ruling.stated is True or ruling.needed is None:
        return ""
    if all(path.under is not under for path in ruling.paths) and ruling.stated is None:
        return f"it is stated to go under {under}, of which no rule that binds in this mode speaks"
    return f"it is stated to go under {under}, which is {'not open' if ruling.stated is False else 'undetermined'}"


def chips(shipment: Shipment) -> str:
    """How many of which chip."""
    return f"{shipment.count:,} x {shipment.part.words}"


def goes_under(shipment: Shipment) -> str:
    """What it is stated to go under."""
    return f"under {shipment.under}" if shipment.under else "under what is not stated"


def rule_status(ruleset: RuleSet, rule: Rule, day: date) -> str:
    """Where a rule stands on a day, with its sources."""
    status = rule.status_on(day)
    sources = f" Sources: {ruleset.cite(status.sources)}." if status.sources else ""
    return f"{status_words(status.standing)}. {rule.note_on(day)}{sources}"


def diffusion_status(judged: Judged) -> str:
    """Where the rule stands that asks for a licence to every destination, and all that came with it; in short."""
    ruleset, day = judged.books.ruleset, judged.books.as_of
    rule = ruleset.find(WORLDWIDE)
    begun = rule.note_on(day).partition(". ")[0].rstrip(".")
    since = rule.standing_since(day)
    standing = status_words(rule.status_on(day).standing) + (f" since {since}" if since else "")
    return f"{rule.citation}: {standing}. {begun}. The rest, with every source, stands at the end ({rule.id})."


def said_words(judged: Judged, said: Said, day: date) -> str:
    """A rule's answer with its standing and certainty: what each answer cites."""
    rule = judged.books.ruleset.find(said.rule)
    found = " or ".join("no paragraph of it is met" if one == NONE else one for one in said.possible)
    met = f" ({', '.join(said.paragraphs)})" if said.paragraphs else ""
    standing = status_words(rule.status_on(day).standing)
    return f"{said.rule}: {found}{met} [{standing}; text {rule.certainty}]"


def path_words(judged: Judged, path: Path, day: date) -> str:
    """A way, whether it is open, and by which rules."""
    state = {True: "open", False: "not open", None: "undetermined"}[path.answer]
    rules = "; ".join(said_words(judged, one, day) for one in path.said)
    return f"{path.under} is {state}: {rules or 'no rule held here says'}"


def rules_cited(judged: Judged) -> tuple[Rule, ...]:
    """Every rule on which an answer rests, in the order of the packs."""
    named = {one.rule for one in judged.lines()}
    for rulings in judged.rulings.values():
        for ruling in rulings:
            named |= {one.rule for one in ruling.required_by}
            named |= {one.rule for path in ruling.paths for one in path.said}
    named.add(WORLDWIDE)  # its status is told in any case
    return tuple(rule for rule in judged.books.ruleset.rules if rule.id in named)


def names(judged: Judged) -> dict[str, str]:
    """The names of countries, where a group of the packs prints one."""
    groups = judged.books.ruleset.groups.values()
    return {member.code: member.name for group in groups for member in group.members}


def country(judged: Judged, code: str) -> str:
    """A country by its code with its name, as the regulations print it where they do."""
    name = names(judged).get(code) or countries.NAMES.get(code)
    return f"{code} {name}" if name else code


def subject(judged: Judged, position: Position) -> str:
    """Whose or where an amount is, with the name of the country that it ends in."""
    code = position.country
    return position.subject.removesuffix(code) + country(judged, code) if code else position.subject


def unanswered(rulings: Sequence[Ruling]) -> Iterator[tuple[Ruling, tuple[str, ...]]]:
    """The shipments that are undetermined, and why."""
    return ((one, one.because) for one in rulings if one.outcome is Outcome.UNDETERMINED)
