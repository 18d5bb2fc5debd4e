"""What a page of text is made of, before anything decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Title:
    """The first line of the page."""

    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """The beginning of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; ``mark`` is "good", "bad", "open", "quiet", "strong" or nothing, for colours."""

    text: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """Short texts below one another."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names and what they stand for."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; ``right`` are the columns of numbers, ``flexible`` the one that gives way."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    flexible: int = 0


Block = Title | Heading | Paragraph | Bullets | Pairs | Table
