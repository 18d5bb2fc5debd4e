"""The report as text: for a compliance officer first, with what an engineer needs below."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TextIO

from auditor.errors import MissingExtra
from auditor.report import cases, coverage, plain, replication, statements, warning
from auditor.report.devices import candidate_words, machine_words
from auditor.report.judgement import class_words, other_rules, span_words
from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table, Title
from auditor.report.observation_page import alarm_blocks, observed_blocks
from auditor.report.words import (
    NOT_LEGAL_ADVICE,
    PHASE_WORDS,
    clip,
    joined,
    listing,
    percent,
    plural,
    powers,
    standing_words,
)
from auditor.units import scientific, share, threshold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.hardware.chips import Source
    from auditor.report.devices import Hardware, HardwareGroup
    from auditor.report.judgement import Judgement
    from auditor.report.view import View

_MOST_ROWS = 20
_LONGEST_COMMAND = 240
_MOST_ALTERNATIVES = 4


def render(view: View, width: int = plain.WIDTH) -> str:
    """The report as plain text, at most ``width`` columns wide."""
    return plain.draw(page(view), width)


def show(view: View, stream: TextIO) -> None:
    """Print the report: with colours on a terminal where rich is installed, else as plain text."""
    encoding = stream.encoding or "utf-8"
    if stream.isatty() and encoding.lower().startswith("utf"):
        try:
            from auditor.report import colour  # noqa: PLC0415 - rich is asked for only where it can show

            colour.draw(page(view), stream)
        except MissingExtra:
            pass
        else:
            return
    text = render(view)
    stream.write(text.encode(encoding, "replace").decode(encoding))


def page(view: View) -> Iterator[Block]:
    """The report's parts in the order in which they are read."""
    yield from _headline(view)
    yield from _thresholds(view)
    yield from warning.blocks(view.outlook, view.marks)
    yield from cases.blocks(view.cases)
    yield from _operations(view)
    yield from _unpriced(view)
    yield from _gaps(view)
    yield from replication.blocks(view.replications, _MOST_ROWS)
    yield from _opinion(view)
    yield from coverage.blocks(view.coverage, _MOST_ROWS)
    yield from _hardware(view)
    yield from observed_blocks(view.observed)
    yield from _ledger(view)
    yield from _sources(view)
    yield Paragraph(NOT_LEGAL_ADVICE, "quiet")


def _headline(view: View) -> Iterator[Block]:
    yield Title("Training compute report")
    if not view.ledger.trusted:
        yield Paragraph(f"DO NOT RELY ON THESE NUMBERS. {statements.ledger(view)}", "bad")
    if not view.recounted:
        yield Paragraph(f"NOT RECOUNTED. {statements.ends(view)}", "open")
    yield Paragraph(statements.count(view), "strong")
    yield Paragraph(statements.completeness(view), "good" if view.complete and view.recounted else "open")
    yield from (Paragraph(text, "open") for text in statements.ancestry(view))
    yield from alarm_blocks(view.observed)
    yield from (Paragraph(text, "strong") for text in statements.lines(view))
    if view.ledger.trusted:
        yield Paragraph(statements.ledger(view))
    run = view.run
    exit_code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    yield Pairs(
        (
            ("run", run.id),
            ("purpose", run.purpose),
            ("command", clip(shlex.join(run.command), _LONGEST_COMMAND)),
            ("counter", ", ".join(run.counters) or "none"),
            ("started", run.started),
            ("ended", f"{run.ended or 'not known'}{exit_code}"),
            ("report", f"{view.generated}, law as of {view.as_of.isoformat()}{statements.mode(view)}"),
        )
    )


def _thresholds(view: View) -> Iterator[Block]:
    yield Heading("Thresholds")
    if not view.rules:
        yield Bullets(statements.lines(view))
        return
    columns = ("rule", "counted", "threshold", "fraction", "verdict", "status")
    rows = tuple(
        (
            view.names[finding.id],
            ("≥ " if finding.lower_bound else "") + scientific(finding.counted_ops),
            threshold(finding.threshold_ops),
            percent(finding.fraction),
            finding.verdict,
            standing_words(finding.status, finding.fines_held_back),
        )
        for finding in view.rules
    )
    yield Table(columns, rows, right=frozenset({1, 2, 3}))
    for finding in view.rules:
        yield Paragraph(f"{powers(finding.title)} ({finding.id})", "strong")
        told = [
            ("status", statements.status(view, finding)),
            *(("earlier", text) for text in statements.earlier(view, finding)),
            ("counts", statements.counts(finding)),
            ("leaves out", statements.leaves_out(finding)),
            ("certainty", statements.sure(finding)),
            *(("" if i else "because", reason) for i, reason in enumerate(finding.reasons)),
        ]
        yield Pairs(tuple((name, text) for name, text in told if text))


def _operations(view: View) -> Iterator[Block]:
    operations = view.operations
    yield Heading("Operations")
    yield Paragraph("All that was executed; a multiply-add is two operations. Exact numbers on the right.")
    for name, amounts in (
        ("phase", operations.by_phase),
        ("family", operations.by_family),
        ("precision", operations.by_precision),
        ("purpose", operations.by_purpose),
    ):
        yield _amounts(name, amounts, operations.total)


def _amounts(name: str, amounts: dict[str, int], total: int) -> Table:
    rows = [
        (PHASE_WORDS.get(key, key), scientific(ops), share(ops, total), f"{ops:,}")
        for key, ops in [*amounts.items(), ("total", total)]
    ]
    return Table((f"by {name}", "operations", "share", "exact"), tuple(rows), right=frozenset({1, 2, 3}))


