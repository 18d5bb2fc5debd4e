"""`auditor hardware`: the chip catalogue, one chip of it, and the class of a machine's devices."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from auditor import rules
from auditor.cli.reading import day
from auditor.errors import ExitCode, UsageError
from auditor.hardware import chips, lookup, quantities, smi, smi_document
from auditor.hardware.catalogue import load
from auditor.hardware.doors import observe
from auditor.hardware.fields import PCI
from auditor.report import json_text, plain, terminal
from auditor.report.catalogued import entry_plain, field_rows
from auditor.report.devices import describe_all, group, machine_words, machines
from auditor.report.judgement import Judgement, judge, paragraph_words, span_words
from auditor.report.layout import Block, Heading, Pairs, Paragraph, Table
from auditor.report.words import CHIPS_NOT_LEGAL_ADVICE, listing, plural, status_words
from auditor.rules.classification import class_rule
from auditor.rules.model import RuleSet

SCHEMA = "auditor.hardware/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """What the answers are looked up in, and for which day."""

    catalogue: chips.Catalogue
    ruleset: RuleSet
    as_of: date

    def judge(self, chip: chips.Chip) -> Judgement:
        """What the chip rules make of an entry."""
        return judge([quantities.of_chip(chip)], ruleset=self.ruleset, as_of=self.as_of)


def run(options: argparse.Namespace) -> int:
    """Answer from the catalogue and the rules as they stand on a day."""
    as_of = day(options.as_of) or datetime.now(UTC).date()
    books = _Books(catalogue=load(), ruleset=rules.load(), as_of=as_of)
    answer = {"list": _list, "show": _show, "classify": _classify}[options.action]
    blocks, document = answer(books, options)
    if options.json:
        _print_json(books, document)
    else:
        sys.stdout.write(plain.draw([*blocks, Paragraph(CHIPS_NOT_LEGAL_ADVICE, "quiet")]))
    return int(ExitCode.PASS)


_Answer = tuple[Iterable[Block], Mapping[str, Any]]


def _list(books: _Books, options: argparse.Namespace) -> _Answer:
    found = _of_vendor(books.catalogue, options.vendor)
    judged = [(chip, books.judge(chip)) for chip in found]
    rows = [
        (
            chip.id,
            chip.product,
            span_words(one.tpp),
            span_words(one.density),
            paragraph_words(one),
            one.confidence or "",
        )
        for chip, one in judged
    ]
    heading = Paragraph(f"{plural(len(rows), 'part')}. {_law(books)}")
    blocks: list[Block] = [heading]
    for vendor, each in groupby(zip(found, rows, strict=True), key=lambda pair: pair[0].vendor):
        columns = ("id", "product", "TPP", "density", "class", "sure as")
        blocks += [Heading(vendor), Table(columns, tuple(row for _, row in each), frozenset({2, 3}), 1)]
    return blocks, {"chips": [entry_plain(chip, one) for chip, one in judged]}


def _law(books: _Books) -> str:
    """The day whose law is applied, and where that is later than its text was last seen."""
    rule = class_rule(books.ruleset, as_of=books.as_of)
    words = f"Law as of {books.as_of.isoformat()}."
    if rule is None or books.as_of <= rule.checked:
        return words
    subject = rule.title.partition(",")[0]
    return f"{words} The text of {subject} was last checked on {rule.checked}; what came later is not known here."


def _of_vendor(catalogue: chips.Catalogue, vendor: str | None) -> list[chips.Chip]:
    ordered = lookup.by_vendor(catalogue.chips)
    if vendor is None:
        return ordered
    name = lookup.vendor(vendor, [chip.vendor for chip in ordered])
    return [chip for chip in ordered if chip.vendor == name]


def _show(books: _Books, options: argparse.Namespace) -> _Answer:
    chip = _chip(books.catalogue, options.id)
    judged = books.judge(chip)
    blocks: list[Block] = [
        Heading(f"{chip.vendor} {chip.product} ({chip.id})"),
        Table(("field", "value", "confidence", "read in", "on"), tuple(field_rows(chip)), flexible=1),
        Pairs(tuple(terminal.judgement_rows(judged))),
        *_rules(books, judged),
        *_sources(books, [name for told in chip.provenance.values() for name in told.sources]),
    ]
    return blocks, {"chips": [entry_plain(chip, judged)]}


def _chip(catalogue: chips.Catalogue, chip_id: str) -> chips.Chip:
    known = {chip.id: chip for chip in catalogue.chips}
    if chip_id not in known:
        seen = lookup.masked(chip_id, catalogue)
        if seen is not None:
            raise UsageError(
                f"hardware show: the name {seen.name!r} is no part's own; it was seen on other silicon ({seen.seen})",
                remedy="Such a device is identified by its PCI ids: `auditor hardware classify`.",
            )
        near = lookup.near(chip_id, catalogue)
        remedy = f"Did you mean {listing(near, 8)}?" if near else "`auditor hardware list` names them all."
        raise UsageError(f"hardware show: no chip {chip_id!r} is in the catalogue", remedy=remedy)
    return known[chip_id]


def _rules(books: _Books, judged: Judgement) -> Iterator[Block]:
    rows = []
    for answer in judged.answers:
        rule = books.ruleset.find(answer.rule)
        rows.append((answer.title, f"{status_words(answer.standing)}; {answer.outcome}. {' '.join(answer.reasons)}"))
        rows.append(("", f"{rule.citation} (text: {answer.certainty}). {answer.note}"))
    yield Heading(f"Every chip rule published by {books.as_of.isoformat()}")
    if not rows:
        yield Paragraph("None: there was no chip rule yet.")
        return
    yield Table(("rule", "answer"), tuple(rows), flexible=1)


def _classify(books: _Books, options: argparse.Namespace) -> _Answer:
    devices = describe_all(
        {0: _identities(options)}, catalogue=books.catalogue, ruleset=books.ruleset, as_of=books.as_of
    )
    together = machines(devices, {}, ruleset=books.ruleset, as_of=books.as_of)
    document = {
        **json_text.devices_plain(devices),
        "machines": [json_text.machine_plain(machine) for machine in together],
    }
    blocks: list[Block] = [Paragraph(_law(books))]
    for one in group(devices):
        number = f"{one.number} x " if one.number > 1 else ""
        head = ("device", f"{number}{one.example.name} ({one.example.kind})")
        blocks.append(Pairs((head, *terminal.device_rows(one.example))))
    blocks += [Pairs((("machine", machine_words(machine)),)) for machine in together]
    blocks += _sources(books, [name for device in devices for name in device.judgement.sources])
    return blocks, document


def _identities(options: argparse.Namespace) -> Sequence[Mapping[str, str]]:
    if options.nvidia_smi is not None:
        log = _smi(options.nvidia_smi)
        sys.stderr.writelines(f"auditor: {remark}\n" for remark in log.remarks)
        return [device.to_mapping() for device in log.devices]
    if options.device is not None:
        return [_identity(options.device)]
    return observe()


def _smi(name: str) -> smi.Log:
    """What a file of the tool says, or standard input where that is ``-``."""
    if name != "-":
        return smi.read(Path(name))
    return smi.parse(sys.stdin.buffer.read(smi_document.LARGEST_BYTES + 1), "standard input")


def _identity(text: str) -> dict[str, str]:
    """A device of which no more is known than its PCI ids: ``10de:2335`` or ``10de:2335/10de:18be``."""
    device, slash, subsystem = text.lower().partition("/")
    if not PCI.fullmatch(device) or (slash and not PCI.fullmatch(subsystem)):
        raise UsageError(
            f"hardware classify: --device: expected PCI ids such as 10de:2335 or 10de:2335/10de:18be, got {text!r}",
            remedy="`lspci -nn` shows a device's ids, `lspci -nnv` its subsystem's too.",
        )
    identity = {"kind": "gpu", "pci_device_id": device}
    return identity | ({"pci_subsystem_id": subsystem} if slash else {})


def _sources(books: _Books, names: Iterable[str]) -> Iterator[Block]:
    return terminal.source_rows([books.catalogue.sources[name] for name in dict.fromkeys(names)])


def _print_json(books: _Books, document: Mapping[str, Any]) -> None:
    whole = {
        "schema": SCHEMA,
        "as_of": books.as_of.isoformat(),
        **document,
        "chip_sources": json_text.sources_plain(books.catalogue.sources.values()),
        "digests": {"rules": books.ruleset.digest, "catalogue": books.catalogue.digest},
        "notice": CHIPS_NOT_LEGAL_ADVICE,
    }
    sys.stdout.write(json.dumps(whole, indent=2, ensure_ascii=True, allow_nan=False) + "\n")
