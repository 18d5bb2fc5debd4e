"""How a ledger is read: in how many processes, with what of it kept, and what an earlier reading has left to do."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.ledger.detail import NOTHING, Detail, detail_for
from auditor.ledger.inspection import SegmentReading, Unreadable, read_segment
from auditor.ledger.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.earlier import Earlier
    from auditor.ledger.prices import Recount

_WORTH_A_PROCESS_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """``course``: the curve of each segment and what was seen of devices are kept, for whoever draws them.

    Of very many segments less is kept of each, so that it stays bounded; the sums are exact all the same.
    """

    workers: int = 1
    course: bool = True
    earlier: Earlier | None = None  # what was read before

    def detail(self, segments: int) -> Detail:
        """How much is kept of each of so many segments."""
        return detail_for(segments) if self.course else NOTHING

    def workers_for(self, paths: Sequence[Path]) -> int:
        """How many processes these files are worth."""
        size_bytes = 0
        for path in paths if self.workers > 1 else ():
            with contextlib.suppress(OSError):  # it was compressed since
                size_bytes += path.lstat().st_size
            if size_bytes > self.workers * _WORTH_A_PROCESS_BYTES:
                return self.workers
        return 1


ALONE = Effort()
SLIM = Effort(course=False)  # for whoever draws nothing


def read_all(paths: Sequence[Path], recount: Recount | None, effort: Effort) -> Iterator[SegmentReading | Unreadable]:
    """Every segment, in the order of the paths; what was read before and has not changed is not read again."""
    detail = effort.detail(len(paths))
    read = functools.partial(read_segment, recount=recount, detail=detail)
    earlier = effort.earlier
    if earlier is None:
        yield from spread(read, paths, workers=effort.workers_for(paths))
        return
    known = {path: earlier.find(path, detail) for path in paths}
    left = [path for path in paths if known[path] is None]
    marks = {path: earlier.mark(path) for path in left}
    found = zip(left, spread(read, left, workers=effort.workers_for(left)), strict=True)
    fresh: dict[Path, SegmentReading | Unreadable] = {}
    for path, reading in found:
        earlier.add(path, marks[path], detail, reading)
        fresh[path] = reading
    for path in paths:
        yield known[path] or fresh[path]