def _unpriced(view: View) -> Iterator[Block]:
    yield Heading("Operators without a formula")
    if not view.unpriced:
        yield Paragraph("None: every operator seen has a price.")
        return
    yield Paragraph("Seen but not counted, so the total is a floor. Their calls are kept and can be recounted.", "open")
    rows = tuple((op, f"{calls:,}") for op, calls in view.unpriced[:_MOST_ROWS])
    yield Table(("operator", "calls"), rows, right=frozenset({1}))
    if len(view.unpriced) > _MOST_ROWS:
        yield Paragraph(f"And {len(view.unpriced) - _MOST_ROWS:,} more; all of them are in the JSON report.")


def _gaps(view: View) -> Iterator[Block]:
    if not view.gaps:
        return
    yield Heading("What the auditor could not see or do")
    rows = tuple(
        (gap.cause, gap.message, f"{gap.times:,}", "yes" if gap.lower_bound else "no") for gap in view.gaps[:_MOST_ROWS]
    )
    yield Table(("cause", "what happened", "times", "count affected"), rows, right=frozenset({2}), flexible=1)
    if len(view.gaps) > _MOST_ROWS:
        yield Paragraph(f"And {len(view.gaps) - _MOST_ROWS:,} more; all of them are in the JSON report.")


def _opinion(view: View) -> Iterator[Block]:
    if not view.recounted:
        return
    yield Heading("Second opinion")
    found = view.second_opinion
    if found is None:
        yield Paragraph("No other counter looked at this run.")
        return
    yield Paragraph(statements.opinion(found))
    if found.unavailable:
        yield Bullets(found.unavailable)
    if found.explained:
        rows = tuple((row.operator, row.module, row.ours, row.theirs, row.note) for row in found.explained[:_MOST_ROWS])
        columns = ("operator", "module", "here", found.counter, "why")
        yield Table(columns, rows, right=frozenset({2, 3}), flexible=4)


def _hardware(view: View) -> Iterator[Block]:
    yield Heading("Hardware")
    if not view.hardware_groups:
        yield Paragraph("The record names no device: hardware class undetermined.", "open")
    for group in view.hardware_groups:
        yield Pairs(tuple(_device_rows(group)))
    if view.machines:
        yield Pairs(tuple((machine.name or "node", machine_words(machine)) for machine in view.machines[-_MOST_ROWS:]))
    if len(view.machines) > _MOST_ROWS:
        yield Paragraph(f"And {len(view.machines) - _MOST_ROWS:,} more nodes; all of them are in the JSON report.")


def _device_rows(group: HardwareGroup) -> Iterator[tuple[str, str]]:
    device = group.example
    number = f"{group.number:,} x " if group.number > 1 else ""
    ranks = f"{'rank' if len(group.ranks) == 1 else 'ranks'} {listing([str(rank) for rank in group.ranks], 8)}"
    yield "device", f"{number}{device.name} ({device.kind}, {ranks})"
    yield from device_rows(device)


def device_rows(device: Hardware) -> Iterator[tuple[str, str]]:
    """What a device is taken for, and its judgement."""
    if device.judgement.judged:
        yield "chip", device.chip or "not identified"
    if device.chip is None and device.candidates:
        yield "candidates", candidate_words(device)
    yield "basis", joined(device.basis)
    yield from judgement_rows(device.judgement)


def judgement_rows(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """TPP and density, the class and what it rests on, how that comes about, and what the other rules say."""
    if judgement.judged:
        yield "TPP", f"{span_words(judgement.tpp)}; performance density {span_words(judgement.density)}"
    yield "ECCN", class_words(judgement)
    yield from _continued("working", judgement.working[:_MOST_ALTERNATIVES])
    yield from _continued("doubts", judgement.doubts[:_MOST_ALTERNATIVES])
    if judgement.judged:
        yield "because", joined(*judgement.klass.reasons)
    if judgement.circuits:
        yield from _continued("rules", other_rules(judgement))


def _continued(name: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    return (("" if number else name, text) for number, text in enumerate(texts))


def _ledger(view: View) -> Iterator[Block]:
    ledger = view.ledger
    yield Heading("Record")
    yield Pairs(
        (
            ("verdict", ledger.verdict),
            *(() if ledger.records is None else (("records", f"{ledger.records:,}"),)),
            ("ranks", f"{ledger.ranks_seen:,} of {plural(ledger.ranks_expected, 'expected rank')}"),
            ("head", ledger.head),
            *_continued("signed by", ledger.keys[:_MOST_ROWS]),
        )
    )
    if ledger.reasons:
        yield Bullets(ledger.reasons[:_MOST_ROWS])
    if len(ledger.reasons) > _MOST_ROWS:
        yield Paragraph(f"And {len(ledger.reasons) - _MOST_ROWS:,} more; all of them are in the JSON report.")


def _sources(view: View) -> Iterator[Block]:
    yield Heading("Sources")
    yield Pairs(tuple((finding.id, finding.source) for finding in view.rules))
    yield from source_rows(view.chip_sources)
    yield Pairs(tuple((f"{name} table", f"SHA-256 {digest}") for name, digest in view.digests.items()))


def source_rows(sources: Sequence[Source]) -> Iterator[Block]:
    """The sources of chips' figures by the names that the working gives them; nothing where there are none."""
    if sources:
        yield Pairs(tuple((source.id, f"{source.title}, read {source.read.isoformat()}") for source in sources))
