"""What a segment says of itself as a whole, now and then and at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.log import Draft
from auditor.ledger.merkle import Frontier, leaf_hashes
from auditor.ledger.notes import Signer, nodes_of
from auditor.lines import read_record, write_record
from auditor.records import Cumulative, Seal, Totals
from tests.ledger.conftest import add_placed, records_of


@pytest.fixture
def lines(run):
    """Of a segment that has totals in its middle; the second tally comes after them."""
    book = run.book()
    for number in range(TOTALS_EVERY + 2):
        run.interval(book, number, size=4 if number < TOTALS_EVERY else 5)
    book.gap("hardware", "no driver", lower_bound=False)
    book.gap("thread", "a thread was not seen", lower_bound=True)
    book.seal("finished")
    return run.path().read_bytes().splitlines()


def cumulative(lines):
    bodies = [read_record(line).body for line in lines]
    return [(number, body) for number, body in enumerate(bodies) if isinstance(body, Cumulative)]


def test_totals_name_the_tree_of_the_lines_before_them_and_what_these_come_to(lines):
    (at, totals), (end, seal) = cumulative(lines)
    assert isinstance(totals, Totals)
    assert isinstance(seal, Seal)
    assert totals.steps == 3 * TOTALS_EVERY
    assert sum(int(row[4]) for row in totals.operations) == 96 * 4 * 3 * TOTALS_EVERY
    assert sum(int(row[4]) for row in seal.operations) == 96 * 3 * (4 * TOTALS_EVERY + 5 * 2)
    assert (seal.gaps, seal.floors) == (2, 1)
    for number, body in ((at, totals), (end, seal)):
        tree = Frontier()
        tree.extend(leaf_hashes(lines[:number]))
        assert (body.lines, body.nodes) == (number, nodes_of(tree))


def test_totals_repeat_the_tallies_that_came_since_the_last(lines):
    ((_, totals), _) = cumulative(lines)
    assert [number for number, _, _ in totals.tallies] == [0]
    assert sum(int(row[4]) for row in totals.tallies[0][1]) == 96 * 4


def test_a_tree_goes_on_from_its_nodes():
    leaves = leaf_hashes([b"%d" % number for number in range(50)])
    for size in range(50):
        whole, part = Frontier(), Frontier()
        part.extend(leaves[:size])
        again = Frontier.of(size, part.nodes())
        again.extend(leaves[size:])
        whole.extend(leaves)
        assert again.root() == whole.root()


@pytest.mark.parametrize("size", [-1, 1, 3])
def test_a_tree_has_as_many_nodes_as_its_size_says(size):
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier.of(size, [b"", b"", b""])


def _nodes(body):
    return replace(body, nodes=(body.nodes[-1], *body.nodes[1:]) if len(body.nodes) > 1 else ("",))


@pytest.mark.parametrize("kind", [Totals, Seal])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: replace(body, lines=body.lines - 2),
        _nodes,
        lambda body: replace(body, steps=body.steps + 1),
        lambda body: replace(body, elapsed_us=body.elapsed_us + 1),
        lambda body: replace(body, gaps=body.gaps + 1),
        lambda body: replace(body, floors=body.floors + 1),
        lambda body: replace(body, resumed=1),
        lambda body: replace(body, loaded=1),
        lambda body: replace(body, operations=body.operations[:-1]),
        lambda body: replace(body, unpriced={"aten::unheard_of": 1}),
    ],
)
def test_totals_that_are_false_are_refused_though_signed(run, lines, kind, change):
    assert run.judge() == "INCOMPLETE"
    rewritten(run, lines, lambda body: change(body) if isinstance(body, kind) else body)
    assert run.judge() == "INVALID"


@pytest.mark.parametrize(
    "tallies",
    [
        lambda own: ((own[0][0], own[0][1], {"aten::unheard_of": 1}),),
        lambda own: ((1, *own[0][1:]),),
        lambda own: own * 9,
    ],
)
def test_repeated_tallies_that_are_false_are_refused_though_signed(run, lines, tallies):
    rewritten(
        run, lines, lambda body: replace(body, tallies=tallies(body.tallies)) if isinstance(body, Totals) else body
    )
    assert run.judge() == "INVALID"


def rewritten(run, lines, change):
    """The segment as its owner would write it with that change alone."""
    records = records_of(run.path())
    draft = Draft(Frontier(), Signer.of(records[0].body), run.key)
    for record in records:
        if isinstance(record.body, Cumulative):
            draft.add(write_record(replace(record, body=change(draft.place(record.body)))))
        else:
            add_placed(draft, write_record(record))
        draft.sign()
    run.path().write_bytes(bytes(draft.data))
