"""The sum over many segments from their seals, of one ledger or of several that hold parts of a run."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import NotALedger
from auditor.ledger import findings
from auditor.ledger.ends import SEAL, TOTALS, WHOLE, SegmentSum, read_sum
from auditor.ledger.findings import Finding, Verdict
from auditor.ledger.folder import of_folder
from auditor.ledger.inspection import Unreadable
from auditor.ledger.places import segment_name, segment_paths, segments_of
from auditor.ledger.reading import order
from auditor.ledger.workers import spread
from auditor.operations import Operations, add_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_AT_ONCE = 16  # segments that a worker is handed: each takes about a millisecond
_MOST_NAMED = 5


class Placed(NamedTuple):
    """A segment's sum, and the ledger's directory that it was found in."""

    directory: Path
    segment: SegmentSum


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunSum:
    """What a run came to, as its segments say."""

    run_id: str
    model: str
    purpose: str
    operations: Operations
    steps: int  # of the rank that took the most, over all its attempts
    ranks_expected: int
    ranks_seen: int
    attempts: int  # segments of ranks
    segments: int
    lines: int  # up to the last checkpoint of each segment
    sources: dict[str, int]  # segments by what their sums rest on
    started: str
    ended: str  # "" while it is being written


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Runs, what all of them come to, and what is to be said, the worst first."""

    runs: tuple[RunSum, ...]
    operations: Operations
    verdict: Verdict | None  # INVALID or INCOMPLETE; None where nothing that was looked at is wrong or missing
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]  # of these, why operations may be missing from what has been written so far
    keys: tuple[str, ...]  # that signed the ends


