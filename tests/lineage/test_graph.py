"""The graph by itself: each ancestor once, in whatever order, and never less for knowing more."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import LineageCycle
from auditor.lineage.graph import Edge, Lineage, Part, Proof, Run, Spent, Unknown
from auditor.operations import Amount, Bucket, Family, Operations
from auditor.relations import Relation
from auditor.tally import Phase, Purpose

NAMES = "abcdefgh"
BUCKET = Bucket(Phase.FORWARD, Family.MATMUL, "float32", Purpose.PRE_TRAINING)


def operations(amount: int) -> Operations:
    return Operations({BUCKET: Amount(amount)}, {})


def run(name: str, amount: int, records: int = 1, nonce: str = "n") -> Run:
    part = Part(records, operations(amount), Operations.none())
    return Run(id=name, parts={nonce: part}, missing=frozenset())


def edge(child: str, parent: str, relation: Relation = Relation.BASE_MODEL, proof: Proof = Proof.PROVEN) -> Edge:
    certainty = "" if proof is Proof.PROVEN else "primary"
    return Edge(child=child, parent=parent, relation=relation, proof=proof, why="told", certainty=certainty)


runs = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.builds(
            run,
            st.sampled_from("123456789"),
            st.integers(1, 10**30),
            st.integers(1, 3),
            st.sampled_from("xy"),
        ),
    ).map(lambda pair: (pair[0], Run(id=pair[0] + pair[1].id, parts=pair[1].parts, missing=pair[1].missing))),
    max_size=12,
)
# Children come before their parents in the alphabet, so that there is no circle.
edges = st.lists(
    st.builds(
        lambda ends, relation, proof: edge(min(ends), max(ends), relation, proof),
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.sampled_from(Relation),
        st.sampled_from(Proof),
    ),
    max_size=16,
)
spent = st.lists(
    st.tuples(st.sampled_from(NAMES), st.builds(lambda ops: Spent(operations=ops, source="s", certainty="primary"),
                                               st.integers(0, 10**30))),
    max_size=4,
)  # fmt: skip


def totals(lineage: Lineage) -> dict[str, tuple[int, bool, tuple[str, ...]]]:
    return {
        name: ((total := lineage.total(name)).operations, total.lower_bound, total.ancestors) for name in lineage.models
    }


@given(runs, edges, spent, st.randoms())
def test_order_and_repetition_are_of_no_account(runs, edges, spent, random):
    once = Lineage.of(runs=runs, edges=edges, spent=spent)
    several = [[*part, *part[:2]] for part in (runs, edges, spent)]
    for part in several:
        random.shuffle(part)
    again = Lineage.of(runs=several[0], edges=several[1], spent=several[2])
    assert again == once
    assert totals(again) == totals(once)


@given(runs, edges, spent)
def test_a_total_is_the_sum_over_the_set_of_a_model_and_its_ancestors(runs, edges, spent):
    """By another way: the closure as a fixed point, then every segment once."""
    lineage = Lineage.of(runs=runs, edges=edges, spent=spent)
    for name in lineage.models:
        family = {name}
        while (more := family | {one.parent for one in edges if one.child in family}) != family:
            family = more
        longest: dict[tuple[str, str], tuple[int, int]] = {}
        for model, one in runs:
            for nonce, part in one.parts.items() if model in family else ():
                place = (one.id, nonce)
                longest[place] = max(longest.get(place, (0, 0)), (part.records, part.operations.total))
        stated = {(model, amount) for model, amount in spent if model in family}
        expected = sum(ops for _, ops in longest.values()) + sum(amount.operations for _, amount in stated)
        assert lineage.total(name).operations == expected


@given(runs, edges, spent, st.sampled_from(NAMES), st.integers(1, 10**30))
def test_one_run_more_never_lowers_a_total(runs, edges, spent, model, amount):
    before = Lineage.of(runs=runs, edges=edges, spent=spent)
    after = Lineage.of(runs=[*runs, (model, run("new", amount))], edges=edges, spent=spent)
    for name in before.models:
        grown = after.total(name).operations - before.total(name).operations
        assert grown == (amount if model in (name, *before.ancestors(name)) else 0)


@given(edges, st.data())
def test_every_circle_is_refused_and_named(edges, data):
    proper = [one for one in edges if one.child != one.parent]
    if not proper:
        return
    start = data.draw(st.sampled_from(proper)).child
    lineage = Lineage.of(edges=proper)
    last = data.draw(st.sampled_from(lineage.ancestors(start)))
    with pytest.raises(LineageCycle, match=r"the lineage goes in a circle: \w is made from \w, ") as refused:
        Lineage.of(edges=[*proper, edge(last, start)])
    steps = [step.split(" is made from ") for step in str(refused.value).partition(": ")[2].split(", ")]
    assert [child for child, _ in steps[1:]] + [steps[0][0]] == [parent for _, parent in steps]
    known = {(one.child, one.parent) for one in proper} | {(last, start)}
    assert all((child, parent) in known for child, parent in steps)


def test_a_circle_is_named_from_its_first_name_on():
    with pytest.raises(LineageCycle) as refused:
        Lineage.of(edges=[edge("c", "a"), edge("b", "c"), edge("a", "b"), edge("z", "c")])
    expected = "the lineage goes in a circle: a is made from b, b is made from c, c is made from a"
    assert str(refused.value) == expected
    assert "one name" in refused.value.remedy or "under one" in refused.value.remedy


def test_a_long_line_of_ancestors_needs_no_recursion():
    names = [f"{number:05d}" for number in range(5000)]
    lineage = Lineage.of(
        runs=[(name, run(name, 1)) for name in names],
        edges=[edge(child, parent) for child, parent in itertools.pairwise(names)],
    )
    assert lineage.total(names[0]).operations == 5000


def test_what_is_not_known_of_any_ancestor_makes_a_lower_bound():
    unknown = [Unknown(child="b", what="b was made from something")]
    lineage = Lineage.of(runs=[("a", run("1", 5)), ("b", run("2", 7))], edges=[edge("a", "b")], unknown=unknown)
    assert lineage.total("a").missing == ("b was made from something",)
    lineage = Lineage.of(runs=[("a", run("1", 5))], edges=[edge("a", "b", proof=Proof.DECLARED)])
    assert lineage.total("a").missing == ("nothing is known of what b took",)
    lineage = Lineage.of(runs=[("a", run("1", 5)), ("b", run("2", 7))], edges=[edge("a", "b")])
    assert not lineage.total("a").lower_bound


def test_relations_can_be_followed_by_kind():
    lineage = Lineage.of(
        runs=[(name, run(name, 10**index)) for index, name in enumerate("abc")],
        edges=[edge("a", "b"), edge("a", "c", Relation.TEACHER)],
    )
    assert lineage.total("a").operations == 111
    assert lineage.total("a", [Relation.BASE_MODEL]).operations == 11


def test_a_declared_kind_goes_with_the_proof_of_the_edge():
    lineage = Lineage.of(edges=[edge("a", "b"), edge("a", "b", Relation.TEACHER, Proof.DECLARED)])
    (only,) = lineage.edges
    assert (only.relation, only.proof) == (Relation.TEACHER, Proof.PROVEN)


def test_two_copies_of_a_run_are_one_and_the_longer_record_of_a_segment_counts():
    lineage = Lineage.of(
        runs=[("a", run("1", 5, records=2)), ("a", run("1", 9, records=3)), ("a", run("1", 4, nonce="m"))]
    )
    assert lineage.total("a").operations == 13
