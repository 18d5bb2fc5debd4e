"""A ledger held against heads from outside of it: what they cover, and where they contradict it.

A head covers the lines that stood when it was taken, and nothing after them. What makes a head one from outside is not
in its file: either whoever verifies has kept it (`Held`), or a witness whom they trust has co-signed it, and then it
may lie in the ledger's own directory. The list of witnesses is theirs too; the ledger has none that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import NoteError
from auditor.ledger.findings import Finding, Verdict, capped
from auditor.ledger.merkle import Frontier, leaf_hashes
from auditor.ledger.notes import Signer, head_of, origin_of
from auditor.ledger.packed import open_segment
from auditor.ledger.places import segment_path, witnessed_of
from auditor.ledger.signed import SignedHead, read_head, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.cosigning import Witness
    from auditor.ledger.inspection import SegmentReading
    from auditor.ledger.revocation import Revocation

_BLOCK_BYTES = 256 * 2**10
_MOST_NAMED = 5


class Held(NamedTuple):
    """A head that whoever verifies has kept, and what they call it."""

    source: str
    head: SignedHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What whoever verifies brings along. ``quorum``: of the witnesses, how many must have co-signed a head."""

    held: tuple[Held, ...] = ()
    lost: tuple[str, ...] = ()  # short texts whose heads are no longer in the directory
    witnesses: tuple[Witness, ...] = ()
    quorum: int = 0
    revocations: tuple[Revocation, ...] = ()


NOTHING = Outside()


class Evidence(NamedTuple):
    """A head that counts as one from outside; it existed at ``since_s``, as witnesses say (None: its holder knows)."""

    head: SignedHead
    source: str
    since_s: int | None


class Covered(NamedTuple):
    """The lines of a segment that a head from outside covers."""

    lines: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the evidence comes to, by the names of segments and the longest last, and what is to be said of it."""

    covered: dict[str, list[Covered]]
    findings: list[Finding]


def gather(directory: Path, segments: Sequence[SegmentReading], outside: Outside) -> Comparison:
    """The evidence there is, held against the segments.

    Raises: NoteError: a head that is held bears a false signature of the ledger's key or of a witness.
    """
    evidence = [Evidence(held.head, held.source, _since(held.head, outside)) for held in outside.held]
    said = [
        Finding(Verdict.INCOMPLETE, f"The heads that {text!r} stands for are not in anchors/ as they were: nothing"
                " can be held against them.")
        for text in outside.lost
    ]  # fmt: skip
    if outside.witnesses:
        stored, faults = _stored(directory, outside)
        evidence += stored
        said += faults
    return _compare(directory, segments, evidence, said)


def _since(head: SignedHead, outside: Outside) -> int | None:
    """From when on the head is known to have existed: the time at which the quorum was reached."""
    times = sorted(time_s for witness in outside.witnesses if (time_s := witness.time_of(head)) is not None)
    return times[outside.quorum - 1] if 0 < outside.quorum <= len(times) else None


def _stored(directory: Path, outside: Outside) -> tuple[list[Evidence], list[Finding]]:
    """Heads in the directory that enough witnesses have co-signed, and those that bear a false cosignature."""
    evidence, said = [], []
    for path in sorted(witnessed_of(directory).glob("*.note")):
        try:
            head = read_head(read_text(path))
            since_s = _since(head, outside)
        except NoteError as error:
            said.append(Finding(Verdict.UNANCHORED, f"witnessed/{path.name} does not count: {error}."))
            continue
        if since_s is not None:
            evidence.append(Evidence(head, f"witnessed/{path.name}", since_s))
    return evidence, list(capped(said))


def _compare(
    directory: Path, segments: Sequence[SegmentReading], evidence: Iterable[Evidence], said: list[Finding]
) -> Comparison:
    by_origin: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_origin.setdefault(item.head.origin, []).append(item)
    covered: dict[str, list[Covered]] = {}
    contradictions: list[Finding] = []
    for segment in segments:
        items = by_origin.pop(origin_of(segment.genesis), [])
        if items:
            _compare_one(directory, segment, items, covered, contradictions)
    contradictions += [_absent(items[-1], segments) for items in by_origin.values()]
    return Comparison(covered, [*capped(contradictions), *said])


def _compare_one(
    directory: Path,
    segment: SegmentReading,
    items: list[Evidence],
    covered: dict[str, list[Covered]],
    contradictions: list[Finding],
) -> None:
    roots = _roots_at(directory, segment, {item.head.head.size for item in items})
    for item in sorted(items, key=lambda item: item.head.head.size):
        signed = any(signer.vouches_for(item.head) for signer in _signers(segment))
        size, root = item.head.head
        if size > segment.head.size:
            contradictions.append(_rolled_back(segment, item, signed=signed))
        elif roots.get(size) != root:
            contradictions.append(_another(segment, item, signed=signed))
        else:
            covered.setdefault(segment.name, []).append(Covered(size, item))


def _signers(segment: SegmentReading) -> list[Signer]:
    origin = origin_of(segment.genesis)
    return [Signer(origin, key) for key in segment.keys]


def _roots_at(directory: Path, segment: SegmentReading, sizes: set[int]) -> dict[int, str]:
    """The roots that the segment's first lines have, by how many; of sizes that it does not have, none."""
    roots = {segment.head.size: segment.head.root, 0: head_of(Frontier()).root}
    earlier = {size for size in sizes if 0 < size < segment.head.size}
    if earlier:
        with open_segment(segment_path(directory, segment.name)) as file:
            roots |= dict(roots_of(iter(lambda: file.read(_BLOCK_BYTES), b""), earlier))
    return roots


