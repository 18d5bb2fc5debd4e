"""What stands beside the segments of a ledger and is read by nobody, so that none of it passes unseen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from auditor.errors import MissingExtra
from auditor.ledger.findings import Finding, Verdict, capped
from auditor.ledger.packed import Likeness, likeness
from auditor.ledger.places import PACKED, SUFFIX, name_of, segments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def of_folder(directory: Path) -> Iterator[Finding]:
    """Files that are no segments, and compressed ones beside a plain one of the same name."""
    folder = segments_of(directory)
    names = set(os.listdir(folder))  # noqa: PTH208 - thousands
    strange = sorted(name for name in names if not name_of(name).endswith(SUFFIX) and not name.startswith("."))
    yield from capped([Finding(Verdict.INCOMPLETE, _of_strange(name)) for name in strange])
    twice = sorted(name for name in names if name.endswith(PACKED) and name_of(name) in names)
    yield from capped([finding for name in twice if (finding := _of_twice(folder, name))])


def _of_strange(name: str) -> str:
    return f"segments/{name} is not a segment's name; it was not read."


def _of_twice(folder: Path, name: str) -> Finding | None:
    try:
        like = likeness(folder / name_of(name), folder / name)
    except FileNotFoundError:  # one of them was taken away since: its compressing came to its end
        return None
    except (OSError, MissingExtra) as error:
        text = f"segments/{name} was not read, and could not be held against the segment of that name: {error}."
        return Finding(Verdict.INCOMPLETE, text)
    if like is Likeness.SAME:
        text = f"segments/{name} is a compressed copy of a segment that stands there too, and was not read."
        return Finding(Verdict.WITNESSED, f"{text} `auditor compress` finishes what was interrupted.")
    if like is Likeness.LONGER:
        text = f"segments/{name} goes on where the plain segment of that name ends, and was not read."
        return Finding(Verdict.INCOMPLETE, f"{text} Move the plain one out, and look again.")
    return Finding(
        Verdict.INVALID,
        f"segments/{name} holds something else than the plain segment of that name, and nothing of it is counted. Move"
        " it to a directory of its own, with a folder segments, and verify it there.",
    )
