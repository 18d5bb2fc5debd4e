"""What the figures of a circuit put it in, how that comes about, and which of them it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from auditor.hardware.chips import Confidence
from auditor.hardware.spans import Span, hull
from auditor.report.words import conjoined, rounded, status_words
from auditor.rules.circuits import Circuit, circuit_of
from auditor.rules.classification import (
    NO_RULE,
    NONE,
    UNDETERMINED,
    Answer,
    answers,
    classify,
    tested,
    unanswered,
)
from auditor.rules.model import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from auditor.hardware.quantities import Quantities
    from auditor.rules.model import RuleSet

NOT_JUDGED = "not judged"
_SUREST_FIRST = tuple(Confidence)
_SPOKEN = {
    "tpp": "TPP",
    "performance_density": "density",
    "io_gb_per_s": "inputs and outputs",
    "link_gb_per_s": "link",
    "memory_gb_per_s": "memory bandwidth",
    "peak_tera": "peak rate",
    "data_centre": "market",
}
_UNITS = {
    "io_gb_per_s": " GB/s",
    "link_gb_per_s": " GB/s",
    "memory_gb_per_s": " GB/s",
    "peak_tera": " tera-operations per second",
}
# What the rating says of TPP and density itself.
_DOUBTED = {"io_gb_per_s": "The rate of the link", "data_centre": "The market it is sold to"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``circuits``: the one circuit, or each that it may be; none where no figures are known.

    ``klass`` is its class under the rule in force; ``answers`` are those of every chip rule published by that day.
    ``rests_on``: figures that decide the class whatever the others are, the surest such; ``sure_as``: how sure each is.
    ``tested``: the figures that the tests of the class use.
    """

    circuits: tuple[Quantities, ...]
    klass: Answer
    answers: tuple[Answer, ...]
    rests_on: tuple[str, ...]
    sure_as: Mapping[str, Confidence] = field(default_factory=dict)
    tested: tuple[str, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether there was anything to judge."""
        return self.klass.outcome != NOT_JUDGED

    @property
    def eccn(self) -> str | None:
        """The class: "3A090.a", "3A090.b", "none", "undetermined" or "no rule"; None where nothing was to be judged."""
        return self.klass.outcome if self.judged else None

    @property
    def confidence(self) -> Confidence | None:
        """That of the least sure figure that the class rests on."""
        return max(self.sure_as.values(), key=_SUREST_FIRST.index, default=None)

    @property
    def tpp(self) -> Span | None:
        """Total processing performance, over all that it may be."""
        return hull(one.tpp for one in self.circuits)

    @property
    def density(self) -> Span | None:
        """TPP over the applicable die area, over all that it may be."""
        return hull(one.performance_density for one in self.circuits)

    @property
    def devices_per_circuit(self) -> int:
        """As how many devices one such circuit shows."""
        return max((one.devices_per_circuit for one in self.circuits), default=1)

    @property
    def working(self) -> tuple[str, ...]:
        """How TPP and density come about, and inputs and outputs if tested, for each circuit that it may be."""
        several = len(self.circuits) > 1
        return tuple(
            f"{one.of}: {words}" if several else words for one in self.circuits for words in self._workings(one)
        )

    def _workings(self, one: Quantities) -> Iterator[str]:
        yield one.working
        if one.io_working and "io_gb_per_s" in self.tested:
            yield one.io_working

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is doubtful about those figures."""
        own = [
            f"{words} was not looked up."
            for name, words in _DOUBTED.items()
            if self.sure_as.get(name) is Confidence.RECALLED
        ]
        return tuple(dict.fromkeys([*(doubt for one in self.circuits for doubt in one.doubts), *own]))

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the sources that the working names."""
        io = "io_gb_per_s" in self.tested
        each = [(*one.sources, *(one.io_sources if io else ())) for one in self.circuits]
        return tuple(dict.fromkeys(name for names in each for name in names))


def judge(circuits: Sequence[Quantities], *, ruleset: RuleSet, as_of: date) -> Judgement:
    """What the chip rules make of a circuit that is one of these."""
    asked = [circuit_of(one) for one in circuits]
    klass = classify(ruleset, asked, as_of=as_of)
    used = tested(ruleset, as_of=as_of)
    sure_as = {name: _least_sure(circuits, name) for name in used}
    decisive = _decisive(asked, klass, ruleset, used)
    rests_on = min(decisive, key=lambda names: (_rank(sure_as[name] for name in names), len(names)), default=())
    told = _with_figures(circuits, rests_on)
    return Judgement(
        circuits=tuple(circuits),
        klass=told(klass),
        answers=tuple(
            told(answer) if answer.rule == klass.rule else answer
            for answer in (answers(ruleset, asked, as_of=as_of) if asked else ())
        ),
        rests_on=rests_on,
        sure_as={name: word for name in rests_on if (word := sure_as[name])},
        tested=used,
    )


def not_judged(as_of: date) -> Judgement:
    """What is said of a machine on which no accelerator was seen."""
    klass = unanswered(NOT_JUDGED, "No accelerator was seen, and the chip rules judge nothing else here.", as_of)
    return Judgement(circuits=(), klass=klass, answers=(), rests_on=())


def _least_sure(circuits: Sequence[Quantities], name: str) -> Confidence | None:
    words = [one.confidence[name] for one in circuits if name in one.confidence]
    return max(words, key=_SUREST_FIRST.index, default=None)


def _rank(words: Iterable[Confidence | None]) -> int:
    """How unsure the least sure of these is; what nobody rates goes last."""
    return max((_SUREST_FIRST.index(word) if word else len(_SUREST_FIRST) for word in words), default=0)


def _decisive(asked: Sequence[Circuit], klass: Answer, ruleset: RuleSet, used: Sequence[str]) -> list[tuple[str, ...]]:
    """Each smallest set of figures that leads to the class whatever the others are; none where it is open."""
    found: list[tuple[str, ...]] = []
    if klass.outcome in (UNDETERMINED, NO_RULE):
        return found
    for names in (names for size in range(len(used) + 1) for names in combinations(used, size)):
        unknown: dict[str, Any] = {name: None for name in used if name not in names}
        partly = [replace(circuit, **unknown) for circuit in asked]
        smaller = any(set(names) > set(less) for less in found)
        if not smaller and classify(ruleset, partly, as_of=klass.as_of).outcome == klass.outcome:
            found.append(names)
    return found


def _with_figures(circuits: Sequence[Quantities], rests_on: Sequence[str]) -> Callable[[Answer], Answer]:
    """Puts the figures that decide behind the first reason of an answer."""
    each = [f"{_SPOKEN.get(name, name)} {_figure(circuits, name)}" for name in rests_on]
    words = [f"It is decided by {conjoined(each)}."] if each else []
    return lambda answer: replace(answer, reasons=(*answer.reasons[:1], *words, *answer.reasons[1:]))


def _figure(circuits: Sequence[Quantities], name: str) -> str:
    if name == "data_centre":
        said = {one.data_centre for one in circuits}
        return "(data centres)" if said == {True} else "(not data centres)" if said == {False} else "(either)"
    return f"{span_words(hull(getattr(one, name) for one in circuits))}{_UNITS.get(name, '')}"


def span_words(span: Span | None, places: int = 2) -> str:
    """A span in words: "15832", "278.4 to 288", "at least 3.04", "not known"."""
    if span is None:
        return "not known"
    low = rounded(span.low, places)
    if span.high is None:
        return f"at least {low}"
    return low if span.exact is not None else f"{low} to {rounded(span.high, places)}"


def answer_words(answer: Answer) -> str:
    """An answer in few words: "3A090.a (3A090.a.1)", "undetermined (3A090.a, none)"."""
    if answer.outcome == UNDETERMINED:
        return f"undetermined ({', '.join(answer.possible)})" if answer.possible else UNDETERMINED
    paragraph = answer.paragraph if answer.paragraph not in ("", answer.outcome) else ""
    return f"{answer.outcome} ({paragraph})" if paragraph else answer.outcome


def class_words(judgement: Judgement) -> str:
    """The class, and what it rests on: "3A090.a (3A090.a.1), by TPP (secondary)"."""
    if not judgement.judged:
        return "no accelerator seen: not judged"
    if not judgement.circuits:
        return judgement.klass.outcome
    words = answer_words(judgement.klass)
    if not judgement.rests_on:
        return words
    return f"{words}, by {_sure_words(judgement)}"


def _sure_words(judgement: Judgement) -> str:
    """What the class rests on, each with its confidence where they differ: "TPP (secondary) and market (recalled)"."""
    names = {name: _SPOKEN.get(name, name) for name in judgement.rests_on}
    if len(set(map(judgement.sure_as.get, names))) > 1:
        return conjoined([f"{words} ({judgement.sure_as.get(name, 'not rated')})" for name, words in names.items()])
    return conjoined([*names.values()]) + (f" ({judgement.confidence})" if judgement.confidence else "")


def paragraph_words(judgement: Judgement) -> str:
    """The class as short as it goes: its paragraphs, else the outcome."""
    return judgement.klass.paragraph or judgement.klass.outcome


def other_rules(judgement: Judgement) -> tuple[str, ...]:
    """What the chip rules say but for the one that gives the class: each that leads to something, then the rest."""
    others = [answer for answer in judgement.answers if answer.rule != judgement.klass.rule]
    telling = [f"{short(one)}: {answer_words(one)}{_standing(one)}" for one in others if one.outcome != NONE]
    silent = [f"{short(one)}{_standing(one)}" for one in others if one.outcome == NONE]
    return (*telling, *([f"none under {'; '.join(silent)}"] if silent else []))


def short(answer: Answer) -> str:
    """The beginning of its rule's title, up to the first comma."""
    return answer.title.partition(",")[0]


def _standing(answer: Answer) -> str:
    return "" if answer.standing == Standing.IN_FORCE else f" ({status_words(answer.standing)})"
