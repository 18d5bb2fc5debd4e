"""A page of text with colours, where rich is installed and a person is looking."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from auditor.errors import MissingExtra
from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table, Title
from auditor.report.plain import WIDTH
from auditor.report.words import clean, clip

if TYPE_CHECKING:
    from collections.abc import Iterable

try:
    from rich import box
    from rich.console import Console, RenderableType
    from rich.table import Table as Grid
    from rich.text import Text
except ImportError as missing:
    raise MissingExtra("rich", "terminal") from missing

_STYLES = {"good": "green", "bad": "bold red", "open": "yellow", "quiet": "dim", "strong": "bold"}
_CELLS = {"reached": "bold red", "not reached": "green", "undetermined": "yellow"}
_LONGEST_TEXT = 1200


def draw(blocks: Iterable[Block], stream: TextIO) -> None:
    """Print the blocks on the stream's terminal, as wide as it is, up to the page's width."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH)
    for block in blocks:
        if not isinstance(block, Title):
            console.print()
        console.print(_rendered(block))


def _rendered(block: Block) -> RenderableType:
    match block:
        case Title(text):
            return _text(text, "bold")
        case Heading(text):
            return _text(text, "bold cyan")
        case Paragraph(text, mark):
            return _text(text, _STYLES.get(mark, ""))
        case Bullets(items):
            return _grid((("-", item) for item in items), "")
        case Pairs(rows):
            return _grid(rows, "cyan")
        case Table():
            return _table(block)


def _text(text: str, style: str = "") -> Text:
    """Text as it stands: markup that a hostile name may hold is not read."""
    return Text(clip(clean(text), _LONGEST_TEXT), style=style, overflow="fold")


def _grid(rows: Iterable[tuple[str, str]], style: str) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for name, text in rows:
        grid.add_row(_text(name, style), _text(text))
    return grid


def _table(table: Table) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, name in enumerate(table.columns):
        grid.add_column(name, justify="right" if number in table.right else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*(_text(cell, _CELLS.get(cell, "")) for cell in row))
    return grid