def roots_of(blocks: Iterable[bytes], sizes: Iterable[int]) -> Iterator[tuple[int, str]]:
    """The roots of the trees over the first lines of what the blocks hold, for each of these numbers of lines."""
    tree, rest = Frontier(), b""
    wanted = sorted(sizes, reverse=True)
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        while wanted and wanted[-1] <= tree.size + len(lines):
            number = wanted.pop() - tree.size
            tree.extend(leaf_hashes(lines[:number]))
            lines = lines[number:]
            yield head_of(tree)
        if not wanted:
            return
        tree.extend(leaf_hashes(lines))


def _rolled_back(segment: SegmentReading, item: Evidence, *, signed: bool) -> Finding:
    return Finding(
        Verdict.DIVERGED,
        f"{segment.name} was cut back: {item.source} holds a head of {item.head.head.size} lines"
        f"{_by_whom(item, signed=signed)}, and here it has {segment.head.size}.",
    )


def _another(segment: SegmentReading, item: Evidence, *, signed: bool) -> Finding:
    return Finding(
        Verdict.DIVERGED,
        f"{segment.name} is not what it was: {item.source} holds another head of its first {item.head.head.size} lines"
        f"{_by_whom(item, signed=signed)}. One of the two histories was written afterwards.",
    )


def _by_whom(item: Evidence, *, signed: bool) -> str:
    if signed:
        return ", signed by the ledger's own key"
    return "" if item.since_s is not None else ", which no key of this ledger signed"


def _absent(item: Evidence, segments: Sequence[SegmentReading]) -> Finding:
    origin, size = item.head.origin, item.head.head.size
    runs = {_run_of(origin_of(segment.genesis)) for segment in segments}
    if _run_of(origin) in runs:
        what = f"with {size} lines, and there is no such segment here"
    else:
        what = "which is of another run: this is not the ledger that it was taken of"
    return Finding(Verdict.DIVERGED, f"{item.source} holds a head of {origin}, {what}.")


def _run_of(origin: str) -> str:
    return origin.rpartition("/")[0].rpartition("/")[0]


def of_coverage(segments: Sequence[SegmentReading], comparison: Comparison) -> Finding | None:
    """How much of the ledger heads from outside cover; None where none covers anything."""
    covered = {name: items[-1] for name, items in comparison.covered.items()}
    lines = sum(covered[segment.name].lines for segment in segments if segment.name in covered)
    sizes = {segment.name: segment.head.size for segment in segments}
    whole = [name for name, item in covered.items() if item.lines == sizes.get(name)]
    if not lines:
        return None
    if len(whole) == len(segments):
        return Finding(
            Verdict.WITNESSED,
            f"The last head of every segment agrees with heads held elsewhere{_when(covered.values())}: whatever was"
            " written anew since then, even with the same key, would show.",
        )
    total = sum(segment.head.size for segment in segments)
    return Finding(
        Verdict.UNANCHORED,
        f"Heads held elsewhere cover {lines} of {total} lines, and {len(whole)} of {len(segments)} segments to their"
        f" end{_when(covered.values())}. What was written after them rests on the key alone: with it, that part could"
        " have been written anew.",
    )


def _when(covered: Iterable[Covered]) -> str:
    """Since when witnesses know the heads, and of which the verifier alone says that they were kept elsewhere."""
    evidence = [item.evidence for item in covered]
    times = [item.since_s for item in evidence if item.since_s is not None]
    kept = sorted({item.source for item in evidence if item.since_s is None})
    said = f", co-signed no later than {time_of_day(max(times))}" if times else ""
    return said + (f", on the word of whoever kept {', '.join(kept[:_MOST_NAMED])}" if kept else "")


def time_of_day(time_s: int) -> str:
    """The time of day in UTC, to the second."""
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"second {time_s} since 1970"
