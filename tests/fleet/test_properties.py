"""What holds for any inventory: no order of rows matters, more chips open nothing, the unknown is not decided."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.fleet.books import Books
from auditor.fleet.inventory import Under
from auditor.fleet.judged import judge
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from auditor.fleet.judged import Judged
    from tests.fleet.conftest import Judging

DAY = date(2026, 11, 22)
COUNTRIES = ("US", "DE", "IN", "VN", "SG", "AE", "CN", "CY")
WAYS = [None, "AIA", "LPP", "NVEU", "UVEU", "licence"]
CHIPS = ["h100-sxm5-80gb", "rtx-4090", "b-class", "no-class", "unknown"]
FLAGS = ("private_sector_end_user", "develops_produces_or_stores", "trains_4e091_for_outsiders")
HEAVY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

countries = st.sampled_from(COUNTRIES)
days = st.one_of(st.none(), st.dates(date(2025, 1, 1), date(2027, 12, 31)))


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    firms = [draw(company(name)) for name in ("one", "two")]
    sites = [
        {"id": f"{firm['id']}-{country}", "country": country, "owner": firm["id"]}
        for firm in firms
        for country in COUNTRIES
    ]
    number = draw(st.integers(1, 5))
    return {
        "schema": "auditor.fleet/1",
        "companies": firms,
        "sites": sites,
        "chips": [
            {"id": "b-class", "tpp": 2400, "performance_density": 1.6, "data_centre": True, "source": "here"},
            {"id": "no-class", "tpp": 100, "performance_density": 0.5, "data_centre": True, "source": "here"},
        ],
        "shipments": [draw(shipment(f"s{place}", [site["id"] for site in sites])) for place in range(number)],
        "licensed_elsewhere": [
            {"country": country, "tpp": draw(st.integers(1, 10**9)), "source": "here"}
            for country in draw(st.sets(countries))
        ],
    }


@st.composite
def company(draw: st.DrawFn, name: str) -> dict[str, Any]:
    headquarters = draw(countries)
    parent = draw(st.sampled_from([name, "above"]))
    holds: list[dict[str, Any]] = draw(st.sampled_from([[], [{"kind": "UVEU"}], [{"kind": "NVEU", "country": "IN"}]]))
    return {
        "id": name,
        "headquarters": headquarters,
        "parent": parent,
        "parent_headquarters": headquarters if parent == name else "US",
        "complete": draw(st.sampled_from(["part", "company", "group"])),
        "authorisations": [{**one, "since": "2025-02-01"} for one in holds],
        **{flag: draw(st.booleans()) for flag in FLAGS},
    }


@st.composite
def shipment(draw: st.DrawFn, name: str, sites: list[str]) -> dict[str, Any]:
    day = draw(days)
    return {
        "id": name,
        "site": draw(st.sampled_from(sites)),
        "chip": draw(st.sampled_from(CHIPS)),
        "count": draw(st.sampled_from([1, 100, 1699, 1700, 40000, 60000, 400000])),
        "date": None if day is None else day.isoformat(),
        "under": draw(st.sampled_from(WAYS)),
        "from": draw(st.sampled_from(["TW", "US", "IN"])),
    }


def text_of(inventory: dict[str, Any]) -> str:
    return json.dumps(inventory)


def decided(page: Judged) -> dict[tuple[str, ...], Any]:
    """Everything that an answer may be about, by its name; None where it is open."""
    found: dict[tuple[str, ...], Any] = {}
    for mode, rulings in page.rulings.items():
        for one in rulings:
            outcome = str(one.outcome)
            found["outcome", mode, one.shipment.id] = None if outcome == "undetermined" else outcome
            found["needed", mode, one.shipment.id] = one.needed
            for path in one.paths:
                found["way", mode, one.shipment.id, str(path.under)] = path.answer
    for line in page.lines():
        found["over", line.rule, line.subject] = line.over
    return found


@HEAVY
@given(inventory=inventories(), data=st.data())
def test_the_order_of_rows_changes_nothing(judged: Judging, inventory: dict[str, Any], data: st.DataObject) -> None:
    before = judged(text_of(inventory), DAY)
    shuffled = {
        name: data.draw(st.permutations(part)) if isinstance(part, list) else part for name, part in inventory.items()
    }
    after = judged(text_of(shuffled), DAY)
    assert decided(after) == decided(before)
    amounts = [
        {(one.rule, one.subject): (one.used, one.line, one.left) for one in page.lines()} for page in (before, after)
    ]
    assert amounts[0] == amounts[1]


@HEAVY
@given(inventory=inventories(), data=st.data())
def test_more_chips_open_no_way(judged: Judging, inventory: dict[str, Any], data: st.DataObject) -> None:
    """But for the shares of a UVEU: chips elsewhere make its total grow, and the shares of other places smaller."""
    place = data.draw(st.integers(0, len(inventory["shipments"]) - 1))
    more = json.loads(text_of(inventory))
    more["shipments"][place]["count"] += data.draw(st.integers(1, 10**6))
    before, after = (decided(judged(text_of(one), DAY)) for one in (inventory, more))
    rank = {False: 0, None: 1, True: 2}
    for name, answer in after.items():
        if name[0] == "way" and name[3] != str(Under.UVEU) and name in before:
            assert rank[answer] <= rank[before[name]], name
        if name[0] == "over" and name[1] != "us_ear_uveu_2025" and before[name] is True:
            assert answer is True, name


FORGOTTEN = ("headquarters", "parent", "complete", *FLAGS)


@HEAVY
@given(inventory=inventories(), data=st.data())
def test_what_is_unknown_is_never_decided_by_a_guess(
    judged: Judging, inventory: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever is decided without knowing something is decided alike with knowing it."""
    less = json.loads(text_of(inventory))
    for firm in less["companies"]:
        for name in data.draw(st.sets(st.sampled_from(FORGOTTEN))):
            firm.pop(name, None)
            if name in ("parent", "headquarters"):  # else the one would say the other
                firm.pop("parent_headquarters", None)
                firm["complete"] = "part"
                firm.pop("parent", None)
    for one in less["shipments"]:
        for name in data.draw(st.sets(st.sampled_from(["under", "from", "chip"]))):
            one[name] = "unknown" if name == "chip" else None
    if data.draw(st.booleans()):
        less["licensed_elsewhere"] = []
    known, open_ones = (decided(judged(text_of(one), DAY)) for one in (inventory, less))
    for name, answer in open_ones.items():
        if answer is not None and name in known:
            assert known[name] == answer, name


