"""The ways by which chips may be shipped where a licence is needed, and which rules say whether each is open.

What the law asks stands in the packs. Here stands which rule is asked for which way, and by which of its outcomes the
way is open; every outcome of a rule that is asked has its place, which a test holds against the packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.fleet.inventory import Under
from auditor.fleet.questions import ECCN
from auditor.rules.expressions import Kind, Result
from auditor.rules.paragraphs import NONE
from auditor.rules.values import all_of, any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from auditor.fleet.books import Books
    from auditor.fleet.questions import Asked
    from auditor.rules.model import Mode, RuleSet

WORLDWIDE = "us_ear_worldwide_case_2025"
NO_EXPORT = "us_ear_734_13_export"
UVEU_SHARES = "us_ear_uveu_2025"
NVEU_ALLOCATION = "us_ear_nveu_2025"
COUNTRY_CAP = "us_ear_country_cap_2025"
LPP = "us_ear_le_lpp"
AIA = "us_ear_le_aia_chips"
LETTERS = "us_bis_letters_case_2025"  # not public: whether any way but a licence leads past them is not known
REQUIREMENTS = (
    WORLDWIDE,
    "us_ear_destinations_case_2023",
    "us_bis_guidance_2026_05_31",
    "us_ear_uae_licence_2026",
    LETTERS,
)
REQUIRED = "licence required"


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that a way asks; ``opens``: by these outcomes; ``unsettled``: by these nobody can say."""

    rule: str
    opens: frozenset[str]
    unsettled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """A way past a licence requirement; ``from_all``: past each, else past the worldwide one alone."""

    under: Under
    steps: tuple[Step, ...]
    from_all: bool = False


def _step(rule: str, *opens: str, unsettled: Iterable[str] = ()) -> Step:
    return Step(rule, frozenset(opens), frozenset(unsettled))


WAYS = (
    Way(Under.AIA, (_step(AIA, "eligible", "eligible, certificate to BIS"),)),
    Way(Under.ACM, (_step("us_ear_le_acm", "eligible"),), from_all=True),
    Way(
        Under.LPP,
        (
            _step(LPP, "eligible", "eligible after notice"),
            _step("us_ear_740_2_exceptions_2025", NONE, unsettled=["only the exceptions that it names"]),
        ),
    ),
    Way(
        Under.NAC_ACA,
        (_step("us_ear_nac_aca_case_2023", "NAC, 25 days after notice", "ACA, without notice"),),
        from_all=True,
    ),
    Way(Under.UVEU, (_step("us_ear_uveu_holder_2025", "may receive as UVEU"), _step(UVEU_SHARES, NONE))),
    Way(
        Under.NVEU,
        (_step("us_ear_nveu_holder_2025", "may receive as NVEU"), _step(NVEU_ALLOCATION, "within the allocation")),
    ),
    Way(Under.UAE, (_step("us_ear_uae_2026_07", "free of licence"),), from_all=True),
)


@dataclass(frozen=True, slots=True)
class Review:
    """How a licence is reviewed under a rule; ``then``: the rule that its ``refers`` outcomes leave it to."""

    step: Step
    worldwide: bool  # of what the worldwide requirement reaches
    refers: frozenset[str] = frozenset()
    then: Step | None = None
    silent: frozenset[str] = frozenset()  # outcomes by which the rule says nothing


