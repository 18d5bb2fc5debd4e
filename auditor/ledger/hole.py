"""What a loss of power leaves of writes that were not yet synced: zeros where lines were, and whole lines after them.

A disk writes sectors in any order, and a part of a file that was never written reads as zeros, which no line holds.
The lines behind a hole count for nothing, as nothing vouches for them without those before; but they may say how much
was on the disk before they were written. A hole in that part is none: it is damage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditor.errors import LedgerError
from auditor.lines import read_checkpoint, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditor.errors import LedgerInvalid

_SYNCED = re.compile(rb'\[[0-9]+,"synced",\{"size_bytes":([0-9]{1,18})\}\]')
LONGEST_SYNCED_BYTES = 80


class Hole:
    """A hole, for as long as nothing behind it shows that it is damage."""

    def __init__(self, fault: LedgerInvalid, start_bytes: int) -> None:
        """``fault``: what is wrong there. ``start_bytes``: of the segment, how much before it is sound."""
        self.fault = fault
        self.start_bytes = start_bytes
        self._checkpoints = 0

    def pass_over(self, lines: Iterable[bytes]) -> None:
        """The lines stand behind the beginning of the hole.

        Raises: LedgerInvalid: the fault, as they show that what is missing was on the disk when they were written.
        """
        for line in lines:
            match = _SYNCED.fullmatch(line)
            if match and int(match[1]) > self.start_bytes:
                raise self.fault
            # Nothing is written before the first record, with its checkpoint, is on the disk.
            self._checkpoints += not self.start_bytes and read_checkpoint(line) is not None
            if self._checkpoints > 1:
                raise self.fault


def is_hole(lines: Sequence[bytes]) -> bool:
    """Whether zeros are all that is wrong with the lines: each other one is a record."""
    return any(b"\0" in line for line in lines) and not any(fault_of_line(line) for line in lines)


def fault_of_line(line: bytes) -> str:
    """Why the line is no record, or "" where it is one, or was one before zeros took its place."""
    if b"\0" in line:
        return ""
    try:
        read_record(line)
    except LedgerError as error:
        return str(error)
    return ""
