"""What `auditor check` says: the verdict of each rule on a record, in tables and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.ledger.findings import SUMMED
from auditor.report import cases
from auditor.report import explained as explaining
from auditor.report import warning as warnings
from auditor.report.ancestry import ancestry_of
from auditor.report.json_text import ledgers_plain
from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table, Title
from auditor.report.merged import not_recounted
from auditor.report.words import (
    NOT_LEGAL_ADVICE,
    UNTRUSTED_VERDICTS,
    ledger_words,
    percent,
    plain_decimal,
    plural,
    standing_words,
)
from auditor.rules.model import HOLDING, Mode, Standing
from auditor.rules.verdict import Verdict
from auditor.units import in_full, scientific, threshold, wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.ledger.reading import Reading
    from auditor.lineage.family import Family
    from auditor.rules.cases import Case, Subject
    from auditor.rules.explaining import Explanation
    from auditor.rules.model import Rule
    from auditor.rules.verdict import Finding, Judged
    from auditor.warning.forecast import Outlook
    from auditor.warning.passing import Mark

SCHEMA = "auditor.check/1"
_MOST_REASONS = 20
MODE_WORDS = {
    Mode.AS_CODIFIED: "as codified: every rule that is printed as in effect binds, enforced or not",
    Mode.AS_ENFORCED: "as enforced: a rule that its authority does not ask to be met on that day does not bind",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A record held against rules; ``explained`` where one rule was asked for alone."""

    family: Family
    subject: Subject
    judged: Sequence[Judged]
    cases: Sequence[Case]
    explained: Explanation | None
    outlook: Outlook
    marks: Sequence[Mark]

    @property
    def reading(self) -> Reading:
        """The record itself."""
        return self.family.reading


def blocks(page: Checked) -> Iterator[Block]:
    """The page in the order in which it is read."""
    reading, subject = page.reading, page.subject
    yield Title("What the law says of this record")
    for one in (reading, *page.family.others):
        if str(one.verdict) in UNTRUSTED_VERDICTS:
            words = f"The record of the run {one.run_id} is {one.verdict}: {_words(one)}."
            yield Paragraph(f"DO NOT RELY ON THIS. {words}", "bad")
    yield from _not_recounted(reading)
    yield Pairs(
        (
            ("run", f"{reading.run_id} ({reading.model or 'no name given'})"),
            ("record", f"{reading.verdict}: {_words(reading)}"),
            ("operations", in_full(reading.operations.total)),
            *_beside(page.family),
            ("law", f"on {subject.as_of.isoformat()}, {MODE_WORDS[subject.mode]}"),
            *(() if page.explained else (("result", _result(page)),)),
        )
    )
    if page.explained is not None:
        expected = warnings.expected_words(page.outlook, page.explained.rule)
        yield from explaining.blocks(page.explained, subject, expected)
    else:
        yield from _thresholds(page)
        yield from warnings.blocks(page.outlook, page.marks)
        yield from cases.blocks(cases.grouped(page.cases, subject))
        yield from _standings(page)
    yield Heading("Packs")
    yield Pairs(tuple((pack.name, f"version {pack.version}, {pack.digest}") for pack in subject.ruleset.packs))
    yield Paragraph(NOT_LEGAL_ADVICE, "quiet")


def _not_recounted(reading: Reading) -> Iterator[Block]:
    """That only ends were read, and what these say is wrong or missing."""
    if reading.ends is None:
        return
    yield Paragraph(f"NOT RECOUNTED. {not_recounted(reading.ends)}", "open")
    reasons = tuple(reason for reason in reading.reasons if reason != SUMMED.text)
    if reasons:
        yield Bullets(reasons[:_MOST_REASONS])


def _words(reading: Reading) -> str:
    return ledger_words(str(reading.verdict), from_ends=reading.ends is not None)


def _result(page: Checked) -> str:
    """In one line: which lines are reached, which are open, or which is nearest."""
    shown = [one.finding for one in page.judged if _shown(one.rule, page.subject)]
    if not shown:
        return "no rule with a line for models applies on that day"
    reached = [one for one in shown if one.verdict == Verdict.REACHED]
    told = [
        _lines_that("reached, and bind", [one for one in reached if one.binds]),
        _lines_that("reached, of rules that do not bind", [one for one in reached if not one.binds]),
        _lines_that("undetermined", [one for one in shown if one.verdict == Verdict.UNDETERMINED]),
    ]
    if any(told):
        return "; ".join(filter(None, told))
    near = max(shown, key=lambda one: one.fraction)
    return f"no line is reached; nearest is {near.id}, {percent(near.fraction)} of {threshold(near.threshold_ops)}"


def _lines_that(words: str, found: Sequence[Finding]) -> str:
    return f"{plural(len(found), 'line')} {words}: {', '.join(one.id for one in found)}" if found else ""


def _beside(family: Family) -> Iterator[tuple[str, str]]:
    """The other records that the totals are over, and what is known of parents without one."""
    for one in family.others:
        total = in_full(one.operations.total)
        yield "and", f"{one.run_id} ({one.model or 'no name given'}), {one.verdict}: {total} operations"
    for what in family.unknown:
        yield "unknown", what


def _shown(rule: Rule, subject: Subject) -> bool:
    return rule.status_on(subject.as_of).standing in HOLDING


