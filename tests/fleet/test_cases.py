"""Cases that a lawyer can read and extend: what is open to a shipment, and where a country stands."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from auditor.rules.model import Mode
from tests.fleet.tables import inventory, rows

if TYPE_CHECKING:
    from auditor.rules.ranges import Range
    from tests.fleet.conftest import Judging

CASES = rows("cases.csv")
TIERS = rows("tiers.csv")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_the_table_of_shipments(judged: Judging, case: dict[str, str]) -> None:
    found = judged(inventory(case), date.fromisoformat(case["as_of"]))
    codified, enforced = (found.rulings[mode][-1] for mode in Mode)
    assert codified.shipment.id == "asked"
    ways = {
        answer: " ".join(str(path.under) for path in codified.paths if path.answer is answer) for answer in (True, None)
    }
    assert (ways[True], ways[None], str(codified.outcome), str(enforced.outcome)) == (
        case["open ways"],
        case["undetermined ways"],
        case["as codified"],
        case["as enforced"],
    )
    for ruling in (codified, enforced):
        assert bool(ruling.because) == (str(ruling.outcome) == "undetermined")
        assert all(path.because for path in ruling.paths if path.answer is None)


def test_there_are_cases_enough_and_each_says_something_else() -> None:
    assert len(CASES) >= 100
    assert len({case["why"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("row", TIERS, ids=lambda row: f"{row['country']} on {row['as_of']}")
def test_the_table_of_tiers(judged: Judging, row: dict[str, str]) -> None:
    case = {"destination": row["country"], "headquarters": "US", "parent": "US", "holds": "", "before": ""}
    (found,) = judged(inventory(case), date.fromisoformat(row["as_of"])).destinations
    assert (found.country, str(found.tier), found.certainty) == (row["country"], row["tier"], row["certainty"])
    assert "15 CFR part 740 Supplement" in found.source


LINES = rows("lines.csv")


def amount(found: Range | None) -> str:
    """An amount as the table writes it."""
    if found is None:
        return "none"
    low, high = found
    assert low is not None
    if low == high:
        return str(low)
    return f"{low} or more" if high is None else f"{low} to {high}"


@pytest.mark.parametrize("row", LINES, ids=lambda row: f"{row['rule']}: {row['why']}")
def test_the_table_of_lines(judged: Judging, row: dict[str, str]) -> None:
    page = judged(inventory(row), date.fromisoformat(row["as_of"]))
    new = {share.position: share.new for one in page.universal for share in one.shares}
    found = [one for one in page.lines() if (one.rule, one.subject) == (row["rule"], row["of"])]
    if row["used"] == "absent":
        assert found == []
        return
    (one,) = found
    assert (amount(one.used), amount(one.line), amount(one.left)) == (row["used"], row["line"], row["left"])
    assert amount(new[one]) == row["left if new"] if one in new else not row["left if new"]
    assert {True: "yes", False: "no", None: "undetermined"}[one.over] == row["over"]
    assert bool(one.because) == (one.over is None or one.used.low != one.used.high)
