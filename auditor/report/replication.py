"""How often ranks updated the same parameters: each wrote what it updates, and held side by side that shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.records import UPDATED_IN_PART, UPDATED_OFTEN
from auditor.report.layout import Bullets, Heading, Paragraph
from auditor.report.words import plural
from auditor.units import parse_ops, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from auditor.ledger.reading import SegmentReading
    from auditor.records import Updates
    from auditor.report.layout import Block

COUNTED = (
    "Work that several ranks do alike is counted as often as it is done: totals are of operations performed, and "
    "nothing is taken out for it."
)
TOLD = "How often parameters are updated is told by the ranks' records of a step of each optimizer, as last looked at:"
NOT_SHOWN = (
    "What else several ranks compute alike, such as a loss or a norm of replicated tensors, is counted as often as it "
    "is done, and not told apart."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Parameters that a step of an optimizer updates, all of them on equally many ranks of a group.

    Amounts are those of a step of one optimizer, over all ranks of one group. What other groups hold is not known.
    """

    optimizer: str
    kept_by: str
    ranks: int  # of a group
    groups: int = 1  # of which this holds
    optimizers: int = 1  # of each of these
    copies: int  # ranks that update each
    parameters: int
    updates: int
    step_ops: int | None  # of the optimizer's phase; None where it updates others, too
    repeated_ops: int | None  # the part of them that was done again on another rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Replications:
    """What is known of how often parameters are updated; ``unknown``: what is not, in words."""

    known: tuple[Replication, ...]
    unknown: tuple[str, ...]
    partly: bool  # whether some group does not hold all ranks

    @property
    def any(self) -> bool:
        """Whether there is anything to say: not where one process trains alone."""
        return bool(self.known or self.unknown)


class _Part(NamedTuple):
    """What one rank updates of what its group shares."""

    copies: int
    elements: int
    piece: str
    ops: int | None  # of the whole step, where the step updates nothing else


class _Sharing(NamedTuple):
    """An optimizer of ranks that share parameters."""

    optimizer: str
    number: int
    kept_by: str
    ranks: int
    group: str


def gather(segments: Iterable[SegmentReading], ranks_expected: int) -> Replications:
    """What the ranks' records come to; of each optimizer and group, what each rank wrote last."""
    shared: dict[_Sharing, dict[int, list[_Part]]] = defaultdict(dict)
    unknown: dict[tuple[str, str], int] = defaultdict(int)
    for segment in segments:
        if segment.genesis.role == "rank":
            for last in {updates.number: updates for updates in segment.updates}.values():
                for sharing, parts in _shared(last).items():
                    shared[sharing][segment.genesis.rank] = parts
                for reason in _unknown(last):
                    unknown[last.optimizer, reason] += 1
    found: Counter[tuple[Replication, str]] = Counter()
    for sharing, by_rank in shared.items():
        doubt = _doubt(sharing, by_rank)
        if doubt:
            unknown[sharing.optimizer, doubt] += len(by_rank)
        else:
            found.update((one, sharing.group) for one in _replications(sharing, by_rank))
    return Replications(
        known=tuple(sorted(_together(found), key=_order)),
        unknown=tuple(f"{name} on {plural(ranks, 'rank')}: {why}" for (name, why), ranks in sorted(unknown.items())),
        partly=any(sharing.ranks < ranks_expected for sharing in shared),
    )


def _shared(updates: Updates) -> Mapping[_Sharing, list[_Part]]:
    """What is known of an update, by group."""
    found: dict[_Sharing, list[_Part]] = defaultdict(list)
    ops = parse_ops(updates.operations) if updates.operations and len(updates.parts) == 1 else None
    for kept_by, ranks, group, copies, elements, piece in updates.parts:
        if kept_by:
            sharing = _Sharing(updates.optimizer, updates.number, kept_by, ranks, group)
            found[sharing].append(_Part(copies, elements, piece, ops))
    return found


_WHY = {
    UPDATED_OFTEN: "a step updates its parameters several times, until its search has found something",
    UPDATED_IN_PART: "some of its gradients are sparse, and which rows a step updates differs",
}


def _unknown(updates: Updates) -> Iterator[str]:
    for kept_by, _, why, _, elements, _ in updates.parts:
        if not kept_by and why in _WHY:
            yield _WHY[why]
        elif not kept_by and not elements:
            yield "its step is none of torch.optim's, and may divide the parameters among ranks as it likes"
        elif not kept_by:
            yield "parameters of no DistributedDataParallel model that are no DTensors: others may update the same"


