"""`auditor compress`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from auditor.errors import ExitCode, NotALedger
from auditor.ledger.compressing import Compressed, compress
from auditor.ledger.places import segments_of
from auditor.ledger.workers import usable_cores
from auditor.report.words import clean, plural

_MOST_NAMED = 20


def run(options: argparse.Namespace) -> int:
    """Replace sealed segments by compressed ones."""
    for directory in map(Path, options.directories):
        if not segments_of(directory).is_dir():
            raise NotALedger(f"{directory}: not a ledger: expected a directory with a folder 'segments'")
        found = compress(directory, workers=options.jobs or usable_cores())
        sys.stdout.write("".join(f"{clean(line)}\n" for line in _lines(directory, found)))
        sys.stdout.flush()
    return int(ExitCode.PASS)


def _lines(directory: Path, found: Iterable[Compressed]) -> Iterator[str]:
    number = before = after = 0
    left = []
    for one in found:
        if one.left:
            left.append(one)
        else:
            number, before, after = number + 1, before + one.size_bytes, after + one.packed_bytes
    saved = f", {_size(before)} before and {_size(after)} now" if number else ""
    yield f"{directory}: {plural(number, 'segment')} compressed{saved}"
    yield from (f"  - {one.name} stays as it is: {one.left}" for one in left[:_MOST_NAMED])
    if len(left) > _MOST_NAMED:
        yield f"  - and {len(left) - _MOST_NAMED} more"


def _size(size_bytes: int) -> str:
    """In kilobytes below a megabyte, so that a small ledger does not read as nothing."""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 10**6 else f"{size_bytes / 1e3:,.1f} kB"
