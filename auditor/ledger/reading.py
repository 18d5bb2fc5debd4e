"""The verdict on a directory: every segment checked, each counted once, and what is missing said in words."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import LedgerInvalid, NotALedger
from auditor.ledger import agreement, findings, resuming
from auditor.ledger.curve import Point
from auditor.ledger.effort import ALONE, Effort, read_all
from auditor.ledger.findings import Finding, Verdict
from auditor.ledger.folder import of_folder
from auditor.ledger.inspection import SegmentReading, Unreadable, read_segment
from auditor.ledger.noting import check_noted
from auditor.ledger.outside import NOTHING, Outside, gather, of_coverage
from auditor.ledger.places import (
    cuttings_of,
    open_regular,
    segment_name,
    segment_path,
    segment_paths,
    segments_of,
)
from auditor.ledger.prices import Recount
from auditor.ledger.trust import Keys
from auditor.operations import add_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditor.ledger.detail import Detail
    from auditor.ledger.findings import Ended
    from auditor.ledger.notices import NotedGap
    from auditor.operations import Operations
    from auditor.records import Exit, Hardware, Recovered, SecondOpinion, Weights

__all__ = ["Point", "Reading", "Recount", "SegmentReading", "Verdict", "read_ledger"]

_ROLES = ("rank", "process", "launcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a ledger says, and what it is worth. ``ended`` is "" while it is being written."""

    directory: Path
    run_id: str
    model: str
    purpose: str
    command: tuple[str, ...]
    started: str
    ended: str
    steps: int  # of the rank that took the most, over all its attempts, without those that were abandoned
    operations: Operations  # the sum over all segments, recounted where a recount was asked for
    abandoned: Operations  # the part of them that was given up when the run went on from an earlier state
    abandoned_steps: int  # of the rank that gave up the most
    verdict: Verdict
    reasons: tuple[str, ...]  # the worst first
    missing: tuple[str, ...]  # of these, why operations may be missing from what has been written so far
    records: int
    ranks_expected: int
    ranks_seen: int
    head: str  # over the names and heads of all segments
    gaps: tuple[NotedGap, ...]  # segment by segment
    second_opinions: tuple[SecondOpinion, ...]
    hardware: tuple[Hardware, ...]  # what was seen of devices during the run, segment by segment
    counters: tuple[str, ...]  # which counted, in any process
    devices: Mapping[int, tuple[Mapping[str, str], ...]]  # by rank, as its latest attempt saw them
    weights: tuple[Weights, ...]  # checkpoints that were saved and loaded, segment by segment
    exit: Exit | None  # of the latest launcher
    segments: tuple[SegmentReading, ...]
    ends: Mapping[str, int] | None = None  # segments by what their sums rest on, where no more of them was read


def read_ledger(
    directory: Path,
    *,
    recount: Recount | None,
    trusted_key: str | None = None,
    outside: Outside = NOTHING,
    effort: Effort = ALONE,
) -> Reading:
    """The reading of a ledger; what is false or missing in it is told in the verdict and its reasons.

    recount: prices every tally again; None takes the recorded amounts. trusted_key: the public key, in
    hexadecimal, that must have signed, or have been followed by the one that did. outside: what the ledger is held
    against. effort: how it is read.
    Raises: NotALedger: there is none, or none that a crash let begin. SchemaFromFuture: a newer auditor wrote it.
    LedgerInvalid: no segment has a first record that can be read, and one was changed. NoteError: a head to hold it
    against is falsely signed.
    """
    read = list(read_all(_paths(directory), recount, effort))
    unreadable = [segment for segment in read if isinstance(segment, Unreadable)]
    segments = sorted((segment for segment in read if isinstance(segment, SegmentReading)), key=order)
    if not segments:
        raise _nothing_read(directory, unreadable)
    counted, said = _separate(segments)
    comparison = gather(directory, counted, outside)
    keys = Keys(counted, trusted_key, outside.revocations)
    again = functools.partial(_again, directory, recount, effort.detail(len(read)))
    counted, limited = keys.limit(counted, comparison.covered, again)
    said += comparison.findings
    said += limited
    said += keys.findings(counted)
    counted, resumed = resuming.settle(directory, counted, recount, effort.workers)
    said += resumed
    said += findings.of_segments(counted)
    said += findings.of_unreadable(unreadable)
    said += of_folder(directory)
    said += _of_cuttings(directory, counted)
    said += check_noted(directory, counted, [segment.name for segment in unreadable])
    said += findings.of_folded(counted)
    if recount:
        said += findings.of_recount(counted, recount.digest)
    return _conclude(directory, counted, len(unreadable), said, of_coverage(counted, comparison))