REVIEWS = (
    Review(
        _step("us_ear_licence_review_2025", "presumption of approval"),
        worldwide=True,
        refers=frozenset({"by the country allocation"}),
        then=_step(COUNTRY_CAP, "presumption of approval", "possible with assurances of its government"),
    ),
    Review(_step("us_ear_licence_review_b_2025", "presumption of approval"), worldwide=False, silent=frozenset({NONE})),
    Review(_step("us_ear_china_review_case_2026", "case-by-case review"), worldwide=False, silent=frozenset({NONE})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a rule comes to for a shipment: its outcome, or each that is possible; ``answer``: whether that opens."""

    rule: str
    possible: tuple[str, ...]
    paragraphs: tuple[str, ...]
    answer: Result
    unsettled: bool = False  # by what the rules say, whatever else was known


def rules_asked() -> tuple[str, ...]:
    """Every rule that is asked of a shipment."""
    steps = [step for way in WAYS for step in way.steps]
    steps += [step for one in REVIEWS for step in (one.step, one.then) if step is not None]
    return tuple(dict.fromkeys((NO_EXPORT, *REQUIREMENTS, *(step.rule for step in steps))))


def questions(ruleset: RuleSet) -> tuple[str, ...]:
    """The questions of these rules that are yes or no and that an inventory answers by name."""
    named = {
        name for rule in rules_asked() for expression in ruleset.find(rule).expressions for name in expression.names
    }
    flags = {name for name in named if name in ruleset.facts and ruleset.facts[name].kind is Kind.TRUTH}
    return tuple(sorted(flags - _WORKED_OUT))


_WORKED_OUT = {"in_country_transfer", "holds_uveu", "holds_nveu", "item_for_data_centres"}


def required(books: Books, asked: Asked, day: date, mode: Mode) -> tuple[Said, ...]:
    """What each requirement that binds says; one by which nothing is an export goes first."""
    export = ask(books, asked, day, _step(NO_EXPORT, NONE))
    found = [
        ask(books, asked, day, _step(name, REQUIRED))
        for name in REQUIREMENTS
        if books.ruleset.find(name).binds_on(day, mode)
    ]
    return (export, *found)


def ask(books: Books, asked: Asked, day: date, step: Step) -> Said:
    """What a rule comes to, over every class that the items may have."""
    each = [_ask(books, asked, day, step, eccn) for eccn in asked.classes]
    if len(each) == 1:
        return each[0]
    answers = {one.answer.value for one in each}
    open_names = frozenset({ECCN}).union(*(one.answer.open for one in each))
    return Said(
        rule=step.rule,
        possible=tuple(dict.fromkeys(name for one in each for name in one.possible)),
        paragraphs=tuple(dict.fromkeys(name for one in each for name in one.paragraphs)),
        answer=each[0].answer if len(answers) == 1 and answers != {None} else Result(None, open_names),
        unsettled=all(one.unsettled for one in each),
    )


def _ask(books: Books, asked: Asked, day: date, step: Step, eccn: str | None) -> Said:
    walked = books.walk(step.rule, asked.with_class(eccn), day)
    kinds = {_kind(step, outcome) for outcome in walked.possible}
    value = kinds.pop() if len(kinds) == 1 else None
    return Said(
        rule=step.rule,
        possible=walked.possible,
        paragraphs=walked.met,
        answer=Result(value, walked.open if value is None else frozenset()),
        unsettled=set(walked.possible) <= step.unsettled,
    )


def _kind(step: Step, outcome: str) -> bool | None:
    return None if outcome in step.unsettled else outcome in step.opens


def binding_steps(books: Books, way: Way, day: date, mode: Mode) -> bool:
    """Whether all rules of a way bind on that day."""
    return all(books.ruleset.find(step.rule).binds_on(day, mode) for step in way.steps)


def reviewed(books: Books, asked: Asked, day: date, mode: Mode, worldwide: Result) -> tuple[Result, tuple[Said, ...]]:
    """Whether a licence may be had, as far as the policies of review that bind say; open where none does."""
    said: list[Said] = []
    for review in REVIEWS:
        if not books.ruleset.find(review.step.rule).binds_on(day, mode):
            continue
        if worldwide.value is not None and worldwide.value is not review.worldwide:
            continue
        first = ask(books, asked, day, review.step)
        if set(first.possible) <= review.silent:
            continue
        said.append(first)
        if worldwide.value is None or set(first.possible) & review.silent:
            return Result(None, first.answer.open | worldwide.open | frozenset({ECCN})), tuple(said)
        if not set(first.possible) & review.refers or review.then is None:
            return first.answer, tuple(said)
        second = ask(books, asked, day, review.then)
        said.append(second)
        if set(first.possible) <= review.refers:
            return second.answer, tuple(said)
        others = set(first.possible) - review.refers
        by_first = {outcome in review.step.opens for outcome in others}
        if by_first == {second.answer.value}:
            return second.answer, tuple(said)
        return Result(None, first.answer.open | second.answer.open), tuple(said)
    return Result(None, frozenset({"licence_review"})), tuple(said)


def joined(answers: Sequence[Said]) -> Result:
    """Whether all of them open."""
    return all_of([one.answer for one in answers])


def either(answers: Iterable[Said]) -> Result:
    """Whether one of them does."""
    return any_of([one.answer for one in answers])


def unsettled(answers: Sequence[Said]) -> Iterator[Said]:
    """Those that nobody can settle, whatever is known of the shipment."""
    return (one for one in answers if one.unsettled and one.answer.value is None)
