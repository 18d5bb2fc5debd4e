"""`auditor prove`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.errors import LedgerInvalid, NoteError, UsageError
from auditor.ledger.heads import cosigned, write_synced
from auditor.ledger.inspection import SegmentReading, Unreadable, read_segment
from auditor.ledger.notes import origin_of
from auditor.ledger.places import SUFFIX, name_of, segment_paths
from auditor.ledger.proving import Extension, Inclusion, Signed, prove_extension, prove_line
from auditor.ledger.signed import SignedHead, read_head, read_heads, read_text


def run(options: argparse.Namespace) -> int:
    """Write a proof about one segment."""
    path = _path(Path(options.directory), options.segment)
    segment = read_segment(path, None)
    if isinstance(segment, Unreadable) or segment.broken:
        cause = segment.cause if isinstance(segment, Unreadable) else segment.broken
        raise LedgerInvalid(f"{path.name}: nothing is proved of a segment that is false: {cause}", remedy=_SEE_VERIFY)
    text = _proof(options, path, segment).text()
    if options.out:
        write_synced(Path(options.out), text.encode())
    else:
        sys.stdout.write(text)
    return 0


_SEE_VERIFY = "See what is wrong with: auditor verify DIR"


def _proof(options: argparse.Namespace, path: Path, segment: SegmentReading) -> Inclusion | Extension:
    head = cosigned(Path(options.directory), path, read_head(segment.note))
    signed = Signed(key=segment.keys[-1], rotations=segment.rotations)
    if options.since:
        return prove_extension(path, _since(Path(options.since), segment), head, signed)
    if options.seal and not segment.sealed:
        raise UsageError(f"{path.name} has no seal", remedy="Prove a line of it: --line N.")
    return prove_line(path, head.head.size if options.seal else options.line, head, signed)


def _since(path: Path, segment: SegmentReading) -> SignedHead:
    origin = origin_of(segment.genesis)
    heads = [head for head in read_heads(read_text(path)) if head.origin == origin]
    if not heads:
        raise NoteError(
            f"{path}: holds no head of {origin}", remedy="Name the file of heads that was taken of this run."
        )
    return max(heads, key=lambda head: head.head.size)


def _path(directory: Path, name: str) -> Path:
    paths = {name_of(path).removesuffix(SUFFIX): path for path in segment_paths(directory)}
    path = paths.get(name_of(name).removesuffix(SUFFIX))
    if path is None:
        known = ", ".join(sorted(paths)[:5]) or "none"
        raise UsageError(f"{directory}: there is no segment {name!r}", remedy=f"There are: {known}.")
    return path
