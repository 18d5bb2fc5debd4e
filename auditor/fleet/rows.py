"""An inventory as rows of a CSV file: each a shipment with its site and owner, put together into the same document.

What several rows say of one site or owner must agree; an empty cell says nothing.
"""

from __future__ import annotations

import csv
import difflib
import io
from typing import TYPE_CHECKING

from auditor.documents import Node
from auditor.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEEDED = ("id", "site", "country", "owner", "chip", "count")
_OF_AN_OWNER = ("headquarters", "parent", "parent_headquarters", "complete")
_OF_AN_AUTHORISATION = ("authorisation", "authorised_since", "authorised_until")
_OF_A_CHIP = ("tpp", "performance_density", "data_centre", "memory_gb_per_s", "link_gb_per_s", "source")
_OF_A_SHIPMENT = ("date", "gone", "under", "from")
COLUMNS = (*_NEEDED, *_OF_AN_OWNER, *_OF_AN_AUTHORISATION, *_OF_A_CHIP, *_OF_A_SHIPMENT)


def document(text: str, file: str, schema: str, questions: tuple[str, ...]) -> Node:
    """The document that the rows write.

    Raises: InventoryError: a column that nobody knows, a row that does not fit, or two that contradict one another.
    """
    made = _Document(file)
    for number, row in _rows(text, file, questions):
        made.take(number, row, questions)
    top = {name: made.listed(entries) for name, entries in made.sections.items() if entries or name != "chips"}
    return made.mapping(1, "", {"schema": made.scalar(1, "schema", schema), **top})


def _rows(text: str, file: str, questions: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(header, file, (*COLUMNS, *questions))
        before = reader.line_num
        for cells in reader:
            number, before = before + 1, reader.line_num
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise InventoryError(
                    f"{file}:{number}: expected {len(header)} cells, as in the first line, got {len(cells)}"
                )
            yield number, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    except csv.Error as problem:
        raise InventoryError(f"{file}:{reader.line_num}: not the CSV that is read here: {problem}") from problem


def _check_header(header: list[str], file: str, known: tuple[str, ...]) -> None:
    for name in header:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InventoryError(f"{file}:1: unknown column {name!r}; {hint}")
        if header.count(name) > 1:
            raise InventoryError(f"{file}:1: the column {name!r} stands twice")
    for name in _NEEDED:
        if name not in header:
            raise InventoryError(f"{file}:1: the column {name!r} is missing")


class _Document:
    """The entries so far, by section and id."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.sections: dict[str, list[Node]] = {"companies": [], "sites": [], "chips": [], "shipments": []}
        self._entries: dict[tuple[str, str], dict[str, Node]] = {}

    def take(self, number: int, row: Mapping[str, str], questions: tuple[str, ...]) -> None:
        """One row."""
        owner, site, chip = (row[name] for name in ("owner", "site", "chip"))
        for name in _NEEDED:
            if not row[name]:
                raise InventoryError(f"{self.file}:{number}: {name}: expected a value, got nothing")
        self._entry(number, "companies", owner, {name: row.get(name, "") for name in _OF_AN_OWNER})
        self._authorise(number, row, owner)
        self._entry(number, "sites", site, {"country": row["country"], "owner": owner})
        figures = {name: row.get(name, "") for name in _OF_A_CHIP}
        if any(figures.values()):
            self._entry(number, "chips", chip, figures)
        own = {name: row.get(name, "") for name in (*_OF_A_SHIPMENT, *questions)}
        cells = {
            name: text for name, text in {**own, **{k: row[k] for k in ("id", "site", "chip", "count")}}.items() if text
        }
        fields = {name: self.scalar(number, name, text) for name, text in cells.items()}
        self.sections["shipments"].append(self.mapping(number, "shipment", fields))

    def _entry(self, number: int, section: str, name: str, cells: Mapping[str, str]) -> dict[str, Node]:
        """The entry of that id, with what this row says of it."""
        key = (section, name)
        if key not in self._entries:
            self._entries[key] = {"id": self.scalar(number, "id", name)}
            self.sections[section].append(self.mapping(number, section, self._entries[key]))
        entry = self._entries[key]
        for field, text in cells.items():
            before = entry.setdefault(field, self.scalar(number, field, text)) if text else None
            if before is not None and before.value != text:
                raise InventoryError(
                    f"{self.file}:{number}: {field}: expected {before.value!r} for {name!r}, as in line {before.line},"
                    f" got {text!r}",
                    remedy="One of the two rows is wrong; an empty cell says nothing.",
                )
        return entry

    def _authorise(self, number: int, row: Mapping[str, str], owner: str) -> None:
        """The owner's authorisation, an NVEU for the country of the row's site; each one once."""
        kind, since, until = (row.get(name, "") for name in _OF_AN_AUTHORISATION)
        if not kind:
            if since or until:
                raise InventoryError(
                    f"{self.file}:{number}: authorisation: expected UVEU or NVEU beside its days, got nothing"
                )
            return
        cells = {"kind": kind, "since": since, "until": until, "country": row["country"] if kind == "NVEU" else ""}
        fields = {name: self.scalar(number, f"authorisation.{name}", text) for name, text in cells.items() if text}
        entry = self._entries["companies", owner]
        listed = entry.setdefault("authorisations", self.listed([]))
        if not any(_texts(part) == _texts(self.mapping(number, "", fields)) for part in listed):
            listed.items().append(self.mapping(number, "authorisation", fields))

    def scalar(self, number: int, path: str, text: str) -> Node:
        """A cell."""
        return Node(text, self.file, number, path, InventoryError)

    def mapping(self, number: int, path: str, fields: dict[str, Node]) -> Node:
        """A row, or what rows come to."""
        return Node(fields, self.file, number, path, InventoryError)

    def listed(self, parts: list[Node]) -> Node:
        """A section."""
        return Node(parts, self.file, 1, "", InventoryError)


def _texts(node: Node) -> dict[str, str]:
    return {name: part.text() for name, part in node.fields().items()}