def _thresholds(page: Checked) -> Iterator[Block]:
    yield Heading("Lines for models")
    found = [one.finding for one in page.judged if _shown(one.rule, page.subject)]
    rows = tuple(
        (
            one.id,
            ("≥ " if one.lower_bound else "") + scientific(one.counted_ops),
            f"{one.comparison} {threshold(one.threshold_ops)}",
            percent(one.fraction),
            one.verdict,
            _binding(one.binds),
            standing_words(one.status, one.fines_held_back),
        )
        for one in found
    )
    columns = ("rule", "counted", "line", "fraction", "line is", "binds", "status")
    yield Table(columns, rows, right=frozenset({1, 2, 3}))
    yield from _counted([one for one in page.judged if _shown(one.rule, page.subject)])


def _counted(judged: Sequence[Judged]) -> Iterator[Block]:
    """What each law counts, in words and of this record; laws that count alike together."""
    alike: dict[str, list[Judged]] = {}
    for one in judged:
        alike.setdefault(one.total.counter.id, []).append(one)
    for each in alike.values():
        counter = each[0].total.counter
        yield Paragraph(", ".join(one.rule.id for one in each), "strong")
        told = (each[0].total.words(), f"{counter.counts} {counter.leaves_out}", *each[0].total.reasons)
        yield Bullets((*told, *_sure(each)))


def _sure(judged: Sequence[Judged]) -> Iterator[str]:
    """How sure the texts are, and where they stand; rules that are equally sure together."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in judged:
        alike.setdefault((one.finding.certainty, one.finding.status_certainty), []).append(one.rule.id)
    for (text, status), ids in alike.items():
        whose = f" of {', '.join(ids)}" if len(alike) > 1 else ""
        yield f"How sure the text{whose} is: {text}; where it stands: {status}."


def _binding(binds: bool) -> str:
    return "yes" if binds else "no"


def _standings(page: Checked) -> Iterator[Block]:
    """Where rules stand that do not simply bind, each note once."""
    yield Heading("Where they stand")
    subject = page.subject
    said: dict[tuple[str, str], list[Rule]] = {}
    for rule in [one.rule for one in page.judged] + [one.rule for one in page.cases]:
        status = rule.status_on(subject.as_of)
        if status.standing is not Standing.IN_FORCE or not status.enforced or status.fines_held_back:
            sources = f" Sources: {subject.ruleset.cite(status.sources)}." if status.sources else ""
            said.setdefault(
                (standing_words(str(status.standing), status.fines_held_back), f"{status.note}{sources}"), []
            ).append(rule)
    for (standing, note), rules in said.items():
        yield Paragraph(f"{standing}: {', '.join(rule.id for rule in rules)}", "strong")
        yield Bullets((note, *_last_seen(rules, subject)))


def _last_seen(rules: Sequence[Rule], subject: Subject) -> Iterator[str]:
    for day in sorted({rule.checked for rule in rules if rule.checked < subject.as_of}):
        ids = ", ".join(rule.id for rule in rules if rule.checked == day)
        whose = "The text" if len({rule.checked for rule in rules}) == 1 else f"The text of {ids}"
        yield f"{whose} was last checked on {day}; what came later is not known here."


def to_plain(page: Checked) -> dict[str, Any]:
    """The page as lists and mappings, under the names of configs/schema/check.schema.json."""
    reading, subject = page.reading, page.subject
    return {
        "schema": SCHEMA,
        "run": reading.run_id,
        "ledger": str(reading.verdict),
        "recounted": reading.ends is None,
        "head": reading.head,
        "model": page.family.model,
        "ledgers": ledgers_plain(ancestry_of(page.family)),
        "as_of": subject.as_of.isoformat(),
        "mode": str(subject.mode),
        "packs": [{"name": one.name, "version": one.version, "digest": one.digest} for one in subject.ruleset.packs],
        "models": [_model(one, subject) for one in page.judged],
        "cases": [_case(one, subject) for one in page.cases],
        "warning": warnings.to_plain(page.outlook, page.marks),
        "explained": None if page.explained is None else explaining.to_plain(page.explained),
        "notice": NOT_LEGAL_ADVICE,
    }


def _rule(rule: Rule, subject: Subject, binds: bool) -> dict[str, Any]:
    status = rule.status_on(subject.as_of)
    return {
        "id": rule.id,
        "title": rule.title,
        "status": str(status.standing),
        "status_note": rule.note_on(subject.as_of),
        "status_sources": subject.ruleset.cite(status.sources),
        "enforced": status.enforced,
        "fines_held_back": status.fines_held_back,
        "binds": binds,
        "certainty": str(rule.certainty),
        "status_certainty": str(status.certainty),
    }


def _model(one: Judged, subject: Subject) -> dict[str, Any]:
    found = one.finding
    return {
        **_rule(one.rule, subject, found.binds),
        "verdict": found.verdict,
        "applies": found.applies,
        "open": list(found.open_names),
        "counted": wire(found.counted_ops),
        "most": None if one.total.most_ops is None else wire(one.total.most_ops),
        "left_out": wire(found.left_out_ops),
        "threshold": wire(found.threshold_ops),
        "comparison": found.comparison,
        "fraction": plain_decimal(found.fraction),
        "in_words": found.in_words,
        "counts": found.counted_words,
        "leaves_out": found.left_out_words,
        "reasons": list(found.reasons),
        "source": found.source,
    }


def _case(one: Case, subject: Subject) -> dict[str, Any]:
    return {
        **_rule(one.rule, subject, one.binds),
        "outcome": one.walked.outcome,
        "possible": list(one.walked.possible),
        "paragraphs": list(one.walked.met),
        "open": sorted(one.walked.open),
        "in_words": None if one.total is None else one.total.words(),
    }
