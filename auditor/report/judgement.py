"""What the figures of a circuit put it in, how that comes about, and which of them it rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auditor.hardware.chips import Confidence
from auditor.hardware.spans import Span, hull
from auditor.report.words import rounded, status_words
from auditor.rules.classification import NONE, UNDETERMINED, Answer, Circuit, answers, classify
from auditor.rules.model import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from auditor.hardware.quantities import Quantities
    from auditor.rules.model import RuleSet

_SUREST_FIRST = tuple(Confidence)
_SPOKEN = {"tpp": "TPP", "performance_density": "density", "data_centre": "market"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``circuits``: the one circuit, or each that it may be; none where no figures are known.

    ``klass`` is its class under the rule in force; ``answers`` are those of every chip rule published by that day.
    ``rests_on``: the figures without which the class would be open; ``confidence``: that of the least sure of them.
    """

    circuits: tuple[Quantities, ...]
    klass: Answer
    answers: tuple[Answer, ...]
    rests_on: tuple[str, ...]
    confidence: Confidence | None

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
        """How TPP and density come about, for each circuit that it may be."""
        several = len(self.circuits) > 1
        return tuple(f"{one.of}: {one.working}" if several else one.working for one in self.circuits)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is doubtful about those figures."""
        return tuple(dict.fromkeys(doubt for one in self.circuits for doubt in one.doubts))

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the sources that the working names."""
        return tuple(dict.fromkeys(name for one in self.circuits for name in one.sources))


def judge(circuits: Sequence[Quantities], *, ruleset: RuleSet, as_of: date) -> Judgement:
    """What the chip rules make of a circuit that is one of these."""
    asked = [_circuit(one) for one in circuits]
    klass = classify(ruleset, asked, as_of=as_of)
    rests_on = _rests_on(asked, klass, ruleset, as_of) if klass.outcome != UNDETERMINED else ()
    words = [one.confidence[name] for one in circuits for name in rests_on if name in one.confidence]
    return Judgement(
        circuits=tuple(circuits),
        klass=klass,
        answers=answers(ruleset, asked, as_of=as_of) if asked else (),
        rests_on=rests_on,
        confidence=max(words, key=_SUREST_FIRST.index, default=None),
    )


def _rests_on(asked: Sequence[Circuit], klass: Answer, ruleset: RuleSet, as_of: date) -> tuple[str, ...]:
    """The figures without which the class would be another, or open."""

    def without(name: str) -> str:
        unknown = [replace(circuit, **{name: None}) for circuit in asked]
        return classify(ruleset, unknown, as_of=as_of).outcome

    return tuple(name for name in _SPOKEN if without(name) != klass.outcome)


def _circuit(one: Quantities) -> Circuit:
    return Circuit(
        tpp=_known(one.tpp),
        performance_density=_known(one.performance_density),
        io_gb_per_s=_known(one.io_gb_per_s),
        link_gb_per_s=_known(one.link_gb_per_s),
        memory_gb_per_s=_known(one.memory_gb_per_s),
        peak_tera=_known(one.peak_tera),
        data_centre=one.data_centre,
    )


def _known(span: Span | None) -> tuple[Decimal, Decimal | None] | None:
    return None if span is None else (span.low, span.high)


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
    if not judgement.circuits:
        return UNDETERMINED
    words = answer_words(judgement.klass)
    if not judgement.rests_on:
        return words
    sure = f" ({judgement.confidence})" if judgement.confidence else ""
    return f"{words}, by {' and '.join(_SPOKEN[name] for name in judgement.rests_on)}{sure}"


def paragraph_words(judgement: Judgement) -> str:
    """The class as short as it goes: its paragraphs, else the outcome."""
    if not judgement.circuits:
        return UNDETERMINED
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
