"""An inventory is read strictly: what does not fit, or contradicts itself, is named with its place and a remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.errors import InventoryError
from auditor.fleet.inventory import Extent, Under
from auditor.resources import tree

if TYPE_CHECKING:
    from tests.fleet.conftest import Judging, Reading

GOOD = """\
schema: auditor.fleet/1
companies:
  - {id: firm, headquarters: IN, parent: above, parent_headquarters: SG, complete: group,
     authorisations: [{kind: NVEU, country: IN, since: 2025-08-01, until: 2027-01-01}]}
  - {id: other, headquarters: MY, private_sector_end_user: true}
sites:
  - {id: pune, country: IN, owner: firm}
  - {id: johor, country: MY, owner: other}
chips:
  - {id: mine, tpp: 9000, performance_density: 7.5, data_centre: true, source: a letter}
shipments:
  - {id: one, site: pune, chip: h100-sxm5-80gb, count: 8, date: 2025-09-01, gone: 2026-01-01, under: NVEU, from: TW}
  - {id: two, site: johor, chip: mine, count: 8}
licensed_elsewhere:
  - {country: IN, tpp: 1000000, source: somebody}
"""


def test_everything_that_is_stated_is_kept(read: Reading) -> None:
    found = read(GOOD)
    one, two = found.shipments
    assert (one.under, one.origin, one.day, one.gone) == (Under.NVEU, "TW", date(2025, 9, 1), date(2026, 1, 1))
    assert (one.owner.parent, one.owner.parent_headquarters, one.owner.complete) == ("above", "SG", Extent.GROUP)
    assert (two.day, two.under, two.origin, two.owner.parent) == (None, None, None, None)
    assert two.answers == {"private_sector_end_user": True}
    assert (two.part.id, two.part.source) == ("mine", "as stated: a letter")
    assert one.place.endswith("fleet.yaml:12")
    assert found.name == "fleet"
    assert found.elsewhere["IN"].tpp == 1000000


# what stands there, what is put in its place, and words of the complaint
FAULTS = [
    ("auditor.fleet/1", "auditor.fleet/2", ["fleet.yaml:1: schema: expected 'auditor.fleet/1', got 'auditor.fleet/2'"]),
    ("parent: above", "parnt: above", ["fleet.yaml:3", "unknown name 'parnt'; did you mean 'parent'?"]),
    (
        "headquarters: IN,",
        "headquarters: INN,",
        ["headquarters: expected a country; a country is written as its ISO 3166-1 code of two letters"],
    ),
    ("country: IN, owner", "country: UK, owner", ["fleet.yaml:7: sites[0].country: expected a country"]),
    ("country: IN, owner", "owner", ["fleet.yaml:7", "the field 'country' is missing"]),
    ("owner: firm", "owner: frim", ["unknown name 'frim'; did you mean 'firm'?"]),
    ("site: pune", "site: puna", ["unknown name 'puna'; did you mean 'pune'?"]),
    ("chip: h100-sxm5-80gb", "chip: h100-sxm5", ["fleet.yaml:12", "expected a chip", "Did you mean h100-sxm5-80gb"]),
    ("chip: h100-sxm5-80gb", "chip: L20X", ["seen on other silicon"]),
    ("chip: mine", "chip: Mine", ["Did you mean mine"]),
    ("count: 8, date", "count: 0, date", ["count: expected a whole number from 1"]),
    ("count: 8, date", "count: 8.5, date", ["count: expected a whole number"]),
    (
        "count: 8, date",
        "count: '40,000', date",
        ["count: expected a whole number from 1 to", "got '40,000'; thousands separators are not read: write 40000"],
    ),
    ("count: 8, date", "count: 40,000, date", ["unknown name '000'; a comma ends a value here: write numbers without"]),
    ("count: 8, date", "count: 40_000, date", ["got '40_000'; thousands separators are not read: write 40000"]),
    ("tpp: 1000000", "tpp: 1 000 000", ["expected a number, got '1 000 000'; thousands separators", "1000000"]),
    ("count: 8, date", "count: 1e3, date", ["count: expected a whole number"]),
    ("date: 2025-09-01", "date: 2025-02-30", ["date: expected a date such as 2025-05-15, got '2025-02-30'"]),
    ("gone: 2026-01-01", "gone: 2025-09-01", ["gone: expected a day after the shipment's, 2025-09-01"]),
    ("date: 2025-09-01, ", "", ["gone: expected a `date` of the shipment before it"]),
    ("under: NVEU", "under: NVUE", ["unknown name 'NVUE'; did you mean 'NVEU'?"]),
    (
        "from: TW",
        "from: TWN",
        ["from: expected a country; a country is written as its ISO 3166-1 code of two letters, such as 'DE'"],
    ),
    ("until: 2027-01-01", "until: 2025-08-01", ["until: expected a day after 2025-08-01"]),
    ("country: IN, since", "since", ["expected a country for an NVEU"]),
    ("kind: NVEU", "kind: UVEU", ["none for a UVEU"]),
    ("kind: NVEU", "kind: VEU", ["did you mean"]),
    ("complete: group", "complete: all", ["unknown name 'all'; known are company, group, part"]),
    ("parent: above, parent_headquarters: SG, ", "", ["complete: expected part or company", "`parent`"]),
    ("parent: above", "parent: firm", ["parent_headquarters: expected IN, its headquarters", "got SG"]),
    ("parent: above", "parent: other", ["parent_headquarters: expected MY", "got SG"]),
    ("headquarters: MY,", "headquarters: MY, parent: above, parent_headquarters: US,", ["expected SG", "got US"]),
    ("parent: above", "parent: other", ["One of the two is wrong"]),
    ("id: other,", "id: firm,", ["companies[1].id: expected an id of its own; it stands in line 3 already"]),
    ("id: johor", "id: pune", ["an id of its own"]),
    ("id: two", "id: one", ["shipments[1].id: expected an id of its own; it stands in line 12 already"]),
    ("tpp: 9000", "tpp: -1", ["tpp: expected a number above zero"]),
    ("tpp: 9000", "tpp: many", ["tpp: expected a number, got 'many'"]),
    ("source: a letter", "note: a letter", ["the field 'source' is missing"]),
    ("id: mine, tpp", "id: h200-sxm, tpp", ["its parts have their own figures"]),
    ("data_centre: true", "data_centre: yes", ["data_centre: expected true or false, got 'yes'"]),
    (
        "owner: other}",
        "owner: other, private_sector_end_user: false}",
        ["private_sector_end_user: expected what", "got"],
    ),
    (
        "{country: IN, tpp: 1000000",
        "{country: IN, tpp: 1000000, source: a}\n  - {country: IN, tpp: 1",
        ["each country once"],
    ),
    ("companies:", "company:", ["the field 'companies' is missing"]),
    ("schema: auditor.fleet/1\n", "schema: auditor.fleet/1\nschema: auditor.fleet/1\n", ["stands twice"]),
]


@pytest.mark.parametrize(("old", "new", "said"), FAULTS, ids=lambda part: part if isinstance(part, str) else "")
def test_what_does_not_fit_is_named(read: Reading, old: str, new: str, said: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(InventoryError) as caught:
        read(GOOD.replace(old, new, 1))
    told = f"{caught.value} {caught.value.remedy}"
    for words in said:
        assert words in told
    assert "fleet.yaml:" in told
    assert caught.value.exit_code == 2


def test_an_ultimate_parent_has_no_parent(read: Reading) -> None:
    text = GOOD.replace("headquarters: MY,", "headquarters: MY, parent: firm,")
    with pytest.raises(InventoryError, match="expected the ultimate parent, got 'firm', which has the parent 'above'"):
        read(text)


def test_whom_others_name_as_their_parent_is_its_own(read: Reading) -> None:
    text = GOOD.replace("parent: above, parent_headquarters: SG", "parent: other")
    found = read(text).companies
    assert (found["other"].parent, found["other"].parent_headquarters) == ("other", "MY")
    assert found["firm"].parent_headquarters == "MY"


def test_a_name_that_one_part_has_finds_it_and_one_that_several_have_does_not(read: Reading) -> None:
    assert read(GOOD.replace("h100-sxm5-80gb", "NVIDIA H100 SXM5 80GB")).shipments[0].part.id == "h100-sxm5-80gb"
    assert read(GOOD.replace("h100-sxm5-80gb", "unknown")).shipments[0].part.circuit.tpp is None


def test_two_authorisations_of_one_kind_do_not_meet(read: Reading) -> None:
    twice = (
        "{kind: NVEU, country: IN, since: 2026-12-31}, {kind: NVEU, country: IN, since: 2025-08-01, until: 2027-01-01}"
    )
    with pytest.raises(InventoryError, match="days that no other authorisation"):
        read(GOOD.replace("{kind: NVEU, country: IN, since: 2025-08-01, until: 2027-01-01}", twice))
    after = twice.replace("2026-12-31", "2027-01-01")
    assert (
        len(read(GOOD.replace("{kind: NVEU, country: IN, since: 2025-08-01, until: 2027-01-01}", after)).companies) == 2
    )


HEADER = "id,site,country,owner,headquarters,parent,parent_headquarters,complete,chip,count,date,under,from"
ROW = "one,pune,IN,firm,IN,firm,IN,group,h100-sxm5-80gb,8,2025-09-01,NVEU,TW"


def test_rows_and_yaml_say_the_same(read: Reading) -> None:
    yaml = read(
        "schema: auditor.fleet/1\ncompanies: [{id: firm, headquarters: IN, parent: firm, complete: group}]\n"
        "sites: [{id: pune, country: IN, owner: firm}]\nshipments:\n"
        "  - {id: one, site: pune, chip: h100-sxm5-80gb, count: 8, date: 2025-09-01, under: NVEU, from: TW}\n"
    )
    table = read(f"{HEADER}\n{ROW}\n", "fleet.csv")

    def without_places(found: object) -> object:
        owner = replace(found.owner, place="")  # type: ignore[attr-defined]
        site = replace(found.site, place="")  # type: ignore[attr-defined]
        return replace(found, owner=owner, site=site, place="")  # type: ignore[type-var]

    assert [*map(without_places, table.shipments)] == [*map(without_places, yaml.shipments)]


ROW_FAULTS = [
    (f"{HEADER.replace('headquarters', 'headquaters', 1)}\n{ROW}\n", ["fleet.csv:1", "did you mean 'headquarters'?"]),
    (f"{HEADER},id\n{ROW},one\n", ["fleet.csv:1: the column 'id' stands twice"]),
    (f"{HEADER.replace('chip,', '')}\n", ["fleet.csv:1: the column 'chip' is missing"]),
    (f"{HEADER}\n{ROW},more\n", ["fleet.csv:2: expected 13 cells, as in the first line, got 14"]),
    (f"{HEADER}\n{ROW}\n{ROW}\n", ["fleet.csv:3: id: expected an id of its own; it stands in line 2 already"]),
    (
        f"{HEADER}\n{ROW}\n{ROW.replace('one', 'two').replace('pune,IN', 'pune,SG')}\n",
        ["fleet.csv:3: country: expected 'IN' for 'pune', as in line 2, got 'SG'", "One of the two rows is wrong"],
    ),
    (
        f"{HEADER}\n{ROW}\n{ROW.replace('one', 'two').replace('firm,IN,firm', 'firm,SG,firm')}\n",
        ["fleet.csv:3: headquarters: expected 'IN' for 'firm', as in line 2, got 'SG'"],
    ),
    (f"{HEADER}\n{ROW.replace('h100-sxm5-80gb', '')}\n", ["fleet.csv:2: chip: expected a value, got nothing"]),
    (f"{HEADER}\n{ROW.replace('2025-09-01', '01.09.2025')}\n", ["fleet.csv:2: date: expected a date"]),
    (f'{HEADER}\n"{ROW}\n', ["fleet.csv", "not the CSV that is read here"]),
    (f"{HEADER},authorised_since\n{ROW},2025-01-13\n", ["fleet.csv:2: authorisation: expected UVEU or NVEU"]),
    (f"{HEADER},authorisation\n{ROW},NVEU\n", ["fleet.csv:2", "the field 'since' is missing"]),
    (f"{HEADER},tpp\n{ROW},9000\n", ["fleet.csv:2", "the field 'source' is missing"]),
    (f"{HEADER},tpp,source\n{ROW},9000,me\n", ["an id that the catalogue does not have"]),
    ("", ["fleet.csv:1: the column 'id' is missing"]),
]


@pytest.mark.parametrize(("text", "said"), ROW_FAULTS)
def test_rows_that_do_not_fit_are_named(read: Reading, text: str, said: list[str]) -> None:
    with pytest.raises(InventoryError) as caught:
        read(text, "fleet.csv")
    told = f"{caught.value} {caught.value.remedy}"
    for words in said:
        assert words in told


def test_several_rows_make_one_company_with_its_authorisations(read: Reading) -> None:
    second = ROW.replace("one,pune,IN", "two,changi,SG").replace("IN,firm,IN,group", ",,,")
    third = ROW.replace("one", "three")
    rows = [f"{HEADER},authorisation,authorised_since", f"{ROW},NVEU,2025-08-01", ""]
    rows += [f"{second},NVEU,2026-01-01", f"{third},NVEU,2025-08-01", ""]
    text = "\n".join(rows)
    found = read(text, "fleet.csv")
    (firm,) = found.companies.values()
    assert [(one.country, str(one.since)) for one in firm.authorisations] == [
        ("IN", "2025-08-01"),
        ("SG", "2026-01-01"),
    ]
    assert firm.headquarters == "IN"
    assert [one.place.rsplit(":", 1)[1] for one in found.shipments] == ["2", "4", "5"]


def test_a_file_that_is_none_is_a_clear_error(read: Reading, ruleset: object, chips: object, tmp_path: Path) -> None:
    from auditor.fleet import document

    with pytest.raises(InventoryError, match="cannot be read"):
        document.read(tmp_path / "missing.yaml", chips, ())  # type: ignore[arg-type]
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryError, match="cannot be read"):
        document.read(broken, chips, ())  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["yaml", "csv"])
def test_the_examples_are_read_and_show_every_kind_of_answer(judged: Judging, form: str) -> None:
    text = (tree("configs") / "examples" / f"fleet.{form}").read_text(encoding="utf-8")
    found = judged(text, name=f"fleet.{form}")
    outcomes = {str(one.outcome) for rulings in found.rulings.values() for one in rulings}
    assert {"no licence needed", "open", "undetermined"} <= outcomes
    assert {str(one.tier) for one in found.destinations} == {"AI-authorization list", "neither list"}
    assert found.universal
    assert found.schedule
