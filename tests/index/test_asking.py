"""Sums, filters and lines: exact in either database, whatever the order of the imports."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor import rules
from auditor.formulas import TABLE, Pricer
from auditor.hardware import catalogue
from auditor.index import Access, Filters, groups, open_index, take
from auditor.index.writing import write, write_anew
from auditor.ledger import Recount
from auditor.operations import Operations
from auditor.resources import tree

GPU = {"kind": "gpu", "name": "NVIDIA H200", "pci_device_id": "10de:2335", "pci_subsystem_id": "10de:18be"}
H100 = {"kind": "gpu", "name": "NVIDIA H100 80GB HBM3", "pci_device_id": "10de:2330", "pci_subsystem_id": "10de:16c1"}
AS_OF = date(2026, 11, 22)
LINE = 10**26
BUCKET = ("forward", "matmul", "bfloat16", "pre-training")


def entry_of(office, name, amounts, **changes):
    """What would be kept of a run of these operations by bucket: a real ledger's entry with other amounts."""
    if office.base is None:
        recount = Recount(price=Pricer().price, digest=TABLE.digest)
        office.base = take(office.run("base").directory, recount, catalogue.load(), "2026-11-22T00:00:00Z")
    buckets = tuple((bucket, (amount, 0, 0)) for bucket, amount in amounts.items())
    told = {"run_id": name, "buckets": buckets, "total_ops": sum(amounts.values()), "path": f"/nowhere/{name}"}
    return replace(office.base, **(told | changes))


def put(office, *entries):
    with open_index(office.place, Access.MAKE) as database:
        write(database, entries)


def over(office, percent, by="run"):
    with open_index(office.place) as database:
        law = rules.load()
        found = groups(database, law, by=by, filters=Filters(), as_of=AS_OF, over_percent=Decimal(percent))
        return {group.key: group.operations.total for group in found}