def _doubt(sharing: _Sharing, by_rank: Mapping[int, list[_Part]]) -> str:
    """Why nothing can be said of a group; "" where it can."""
    if len(by_rank) < sharing.ranks:
        return f"{len(by_rank):,} of the {sharing.ranks:,} ranks that share its parameters are in the record"
    for copies, pieces in _by_copies(by_rank).items():
        if any(len(holders) != copies or len(set(holders)) > 1 for holders in pieces.values()):
            return "the ranks that hold the same parameters do not update the same ones"
    return ""


def _by_copies(by_rank: Mapping[int, list[_Part]]) -> dict[int, dict[str, list[_Part]]]:
    """By the number of ranks that should hold it, each piece as those have it that do."""
    found: dict[int, dict[str, list[_Part]]] = {}
    for parts in by_rank.values():
        for part in parts:
            found.setdefault(part.copies, {}).setdefault(part.piece, []).append(part)
    return found


def _replications(sharing: _Sharing, by_rank: Mapping[int, list[_Part]]) -> Iterator[Replication]:
    for copies, pieces in _by_copies(by_rank).items():
        once = [holders[0] for holders in pieces.values()]
        parameters = sum(part.elements for part in once)
        each = [part.ops for part in once]
        ops = None if None in each else sum(filter(None, each))
        again = None if ops is None else ops * (copies - 1)
        yield Replication(
            optimizer=sharing.optimizer,
            kept_by=sharing.kept_by,
            ranks=sharing.ranks,
            copies=copies,
            parameters=parameters,
            updates=parameters * copies,
            step_ops=None if ops is None else ops * copies,
            repeated_ops=again if copies > 1 else 0,
        )


def _together(found: Mapping[tuple[Replication, str], int]) -> Iterator[Replication]:
    """Equal ones of several groups as one; ``found``: of how many optimizers of a group each holds."""
    alike = Counter((one, optimizers) for (one, _), optimizers in found.items())
    for (one, optimizers), groups in alike.items():
        yield replace(one, groups=groups, optimizers=optimizers)


def _order(one: Replication) -> tuple[str, str, int, int, int, int]:
    return one.optimizer, one.kept_by, -one.copies, one.ranks, one.parameters, one.step_ops or 0


def sentence(one: Replication) -> str:
    """What is known of one row, in words."""
    who = one.optimizer if one.optimizers == 1 else f"{one.optimizers:,} {one.optimizer} optimizers, each"
    where = f"on {plural(one.ranks, 'rank')}"
    if one.groups > 1:
        where = f"in each of {one.groups:,} groups of {plural(one.ranks, 'rank')}"
    return (
        f"{who} {where} ({one.kept_by}): {plural(one.updates, 'update')} of {plural(one.parameters, 'parameter')} "
        f"in a step, {_times_each(one)}."
    )


def _times_each(one: Replication) -> str:
    if one.copies == 1:
        return "once each: nothing is repeated"
    if one.step_ops is None or one.repeated_ops is None:
        return f"{one.copies:,} times each; the step updates others as well, and its operations are not told apart"
    return (
        f"{one.copies:,} times each; of the {one.step_ops:,} operations of the optimizer phase in it, "
        f"{one.repeated_ops:,} were done again on another rank"
    )


def notes(found: Replications) -> tuple[str, ...]:
    """What that leaves open."""
    beyond = "What ranks outside of a group hold is not known: they may update the same parameters."
    return (*((beyond,) if found.partly and found.known else ()), NOT_SHOWN)


def blocks(found: Replications, most_rows: int) -> Iterator[Block]:
    """The part of the terminal's report; nothing where one process trains alone."""
    if not found.any:
        return
    yield Heading("Replicated work")
    yield Paragraph(COUNTED)
    if found.known:
        yield Paragraph(TOLD)
        yield Bullets(tuple(map(sentence, found.known[:most_rows])))
    if len(found.known) > most_rows:
        yield Paragraph(f"And {len(found.known) - most_rows:,} more; all of them are in the JSON report.")
    if found.unknown:
        yield Paragraph("How often the same parameters are updated is not known of:", "open")
        yield Bullets(found.unknown[:most_rows])
    yield from (Paragraph(text, "quiet") for text in notes(found))


def to_plain(found: Replications) -> dict[str, Any]:
    """For JSON; amounts of operations are text."""
    return {
        "updates": [
            {
                "optimizer": one.optimizer,
                "optimizers": one.optimizers,
                "kept_by": one.kept_by,
                "groups": one.groups,
                "ranks": one.ranks,
                "parameters": one.parameters,
                "updates": one.updates,
                "times": one.copies,
                "operations": None if one.step_ops is None else wire(one.step_ops),
                "repeated": None if one.repeated_ops is None else wire(one.repeated_ops),
            }
            for one in found.known
        ],
        "unknown": list(found.unknown),
    }
