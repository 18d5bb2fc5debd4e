"""From ledgers and declarations to a lineage."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
from jsonschema import Draft202012Validator

from auditor.cli.main import main
from auditor.errors import LineageCycle, LineageError
from auditor.lineage import declared
from auditor.lineage.gather import lineage_of
from auditor.lineage.graph import Proof
from auditor.relations import Relation
from tests.lineage.conftest import weights

DECLARED = """
schema: auditor.lineage/1
models:
  child:
    parents:
      - {model: generator, relation: data_generator, source: our notes, certainty: recalled}
  generator:
    spent:
      - {operations: 1.2e24, source: "technical report, table 3", certainty: secondary}
  outside:
    weights: ["%s"]
    spent:
      - {operations: 7, source: model card, certainty: primary}
not_weights:
  - {name: "train-*.pt", source: our tokeniser, certainty: primary}
""" % ("e" * 64)


def test_weights_that_another_run_saved_make_its_child(write):
    base, child = write("base", weights("saved", "a")), write("child", weights("loaded", "a"))
    for order in itertools.permutations([base.read(), child.read()]):
        lineage = lineage_of(order)
        (edge,) = lineage.edges
        assert (edge.child, edge.parent, edge.proof) == ("child", "base", Proof.PROVEN)
        assert lineage.total("child").operations == base.read().operations.total * 2
        assert not lineage.total("child").lower_bound


def test_weights_that_a_run_saved_itself_make_nobody_its_parent(write):
    again = write("m", weights("saved", "a"), weights("loaded", "a"))
    lineage = lineage_of([again.read()])
    assert not lineage.edges
    assert not lineage.total("m").lower_bound


def test_weights_that_a_run_saves_unchanged_after_loading_them_are_still_its_parents(write):
    base = write("base", weights("saved", "a"))
    child = write("child", weights("loaded", "a"), weights("saved", "a"))
    assert {edge.parent for edge in lineage_of([base.read(), child.read()]).edges} == {"base"}


def test_another_attempt_of_the_same_run_goes_on_from_its_own_weights(run):
    first = run.book()
    first.weights(weights("saved", "a"))
    first.seal("finished")
    second = run.book(attempt=1)
    second.weights(weights("loaded", "a"))
    second.seal("finished")
    lineage = lineage_of([run.read()])
    assert not lineage.total("tiny").lower_bound


@pytest.mark.parametrize(
    "loaded",
    [
        weights("loaded", "b", files=("a",)),  # the one file of a set
        weights("loaded", "c", files=("d",), tensors="f"),  # the same tensors in other files
        weights("loaded", "c", files=("a", "9")),  # files of two checkpoints
    ],
)
def test_files_and_tensors_link_as_well(write, loaded):
    base = write("base", weights("saved", "b", files=("a", "2"), tensors="f"), weights("saved", "9"))
    lineage = lineage_of([base.read(), write("child", loaded).read()])
    assert {edge.parent for edge in lineage.edges} == {"base"}
    assert not lineage.unknown


def test_a_set_of_which_one_file_is_unknown_is_unknown(write):
    base = write("base", weights("saved", "a"))
    child = write("child", weights("loaded", "b", files=("a", "9")))
    (unknown,) = lineage_of([base.read(), child.read()]).unknown
    assert unknown.what == "child was made from m.pt (SHA-256 bbbbbbbbbbbb…), which no known run saved"


def test_what_is_declared_carries_source_and_certainty_and_completes_a_total(write):
    child = write("child", weights("loaded", "e"), weights("loaded", "1", name="train-00.pt"))
    assert lineage_of([child.read()]).total("child").lower_bound
    lineage = lineage_of([child.read()], declared.parse(DECLARED))
    total = lineage.total("child")
    assert not total.lower_bound
    assert total.operations == child.read().operations.total + 12 * 10**23 + 7
    by_parent = {edge.parent: edge for edge in lineage.edges}
    assert by_parent["outside"].proof is Proof.DECLARED
    assert (by_parent["generator"].relation, by_parent["generator"].certainty) == (Relation.DATA_GENERATOR, "recalled")


def test_the_ledger_of_an_ancestor_never_lowers_the_total(write):
    """Where weights are declared to be one model's and a ledger shows another to have saved them, both count."""
    said = declared.parse(DECLARED)
    child, saver = write("child", weights("loaded", "e")), write("other", weights("saved", "e"))
    before = lineage_of([child.read()], said).total("child").operations
    after = lineage_of([child.read(), saver.read()], said).total("child").operations
    assert after == before + saver.read().operations.total


