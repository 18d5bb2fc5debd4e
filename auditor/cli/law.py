"""What verbs that hold a record against the law have in common: packs, day, mode, answers, plan and levels."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from auditor import config, rules
from auditor.cli.reading import day
from auditor.levels import Level
from auditor.rules.answers_file import Answers, read_file
from auditor.rules.model import Mode, RuleSet
from auditor.rules.plan import Plan, parse_plan
from auditor.warning.passing import check_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What a record is held against."""

    ruleset: RuleSet
    as_of: date
    mode: Mode
    answers: Answers
    plan: Plan | None
    levels: tuple[Level, ...]


def read(options: argparse.Namespace) -> Law:
    """The law that the command line names."""
    ruleset = rules.load([*rules.shipped(), *map(Path, options.rules)])
    settings = config.load({"alerts": " ".join(options.alert) or None, "answers": options.answers})
    answers = read_file(settings.answers, ruleset) if settings.answers else Answers.none()
    check_rules(settings.alerts, ruleset)
    return Law(
        ruleset=ruleset,
        as_of=day(options.as_of) or datetime.now(UTC).date(),
        mode=Mode(options.mode),
        answers=answers,
        plan=parse_plan(options.plan) or answers.plan,
        levels=settings.alerts,
    )
