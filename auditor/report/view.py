"""The numbers of a report, worked out once; terminal, JSON and HTML only draw them."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from auditor.lineage.family import Family
from auditor.report import asked, cases, coverage, devices, replication
from auditor.report.ancestry import Ancestry, ancestry_of
from auditor.report.course import Course, course
from auditor.report.observations import Process, observe
from auditor.report.opinions import Opinion, gather
from auditor.report.words import UNTRUSTED_VERDICTS, ledger_words
from auditor.rules.facts import read_answers
from auditor.rules.model import Mode
from auditor.rules.verdict import Finding
from auditor.warning.forecast import marks_of, warn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from auditor.hardware.catalogue import Catalogue
    from auditor.hardware.chips import Source
    from auditor.ledger.reading import Reading
    from auditor.levels import Level
    from auditor.operations import Operations
    from auditor.report.cases import Groups
    from auditor.report.coverage import CoverageFound
    from auditor.report.devices import Hardware, HardwareGroup, Machine
    from auditor.report.replication import Replications
    from auditor.rules.generators import Generator
    from auditor.rules.model import RuleSet
    from auditor.rules.plan import Plan
    from auditor.warning.forecast import Outlook
    from auditor.warning.passing import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was run and when; ``ended`` and ``exit_code`` are None where nothing says so."""

    id: str
    model: str
    purpose: str
    command: tuple[str, ...]
    counters: tuple[str, ...]
    started: str
    ended: str | None
    steps: int
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """How far the record can be relied on."""

    verdict: str
    words: str
    reasons: tuple[str, ...]
    records: int | None  # None where they were not all read
    ranks_expected: int
    ranks_seen: int
    head: str
    keys: tuple[str, ...]  # public, that signed it, in hexadecimal
    ends: Mapping[str, int] | None  # segments by what their sums rest on, where no more of them was read

    @property
    def trusted(self) -> bool:
        """Whether the numbers can be used at all."""
        return self.verdict not in UNTRUSTED_VERDICTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something the auditor could not see or do, as often as it was noted."""

    cause: str
    message: str
    lower_bound: bool
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A day on which a rule's standing changed, and to what."""

    since: date
    standing: str
    note: str
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a report says."""

    generated: str
    as_of: date
    run: Run
    ledger: Ledger
    operations: Operations
    abandoned: Operations  # the part of them that was given up when the run went on from an earlier checkpoint
    abandoned_steps: int
    ancestry: Ancestry
    complete: bool  # nothing is known to be missing; otherwise every amount is a floor
    unpriced: tuple[tuple[str, int], ...]  # most calls first
    gaps: tuple[Gap, ...]
    replications: Replications
    second_opinion: Opinion | None
    coverage: tuple[CoverageFound, ...]
    hardware: tuple[Hardware, ...]
    hardware_groups: tuple[HardwareGroup, ...]
    chip_sources: tuple[Source, ...]  # of the figures that the class of a device rests on
    machines: tuple[Machine, ...]  # the nodes that have accelerators, and all of them together
    observed: tuple[Process, ...]  # processes with GPUs, and what these did
    rules: tuple[Finding, ...]
    cases: Groups  # what rules about a transaction, a party or a use come to
    names: Mapping[str, str]  # by rule id: the beginning of its title, as far as that tells it from the others
    lines: Mapping[int, tuple[str, ...]]  # the rules by their line, the lowest first; see `_by_line`
    histories: Mapping[str, tuple[Event, ...]]  # by rule id, up to the day of the report, the first day first
    reached: tuple[Finding, ...]
    nearest: (
        Finding | None
    )  # of those not reached the line that the count is nearest to, an undetermined one before all
    course: Course | None  # None where only the ends of segments were read
    outlook: Outlook
    marks: tuple[Mark, ...]  # the levels that are set
    digests: Mapping[str, str]

    @property
    def recounted(self) -> bool:
        """Whether all of the record was read, and priced again."""
        return self.ledger.ends is None

    @property
    def floor(self) -> bool:
        """Whether the model may have taken more: the record is not whole, or it was made from others."""
        return not self.complete or self.ancestry.any


def build(
    reading: Reading,
    ruleset: RuleSet,
    catalogue: Catalogue,
    *,
    as_of: date,
    generated: str,
    facts: Mapping[str, object] | None = None,
    mode: Mode = Mode.AS_CODIFIED,
    generators: Sequence[Generator] | None = None,
    family: Family | None = None,
    plan: Plan | None = None,
    levels: Sequence[Level] = (),
    moment: datetime | None = None,
) -> View:
    """The view of a ledger under these rules on the day ``as_of``; ``generated`` is the time to print.

    ``facts``: answers to what rules ask and no record shows, as `auditor.rules` takes them. ``mode``: which of
    the rules bind; ``generators``: all that made unpublished data for the training, None where nobody says.
    ``family``: what else is known of the model that the ledger is of; the ledger alone, where it is left out.
    ``plan`` and ``levels``: what the early warning is held against, at ``moment``, the day of the law where it is left
    out.
    """
    family = family or Family.of(reading)
    ledger = _ledger(reading)
    answers, _ = asked.with_record(
        read_answers(ruleset, facts or {}), reading, ruleset, catalogue, as_of=as_of, rules=ruleset.rules
    )
    subject = asked.subject_of(family, ruleset, as_of=as_of, answers=answers, mode=mode, generators=generators)
    rules = tuple(judged.finding for judged in subject.judged())
    hardware = devices.describe_all(reading.devices, catalogue=catalogue, ruleset=ruleset, as_of=as_of)
    moment = moment or datetime.combine(as_of, time(), UTC)
    return View(
        generated=generated,
        as_of=as_of,
        run=_run(reading),
        ledger=ledger,
        operations=reading.operations,
        abandoned=reading.abandoned,
        abandoned_steps=reading.abandoned_steps,
        ancestry=ancestry_of(family),
        complete=reading.operations.complete and asked.is_whole(reading),
        unpriced=tuple(sorted(reading.operations.unpriced.items(), key=lambda item: (-item[1], item[0]))),
        gaps=_gaps(reading),
        replications=replication.gather(reading.segments, reading.ranks_expected),
        second_opinion=gather(reading.second_opinions),
        coverage=coverage.gather(reading.hardware),
        hardware=hardware,
        hardware_groups=devices.group(hardware),
        chip_sources=tuple(catalogue.sources[name] for name in _chip_sources(hardware)),
        machines=devices.machines(hardware, _nodes(reading), ruleset=ruleset, as_of=as_of),
        observed=observe(reading, catalogue) if reading.ends is None else (),
        rules=rules,
        cases=cases.grouped(subject.cases(), subject),
        names=_names(rules),
        lines=_by_line(rules, ruleset),
        histories={finding.id: _history(ruleset, finding.id, as_of) for finding in rules},
        reached=tuple(finding for finding in rules if finding.verdict == "reached"),
        nearest=max(
            (finding for finding in rules if finding.verdict != "reached"),
            key=lambda finding: (finding.verdict == "undetermined", finding.fraction),
            default=None,
        ),
        course=course(reading.segments, reading.steps) if reading.ends is None else None,
        outlook=warn(reading, subject, plan, moment),
        marks=tuple(marks_of(reading, subject, levels)),
        digests={"rules": ruleset.digest, "catalogue": catalogue.digest}
        | {f"{pack.name} {pack.version}": pack.digest for pack in ruleset.packs if pack.own},
    )


def _run(reading: Reading) -> Run:
    return Run(
        id=reading.run_id,
        model=reading.model,
        purpose=reading.purpose,
        command=tuple(reading.command),
        counters=tuple(reading.counters),
        started=reading.started,
        ended=reading.ended or None,
        steps=reading.steps,
        exit_code=reading.exit.code if reading.exit else None,
    )


def _ledger(reading: Reading) -> Ledger:
    return Ledger(
        verdict=str(reading.verdict),
        words=ledger_words(str(reading.verdict), from_ends=reading.ends is not None),
        reasons=tuple(reading.reasons),
        records=reading.records if reading.ends is None else None,
        ranks_expected=reading.ranks_expected,
        ranks_seen=reading.ranks_seen,
        head=reading.head,
        keys=tuple(dict.fromkeys(key for segment in reading.segments for key in segment.keys)),
        ends=reading.ends,
    )


def _gaps(reading: Reading) -> tuple[Gap, ...]:
    times: dict[tuple[str, str, bool], int] = {}
    for gap in reading.gaps:
        key = (gap.cause, gap.message, gap.lower_bound)
        times[key] = times.get(key, 0) + gap.times
    return tuple(
        Gap(cause=cause, message=message, lower_bound=lower_bound, times=number)
        for (cause, message, lower_bound), number in times.items()
    )


def _chip_sources(hardware: Sequence[Hardware]) -> list[str]:
    return list(dict.fromkeys(name for device in hardware for name in device.judgement.sources))


def _nodes(reading: Reading) -> dict[int, str]:
    """The node on which each rank ran last; another process speaks for a rank only where the rank has no segment.

    A node is what was booted once; containers on it have names of their own, so its first one stands for it.
    """
    hosts: dict[int, Mapping[str, str]] = {}
    for role in ("process", "rank"):
        hosts |= {one.genesis.rank: one.genesis.host for one in reading.segments if one.genesis.role == role}
    names: dict[str, str] = {}
    for _, host in sorted(hosts.items()):
        name, boot = host.get("hostname", ""), host.get("boot_id", "")
        taken = name in names.values()
        names.setdefault(boot or name, f"{name} ({boot})" if taken else name)
    return {rank: names[host.get("boot_id") or host.get("hostname", "")] for rank, host in hosts.items()}


def _names(rules: Sequence[Finding]) -> dict[str, str]:
    """Titles up to their first comma; whole where two would be the same."""
    short = {finding.id: finding.title.partition(",")[0] for finding in rules}
    times = Counter(short.values())
    return {finding.id: short[finding.id] if times[short[finding.id]] == 1 else finding.title for finding in rules}


def _by_line(rules: Sequence[Finding], ruleset: RuleSet) -> dict[int, tuple[str, ...]]:
    """The ids of the rules at each line: those first on whose verdict most other rules hang, else as packed."""
    asked_for = Counter(
        ruleset.facts[name].verdict_of
        for rule in ruleset.rules
        for name in {name for one in rule.expressions for name in one.names} & ruleset.facts.keys()
    )
    ordered = sorted(rules, key=lambda finding: (finding.threshold_ops, -asked_for[finding.id]))
    return {
        ops: tuple(finding.id for finding in group)
        for ops, group in itertools.groupby(ordered, key=lambda finding: finding.threshold_ops)
    }


def _history(ruleset: RuleSet, rule_id: str, as_of: date) -> tuple[Event, ...]:
    return tuple(
        Event(since=status.since, standing=str(status.standing), note=status.note, certainty=str(status.certainty))
        for status in ruleset.find(rule_id).history
        if status.since <= as_of
    )
