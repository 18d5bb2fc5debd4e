"""The table of cases (cases.csv): made-up courses, and the moments that follow, worked out by hand.

Moments are hours since the course began. A course is segments, parted by semicolons: ``[rank N] [from HOUR] Nh at
OPERATIONS [purpose or phase] [killed | writes]``; each hour is an interval of 100 steps.
"""

from __future__ import annotations

import csv
import re
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditor.tally import Phase, Purpose
from auditor.units import parse_ops
from tests.warning.conftest import HOUR_US, START_US, Course
from tests.warning.test_forecast import of, outlook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.rules.model import RuleSet

CASES = list(csv.DictReader((Path(__file__).resolve().parent / "cases.csv").read_text(encoding="utf-8").splitlines()))
SEGMENT = re.compile(
    r"(?:rank (?P<rank>\d+) )?(?:from (?P<begins>\d+) )?(?P<hours>\d+)h at (?P<ops>\S+)"
    r"(?: (?P<kind>[a-z-]+?))?(?: (?P<end>killed|writes))?"
)
ANSWERS = {True: "yes", False: "no", None: "open"}


def courses_of(text: str) -> tuple[list[Course], bool]:
    """The segments, and whether they are being written; one without ``from`` begins where its rank ended."""
    found: list[Course] = []
    ranks = max([int(number) for number in re.findall(r"rank (\d+)", text)], default=0) + 1
    for part in text.split("; "):
        match = SEGMENT.fullmatch(part)
        assert match is not None, part
        kind = "" if match["kind"] in ("killed", "writes") else match["kind"]
        killed = "killed" in (match["kind"], match["end"])
        rank = int(match["rank"] or 0)
        before = [course for course in found if course.rank == rank]
        begins = float(match["begins"] or (len(before[-1].hours) + before[-1].begins_h if before else 0))
        phase = Phase(kind) if kind in set(Phase) else Phase.FORWARD
        found.append(
            Course(
                hours=[(1, 100, parse_ops(match["ops"]))] * int(match["hours"]),
                begins_h=begins,
                rank=rank,
                attempt=len(before),
                purpose=Purpose(kind) if kind and kind not in set(Phase) else Purpose.PRE_TRAINING,
                phase=phase,
                sealed=not killed,
                expected_ranks=ranks,
            )
        )
    return found, "writes" in text


def hours_of(text: str) -> Fraction:
    """What a sum of products writes, such as ``64+9938*64/62``."""
    return sum((prod(map(Fraction, term.split("*"))) for term in text.split("+")), Fraction())


def told(moment_us: int | None, text: str) -> str:
    """The moment as the case writes it, where it is the first microsecond at or after that; else as it is."""
    if moment_us is None:
        return text if text in ("open", "never") else "none"
    if text in ("open", "never", "reached"):
        return f"{moment_us}"
    late_us = moment_us - START_US - hours_of(text) * HOUR_US
    return text if 0 <= late_us <= 1 else f"{late_us} us late"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_the_table_of_cases(write: Any, shipped: RuleSet, case: dict[str, str]) -> None:
    courses, live = courses_of(case["course"])
    answers: dict[str, object] = dict(part.split("=") for part in case["answers"].split("; ") if part)
    plan: Sequence[str] = case["plan"].split("; ") if case["plan"] else ()
    found = outlook(write, shipped, courses, plan=plan, asked_h=float(case["asked"]), answers=answers, live=live)
    line = of(found, case["rule"])
    columns = ("earliest", "as counted", "expected", "latest")
    if case["expected"] == "reached":
        assert line.standing.reached
    else:
        moments = line.reaching or (None,) * 4
        assert [told(us, case[name]) for us, name in zip(moments, columns, strict=True)] == [
            case[name] for name in columns
        ]
    assert (ANSWERS[line.met] if plan else "no plan") == case["in the plan"]
    notify = [duty.due.day.isoformat() for duty in line.duties if duty.duty.id == "notify" and duty.due]
    assert "".join(notify) == case["notify by"]
