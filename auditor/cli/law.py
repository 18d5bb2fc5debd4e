"""What verbs that hold a record against the law have in common: the packs, the day, the mode, the answers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from auditor import rules
from auditor.cli.reading import day
from auditor.rules.answers_file import Answers, read_file
from auditor.rules.model import Mode, RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What a record is held against."""

    ruleset: RuleSet
    as_of: date
    mode: Mode
    answers: Answers


def read(options: argparse.Namespace) -> Law:
    """The law that the command line names."""
    ruleset = rules.load([*rules.shipped(), *map(Path, options.rules)])
    answers = read_file(Path(options.answers), ruleset) if options.answers else Answers.none()
    return Law(
        ruleset=ruleset,
        as_of=day(options.as_of) or datetime.now(UTC).date(),
        mode=Mode(options.mode),
        answers=answers,
    )
