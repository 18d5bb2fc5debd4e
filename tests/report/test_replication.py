"""What ranks update alike in the report: how often, by whom it is told, and what is not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from auditor.records import Updates
from auditor.report import html, json_text, terminal
from auditor.report.replication import sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View

DDP, PLACED = "DistributedDataParallel", "DTensor"
Part = tuple[str, int, str, int, int, str]


def copied(piece: str = "p", elements: int = 100, ranks: int = 2, group: str = "g") -> Part:
    return (DDP, ranks, group, ranks, elements, piece)


def divided(piece: str, elements: int = 100, ranks: int = 2, group: str = "g") -> Part:
    return (PLACED, ranks, group, 1, elements, piece)


def update(*parts: Part, ops: str = "1200", number: int = 0, step: int = 0, optimizer: str = "AdamW") -> Updates:
    return Updates(number=number, optimizer=optimizer, step=step, operations=ops, parts=parts)


@pytest.fixture
def found(make_view: Callable[..., View]) -> Callable[..., Any]:
    """What is found of the updates that ranks have written: a list for each."""

    def find(*by_rank: list[Updates]) -> Any:
        return make_view(updates=by_rank, ranks=len(by_rank), written_ranks=len(by_rank)).replications

    return find


def test_what_two_ranks_hold_whole_is_updated_twice(found):
    (one,) = found([update(copied())], [update(copied())]).known
    assert (one.parameters, one.updates, one.copies) == (100, 200, 2)
    assert (one.step_ops, one.repeated_ops) == (2400, 1200)


def test_what_they_divide_is_updated_once_however_unevenly(found):
    (one,) = found([update(divided("p", 60), ops="720")], [update(divided("q", 40), ops="480")]).known
    assert (one.parameters, one.updates, one.copies) == (100, 100, 1)
    assert (one.step_ops, one.repeated_ops) == (1200, 0)


def test_a_step_that_updates_both_kinds_is_not_told_apart(found):
    ranks = [[update(copied(elements=10), divided(piece))] for piece in "pq"]
    whole, halved = sorted(found(*ranks).known, key=lambda one: one.parameters)
    assert (whole.copies, whole.updates, whole.step_ops, whole.repeated_ops) == (2, 20, None, None)
    assert (halved.copies, halved.updates, halved.step_ops, halved.repeated_ops) == (1, 200, None, 0)


def test_what_each_wrote_last_counts(found):
    thawed = [update(copied()), update(copied("all", 150), step=7)]
    (one,) = found(thawed, thawed).known
    assert one.parameters == 150


def test_like_groups_and_like_optimizers_stand_together(found):
    groups = [[update(copied(group=group), number=n) for n in range(3)] for group in ("g", "g", "h", "h")]
    replications = found(*groups)
    (one,) = replications.known
    assert (one.groups, one.ranks, one.optimizers, one.parameters) == (2, 2, 3, 100)
    assert replications.partly


@pytest.mark.parametrize(
    ("ranks", "why"),
    [
        (
            ([update(copied("p"))], [update(copied("q"))]),
            "AdamW on 2 ranks: the ranks that hold the same parameters do",
        ),
        (([update(copied("p", 1))], [update(copied("p", 2))]), "AdamW on 2 ranks: the ranks that hold the same"),
        (([update(copied())], []), "AdamW on 1 rank: 1 of the 2 ranks that share its parameters are in the record"),
        (([update(("", 0, "", 0, 5, "p"))], []), "AdamW on 1 rank: parameters of no DistributedDataParallel model"),
        (([update(("", 0, "", 0, 0, ""))], []), "AdamW on 1 rank: its step is none of torch.optim's"),
    ],
)
def test_what_is_not_known_is_said_and_nothing_else(found, ranks, why):
    replications = found(*ranks)
    assert replications.known == ()
    (said,) = replications.unknown
    assert said.startswith(why)


def test_other_operations_for_the_same_piece_are_not_taken_for_a_repetition(found):
    assert not found([update(copied(), ops="1200")], [update(copied(), ops="1100")]).known


def test_like_groups_and_like_optimizers_are_said_once(found):
    (one,) = found(*([update(copied(group=group), number=n) for n in range(3)] for group in "gghh")).known
    assert sentence(one).startswith("3 AdamW optimizers, each in each of 2 groups of 2 ranks (Dist")


def test_a_step_of_both_kinds_is_said_in_two_sentences(found):
    halved, whole = found(*([update(copied(elements=1), divided(piece))] for piece in "pq")).known
    assert sentence(halved) == (
        "AdamW on 2 ranks (DTensor): 200 updates of 200 parameters in a step, once each: nothing is repeated."
    )
    assert sentence(whole) == (
        "AdamW on 2 ranks (DistributedDataParallel): 2 updates of 1 parameter in a step, 2 times each; the step "
        "updates others as well, and its operations are not told apart."
    )


@pytest.fixture
def view(make_view: Callable[..., View], hostile: str) -> View:
    ranks = [
        [
            update(copied("big", 124_439_808), ops=str(12 * 124_439_808)),
            update(("", 0, "", 0, 0, ""), number=1, optimizer=hostile),
            update((hostile, 2, "g", 2, 7, "p"), number=2, ops=""),
        ]
    ] * 2
    return make_view(updates=ranks, ranks=2, written_ranks=2)


def test_the_terminal_shows_it(view: View):
    text = terminal.render(view)
    assert "counted as often as it is done" in text
    assert (
        "AdamW on 2 ranks (DistributedDataParallel): 248,879,616 updates of 124,439,808 parameters in a step, 2 times "
        "each; of the 2,986,555,392 operations of the optimizer phase in it, 1,493,277,696 were done again on another "
        "rank."
    ) in " ".join(text.split())
    assert "\x1b" not in text


def test_the_json_holds_it_and_fits_its_schema(view: View, check: Callable[[View], Any]):
    first = check(view)["replication"]["updates"][-1]
    assert first == {
        "optimizer": "AdamW",
        "optimizers": 1,
        "kept_by": DDP,
        "groups": 1,
        "ranks": 2,
        "parameters": 124_439_808,
        "updates": 248_879_616,
        "times": 2,
        "operations": "2986555392",
        "repeated": "1493277696",
    }


def test_the_page_shows_it_and_believes_no_name(view: View):
    page = html.render(view)
    assert "<h2>Replicated work</h2>" in page
    assert "248,879,616" in page
    assert "<script>" not in page


def test_where_one_process_trains_alone_nothing_is_said(make_view: Callable[..., View]):
    view = make_view()
    assert "Replicated" not in terminal.render(view)
    assert "Replicated" not in html.render(view)
    assert json.loads(json_text.to_json(view))["replication"] == {"updates": [], "unknown": []}


@pytest.mark.parametrize(("why", "words"), [("several times", "several times"), ("in part", "sparse")])
def test_why_a_step_of_torchs_own_is_not_known_is_said(found, why, words):
    said = found(*[[update(("", 0, why, 0, 0, ""))]] * 2)
    assert said.known == ()
    (reason,) = said.unknown
    assert words in reason