class Collected(NamedTuple):
    """Segments, each once, how many others cannot be read, and what is to be said of how they were found."""

    counted: list[Placed]
    unread: int
    said: list[Finding]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Where the run of a directory stands: its segments, each once, and what they come to so far."""

    run_id: str
    model: str
    purpose: str
    ranks_expected: int
    operations: Operations
    segments: tuple[SegmentSum, ...]
    left_out: tuple[str, ...]  # why of what stands in the directory nothing is counted


def read_job(directory: Path, *, workers: int = 1) -> Job:
    """The run of the directory from the ends of its segments.

    Raises: NotALedger: there is none, or no segment has a first record.
    """
    read = read_sums(directory, workers=workers)
    segments, said = _of_one_run([segment for segment in read if isinstance(segment, SegmentSum)])
    unread = [segment for segment in read if isinstance(segment, Unreadable)]
    if not segments:
        raise NotALedger(f"{directory}: no segment can be read: {unread[0].name}: {unread[0].cause}")
    said += [*findings.of_unreadable(unread), *of_folder(directory)]
    once, _ = _each_once(Placed(directory, segment) for segment in segments)
    total = _sum_of(segments[0].genesis.run_id, [one.segment for one in once])
    return Job(
        run_id=total.run_id,
        model=total.model,
        purpose=total.purpose,
        ranks_expected=total.ranks_expected,
        operations=total.operations,
        segments=tuple(one.segment for one in once),
        left_out=tuple(finding.text for finding in said if finding.verdict is not Verdict.WITNESSED),
    )


def read_sums(directory: Path, *, workers: int = 1, devices: bool = False) -> list[SegmentSum | Unreadable]:
    """Every segment of a ledger, from its end where that settles it; ``devices``: as `read_sum`.

    Raises: NotALedger: there is none, or it cannot be read. SchemaFromFuture: a newer auditor wrote it.
    """
    try:
        if not segments_of(directory).is_dir():
            raise NotALedger(f"{directory}: not a ledger: expected a directory with a folder 'segments'")
        paths = segment_paths(directory)
    except OSError as error:
        raise NotALedger(f"{directory}: cannot be read: {error.strerror or error}") from error
    if not paths:
        raise NotALedger(f"{directory}: its folder 'segments' holds no record")
    return list(spread(functools.partial(read_sum, devices=devices), paths, workers=workers, each=_AT_ONCE))


def merge(directories: Sequence[Path], *, workers: int = 1) -> Merged:
    """The sum over all segments of these directories, each segment once; what cannot be read is named.

    Raises: NotALedger: none of the directories has a segment that can be read.
    """
    return conclude(collect(directories, workers=workers))


def collect(directories: Sequence[Path], *, workers: int = 1, devices: bool = False) -> Collected:
    """The segments of these directories; ``devices`` and errors: as `read_sums` and `merge`."""
    placed: list[Placed] = []
    unread: list[Unreadable] = []
    said: list[Finding] = []
    for directory in dict.fromkeys(directories):
        try:
            read = read_sums(directory, workers=workers, devices=devices)
        except NotALedger as error:
            said.append(Finding(Verdict.INCOMPLETE, f"{error}. Nothing of it is counted. {error.remedy}"))
            continue
        unread += [segment for segment in read if isinstance(segment, Unreadable)]
        own, foreign = _of_one_run([segment for segment in read if isinstance(segment, SegmentSum)])
        said += foreign
        said += of_folder(directory)
        placed += [Placed(directory, segment) for segment in own]
    said += findings.of_unreadable(unread)
    if not placed:
        raise NotALedger(" ".join(finding.text for finding in said).removesuffix(NotALedger.default_remedy).rstrip())
    counted, copies = _each_once(placed)
    return Collected(counted, len(unread), said + copies)


def _of_one_run(segments: Sequence[SegmentSum]) -> tuple[list[SegmentSum], list[Finding]]:
    """Those of the run that most segments of the directory belong to, and what is said of the others."""
    runs = Counter(segment.genesis.run_id for segment in sorted(segments, key=order))  # of equals the first, as there
    if len(runs) < 2:
        return list(segments), []
    run_id = max(runs, key=lambda name: runs[name])
    others = [segment for segment in segments if segment.genesis.run_id != run_id]
    said = [
        Finding(
            Verdict.INVALID,
            f"{segment.name} belongs to another run, {segment.genesis.run_id}. It is not counted: give each run a"
            " directory of its own, and name both.",
        )
        for segment in others
    ]
    return [segment for segment in segments if segment.genesis.run_id == run_id], list(findings.capped(said))


def _each_once(placed: Iterable[Placed]) -> tuple[list[Placed], list[Finding]]:
    """Of a segment and its copies, the one under its own name, of these the one with the most lines."""
    first: dict[str, Placed] = {}
    said = []
    for one in sorted(placed, key=lambda p: (p.segment.name != segment_name(p.segment.genesis), -p.segment.head.size)):
        known = first.setdefault(one.segment.genesis.nonce, one)
        if known is not one:
            what = f"{_at(one)} is a copy of {_at(known)}, or begins like it. It is counted once."
            said.append(Finding(Verdict.INVALID if one.directory == known.directory else Verdict.WITNESSED, what))
    return list(first.values()), list(findings.capped(said))


def _at(placed: Placed) -> str:
    return f"{placed.directory}: {placed.segment.name}"


def conclude(collected: Collected) -> Merged:
    """What the segments come to, and all that is to be said of them."""
    counted, unread, said = collected.counted, collected.unread, list(collected.said)
    by_run: dict[str, list[SegmentSum]] = {}
    for one in counted:
        by_run.setdefault(one.segment.genesis.run_id, []).append(one.segment)
    said += _of_twice(counted)
    runs = []
    for run_id, segments in sorted(by_run.items()):
        said += _of_run(segments, unread if len(by_run) == 1 else 0)
        runs.append(_sum_of(run_id, segments))
    operations = add_up([(run.operations, 1) for run in runs])
    said += findings.of_operations(operations)
    missing = findings.missing(said)
    said += findings.floor(said, operations)
    worst = findings.worst(said)
    return Merged(
        runs=tuple(runs),
        operations=operations,
        verdict=worst if worst in (Verdict.INVALID, Verdict.INCOMPLETE) else None,
        findings=tuple(findings.sorted_by_weight(said)),
        missing=missing,
        keys=tuple(sorted({one.segment.key for one in counted})),
    )


def _of_twice(counted: Sequence[Placed]) -> Iterator[Finding]:
    """Places that two segments claim, in different directories."""
    first: dict[tuple[str, str], Placed] = {}
    found = []
    for one in counted:
        known = first.setdefault((one.segment.genesis.run_id, one.segment.name), one)
        if known is not one:
            text = (
                f"{_at(one)} and {known.directory} have two different segments for the same attempt. Both are counted:"
                " find out whether the job was started twice, or two ranks were given one number."
            )
            found.append(Finding(Verdict.INVALID, text))
    yield from findings.capped(found)


def _of_run(segments: Sequence[SegmentSum], unread: int) -> Iterator[Finding]:
    """What is wrong with the segments of a run, and what is missing of them; ``unread``: others that are its own."""
    ranks = {segment.genesis.rank for segment in segments if segment.genesis.role == "rank"}
    launchers = sum(segment.genesis.role == "launcher" for segment in segments)
    yield from findings.of_endings(segments)
    yield from _of_floors(segments)
    yield from findings.of_ranks(segments, _expected(segments), ranks)
    yield from findings.of_launchers(segments, len(segments) - launchers + unread)
    yield from _of_versions(segments)
    yield from _of_resumed(segments)


def _expected(segments: Iterable[SegmentSum]) -> int:
    return max(1, *(segment.genesis.expected_ranks for segment in segments))


def _of_floors(segments: Sequence[SegmentSum]) -> Iterator[Finding]:
    short = [segment for segment in segments if segment.floors]
    if short:
        number = sum(segment.floors for segment in short)
        text = f"Operations may be missing: {len(short)} segments note {number} gaps. `auditor verify` says which."
        yield Finding(Verdict.INCOMPLETE, text)


def _of_versions(segments: Sequence[SegmentSum]) -> Iterator[Finding]:
    """Segments by what wrote and what priced them, where that is not one for all."""
    tables = Counter(segment.genesis.digests.get("formulas", "") for segment in segments if segment.genesis.counter)
    if len(tables) > 1:
        yield Finding(
            Verdict.WITNESSED,
            f"Its segments were priced under {len(tables)} tables of formulas ({_shares(tables, 12)}): each is added up"
            " as its own table has it. `auditor verify` prices all of them by one.",
        )
    versions = Counter(segment.genesis.versions.get("auditor", "") for segment in segments)
    if len(versions) > 1:
        text = f"Its segments were written by {len(versions)} versions of the auditor ({_shares(versions, 20)})."
        yield Finding(Verdict.WITNESSED, text)


def _shares(names: Counter[str], width: int) -> str:
    shown = [f"{name[:width] or 'unnamed'}: {number}" for name, number in names.most_common(_MOST_NAMED)]
    return ", ".join(shown) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _of_resumed(segments: Sequence[SegmentSum]) -> Iterator[Finding]:
    number = sum(segment.resumed > 0 for segment in segments)
    if number:
        yield Finding(
            Verdict.WITNESSED,
            f"{number} segments went on from a kept state. What was given up by that was done, and is part of the sum;"
            " `auditor verify` says how much it is.",
        )


def _sum_of(run_id: str, segments: Sequence[SegmentSum]) -> RunSum:
    steps: Counter[int] = Counter()
    for segment in segments:
        if segment.genesis.role == "rank":
            steps[segment.genesis.rank] += segment.steps
    sources = Counter(segment.source for segment in segments)
    first = min(segments, key=order)
    return RunSum(
        run_id=run_id,
        model=first.genesis.model,
        purpose=first.genesis.purpose,
        operations=add_up([(segment.operations, 1) for segment in segments]),
        steps=max(steps.values(), default=0),
        ranks_expected=_expected(segments),
        ranks_seen=len(steps),
        attempts=sum(segment.genesis.role == "rank" for segment in segments),
        segments=len(segments),
        lines=sum(segment.head.size for segment in segments),
        sources={source: sources[source] for source in (SEAL, TOTALS, WHOLE)},
        started=min(segment.started for segment in segments),
        ended="" if any(segment.live for segment in segments) else max(segment.ended for segment in segments),
    )
