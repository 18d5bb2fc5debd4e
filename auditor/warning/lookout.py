"""Looks at a run that is being written, and finds the levels that it has passed and nobody was told of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor import rules
from auditor.records import Alert
from auditor.rules.answers_file import Answers, read_file
from auditor.rules.cases import Subject
from auditor.rules.model import Mode, RuleKind
from auditor.units import scientific, wire
from auditor.warning.following import Following
from auditor.warning.passing import check_rules, marks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from auditor.levels import Level
    from auditor.rules.model import RuleSet
    from auditor.rules.verdict import Judged
    from auditor.warning.passing import Mark

SCHEMA = "auditor.alert/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A level that was passed: what is written down of it, what is said of it, and what somebody is told, as JSON."""

    mark: Mark
    words: str
    body: bytes

    def record(self, ways: Sequence[str]) -> Alert:
        """The record that these ways took it."""
        return Alert(
            name=self.mark.name,
            level=self.mark.level.text,
            rule=self.mark.rule,
            at=wire(self.mark.at_ops),
            counted=wire(self.mark.counted_ops),
            told=" ".join(ways),
        )


class Lookout:
    """Holds what a run in ``directory`` has done so far against ``levels``; earlier training counts as answered.

    Raises: RuleError: packs, answers or levels that do not fit.
    """

    def __init__(
        self, directory: Path, run_id: str, levels: Sequence[Level], packs: Sequence[Path], answers: Path | None
    ) -> None:
        self._following = Following(directory, run_id)
        self._run_id = run_id
        self._levels = levels
        self._ruleset, self._answers = read_law(levels, packs, answers)
        self._told: set[str] = set()
        self.passed: list[Mark] = []  # by the last look, told or not

    def look(self, now: datetime | None = None) -> list[Passed]:
        """The levels that are passed and of which nobody was told, by what the ledger says; each is given out once."""
        now = now or datetime.now(UTC)
        self._following.look()
        told = self._told | self._following.told
        judged = self._judged(now.date())
        held = marks(self._levels, judged, self._following.operations.total, floor=True)
        self.passed = [mark for mark in held if mark.passed]
        found = [mark for mark in self.passed if mark.name not in told]
        self._told.update(mark.name for mark in found)
        by_rule = {one.rule.id: one for one in judged}
        return [self._passed(mark, by_rule.get(mark.rule), now) for mark in found]

    def _judged(self, day: date) -> list[Judged]:
        subject = Subject(
            ruleset=self._ruleset,
            operations=self._following.operations,
            as_of=day,
            answers=self._answers.values,
            mode=Mode.AS_CODIFIED,
            lower_bound=True,  # more may have been done than is written
            generators=self._answers.generators,
        )
        return [subject.judge(rule) for rule in self._ruleset.rules if rule.kind is RuleKind.MODEL_THRESHOLD]

    def _passed(self, mark: Mark, one: Judged | None, now: datetime) -> Passed:
        seen, expected = self._following.ranks
        finding = one.finding if one else None
        plain = {
            "schema": SCHEMA,
            "id": hashlib.sha256(f"{self._run_id}\0{mark.name}".encode()).hexdigest()[:32],
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "run": self._run_id,
            "model": ", ".join(self._following.models),
            "level": mark.level.text,
            "rule": mark.rule or None,
            "title": finding.title if finding else None,
            "status": finding.status if finding else None,
            "binds": finding.binds if finding else None,
            "line": wire(mark.line_ops) if mark.line_ops else None,
            "at": wire(mark.at_ops),
            "counted": wire(mark.counted_ops),
            "ranks_seen": seen,
            "ranks_expected": expected,
        }
        body = json.dumps(plain, sort_keys=True, ensure_ascii=True).encode()
        return Passed(mark=mark, words=_words(mark, seen, expected), body=body)


def read_law(levels: Sequence[Level], packs: Sequence[Path], answers: Path | None) -> tuple[RuleSet, Answers]:
    """The rules, and the answers in the file.

    Raises: RuleError: a pack or the answers do not fit, or a level names a rule that is none.
    """
    ruleset = rules.load([*rules.shipped(), *packs])
    check_rules(levels, ruleset)
    return ruleset, read_file(answers, ruleset) if answers else Answers.none()


def _words(mark: Mark, seen: int, expected: int) -> str:
    what = f"the level {mark.level.text}" + (f" of {mark.rule}" if mark.rule and not mark.level.rule else "")
    ranks = "" if seen >= expected else f", by {seen} of {expected} ranks"
    return f"{what} is passed: at least {scientific(mark.counted_ops)} operations are counted{ranks}"
