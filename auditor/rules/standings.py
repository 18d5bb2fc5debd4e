"""Where rules stood from which day on: their histories, each read strictly, and held against the dates of the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.rules.certainty import Certainty
from auditor.rules.model import ENDED, Standing, Status
from auditor.rules.places import Names, day, sources, word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from auditor.documents import Node


def history(node: Node, names: Names) -> tuple[Status, ...]:
    """Where a rule stood from which day on: a list of its own, or the name of one that rules share."""
    if not isinstance(node.value, str):
        past = tuple(_status(part, names) for part in node)
        for part, before, one in zip(node.items()[1:], past[:-1], past[1:], strict=True):
            if one.since <= before.since:
                part.fields()["date"].fail(f"dates that rise from one status to the next: one after {before.since}")
        return past
    if node.value not in names.histories:
        node.unknown(node.value, tuple(names.histories))
    return names.histories[node.value]


def _status(node: Node, names: Names) -> Status:
    fields = node.fields(
        required=("date", "status", "enforced", "note", "sources", "certainty"), optional=("fines_held_back",)
    )
    standing = word(fields["status"], Standing)
    enforced = None if fields["enforced"].text() == "unknown" else fields["enforced"].flag()
    if enforced and standing is not Standing.IN_FORCE:
        fields["enforced"].fail(f"false or unknown for the status {standing}")
    held_back = "fines_held_back" in fields and fields["fines_held_back"].flag()
    if held_back and not enforced:
        fields["fines_held_back"].fail("a status that is enforced, which binds without fines too")
    return Status(
        since=day(fields["date"]),
        standing=standing,
        enforced=enforced,
        fines_held_back=held_back,
        note=fields["note"].text(),
        sources=sources(fields["sources"], names),
        certainty=word(fields["certainty"], Certainty),
    )


def check_dates(node: Node, past: Sequence[Status], dates: Mapping[str, date | None]) -> None:
    """Raise where the history and the dates of a rule contradict one another."""
    if not past:
        node.fail("at least one status")
    effective, compliance, ended = dates["effective"], dates["compliance"], dates["ended"]
    if effective is not None and not any(
        status.since == effective and status.standing is Standing.IN_FORCE for status in past
    ):
        node.fail(f"the status in_force on the effective date {effective}")
    if compliance is not None and (effective is None or compliance < effective):
        node.fail(f"a compliance date not before the effective date, with compliance on {compliance}")
    last = past[-1]
    must_end = last.standing in ENDED and effective is not None
    if (must_end and ended is None) or (ended is not None and (last.standing not in ENDED or ended != last.since)):
        node.fail(f"an ended date that is the day of the last status, with {last.standing} on {last.since}")
