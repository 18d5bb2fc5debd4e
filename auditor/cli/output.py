"""Pages are written where the command line says."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import UsageError


def write_page(name: str, text: str, option: str) -> None:
    """The file holds the text.

    Raises: UsageError: it cannot be written; names the option that named it.
    """
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{name}: cannot be written: {error.strerror}", remedy=f"Name another file with {option}"
        ) from error
