"""Each law's own total over a model's ancestry, from real ledgers: worked by hand, no operation twice.

An interval of these ledgers has three steps of one matrix product forward and two backward, 1,152 operations of
pre-training; every law that counts a run whole counts all of them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from auditor.cli.main import main
from auditor.errors import LineageError
from auditor.lineage import declared
from auditor.lineage.family import Family
from auditor.rules import pack
from auditor.rules.cases import Subject
from auditor.rules.explaining import explain
from auditor.rules.facts import read_answers
from auditor.rules.generators import Generator
from tests.lineage.conftest import weights

if TYPE_CHECKING:
    from auditor.rules.totals import Total

RULES = pack.load()
AS_OF = date(2026, 11, 22)
INTERVAL = 1152  # operations: 3 steps x 3 products x 2 x 4 x 8 x 2


def total(family: Family, rule: str, *, generators: Any = None, lower_bound: bool = False, **answers: object) -> Total:
    subject = Subject(
        ruleset=RULES,
        operations=family.reading.operations,
        as_of=AS_OF,
        answers=read_answers(RULES, answers),
        generators=generators,
        abandoned=family.reading.abandoned,
        lower_bound=lower_bound,
        missing=family.unknown,
        ancestors=family.ancestors,
    )
    return subject.judge(RULES.find(rule)).total


def related(child: Any, others: Any, text: str = "") -> Family:
    said = declared.parse(f"schema: auditor.lineage/1\nmodels: {{{text}}}")
    return Family.of(child.read(), [one.read() for one in others], said)


def parent(model: str, relation: str) -> str:
    return f"{{model: {model}, relation: {relation}, source: our notes, certainty: primary}}"


MODEL = ("us_ear_4e091_2025", "eu_ai_act_art51", "eu_gpai_indicative_2025", "us_ca_sb53", "kr_ai_basic_act_decree")


@pytest.mark.parametrize("rule", MODEL)
def test_a_base_model_counts_with_what_was_made_from_it_and_not_for_a_law_of_one_run(write, rule):
    base = write("base", weights("saved", "a"), intervals=2)
    child = write("child", weights("loaded", "a"), intervals=1)
    found = total(related(child, [base]), rule)
    assert (found.counted_ops, found.record_ops, found.most_ops) == (3 * INTERVAL, INTERVAL, 3 * INTERVAL)
    assert "Of 3,456 operations in the record and of 1 ancestor, each once, 3,456 count." in found.words()
    alone = total(related(child, [base]), "us_bis_702_7_nprm")
    assert (alone.counted_ops, alone.most_ops) == (INTERVAL, INTERVAL)
    assert any("base does not count: the law looks at one training run" in reason for reason in alone.reasons)


def test_a_shared_ancestor_counts_once(write):
    """A makes B and C, both are merged into D: for the EU all four count, A once; 4E091 is silent on merging."""
    a = write("a", weights("saved", "a"), intervals=4)
    b = write("b", weights("loaded", "a"), weights("saved", "b"), intervals=2)
    c = write("c", weights("loaded", "a"), weights("saved", "c"), intervals=1)
    d = write("d", weights("loaded", "b"), weights("loaded", "c"), intervals=1)
    plain = related(d, [a, b, c])
    assert total(plain, "eu_ai_act_art51").counted_ops == 8 * INTERVAL
    assert total(plain, "us_ear_4e091_2025").counted_ops == 8 * INTERVAL
    merged = related(d, [a, b, c], f"d: {{parents: [{parent('b', 'merged')}, {parent('c', 'merged')}]}}")
    assert total(merged, "eu_ai_act_art51").counted_ops == 8 * INTERVAL
    found = total(merged, "us_ear_4e091_2025")
    assert (found.counted_ops, found.most_ops) == (INTERVAL, 8 * INTERVAL)
    assert any("The training of a may count" in reason for reason in found.reasons)


def test_other_runs_of_the_model_count_and_copies_do_not(write):
    first, second = write("m", intervals=2), write("m", intervals=1)
    found = total(related(second, [first, first]), "us_ear_4e091_2025")
    assert (found.counted_ops, found.record_ops) == (3 * INTERVAL, INTERVAL)
    assert "in the records of this model 3,456 count" in found.words()


def test_a_longer_copy_of_the_record_counts_to_its_end_in_whatever_order_they_are_given(write, tmp_path):
    """The other copy ends after the first of three intervals, as one that was made while the run went on."""
    whole = write("m", intervals=3)
    copy = replace(whole, directory=tmp_path / "copy")
    shutil.copytree(whole.directory, copy.directory)
    (segment,) = (copy.directory / "segments").iterdir()
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:6]))
    assert copy.read().operations.total == INTERVAL
    for first, second, most in ((whole, copy, 3 * INTERVAL), (copy, whole, None)):
        found = total(related(first, [second]), "us_ear_4e091_2025", lower_bound=most is None)
        assert (found.counted_ops, found.most_ops) == (3 * INTERVAL, most)


def test_ledgers_of_one_run_that_name_two_models_are_refused_until_somebody_says_which(write):
    first = write("m")
    second = write("n")
    second = replace(second, directory=second.directory.with_name("other"), run_id=first.run_id)
    second.segment(1, model="n", rank=1, expected_ranks=2)
    with pytest.raises(LineageError, match="are of two models, 'm' and 'n'"):
        related(first, [second])
    family = related(first, [second], f"n: {{runs: [{first.run_id}]}}")
    assert total(family, "us_ear_4e091_2025").counted_ops == 2 * INTERVAL


def test_an_unknown_parent_makes_a_floor_whoever_it_is_the_parent_of(write):
    base = write("base", weights("saved", "a"), weights("loaded", "e"))
    child = write("child", weights("loaded", "a"))
    for family in (related(child, [base]), related(base, [])):
        found = total(family, "us_ear_4e091_2025")
        assert found.most_ops is None
        assert any("which no known run saved" in reason for reason in found.missing)
        assert total(family, "us_bis_702_7_nprm").most_ops == INTERVAL


@pytest.mark.parametrize(("prior", "added"), [("1000", 0), ("2304", 0), ("2305", 1), ("1e6", 10**6 - 2304)])
def test_stated_earlier_training_is_not_added_to_records_of_it(write, prior, added):
    base = write("base", weights("saved", "a"), intervals=2)
    child = write("child", weights("loaded", "a"), intervals=1)
    found = total(related(child, [base]), "us_ear_4e091_2025", prior_ops=prior)
    assert found.counted_ops == 3 * INTERVAL + added
    assert total(related(child, []), "us_ca_sb53", prior_ops=prior).counted_ops == INTERVAL + int(float(prior))


def test_what_is_stated_of_an_ancestor_counts_as_the_law_counts_the_ancestor(write):
    child = write("child", intervals=1)
    spent = "spent: [{operations: 1e20, source: card, certainty: secondary}]"
    text = f"child: {{parents: [{parent('old', 'RELATION')}]}}, old: {{{spent}}}"
    base = related(child, [], text.replace("RELATION", "base_model"))
    assert total(base, "eu_ai_act_art51").counted_ops == 10**20 + INTERVAL
    assert total(base, "us_ear_4e091_2025", prior_ops="1e20").counted_ops == 10**20 + INTERVAL
    teacher = related(child, [], text.replace("RELATION", "teacher"))
    assert total(teacher, "eu_ai_act_art51").most_ops == INTERVAL
    found = total(teacher, "us_ca_sb53")
    assert (found.counted_ops, found.most_ops) == (INTERVAL, 10**20 + INTERVAL)


def made_by(name: str = "writer", **fields: object) -> Generator:
    plain: dict[str, Any] = {"published": False, "trained_on_ops": 300, "generation_ops": 50, "training_ops": None}
    return Generator(name=name, **{**plain, **fields})


def test_a_closed_generators_training_comes_from_its_own_ledger(write):
    """Trained on 300 of 1,152: more than a tenth, so 50 of making the data count, and 3 intervals of its training."""
    child, writer = write("child", intervals=1), write("writer", intervals=3)
    family = related(child, [writer])
    found = total(family, "us_ear_4e091_2025", generators=[made_by()])
    assert (found.counted_ops, found.most_ops) == (4 * INTERVAL + 50,) * 2
    for fields, counted in (
        ({"trained_on_ops": 115}, INTERVAL),  # a tenth is 115.2
        ({"trained_on_ops": 116}, 4 * INTERVAL + 50),
        ({"published": True}, INTERVAL + 50),
        ({"training_ops": 7}, 4 * INTERVAL + 50),  # the ledger is known to the end: a number beside it adds nothing
    ):
        found = total(family, "us_ear_4e091_2025", generators=[made_by(**fields)])
        assert (found.counted_ops, found.most_ops) == (counted, counted), fields
    assert total(family, "eu_ai_act_art51", generators=[made_by()]).counted_ops == INTERVAL


def test_a_generator_that_is_an_ancestor_too_is_not_counted_twice(write):
    """The base made the data as well; then another generator, which was made from the base."""
    base = write("base", weights("saved", "a"), intervals=2)
    writer = write("writer", weights("loaded", "a"), intervals=3)
    child = write("child", weights("loaded", "a"), intervals=1)
    family = related(child, [base, writer])
    share = {"trained_on_ops": 2000, "generation_ops": 0}
    assert total(family, "us_ear_4e091_2025", generators=[made_by("base", **share)]).counted_ops == 3 * INTERVAL
    found = total(family, "us_ear_4e091_2025", generators=[made_by("writer", **share)])
    assert (found.counted_ops, found.most_ops) == (6 * INTERVAL,) * 2  # base 2, writer 3, child 1
    other = write("other", intervals=4)
    both = [made_by("writer", **share), made_by("other", **share)]
    found = total(related(child, [base, writer, other]), "us_ear_4e091_2025", generators=both)
    assert found.counted_ops == 6 * INTERVAL, "writer took 5 intervals with its base, other 4: writer's count"


def test_a_generator_that_may_count_by_merging_too_is_added_once_at_most(write):
    """4E091 is silent on merging: child 1, writer 3, base 2 intervals, and what generating took."""
    base, writer = (
        write("base", weights("saved", "a"), intervals=2),
        write("writer", weights("loaded", "a"), intervals=3),
    )
    child = write("child", intervals=1)
    whole = 6 * INTERVAL + 50
    for merged in (["writer"], ["base"], ["base", "writer"]):
        parents = ", ".join(parent(name, "merged") for name in merged)
        family = related(child, [base, writer], f"child: {{parents: [{parents}]}}")
        found = total(family, "us_ear_4e091_2025", generators=[made_by()])
        assert (found.counted_ops, found.most_ops) == (whole, whole), merged
        unknown = total(family, "us_ear_4e091_2025", generators=[made_by(trained_on_ops=None)])
        assert (unknown.counted_ops, unknown.most_ops) == (INTERVAL, whole), merged


def test_a_generator_that_only_the_lineage_names_leaves_the_total_open(write):
    child, writer = write("child", intervals=1), write("writer", intervals=3)
    family = related(child, [writer], f"child: {{parents: [{parent('writer', 'data_generator')}]}}")
    for generators in (None, []):
        found = total(family, "us_ear_4e091_2025", generators=generators)
        assert (found.counted_ops, found.most_ops) == (INTERVAL, None)
    known = total(family, "us_ear_4e091_2025", generators=[made_by(trained_on_ops=None, published=None)])
    assert (known.counted_ops, known.most_ops) == (INTERVAL, 4 * INTERVAL + 50)


def test_a_generator_whose_own_parents_are_unknown_is_a_floor(write):
    child, writer = write("child", intervals=1), write("writer", weights("loaded", "e"), intervals=3)
    found = total(related(child, [writer]), "us_ear_4e091_2025", generators=[made_by()])
    assert (found.counted_ops, found.most_ops) == (4 * INTERVAL + 50, None)
    more = total(related(child, [writer]), "us_ear_4e091_2025", generators=[made_by(training_ops=10**6)])
    assert more.counted_ops == INTERVAL + 50 + 10**6, "where its ledger is a floor, a larger stated amount stands"


@pytest.mark.parametrize(("intervals", "outcome"), [(3, "none"), (4, "becomes provider")])
def test_what_the_original_took_is_known_from_its_own_record(write, intervals, outcome):
    """Nine intervals of the original: three are exactly a third of it, four are more."""
    base = write("base", weights("saved", "a"), intervals=9)
    child = write("child", weights("loaded", "a"), intervals=intervals)
    rule = RULES.find("eu_gpai_modifier_third")
    answers = {"is_modification": True, "original_is_systemic": False, "original_ops_unknowable": False}
    for family, known in ((related(child, [base]), outcome), (related(child, []), "undetermined")):
        subject = Subject(
            ruleset=RULES,
            operations=family.reading.operations,
            as_of=AS_OF,
            answers=read_answers(RULES, answers),
            ancestors=family.ancestors,
        )
        assert subject.case(rule).walked.outcome == known
        origin = next(one.origin for one in explain(subject, rule, {}).operands if one.name == "original_ops")
        assert origin.startswith("the records of its ancestors" if known == outcome else "not answered")


def test_the_command_line_takes_several_ledgers(write, tmp_path, capsys):
    base = write("base", weights("saved", "a"), intervals=2)
    child = write("child", weights("loaded", "a"), intervals=1)
    for arguments in (
        [str(child.directory), str(base.directory)],
        [str(child.directory), str(tmp_path)],
        [str(tmp_path)],  # the model that no other is made from
        [str(base.directory), str(child.directory), "--model", "child"],
    ):
        assert main(["check", *arguments, "--json", "--as-of", "2026-11-22"]) == 0
        told = json.loads(capsys.readouterr().out)
        found = {one["id"]: one["counted"] for one in told["models"]}
        assert (told["model"], found["us_ear_4e091_2025"], found["us_bis_702_7_nprm"]) == ("child", "3456", "1152")
        assert [one["model"] for one in told["ledgers"]] == ["base"]
        assert main(["report", *arguments, "--format", "json", "--as-of", "2026-11-22"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert {one["id"]: one["counted"] for one in told["rules"]}["us_ear_4e091_2025"] == "3456"
        shown = {name: told["ancestry"][name] for name in ("unknown", "models", "recorded", "stated")}
        assert shown == {"unknown": [], "models": ["base"], "recorded": "2304", "stated": "0"}
    assert main(["check", str(child.directory), str(base.directory)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "The training of base counts:" in text
    assert f"and {base.run_id} (base), UNANCHORED: 2,304 operations" in text
    assert main(["check", str(tmp_path), "--model", "chidl"]) == 2
    assert "did you mean 'child'" in capsys.readouterr().err
    write("another")
    assert main(["check", str(tmp_path)]) == 2
    assert "none made from the others: another, child" in capsys.readouterr().err
    base.path().write_bytes(base.path().read_bytes().replace(b"aten::mm", b"aten::nn"))
    assert main(["check", str(child.directory), str(base.directory)]) == 4
    assert "DO NOT RELY ON THIS. The record of the run" in " ".join(capsys.readouterr().out.split())