@HEAVY
@given(inventory=inventories())
def test_every_open_answer_says_why_and_every_closed_one_names_its_rules(
    judged: Judging, inventory: dict[str, Any]
) -> None:
    page = judged(text_of(inventory), DAY)
    for rulings in page.rulings.values():
        for one in rulings:
            assert bool(one.because) == (str(one.outcome) == "undetermined")
            assert one.required_by or one.because
            for path in one.paths:
                assert (path.answer is None) == bool(path.because)
                assert path.answer is None or path.said
    for line in page.lines():
        assert line.because or line.over is not None
        assert line.line is None or line.left is not None


@HEAVY
@given(inventory=inventories())
def test_a_line_is_where_its_rule_turns(judged: Judging, inventory: dict[str, Any]) -> None:
    """Judged again with all that is left licensed to others too, a country is within its cap; one TPP more is over."""
    page = judged(text_of(inventory), DAY)
    exact = (one for one in page.positions if one.rule == "us_ear_country_cap_2025" and one.over is False)
    one = next((one for one in exact if one.used.low == one.used.high), None)
    if one is None or one.left is None or one.left.high is None:
        return
    for more, over in ((0, False), (1, True)):
        fuller = json.loads(text_of(inventory))
        (others,) = (part for part in fuller["licensed_elsewhere"] if part["country"] == one.subject)
        others["tpp"] += int(one.left.high) + more
        after = {line.subject: line for line in judged(text_of(fuller), DAY).positions if line.rule == one.rule}
        assert after[one.subject].over is over


@pytest.mark.parametrize("mode", list(Mode))
def test_as_enforced_asks_for_no_licence_that_as_codified_does_not(judged: Judging, mode: Mode) -> None:
    """The rules that bind as enforced are some of those that bind as codified."""
    page = judged(
        text_of(
            {
                "schema": "auditor.fleet/1",
                "companies": [{"id": "firm", "headquarters": "IN", "parent": "firm", "complete": "group"}],
                "sites": [{"id": country, "country": country, "owner": "firm"} for country in COUNTRIES],
                "shipments": [
                    {"id": country, "site": country, "chip": "h100-sxm5-80gb", "count": 1} for country in COUNTRIES
                ],
            }
        ),
        DAY,
    )
    for codified, enforced in zip(*page.rulings.values(), strict=True):
        assert codified.needed or not enforced.needed
    assert judge(replace(page.books)).rulings == page.rulings


def test_shipments_of_a_day_share_what_they_are_added_up_to(judged: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many take about twice as long, not four times."""
    looked: list[int] = []
    counted = Books.counted_tpp
    monkeypatch.setattr(Books, "counted_tpp", lambda *given: looked.append(1) or counted(*given))

    def looks(shipments: int) -> int:
        looked.clear()
        head = "id,site,country,owner,headquarters,parent,complete,authorisation,authorised_since,chip,count,date,under"
        rows = [f"{i},s,IN,o,US,o,group,UVEU,2025-02-01,h100-sxm5-80gb,1,2025-09-01,UVEU" for i in range(shipments)]
        judged("\n".join([head, *rows]), name="many.csv")
        return len(looked)

    assert looks(40) < 3 * looks(20)