def test_runs_can_be_declared_to_be_of_one_model(write):
    one, other = write("a", weights("saved", "a")), write("b", weights("loaded", "a"), weights("saved", "b"))
    back = write("a", weights("loaded", "b"))
    readings = [run.read() for run in (one, other, back)]
    with pytest.raises(LineageCycle, match="a is made from b, b is made from a"):
        lineage_of(readings)
    said = f"schema: auditor.lineage/1\nmodels: {{a: {{runs: [{readings[1].run_id}]}}}}"
    lineage = lineage_of(readings, declared.parse(said))
    assert lineage.total("a").operations == sum(reading.operations.total for reading in readings)


def test_a_checkpoint_without_a_digest_makes_a_lower_bound(run):
    missed = dataclasses.replace(weights("loaded", ""), files=(), missed="no such file")
    book = run.book()
    book.weights(missed)
    book.gap("weights", "checkpoints were not noticed, as was asked", lower_bound=False)
    book.seal("finished")
    reading = run.read()
    assert reading.verdict == "UNANCHORED"
    assert lineage_of([reading]).total("tiny").missing == (
        "tiny may have been made from more than is recorded: checkpoints were not noticed, as was asked",
        "tiny was made from m.pt (no such file), which no known run saved",
    )


def test_a_ledger_that_is_not_whole_makes_a_lower_bound(run):
    run.segment(seal=False)
    assert lineage_of([run.read()]).total("tiny").missing == ("the ledger of the run run-1 is INCOMPLETE",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema: auditor.lineage/2\nmodels: {}", "1: schema: expected auditor.lineage/1"),
        ("schema: auditor.lineage/1\nmodels: {a: {weigths: []}}", "did you mean 'weights'"),
        ("schema: auditor.lineage/1\nmodels: {a: {weights: [12]}}", "expected a SHA-256"),
        ("schema: auditor.lineage/1\nmodels: {a: {runs: [x]}, b: {runs: [x]}}", "that does not belong to 'a' already"),
        ("schema: auditor.lineage/1\nmodels: {a: {spent: [{operations: 1e3, source: s}]}}", "'certainty' is missing"),
        (
            "schema: auditor.lineage/1\nmodels: {a: {spent: [{operations: 1.5, source: s, certainty: primary}]}}",
            "expected a whole number of operations",
        ),
        (
            "schema: auditor.lineage/1\nmodels: {a: {spent: [{operations: 1, source: '', certainty: primary}]}}",
            "expected where it was read",
        ),
        (
            "schema: auditor.lineage/1\nmodels: {}\nnot_weights: [{source: s, certainty: primary}]",
            "expected either a digest or a name",
        ),
        (
            "schema: auditor.lineage/1\nmodels: {a: {parents: [{model: b, relation: x, source: s, certainty: p}]}}",
            "expected one of base_model",
        ),
    ],
)
def test_a_lineage_file_that_does_not_fit_is_refused_at_its_place(text, told):
    with pytest.raises(LineageError, match=told):
        declared.parse(text)


def test_the_command(write, tmp_path, capsys, root):
    base, child = write("base", weights("saved", "a")), write("child", weights("loaded", "a"), weights("loaded", "b"))
    directories = [str(base.directory), str(child.directory)]
    assert main(["lineage", "show", *directories]) == 0
    text = capsys.readouterr().out
    assert main(["lineage", "show", str(tmp_path)]) == 0
    assert capsys.readouterr().out == text
    assert "child: at least 2,304 operations with its 1 known ancestor, each counted once" in text
    assert "made from    base (base model, proven): it loaded m.pt (SHA-256 aaaaaaaaaaaa…), which base saved" in text
    assert "may be more  child was made from m.pt (SHA-256 bbbbbbbbbbbb…), which no known run saved" in text
    file = tmp_path / "lineage.yaml"
    file.write_text(DECLARED)
    assert main(["lineage", "show", "--json", "--declared", str(file), "--relation", "base_model", *directories]) == 0
    document = json.loads(capsys.readouterr().out)
    schema = json.loads((root / "configs" / "schema" / "lineage.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    assert [one["model"] for one in document["models"]] == ["base", "child", "generator", "outside"]
    assert main(["lineage", "show", "--model", "chidl", *directories]) == 2
    assert "did you mean 'child'" in capsys.readouterr().err
    assert main(["lineage", "show", "--relation", "aunt", *directories]) == 2
    base.path().write_bytes(base.path().read_bytes().replace(b"base", b"bose"))
    assert main(["lineage", "show", *directories]) == 4
