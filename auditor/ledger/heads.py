"""The heads of all segments of a ledger, as a file that somebody else keeps, and a text short enough to copy by hand.

The file is nothing but signed notes. The text names it by its digest, so it stands for the same heads: whoever has kept
the text holds the ledger against the copy of the file in ``anchors/``, which cannot be changed without showing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid, LedgerUnwritable, NoteError
from auditor.ledger.log import Scanner
from auditor.ledger.packed import open_segment
from auditor.ledger.places import SUFFIX, anchors_of, name_of, segment_paths, sync_directory, witnessed_of
from auditor.ledger.signed import FILE_LIMIT_BYTES, SignedHead, read_head, read_heads, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BLOCK_BYTES = 256 * 2**10
_DIGEST = re.compile(r"\bsha256:([0-9a-f]{64})\b")


class HeadsFile(NamedTuple):
    """Heads as they are given away: the file's bytes, and the text that stands for it."""

    data: bytes
    short: str


def present_heads(directory: Path) -> list[SignedHead]:
    """The last signed head of each segment, as it stands; every signature and hash up to it was checked.

    Raises: LedgerInvalid: one of them is false; a false ledger is not anchored.
    """
    heads = (present_head(path) for path in segment_paths(directory))
    return [head for head in heads if head is not None]


def present_head(path: Path) -> SignedHead | None:
    """The last signed head of the segment; None where it has none yet.

    Raises: LedgerInvalid: what stands before it is false, or it cannot be read.
    """
    scanner = Scanner()
    try:
        with open_segment(path) as file:
            while data := file.read(_BLOCK_BYTES):
                for _ in scanner.feed(data):
                    pass
    except LedgerInvalid as error:
        raise LedgerInvalid(f"{name_of(path)}: {error}") from error
    except OSError as error:
        raise LedgerInvalid(f"{name_of(path)}: cannot be read: {error.strerror or error}") from error
    return read_head(scanner.note) if scanner.note else None


def heads_file(heads: Sequence[SignedHead], run_id: str) -> HeadsFile:
    """The file that holds these heads, and its short text."""
    data = "\n".join(head.note for head in heads).encode()
    lines = sum(head.head.size for head in heads)
    digest = hashlib.sha256(data).hexdigest()
    short = f"auditor heads of {run_id}: {len(heads)} segments, {lines} lines, sha256:{digest}"
    return HeadsFile(data, short)


def keep_heads(directory: Path, file: HeadsFile) -> Path:
    """The file is on the disk in ``anchors/``, under the name of its digest.

    Raises: LedgerUnwritable: it is not.
    """
    folder = anchors_of(directory)
    return write_synced(folder / f"{hashlib.sha256(file.data).hexdigest()}.heads", file.data)


def is_special(path: Path) -> bool:
    """It is there, and neither a file nor a directory: /dev/stdout and pipes are written into, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_synced(path: Path, data: bytes) -> Path:
    """The file holds these bytes, whole or not at all, and survives a loss of power.

    Raises: LedgerUnwritable: it does not.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if is_special(path):
            path.write_bytes(data)
            return path
        new_folder = not path.parent.is_dir()
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_directory(path.parent)
        if new_folder:
            sync_directory(path.absolute().parent.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise LedgerUnwritable(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def cosigned(directory: Path, path: Path, head: SignedHead) -> SignedHead:
    """The head of the segment with the cosignatures that it has got, as far as they are kept in ``witnessed/``."""
    kept = cosigned_path(directory, path, head)
    with contextlib.suppress(NoteError):
        earlier = read_head(read_text(kept)) if kept.exists() else head
        return earlier.signed_also(head.signatures) if earlier.text == head.text else head
    return head


def cosigned_path(directory: Path, path: Path, head: SignedHead) -> Path:
    """Where the head of the segment is kept with its cosignatures."""
    return witnessed_of(directory) / f"{name_of(path).removesuffix(SUFFIX)}.{head.head.size}.note"


def find_heads(directory: Path, short: str) -> list[SignedHead] | None:
    """The heads that a short text stands for, from ``anchors/``; None where the file is gone or was changed.

    Raises: NoteError: the text names no digest.
    """
    match = _DIGEST.search(short)
    if match is None:
        raise NoteError(
            f"{short[:80]!r}: neither a file of heads nor the short text of one",
            remedy="Give the file that `auditor anchor` wrote, or the text with its sha256: that it printed.",
        )
    try:
        text = read_text(anchors_of(directory) / f"{match[1]}.heads", FILE_LIMIT_BYTES)
    except NoteError:
        return None
    return read_heads(text) if hashlib.sha256(text.encode()).hexdigest() == match[1] else None
