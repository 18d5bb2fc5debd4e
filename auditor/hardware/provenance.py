"""How sure each field of an entry is, and by what it is told.

An entry may rate a group of fields or a single one, the single one going first. What it does not rate is as sure
as the best of its own sources that tell of it: a vendor's is a data sheet, another's is secondary, and where none
tells of it, it was not looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.hardware import fields
from auditor.hardware.chips import GROUPS, Confidence, Provenance, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditor.documents import Node

FIELDS = tuple(name for names in GROUPS.values() for name in names)
_RATED = ("names", "peak", "die")  # what an entry has to rate
_NEEDS_A_SOURCE = (Confidence.DATASHEET, Confidence.SECONDARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What an entry says of a group or field; ``sources`` None where it leaves them to what they tell."""

    node: Node
    confidence: Confidence
    sources: tuple[str, ...] | None
    computed_from: tuple[str, ...]


def source(name: str, node: Node, read: Node | None) -> Source:
    """What a table says of one of its sources; read on the table's day where it names none."""
    parts = node.fields(required=("title", "tells"), optional=("read", "vendor"))
    tells = (*GROUPS, *FIELDS, "definitions")
    when = parts.get("read", read)
    if when is None:
        node.fail("a day on which it was read (`read`), here or for the whole table")
    return Source(
        id=name,
        title=parts["title"].text(),
        read=fields.day(when),
        vendor="vendor" in parts and parts["vendor"].flag(),
        tells=frozenset(fields.named(parts["tells"], tells, tells)),
    )


def resolve(
    confidence: Node, known: Iterable[str], named: tuple[str, ...], sources: Mapping[str, Source]
) -> dict[str, Provenance]:
    """The provenance of each of the ``known`` fields of an entry that names these sources.

    Raises: CatalogueError: a word that is none, or one that claims a source where none tells of the field.
    """
    words = _words(confidence, sources)
    return {name: _field(name, words.get(name) or words.get(_group(name)), named, sources) for name in known}


def single(parts: Mapping[str, Node], sources: Mapping[str, Source]) -> Provenance:
    """The provenance of something that has only one: a list of sources and a word.

    Raises: CatalogueError: a word that claims a source where none is named.
    """
    named = fields.named(parts["sources"], sources, tuple(sources))
    word = fields.confidence(parts["confidence"])
    if word in _NEEDS_A_SOURCE and not named:
        parts["sources"].fail(f"at least one source for what is called {word}")
    return _provenance(word, named, sources)


def _words(confidence: Node, sources: Mapping[str, Source]) -> dict[str, _Word]:
    parts = confidence.fields(required=_RATED, optional=(*GROUPS, *FIELDS))
    return {name: _word(node, sources) for name, node in parts.items()}


def _word(node: Node, sources: Mapping[str, Source]) -> _Word:
    if not isinstance(node.value, dict):
        return _Word(node=node, confidence=fields.confidence(node), sources=None, computed_from=())
    parts = node.fields(required=("word",), optional=("sources", "from"))
    given = parts.get("sources")
    return _Word(
        node=node,
        confidence=fields.confidence(parts["word"]),
        sources=None if given is None else fields.named(given, sources, tuple(sources)),
        computed_from=fields.named(parts.get("from"), FIELDS, FIELDS),
    )


def _field(name: str, word: _Word | None, named: tuple[str, ...], sources: Mapping[str, Source]) -> Provenance:
    telling = tuple(one for one in named if sources[one].tells & {name, _group(name)})
    if word is None:
        return _provenance(_best(telling, sources), telling, sources)
    if word.sources is not None:
        telling = word.sources
    if word.confidence in _NEEDS_A_SOURCE and not telling:
        word.node.fail(
            f"a source that tells of {name}, which is called {word.confidence}"
            f" (name one in `sources`, or beside the word as in {{word: {word.confidence}, sources: [...]}})"
        )
    if word.confidence is Confidence.RECALLED or (word.computed_from and word.sources is None):
        telling = ()
    return _provenance(word.confidence, telling, sources, word.computed_from)


def _best(telling: tuple[str, ...], sources: Mapping[str, Source]) -> Confidence:
    if not telling:
        return Confidence.RECALLED
    return Confidence.DATASHEET if any(sources[one].vendor for one in telling) else Confidence.SECONDARY


def _provenance(
    word: Confidence, telling: tuple[str, ...], sources: Mapping[str, Source], computed_from: tuple[str, ...] = ()
) -> Provenance:
    read = max((sources[one].read for one in telling), default=None)
    return Provenance(confidence=word, sources=telling, read=read, computed_from=computed_from)


def _group(name: str) -> str:
    return next(group for group, names in GROUPS.items() if name in names)
