"""A whole ledger is shown to a witness: the head of each segment, and its answers kept in the run's directory."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from auditor.errors import NoteError
from auditor.ledger.heads import cosigned, cosigned_path, present_head, write_synced
from auditor.ledger.places import SUFFIX, name_of, segment_paths, witnessed_of
from auditor.ledger.proving import consistency
from auditor.ledger.signed import SignedHead, read_head, read_text
from auditor.witness.client import Asked, ask

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from auditor.ledger.cosigning import Witness


def cosign_ledger(directory: Path, url: str, witness: Witness, *, within_s: float) -> list[Asked]:
    """The present heads of all segments, co-signed by the witness and kept in ``witnessed/``, the first one first.

    Raises: WitnessError, LedgerDiverged: it did not co-sign one; what it did co-sign is kept. LedgerInvalid: the ledger
    is false. LedgerUnwritable: an answer cannot be kept.
    """
    until_s = time.monotonic() + within_s
    asked = []
    kept = _kept(directory)
    for path in segment_paths(directory):
        head = present_head(path)
        if head is None:
            continue
        answer = ask(
            url,
            witness,
            head,
            functools.partial(consistency, path, size=head.head.size),
            known_size=_known_size(kept.get(name_of(path).removesuffix(SUFFIX), ()), head, witness),
            within_s=until_s - time.monotonic(),
        )
        write_synced(cosigned_path(directory, path, head), cosigned(directory, path, answer.head).note.encode())
        asked.append(answer)
    return asked


def _kept(directory: Path) -> dict[str, list[Path]]:
    """The notes in ``witnessed/``, whose names are a segment's and a size, by the former."""
    kept: dict[str, list[Path]] = {}
    for path in witnessed_of(directory).glob("*.*.note"):
        kept.setdefault(path.stem.rpartition(".")[0], []).append(path)
    return kept


def _known_size(kept: Iterable[Path], head: SignedHead, witness: Witness) -> int:
    """The size of the largest head of the segment that the witness has co-signed, as far as is known here."""
    notes = map(_note_at, kept)
    return max((note.head.size for note in notes if note and _is_its(note, head, witness)), default=0)


def _is_its(note: SignedHead, head: SignedHead, witness: Witness) -> bool:
    return note.origin == head.origin and any(part.key_id == witness.key_id for part in note.signatures)


def _note_at(path: Path) -> SignedHead | None:
    try:
        return read_head(read_text(path))
    except NoteError:
        return None
