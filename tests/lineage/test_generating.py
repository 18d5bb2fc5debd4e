"""What generators' own ledgers show: making the data, and their training, under Technical Note 3 to ECCN 4E091.

The judged run has five intervals of 1,152 operations: 5,760, a tenth of which is 576. The generator's training has
three: 3,456. A product of its generating has 128 operations.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from auditor.cli.main import main
from auditor.hardware.catalogue import load as load_catalogue
from auditor.rules import pack
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments
from tests.lineage.conftest import weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.ledger.conftest import Run

TRAINED, TAUGHT, MADE = 5 * 1152, 3 * 1152, 7 * 128
RULE = "us_ear_4e091_2025"
PRODUCT = Signature("aten::mm", encode_arguments([Shape((4, 8)), Shape((8, 2))]))


@pytest.fixture(autouse=True)
def packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped packs and chips, read once."""
    monkeypatch.setattr("auditor.rules.load", lambda paths: shipped()[0])
    monkeypatch.setattr("auditor.hardware.catalogue.load", lambda: shipped()[1])


@cache
def shipped() -> tuple[Any, Any]:
    return pack.load(), load_catalogue()


@pytest.fixture
def generate(new_run: Callable[[], Run]) -> Callable[..., Run]:
    """A run that made data: seven products of inference, and whatever ``more`` names."""

    def make(model: str = "teacher", purpose: Purpose = Purpose.SYNTHETIC_DATA, *, sealed: bool = True, **more: int):
        made = new_run()
        book = made.book(model=model)
        calls = {Phase.INFERENCE: 7, **{Phase(phase): times for phase, times in more.items()}}
        tally = Tally({Entry(PRODUCT, phase, purpose): times for phase, times in calls.items()})
        book.record_interval(first_step=1, steps=1, elapsed_us=1000, parts=[(tally, 1)], price=made.price)
        book.seal("finished") if sealed else book.close()
        return made

    return make


