"""What the report says in sentences, from a view; the same in the terminal and in HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.report.merged import not_recounted
from auditor.report.words import after, conjoined, joined, listing, percent, plural, sentence, status_words
from auditor.units import scientific, share, threshold

if TYPE_CHECKING:
    from auditor.report.opinions import Opinion
    from auditor.report.view import Event, View
    from auditor.rules.verdict import Finding


def count(view: View) -> str:
    """How much was counted, of what, and whether that is all of it."""
    amount = scientific(view.operations.total)
    floor = "at least " if view.floor else ""
    return (
        f"Model {view.run.model or '(no name given)'}: {floor}{amount} operations counted "
        f"in {plural(view.run.steps, 'step')}."
    )


def ends(view: View) -> str:
    """That nothing was recounted, and what a report of the ends does not have; "" where all of it was read."""
    if view.ledger.ends is None:
        return ""
    return (
        f"{not_recounted(view.ledger.ends)} So this report has no course of the count, no pace, nothing of what devices"
        " did and no second opinion; of gaps and of weights that were loaded it has the number alone, and what was"
        " given up is not told apart."
    )


def completeness(view: View) -> str:
    """Why the count is whole, or why it is only a floor."""
    if view.complete and not view.recounted:
        return "By their ends nothing is missing, and every operator seen has a formula; nothing was recounted."
    if view.complete:
        of = "count of this run" if view.floor else "count"
        return f"The {of} is complete: every operator seen has a formula, and the record is whole."
    return sentence(["The count is a floor, not the whole", *_missing(view)])


def _missing(view: View) -> list[str]:
    parts = []
    if view.unpriced:
        names = listing([op for op, _ in view.unpriced], 3)
        parts.append(f"{plural(len(view.unpriced), 'operator')} without a formula ({names})")
    if view.ledger.ranks_seen < view.ledger.ranks_expected:
        parts.append(f"{view.ledger.ranks_seen:,} of {view.ledger.ranks_expected:,} ranks are in the record")
    if view.ledger.verdict in {"INVALID", "DIVERGED", "INCOMPLETE"}:
        parts.append(f"the record is {view.ledger.verdict}")
    return parts


def ancestry(view: View) -> tuple[str, ...]:
    """What is known of the weights that the run was made from, and what of it was given up."""
    said = []
    known = view.ancestry
    if known.unknown:
        said.append(f"For the model this is a lower bound: {listing(known.unknown, 3)}. What that took is not counted.")
    if known.models:
        said.append(f"The model descends from {listing(known.models, 3)}: each law below counts of these what it does.")
    beside = [f"{scientific(known.recorded_ops)} are recorded elsewhere"] if known.recorded_ops else []
    beside += [f"{scientific(known.stated_ops)} are stated"] if known.stated_ops else []
    if beside:
        said.append(f"Beside the operations of this run, {conjoined(beside)} of its model and of these.")
    if view.abandoned.total:
        said.append(
            f"Of these, {scientific(view.abandoned.total)} operations in {plural(view.abandoned_steps, 'step')} beside "
            "those above were abandoned, as the run went on from an earlier checkpoint."
        )
    return tuple(said)


def lines(view: View) -> tuple[str, ...]:
    """Which lines are reached, and which one comes next."""
    if not view.rules:
        return (f"No rule with a threshold applies on {view.as_of.isoformat()}.",)
    said = []
    if view.reached:
        each = "; ".join(_reached(view, finding) for finding in view.reached)
        said.append(f"{plural(len(view.reached), 'line')} reached: {each}.")
    if view.nearest:
        said.append(_nearest(view, "Next line" if said else "Nearest line", view.nearest))
    return tuple(said)


def _reached(view: View, finding: Finding) -> str:
    status = "" if finding.status == "in_force" else f", {status_words(finding.status)}"
    return f"{view.names[finding.id]} ({threshold(finding.threshold_ops)}{status})"


def _nearest(view: View, lead: str, finding: Finding) -> str:
    return (
        f"{lead}: {view.names[finding.id]}, {threshold(finding.threshold_ops)} operations; counted for it "
        f"{'at least ' if finding.lower_bound else ''}{scientific(finding.counted_ops)}, "
        f"{percent(finding.fraction)} of the line: {finding.verdict}."
    )


def ledger(view: View) -> str:
    """The verdict on the record, in words."""
    return f"The record is {view.ledger.verdict}: {view.ledger.words}."


def status(view: View, finding: Finding) -> str:
    """Where the rule stands on the day of the report, since when, and why."""
    standing = status_words(finding.status)
    since = ""
    for event in reversed(view.histories[finding.id]):
        if event.standing != finding.status:
            break
        since = f" since {event.since.isoformat()}"
    return joined(f"{standing}{since}", after(finding.status_note, standing))


def mode(view: View) -> str:
    """Which rules are taken to bind, where it is not all that are printed as in effect."""
    modes = {finding.mode for finding in view.rules}
    return (
        ", as enforced: lines of rules that their authority does not ask to be met bind nobody"
        if "as_enforced" in modes
        else ""
    )


def counts(finding: Finding) -> str:
    """What the rule adds up."""
    return joined(after(finding.counted_words, "counts"))


def leaves_out(finding: Finding) -> str:
    """What it does not add up; nothing where it adds up all."""
    return joined(after(finding.left_out_words, "leaves out"))


def sure(finding: Finding) -> str:
    """How sure the text of the rule is, and where it stands."""
    return f"Text: {finding.certainty}; status: {finding.status_certainty}."


def earlier(view: View, finding: Finding) -> tuple[str, ...]:
    """Where the rule stood before, each with its first day."""
    return tuple(_event(event) for event in view.histories[finding.id][:-1])


def _event(event: Event) -> str:
    standing = status_words(event.standing)
    told = joined(f"from {event.since.isoformat()}: {standing}", after(event.note, standing))
    return f"{told} [{event.certainty}]"


def opinion(found: Opinion) -> str:
    """What the second counter made of the same forward passes."""
    if found.ours_ops is None or found.theirs_ops is None or found.difference_ops is None:
        return f"{found.counter} has no opinion on this run."
    given = sum(not one.unavailable for one in found.passes)
    passes = "one forward pass" if given == 1 else f"{given:,} forward passes"
    lead = f"{found.counter} and this count, over {passes}, matrix work only: "
    if found.difference_ops == 0:
        return f"{lead}they agree to the operation, {found.ours_ops:,}."
    return (
        f"{lead}{found.counter} {found.theirs_ops:,}, here {found.ours_ops:,}; the difference is "
        f"{found.difference_ops:+,} ({share(abs(found.difference_ops), found.ours_ops)} of ours)."
    )
