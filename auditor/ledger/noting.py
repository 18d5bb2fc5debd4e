"""Heads of other segments, noted where they cannot be taken back, and held against what stands there now.

A head is noted from the end of the other file alone: how many bytes it has up to a checkpoint's end, and that
checkpoint's signature, which is over all lines before it. What can be noted of others at the end of a run of many
processes is bounded for each: the launcher notes all, any other process the few that follow it in the order of names.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from itertools import groupby
from typing import IO, TYPE_CHECKING, NamedTuple

from auditor.errors import AuditorError, LedgerInvalid
from auditor.ledger.findings import Finding, Verdict, capped
from auditor.ledger.log import last_checkpoint
from auditor.ledger.packed import open_segment
from auditor.ledger.places import SUFFIX, name_of, read_name, segment_path
from auditor.lines import read_checkpoint
from auditor.records import MOST_NOTED, NotedHeads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.inspection import SegmentReading

_NEIGHBOURS = 8
_NEIGHBOURS_WITHIN_S, _ALL_WITHIN_S = 0.5, 10.0  # a shared file system may be slow, and a training wants to end
_FIRST_TAIL_BYTES, _LAST_TAIL_BYTES = 4 * 2**10, 4 * 2**20
_CHECKPOINT = re.compile(rb'\[[0-9]+,"checkpoint",\["([^"]*)"\]\]\n')
_LONGEST_CHECKPOINT_BYTES = 160


class _Noted(NamedTuple):
    """What one segment says of another."""

    name: str
    size_bytes: int
    signature: str
    by: str


def note_others(path: Path, *, everything: bool) -> list[NotedHeads]:
    """The record of where the other segments beside ``path`` stand; none where there is no other."""
    names = _names_beside(path)
    after = [name for name in names if name > path.name] + [name for name in names if name < path.name]
    if everything:  # beside those that were noted at its beginning
        return _note(path, after, MOST_NOTED - _NEIGHBOURS, _ALL_WITHIN_S)
    return _note(path, after, _NEIGHBOURS, _NEIGHBOURS_WITHIN_S)


def note_earlier(path: Path) -> list[NotedHeads]:
    """The record of where the latest earlier attempts of the same rank, or launcher, stand."""
    place = read_name(path.name)
    if place is None or place.process or not place.attempt:
        return []
    stem = path.name.partition(".")[0]
    names = [name for name in _names_beside(path) if name.startswith(f"{stem}.") and name < path.name]
    return _note(path, names[::-1], _NEIGHBOURS, _NEIGHBOURS_WITHIN_S)


def _names_beside(path: Path) -> list[str]:
    try:
        names = {name_of(name) for name in os.listdir(path.parent)}  # noqa: PTH208 - thousands
    except OSError:
        return []
    return sorted(name for name in names - {path.name} if name.endswith(SUFFIX))


def _note(path: Path, names: Sequence[str], most: int, within_s: float) -> list[NotedHeads]:
    until_s = time.monotonic() + within_s
    heads = []
    for name in names[:most]:
        if time.monotonic() > until_s:
            break
        if not read_name(name):
            continue
        head = last_head(segment_path(path.parent.parent, name))
        if head is not None:
            heads.append((name, *head))
    return [NotedHeads(heads=tuple(heads), others=len(names) - len(heads))] if heads else []


def last_head(path: Path) -> tuple[int, str] | None:
    """How many bytes the file has up to the end of its last checkpoint, and its signature; None where none is found."""
    with contextlib.suppress(OSError, AuditorError), open_segment(path) as file:
        end, size = file.seek(0, os.SEEK_END), _FIRST_TAIL_BYTES
        while True:
            found = _last_in_tail(file, end, min(size, end))
            if found or size >= min(end, _LAST_TAIL_BYTES):
                return found
            size *= 8
    return None


def _last_in_tail(file: IO[bytes], end: int, size: int) -> tuple[int, str] | None:
    file.seek(end - size)
    *lines, rest = file.read(size).split(b"\n")
    at = last_checkpoint(lines)
    if at is None or (at == 0 and size < end):  # nothing is known of a line whose beginning was not read
        return None
    after = sum(map(len, lines[at + 1 :])) + len(lines) - at - 1 + len(rest)
    return end - after, read_checkpoint(lines[at]) or ""


def check_noted(directory: Path, segments: Sequence[SegmentReading], unreadable: Iterable[str]) -> Iterator[Finding]:
    """What segments noted of others, held against these: what is missing from them, and what was changed."""
    there = {segment.name: segment for segment in segments}
    unread = set(unreadable)
    noted = sorted({_Noted(*head, segment.name) for segment in segments for head in segment.noted})
    found = []
    for name, heads in groupby(noted, key=lambda head: head.name):
        if name not in there and name not in unread:
            found.append(_missing(list(heads)[-1]))
        elif name in there and not there[name].broken:
            of_name = list(heads)
            found += _of_one(_standing(directory, of_name), there[name], of_name)
    yield from capped(found)


def _missing(head: _Noted) -> Finding:
    text = f"{head.name} is missing: {head.by} had noted it with {head.size_bytes} bytes. What it did is not counted."
    return Finding(Verdict.INCOMPLETE, text)


def _of_one(standing: set[_Noted], segment: SegmentReading, heads: Sequence[_Noted]) -> Iterator[Finding]:
    """``standing``: those of the heads whose checkpoint ends where it was noted."""
    longest = heads[-1]
    if longest.size_bytes > segment.sound_bytes and longest not in standing:  # or it grew while we read
        lost = longest.size_bytes - segment.sound_bytes
        yield Finding(
            Verdict.INCOMPLETE,
            f"{segment.name} is cut short: {longest.by} had noted it with {longest.size_bytes} bytes, it has"
            f" {segment.sound_bytes}. At least {lost} bytes of records of {_whose(segment)} are missing from its end; a"
            " loss of power can do that, and so can whoever has the directory.",
        )
    stand = [head for head in heads if head.size_bytes <= segment.sound_bytes]
    false = next((head for head in stand if head not in standing), None)
    if false:
        yield Finding(
            Verdict.DIVERGED,
            f"{segment.name} is not what it was: after {false.size_bytes} bytes it had another head when"
            f" {false.by} noted it. One of the two was written anew.",
        )


def _whose(segment: SegmentReading) -> str:
    return "the launcher" if segment.genesis.role == "launcher" else f"rank {segment.genesis.rank}"


def _standing(directory: Path, heads: Sequence[_Noted]) -> set[_Noted]:
    """Of the heads of one segment, those whose checkpoint ends where it was noted."""
    with contextlib.suppress(OSError, LedgerInvalid), open_segment(segment_path(directory, heads[0].name)) as file:
        return {head for head in heads if _stands(file, head)}
    return set()


def _stands(file: IO[bytes], head: _Noted) -> bool:
    size = min(head.size_bytes, _LONGEST_CHECKPOINT_BYTES)
    file.seek(head.size_bytes - size)
    line = file.read(size).split(b"\n")[-2:]
    match = _CHECKPOINT.fullmatch(b"\n".join(line))
    return match is not None and match[1].decode("latin-1") == head.signature