def _again(
    directory: Path, recount: Recount | None, detail: Detail, segment: SegmentReading, until: int
) -> SegmentReading:
    """The segment up to a checkpoint that it was found to have."""
    read = read_segment(segment_path(directory, segment.name), recount, until=until, detail=detail)
    if isinstance(read, Unreadable):
        raise LedgerInvalid(f"{segment.name} changed while it was read")
    return read


def _paths(directory: Path) -> list[Path]:
    try:
        if not segments_of(directory).is_dir():
            raise NotALedger(f"{directory}: not a ledger: expected a directory with a folder 'segments'")
        paths = segment_paths(directory)
    except OSError as error:
        raise NotALedger(f"{directory}: cannot be read: {error.strerror or error}") from error
    if not any(map(_may_hold_something, paths)):
        raise NotALedger(f"{directory}: its folder 'segments' holds no record")
    return paths


def _may_hold_something(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except OSError:  # it was compressed since: whoever opens it finds it
        return True


def _nothing_read(directory: Path, unreadable: Sequence[Unreadable]) -> LedgerInvalid | NotALedger:
    """What to say where no segment has a first record: it is false, or a crash came before there was one."""
    worst = max(unreadable, key=lambda segment: segment.false)
    kind = LedgerInvalid if worst.false else NotALedger
    return kind(f"{directory}: no segment can be read: {worst.name}: {worst.cause}")


def order(segment: Ended) -> tuple[int, int, int, str]:
    """Where a segment stands among those of a run: ranks, other processes, launchers; in these by rank and attempt."""
    genesis = segment.genesis
    return _ROLES.index(genesis.role), genesis.rank, genesis.attempt, segment.name


def _separate(segments: Sequence[SegmentReading]) -> tuple[list[SegmentReading], list[Finding]]:
    """The segments of this run, each once, and what is said of the others."""
    runs = Counter(segment.genesis.run_id for segment in segments)
    run_id = max(runs, key=lambda name: runs[name])
    kept: dict[str, SegmentReading] = {}
    said = []
    others: dict[str, list[str]] = {}
    # Of a segment and its copies the one under its own name is the segment.
    for segment in sorted(segments, key=lambda s: s.name != segment_name(s.genesis)):
        first = kept.get(segment.genesis.nonce)
        if segment.genesis.run_id != run_id:
            others.setdefault(segment.genesis.run_id, []).append(segment.name)
        elif first:
            text = f"{segment.name} is a copy of {first.name}, or begins like it. It is counted once."
            said.append(Finding(Verdict.INVALID, text))
        else:
            kept[segment.genesis.nonce] = segment
    said += findings.of_other_runs(others)
    return sorted(kept.values(), key=order), said


def _of_cuttings(directory: Path, segments: Sequence[SegmentReading]) -> Iterator[Finding]:
    """What recoveries cut, and whether it is still there as it was cut."""
    for cut in (cut for segment in segments for cut in segment.recovered):
        yield Finding(
            Verdict.WITNESSED,
            f"At a later start, {cut.cut_bytes} bytes of a record that was never finished were cut from "
            f"{cut.segment} and kept as {cut.kept_as}.",
        )
        yield from _of_cutting(directory, cut)


def _of_cutting(directory: Path, cut: Recovered) -> Iterator[Finding]:
    name = cut.kept_as.removeprefix("cut/")
    try:
        with open_regular(cuttings_of(directory) / name.replace("/", "_")) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        yield Finding(Verdict.INCOMPLETE, f"{cut.kept_as} cannot be read: {error}.")
        return
    if digest != cut.sha256:
        yield Finding(Verdict.INVALID, f"{cut.kept_as} is not what was cut: its bytes were changed.")


def _conclude(
    directory: Path,
    segments: Sequence[SegmentReading],
    unreadable: int,
    said: list[Finding],
    coverage: Finding | None,
) -> Reading:
    first = segments[0]
    launchers = [segment for segment in segments if segment.genesis.role == "launcher"]
    ranks = {segment.genesis.rank for segment in segments if segment.genesis.role == "rank"}
    expected = max(1, *(segment.genesis.expected_ranks for segment in segments))
    operations = add_up([(segment.operations, 1) for segment in segments])
    said += findings.of_ranks(segments, expected, ranks)
    said += agreement.of_ranks(segments)
    said += findings.of_launchers(segments, len(segments) - len(launchers) + unreadable)
    said += findings.of_operations(operations)
    missing = findings.missing(said)
    said += findings.floor(said, operations)
    said[:0] = findings.of_anchors(said, coverage)
    return Reading(
        directory=directory,
        run_id=first.genesis.run_id,
        model=first.genesis.model,
        purpose=first.genesis.purpose,
        command=(launchers or [first])[-1].genesis.command,
        started=min(segment.started for segment in segments),
        ended="" if any(segment.live for segment in segments) else max(segment.ended for segment in segments),
        steps=_most(segments, lambda segment: segment.steps - segment.abandoned_steps),
        operations=operations,
        abandoned=add_up([(segment.abandoned, 1) for segment in segments]),
        abandoned_steps=_most(segments, lambda segment: segment.abandoned_steps),
        verdict=findings.worst(said),
        reasons=tuple(finding.text for finding in findings.sorted_by_weight(said)),
        missing=missing,
        records=sum(segment.records for segment in segments),
        ranks_expected=expected,
        ranks_seen=len(ranks),
        head=head_of_all(segments),
        gaps=tuple(gap for segment in segments for gap in segment.gaps),
        second_opinions=tuple(opinion for segment in segments for opinion in segment.second_opinions),
        hardware=tuple(seen for segment in segments for seen in segment.hardware),
        counters=tuple(sorted({segment.genesis.counter for segment in segments} - {""})),
        devices=devices_of(segments),
        weights=tuple(weights for segment in segments for weights in segment.weights),
        exit=next((segment.exit for segment in reversed(launchers) if segment.exit), None),
        segments=tuple(segments),
    )


def _most(segments: Sequence[SegmentReading], steps_of: Callable[[SegmentReading], int]) -> int:
    """Of the rank that has the most, over all its attempts."""
    steps: Counter[int] = Counter()
    for segment in segments:
        if segment.genesis.role == "rank":
            steps[segment.genesis.rank] += steps_of(segment)
    return max(steps.values(), default=0)


def devices_of(segments: Iterable[Ended]) -> dict[int, tuple[Mapping[str, str], ...]]:
    """By rank, as the last of its attempts here saw them; another process speaks only for a rank without a segment."""
    found: dict[int, tuple[Mapping[str, str], ...]] = {}
    for role in ("process", "rank"):
        found |= {s.genesis.rank: s.genesis.devices for s in segments if s.genesis.role == role}
    return dict(sorted(found.items()))


def head_of_all(segments: Iterable[Ended]) -> str:
    """One digest over the names and heads of all segments."""
    lines = sorted(f"{segment.name}\t{segment.head.size}\t{segment.head.root}\n" for segment in segments)
    return hashlib.sha256(b"auditor.ledger-head/2\n" + "".join(lines).encode()).hexdigest()
