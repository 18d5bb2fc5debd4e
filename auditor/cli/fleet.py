"""`auditor fleet`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from auditor import rules
from auditor.cli.reading import day
from auditor.errors import ExitCode, UsageError
from auditor.fleet import document, ways
from auditor.fleet.books import Books
from auditor.fleet.judged import Judged, judge
from auditor.hardware import catalogue
from auditor.report import fleet_json, fleet_text, plain
from auditor.resources import tree
from auditor.rules.model import Mode


def run(options: argparse.Namespace) -> int:
    """Say what the chip rules make of an inventory; 3 where a line that binds is passed or no way is open."""
    if options.example is not None:
        sys.stdout.write(_example(options.example))
        return int(ExitCode.PASS)
    if options.file is None:
        raise UsageError("fleet: name an inventory", remedy="`auditor fleet --example yaml` writes one to begin with.")
    ruleset = rules.load([*rules.shipped(), *map(Path, options.rules)])
    chips = catalogue.load()
    inventory = document.read(Path(options.file), chips, ways.questions(ruleset))
    as_of = day(options.as_of) or datetime.now(UTC).date()
    judged = judge(Books(ruleset=ruleset, inventory=inventory, as_of=as_of))
    mode = Mode(options.mode)
    _write(_drawn(judged, chips, mode, options.format), options.out)
    reached = judged.against(mode) or judged.over(mode)
    return int(ExitCode.THRESHOLD if reached else ExitCode.PASS)


def _drawn(judged: Judged, chips: catalogue.Catalogue, mode: Mode, form: str) -> str:
    if form == "json":
        plain_page = fleet_json.to_plain(judged, chips, mode)
        return json.dumps(plain_page, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    if form == "html":
        from auditor.report import fleet_page  # noqa: PLC0415 - whoever wants no HTML needs no jinja2

        return fleet_page.render(judged, chips, mode)
    return plain.draw(fleet_text.blocks(judged, chips, mode))


def _write(text: str, out: str | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written: {error.strerror}", remedy="Name another file with --out"
        ) from error


def _example(form: str) -> str:
    return (tree("configs") / "examples" / f"fleet.{form}").read_text(encoding="utf-8")
