"""A page of text without colours, for pipes, files and terminals of any kind."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from typing import TYPE_CHECKING

from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table, Title
from auditor.report.words import clean, clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WIDTH = 100
_WIDEST_CELL = 40  # of columns that do not give way
_NARROWEST = 16
_LONGEST_TEXT = 1200
_GAP = "  "


def draw(blocks: Iterable[Block], width: int = WIDTH) -> str:
    """The blocks as lines of at most ``width`` columns, with a line break at the end."""
    lines: list[str] = []
    for block in blocks:
        if lines and not isinstance(block, Title):
            lines.append("")
        lines.extend(_lines(block, width))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _lines(block: Block, width: int) -> Iterator[str]:
    match block:
        case Title(text):
            yield from _wrap(text, width)
            yield "=" * width
        case Heading(text):
            yield text
            yield "-" * len(text)
        case Paragraph(text):
            yield from _wrap(text, width)
        case Bullets(items):
            for item in items:
                yield from _hang("- ", item, width)
        case Pairs(rows):
            indent = max((len(name) for name, _ in rows), default=0)
            for name, text in rows:
                yield from _hang(f"{name:<{indent}}  ", text, width)
        case Table():
            yield from _table(block, width)


def columns_of(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_character(character) for character in text)


def _columns_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns; text with wide characters is broken as if all of them were."""
    text = clip(clean(text), _LONGEST_TEXT)
    fitting = width if columns_of(text) <= len(text) else max(width // 2, 1)
    return textwrap.wrap(text, fitting, break_on_hyphens=False) or [""]


class _OfACell(textwrap.TextWrapper):
    """Breaks behind an underscore too: the id of a rule is longer than a narrow column, and is read in its parts."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=_)(?=\w))")


def _wrap_cell(text: str, width: int) -> list[str]:
    text = clip(clean(text), _LONGEST_TEXT)
    if "_" not in text or columns_of(text) > len(text) or len(text) <= width:
        return _wrap(text, width)
    return _OfACell(width, break_on_hyphens=False).wrap(text) or [""]


def _hang(lead: str, text: str, width: int) -> Iterator[str]:
    for number, line in enumerate(_wrap(text, max(width - len(lead), _NARROWEST))):
        yield (lead if number == 0 else " " * len(lead)) + line


def _table(table: Table, width: int) -> Iterator[str]:
    rows = [[clean(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = _widths(table, rows, width)
    for number, row in enumerate(rows):
        yield from _row(table, row, widths)
        if number == 0:
            yield _GAP.join("-" * column for column in widths)


def _widths(table: Table, rows: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max(columns_of(cell) for cell in column) for column in zip(*rows, strict=True)]
    widths = [wide if i == table.flexible else min(wide, _WIDEST_CELL) for i, wide in enumerate(widths)]
    surplus = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    if surplus > 0:
        widths[table.flexible] = max(widths[table.flexible] - surplus, _NARROWEST)
    return widths


def _row(table: Table, cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [_wrap_cell(cell, wide) for cell, wide in zip(cells, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        parts = (lines[number] if number < len(lines) else "" for lines in wrapped)
        yield _GAP.join(_pad(part, widths[i], i in table.right) for i, part in enumerate(parts))


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - columns_of(text))
    return space + text if right else text + space