@pytest.mark.parametrize("line", [LINE, 10**23])
def test_one_operation_below_at_and_above_a_line(office, line):
    """64 bits hold neither of the two lines' neighbours, and a float takes them for the line."""
    put(office, *(entry_of(office, f"run{step:+}", {BUCKET: line + step}) for step in (-1, 0, 1)))
    assert office.amounts() == {f"run{step:+}": line + step for step in (-1, 0, 1)}
    assert office.amounts("--by", "model") == {"tiny": 3 * line}
    # Percentages of the lowest line that the law has on that day, 10^23.
    assert over(office, 100 * line // 10**23) == {"run+1": line + 1}
    assert sorted(over(office, Decimal(100 * line - 1) / 10**23)) == ["run+0", "run+1"]


def test_sums_of_models_that_are_over_a_line_only_together(office):
    third = LINE // 3
    put(office, *(entry_of(office, f"part-{part}", {BUCKET: third}, model="large") for part in range(3)))
    (group,) = office.list("--by", "model", "--over", "99", "--as-of", "2026-11-22")["groups"]
    assert (group["key"], group["runs"], group["operations"]) == ("large", 3, str(3 * third))
    lines = {line["id"]: line for line in group["lines"]}
    assert lines["us_ear_4e091_2025"]["counted"] == str(3 * third) == str(LINE - 1)
    assert lines["us_ear_4e091_2025"]["verdict"] != "reached"
    assert lines["eu_ai_act_art51"]["verdict"] == "reached"
    put(office, entry_of(office, "part-3", {BUCKET: 1}, model="large"))
    (group,) = office.list("--by", "model", "--over", "99", "--as-of", "2026-11-22")["groups"]
    assert {line["id"]: line["fraction"] for line in group["lines"]}["us_ear_4e091_2025"] == "1"


def test_all_runs_on_a_chip(office):
    uuids = [{"uuid": f"GPU-{number}"} for number in range(3)]
    office.run("on-h200", devices=tuple(GPU | uuid for uuid in uuids))
    office.run("on-both", devices=(GPU | uuids[0], H100 | {"uuid": "GPU-9"}))
    office.run("on-none")
    office.add()
    assert set(office.amounts("--chip", "h200-sxm")) == {"on-h200", "on-both"}
    assert set(office.amounts("--chip", "NVIDIA H100 80GB HBM3")) == {"on-both"}
    assert office.amounts("--chip", "h100") == {}
    each = 96 * 4 * 6
    by_chip = office.amounts("--by", "chip")
    assert by_chip["h200-sxm"] == 2 * each
    assert sorted(by_chip.values()) == [each, each, 2 * each]
    devices = office.show("on-h200")["run"]["devices"]
    assert devices == [{"chip": "h200-sxm", "name": "NVIDIA H200", "kind": "gpu", "number": "3"}]


def test_a_run_is_in_a_group_once_whatever_its_devices_call_themselves(office):
    office.run("one", devices=(GPU | {"uuid": "GPU-1"}, GPU | {"uuid": "GPU-2", "name": "Graphics Device"}))
    office.add()
    assert office.amounts("--by", "chip") == {"h200-sxm": 96 * 4 * 6}


def test_by_host_month_and_verdict(office):
    put(
        office,
        entry_of(office, "a", {BUCKET: 1}, hosts=("n1", "n2"), started="2026-01-31T23:59:59.9Z"),
        entry_of(office, "b", {BUCKET: 2}, hosts=("n2",), started="2026-02-01T00:00:00.0Z"),
        entry_of(office, "c", {BUCKET: 4}, hosts=(), verdict="INCOMPLETE", complete=False, started="2026-02-02T"),
    )
    assert office.amounts("--by", "host") == {"n1": 1, "n2": 3}
    assert office.amounts("--by", "month") == {"2026-01": 1, "2026-02": 6}
    assert office.amounts("--by", "verdict") == {"UNANCHORED": 3, "INCOMPLETE": 4}
    assert office.amounts("--host", "n1") == {"a": 1}
    assert office.amounts("--month", "2026-02", "--verdict", "UNANCHORED") == {"b": 2}
    assert office.amounts("--by", "host", "--month", "2026-02") == {"n2": 2}
    complete = {group["key"]: group["complete"] for group in office.list("--by", "month")["groups"]}
    assert complete == {"2026-01": True, "2026-02": False}


def test_operators_without_a_formula_are_summed_and_make_a_floor(office):
    put(
        office,
        entry_of(office, "a", {BUCKET: 1}, unpriced=(("x::y", 2**63),), complete=False),
        entry_of(office, "b", {BUCKET: 1}, unpriced=(("x::y", 1), ("x::z", 5)), complete=False),
    )
    (group,) = office.list("--by", "model")["groups"]
    assert group["unpriced"] == [{"op": "x::y", "calls": str(2**63 + 1)}, {"op": "x::z", "calls": "5"}]
    assert group["complete"] is False
    assert all(line["lower_bound"] for line in group["lines"])
    assert "at least 2" in office.index("list", "--by", "model")


def test_runs_that_were_counted_under_other_formulas_are_told(office):
    put(office, entry_of(office, "a", {BUCKET: 1}, formulas="0" * 64), entry_of(office, "b", {BUCKET: 1}))
    assert office.list("--by", "model")["other_formulas"] == 1
    assert "than that of this auditor: 1 run." in office.index("list").replace("\n", " ")


def test_the_largest_first_and_no_more_than_asked_for(office):
    put(office, *(entry_of(office, f"run-{n}", {BUCKET: 10**n}) for n in (0, 20, 9, 10, 30)))
    assert list(office.amounts()) == ["run-30", "run-20", "run-10", "run-9", "run-0"]
    found = office.list("--most", "2")
    assert [group["key"] for group in found["groups"]] == ["run-30", "run-20"]
    assert found["more"] is True
    assert office.list("--most", "5")["more"] is False
    assert "There are more than these 2" in office.index("list", "--most", "2")


AMOUNTS = st.dictionaries(
    st.tuples(
        st.sampled_from(["forward", "backward", "inference"]),
        st.sampled_from(["matmul", "pointwise"]),
        st.just("bfloat16"),
        st.sampled_from(["pre-training", "evaluation"]),
    ),
    st.integers(0, 10**30),
    max_size=4,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(runs=st.lists(st.tuples(st.sampled_from("ab"), AMOUNTS), min_size=1, max_size=5), order=st.randoms())
def test_sums_are_exact_in_any_order_and_however_often(office, runs, order):
    entries = [entry_of(office, f"run-{n}", amounts, model=model) for n, (model, amounts) in enumerate(runs)]
    again = [*entries, *entries[:2]]
    order.shuffle(again)
    with open_index(office.place, Access.MAKE) as database:
        write_anew(database, [])
        for entry in again:
            write(database, [entry])
        found = groups(database, rules.load(), by="model", filters=Filters(), as_of=AS_OF)
    for group in found:
        expected: dict[tuple[str, ...], int] = {}
        for model, amounts in runs:
            for bucket, amount in amounts.items() if model == group.key else ():
                expected[bucket] = expected.get(bucket, 0) + amount
        assert {bucket: amount.algorithmic_ops for bucket, amount in group.operations.amounts.items()} == expected
    assert {group.key for group in found} == {model for model, _ in runs}


def schema():
    document = json.loads((tree("configs") / "schema" / "index.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_every_answer_fits_the_schema(office, tmp_path):
    run = office.run("one", devices=(GPU | {"uuid": "GPU-1"},))
    run.segment(1, attempt=1, seal=False)
    check = schema()
    check.validate(json.loads(office.index("add", office.directory, tmp_path / "none", "--json", code=2)))
    check.validate(json.loads(office.index("rebuild", "--json")))
    for by in ("run", "model", "chip", "host", "month", "verdict"):
        check.validate(office.list("--by", by))
    check.validate(office.list("--over", "12.5", "--model", "tiny"))
    check.validate(json.loads(office.index("show", "one", "--json")))
    assert not check.is_valid({"schema": "auditor.index/1", "imported": [{}]})


def test_a_run_is_shown_by_its_beginning_or_its_directory(office):
    office.run("20261122-a")
    office.run("20261122-b")
    office.add()
    assert office.show("20261122-a")["key"] == "20261122-a"
    assert office.show("20261122-b")["key"] == "20261122-b"
    assert office.show(str(office.directory / "20261122-a"))["key"] == "20261122-a"
    office.index("show", "20261122", code=2)
    assert "2 runs begin like that" in office.told
    office.index("show", "%", code=2)
    assert "no run of that id" in office.told
    shown = office.index("show", "20261122-b")
    assert "20261122-b: UNANCHORED" in shown
    assert "operations  2,304" in shown
    assert "ancestors came to is not in" in shown


def test_a_table_for_people(office):
    office.run("one", model="\x1b[31mred")
    office.add()
    shown = office.index("list")
    assert "\x1b" not in shown
    assert "2,304" in shown
    assert "UNANCHORED" in shown
    assert "1 run. Law as of" in shown
    assert "0 models, over 10 % of a line." in office.index("list", "--by", "model", "--over", "10")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--month", "2026-13"], "expected a month"),
        (["--most", "0"], "expected a whole number"),
        (["--most", "9" * 12], "expected a whole number"),
        (["--over", "-1"], "not negative"),
        (["--over", "ten"], "expected a number"),
        (["--by", "week"], "invalid choice"),
        (["--as-of", "now"], "expected a day"),
    ],
)
def test_questions_that_cannot_be_asked(office, arguments, told):
    office.run("one")
    office.add()
    office.index("list", *arguments, code=2)
    assert told in office.told


def test_words_that_no_encoding_holds(office):
    office.run("one")
    office.add()
    assert office.amounts("--model", "\udcff", "--chip", "\udcff", "--host", "\udcff") == {}
    office.index("show", "\udcff", code=2)
    assert "no run of that id" in office.told


def test_an_operations_row_of_an_index_is_the_ledgers(office):
    run = office.run("one")
    office.add()
    with open_index(office.place) as database:
        (group,) = groups(database, rules.load(), by="run", filters=Filters(), as_of=AS_OF)
    assert group.operations == run.read().operations
    assert isinstance(group.operations, Operations)
    assert Path(office.show("one")["run"]["path"]).name == "one"
