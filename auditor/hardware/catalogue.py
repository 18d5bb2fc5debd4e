"""The chip catalogue: YAML tables, read strictly. Every complaint names file, line and field.

Sources and definitions are shared by all files that are loaded together.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from auditor.documents import read_yaml
from auditor.errors import CatalogueError
from auditor.hardware import names, tables
from auditor.hardware.chips import Catalogue, Chip
from auditor.hardware.matching import Match, match
from auditor.hardware.rating import Rating, tpp
from auditor.resources import tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Catalogue", "Chip", "Match", "Rating", "digest", "load", "match", "shipped", "tpp"]


def shipped() -> list[Path]:
    """The tables that come with the auditor."""
    return sorted((tree("configs") / "chips").glob("*.yaml"))


def load(paths: Iterable[Path] | None = None) -> Catalogue:
    """The chips of the tables at ``paths``, else of those that are shipped.

    Raises: CatalogueError: a table that does not fit, or an id or PCI id that is taken.
    """
    files = shipped() if paths is None else list(paths)
    documents = [tables.sections(read_yaml(path, CatalogueError)) for path in files]
    shared = tables.Shared()
    for document in documents:
        shared.read_sources(document)
    for document in documents:
        shared.read_definitions(document)
    chips: dict[str, Chip] = {}
    for document in documents:
        for node in tables.items(document, "chips"):
            chip = tables.chip(node, document, shared)
            if chip.id in chips:
                raise CatalogueError(f"{node.file}:{node.line}: {node.path}: the id {chip.id!r} is taken already")
            chips[chip.id] = chip
    return Catalogue(
        chips=tuple(chips.values()),
        named_ids={found.device: found for document in documents for found in names.named_ids(document, shared)},
        masked_names={found.name: found for document in documents for found in names.masked(document, shared, chips)},
        firmware={begin: found for document in documents for begin, found in names.firmware(document, shared).items()},
        slopes=shared.slopes,
        bounds=shared.bounds,
        cores_per_sm=shared.cores_per_sm,
        sources=shared.sources,
        digest=digest(files),
    )


def digest(paths: Iterable[Path] | None = None) -> str:
    """SHA-256 over the names and bytes of the tables, without reading what they say: milliseconds.

    Raises: CatalogueError: a file cannot be read.
    """
    files = shipped() if paths is None else list(paths)
    try:
        lines = sorted(f"{path.name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)
    except OSError as error:
        raise CatalogueError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return hashlib.sha256(f"{tables.SCHEMA}\n{''.join(lines)}".encode()).hexdigest()
