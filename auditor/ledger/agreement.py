"""What the ranks of one run should agree in, and do not: who they are, what counts them, and what time it is.

Nothing here lowers a verdict: amounts do not depend on it. But whoever reads a total wants to know, and what to do.
"""

from __future__ import annotations

import datetime
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from auditor.ledger.findings import Finding, Verdict, capped
from auditor.records import CLOCK_AHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auditor.ledger.inspection import SegmentReading
    from auditor.records import Genesis

_MOST_NAMED = 5
_OWN_CLOCK_S = 1.0  # by which times of one machine may be out of order
_OTHER_CLOCK_S = 60.0  # and of two
_SECONDS = re.compile(r"-?[0-9]{1,9}")


def of_ranks(segments: Sequence[SegmentReading]) -> Iterator[Finding]:
    """What is to be said of the ranks beside each other."""
    ranks = [segment for segment in segments if segment.genesis.role == "rank"]
    yield from _of_versions(ranks)
    yield from _of_clocks(ranks)
    yield from capped([finding for earlier, later in _neighbours(ranks) for finding in _of_twins(earlier, later)])


def ahead_of_disk_s(genesis: Genesis) -> int:
    """By how much the clock of the host was ahead of that of the disk that it wrote to."""
    told = genesis.host.get(CLOCK_AHEAD, "")
    return int(told) if _SECONDS.fullmatch(told) else 0


def _said(text: str) -> Finding:
    return Finding(Verdict.WITNESSED, text)


def _of_versions(ranks: Sequence[SegmentReading]) -> Iterator[Finding]:
    versions = _grouped(ranks, lambda segment: segment.genesis.versions.get("auditor", "not named"))
    if len(versions) > 1:
        yield _said(
            f"Ranks were counted by different versions of the auditor: {_listed(versions)}. All are counted; an "
            "operator that one version sees another may not. Install one version for all ranks."
        )
    tables = _grouped(ranks, lambda segment: segment.genesis.digests.get("formulas", "")[:12] or "not named")
    if len(tables) > 1:
        yield _said(
            f"Ranks were priced by different tables of formulas: {_listed(tables)}. `auditor verify` and `report` "
            "price all of them by their own. Install one version for all ranks."
        )


def _of_clocks(ranks: Sequence[SegmentReading]) -> Iterator[Finding]:
    apart = [segment for segment in ranks if ahead_of_disk_s(segment.genesis)]
    clocks = _grouped(apart, lambda segment: _clock(ahead_of_disk_s(segment.genesis)))
    if clocks:
        yield _said(
            f"Clocks differ from that of the disk that the ledger was written to: {_listed(clocks)}. Times are told as "
            "these ranks told them; amounts and durations do not depend on it. Have a time server set their clocks."
        )


def _clock(ahead_s: int) -> str:
    span = datetime.timedelta(seconds=abs(ahead_s))
    return f"{span} h {'ahead' if ahead_s > 0 else 'behind'}"


def _neighbours(ranks: Sequence[SegmentReading]) -> Iterator[tuple[SegmentReading, SegmentReading]]:
    """The attempts of each rank, each with the next."""
    ordered = sorted(ranks, key=lambda segment: (segment.genesis.rank, segment.genesis.attempt))
    return ((one, other) for one, other in pairwise(ordered) if one.genesis.rank == other.genesis.rank)


def _of_twins(earlier: SegmentReading, later: SegmentReading) -> Iterator[Finding]:
    """Two attempts of a rank that ran at one time."""
    one, other = earlier.genesis.host, later.genesis.host
    alike = one.get("boot_id") == other.get("boot_id")
    together_s = _time_s(earlier, earlier.ended) - _time_s(later, later.started)
    if together_s <= (_OWN_CLOCK_S if alike else _OTHER_CLOCK_S):
        return
    clocks = "" if alike else ", or their clocks are apart"
    yield _said(
        f"Two processes were rank {later.genesis.rank} at one time: {_process(earlier)} wrote until {earlier.ended}, "
        f"{_process(later)} from {later.started} on. Both count towards the total. Two jobs were given one directory, "
        f"or one was started twice{clocks}: --out names a directory for each."
    )


def _time_s(segment: SegmentReading, text: str) -> float:
    """A time that the segment tells, by the clock of the disk that it was written to."""
    return datetime.datetime.fromisoformat(text).timestamp() - ahead_of_disk_s(segment.genesis)


def _process(segment: SegmentReading) -> str:
    host = segment.genesis.host
    job = f" of {host['job']}" if "job" in host else ""
    return f"{segment.name}{job} (process {host.get('pid', '?')} on {host.get('hostname', '?')})"


def _grouped(ranks: Sequence[SegmentReading], key: Callable[[SegmentReading], str]) -> dict[str, list[int]]:
    """Which ranks have which, the most frequent first."""
    found: dict[str, set[int]] = {}
    for segment in ranks:
        found.setdefault(key(segment), set()).add(segment.genesis.rank)
    return {name: sorted(found[name]) for name in sorted(found, key=lambda name: (-len(found[name]), name))}


def _listed(groups: dict[str, list[int]]) -> str:
    return "; ".join(f"{name} ({_ranks(ranks)})" for name, ranks in groups.items())


def _ranks(ranks: Sequence[int]) -> str:
    more = f" and {len(ranks) - _MOST_NAMED} more" if len(ranks) > _MOST_NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:_MOST_NAMED]))}{more}"