@pytest.fixture
def asked(tmp_path: Path, write: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What 4E091 counts of a run of five intervals with these generators, and where its operands are from."""
    judged = write("child", intervals=5)

    def ask(*arguments: str, rule: str = RULE, code: int = 0, **generator: object) -> Any:
        plain = {"name": "teacher", "published": False, "trained_on_ops": 577, **generator}
        answers = tmp_path / "answers.yaml"
        answers.write_text(json.dumps({"schema": "auditor.answers/1", "generators": [plain]}))
        given = ["--answers", str(answers), "--as-of", "2026-11-22", "--json"]
        assert main(["check", str(judged.directory), *arguments, "--explain", rule, *given]) == code
        said = capsys.readouterr()
        if code == 2:
            return said.err
        operands = {one["name"]: one for one in json.loads(said.out)["explained"]["operands"]}
        counted = operands["counted_ops"]
        operands["range"] = tuple(None if counted[end] is None else int(counted[end]) for end in ("lowest", "highest"))
        return operands

    return ask


def names(*runs: Run) -> list[str]:
    """As an answers file in the same directory names them."""
    return [run.directory.name for run in runs]


@pytest.mark.parametrize(("trained_on", "counted"), [(575, TRAINED), (576, TRAINED), (577, TRAINED + MADE + TAUGHT)])
def test_one_operation_below_at_and_above_a_tenth_with_amounts_from_ledgers(
    asked, write, generate, trained_on, counted
):
    made, taught = generate(), write("teacher", intervals=3)
    found = asked(trained_on_ops=trained_on, generated_in=names(made), trained_in=names(taught))
    assert found["range"] == (counted, counted)


def test_each_operand_names_the_ledger_or_the_line_that_it_came_from(asked, write, generate):
    made, taught = generate(), write("teacher", intervals=3)
    found = asked(generated_in=names(made), trained_in=names(taught))
    generation, training = found["generation_ops of teacher"], found["training_ops of teacher"]
    assert (generation["lowest"], generation["highest"]) == (str(MADE), str(MADE))
    assert (training["lowest"], training["highest"]) == (str(TAUGHT), str(TAUGHT))
    assert generation["origin"] == f"the ledger {made.directory} (run {made.run_id}, UNANCHORED)"
    assert training["origin"] == f"the ledger {taught.directory} (run {taught.run_id}, UNANCHORED)"
    assert found["trained_on_ops of teacher"]["origin"] == "answers.yaml, line 1"


def test_whatever_model_and_purpose_a_named_run_has_its_inference_made_the_data(asked, write, generate):
    """Of a run under the name and purpose that a script has by default; evaluation in it is none."""
    made, taught = generate("train.py", Purpose.PRE_TRAINING), write("train.py", intervals=3)
    found = asked(generated_in=names(made), trained_in=names(taught))
    assert found["range"] == (TRAINED + MADE + TAUGHT,) * 2
    evaluating = generate("train.py", Purpose.EVALUATION)
    found = asked(generated_in=names(evaluating), trained_in=names(taught))
    assert found["range"] == (TRAINED + TAUGHT,) * 2


@pytest.mark.parametrize(("trained_on", "most"), [(576, TRAINED), (577, None)])
def test_an_incomplete_ledger_is_a_floor_where_the_share_is_passed(asked, write, generate, trained_on, most):
    made, taught = generate(sealed=False), write("teacher", intervals=3)
    found = asked(trained_on_ops=trained_on, generated_in=names(made), trained_in=names(taught))
    assert found["range"] == (TRAINED if most else TRAINED + MADE + TAUGHT, most)
    assert found["generation_ops of teacher"]["highest"] is None
    assert "INCOMPLETE" in found["generation_ops of teacher"]["origin"]
    stated = asked(generated_in=names(made), trained_in=names(taught), generation_ops=10_000)
    assert stated["generation_ops of teacher"]["highest"] == "10000", "above a floor, more that is stated stands"


def test_more_that_is_stated_than_whole_ledgers_show_stands_and_less_does_not(asked, write, generate):
    """Others may have been left out; what a ledger shows was done."""
    made, taught = generate(), write("teacher", intervals=3)
    ledgers = {"generated_in": names(made), "trained_in": names(taught)}
    more = asked(**ledgers, generation_ops=MADE + 1, training_ops=TAUGHT + 1)
    assert more["range"] == (TRAINED + MADE + 1 + TAUGHT + 1,) * 2
    assert more["generation_ops of teacher"]["origin"] == "answers.yaml, line 1"
    less = asked(**ledgers, generation_ops=MADE - 1, training_ops=TAUGHT - 1)
    assert less["range"] == (TRAINED + MADE + TAUGHT,) * 2


def test_a_false_ledger_is_a_floor_and_the_answer_is_not_to_be_relied_on(asked, write, generate):
    made, taught = generate(), write("teacher", intervals=3)
    made.path().write_bytes(made.path().read_bytes().replace(b"aten::mm", b"aten::nn"))
    found = asked(generated_in=names(made), trained_in=names(taught), code=4)
    assert found["range"][1] is None
    assert "INVALID" in found["generation_ops of teacher"]["origin"]


def test_generators_are_read_as_the_judged_run_is(asked, write, generate, tmp_path):
    """By their ends, to the same amounts; or all of them, and noted for a call that goes on."""
    given = {"generated_in": names(generate()), "trained_in": names(write("teacher", intervals=3))}
    found = asked("--from-ends", **given)
    assert found["range"] == (TRAINED + MADE + TAUGHT,) * 2
    assert found["generation_ops of teacher"]["origin"].endswith(", SUMMED)")
    state = tmp_path / "state"
    assert asked("--resume", str(state), **given)["range"] == found["range"]
    assert state.read_bytes().count(b"\n") == 1 + 3


def test_generating_alone_says_nothing_of_the_generators_training(asked, generate):
    made = generate()
    found = asked(generated_in=names(made))
    assert found["range"] == (TRAINED + MADE, None)
    found = asked(generated_in=names(made), training_ops=10**6)
    assert found["range"] == (TRAINED + MADE + 10**6,) * 2
    assert found["training_ops of teacher"]["origin"] == "answers.yaml, line 1"


def test_a_generator_that_the_lineage_declares_has_both_from_its_ledgers(asked, write, generate, tmp_path):
    """By its purpose; where the generator made data for another model too, for whom is not recorded."""
    made, taught = generate(), write("teacher", intervals=3)
    parent = "parents: [{model: teacher, relation: data_generator, source: notes, certainty: primary}]"
    whole = TRAINED + MADE + TAUGHT
    for others, counted, most in (("", whole, whole), ("other", TRAINED + TAUGHT, None)):
        text = f"child: {{{parent}}}" + (f", {others}: {{{parent}}}" if others else "")
        lineage = tmp_path / "lineage.yaml"
        lineage.write_text(f"schema: auditor.lineage/1\nmodels: {{{text}}}")
        found = asked(str(made.directory), str(taught.directory), "--declared", str(lineage))
        assert found["range"] == (counted, most)
        named = asked(str(taught.directory), "--declared", str(lineage), generated_in=names(made))
        assert named["range"] == (whole, whole), "who names the run says for whom"


def test_a_generator_that_is_the_base_too_is_added_once(asked, write, generate, tmp_path):
    """What it generated counts for the share alone; its training as a base model's, whatever the share."""
    made, taught = generate(), write("teacher", weights("saved", "a"), intervals=3)
    parent = "parents: [{model: teacher, relation: base_model, source: notes, certainty: primary}]"
    lineage = tmp_path / "lineage.yaml"
    lineage.write_text(f"schema: auditor.lineage/1\nmodels: {{child: {{{parent}}}}}")
    share = (TRAINED + TAUGHT) // 10
    for trained_on, counted in ((share, TRAINED + TAUGHT), (share + 1, TRAINED + TAUGHT + MADE)):
        given = {"generated_in": names(made), "trained_in": names(taught), "trained_on_ops": trained_on}
        found = asked("--declared", str(lineage), **given)
        assert found["range"] == (counted, counted)


def test_a_law_without_the_note_counts_what_it_counted_of_the_generator(asked, write, generate, tmp_path):
    """California: whether a generator's work counts is not addressed; none of it is lost from the most."""
    made, taught = generate(), write("teacher", intervals=3)
    parent = "parents: [{model: teacher, relation: data_generator, source: notes, certainty: primary}]"
    lineage = tmp_path / "lineage.yaml"
    lineage.write_text(f"schema: auditor.lineage/1\nmodels: {{child: {{{parent}}}}}")
    given = {"generated_in": names(made), "trained_in": names(taught)}
    found = asked("--declared", str(lineage), rule="us_ca_sb53", **given)
    assert found["range"] == (TRAINED, TRAINED + MADE + TAUGHT)


def test_what_cannot_be_is_refused_with_its_place(asked, write, generate, tmp_path):
    made = generate()
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for generator, words in (
        (
            {"generated_in": ["empty"]},
            "answers.yaml:1: generators[0].generated_in[0]: expected the directory of a ledger",
        ),
        ({"trained_in": ["nowhere"]}, "generators[0].trained_in[0]: expected the directory of a ledger"),
        ({"trained_in": ["loop"]}, "generators[0].trained_in[0]: expected the directory of a ledger"),
        ({"trained_in": ["a\0b"]}, "generators[0].trained_in[0]: expected the directory of a ledger"),
        ({"in_record": True, "generated_in": names(made)}, "expected none beside in_record"),
        ({"generated_in": made.directory.name}, "generators[0].generated_in: expected a list"),
    ):
        assert words in asked(code=2, **generator)
    lineage = tmp_path / "lineage.yaml"
    lineage.write_text(f"schema: auditor.lineage/1\nmodels: {{writer: {{runs: [{made.run_id}]}}}}")
    words = asked("--declared", str(lineage), code=2, generated_in=names(made))
    assert f"expected a run of 'teacher', got {made.run_id}, which is said to be of 'writer'" in words


def test_the_judged_run_is_no_generators_own(asked, tmp_path, write):
    (judged,) = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    words = asked(code=2, generated_in=[judged])
    assert "expected a ledger of another run, got that of the run which is judged" in words
    assert "in_record: true" in words
