"""The sentences of the report, and text of others made safe to print."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOT_LEGAL_ADVICE = (
    "This report holds counted amounts against published texts of law. It is not legal advice; whether "
    "a rule applies to you, and to this model, is for counsel to say."
)

CHIPS_NOT_LEGAL_ADVICE = (
    "A class holds figures of chips, as sure as each is said to be, against published texts of law. It is not legal "
    "advice; what a chip is under a rule, and what follows, is for its maker and for counsel to say."
)

LEDGER_WORDS = {
    "INVALID": "false or damaged: do not rely on its numbers",
    "DIVERGED": "contradicts a copy of its head held elsewhere: do not rely on its numbers",
    "INCOMPLETE": "what is there is sound, but something is missing: the numbers are a floor",
    "SUMMED": "added up from the signed ends of its segments; what stands between was not read, nothing was recounted",
    "UNANCHORED": "whole and signed by its own key; nobody outside holds its head, so a rewrite with the "
    "same key would not show",
    "WITNESSED": "whole, and it agrees with a copy of its head that is held elsewhere",
}
_ENDS_WORDS = {
    "INCOMPLETE": "something is missing, so the numbers are a floor; of the rest only the signed ends were read, and "
    "nothing was recounted",
}
UNTRUSTED_VERDICTS = frozenset({"INVALID", "DIVERGED"})

STATUS_WORDS = {
    "in_force": "in force",
    "codified_not_enforced": "codified, not enforced",
    "enacted_not_yet_effective": "enacted, not yet effective",
    "not_yet_published": "not yet published",
}

PHASE_WORDS = {
    "forward": "forward pass",
    "backward": "backward pass",
    "recompute": "recomputed activations",
    "optimizer": "optimizer",
    "inference": "without gradients (evaluation, generation)",
}

# Invisible or harmful to whoever reads: control and escape, direction overrides, surrogates, line separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
POWER = re.compile(r"(?:([0-9.]+) x )?10\^([0-9]+)")  # as packs write them
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def ledger_words(verdict: str, *, from_ends: bool) -> str:
    """The verdict on a record in words; ``from_ends``: no more than the ends of its segments were read."""
    return _ENDS_WORDS.get(verdict, LEDGER_WORDS[verdict]) if from_ends else LEDGER_WORDS[verdict]


def clean(text: str) -> str:
    """The text on one line, with every character that could act on a screen instead of showing replaced."""
    if text.isprintable():  # which no character of the hidden categories is
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t\r":
        return " "
    return REPLACEMENT if unicodedata.category(character) in _HIDDEN_CATEGORIES else character


def powers(text: str) -> str:
    """The text with its powers of ten as amounts are written in a page of text: ``1e26``."""
    return POWER.sub(lambda found: f"{found[1] or 1}e{found[2]}", text)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and how much was left away."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … ({len(text) - limit:,} more characters)"


def status_words(status: str) -> str:
    """The status of a rule in words."""
    return STATUS_WORDS.get(status, status.replace("_", " "))


def standing_words(status: str, fines_held_back: bool) -> str:
    """The status of a rule in words, and whether breaches of it are fined yet."""
    return f"{status_words(status)}, fines held back" if fines_held_back else status_words(status)


def percent(fraction: Decimal) -> str:
    """The fraction as a percentage that never rounds up to 100 and never down to 0."""
    hundredths = fraction * 100
    if hundredths == 0:
        return "0 %"
    if hundredths < Decimal("0.01"):
        return f"{hundredths:.2e} %".replace("e+", "e")
    if fraction < 1 and hundredths >= Decimal("99.99"):
        return "> 99.99 %"
    return f"{hundredths:,.2f} %" if hundredths < 1000 else f"{hundredths:,.0f} %"


def rounded(value: Decimal, places: int) -> str:
    """The number with at most so many places after the point."""
    return plain_decimal(round(value, places))


def plain_decimal(value: Decimal) -> str:
    """The number without an exponent and without zeros at its end: how fractions travel."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def listing(names: Sequence[str], limit: int = 6) -> str:
    """``a, b and 3 more``."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
    return ", ".join(names)


def conjoined(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def joined(*sentences: str) -> str:
    """The sentences after one another, each with a capital and a full stop."""
    return " ".join(filter(None, (sentence([text]) for text in sentences)))


def after(text: str, lead: str) -> str:
    """The text without words that stand before it already, as a label or a sentence."""
    if not text.lower().startswith(lead.lower()):
        return text
    return text[len(lead) :].lstrip(" ,;:.")


def plural(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sentence(parts: Iterable[str]) -> str:
    """The parts as one sentence: joined by semicolons, with a capital and a full stop."""
    text = "; ".join(part.strip().rstrip(".;") for part in parts if part.strip())
    return f"{text[:1].upper()}{text[1:]}." if text else ""
