"""Where a job stands, live or dead, in words: which ranks there are, who writes, who lags; nothing is recounted."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from auditor.ledger import Reading, SegmentReading
from auditor.ledger.agreement import ahead_of_disk_s
from auditor.ledger.ends import SegmentSum
from auditor.ledger.merging import Job
from auditor.session.live import Live
from auditor.units import scientific

_MOST_RANKS = 16  # that are listed one by one
_GRACE_S = 10.0
_STATES = ("damaged", "killed", "silent", "counting", "ended")  # the first are listed first


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStatus:
    """Where a rank stands: its latest attempt, and all that it did in any."""

    rank: int
    attempt: int
    state: str  # of the latest attempt: one of `_STATES`
    lag_s: float  # since its last record, by the clock of whoever asks, who is taken to agree with the disk
    steps: int  # of all attempts, as `total_ops` is
    total_ops: int


def of_ranks(reading: Reading | Job, now: datetime.datetime) -> list[RankStatus]:
    """Every rank that was seen, those that need looking at first."""
    attempts: dict[int, list[SegmentReading | SegmentSum]] = {}
    for segment in reading.segments:
        if segment.genesis.role == "rank":
            attempts.setdefault(segment.genesis.rank, []).append(segment)
    found = [_of_rank(rank, segments, now) for rank, segments in attempts.items()]
    return sorted(found, key=lambda status: (_STATES.index(status.state), status.total_ops, status.rank))


def _of_rank(rank: int, segments: Sequence[SegmentReading | SegmentSum], now: datetime.datetime) -> RankStatus:
    latest = max(segments, key=lambda segment: segment.genesis.attempt)
    ended_s = datetime.datetime.fromisoformat(latest.ended).timestamp() - ahead_of_disk_s(latest.genesis)
    lag_s = max(now.timestamp() - ended_s, 0.0)
    return RankStatus(
        rank=rank,
        attempt=latest.genesis.attempt,
        state=_state(latest, lag_s),
        lag_s=lag_s,
        steps=sum(segment.steps for segment in segments),
        total_ops=sum(segment.operations.total for segment in segments),
    )


def _state(segment: SegmentReading | SegmentSum, lag_s: float) -> str:
    """Silent is a rank whose process lives and has written nothing for longer than two intervals: hung, or waiting."""
    if segment.broken:
        return "damaged"
    if segment.sealed:
        return "ended"
    if not segment.live:
        return "killed"
    return "silent" if lag_s > 2 * float(segment.genesis.settings.get("interval_s", "60")) + _GRACE_S else "counting"


def lines(reading: Reading | Job, now: datetime.datetime, live: Live | None = None) -> Iterator[str]:
    """The job's status in lines of text; ``live``: its sum over its own store, where it keeps one."""
    ranks = of_ranks(reading, now)
    yield f"run         {reading.run_id} ({reading.model or 'model not named'}, {reading.purpose})"
    yield f"ranks       {len(ranks)} of {reading.ranks_expected} seen: {_states(ranks)}"
    missing = _missing(reading.ranks_expected, {status.rank for status in ranks})
    left_out = reading.left_out if isinstance(reading, Job) else ()
    if missing:
        yield f"{'not seen   ' if left_out else 'never began'} {missing}"
    yield from (f"not counted {text}" for text in left_out)
    over = not missing and not left_out and bool(ranks) and all(status.state == "ended" for status in ranks)
    yield f"operations  {scientific(reading.operations.total)} {'in total' if over else 'so far'}, as recorded"
    if live is not None:
        processes = f"{live.processes:,} process{'' if live.processes == 1 else 'es'}"
        ago = f"{max(now.timestamp() - live.at_s, 0.0):,.0f} s ago"
        yield f"live sum    {scientific(live.total_ops)} in {processes}, {ago}, by the job's store; unsigned"
    if not ranks:
        return
    amounts = [status.total_ops for status in ranks]
    middle = median_low(amounts)
    yield f"            each rank {scientific(middle)} in the middle, {scientific(min(amounts))} the least"
    yield ""
    yield "  rank  attempt  state      last record      steps   operations  of the middle"
    yield from (_row(status, middle) for status in ranks[:_MOST_RANKS])
    if len(ranks) > _MOST_RANKS:
        yield f"        and {len(ranks) - _MOST_RANKS} more"


def _row(status: RankStatus, middle: int) -> str:
    share = f"{status.total_ops / middle:.3f}" if middle else "-"
    ago = f"{status.lag_s:,.0f} s ago"
    done = scientific(status.total_ops)
    place = f"{status.rank:>6}  {status.attempt:>7}"
    return f"{place}  {status.state:<8}  {ago:>12}  {status.steps:>9}  {done:>11}  {share}"


def _states(ranks: Iterable[RankStatus]) -> str:
    states = [status.state for status in ranks]
    return ", ".join(f"{states.count(state)} {state}" for state in reversed(_STATES) if state in states) or "none"


def _missing(expected: int, seen: set[int]) -> str:
    absent = [rank for rank in range(expected) if rank not in seen]
    more = f" and {len(absent) - _MOST_RANKS} more" if len(absent) > _MOST_RANKS else ""
    return ", ".join(map(str, absent[:_MOST_RANKS])) + more
