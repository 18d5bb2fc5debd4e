"""Cases that a lawyer can read and extend: what is open to a shipment, and where a country stands."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from auditor.rules.model import Mode
from tests.fleet.tables import inventory, rows

if TYPE_CHECKING:
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
