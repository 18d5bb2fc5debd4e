from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from auditor.report.json_text import to_json
from auditor.rules import pack
from auditor.tally import Phase, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View


def test_it_fits_its_schema_under_every_circumstance(
    make_view: Callable[..., View],
    check: Callable[[View], Any],
    opinion: Callable[..., Any],
    h200: dict[str, str],
    tmp_path: Any,
) -> None:
    explained = ({"operator": "aten::mm", "module": "layer", "ours": "4", "theirs": "2", "note": "why"},)
    document = check(
        make_view(
            devices=(h200, {"kind": "gpu", "name": "unheard of"}),
            opinions=(opinion(theirs="3", explained=explained), opinion(inputs="2", unavailable="no trace")),
            gaps=(("formula", "it raised", True),),
            ranks=2,
        )
    )
    assert document["second_opinion"]["explained"] == list(explained)
    assert document["second_opinion"]["difference"] == str(3 - 131072)
    assert document["hardware"][1]["chip"] is None
    assert document["gaps"] == [{"cause": "formula", "message": "it raised", "lower_bound": True, "times": 1}]


def test_the_names_that_others_build_on(make_view: Callable[..., View], check: Callable[[View], Any]) -> None:
    document = check(make_view())
    assert document["schema"] == "auditor.report/1"
    assert {"id", "model", "purpose", "command", "counters", "started", "ended", "steps"} == document["run"].keys()
    assert {"verdict", "reasons", "records", "ranks_expected", "ranks_seen", "head"} <= document["ledger"].keys()
    amounts = {"total", "complete", "abandoned", "abandoned_steps"}
    assert amounts | {"by_phase", "by_family", "by_precision", "by_purpose"} == document["operations"].keys()
    assert {
        "rank",
        "kind",
        "name",
        "identity",
        "chip",
        "candidates",
        "candidates_tpp",
        "basis",
        "tpp",
        "performance_density",
        "eccn",
        "judgement",
    } == document["hardware"][0].keys()
    assert document["machines"] == []
    assert {"tpp_range", "rests_on", "confidence", "working", "reasons", "chip_rules"} <= document["judgements"][
        0
    ].keys()
    wanted = {
        "id",
        "title",
        "status",
        "as_of",
        "counted",
        "threshold",
        "fraction",
        "verdict",
        "reasons",
        "source",
    }
    assert wanted <= document["rules"][0].keys()
    assert document["second_opinion"] is None


def test_amounts_are_exact_however_large(
    make_view: Callable[..., View], check: Callable[[View], Any], tally_of: Callable[..., Tally]
) -> None:
    # 2 x 999,999,937^3 operations each: more digits than a float has.
    huge = tally_of({("999999937x999999937x999999937", Phase.FORWARD): 1})
    document = check(make_view(intervals=((1, huge, 1),)))
    exact = 2 * 999_999_937**3
    assert document["operations"]["total"] == str(exact)
    assert int(float(exact)) != exact
    diffusion = document["rules"][0]
    assert Decimal(diffusion["fraction"]) == Decimal(exact) / Decimal(diffusion["threshold"])


def test_the_same_view_gives_the_same_text(make_view: Callable[..., View]) -> None:
    view = make_view()
    assert to_json(view) == to_json(view)


def test_hostile_names_stay_what_they_are(
    make_view: Callable[..., View], check: Callable[[View], Any], hostile: str
) -> None:
    view = make_view(model=hostile)
    assert to_json(view).isascii()
    assert check(view)["run"]["model"] == hostile


def test_the_shipped_law_fits(make_view: Callable[..., View], check: Callable[[View], Any]) -> None:
    document = check(make_view(law=pack.load()))
    assert "us_ear_4e091_2025" in {rule["id"] for rule in document["rules"]}


def test_an_unknown_field_is_refused(schema: dict[str, Any], make_view: Callable[..., View]) -> None:
    document = json.loads(to_json(make_view()))
    document["operations"]["extra"] = "1"
    assert [error.json_path for error in Draft202012Validator(schema).iter_errors(document)] == ["$.operations"]
